"""ISMRMRD files written by the ismrmrd package itself: where every sample must land."""

import h5py
import numpy as np
import pytest
from fuzz import SHORT, check_reader

from jaxrecon.calibration import noise_covariance
from jaxrecon.io import NonCartesianScan, Scan, load, read_ismrmrd
from jaxrecon.io.header import parse_header

ismrmrd = pytest.importorskip("ismrmrd")

HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
 <acquisitionSystemInformation><relativeReceiverNoiseBandwidth>0.8</relativeReceiverNoiseBandwidth>
 </acquisitionSystemInformation>
 <experimentalConditions><H1resonanceFrequency_Hz>128000000</H1resonanceFrequency_Hz></experimentalConditions>
 <encoding>
  <encodedSpace><matrixSize><x>{nx}</x><y>{ny}</y><z>{nz}</z></matrixSize>
   <fieldOfView_mm><x>{fx}</x><y>{fy}</y><z>6</z></fieldOfView_mm></encodedSpace>
  <reconSpace><matrixSize><x>{rx}</x><y>{ry}</y><z>{nz}</z></matrixSize>
   <fieldOfView_mm><x>{gx}</x><y>{gy}</y><z>6</z></fieldOfView_mm></reconSpace>
  <trajectory>{trajectory}</trajectory>
  <encodingLimits>{limits}</encodingLimits>
 </encoding>
</ismrmrdHeader>"""
LIMIT = ("<kspace_encoding_step_{d}><minimum>0</minimum><maximum>{m}</maximum><center>{c}</center>"
         "</kspace_encoding_step_{d}>")


def header(nx, ny, nz=1, rx=None, ry=None, trajectory="cartesian", centre=None, centre2=None):
    rx, ry = rx or nx, ry or ny
    limits = "" if centre is None else LIMIT.format(d=1, m=ny - 1, c=centre)
    limits += "" if centre2 is None else LIMIT.format(d=2, m=nz - 1, c=centre2)
    return HEADER.format(nx=nx, ny=ny, nz=nz, rx=rx, ry=ry, fx=10 * nx, fy=10 * ny, gx=10 * rx, gy=10 * ry,
                         trajectory=trajectory, limits=limits)


class Writer:
    """A file by the ismrmrd package."""

    def __init__(self, path, xml):
        self.dataset = ismrmrd.Dataset(str(path), "dataset")
        self.dataset.write_xml_header(xml.encode())

    def add(self, data, traj=None, flags=(), dwell=5.0, centre=None, discard=(0, 0), **counters):
        data = np.ascontiguousarray(data, np.complex64)
        acquisition = ismrmrd.Acquisition.from_array(data, None if traj is None else np.float32(traj))
        acquisition.center_sample = data.shape[1] // 2 if centre is None else centre
        acquisition.discard_pre, acquisition.discard_post = discard
        acquisition.sample_time_us = dwell
        for flag in flags:
            acquisition.setFlag(flag)
        for name, v in counters.items():
            setattr(acquisition.idx, name, v)
        self.dataset.append_acquisition(acquisition)
        return self

    def close(self):
        self.dataset.close()


def lines(writer, kspace, rows=None, **counters):
    for row in range(kspace.shape[1]) if rows is None else rows:
        writer.add(kspace[:, row], kspace_encode_step_1=row, **counters)
    return writer


@pytest.fixture
def random(rng):
    return lambda *shape: (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


@pytest.mark.parametrize(("ny", "nx"), [(6, 8), (7, 5)])
def test_rows_are_phase_encoding_and_columns_the_read_out(tmp_path, random, ny, nx):
    kspace = random(3, ny, nx)
    lines(Writer(tmp_path / "a.h5", header(nx, ny)), kspace, rows=[r for r in range(ny) if r != 2]).close()
    scan = load(tmp_path / "a.h5")
    assert isinstance(scan, Scan) and scan.kspace.dtype == np.complex64 and scan.noise is None and scan.crop is None
    kspace[:, 2] = 0
    np.testing.assert_allclose(scan.kspace, kspace, atol=1e-6)
    assert scan.mask.shape == (ny, 1) and np.flatnonzero(~scan.mask).tolist() == [2]


@pytest.mark.parametrize(("nx", "rx"), [(12, 6), (10, 5), (14, 7)])
def test_read_out_oversampling_is_removed(tmp_path, random, nx, rx):
    image = random(2, 6, nx)
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, (1, 2)), norm="ortho"), (1, 2))
    lines(Writer(tmp_path / "a.h5", header(nx, 6, rx=rx)), kspace).close()
    found = load(tmp_path / "a.h5").kspace
    found = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(found, (1, 2)), norm="ortho"), (1, 2))
    start = nx // 2 - rx // 2
    np.testing.assert_allclose(found, image[..., start:start + rx], atol=1e-5)


def test_partial_fourier_averages_and_phase_oversampling(tmp_path, random):
    # Steps count from 0 with their centre at 2: row 8 // 2 of 8; rows 0 and 1 were never measured.
    kspace, again = random(2, 6, 8), random(2, 6, 8)
    writer = Writer(tmp_path / "a.h5", header(8, 8, ry=6, centre=2))
    lines(writer, kspace, average=0)
    lines(writer, again, average=1).close()
    scan = load(tmp_path / "a.h5")
    np.testing.assert_allclose(scan.kspace[:, 2:], (kspace + again) / 2, atol=1e-6)
    assert scan.mask.ravel().tolist() == [False] * 2 + [True] * 6 and scan.crop == (6, 8)


def test_asymmetric_echo_discarded_samples_and_reversed_lines(tmp_path, random):
    kspace = random(1, 4, 8)
    writer = Writer(tmp_path / "a.h5", header(8, 4))
    writer.add(kspace[:, 0, 3:], centre=1, kspace_encode_step_1=0)  # columns 3 to 7: the echo is at sample 1
    padded = np.concatenate([9 * np.ones((1, 2)), kspace[:, 1, 2:], 9 * np.ones((1, 1))], axis=1)
    writer.add(padded, centre=4, discard=(2, 1), kspace_encode_step_1=1)
    writer.add(kspace[:, 2, ::-1], flags=[22], kspace_encode_step_1=2)
    writer.add(kspace[:, 3], centre=0, kspace_encode_step_1=3).close()
    scan = load(tmp_path / "a.h5")
    kspace[0, 0, :3] = kspace[0, 1, :2] = 0
    np.testing.assert_array_equal(scan.kspace, kspace)
    assert scan.mask.shape == (4, 8) and (~scan.mask).sum() == 5


def test_slices_and_counters(tmp_path, random):
    volume = random(5, 2, 4, 4)
    writer = Writer(tmp_path / "a.h5", header(4, 4))
    for s, kspace in enumerate(volume):
        lines(writer, kspace, slice=s)
        lines(writer, 2 * kspace, slice=s, repetition=1)
    writer.add(random(2, 4), flags=[24], slice=2).add(random(2, 4), flags=[20], slice=2).close()
    scan = load(tmp_path / "a.h5")
    assert (scan.slice, scan.slices) == (2, 5)
    np.testing.assert_array_equal(scan.kspace, volume[2])
    np.testing.assert_array_equal(load(tmp_path / "a.h5", slice=4, repetition=1).kspace, 2 * volume[4])
    with pytest.raises(ValueError, match=r"a\.h5: there is no slice 5; the file holds slices 0 to 4"):
        load(tmp_path / "a.h5", slice=5)
    with pytest.raises(ValueError, match=r"a\.h5: there is no contrast 3; the file holds \[0\]"):
        load(tmp_path / "a.h5", contrast=3)


def test_a_volume_is_cut_across_its_read_out(tmp_path, random):
    image = random(2, 4, 5, 6)  # (coils, z, y, x)
    axes = (1, 2, 3)
    kspace = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(image, axes), axes=axes, norm="ortho"), axes)
    writer = Writer(tmp_path / "a.h5", header(6, 5, nz=4))
    for z in range(4):
        lines(writer, kspace[:, z], kspace_encode_step_2=z)
    writer.close()
    scan = load(tmp_path / "a.h5", slice=1)
    assert scan.slices == 6
    found = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(scan.kspace, (1, 2)), norm="ortho"), (1, 2))
    np.testing.assert_allclose(found, image[..., 1], atol=1e-5)


def test_what_would_be_mixed_into_one_image_is_refused(tmp_path, random, rng):
    star = Writer(tmp_path / "a.h5", header(8, 8, nz=4, trajectory="radial"))
    for z in range(4):
        star.add(random(1, 8), traj=rng.uniform(-0.5, 0.49, (8, 2)), kspace_encode_step_2=z)
    star.close()
    with pytest.raises(ValueError, match=r"4 partitions.*stacks of stars or spirals are not read"):
        load(tmp_path / "a.h5")
    slabs = Writer(tmp_path / "b.h5", header(6, 5, nz=2))
    for slab in range(2):
        for z in range(2):
            lines(slabs, random(1, 5, 6), kspace_encode_step_2=z, slice=slab)
    slabs.close()
    with pytest.raises(ValueError, match=r"2 slabs \(slice \[0, 1\]\)"):
        load(tmp_path / "b.h5")


def test_reversed_lines_of_epi_with_trajectories_are_turned(tmp_path, random):
    kspace = random(2, 4, 6)
    writer = Writer(tmp_path / "a.h5", header(6, 4, trajectory="epi"))
    for row in range(4):
        back = row % 2
        writer.add(kspace[:, row, ::-1] if back else kspace[:, row], traj=np.zeros((6, 2)),
                   flags=[ismrmrd.ACQ_IS_REVERSE] if back else (), kspace_encode_step_1=row)
    writer.close()
    np.testing.assert_allclose(load(tmp_path / "a.h5").kspace, kspace, atol=1e-6)


def test_noise_scans(tmp_path, random):
    mix = np.array([[2, 0], [1j, 1]])
    noise = (mix @ random(2, 4000)).astype(np.complex64)
    writer = Writer(tmp_path / "a.h5", header(4, 4)).add(noise, flags=[19], dwell=2.5)
    lines(writer, random(2, 4, 4), average=0)
    lines(writer, random(2, 4, 4), average=1).close()
    # Twice the dwell time and two averages: a quarter of the variance; 0.8 of it passed the filter of the noise scan.
    np.testing.assert_allclose(load(tmp_path / "a.h5").noise, np.asarray(noise_covariance(noise)) / 4 / 0.8, rtol=1e-4)


@pytest.mark.parametrize("unit", ["pixel", "fov"])
def test_trajectories(tmp_path, random, rng, unit):
    samples, nodes = random(2, 3, 7), rng.uniform(-0.5, 0.499, (3, 7, 2)).astype(np.float32)
    nodes[0, 0] = 0.5, -0.5
    writer = Writer(tmp_path / "a.h5", header(8, 6, trajectory="radial"))
    for i in range(3):
        xy = nodes[i] * (1 if unit == "pixel" else np.array([8, 6]))
        writer.add(samples[:, i], traj=xy, kspace_encode_step_1=i)
    writer.close()
    scan = load(tmp_path / "a.h5")
    assert isinstance(scan, NonCartesianScan) and scan.shape == (6, 8)
    np.testing.assert_array_equal(scan.samples, samples)
    nodes[0, 0, 0] = -0.5  # the same place
    np.testing.assert_allclose(scan.nodes, nodes[..., ::-1], atol=1e-6)  # y before x


def test_the_third_value_of_a_2d_trajectory_is_its_density(tmp_path, random, rng):
    nodes = rng.uniform(-0.5, 0.49, (7, 3)).astype(np.float32)
    nodes[:, 2] = np.arange(7)
    Writer(tmp_path / "a.h5", header(8, 6, trajectory="spiral")).add(random(1, 7), traj=nodes).close()
    scan = load(tmp_path / "a.h5")
    np.testing.assert_array_equal(scan.density, nodes[None, :, 2])
    assert scan.nodes.shape == (1, 7, 2)


def test_contradictions_are_named(tmp_path, random):
    def message(name, writer):
        writer.close()
        with pytest.raises(ValueError, match=rf"{name}\.h5: ") as error:
            load(tmp_path / f"{name}.h5")
        return str(error.value)

    def new(name, **options):
        return Writer(tmp_path / f"{name}.h5", header(**{"nx": 4, "ny": 4, **options}))

    assert "acquisition 0: kspace_encode_step_1 is 9, which lies outside the encoded matrix of 4" in message(
        "step", new("step").add(random(1, 4), kspace_encode_step_1=9))
    assert "acquisition 0: 6 samples with center_sample 3 do not fit" in message("long", new("long").add(random(1, 6)))
    assert "active_channels changes from acquisition to acquisition: [1, 2]" in message(
        "coils", new("coils").add(random(1, 4)).add(random(2, 4)))
    assert "none of its 1 acquisitions" in message("noise", new("noise").add(random(1, 4), flags=[19]))
    assert "not finite" in message("nan", new("nan").add(np.nan * random(1, 4)))
    assert "trajectory radial, but the acquisitions have none" in message(
        "radial", new("radial", trajectory="radial").add(random(1, 4)))
    assert "trajectories reach 77, which is outside k-space" in message(
        "far", new("far", trajectory="radial").add(random(1, 4), traj=np.full((4, 2), 77)))
    assert "at most" in message("huge", new("huge", nx=60000, ny=60000).add(random(1, 4)))
    assert "encodedSpace.matrixSize.x as a number from 1 to 65535, got '-4'" in message(
        "negative", new("negative", nx=-4).add(random(1, 4)))


def test_xml_is_read_safely():
    laughs = '<!DOCTYPE a [<!ENTITY l "ha"><!ENTITY m "&l;&l;&l;">]>'
    with pytest.raises(ValueError, match="document type"):
        parse_header(header(4, 4).replace("<ismrmrdHeader", laughs + "<ismrmrdHeader", 1))
    for text, message in (("", "not XML"), ("<a>", "not XML"), ("<a/>", "no encoding"),
                          (header(4, 4).replace("<x>4</x>", "<x>four</x>"), "got 'four'"),
                          (header(4, 4).replace("<x>4</x>", "<x>nan</x>"), "got 'nan'"),
                          ("<a>" * 200_000, "not XML")):
        with pytest.raises(ValueError, match=message):
            parse_header(text)


def test_the_xml_of_a_file_is_checked(tmp_path, random):
    Writer(tmp_path / "a.h5", "<!DOCTYPE a><a/>").add(random(1, 4)).close()
    with pytest.raises(ValueError, match=r"a\.h5: its header declares a document type"):
        load(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["dataset/xml"], file["dataset/data"] = 3.0, np.ones(4)
    with pytest.raises(ValueError, match=r"b\.h5: its header \(xml\) is not text"):
        load(tmp_path / "b.h5")


def base(tmp_path, random):
    lines(Writer(tmp_path / "base.h5", header(5, 4)), random(2, 4, 5)).close()
    return (tmp_path / "base.h5").read_bytes()


def test_damaged_files(tmp_path, random):
    check_reader(tmp_path / "a.h5", base(tmp_path, random), read_ismrmrd, SHORT)


@pytest.mark.slow
def test_many_damaged_files(tmp_path, random, monkeypatch):
    monkeypatch.setattr("jaxrecon.io.isolated.SECONDS", 1.0)
    check_reader(tmp_path / "a.h5", base(tmp_path, random), read_ismrmrd, 1000, seed=1)
