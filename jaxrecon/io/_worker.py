"""The process of `isolated.py`: HDF5 and MATLAB files are read here, and where that crashes, only this ends.

It imports h5py or SciPy, and NumPy, answers requests (one line of JSON each) with a line of JSON and the bytes of the
arrays, and follows no link to another file.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import sys
from typing import Any

import numpy as np

h5py: Any = None
with contextlib.suppress(ImportError):  # MATLAB files before version 7.3 do without
    h5py = importlib.import_module("h5py")

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None

MOST_OBJECTS = 20_000
LONGEST_TEXT = 2**24
NAMES_OF_COMPLEX = (("r", "i"), ("real", "imag"), ("re", "im"))


class Refused(Exception):
    pass


def limit(memory: int, seconds: float) -> None:
    """From now on `memory` more bytes, and `seconds` more of computing."""
    if resource is None:
        return
    try:
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + memory, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (OSError, ValueError):
        pass
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = math.ceil(used.ru_utime + used.ru_stime + seconds)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def listing(file: Any) -> dict:
    """Every dataset below hard links, by path: shape, dtype and what it cannot be read for."""
    root = h5py.h5o.get_info(file["/"].id)
    found, seen, groups = {}, {(root.fileno, root.addr)}, [("", file["/"])]
    while groups:
        prefix, group = groups.pop()
        for name in group:
            if len(seen) + len(found) >= MOST_OBJECTS:
                raise Refused(f"it holds more than {MOST_OBJECTS} objects")
            path = f"{prefix}{name}"
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                found[path] = {"refused": "it is a link, which is not followed"}
                continue
            item = group[name]
            if isinstance(item, h5py.Group):
                where = h5py.h5o.get_info(item.id)
                if (where.fileno, where.addr) not in seen:
                    seen.add((where.fileno, where.addr))
                    groups.append((f"{path}/", item))
            elif isinstance(item, h5py.Dataset):
                found[path] = describe(item)
    return found


def describe(item: Any) -> dict:
    about = {"shape": item.shape, "attributes": attributes(item)}
    kind = of_numbers(item.dtype)
    if item.shape is None:
        about["refused"] = "it is empty"
    elif item.external:
        about["refused"] = "its values lie in another file, which is not read"
    elif item.is_virtual:
        about["refused"] = "it is put together from other datasets, which is not supported"
    elif kind is not None:
        about["dtype"] = kind.str
    elif h5py.check_string_dtype(item.dtype) is not None:
        about["dtype"] = "text"
    elif is_acquisitions(item.dtype):
        about["dtype"] = "acquisitions"
    else:
        about["refused"] = f"its type {item.dtype} is neither numbers nor text"
    return about


def attributes(item: Any) -> dict:
    found = {}
    for name in list(item.attrs)[:32]:
        try:
            v = item.attrs[name]
        except Exception:
            continue
        v = v.decode("latin-1") if isinstance(v, bytes) else v.item() if isinstance(v, np.generic) else v
        if isinstance(v, str | int | float | bool) and (not isinstance(v, str) or len(v) < 1000):
            found[name] = v
    return found


def of_numbers(dtype: np.dtype) -> np.dtype | None:
    """The plain dtype of numbers, of a pair (real, imaginary) as well; None for any other type."""
    if dtype.kind in "iufcb" and dtype.itemsize <= 16 and dtype.metadata is None:
        return dtype
    if dtype.kind in "iu" and h5py.check_enum_dtype(dtype) is not None:
        return dtype
    if dtype.names in NAMES_OF_COMPLEX:
        real, imag = (dtype[n] for n in dtype.names)
        if real == imag and real.kind == "f" and real.itemsize in (4, 8) and dtype.itemsize == 2 * real.itemsize:
            return np.dtype(f"{real.byteorder}c{dtype.itemsize}")
    return None


def is_acquisitions(dtype: np.dtype) -> bool:
    """The table of an ISMRMRD file: head, and rows of float32 of any length."""
    if dtype.names != ("head", "traj", "data") or dtype["head"].names is None or dtype["head"].hasobject:
        return False
    return all(h5py.check_vlen_dtype(dtype[n]) == np.float32 for n in ("traj", "data"))


def find(file: Any, key: str) -> Any:
    at = file["/"]
    for name in key.split("/"):
        if not isinstance(at, h5py.Group) or not isinstance(at.get(name, getlink=True), h5py.HardLink):
            raise Refused("there is no such dataset")
        at = at[name]
    if not isinstance(at, h5py.Dataset):
        raise Refused("it is a group and not a dataset")
    about = describe(at)
    if "refused" in about:
        raise Refused(about["refused"])
    return at


def check_size(item: Any, rows: tuple | None, largest: int) -> None:
    shape, itemsize = item.shape, max(item.dtype.itemsize, 1)
    if rows is not None:
        if not shape or not 0 <= rows[0] < rows[1] <= shape[0]:
            raise Refused(f"its shape is {list(shape)}: rows {rows[0]} to {rows[1]} do not exist")
        shape = (rows[1] - rows[0], *shape[1:])
    for what, part, most in (("it", shape, largest), ("one chunk of it", item.chunks or (0,), max(largest, 2**26))):
        size = math.prod(part) * itemsize
        if size > most:
            raise Refused(f"{what} is {item.dtype}{list(part)}, {size / 2**30:.1f} GiB; at most "
                          f"{largest / 2**30:.1f} GiB are read")


def read(item: Any, rows: tuple | None, largest: int) -> list:
    check_size(item, rows, largest)
    if h5py.check_string_dtype(item.dtype) is not None:
        if int(item.size or 0) > 100_000:
            raise Refused(f"it holds {item.size} texts")
        text = np.asarray(item.asstr("utf-8", errors="replace")[()], dtype=object)
        if sum(map(len, text.ravel())) > LONGEST_TEXT:
            raise Refused("its text is too long")
        return text.tolist()
    if is_acquisitions(item.dtype):
        return acquisitions(item, rows or (0, len(item)), largest)
    values = np.asarray(item[()] if rows is None else item[rows[0]:rows[1]])
    kind = of_numbers(item.dtype)
    assert kind is not None
    return [np.ascontiguousarray(values).view(kind).reshape(values.shape)]


def acquisitions(item: Any, rows: tuple, largest: int) -> list:
    """head (as it is), then traj and data end to end, each with the lengths of its rows."""
    heads, parts, size = [], {"traj": [], "data": []}, 0
    for start in range(rows[0], rows[1], 256):
        block = item[start:min(start + 256, rows[1])]
        heads.append(np.ascontiguousarray(block["head"]))
        for name, into in parts.items():
            into.extend(np.asarray(v, np.float32).ravel() for v in block[name])
            size += sum(v.nbytes for v in into[-len(block):])
        if size > largest:
            raise Refused(f"its samples take more than {largest / 2**30:.1f} GiB")
    sent = [np.concatenate(heads) if heads else np.zeros(0, item.dtype["head"])]
    for rows_of in parts.values():
        sent += [np.array([len(v) for v in rows_of], np.int64), np.concatenate(rows_of or [np.zeros(0, np.float32)])]
    return sent


def matlab(request: dict) -> tuple:
    """The variables of a .mat file up to version 7.2: shapes and classes; or the values of some."""
    import scipy.io

    if request["names"] is None:
        return {"variables": scipy.io.whosmat(request["path"], appendmat=False)}, []
    loaded = scipy.io.loadmat(request["path"], appendmat=False, variable_names=request["names"])
    found = {name: v for name, v in loaded.items() if isinstance(v, np.ndarray) and v.dtype.kind in "biufc"}
    if sum(v.nbytes for v in found.values()) > request["largest"]:
        raise Refused("it takes more memory than its header says")
    sent = [np.ascontiguousarray(v) for v in found.values()]
    return {"names": list(found), "arrays": [[v.shape, v.dtype.str] for v in sent]}, sent


def answer(request: dict, file: Any) -> tuple:
    """What is said, what is sent, and the file that is open from now on."""
    limit(request["memory"], request["seconds"])
    if request["do"] == "matlab":
        return *matlab(request), file
    if request["do"] == "open":
        file = h5py.File(request["path"], "r")
        return {"listing": listing(file)}, [], file
    if request["do"] == "close":
        if file is not None:
            file.close()
        return {}, [], None
    assert file is not None
    sent = read(find(file, request["key"]), request["rows"], request["largest"])
    if not isinstance(sent, list) or not all(isinstance(v, np.ndarray) for v in sent):
        return {"text": sent}, [], file
    return {"arrays": [[v.shape, v.dtype.descr if v.dtype.names else v.dtype.str] for v in sent]}, sent, file


def serve(line: bytes, out: Any) -> bool:
    """Answer this request and those that follow, until one file is done with. True where all went well."""
    file, well = None, True
    while line:
        request = json.loads(line)
        try:
            said, sent, file = answer(request, file)
        except MemoryError:
            said, sent, well = {"error": "reading it takes more memory than it should"}, [], False
        except Refused as error:
            said, sent = {"error": str(error)}, []
        except Exception as error:
            said, sent, well = {"error": "it is damaged (" + " ".join(str(error).split())[:200] + ")"}, [], False
        out.write(json.dumps(said).encode() + b"\n")
        for v in sent:
            if v.size:
                out.write(memoryview(v.reshape(-1).view(np.uint8)))
        out.flush()
        if request["do"] == "close":
            break
        line = sys.stdin.buffer.readline()
    return well


def main() -> None:
    out = sys.stdout.buffer
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what the C library says as it dies
    while line := sys.stdin.buffer.readline():
        if json.loads(line)["do"] == "matlab":
            import scipy.io  # noqa: F401
        if not hasattr(os, "fork"):
            if not serve(line, out):
                return  # what is damaged may have damaged this process
            continue
        # A process for each file: it takes 2 ms, begins without a trace of those before, and ends by itself.
        child = os.fork()
        if child == 0:
            serve(line, out)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
            return  # it may have died within an answer


if __name__ == "__main__":
    main()
