"""Reading and writing .npz scans: what is accepted, and how everything else is refused."""

import io
import os
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.io import Scan, atomic_write, read_npz, write_npz
from jaxrecon.io.npz import read_arrays


@pytest.fixture
def kspace(rng):
    return (rng.standard_normal((3, 12, 10)) + 1j * rng.standard_normal((3, 12, 10))).astype(np.complex64)


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("name", ["kspace", "ksp"])
def test_reads_what_was_written(tmp_path, kspace, name):
    scan = read_npz(save(tmp_path / "a.npz", **{name: kspace}, maps=2 * kspace))
    assert scan.kspace.dtype == np.complex64
    np.testing.assert_array_equal(scan.kspace, kspace)
    np.testing.assert_array_equal(scan.maps, 2 * kspace)
    assert scan.mask.shape == (1, 1) and scan.mask.all()
    assert read_npz(tmp_path / "a.npz", maps=None).maps is None


def test_compressed_and_fortran_order(tmp_path, kspace):
    np.savez_compressed(tmp_path / "a.npz", kspace=np.asfortranarray(kspace.astype(np.complex128)))
    scan = read_npz(tmp_path / "a.npz")
    assert scan.kspace.dtype == np.complex128
    np.testing.assert_array_equal(scan.kspace, kspace)


def test_one_coil_and_named_maps(tmp_path, kspace):
    scan = read_npz(save(tmp_path / "a.npz", kspace=kspace[0], sens=kspace[0]), maps="sens")
    assert scan.kspace.shape == scan.maps.shape == (1, 12, 10)


def test_mask_is_found_from_zeros(kspace):
    rows, columns, points = kspace.copy(), kspace.copy(), kspace.copy()
    rows[:, [1, 4]] = 0
    columns[..., 7] = 0
    points[:, 3, 3] = 0
    points[0, 5, 5] = 0  # one coil only: measured all the same
    assert Scan(rows).mask.shape == (12, 1) and np.flatnonzero(~Scan(rows).mask).tolist() == [1, 4]
    assert Scan(columns).mask.shape == (1, 10) and np.flatnonzero(~Scan(columns).mask).tolist() == [7]
    assert Scan(points).mask.shape == (12, 10) and np.argwhere(~Scan(points).mask).tolist() == [[3, 3]]


@pytest.mark.parametrize("shape", [(12, 10), (12, 1), (1, 10)])
@pytest.mark.parametrize("dtype", [bool, np.uint8, float])
def test_samples_outside_the_mask_are_ignored(kspace, rng, shape, dtype):
    mask = rng.random(shape) < 0.5
    scan = Scan(kspace, mask.astype(dtype))
    np.testing.assert_array_equal(scan.kspace, kspace * mask)
    np.testing.assert_array_equal(np.broadcast_to(scan.mask, (12, 10)), np.broadcast_to(mask, (12, 10)))


def test_whole_lines_in_a_full_mask_are_recognised(kspace):
    mask = np.zeros((12, 10), bool)
    mask[::3] = True
    assert Scan(kspace, mask).mask.shape == (12, 1)


def bad(kspace):
    nan = kspace.copy()
    nan[1, 2, 3] = np.nan
    return {
        "kspace must be complex, got float32": {"kspace": kspace.real},
        "kspace must be (coils, ny, nx)": {"kspace": kspace[None]},
        "1 values that are not finite (NaN or infinite), the first at (1, 2, 3)": {"kspace": nan},
        "there is nothing to reconstruct": {"kspace": 0 * kspace},
        "holds no array named kspace or ksp, only image": {"image": kspace},
        "both kspace and ksp": {"kspace": kspace, "ksp": kspace},
        "mask has shape (10, 12)": {"kspace": kspace, "mask": np.ones((10, 12))},
        "mask must hold True and False": {"kspace": kspace, "mask": np.full((12, 10), 0.5)},
        "got <U": {"kspace": kspace, "mask": np.full((12, 10), "a")},
        "maps have shape (2, 12, 10)": {"kspace": kspace, "maps": kspace[:2]},
        "maps must be complex": {"kspace": kspace, "maps": abs(kspace)},
        "maps holds": {"kspace": kspace, "maps": nan},
        "maps are zero everywhere": {"kspace": kspace, "maps": 0 * kspace},
        "array of Python objects": {"kspace": np.array([kspace, None], dtype=object)},
        "not a plain number": {"kspace": np.zeros(3, [("re", "f4"), ("im", "f4")])},
    }


@pytest.mark.parametrize("message", bad(np.ones((3, 12, 10), np.complex64)))
def test_bad_content_is_refused(tmp_path, kspace, message):
    path = save(tmp_path / "a.npz", **bad(kspace)[message])
    with pytest.raises(ValueError, match=r"a\.npz") as error:
        read_npz(path)
    assert message in str(error.value)


def test_objects_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    save(tmp_path / "a.npz", kspace=np.array([Trap()], dtype=object))
    with pytest.raises(ValueError, match="unpickled"):
        read_npz(tmp_path / "a.npz")
    assert not (tmp_path / "sprung").exists()


def entry(path, name, data):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return path


def header(shape, dtype="<c8"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def test_a_header_that_promises_too_much_takes_no_memory(tmp_path):
    # 8 TiB, then more bytes than there are.
    path = entry(tmp_path / "a.npz", "kspace.npy", header((2**20, 2**20)) + b"\0" * 64)
    with pytest.raises(ValueError, match=r"8192\.0 GiB; at most 4\.0 GiB are read"):
        read_npz(path)
    with pytest.raises(ValueError, match="promises 32768 bytes"):
        read_npz(entry(tmp_path / "b.npz", "kspace.npy", header((1, 64, 64)) + b"\0" * 64))
    with pytest.raises(ValueError, match="at most"):
        read_npz(save(tmp_path / "c.npz", kspace=np.ones((1, 64, 64), complex)), largest=1000)


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"not an array at all", header((1, 4, 4))[:-20],
                                  header((1, 4, 4)) + b"\0" * 1000, header((-1, 4, 4)) + b"\0" * 128])
def test_damaged_entries(tmp_path, data):
    with pytest.raises(ValueError, match="cannot read kspace") as error:
        read_npz(entry(tmp_path / "a.npz", "kspace.npy", data))
    assert "\n" not in str(error.value)


def test_damaged_files(tmp_path, kspace):
    path = save(tmp_path / "a.npz", kspace=kspace)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"not an \.npz file"):
        read_npz(path)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match="damaged"):
        read_npz(path)
    np.save(tmp_path / "b.npy", kspace)
    with pytest.raises(ValueError, match=r"not an \.npz file"):
        read_npz(tmp_path / "b.npy")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_npz(tmp_path / "missing.npz")
    with pytest.raises(ValueError, match="not a regular file"):
        read_npz(tmp_path)
    with pytest.raises(ValueError, match="no coil maps named sens, only kspace"):
        read_npz(save(tmp_path / "c.npz", kspace=kspace), maps="sens")


def test_write_needs_no_pickle(tmp_path, kspace):
    write_npz(tmp_path / "a.npz", {"image": kspace, "method": "fista", "lam": np.float64(0.1)})
    back = read_arrays(tmp_path / "a.npz", ("image", "method", "lam"))
    np.testing.assert_array_equal(back["image"], kspace)
    assert str(back["method"]) == "fista" and float(back["lam"]) == 0.1
    with pytest.raises(ValueError, match="cannot write what"):
        write_npz(tmp_path / "a.npz", {"what": None})
    assert list(tmp_path.iterdir()) == [tmp_path / "a.npz"]


def test_any_order_of_bytes(tmp_path, kspace):
    noise = np.eye(len(kspace), dtype=">c8")
    np.savez(tmp_path / "a.npz", kspace=kspace.astype(kspace.dtype.newbyteorder(">")), noise=noise)
    scan = Scan(read_npz(tmp_path / "a.npz").kspace, noise=noise)
    np.testing.assert_array_equal(jnp.asarray(read_arrays(tmp_path / "a.npz", ["noise"])["noise"]), noise)
    np.testing.assert_array_equal(jnp.asarray(scan.kspace), kspace.astype(scan.kspace.dtype))
    np.testing.assert_array_equal(jnp.asarray(scan.noise), noise)


def test_what_a_killed_process_left_is_no_obstacle(tmp_path):
    path = tmp_path / "a"
    (tmp_path / f".a.{os.getpid()}.part").write_bytes(b"half")
    with atomic_write(path) as file:
        file.write(b"whole")
        with atomic_write(path) as other:
            other.write(b"meanwhile")
    assert path.read_bytes() == b"whole" and len(list(tmp_path.iterdir())) == 2


def test_atomic_write(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    link = tmp_path / "link"
    link.symlink_to(path)
    with atomic_write(link) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new" and link.is_symlink()
    with pytest.raises(FileNotFoundError, match="create it first"), atomic_write(tmp_path / "no" / "a"):
        pass
    with pytest.raises(ValueError, match="not a regular file"), atomic_write(os.devnull):
        pass
