"""`load` and `save`: readers by content, values that are checked, HDF5 that cannot harm, and the command line."""

import os
import signal

import h5py
import numpy as np
import pytest
import scipy.io
from fuzz import LONG, check_reader
from typer.testing import CliRunner

import jaxrecon as jr
from jaxrecon.cli import app
from jaxrecon.io import Image, NonCartesianScan, Scan, hdf5, isolated, load, save
from jaxrecon.io.hdf5 import open_hdf5, write_hdf5


@pytest.fixture
def random(rng):
    return lambda *shape: (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


# ---- by content


def test_content_counts_and_not_the_name(tmp_path, random):
    kspace = random(2, 6, 5)
    save(tmp_path / "a.npz", Scan(kspace))
    save(tmp_path / "a.dcm", np.ones((3, 4)))
    save(tmp_path / "b.nii.gz", np.ones((3, 4)))
    write_hdf5(tmp_path / "c.h5", {"kspace": kspace[None]})
    scipy.io.savemat(tmp_path / "d.mat", {"kspace": kspace.transpose(1, 2, 0)})
    for name, kind in (("a.npz", Scan), ("a.dcm", Image), ("b.nii.gz", Image), ("c.h5", Scan), ("d.mat", Scan)):
        for ending in (".nii", ".cfl", ".dat", ""):
            wrong = tmp_path / f"wrong{ending}"
            wrong.write_bytes((tmp_path / name).read_bytes())
            assert isinstance(load(wrong), kind), (name, ending)


def test_what_is_not_known(tmp_path):
    path = tmp_path / "a.dat"
    path.write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"a\.dat is of no format known here, or damaged; read are ISMRMRD, fastMRI"):
        load(path)
    with pytest.raises(FileNotFoundError, match="missing: no such file"):
        load(tmp_path / "missing")
    with pytest.raises(ValueError, match="not a regular file"):
        load(os.devnull)
    write_hdf5(tmp_path / "b.h5", {"a/b": 1.0})
    with pytest.raises(ValueError, match=r"b\.h5 is an HDF5 file, but neither ISMRMRD nor .* it holds a/b"):
        load(tmp_path / "b.h5")
    save(tmp_path / "c.nii", np.ones((3, 4)))
    with pytest.raises(TypeError, match=r"c\.nii is read by read_nifti, which has no option slice; it takes largest"):
        load(tmp_path / "c.nii", slice=1)


def test_a_missing_library_names_the_extra(tmp_path, monkeypatch):
    save(tmp_path / "a.nii", np.ones((3, 4)))
    monkeypatch.setattr(hdf5.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs nibabel; install it by: pip install 'jaxrecon\[readers\]'"):
        load(tmp_path / "a.nii")


# ---- values and their files


def test_scans_and_images_come_back(tmp_path, random, rng):
    noise = np.array([[2, 1j], [-1j, 3]])
    scan = Scan(random(2, 6, 5), np.arange(6)[:, None] % 2, random(2, 6, 5), noise, (4, 5))
    save(tmp_path / "a.npz", scan)
    back = load(tmp_path / "a.npz")
    for name in ("kspace", "mask", "maps", "noise"):
        np.testing.assert_array_equal(getattr(back, name), getattr(scan, name))
    assert back.crop == (4, 5)
    spokes = NonCartesianScan(random(2, 3, 7), rng.uniform(-0.5, 0.4, (3, 7, 2)), (6, 8), rng.random((3, 7)))
    save(tmp_path / "b.npz", spokes)
    back = load(tmp_path / "b.npz")
    assert isinstance(back, NonCartesianScan) and back.shape == (6, 8)
    for name in ("samples", "nodes", "density"):
        np.testing.assert_array_equal(getattr(back, name), getattr(spokes, name))
    image = Image(rng.random((2, 3, 4)), spacing=(3, 2, 1))
    for name in ("c.npz", "c.nii"):
        save(tmp_path / name, image)
        back = load(tmp_path / name)
        np.testing.assert_array_equal(back.pixels, image.pixels)
        np.testing.assert_array_equal(back.affine, image.affine)
    save(tmp_path / "d.cfl", scan)
    np.testing.assert_array_equal(load(tmp_path / "d.cfl").kspace, scan.kspace)
    for name, v in (("e.cfl", spokes), ("e.nii", scan), ("e.dcm", spokes), ("e.png", image), ("e", scan)):
        with pytest.raises(ValueError, match="cannot write"):
            save(tmp_path / name, v)
    assert not list(tmp_path.glob("e*"))


@pytest.mark.parametrize(("changes", "message"), [
    ({"shape": (6,)}, r"shape must be \(ny, nx\)"),
    ({"shape": (4, 6, 8)}, r"nodes must be real, of shape \(\.\.\., 3\)"),
    ({"nodes": np.full((3, 7, 2), 0.6)}, "nodes reach 0.6; they must be in cycles per pixel"),
    ({"nodes": np.full((3, 7, 2), np.nan)}, "nodes holds 42 values"),
    ({"samples": np.ones((2, 7, 3), complex)}, "samples must"),
    ({"samples": np.ones((2, 3, 7))}, "samples must be complex"),
    ({"samples": np.zeros((3, 7), complex)}, "all samples"),
    ({"density": np.ones(7)}, r"density must be real, of shape \(3, 7\)"),
    ({"noise": np.eye(3)}, r"covariance \(2, 2\)"),
    ({"crop": (9, 8)}, "not a part of the image"),
])
def test_non_cartesian_scans_are_checked(changes, message):
    good = {"samples": np.ones((2, 3, 7), complex), "nodes": np.zeros((3, 7, 2)), "shape": (6, 8)}
    NonCartesianScan(**good)
    with pytest.raises(ValueError, match=message):
        NonCartesianScan(**{**good, **changes})


@pytest.mark.parametrize(("arguments", "message"), [
    ({"pixels": np.ones(3)}, "pixels must be numbers"), ({"spacing": (1, 0)}, "2 positive lengths"),
    ({"affine": np.ones((3, 3))}, r"finite \(4, 4\)"), ({"affine": np.zeros((4, 4))}, "last row"),
    ({"affine": np.diag([1.0, 0, 1, 1])}, "column of zeros"),
    ({"affine": np.eye(4), "spacing": (1, 2)}, r"spacing is \(1\.0, 2\.0\), but affine says \(1\.0, 1\.0\)"),
])
def test_images_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        Image(**{"pixels": np.ones((4, 5)), **arguments})


def test_middle_keeps_the_centre():
    for n, m in ((6, 3), (6, 4), (7, 4), (7, 3), (5, 5)):
        x = np.zeros((2, n, 3))
        x[:, n // 2] = 1
        assert jr.io.middle(x, (m, 3))[:, m // 2].all() and jr.io.middle(x, (m, 3)).shape == (2, m, 3)


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_npz(tmp_path, random, compressed):
    write = np.savez_compressed if compressed else np.savez
    write(tmp_path / "base.npz", kspace=random(2, 5, 4), mask=np.ones((5, 1)))
    check_reader(tmp_path / "a.npz", (tmp_path / "base.npz").read_bytes(), load, LONG)


# ---- HDF5


def test_links_and_foreign_values_are_not_followed(tmp_path):
    secret = tmp_path / "secret.h5"
    write_hdf5(secret, {"kspace": np.ones(3)})
    (tmp_path / "raw").write_bytes(bytes(80))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["external"] = h5py.ExternalLink(str(secret), "kspace")
        file["soft"] = h5py.SoftLink("/real")
        file["real"], file["text"] = np.arange(3.0), ["ä", "b"]
        file["group/inner"] = 1
        file["group/loop"] = file["/"]
        file.create_dataset("stored", (10,), "f8", external=[(str(tmp_path / "raw"), 0, 80)])
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "kspace", (3,))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("objects", (2,), h5py.vlen_dtype("f4"))
        file.create_dataset("references", (1,), h5py.ref_dtype)
        file["nothing"] = h5py.Empty("f4")
        file.create_dataset("huge", (2**40,), "f8", chunks=(2**10,))
    with open_hdf5(path) as file:
        for key, why in (("external", "it is a link"), ("soft", "it is a link"), ("stored", "lie in another file"),
                         ("virtual", "put together"), ("objects", "neither numbers nor text"), ("group", "is a group"),
                         ("references", "neither numbers nor text"), ("nothing", "it is empty"),
                         ("huge", r"8192\.0 GiB; at most 4\.0 GiB are read"), ("missing", "it is missing; there are")):
            with pytest.raises(ValueError, match=rf"a\.h5: cannot read {key}: .*{why}"):
                file.read(key)
        np.testing.assert_array_equal(file.read("/real"), np.arange(3.0))
        assert file.read("text") == ["ä", "b"] and file.read("group/inner") == 1 and "group/loop/real" not in file


def test_types_of_numbers(tmp_path, random):
    values = {"c8": random(3, 2), "c16": random(3).astype(complex), "big": np.arange(3, dtype=">i4"),
              "yes": np.array([True]), "f2": np.ones(2, np.float16), "none": np.zeros((0, 3)), "text": "größe"}
    write_hdf5(tmp_path / "a.h5", values)
    with open_hdf5(tmp_path / "a.h5") as file:
        for key, v in values.items():
            np.testing.assert_array_equal(file.read(key), v)
        np.testing.assert_array_equal(file.read("c8", rows=(1, 3)), values["c8"][1:])
        with pytest.raises(ValueError, match="rows 2 to 4 do not exist"):
            file.read("c8", rows=(2, 4))
    with pytest.raises(ValueError, match="cannot write a: object"):
        write_hdf5(tmp_path / "a.h5", {"a": np.array([None])})
    with open_hdf5(tmp_path / "a.h5") as file:
        assert "text" in file


def test_a_reader_that_dies_or_hangs_is_the_files_fault(tmp_path, monkeypatch):
    write_hdf5(tmp_path / "a.h5", {"a": 1.0})
    with pytest.raises(ValueError, match=r"a\.h5: cannot read a: it is damaged: its library crashed"), \
            open_hdf5(tmp_path / "a.h5") as file:
        os.killpg(file._process.process.pid, signal.SIGKILL)
        file.read("a")
    with open_hdf5(tmp_path / "a.h5") as one, open_hdf5(tmp_path / "a.h5") as two:  # each has its own process
        assert one.read("a") == two.read("a") == 1.0
    assert len(isolated._IDLE) == 1


# ---- the command line


NY, NX = 24, 20


@pytest.fixture(scope="module")
def truth():
    return np.asarray(jr.simulate.shepp_logan((NY, NX))) * np.exp(1j * np.linspace(-1, 1, NX))


@pytest.fixture(scope="module")
def maps():
    return np.asarray(jr.simulate.coil_maps((NY, NX), 4))


def reconstruct(path, *arguments):
    result = CliRunner().invoke(app, ["reconstruct", str(path), "-o", str(path.parent / "out.npz"), *arguments])
    assert result.exit_code == 0, result.output
    return load(path.parent / "out.npz").pixels, result.output


def forward(image, axes=(-2, -1)):
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, axes), norm="ortho"), axes).astype(np.complex64)


@pytest.mark.parametrize("kind", ["cfl", "mat", "h5"])
def test_reconstruct_of_every_format(tmp_path, truth, maps, kind):
    kspace, path = forward(maps * truth), tmp_path / f"scan.{kind}"
    extra = ()
    if kind == "cfl":
        save(path, Scan(kspace))
        save(tmp_path / "maps.cfl", maps)
        extra = ("--maps", str(tmp_path / "maps.cfl"))
    elif kind == "mat":
        scipy.io.savemat(path, {"kspace": kspace.transpose(1, 2, 0), "maps": maps.transpose(1, 2, 0)})
    else:
        write_hdf5(path, {"kspace": np.stack([0 * kspace + 1, kspace, kspace])})
    image, said = reconstruct(path, "--method", "cg", "--prior", "none", *extra)
    assert ("slice 1 of 3" in said) == (kind == "h5")
    if kind == "h5":  # with maps found from the data, up to their phase
        inside = abs(truth) > 0.1
        np.testing.assert_allclose(abs(image)[inside], abs(truth)[inside], atol=0.05)
    else:
        np.testing.assert_allclose(image, truth, atol=1e-4)


@pytest.mark.slow
def test_reconstruct_along_a_trajectory(tmp_path, truth, maps):
    ismrmrd = pytest.importorskip("ismrmrd")
    from test_ismrmrd import Writer, header

    nodes = np.asarray(jr.simulate.radial(60, 48)).astype(np.float32)
    assert ismrmrd and nodes.shape[-1] == 2
    n = [np.arange(size) - size // 2 for size in (NY, NX)]
    disc = (n[0][:, None] / NY) ** 2 + (n[1] / NX) ** 2 < 0.16  # spokes do not reach the corners of k-space
    truth = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(disc * forward(truth)), norm="ortho"))
    rows, columns = (np.exp(-2j * np.pi * nodes[..., d, None] * n[d]) for d in (0, 1))
    samples = np.einsum("...y,...x,cyx->c...", rows, columns, maps * truth) / np.sqrt(NY * NX)
    writer = Writer(tmp_path / "scan.h5", header(NX, NY, trajectory="radial"))
    for i in range(60):
        writer.add(samples[:, i], traj=nodes[i, :, ::-1], kspace_encode_step_1=i)
    writer.close()
    image, said = reconstruct(tmp_path / "scan.h5", "--method", "cg", "--prior", "none", "--iterations", "30")
    assert "2880 nodes" in said and "24 x 20 pixels" in said
    inside = abs(truth) > 0.1
    error = np.linalg.norm((abs(image) - abs(truth))[inside]) / np.linalg.norm(truth)
    assert error < 0.03, error


def test_oversampling_and_noise_reach_the_command_line(tmp_path, truth, maps, rng):
    pytest.importorskip("ismrmrd")
    from test_ismrmrd import Writer, header, lines

    wide = np.zeros((4, NY + 8, 2 * NX), complex)
    wide[:, 4:-4, NX // 2:NX // 2 + NX] = maps * truth
    writer = Writer(tmp_path / "scan.h5", header(2 * NX, NY + 8, rx=NX, ry=NY))
    writer.add(rng.standard_normal((4, 500)) + 1j * rng.standard_normal((4, 500)), flags=[19])
    lines(writer, forward(wide)).close()
    image, said = reconstruct(tmp_path / "scan.h5", "--method", "zero-filled")
    assert "24 x 20 pixels" in said and "whitened" in said
    inside = abs(truth) > 0.1
    ratio = abs(image)[inside] / abs(truth)[inside]
    assert ratio.std() < 0.05 * ratio.mean()


def test_the_command_line_refuses_in_one_line(tmp_path, random):
    save(tmp_path / "a.nii", np.ones((4, 5)))
    save(tmp_path / "b.cfl", Scan(random(2, 8, 8)))
    (tmp_path / "c.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    (tmp_path / "out.npz").write_bytes(b"precious")
    for name, arguments, message in (
            ("a.nii", [], "a.nii holds an image, 4 x 5, and not a scan"),
            ("a.nii", ["--maps", "m"], "a.nii holds no coil maps named m"),
            ("a.nii", ["--slice", "1"], "a.nii holds one slice"),
            ("b.cfl", ["--slice", "3"], "b.cfl: there is no slice 3"),
            ("c.h5", [], "c.h5: cannot read it: it is damaged"),
            ("b.cfl", ["--maps", str(tmp_path / "none")], "no such file"), ("d.h5", [], "d.h5: no such file")):
        command = ["reconstruct", str(tmp_path / name), "-o", str(tmp_path / "out.npz"), *arguments]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 2 and result.stdout == "" and result.stderr.count("\n") == 1
        assert message in result.stderr, result.stderr
    assert (tmp_path / "out.npz").read_bytes() == b"precious"
