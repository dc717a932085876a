"""fastMRI files: slices, one coil, masks, padding, the size of the image."""

import h5py
import numpy as np
import pytest
from fuzz import SHORT, check_reader

from jaxrecon.io import load, read_fastmri

HEADER = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>{x}</x><y>{y}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>440</x><y>220</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{rx}</x><y>{ry}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>220</x><y>220</y><z>5</z></fieldOfView_mm></reconSpace></encoding></ismrmrdHeader>"""


@pytest.fixture
def random(rng):
    return lambda *shape: (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def write(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, v in arrays.items():
            file.create_dataset(name, data=v, **({"compression": "gzip"} if np.ndim(v) > 2 else {}))
    return path


def test_multi_coil(tmp_path, random):
    kspace = random(5, 3, 8, 7)
    path = write(tmp_path / "a.h5", kspace=kspace)
    scan = load(path)
    assert (scan.slice, scan.slices, scan.crop) == (2, 5, None)
    np.testing.assert_array_equal(scan.kspace, kspace[2])
    np.testing.assert_array_equal(load(path, slice=0).kspace, kspace[0])
    with pytest.raises(ValueError, match=r"a\.h5: there is no slice -1"):
        load(path, slice=-1)


def test_one_coil_with_mask_and_padding(tmp_path, random):
    kspace = random(2, 6, 7)
    kspace[..., 0] = 0  # padding, which the mask calls measured
    mask = np.array([1, 1, 0, 1, 1, 0, 1], np.float32)
    scan = load(write(tmp_path / "a.h5", kspace=kspace, mask=mask))
    assert scan.kspace.shape == (1, 6, 7) and scan.mask.shape == (1, 7)
    assert np.flatnonzero(scan.mask).tolist() == [1, 3, 4, 6]
    np.testing.assert_array_equal(scan.kspace, kspace[1:2] * mask)


@pytest.mark.parametrize("columns", [7, 6])
def test_rows_are_cropped_to_the_image(tmp_path, random, columns):
    image = random(2, 12, columns)
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, (1, 2)), norm="ortho"), (1, 2)).astype(np.complex64)
    path = write(tmp_path / "a.h5", kspace=kspace[None], ismrmrd_header=HEADER.format(x=12, y=columns, rx=6, ry=5))
    scan = load(path)
    assert scan.kspace.shape == (2, 6, columns) and scan.crop == (6, 5)
    found = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(scan.kspace, (1, 2)), norm="ortho"), (1, 2))
    np.testing.assert_allclose(found, image[:, 3:9], atol=1e-5)


def test_bad_content(tmp_path, random):
    kspace = random(2, 3, 6, 5)
    for message, arrays in {
        "kspace must be complex, got float32": {"kspace": kspace.real},
        "kspace must be (slices, coils, ny, nx)": {"kspace": kspace[0, 0]},
        "mask has shape (4,), but kspace has 5 columns": {"kspace": kspace, "mask": np.ones(4)},
        "declares a document type": {"kspace": kspace, "ismrmrd_header": "<!DOCTYPE a><a/>"},
        "no encoding": {"kspace": kspace, "ismrmrd_header": "<a/>"},
        "cannot read kspace": {"kspace": np.zeros(3, [("a", "f4"), ("b", "i4")])},
        "nothing to reconstruct": {"kspace": 0 * kspace},
        "not finite": {"kspace": np.nan * kspace},
    }.items():
        with pytest.raises(ValueError, match=r"a\.h5: ") as error:
            load(write(tmp_path / "a.h5", **arrays))
        assert message in str(error.value)
    with pytest.raises(ValueError, match="holds no dataset kspace, only image"):
        read_fastmri(write(tmp_path / "a.h5", image=np.ones((2, 3, 4))))


def test_only_the_slice_counts_towards_the_limit(tmp_path, random):
    path = write(tmp_path / "a.h5", kspace=random(50, 2, 8, 8))
    assert load(path, largest=2000).kspace.shape == (2, 8, 8)
    with pytest.raises(ValueError, match=r"cannot read kspace: it is complex64\[1, 2, 8, 8\], 0\.0 GiB; at most"):
        load(path, largest=1000)


def base(tmp_path, random, **options):
    with h5py.File(tmp_path / "base.h5", "w", **options) as file:
        file.create_dataset("kspace", data=random(2, 2, 6, 5), compression="gzip", chunks=(1, 2, 6, 5))
        file["mask"] = np.ones(5, np.float32)
        file["ismrmrd_header"] = HEADER.format(x=6, y=5, rx=6, ry=5)
    return (tmp_path / "base.h5").read_bytes()


def test_damaged_files(tmp_path, random):
    check_reader(tmp_path / "a.h5", base(tmp_path, random), read_fastmri, SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_many_damaged_files(tmp_path, random, monkeypatch, libver):
    monkeypatch.setattr("jaxrecon.io.isolated.SECONDS", 1.0)
    check_reader(tmp_path / "a.h5", base(tmp_path, random, libver=libver), read_fastmri, 600, seed=1)
