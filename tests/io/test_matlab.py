"""MATLAB files of versions 4, 5 and 7.3, by SciPy and h5py."""

import struct
import zlib

import h5py
import numpy as np
import pytest
import scipy.io
from fuzz import SHORT, check_reader

from jaxrecon.io import list_mat, load, read_mat, read_mat_arrays


@pytest.fixture
def random(rng):
    return lambda *shape: rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def write73(path, classes=None, **arrays):
    """As MATLAB does: a user block of 512 bytes, axes reversed, complex numbers as pairs (real, imag)."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, x in arrays.items():
            x = np.asarray(x).T
            if x.dtype.kind == "c":
                pair = np.zeros(x.shape, [("real", x.real.dtype), ("imag", x.real.dtype)])
                pair["real"], pair["imag"] = x.real, x.imag
                x = pair
            data = file.create_dataset(name, data=x)
            data.attrs["MATLAB_class"] = np.bytes_((classes or {}).get(name, "double"))
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return path


def write(path, version, **arrays):
    if version == "7.3":
        return write73(path, **arrays)
    scipy.io.savemat(path, arrays, format="4" if version == "4" else "5", do_compression=version == "7")
    return path


@pytest.mark.parametrize("version", ["4", "5", "7", "7.3"])
@pytest.mark.parametrize("shape", [(6, 5), (7, 4)])
def test_one_coil_of_any_version(tmp_path, random, version, shape):
    kspace, mask = random(*shape), np.ones(shape)
    mask[2] = 0
    scan = load(write(tmp_path / "a.mat", version, data=kspace, mask=mask, weights=kspace.real))
    np.testing.assert_array_equal(scan.kspace, (kspace * mask)[None])
    assert scan.mask.shape == (shape[0], 1)


@pytest.mark.parametrize("version", ["5", "7", "7.3"])
def test_coils_come_last(tmp_path, random, version):
    kspace, maps = random(6, 5, 3), random(6, 5, 3)
    path = write(tmp_path / "a.mat", version, kspace=kspace, maps=maps, other=maps)
    scan = load(path)
    np.testing.assert_array_equal(scan.kspace, kspace.transpose(2, 0, 1))
    np.testing.assert_array_equal(scan.maps, maps.transpose(2, 0, 1))
    assert read_mat(path, maps=None).maps is None and read_mat(path, maps="other").maps is not None
    path = write(tmp_path / "b.mat", version, kspace=np.moveaxis(kspace, 2, 0))
    np.testing.assert_array_equal(load(path, coil_axis=0).kspace, kspace.transpose(2, 0, 1))
    path = write(tmp_path / "c.mat", version, kspace=random(6, 5, 4, 3))
    scan = load(path, slice=3)
    assert scan.kspace.shape == (3, 6, 5) and (scan.slice, scan.slices) == (3, 4)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_the_choice_of_a_variable(tmp_path, random, version):
    path = write(tmp_path / "a.mat", version, u=random(6, 5), v=random(6, 5), t=np.ones((6, 5)))
    with pytest.raises(ValueError, match=r"a\.mat holds 2 complex matrices; say which is k-space by name="):
        load(path)
    assert load(path, name="v").kspace.shape == (1, 6, 5)
    with pytest.raises(ValueError, match=r"a\.mat holds no variable w, only t, u, v|only u, v, t"):
        load(path, name="w")
    with pytest.raises(ValueError, match=r"a\.mat: t: kspace must be complex"):
        load(path, name="t")
    with pytest.raises(ValueError, match=r"b\.mat holds no complex matrix.*t \(double \[6, 5\]\)"):
        load(write(tmp_path / "b.mat", version, t=np.ones((6, 5))))
    np.testing.assert_array_equal(read_mat_arrays(path, ["t"])["t"], np.ones((6, 5)))
    assert list_mat(path)["t"] == ((6, 5), "double")


def test_only_numbers_are_read(tmp_path, random):
    path = tmp_path / "a.mat"
    objects = np.array([[1, "a"]], dtype=object)
    scipy.io.savemat(path, {"kspace": objects, "text": "hello", "s": {"kspace": random(3, 3)}, "x": random(3, 3)})
    for name, kind in (("kspace", "cell"), ("text", "char"), ("s", "struct")):
        with pytest.raises(ValueError, match=rf"a\.mat: cannot read {name}: it is of class {kind}"):
            load(path, name=name)
    path = write73(tmp_path / "b.mat", {"f": "function_handle"}, f=np.ones((3, 3)), kspace=random(3, 3))
    with pytest.raises(ValueError, match="it is of class function_handle"):
        load(path, name="f")
    assert load(path).kspace.shape == (1, 3, 3)


def test_bombs_and_headers_that_lie(tmp_path, random):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"kspace": np.zeros((2000, 2000), complex)}, do_compression=True)
    assert path.stat().st_size < 2**17
    with pytest.raises(ValueError, match=r"a\.mat: cannot read kspace: it is double \[2000, 2000\]; at most"):
        load(path, largest=2**20)
    # An element that says it inflates to a gigabyte, where its shape is 2 x 2.
    flags = struct.pack("<4I", 6, 8, 0x0806, 0)
    body = flags + struct.pack("<4I", 5, 8, 2, 2) + struct.pack("<2I", 1, 6) + b"kspace\0\0"
    body += struct.pack("<2I", 9, 2**30)
    packer = zlib.compressobj()
    packed = [packer.compress(struct.pack("<2I", 14, len(body) + 2**30) + body)]
    packed = b"".join([*packed, packer.compress(bytes(2**24)), packer.flush()])
    header = path.read_bytes()[:128]
    path.write_bytes(header + struct.pack("<2I", 15, len(packed)) + packed)
    with pytest.raises(ValueError, match=r"a\.mat cannot be read as a \.mat file: reading it takes more memory"):
        load(path)


def test_other_files(tmp_path):
    for data in (b"", b"hello", b"MATLAB 5.0 MAT-file" + bytes(300), bytes(1000)):
        (tmp_path / "a.mat").write_bytes(data)
        with pytest.raises(ValueError, match=r"a\.mat"):
            load(tmp_path / "a.mat")


def base(tmp_path, random, version):
    kspace = random(5, 4, 2).astype(np.complex64)
    kspace = kspace[..., 0] if version == "4" else kspace
    return write(tmp_path / "base.mat", version, kspace=kspace, mask=np.ones((5, 4))).read_bytes()


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_damaged_files(tmp_path, random, version):
    check_reader(tmp_path / "a.mat", base(tmp_path, random, version), read_mat, SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["4", "5", "7", "7.3"])
def test_many_damaged_files(tmp_path, random, version, monkeypatch):
    monkeypatch.setattr("jaxrecon.io.isolated.SECONDS", 1.0)
    check_reader(tmp_path / "a.mat", base(tmp_path, random, version), read_mat, 600, seed=1)
