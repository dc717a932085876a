"""BART's pairs of files, written plainly here."""

import numpy as np
import pytest
from fuzz import LONG, check_reader

from jaxrecon.io import NonCartesianScan, Scan, load, read_bart, read_cfl, write_bart, write_cfl


@pytest.fixture
def random(rng):
    return lambda *shape: (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def write(folder, name, dims, array, text="# Dimensions\n{}\n"):
    """Column-major: the first dimension is the fastest."""
    (folder / f"{name}.hdr").write_text(text.format(" ".join(map(str, dims))))
    (folder / f"{name}.cfl").write_bytes(np.asarray(array).reshape(-1, order="F").astype("<c8").tobytes())
    return folder / f"{name}.cfl"


@pytest.mark.parametrize(("nx", "ny"), [(6, 4), (5, 7)])
def test_axes(tmp_path, random, nx, ny):
    cfl = random(nx, ny, 1, 3)
    path = write(tmp_path, "a", (nx, ny, 1, 3, *[1] * 12), cfl)
    for name in (path, tmp_path / "a.hdr", tmp_path / "a"):
        scan = load(name)
        for x, y, c in ((0, 0, 0), (nx - 1, 1, 2), (2, ny - 1, 1)):
            assert scan.kspace[c, y, x] == cfl[x, y, 0, c]
        assert scan.kspace.shape == (3, ny, nx)
    np.testing.assert_array_equal(read_cfl(path), cfl)


def test_round_trip_and_known_bytes(tmp_path, random):
    kspace = random(3, 5, 4)
    write_bart(tmp_path / "a.cfl", Scan(kspace))
    assert (tmp_path / "a.hdr").read_text() == "# Dimensions\n4 5 1 3 1 1 1 1 1 1 1 1 1 1 1 1\n"
    np.testing.assert_array_equal(np.frombuffer((tmp_path / "a.cfl").read_bytes(), "<c8")[:4], kspace[0, 0])
    np.testing.assert_array_equal(read_bart(tmp_path / "a").kspace, kspace)
    for array in (random(2, 3, 4, 5), np.arange(6.0), random(3, 1, 2).real > 0):
        write_cfl(tmp_path / "b", array)
        np.testing.assert_array_equal(read_cfl(tmp_path / "b"), array)


def test_maps_slices_and_comments(tmp_path, random):
    cfl = random(4, 5, 1, 2, *[1] * 9, 3)
    path = write(tmp_path, "a", cfl.shape, cfl, "# Command\nfft 3 a b\n# Dimensions\n{}\n# Creator\nBART 0.9\n")
    maps = write(tmp_path, "m", (4, 5, 1, 2), cfl[..., 0])
    scan = load(path, slice=2, maps=maps)
    assert (scan.slice, scan.slices, load(path).slice) == (2, 3, 1)
    np.testing.assert_array_equal(scan.kspace, np.squeeze(cfl[..., 2]).T)
    np.testing.assert_array_equal(scan.maps, np.squeeze(cfl[..., 0]).T)


def test_trajectories(tmp_path, random, rng):
    kspace, nodes = random(1, 7, 3, 2), rng.uniform(-4, 3.9, (3, 7, 3))
    path, where = write(tmp_path, "k", kspace.shape, kspace), write(tmp_path, "t", nodes.shape, nodes)
    scan = load(path, trajectory=where, shape=(10, 8))
    assert isinstance(scan, NonCartesianScan)
    np.testing.assert_array_equal(scan.samples, kspace[0].transpose(2, 1, 0))
    np.testing.assert_allclose(scan.nodes[1, 4], [nodes[1, 4, 1] / 10, nodes[0, 4, 1] / 8], rtol=1e-6)
    assert load(path, trajectory=where, shape=(9, 10, 8)).nodes.shape == (3, 7, 3)
    with pytest.raises(ValueError, match=r"k\.cfl: these are spokes|k\.cfl: dimensions"):
        load(path)
    with pytest.raises(ValueError, match=r"k\.cfl: a trajectory needs shape"):
        load(path, trajectory=where)


@pytest.mark.parametrize(("dims", "message"), [
    ("4 5 1 -3", "up to 16 positive numbers"), ("4 5 0 3", "up to 16 positive numbers"), ("", "up to 16 positive"),
    ("4 5 1 x", "up to 16 positive numbers"), (" ".join(["1"] * 17), "up to 16 positive numbers"),
    ("99999999999 99999999999", "at most 4.0 GiB are read"), ("4 5 1 4", "need 640"), ("4 5 1 2", "need 320"),
    ("4 1 1 3 5", "more than one slice"), ("4 1 5 3", "3-D scan"),
])
def test_bad_headers(tmp_path, random, dims, message):
    path = write(tmp_path, "a", dims.split(), random(4, 5, 1, 3))
    with pytest.raises(ValueError, match=r"a\.(cfl|hdr)") as error:
        load(path)
    assert message in str(error.value)


def test_missing_halves_and_bad_values(tmp_path, random):
    path = write(tmp_path, "a", (4, 5), random(4, 5) * np.nan)
    with pytest.raises(ValueError, match=r"a\.cfl: kspace holds"):
        load(path)
    (tmp_path / "a.hdr").write_bytes(b"\xff\xfe\0" * 99)
    with pytest.raises(ValueError, match=r"a\.hdr is not a header"):
        load(path)
    (tmp_path / "a.hdr").unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.hdr: no such file"):
        load(path)


def test_a_failed_write_leaves_both_files(tmp_path, random, monkeypatch):
    write_cfl(tmp_path / "a", random(3, 4))
    before = [(tmp_path / f"a.{e}").read_bytes() for e in ("hdr", "cfl")]
    for bad, message in ((np.array([None]), "cannot write object"), (np.full(3, 1e300), "overflow complex64"),
                         (np.zeros(0), "cannot write float64"), (np.zeros((1,) * 17), "up to 16 axes")):
        with pytest.raises(ValueError, match=message):
            write_cfl(tmp_path / "a", bad)
    (tmp_path / "b.cfl").mkdir()
    with pytest.raises(ValueError, match="not a regular file"):
        write_cfl(tmp_path / "b", random(2, 2))
    assert [(tmp_path / f"a.{e}").read_bytes() for e in ("hdr", "cfl")] == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.cfl", "a.hdr", "b.cfl"]


@pytest.mark.parametrize("which", ["cfl", "hdr"])
def test_damaged_files(tmp_path, random, which):
    write(tmp_path, "a", (5, 6, 1, 2), random(5, 6, 1, 2))
    base = (tmp_path / f"a.{which}").read_bytes()
    check_reader(tmp_path / f"a.{which}", base, read_bart, LONG)
