"""The docstrings are plain text with formulas: here they become reStructuredText, their names links."""

import dataclasses
import importlib
import re
from pathlib import Path

import jaxrecon

ROOMS = ("simulate", "networks", "training", "io", "metrics", "plots", "calibration", "parameters", "testing",
         "saving", "learned")
DIRECTIVE = re.compile(r"^\.\. (?:auto\w+|py:\w+):: (jaxrecon[\w.]+)", re.MULTILINE)
ALIASES = {  # what JAX's type aliases, and defaults that are named, stand for
    "str | type[~typing.Any] | ~numpy.dtype | ~jax._src.typing.SupportsDType": "DTypeLike",
    "~jax.jaxlib._jax.Array | ~numpy.ndarray | ~numpy.bool | ~numpy.number | bool | int | float | complex": "ArrayLike",
    "=DEFAULT_OPTIMIZER": "=optax.adam(1e-3)", "= DEFAULT_OPTIMIZER": "= optax.adam(1e-3)",
}
COLON = "\ue000"
QUOTED = re.compile(r"(``[^`]+``|`[^`]+`)")


def public(room=None):
    """Name -> object, of jaxrecon itself or of one of its rooms."""
    module = jaxrecon if room is None else getattr(jaxrecon, room)
    names = getattr(module, "__all__", None) or [
        name for name, found in vars(module).items()
        if not name.startswith("_") and getattr(found, "__module__", None) == module.__name__]
    return {name: getattr(module, name) for name in names if name not in ROOMS}


def documented(folder: Path) -> dict[str, object]:
    """Dotted name -> object, of all that the pages of the reference describe."""
    names = [name for page in sorted(folder.glob("*.md")) for name in DIRECTIVE.findall(page.read_text("utf-8"))]
    return {name: find(name) for name in names}


def find(name: str) -> object:
    """What a dotted name of jaxrecon stands for, None for nothing; a function wins over the module of its name."""
    parts = name.split(".") if name.startswith("jaxrecon") else []
    for k in (1, *range(len(parts) - 1, 1, -1)) if parts else ():
        try:
            found = importlib.import_module(".".join(parts[:k]))
            for part in parts[k:]:
                found = getattr(found, part)
        except (ImportError, AttributeError):
            continue
        return found
    return None


class Links:
    """Where each documented object has its entry, under whatever name it goes."""

    def __init__(self, folder: Path):
        self.names = {id(found): name for name, found in documented(folder).items()}

    def entry(self, name: str, module: str) -> str | None:
        name = re.sub(r"^jr\.", "jaxrecon.", name)
        room = ".".join(module.split(".")[:2])
        for full in (name, f"jaxrecon.{name}", f"{room}.{name}"):
            if full.startswith("jaxrecon.") and id(find(full)) in self.names:
                return self.names[id(find(full))]
        return None


def as_rst(lines: list[str], link) -> list[str]:
    """Prose with its formulas escaped and its `names` as links or code; doctests and indented formulas as they are."""
    out, literal = [], False
    for number, line in enumerate(lines):
        before = out[-1] if out else ""
        if line.lstrip().startswith(">>>"):
            literal = True
        elif not line.strip() or (literal and not line.startswith(" ")):
            literal = False
        elif not (literal or before.strip() or _in_section(lines, number)) and number and line.startswith("    "):
            out += ["::", ""]  # a formula on a line of its own
            literal = True
        out.append(line if literal else "".join(
            _code(part, link) if part.startswith("`") else _escaped(part) for part in QUOTED.split(line)))
    return out


def _in_section(lines, number):
    return any(re.match(r"[A-Z]\w+:$", line) for line in lines[:number])


def _escaped(text):
    text = re.sub(r"[\\*|]|(?<=\w)_(?!\w)", r"\\\g<0>", text)
    return re.sub(r"^(\s*(?:\w[\w, ]*: )?)(\(?\w{1,3}[.)](?=\s|$))", r"\1\\\2", text)  # "P." begins no list


def _code(quoted, link):
    text = quoted.strip("`")
    target = link(re.split(r"\(", text)[0])
    return f":py:obj:`{text} <{target}>`" if target and "<" not in text else f"``{text}``"


def setup(app, folder: Path):
    links = Links(folder)

    def docstring(app, what, name, obj, options, lines):
        module = getattr(obj, "__module__", None) or name
        lines[:] = as_rst(lines, lambda text: links.entry(text, module))
        section = "Returns:" if what in ("property", "attribute") else ""
        for number, line in enumerate(lines):  # where napoleon takes what stands before a colon for a type
            section = line if re.match(r"[A-Z]\w+:$", line) and what not in ("property", "attribute") else section
            if section == "Returns:" and line != section and not re.match(r"    \w+: ", line):
                lines[number] = line.replace(":", COLON)

    def colons(app, what, name, obj, options, lines):
        lines[:] = [line.replace(COLON, ":") for line in lines]

    def skip(app, what, name, obj, skipped, options):
        """A member that only does what its documented base says is not told again."""
        function = getattr(obj, "fget", obj)
        path = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
        owner = find(path.rpartition(".")[0])
        bases = owner.__mro__[1:] if isinstance(owner, type) else ()
        return True if any(getattr(vars(base).get(name), "__doc__", None) for base in bases) else None

    def signature(app, what, name, obj, options, signature, annotation):
        if signature is None:
            return None
        if dataclasses.is_dataclass(obj):
            annotation = None  # a constructor returns what it constructs
        for long, short in ALIASES.items():
            signature = signature.replace(long, short)
        signature = re.sub(r": (~typing\.|typing\.)?Any\b(?=[,)= ])", "", signature)
        signature = re.sub(r"(?<=[(,] )(\w+) = |(?<=\()(\w+) = ", lambda m: f"{m[1] or m[2]}=", signature)
        for field in dataclasses.fields(obj) if dataclasses.is_dataclass(obj) else ():
            if callable(field.default_factory):
                signature = signature.replace("<factory>", repr(field.default_factory()), 1)
        return signature, None if annotation in ("Any", "~typing.Any", "None") else annotation

    def reference(app, env, node, contnode):
        """Annotations name classes by the file that they are written in."""
        name = links.names.get(id(find(node.get("reftarget", "")))) if node.get("refdomain") == "py" else None
        return name and env.domains["py"].resolve_xref(
            env, node["refdoc"], app.builder, "obj", name, node, contnode)

    app.connect("autodoc-process-docstring", docstring, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", colons, priority=600)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", signature)
    app.connect("missing-reference", reference)
