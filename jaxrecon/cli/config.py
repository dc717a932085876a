"""A training run as a TOML file: every key, what it may be, and what it is where it is left out."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .errors import Failure

REQUIRED: Any = object()


class Key(NamedTuple):
    """A key of a table: its default, what it may be in words, and whether a value is that."""

    default: Any
    allowed: str
    accepts: Callable[[Any], bool]


class Config(NamedTuple):
    """A checked configuration, each table complete with defaults."""

    text: str
    task: str
    size: int
    images: dict[str, Any]
    scan: dict[str, Any]
    method: dict[str, Any]
    network: dict[str, Any]  # name and arguments, empty where the method brings its own
    training: dict[str, Any]


def choice(*names: str, default: Any = REQUIRED) -> Key:
    return Key(default, "one of " + ", ".join(map(repr, names)), lambda v: isinstance(v, str) and v in names)


def whole(low: int, high: int = 10**9, default: Any = REQUIRED) -> Key:
    text = f"a whole number, {low} or more" if high == 10**9 else f"a whole number from {low} to {high}"
    return Key(default, text, lambda v: type(v) is int and low <= v <= high)


def number(low: float, default: Any = REQUIRED, above: bool = False) -> Key:
    def accepts(v):
        return type(v) in (int, float) and math.isfinite(v) and (v > low if above else v >= low)

    return Key(default, f"a number, {'above ' if above else ''}{low:g}{'' if above else ' or more'}", accepts)


def flag(default: bool) -> Key:
    return Key(default, "true or false", lambda v: isinstance(v, bool))


def text(default: Any = REQUIRED, allowed: str = "text") -> Key:
    return Key(default, allowed, lambda v: isinstance(v, str) and v != "")


def _is_snr(v: Any) -> bool:
    pair = v if isinstance(v, list) else [v, v]
    return (len(pair) == 2 and all(type(n) in (int, float) and not math.isnan(n) for n in pair)
            and -20 <= pair[0] <= pair[1] and (pair[0] == pair[1] or math.isfinite(pair[1])))


SNR = Key(30.0, "dB: a number, a range [low, high] of which each example draws one, or inf for no noise", _is_snr)
TOP = {"task": choice("mri", "ct"), "size": whole(8, 1024, 128)}
IMAGES = {
    "source": text("ellipses", "'ellipses', an image file (.npz with `images` or `image`, NIfTI, DICOM), or a folder "
                               "of such files"),
    "validation": whole(1, default=8), "test": whole(1, default=20),
}
SCANS = {
    "mri": {
        "coils": whole(1, 64, 1), "mask": choice("variable-density", "random", "uniform", default="variable-density"),
        "pattern": choice("lines", "points", default="lines"), "acceleration": number(1, 4.0),
        "calibration": whole(0, default=None), "new_masks": flag(True), "snr": SNR, "phase": flag(True),
    },
    "ct": {"views": whole(1, default=30), "detectors": whole(2, default=None), "arc": number(0, 180.0, above=True),
           "snr": SNR},
}
METHODS = {
    "unrolled": {"iterations": whole(1, 100, 8), "shared": flag(False),
                 "dc": choice("gradient", "proximal", "replacement", default="gradient"), "checkpoint": flag(False)},
    "modl": {"iterations": whole(1, 100, 5), "lam": number(0, 0.05, above=True), "cg_iterations": whole(1, 100, 8),
             "checkpoint": flag(False)},
    "post-processed": {},
    "primal-dual": {"iterations": whole(1, 100, 8), "features": whole(1, default=32), "depth": whole(2, default=3),
                    "memory": whole(1, 100, 5), "shared": flag(False), "checkpoint": flag(False)},
    "learned-inverse": {},
}
NETWORKS = {"unrolled": "ConvNet", "modl": "ConvNet", "post-processed": "UNet", "learned-inverse": "AUTOMAP"}
TRAINING = {
    "steps": whole(1, default=5000), "batch_size": whole(1, default=4), "learning_rate": number(0, 1e-3, above=True),
    "schedule": choice("constant", "cosine", default="cosine"), "warmup": whole(0, default=0),
    "clip": number(0, 1.0, above=True), "loss": choice("mse", "l1", "ssim", default="mse"), "seed": whole(0, default=0),
    "validate_every": whole(1, default=None), "patience": whole(1, default=None),
    "checkpoint": text(None, "the name of a folder"), "checkpoint_every": whole(1, default=None),
    "time_limit": number(0, None, above=True),
}


def read_config(path: Path) -> Config:
    """The configuration in a file.

    Raises:
        Failure: naming the key, what it is and what it may be.
    """
    try:
        content = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise Failure(f"{path} is not a text file in UTF-8, as TOML is") from None
    except OSError as error:
        raise Failure(f"{path}: {'no such file' if isinstance(error, FileNotFoundError) else error.strerror}") from None
    return parse_config(content, str(path))


def parse_config(content: str, name: str) -> Config:
    """The configuration in a text; `name` is what errors call it."""
    try:
        given = tomllib.loads(content)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Failure(f"{name} is not TOML: {error}") from None
    tables = ("images", "scan", "method", "network", "training")
    for key in tables:
        if not isinstance(given.get(key, {}), dict):
            raise Failure(f"{name}: {key} must be a table, written [{key}], got {given[key]!r}")
    top = _table(name, "", {k: v for k, v in given.items() if k not in tables}, TOP, tables)
    images = _table(name, "images", given.get("images", {}), IMAGES)
    scan = _table(name, "scan", given.get("scan", {}), SCANS[top["task"]], note=f" for task = {top['task']!r}")
    method = dict(given.get("method", {}))
    chosen = _table(name, "method", {"name": method.pop("name", None)} if "name" in method else {},
                    {"name": choice(*METHODS)})["name"]
    method = {"name": chosen} | _table(name, "method", method, METHODS[chosen], note=f" for {chosen!r}")
    network = dict(given.get("network", {}))
    if chosen in NETWORKS:
        network = _network(name, {"name": NETWORKS[chosen], **network})
    elif network:
        raise Failure(f"{name}: [network] has no effect with method.name = {chosen!r}, which brings its own; "
                      "leave it out")
    training = _table(name, "training", given.get("training", {}), TRAINING)
    config = Config(content, top["task"], top["size"], images, scan, method, network, training)
    _check_together(name, config)
    return config


def describe() -> str:
    """Every key with its default, as a commented TOML text."""
    def line(key, k, note=""):
        default = "(required)" if k.default is REQUIRED else "(none)" if k.default is None else json.dumps(k.default)
        return f"{key + ' = ' + default:32} # {k.allowed}{note}"

    lines = [line(key, k) for key, k in TOP.items()]
    for title, keys, note in [
            ("images", IMAGES, ""), *(("scan", keys, f"task = {task!r}") for task, keys in SCANS.items()),
            ("method", {"name": choice(*METHODS)}, ""),
            *(("method", keys, f"name = {name!r}") for name, keys in METHODS.items() if keys)]:
        lines += ["", f"[{title}]" + (f"  # for {note}" if note else ""), *(line(key, k) for key, k in keys.items())]
    from ..networks import ARCHITECTURES

    lines += ["", "[network]  # name, and arguments of the class of that name in jr.networks",
              line("name", choice(*sorted(ARCHITECTURES), default=NETWORKS["unrolled"])), "", "[training]",
              *(line(key, k, " (minutes)" * (key == "time_limit")) for key, k in TRAINING.items())]
    return "\n".join(lines)


def _table(name: str, table: str, given: Mapping[str, Any], keys: Mapping[str, Key], others: tuple[str, ...] = (),
           note: str = "") -> dict[str, Any]:
    prefix = f"{table}." if table else ""
    for key in given:
        if key not in keys:
            known = ", ".join([*keys, *(f"[{t}]" for t in others)]) or "none"
            raise Failure(f"{name}: unknown key {prefix}{key}; known{note} are {known}")
    found = {}
    for key, (default, allowed, accepts) in keys.items():
        if key not in given and default is REQUIRED:
            raise Failure(f"{name}: {prefix}{key} is missing; it must be {allowed}")
        if key in given and not accepts(given[key]):
            raise Failure(f"{name}: {prefix}{key} must be {allowed}, got {given[key]!r}")
        found[key] = given.get(key, default)
    return found


def _network(name: str, given: dict[str, Any]) -> dict[str, Any]:
    import dataclasses

    from ..networks import ARCHITECTURES

    chosen = _table(name, "network", {"name": given.pop("name")}, {"name": choice(*sorted(ARCHITECTURES))})["name"]
    # What follows from the task is set there.
    fields = {f.name: f.default for f in dataclasses.fields(ARCHITECTURES[chosen]) if f.name not in DERIVED}
    for key, v in given.items():
        if key not in fields:
            raise Failure(f"{name}: unknown key network.{key}; known for {chosen} are {', '.join(fields) or 'none'}")
        v = given[key] = tuple(v) if isinstance(v, list) else v
        default = fields[key]
        if type(default) in (bool, int, float, str, tuple) and not isinstance(
                v, (int, float) if type(default) is float else type(default)):
            raise Failure(f"{name}: network.{key} must be a {type(default).__name__} such as {default!r}, got {v!r}")
    return {"name": chosen, **given}


DERIVED = ("channels", "in_channels", "out_channels", "inputs", "outputs", "shape")


def _check_together(name: str, c: Config) -> None:
    """What single keys cannot tell."""
    if c.scan.get("calibration") is None and c.task == "mri":
        # As many as leave half of the samples to be drawn, 8 % at most.
        share = min(0.08, 0.5 / c.scan["acceleration"])
        along = share if c.scan["pattern"] == "lines" else share**0.5
        c.scan["calibration"] = int(along * c.size)
    if c.scan.get("mask") == "uniform" and (c.scan["pattern"] == "points" or c.scan["acceleration"] % 1):
        raise Failure(f"{name}: scan.mask = 'uniform' takes scan.pattern = 'lines' and a whole scan.acceleration, got "
                      f"{c.scan['pattern']!r} and {c.scan['acceleration']}")
    if c.method["name"] == "primal-dual" and c.scan.get("coils", 1) > 1:
        raise Failure(f"{name}: method.name = 'primal-dual' takes scan.coils = 1, got {c.scan['coils']}")
    if c.method.get("dc") == "replacement" and c.task == "ct":
        raise Failure(f"{name}: method.dc = 'replacement' goes with task = 'mri'; for 'ct' take 'gradient' or "
                      "'proximal'")
    for key in ("validate_every", "checkpoint_every"):
        if c.training[key] is None:
            c.training[key] = max(1, min(500, c.training["steps"] // 10))
    if c.training["warmup"] >= c.training["steps"]:
        raise Failure(f"{name}: training.warmup must be less than training.steps = {c.training['steps']}, got "
                      f"{c.training['warmup']}")
