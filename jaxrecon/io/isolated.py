"""Files that crash their library: they are read in another process, within limits on memory and time.

The HDF5 library crashes or loops for ever on about one damaged file in 500, SciPy's reader of MATLAB files on some, and
no check made beforehand foresees which. So a helper process does the reading; where it dies, the file is at fault and
is named. It is kept, and forks for every file (where the system can). Limits on memory and time are those of the
system: none on Windows.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

LARGEST = 2**32  # bytes of one array
SECONDS = 5.0  # of computing that one request may take, and one more for every 10 MB


class Worker:
    """The process, and the talk with it."""

    def __init__(self):
        if not sys.executable:
            raise RuntimeError("reading this file needs another Python process, and sys.executable does not name one")
        # One thread, so that address space is not spent on more; no filters but those compiled in.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
                       "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("_worker.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            start_new_session=True)
        self.owner = os.getpid()
        atexit.register(self.stop)

    def ask(self, prefix: str, size: int, largest: int = LARGEST, **request: Any) -> tuple[dict, list[np.ndarray]]:
        """The answer to one request; ValueError where it is an error or does not come."""
        request |= {"largest": largest, "memory": 2**28 + 3 * size, "seconds": SECONDS + size / 1e7}
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            said = json.loads(self.process.stdout.readline())
            arrays = [self._array(shape, dtype) for shape, dtype in said.get("arrays", ())]
        except (OSError, ValueError, EOFError):
            self.stop()
            raise ValueError(prefix + "it is damaged: its library crashed, or came to no end, reading it") from None
        except BaseException:  # interrupted: what comes next would be taken for another answer
            self.stop()
            raise
        if "error" in said:
            raise ValueError(prefix + said["error"])
        return said, arrays

    def _array(self, shape: list[int], dtype: Any) -> np.ndarray:
        made = np.empty(shape, np.dtype(dtype if isinstance(dtype, str) else _descr(dtype)))
        assert self.process.stdout is not None
        if made.size:
            into = memoryview(made.reshape(-1).view(np.uint8))  # pyright: ignore[reportArgumentType]
            while into:
                got = self.process.stdout.readinto(into)  # pyright: ignore[reportAttributeAccessIssue]
                if not got:
                    raise EOFError
                into = into[got:]
        return made

    def release(self) -> None:
        """Kept for the next file, or ended where it is not fit for that."""
        if self.process.returncode is None:
            with contextlib.suppress(ValueError):
                self.ask("", 0, do="close")
        if self.process.returncode is None and not _IDLE:
            _IDLE.append(self)
        else:
            self.stop()

    def stop(self) -> None:
        """The end of the process, and of the one it forked for this file."""
        atexit.unregister(self.stop)
        if self.owner != os.getpid():
            return
        if self.process.returncode is None:
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # pyright: ignore[reportOptionalMemberAccess]


_IDLE: list[Worker] = []


def _take() -> Worker:
    """The idle process, or a new one: after a fork the idle one is the parent's."""
    with contextlib.suppress(IndexError):
        worker = _IDLE.pop()
        if worker.owner == os.getpid() and worker.process.poll() is None:
            return worker
    return Worker()


@contextlib.contextmanager
def worker() -> Iterator[Worker]:
    """The process for one file; it is kept for the next."""
    process = _take()
    try:
        yield process
    finally:
        process.release()


def _descr(fields: list) -> list[tuple]:
    """A structured dtype as JSON brought it."""
    return [(name, _descr(kind) if isinstance(kind, list) else kind, *(tuple(s) for s in shape))
            for name, kind, *shape in fields]
