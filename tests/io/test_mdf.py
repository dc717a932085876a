import dataclasses
import random
import zlib

import h5py
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr
from jaxrecon.io.hdf5 import open_hdf5
from jaxrecon.io.mdf import is_mdf, read_mdf, write_mdf
from jaxrecon.io.mdf_data import MDF, mdf_of_sequence
from jaxrecon.operators import SystemMatrix
from jaxrecon.simulate import MPISequence, mpi_system_matrix

SEQUENCE = MPISequence((8, 12))  # 24 samples, 13 components


@pytest.fixture(scope="module")
def calibration():
    rng = np.random.default_rng(1)
    s = np.asarray(mpi_system_matrix(SEQUENCE, shape=(2, 3)))
    frames = np.moveaxis(s.reshape(2, 13, 6), -1, 0)
    background = 1e-3 * (rng.standard_normal((3, 2, 13)) + 1j * rng.standard_normal((3, 2, 13)))
    data = np.concatenate([frames + background.mean(0), background]).astype(np.complex64)
    scan = mdf_of_sequence(
        SEQUENCE, data, background=np.arange(9) >= 6, size=(3, 2, 1), snr=rng.random((1, 2, 13)), method="simulation",
        field_of_view=(24e-3, 24e-3, 1e-3), info={"study/name": "größe", "experiment/isSimulation": 1},
        frame_permutation=rng.permutation(9))
    return scan, s


def same(a, b):
    for name in ("data", "background", "snr", "field_of_view", "dividers", "strength", "phase", "gradient",
                 "frequency_selection", "frame_permutation", "transfer_function"):
        u, v = getattr(a, name), getattr(b, name)
        assert (u is None) == (v is None), name
        if u is not None:
            np.testing.assert_array_equal(u, v, err_msg=name)
            assert np.asarray(u).dtype.kind == np.asarray(v).dtype.kind, name
    for name in ("bandwidth", "samples", "size", "method", "background_corrected", "unit", "base_frequency"):
        assert getattr(a, name) == getattr(b, name), name


@pytest.mark.parametrize(("strength", "says"), [
    ([[[12e-3], [0.0], [12e-3]]], r"channels \[0, 2\] are driven"),
    ([[[12e-3, 1e-3], [12e-3, 0.0], [0.0, 0.0]]], "several sines")])
def test_sequences_that_mpi_sequence_cannot_hold_are_refused(calibration, strength, says):
    sines = np.shape(strength)[-1]
    scan = dataclasses.replace(calibration[0], strength=np.array(strength), dividers=np.full((3, sines), 8),
                               phase=np.zeros((1, 3, sines)))
    with pytest.raises(ValueError, match=says):
        _ = scan.sequence


def test_calibration_round_trip(tmp_path, calibration):
    scan, s = calibration
    write_mdf(tmp_path / "s.mdf", scan)
    got = read_mdf(tmp_path / "s.mdf")
    same(scan, got)
    info = dict(got.info)
    assert info["study/name"] == "größe" and info["experiment/isSimulation"] == 1 and len(info["uuid"]) == 36
    assert got.shape == (2, 3) and got.data.dtype == np.complex64
    np.testing.assert_allclose(got.system_matrix()[0], s, atol=1e-9)
    assert got.sequence.dividers == (8, 12) and got.sequence.samples == 24
    np.testing.assert_allclose(got.sequence.path(), SEQUENCE.path(), rtol=1e-12)
    assert [p.name for p in tmp_path.iterdir()] == ["s.mdf"]


def test_calibration_to_image(tmp_path, calibration):
    scan, s = calibration
    x = np.arange(6.0).reshape(2, 3)
    write_mdf(tmp_path / "s.mdf", scan)
    write_mdf(tmp_path / "b.mdf", mdf_of_sequence(SEQUENCE, np.fft.irfft(np.tensordot(s, x, 2), 24)[None]))
    got, measured = read_mdf(tmp_path / "s.mdf"), read_mdf(tmp_path / "b.mdf")
    rows = (got.frequencies > 1e5) & (np.arange(13) < 12) & np.ones((1, 2, 1), bool)
    A = SystemMatrix(got.system_matrix()[rows].astype(complex))
    image = jr.solve(A, measured.spectrum()[0][rows], jr.CGNR(), iterations=12).x
    np.testing.assert_allclose(image, x, atol=1e-2)
    np.testing.assert_allclose(measured.frequencies, np.arange(13) * 2.5e6 / 24)


def test_measurement_round_trip_with_selected_frequencies(tmp_path, rng):
    data = rng.standard_normal((4, 2, 3, 5)) + 1j * rng.standard_normal((4, 2, 3, 5))
    scan = MDF(data, 1.25e6, 24, background=[0, 1, 0, 1], frequency_selection=[1, 3, 4, 8, 12],
               transfer_function=rng.standard_normal((3, 13)) + 1j, background_corrected=True)
    write_mdf(tmp_path / "m.mdf", scan)
    got = read_mdf(tmp_path / "m.mdf")
    same(scan, got)
    np.testing.assert_array_equal(got.spectrum(), data[[0, 2]])
    np.testing.assert_array_equal(got.spectrum(background=True), data[[1, 3]])
    assert got.spectrum(background=None).shape == data.shape
    np.testing.assert_allclose(got.frequencies, np.array([1, 3, 4, 8, 12]) * 2.5e6 / 24)
    with pytest.raises(ValueError, match="no calibration scan"):
        got.system_matrix()


def test_layout_follows_the_specification(tmp_path, calibration):
    scan, _ = calibration
    write_mdf(tmp_path / "s.mdf", scan)
    with h5py.File(tmp_path / "s.mdf") as f:
        assert f["version"][()] == b"2.1.0"
        assert f["measurement/data"].shape == (1, 2, 13, 9) and f["measurement/data"].dtype == np.complex64
        names = f["measurement/data"].id.get_type()
        assert [names.get_member_name(i) for i in range(2)] == [b"r", b"i"]
        for name in ("isFastFrameAxis", "isFourierTransformed", "isFramePermutation", "isBackgroundFrame"):
            assert f["measurement"][name].dtype == np.int8
        assert f["measurement/isFastFrameAxis"][()] == 1
        assert sorted(f["measurement/framePermutation"][()]) == list(range(1, 10))
        assert f["calibration/size"][()].tolist() == [3, 2, 1] and f["calibration/order"][()] == b"xyz"
        assert f["calibration/snr"].shape == (1, 2, 13)
        drive = f["acquisition/drivefield"]
        assert drive["divider"][()].tolist() == [[8], [12]] and drive["strength"].shape == (1, 2, 1)
        assert drive["waveform"][()].tolist() == [[b"sine"], [b"sine"]]
        assert drive["cycle"][()] == pytest.approx(24 / 2.5e6)
        assert f["acquisition/gradient"].shape == (1, 1, 3, 3)
        assert f["acquisition/receiver/bandwidth"][()] == 1.25e6
        for group in ("study", "experiment", "scanner"):
            assert {"name"} <= set(f[group])


def minimal(path, **changed):
    """A measurement as other programs write it: integers, fixed-length text, one frame axis in front."""
    values = {
        "version": np.bytes_("2.0.1"), "uuid": np.bytes_("3170fdf8-f8e1-4cbf-ac73-41520b41f6ee"),
        "acquisition/receiver/bandwidth": 1.25e6, "acquisition/receiver/numSamplingPoints": 24,
        "acquisition/receiver/numChannels": 2, "measurement/isFourierTransformed": np.int8(0),
        "measurement/data": np.arange(3 * 2 * 24, dtype=np.int16).reshape(3, 1, 2, 24),
        "acquisition/receiver/dataConversionFactor": np.array([[0.5, 1.0], [2.0, 0.0]]),
    }
    values |= {k.replace("__", "/"): v for k, v in changed.items()}
    with h5py.File(path, "w") as f:
        for key, v in values.items():
            if v is not None:
                f.create_dataset(key, data=v)
    return path


def test_reads_what_other_programs_write(tmp_path):
    got = read_mdf(minimal(tmp_path / "a.mdf"))
    raw = np.arange(3 * 2 * 24).reshape(3, 1, 2, 24)
    np.testing.assert_array_equal(got.data[:, :, 0], 0.5 * raw[:, :, 0] + 1)
    np.testing.assert_array_equal(got.data[:, :, 1], 2 * raw[:, :, 1])
    assert got.data.dtype == np.float32 and not got.background.any()
    np.testing.assert_allclose(got.spectrum(), np.fft.rfft(got.data), rtol=1e-6)
    # Early version 2: real and imaginary part on a last axis, frames before it; gradient as a diagonal.
    pairs = np.arange(2 * 13 * 3 * 2, dtype="float32").reshape(1, 2, 13, 3, 2)
    old = read_mdf(minimal(tmp_path / "b.mdf", measurement__data=pairs, measurement__isFourierTransformed=np.int8(1),
                           measurement__isTransposed=np.int8(1), acquisition__gradient=np.array([[-1.0, -1, 2]])))
    np.testing.assert_array_equal(old.data, np.moveaxis(pairs[..., 0] + 1j * pairs[..., 1], -1, 0))
    assert old.gradient.shape == (1, 1, 3, 3) and np.diagonal(old.gradient[0, 0]).tolist() == [-1, -1, 2]
    big = read_mdf(minimal(tmp_path / "c.mdf", measurement__data=raw.astype(">f8")))
    assert big.data.dtype.isnative and big.data[0, 0, 1, 1] == 50
    compressed = tmp_path / "d.mdf"
    minimal(compressed, measurement__data=None)
    with h5py.File(compressed, "a") as f:
        f.create_dataset("measurement/data", data=raw, chunks=(1, 1, 2, 8), compression="gzip", shuffle=True)
    np.testing.assert_array_equal(read_mdf(compressed).data, got.data)
    with open_hdf5(compressed) as f:
        assert is_mdf(f)


BAD = {
    "not an MDF file": {"uuid": None},
    "cannot read version: MDF 1.0.5 is not supported": {"version": b"1.0.5"},
    "cannot read version: it must be a text": {"version": 2.1},
    "cannot read measurement/data: it is missing": {"measurement__data": None},
    "cannot read measurement/isFourierTransformed": {"measurement__isFourierTransformed": None},
    "isFourierTransformed: it must be 0 or 1, got 7": {"measurement__isFourierTransformed": 7},
    "it must have 4 axes": {"measurement__data": np.ones((2, 24))},
    "measurement/data: it must be complex": {"measurement__isFourierTransformed": 1},
    "isFourierTransformed says that it is in the time domain": {"measurement__data": np.ones((1, 1, 2, 24), complex)},
    "measurement/data: it must be an array of numbers": {"measurement__data": np.full((1, 1, 2, 24), b"x")},
    "data holds 12 samples, but a cycle of 24 samples has 24": {"measurement__data": np.ones((1, 1, 2, 12))},
    "not finite": {"measurement__data": np.full((1, 1, 2, 24), np.nan)},
    "bandwidth: it must be a finite number": {"acquisition__receiver__bandwidth": np.inf},
    "bandwidth: it must be one text or number": {"acquisition__receiver__bandwidth": np.ones(2)},
    "bandwidth must be a positive": {"acquisition__receiver__bandwidth": -1.0},
    "dataConversionFactor: it must be real of shape (2, 2)":
        {"acquisition__receiver__dataConversionFactor": np.ones(3)},
    "background needs one entry for each of 3 frames": {"measurement__isBackgroundFrame": np.zeros(4, np.int8)},
    "size (2, 2, 1) must be three numbers": {"calibration__size": [2, 2, 1]},
    "only grids ordered xyz": {"calibration__order": b"zyx"},
    "sparsifying transform": {"measurement__isSparsityTransformed": 1},
    "meandering": {"calibration__isMeanderingGrid": 1},
    "snr must be numbers of shape (1, 2, 24)": {"calibration__snr": np.ones((2, 24))},
    "gradient: it must have shape": {"acquisition__gradient": np.ones((4, 5))},
    "frequency_selection goes with spectra": {"measurement__isFrequencySelection": 1,
                                              "measurement__frequencySelection": np.arange(1, 25)},
    "frequencySelection: it must be a list of integers": {"measurement__isFrequencySelection": 1,
                                                          "measurement__frequencySelection": np.ones(24)},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_content_is_refused(tmp_path, message):
    path = minimal(tmp_path / "a.mdf", **BAD[message])
    with pytest.raises(ValueError, match=r"a\.mdf") as error:
        read_mdf(path)
    assert message in str(error.value)


def replaced(path, make):
    minimal(path, measurement__data=None)
    with h5py.File(path, "a") as f:
        make(f)
    return path


def test_hostile_files_are_refused(tmp_path):
    other = minimal(tmp_path / "other.mdf")
    (tmp_path / "raw").write_bytes(bytes(3 * 2 * 24 * 8))
    layout = h5py.VirtualLayout((3, 1, 2, 24), "i2")
    layout[...] = h5py.VirtualSource(other, "measurement/data", (3, 1, 2, 24))
    floats = h5py.h5s.create_simple((3, 1, 2, 24))
    outside = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    outside.set_external(str(tmp_path / "raw").encode(), 0, 3 * 2 * 24 * 8)
    hostile = {
        "external link": lambda f: f.__setitem__("measurement/data", h5py.ExternalLink(other, "measurement/data")),
        "soft link": lambda f: f.__setitem__("measurement/data", h5py.SoftLink("/uuid")),
        "virtual": lambda f: f.create_virtual_dataset("measurement/data", layout),
        "external storage": lambda f: h5py.h5d.create(f["measurement"].id, b"data", h5py.h5t.IEEE_F64LE, floats,
                                                      outside),
        "variable length": lambda f: f.create_dataset("measurement/data", (3, 1, 2, 24), h5py.vlen_dtype("f4")),
        "references": lambda f: f.create_dataset("measurement/data", data=np.full((1, 1, 2, 24), f.ref),
                                                 dtype=h5py.ref_dtype),
        "group": lambda f: f.create_group("measurement/data/more"),
        "huge": lambda f: f.create_dataset("measurement/data", (2**40, 1, 2, 24), "f8", chunks=(1, 1, 2, 24)),
    }
    for name, make in hostile.items():
        path = replaced(tmp_path / f"{name}.mdf", make)
        with pytest.raises(ValueError, match=rf"{name}\.mdf: cannot read measurement/data"):
            read_mdf(path)
    with pytest.raises(ValueError, match="measurement/data"):
        read_mdf(other, largest=100)


def test_a_chunk_that_unpacks_without_end_is_refused(tmp_path):
    def bomb(f):
        data = f.create_dataset("measurement/data", (3, 1, 2, 24), "f4", chunks=(3, 1, 2, 24), compression="gzip")
        packer, block = zlib.compressobj(1), bytes(2**20)
        packed = b"".join(packer.compress(block) for _ in range(1000))
        data.id.write_direct_chunk((0, 0, 0, 0), packed + packer.flush())

    with pytest.raises(ValueError, match=r"a\.mdf"):
        read_mdf(replaced(tmp_path / "a.mdf", bomb))


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.mdf"):
        read_mdf(tmp_path / "none.mdf")
    for name, content in (("empty", b""), ("text", b"hello"), ("zip", b"PK\x03\x04" + bytes(100))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            read_mdf(tmp_path / name)
    with pytest.raises(ValueError, match="is not a regular file"):
        read_mdf(tmp_path)


def test_nothing_is_left_half_written(tmp_path):
    path = tmp_path / "a.mdf"
    write_mdf(path, MDF(np.ones((1, 1, 2, 24)), 1.25e6))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="info takes uuid"):
        write_mdf(path, MDF(np.ones((1, 1, 2, 24)), 1.25e6, info={"study/colour": "red"}))
    broken = MDF(np.ones((1, 1, 2, 24)), 1.25e6, strength=np.array([object()]))
    with pytest.raises(TypeError):
        write_mdf(path, broken)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.mdf"]
    with pytest.raises(FileNotFoundError, match="folder"):
        write_mdf(tmp_path / "no" / "a.mdf", broken)


def test_without_h5py(tmp_path, monkeypatch):
    path = minimal(tmp_path / "a.mdf")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"jaxrecon\[readers\]"):
        read_mdf(path)
    with pytest.raises(ImportError, match=r"jaxrecon\[readers\]"):
        write_mdf(path, MDF(jnp.ones((1, 1, 2, 24)), 1.25e6))


# ---- damaged files: a clear error that names the file, or what was written


def fuzz(folder, scan, numbers):
    write_mdf(folder / "whole.mdf", scan)
    whole = (folder / "whole.mdf").read_bytes()
    refused = 0
    for number in numbers:
        draw, content = random.Random(number), bytearray(whole)
        if number % 4 == 0:
            content = content[: draw.randrange(len(content))]
        for _ in range(draw.choice([1, 1, 2, 4, 16, 64]) if number % 4 else 0):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path = folder / f"fuzz{number}.mdf"
        path.write_bytes(content)
        try:
            got = read_mdf(path, largest=2**24)
        except ValueError as error:
            assert f"fuzz{number}.mdf" in str(error), (number, error)
            refused += 1
        else:
            assert got.data.size < 2**24
        path.unlink()
    return refused


def test_damaged_files(tmp_path, calibration):
    assert fuzz(tmp_path, calibration[0], range(60)) > 15


@pytest.mark.slow
def test_many_damaged_files(tmp_path, calibration):
    assert fuzz(tmp_path, calibration[0], range(1000, 1800)) > 200
