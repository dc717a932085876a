"""DICOM files written by pydicom: pixels, orientation, series, and what is refused."""

import numpy as np
import pydicom
import pytest
from fuzz import LONG, check_reader
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    generate_uid,
)

from jaxrecon.io import Image, load, read_dicom, write_dicom

SERIES = generate_uid(entropy_srcs=["series"])
# Rows run along -z, columns along y, in LPS.
ORIENTATION, POSITION = [0, 1, 0, 0, 0, -1], [7.0, -8, 9]


def dataset(pixels, syntax=ExplicitVRLittleEndian, **fields):
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.SeriesInstanceUID = SERIES
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = 8 * pixels.dtype.itemsize
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelSpacing, data.SliceThickness = [0.5, 2], 3
    data.ImageOrientationPatient, data.ImagePositionPatient = ORIENTATION, POSITION
    for name, v in fields.items():
        setattr(data, name, v) if v is not None else delattr(data, name)
    if "PixelData" not in data:
        raw = pixels.tobytes()
        data.PixelData = raw + b"\0" * (len(raw) % 2)
    data["PixelData"].VR = "OB" if bits == 8 else "OW"
    return data


def write(path, *args, **fields):
    dataset(*args, **fields).save_as(path, enforce_file_format=True)
    return path


def item(**fields):
    data = pydicom.Dataset()
    for name, v in fields.items():
        setattr(data, name, v)
    return pydicom.Sequence([data])


def frames(z, slopes=None):
    """The functional groups of an enhanced image: a position, and a rescaling, for each frame."""
    groups = []
    for k, v in enumerate(z):
        group = pydicom.Dataset()
        group.PlanePositionSequence = item(ImagePositionPatient=[1.0, 2.0, float(v)])
        if slopes is not None:
            group.PixelValueTransformationSequence = item(RescaleSlope=slopes[k], RescaleIntercept=k)
        groups.append(group)
    return pydicom.Sequence(groups)


def test_each_frame_of_an_enhanced_image_has_its_rescaling_and_position(tmp_path):
    pixels = np.full((3, 4, 6), 10, "u2")
    fields = {"NumberOfFrames": 3, "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "SliceThickness": 4}
    image = load(write(tmp_path / "a.dcm", pixels, PerFrameFunctionalGroupsSequence=frames([20, 15, 10], [1, 2, 5]),
                       **fields))
    np.testing.assert_allclose(image.pixels[:, 0, 0], [10, 21, 52])
    np.testing.assert_allclose(image.affine @ [2, 0, 0, 1], [-1, -2, 10, 1])
    with pytest.raises(ValueError, match="not evenly spaced"):
        load(write(tmp_path / "b.dcm", pixels, PerFrameFunctionalGroupsSequence=frames([20, 15, 20]), **fields))
    still = load(write(tmp_path / "c.dcm", pixels, PerFrameFunctionalGroupsSequence=frames([20, 20, 20]), **fields))
    np.testing.assert_allclose(abs(still.affine[:3, 0]), [0, 0, 4])


def test_indices_into_a_palette_are_no_grey_values(tmp_path):
    with pytest.raises(ValueError, match="PhotometricInterpretation is 'PALETTE COLOR'"):
        load(write(tmp_path / "a.dcm", np.ones((4, 6), "u1"), PhotometricInterpretation="PALETTE COLOR"))
    empty = write(tmp_path / "b.dcm", np.ones((4, 6), "u1"), RescaleSlope="", RescaleIntercept="")
    np.testing.assert_array_equal(load(empty).pixels, 1)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2"])
@pytest.mark.parametrize("shape", [(4, 6), (5, 3)])
def test_pixels_are_rows_and_columns(tmp_path, rng, shape, dtype, syntax):
    pixels = rng.integers(0, 200, shape).astype(dtype)
    image = load(write(tmp_path / "a.dcm", pixels, syntax))
    assert isinstance(image, Image) and image.pixels.dtype.kind in "iu"
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.spacing == (0.5, 2.0)
    # Row 1 lies 0.5 mm towards -z, column 1 2 mm towards y (LPS), that is -y in RAS.
    np.testing.assert_allclose(image.affine @ [0, 0, 0, 1], [-7, 8, 9, 1])
    np.testing.assert_allclose(image.affine @ [0, 1, 0, 1], [-7, 8, 8.5, 1])
    np.testing.assert_allclose(image.affine @ [0, 0, 1, 1], [-7, 6, 9, 1])


def test_rescaling_run_length_and_frames(tmp_path, rng):
    pixels = rng.integers(-500, 500, (4, 6)).astype("i2")
    image = load(write(tmp_path / "a.dcm", pixels, RescaleSlope=0.25, RescaleIntercept=-1024))
    np.testing.assert_array_equal(image.pixels, 0.25 * pixels - 1024)
    encoded = dataset(pixels)
    encoded.compress(RLELossless, generate_instance_uid=False)
    encoded.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(load(tmp_path / "b.dcm").pixels, pixels)
    frames = rng.integers(0, 99, (3, 4, 6)).astype("u2")
    image = load(write(tmp_path / "c.dcm", frames, NumberOfFrames=3))
    np.testing.assert_array_equal(image.pixels, frames)
    assert image.spacing == (3.0, 0.5, 2.0)


def slices(folder, rng, order=(2, 0, 1, 3), gap=1.5):
    """Files whose names do not tell their place: slice s lies s * gap mm along the normal, -x in LPS."""
    volume = rng.integers(0, 999, (4, 5, 6)).astype("i2")
    folder.mkdir()
    for name, s in enumerate(order):
        write(folder / f"{name}.dcm", volume[s], ImagePositionPatient=[7 - gap * s, -8, 9], InstanceNumber=9 - s)
    (folder / "notes.txt").write_text("not DICOM")
    return volume


def test_a_folder_is_a_volume(tmp_path, rng):
    volume = slices(tmp_path / "a", rng)
    image = load(tmp_path / "a")
    np.testing.assert_array_equal(image.pixels, volume)
    assert image.spacing == (1.5, 0.5, 2.0)
    np.testing.assert_allclose(image.affine @ [2, 0, 0, 1], [-7 + 3, 8, 9, 1])


def test_folders_that_are_no_volume(tmp_path, rng):
    slices(tmp_path / "a", rng, order=(0, 1, 3))
    with pytest.raises(ValueError, match=r"between .*\.dcm and .*\.dcm lie .* a slice is missing"):
        load(tmp_path / "a")
    slices(tmp_path / "b", rng, order=(0, 1, 1))
    with pytest.raises(ValueError, match="missing, or there twice"):
        load(tmp_path / "b")
    volume = slices(tmp_path / "c", rng)
    other = generate_uid()
    write(tmp_path / "c" / "other.dcm", volume[0], SeriesInstanceUID=other)
    with pytest.raises(ValueError, match="holds 2 series; say which by series="):
        load(tmp_path / "c")
    np.testing.assert_array_equal(load(tmp_path / "c", series=SERIES).pixels, volume)
    np.testing.assert_array_equal(load(tmp_path / "c", series=other).pixels, volume[0])
    with pytest.raises(ValueError, match=r"holds no series 1\.2"):
        load(tmp_path / "c", series="1.2")
    slices(tmp_path / "d", rng)
    write(tmp_path / "d" / "9.dcm", volume[0], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    with pytest.raises(ValueError, match=r"9\.dcm: its orientation"):
        load(tmp_path / "d")
    (tmp_path / "e").mkdir()
    with pytest.raises(ValueError, match="folder without DICOM images"):
        load(tmp_path / "e")
    with pytest.raises(ValueError, match="at most"):
        load(tmp_path / "c", series=SERIES, largest=100)


def test_written_images_are_read_exactly(tmp_path, rng):
    path = tmp_path / "a.dcm"
    affine = np.array([[1.5, 0, 0, -7], [0, 0, -2, 8], [0, -0.5, 0, 9], [0, 0, 0, 1]])
    for pixels in (rng.integers(0, 65535, (5, 4)), rng.integers(-99, 99, (3, 5, 4)), rng.random((5, 4)) > 0.5):
        write_dicom(path, Image(pixels, affine=affine))
        image = read_dicom(path)
        np.testing.assert_array_equal(image.pixels, pixels)
        np.testing.assert_allclose(image.affine, affine)
    pixels = 1e-6 * rng.standard_normal((5, 4))
    write_dicom(path, pixels)
    assert abs(read_dicom(path).pixels - pixels).max() <= 0.51 * np.ptp(pixels) / 65535
    write_dicom(path, np.full((2, 3), 0.7))
    np.testing.assert_allclose(read_dicom(path).pixels, 0.7)
    data = pydicom.dcmread(path)
    assert (data.Modality, data.ConversionType, str(data.PatientName)) == ("OT", "WSD", "")


def test_writing_refuses(tmp_path):
    for pixels, message in ((np.ones((2, 2), complex), "complex: take abs"), (np.full((2, 2), np.nan), "not finite"),
                            (np.ones((2, 2, 2, 2)), "up to 65535 frames")):
        with pytest.raises(ValueError, match=message):
            write_dicom(tmp_path / "a.dcm", pixels)
    with pytest.raises(ValueError, match="right-handed"):
        write_dicom(tmp_path / "a.dcm", Image(np.ones((2, 3, 4)), affine=np.eye(4)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("fields", "message"), [
    ({"SamplesPerPixel": 3}, "colour image"), ({"Rows": None}, "Rows is None"),
    ({"NumberOfFrames": 2**30}, "at most 4.0 GiB"), ({"Rows": 60000, "Columns": 60000}, "at most 4.0 GiB"),
    ({"BitsAllocated": 12}, "BitsAllocated is 12; it must be 8 or 16 or 32"),
    ({"NumberOfFrames": -1}, "NumberOfFrames"),
    ({"Rows": 5}, "cannot read PixelData"), ({"RescaleSlope": 0}, "RescaleSlope 0"),
    ({"PixelSpacing": [0, 1]}, "not positive"), ({"PixelSpacing": [1, 1, 1]}, "it must be 2 finite numbers"),
    ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "right angles"), ({"PixelSpacing": None, "Rows": 9}, "PixelData"),
])
def test_bad_fields(tmp_path, fields, message):
    with pytest.raises(ValueError, match=r"a\.dcm") as error:
        load(write(tmp_path / "a.dcm", np.ones((4, 6), "i2"), **fields))
    assert message in str(error.value)


def test_compressed_files_are_refused(tmp_path):
    path = write(tmp_path / "a.dcm", np.zeros((4, 6), "u2"), DeflatedExplicitVRLittleEndian)
    with pytest.raises(ValueError, match=r"a\.dcm cannot be read: it is compressed \(transfer syntax 1\.2\.840"):
        load(path)
    data = dataset(np.zeros((4, 6), "u2"), JPEG2000Lossless, PixelData=pydicom.encaps.encapsulate([b"\0" * 10]))
    data["PixelData"].is_undefined_length = True
    data.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    with pytest.raises(ValueError, match="gdcmconv"):
        load(tmp_path / "b.dcm")
    (tmp_path / "c.dcm").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"c\.dcm is not a DICOM file"):
        load(tmp_path / "c.dcm")


@pytest.mark.parametrize("kind", ["plain", "run-length"])
def test_damaged_files(tmp_path, rng, kind):
    data = dataset(rng.integers(0, 99, (5, 6)).astype("u2"), RescaleSlope=2, RescaleIntercept=1)
    if kind == "run-length":
        data.compress(RLELossless, generate_instance_uid=False)
    data.save_as(tmp_path / "base.dcm", enforce_file_format=True)
    check_reader(tmp_path / "a.dcm", (tmp_path / "base.dcm").read_bytes(), read_dicom, LONG, first=128)
