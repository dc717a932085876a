"""How a command fails: one line, and an exit code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class Failure(Exception):
    """What the user is told, in one line."""

    def __init__(self, message: str, code: int = 2):
        super().__init__(message)
        self.code = code


@contextlib.contextmanager
def of_the_input() -> Iterator[None]:
    """Errors in here are the input's: reading, checking and calibrating, but not solving."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        text = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.strerror else str(error)
        raise Failure(text) from error
