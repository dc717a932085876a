"""Reading and writing scans: one format per file."""

from .atomic import atomic_write
from .npz import read_npz, write_npz
from .scan import Scan

__all__ = ["Scan", "atomic_write", "read_npz", "write_npz"]
