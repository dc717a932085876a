"""NIfTI files written by nibabel: pixels, axes and affine to the last bit."""

import gzip
import struct

import numpy as np
import pytest
from fuzz import LONG, check_reader

from jaxrecon.io import Image, load, read_nifti, write_nifti

nibabel = pytest.importorskip("nibabel")

AFFINE = np.array([[0.0, -2, 0.5, 10], [1.5, 0, 0, -20], [0, 0.25, 3, 30], [0, 0, 0, 1]])


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8", "c8"])
@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 4), (5, 4, 3, 2)])
def test_axes_values_and_affine(tmp_path, rng, ending, dtype, shape):
    data = (100 * rng.random(shape)).astype(dtype)
    path = tmp_path / f"a{ending}"
    nibabel.save(nibabel.Nifti1Image(data, AFFINE), path)
    image = load(path)
    assert isinstance(image, Image) and image.pixels.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(image.pixels, data.T)  # [i, j, k, t] -> [t, k, j, i]
    i, j, k = 3, 2, 1
    np.testing.assert_allclose(image.affine @ [k, j, i, 1], AFFINE @ [i, j, k, 1], rtol=1e-6)
    spacing = np.linalg.norm(AFFINE[:3, :3], axis=0)[::-1]
    np.testing.assert_allclose(image.spacing, spacing[-min(len(shape), 3):], rtol=1e-6)


def test_scaled_integers_and_version_2(tmp_path):
    data = np.arange(24, dtype=np.int16).reshape(4, 3, 2)
    image = nibabel.Nifti2Image(data, np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    nibabel.save(image, tmp_path / "a.nii")
    found = load(tmp_path / "a.nii").pixels
    assert found.dtype == np.float64
    stored = nibabel.load(tmp_path / "a.nii")
    np.testing.assert_array_equal(found, np.asarray(stored.dataobj).T)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_round_trip(tmp_path, rng, ending):
    path = tmp_path / f"a{ending}"
    for pixels in (rng.random((3, 4, 5)), rng.random((4, 5)).astype("f4"), rng.random((2, 3, 4, 5)) + 1j,
                   np.arange(20).reshape(4, 5), rng.random((4, 5)) > 0.5):
        write_nifti(path, Image(pixels, affine=AFFINE))
        image = read_nifti(path)
        np.testing.assert_array_equal(image.pixels, pixels)
        np.testing.assert_allclose(image.affine, AFFINE, rtol=1e-6)
        np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj), np.asarray(pixels).T)
    write_nifti(path, np.ones((3, 4)))
    assert read_nifti(path).spacing == (1.0, 1.0)


def test_writing_refuses(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.nii"):
        write_nifti(tmp_path / "a.img", np.ones((3, 3)))
    with pytest.raises(ValueError, match="pixels must be numbers"):
        write_nifti(tmp_path / "a.nii", np.array([["a"]]))
    assert list(tmp_path.iterdir()) == []


def patched(data, **fields):
    data = bytearray(data)
    for name, (at, form, v) in fields.items():
        assert name
        struct.pack_into(form, data, at, *v)
    return bytes(data)


def test_headers_that_lie(tmp_path, rng):
    path = tmp_path / "a.nii"
    write_nifti(path, rng.random((3, 4, 5)))
    data = path.read_bytes()
    for message, changed in {
        "is truncated": data[:-8],
        "at most 4.0 GiB are read": patched(data, dim=(40, "<8h", (3, 32767, 32767, 32767, 1, 1, 1, 1))),
        "has 5 dimensions": patched(data, dim=(40, "<8h", (5, 5, 1, 1, 1, 12, 1, 1))),
        "not plain numbers": patched(data, datatype=(70, "<2h", (128, 24))),
        "damaged": patched(data, vox_offset=(108, "<f", (1e30,))),
        "header of a pair": patched(data, magic=(344, "4s", (b"ni1\0",))),
        "affine": patched(data, sform=(280, "<12f", (float("nan"),) * 12)),
    }.items():
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"a\.nii") as error:
            load(path)
        assert message in str(error.value)


def test_compressed_bombs_and_damage(tmp_path, rng):
    path = tmp_path / "a.nii.gz"
    write_nifti(path, rng.random((3, 4, 5)))
    plain = gzip.decompress(path.read_bytes())
    # What follows a small image stays where it is; a header that asks for it is refused.
    path.write_bytes(gzip.compress(plain) + gzip.compress(bytes(2**24)))
    assert load(path).pixels.shape == (3, 4, 5)
    path.write_bytes(gzip.compress(patched(plain, dim=(40, "<8h", (3, 2000, 2000, 2000, 1, 1, 1, 1))) + bytes(2**24)))
    with pytest.raises(ValueError, match="at most"):
        load(path)
    with pytest.raises(ValueError, match="at most"):
        load(path, largest=100)
    whole = gzip.compress(plain)
    for changed in (whole[:-20], whole[:-8] + bytes(8), whole[:50] + b"\0\0\0\0" + whole[54:]):
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"a\.nii\.gz"):
            load(path)


def test_other_files(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"a\.nii is not a NIfTI file"):
        load(tmp_path / "a.nii")
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"hello" * 999))
    with pytest.raises(ValueError, match=r"a\.nii\.gz is not a NIfTI file"):
        load(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_damaged_files(tmp_path, rng, ending, capfd):
    path = tmp_path / f"a{ending}"
    write_nifti(path, Image(rng.random((3, 4, 5)).astype("f4"), affine=AFFINE))
    check_reader(path, path.read_bytes(), read_nifti, LONG)
    assert capfd.readouterr() == ("", "")  # nibabel likes to remark
