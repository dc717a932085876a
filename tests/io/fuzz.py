"""Damaged files for the readers' tests: a base file, cut and overwritten at random, and what may come of reading it."""

import numpy as np
import pytest

SHORT, LONG = 60, 600


def damaged(base: bytes, count: int, seed: int = 0, first: int = 0):
    """Copies of `base`: every fifth is cut short, the others have one to eight bytes changed or a stretch overwritten.

    Half of the changes fall into the first 1024 bytes (from `first` on), where headers are.
    """
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        data = bytearray(base)
        if i % 5 == 0:
            yield bytes(data[:rng.integers(len(data))])
            continue
        for _ in range(rng.integers(1, 9)):
            span = len(data) if rng.random() < 0.5 else min(len(data), first + 1024)
            at = int(rng.integers(min(first, span - 1), span)) if rng.random() < 0.8 else int(rng.integers(span))
            choice = rng.random()
            if choice < 0.5:
                data[at] = int(rng.integers(256))
            elif choice < 0.7:
                data[at] ^= 1 << int(rng.integers(8))
            elif choice < 0.85:
                data[at:at + 4] = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff"][
                    int(rng.integers(4))][:len(data) - at]
            else:
                end = min(len(data), at + int(rng.integers(1, 32)))
                data[at:end] = rng.integers(256, size=end - at, dtype=np.uint8).tobytes()
        yield bytes(data)


def check_reader(path, base: bytes, read, count: int, **options) -> dict[str, int]:
    """Read `count` damaged copies at `path`: each a value, or a ValueError of one line that names the file."""
    seen = {"read": 0, "refused": 0}
    for i, data in enumerate(damaged(base, count, **options)):
        path.write_bytes(data)
        try:
            read(path)
            seen["read"] += 1
        except ValueError as error:
            message = str(error)
            if path.stem not in message or "\n" in message:
                pytest.fail(f"damaged copy {i}: the error does not name the file in one line: {message!r}")
            seen["refused"] += 1
        except Exception as error:
            pytest.fail(f"damaged copy {i}: {type(error).__name__}: {error}")
    # Else the copies were not damaged, or the reader refuses everything.
    assert seen["refused"] > 0.05 * count, seen
    return seen
