"""Checkpoints of a training, by orbax: written whole or not at all, read back bit by bit, or refused."""

from __future__ import annotations

import math
import os
import warnings
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

KEPT = 2


class Checkpoints:
    """The last two checkpoints of a training, in a folder.

    Args:
        folder: made if there is none.
        resume: False refuses a folder that holds anything already.
    """

    def __init__(self, folder: str | os.PathLike, resume: bool):
        import orbax.checkpoint as ocp

        self.folder = Path(os.path.abspath(folder))
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"checkpoint={self.folder} is a file; it must be a folder")
        if not resume and self.folder.is_dir() and any(self.folder.iterdir()):
            raise FileExistsError(f"checkpoint={self.folder} holds something already; resume=True goes on with the "
                                  "training found there, another folder begins a new one")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ocp = ocp
        self.manager = self._open()

    def _open(self):
        options = self.ocp.CheckpointManagerOptions(max_to_keep=KEPT, enable_async_checkpointing=False)
        return self.ocp.CheckpointManager(self.folder, options=options)

    def save(self, step: int, tree: Any, about: dict[str, Any], best_step: int) -> None:
        """Writes arrays, and what they belong to; a checkpoint of this step that exists already is the same one."""
        if step in self.manager.all_steps():
            return
        arrays = _flat(tree)
        about = about | {"best_step": best_step, "checksum": checksum(arrays),
                         "arrays": {name: _kind(v) for name, v in arrays.items()}}
        # As one array: orbax takes about a millisecond for each, and there may be thousands.
        packed = np.frombuffer(b"".join(v.tobytes() for v in arrays.values()), np.uint8)
        args = self.ocp.args
        self.manager.save(step, args=args.Composite(arrays=args.StandardSave({"bytes": packed}),
                                                    about=args.JsonSave(about)), force=True)

    def restore(self, tree: Any, about: dict[str, Any]) -> tuple[int, Any, dict[str, Any]] | None:
        """(step, tree, about) of the last checkpoint that can be read; None if the folder has none.

        Args:
            tree: arrays of the shapes to expect, but for "log".
            about: what the checkpoint must say of itself.

        Raises:
            ValueError: the checkpoint is of another training.
            RuntimeError: there are checkpoints, and none can be read.
        """
        steps = sorted(self.manager.all_steps(), reverse=True)
        damaged = []
        for step in steps:
            try:
                found, arrays = self._read(step)
            except (KeyboardInterrupt, MemoryError):
                raise
            except Exception as error:  # whatever orbax makes of damaged files
                warnings.warn(f"the checkpoint of step {step} in {self.folder} cannot be read and is left out: "
                              f"{_first_line(error)}", RuntimeWarning, stacklevel=4)
                damaged.append(step)
                continue
            _check_same(self.folder, found, arrays, about, _flat(tree))
            self._set_aside(damaged)
            return step, _unflat(tree, arrays), found
        if steps:
            raise RuntimeError(f"none of the checkpoints in {self.folder} can be read (steps {steps}); remove it, or "
                               "use another folder, to begin anew")
        return None

    def _read(self, step: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        args = self.ocp.args
        about = dict(self.manager.restore(step, args=args.Composite(about=args.JsonRestore()))["about"])
        kinds = {name: (np.dtype(dtype), shape) for name, (dtype, shape) in about["arrays"].items()}
        sizes = [dtype.itemsize * math.prod(shape) for dtype, shape in kinds.values()]
        template = {"bytes": np.zeros(sum(sizes), np.uint8)}
        restored = self.manager.restore(step, args=args.Composite(arrays=args.StandardRestore(template)))
        packed = restored["arrays"]["bytes"]
        parts = np.split(np.asarray(packed), np.cumsum(sizes)[:-1])
        arrays = {name: np.frombuffer(part.tobytes(), dtype).reshape(shape)
                  for part, (name, (dtype, shape)) in zip(parts, kinds.items(), strict=True)}
        if checksum(arrays) != about["checksum"]:
            raise ValueError("its checksum is wrong")
        return about, arrays

    def _set_aside(self, steps: list[int]) -> None:
        """Out of the way of the checkpoints of these steps that are to come."""
        for step in steps:
            to = self.folder / f"damaged-{step}"
            for n in range(1, 1000):
                if not to.exists():
                    break
                to = self.folder / f"damaged-{step}-{n}"
            os.replace(self.folder / str(step), to)
        if steps:
            self.manager.close()
            self.manager = self._open()

    def close(self) -> None:
        self.manager.close()


def _flat(tree: Any) -> dict[str, np.ndarray]:
    return {str(jax.tree_util.keystr(path)): _plain(v) for path, v in jax.tree_util.tree_flatten_with_path(tree)[0]}


def _plain(v: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(v) if _is_key(v) else v)


def _is_key(v: Any) -> bool:
    return isinstance(v, jax.Array) and jnp.issubdtype(v.dtype, jax.dtypes.prng_key)


def _unflat(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    def back(path, v):
        found = arrays[str(jax.tree_util.keystr(path))]
        return jax.random.wrap_key_data(jnp.asarray(found), impl=jax.random.key_impl(v)) if _is_key(v) else found
    return jax.tree_util.tree_map_with_path(back, tree)


def _kind(v: np.ndarray) -> tuple[str, list[int]]:
    return v.dtype.name, list(v.shape)


def checksum(tree: Any) -> int:
    """CRC-32 of the names, shapes, dtypes and bytes of all arrays."""
    total = 0
    for name, v in sorted(_flat(tree).items()):
        total = zlib.crc32(f"{name} {v.dtype} {v.shape}".encode(), total)
        total = zlib.crc32(np.ascontiguousarray(v).tobytes(), total)
    return total


def _check_same(folder: Path, found: dict, arrays: dict, about: dict, wanted: dict) -> None:
    for name, want in about.items():
        if found.get(name) != want:
            raise ValueError(f"the checkpoint in {folder} is of another training: its {name} was {found.get(name)}, "
                             f"here it is {want}; use another folder")
    got, want = ({k: _kind(v) for k, v in side.items() if not k.startswith("['log']")} for side in (arrays, wanted))
    for name in sorted({*got, *want}):
        if got.get(name) != want.get(name):
            kind = "optimizer" if name.startswith("['optimizer']") else "reconstructor"
            raise ValueError(f"the checkpoint in {folder} is of another {kind}: {name} was {_text(got.get(name))}, "
                             f"here it is {_text(want.get(name))}; use another folder")


def _text(kind: Any) -> str:
    return "not there" if kind is None else f"{kind[0]}{list(kind[1])}"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
