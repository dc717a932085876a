"""Saved files: what comes back is what went in, and anything else is one clear error."""

import dataclasses
import functools
import io
import json
import subprocess
import sys
import zipfile
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxrecon as jr
from jaxrecon.learned.denoiser import Denoiser
from jaxrecon.networks.base import architecture, build
from jaxrecon.saving import load, read_about, save
from jaxrecon.solvers.base import Iterate


@architecture
class SavedNet:
    """A recipe of this test's own."""

    features: int = 3
    channels: int = 1
    kernel: tuple = (3, 3)

    def __call__(self, rngs):
        def conv(a, b):
            return nnx.Conv(a, b, self.kernel, rngs=rngs)

        return nnx.Sequential(conv(self.channels, self.features), nnx.relu, conv(self.features, self.channels))


@jr.value
class Mine:
    """A user's value."""

    weight: object
    power: int = jr.static(default=2)


@jax.tree_util.register_pytree_node_class
class Box:
    """A user's pytree that is no value of ours."""

    def __init__(self, inside):
        self.inside = inside

    def tree_flatten(self):
        return (self.inside,), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "saved.jr"


def returned(path, v, **options):
    save(path, v)
    return load(path, **options)


def assert_same(a, b):
    """Equal to the last bit: types, structure, dtypes, weak types, random keys."""
    assert type(a) is type(b) or (isinstance(a, jax.Array) and isinstance(b, jax.Array))
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if isinstance(x, jax.Array):
            assert isinstance(y, jax.Array) and x.aval == y.aval  # shape, dtype, weak type
            if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
                x, y = jax.random.key_data(x), jax.random.key_data(y)
        else:
            assert type(x) is type(y)
        x, y = np.asarray(x), np.asarray(y)
        if x.dtype == object:
            assert x == y
            continue
        assert x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


# ---- what comes back


def test_numbers_text_and_containers(path):
    tree = {"a": (1, -0.0, float("inf"), -1j, None, True, "é\ud800", 10**30), "b": [{3: 1.5, True: ()}, []],
            "c": Iterate(jnp.ones(2)), "dtypes": jr.Identity(jax.ShapeDtypeStruct((2,), jnp.float32))}
    found = returned(path, tree)
    assert_same(tree, found)
    assert str(found["a"][1]) == "-0.0" and list(found["b"][0]) == [3, True] and type(found["c"]) is Iterate
    assert np.isnan(returned(path, float("nan")))


@pytest.mark.parametrize("dtype", ["bool", "int4", "uint8", "int64", "bfloat16", "float8_e4m3fn", "float16", "float32",
                                   "float64", "complex64", "complex128"])
def test_arrays(path, dtype):
    x = jnp.arange(6).reshape(2, 3).astype(dtype)
    host = np.asarray(x)
    tree = (x, x[:0], x[0, 0], host, host.T, host[::-1, ::2], host[1, 1])
    assert_same(tree, returned(path, tree))


def test_weak_types_and_keys_survive(path):
    # A strong float64 scalar in place of a weak one would turn float32 images into float64 ones.
    tree = (jnp.asarray(0.5), jnp.stack([jnp.asarray(0.5)] * 3), jnp.asarray(0.5, "float32"),
            jax.random.key(3), jax.random.split(jax.random.key(0, impl="rbg"), 4))
    found = returned(path, tree)
    assert_same(tree, found)
    assert (jnp.ones(1, "float32") * found[1][0]).dtype == "float32"


def test_other_byte_orders_become_native(path):
    found = returned(path, np.arange(3, dtype=">f4"))
    assert found.dtype == np.dtype("<f4") and found.tolist() == [0, 1, 2]


def test_an_array_held_twice_is_stored_once(path):
    x = jnp.ones(1000)
    found = returned(path, (x, x))
    assert found[0] is found[1] and path.stat().st_size < 12_000


def test_the_same_value_makes_the_same_file(path, tmp_path):
    v = jr.FISTA(jr.L2(jnp.ones(3)))
    save(path, v)
    save(tmp_path / "other", v)
    assert path.read_bytes() == (tmp_path / "other").read_bytes()
    with np.load(path) as file:  # others read the arrays too
        assert file["0"].tolist() == [1, 1, 1]


@functools.cache
def values():
    angles = np.linspace(0, np.pi, 5, endpoint=False)
    fourier = jr.Fourier((8, 6), mask=jnp.ones((8, 1)))
    xray = jr.XRay(jr.ParallelBeam(angles, 9), (6, 6), pixel_size=0.5)
    matrix = jr.Matrix(jnp.arange(6.0).reshape(2, 3))
    wavelet = jr.Wavelet((8, 8), "db2", 1, dtype="complex64")
    return {
        "fourier": fourier, "sense": jr.sense(jnp.ones((2, 8, 6), "complex64"), jnp.ones((8, 1))), "xray": xray,
        "fan": jr.XRay(jr.FanBeam(angles, 9, 10.0, 5.0), (6, 6)),
        "nufft": jr.NUFFT(jnp.zeros((4, 2)), (8, 8)), "prepared": jr.NUFFT(jnp.zeros((4, 2)), (8, 8)).prepared,
        "algebra": 2 * (matrix.H @ matrix) + jr.Diagonal(jnp.ones(3)) @ jr.Identity((3,)), "gram": xray.gram,
        "stack": jr.stack([matrix, matrix]), "convolution": jr.Convolution(jnp.ones((3, 3)), (8, 8), "symmetric"),
        "system": jr.SystemMatrix(jnp.ones((4, 3, 2)) * 1j), "batched": jr.batched(matrix, 3),
        "real": jr.real_part(fourier), "prior": jr.L1(1e-3, transform=wavelet), "low-rank": jr.Nuclear(0.1),
        "fused": jr.FusedLasso(0.1, 0.2), "tv": jr.TV(0.1, isotropic=False),
        "admm": jr.ADMM([jr.TV(0.1), jr.NonNegative()], rho=0.3),
        "split": jr.Alternating(jr.ProximalStep(0.2), jr.TV(0.1)),
        "iterative": jr.Iterative(jr.Kaczmarz(0.1, order="cyclic"), 7, data=jr.LeastSquares()), "fbp": jr.FBP("hann"),
        "poisson": jr.PoissonLikelihood("transmission", blank=100.0), "svd": jr.svd(matrix),
        "scan": jr.io.Scan(np.ones((2, 4, 4), complex), crop=(2, 2)), "wiener": jr.Wiener(0.1),
    }


def test_values(path):
    for v in values().values():
        assert_same(v, returned(path, v))
        assert_same(v, load(path, like=v))


def test_a_value_found_again_computes_the_same(path):
    A = values()["xray"]
    b = A(jnp.ones((6, 6)))
    r = jr.Iterative(jr.CondatVu([jr.TV(0.1), jr.NonNegative()]), 5)
    again = returned(path, {"A": A, "b": b, "r": r})
    assert bool(jnp.all(again["r"](again["A"], again["b"]) == r(A, b)))


@pytest.mark.parametrize("copies", [None, 2])
def test_networks(path, copies):
    network = build(SavedNet(features=2, channels=2), jax.random.key(0), copies)
    found = returned(path, network)
    assert_same(network, found)
    assert found.graphdef == network.graphdef and hash(found.graphdef) == hash(network.graphdef)
    assert found.factory == network.factory and found.channels == 2


def test_a_denoiser_does_not_build_its_network_again(path, monkeypatch):
    prior = jr.ISTA(Denoiser(SavedNet(), sigma=0.1, key=jax.random.key(1)))
    save(path, prior)
    monkeypatch.setattr(Denoiser, "check", lambda self: pytest.fail("check must not run"))
    found = load(path)
    assert_same(prior, found)
    v = jnp.linspace(0, 1, 36).reshape(6, 6)
    assert bool(jnp.all(found.prior.prox(v) == prior.prior.prox(v)))


@pytest.mark.slow
def test_learned_reconstructors(path):
    net, key = jr.networks.ConvNet(channels=2, features=2, depth=2), jax.random.key(0)
    small = jr.networks.ConvNet(features=2, depth=2)
    values = {
        "unrolled": jr.Unrolled(net, 2, dc=jr.ProximalStep(0.1, 3), initial=jr.ZeroFilled(), key=key),
        "modl": jr.Unrolled(jr.networks.UNet(channels=2, features=2, levels=1), 2, shared=True, key=key),
        "post": jr.PostProcessed(jr.FBP("hann"), small, key=key),
        "consistent": jr.Consistent(jr.PostProcessed(jr.ZeroFilled(), net, key=key), jr.ProximalStep(0.1, 3)),
        "primal-dual": jr.LearnedPrimalDual(2, features=2, depth=2, memory=2, key=key),
        "inverse": jr.LearnedInverse(jr.networks.AUTOMAP(8, (2, 2), channels=2, features=2, depth=2), key=key),
        "plug-and-play": jr.PlugAndPlay(Denoiser(jr.networks.DRUNet(features=(2, 4), blocks=1), key=key)),
    }
    for v in values.values():
        found = returned(path, v)
        assert_same(v, found)
        assert repr(found) == repr(v)
    A, b = jr.Fourier((6, 6)), jnp.ones((6, 6), complex)
    save(path, values["unrolled"])
    assert bool(jnp.all(load(path)(A, b) == values["unrolled"](A, b)))
    fresh = jr.Unrolled(net, 2, dc=jr.ProximalStep(0.5, 3), initial=jr.ZeroFilled(), key=jax.random.key(1))
    assert_same(load(path, like=fresh), values["unrolled"])
    with pytest.raises(ValueError, match="net has 2 weight sets in the file and 3 in `like`"):
        load(path, like=jr.Unrolled(net, 3, dc=jr.ProximalStep(0.5, 3), initial=jr.ZeroFilled(), key=key))


def test_it_opens_in_a_process_that_imported_nothing(path):
    save(path, jr.FBP("hann"), about={"licence": "CC0"})
    code = f"import jaxrecon.saving as s; print(s.load({str(path)!r}).filter, s.read_about({str(path)!r})['licence'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["hann", "CC0"]


def test_about(path):
    save(path, 1.0, about={"config": "x = 1\n", "figures": [1, 2.5]})
    assert read_about(path) == {"config": "x = 1\n", "figures": [1, 2.5], "library": version("jaxrecon")}
    with pytest.raises(TypeError, match="about must be JSON"):
        save(path, 1.0, about={"x": jnp.ones(2)})
    assert load(path) == 1.0  # the file of before


def test_double_precision_where_it_is_off(path):
    save(path, (jnp.asarray(np.float64(1) / 3, "float64"), np.array([2.0**40]), jnp.asarray([7])))
    with jax.enable_x64(False):
        a, b, c = load(path)
    assert a.dtype == "float32" and b.dtype == "float64" and c.dtype == "int32" and int(c[0]) == 7
    save(path, jnp.asarray([2**40]))
    with jax.enable_x64(False), pytest.raises(ValueError, match="64-bit mode"):
        load(path)


# ---- like=


def test_what_holds_code_needs_like(path):
    made = [Denoiser(lambda rngs: nnx.Conv(1, 1, (3, 3), rngs=rngs), key=jax.random.key(i)) for i in (0, 1)]
    save(path, made[0])
    with pytest.raises(ValueError, match=r"net\.factory is code, .*<lambda>, which is not saved: pass like="):
        load(path)
    found = load(path, like=made[1])
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(made[0]), strict=True):
        assert bool(jnp.all(x == y))
    wide = Denoiser(lambda rngs: nnx.Conv(1, 1, (5, 3), rngs=rngs), key=jax.random.key(1))
    with pytest.raises(ValueError, match=r"net\.parameters\.kernel is float32\[3, 3, 1, 1\] in the file and "
                                         r"float32\[5, 3, 1, 1\] in `like`"):
        load(path, like=wide)
    module = Denoiser(nnx.Conv(1, 1, (3, 3), rngs=nnx.Rngs(0)))
    save(path, module)
    with pytest.raises(ValueError, match="net is a network without a known architecture: pass like="):
        load(path)
    assert_same(module, load(path, like=module))


def test_a_users_classes_need_like(path):
    tree = {"a": Mine(jnp.arange(3.0)), "b": Box(jnp.ones(2)), "f": jr.linear(jnp.cumsum, (3,)), "g": jr.Partial(abs)}
    save(path, tree)
    like = jax.tree.map(jnp.zeros_like, tree)
    found = load(path, like=like)
    assert found["a"].weight.tolist() == [0, 1, 2] and found["b"].inside.tolist() == [1, 1]
    assert found["f"].fn is jnp.cumsum
    for key in ("a", "b"):
        with pytest.raises(ValueError, match="which is not of jaxrecon: pass like="):
            returned(path, tree[key])


def test_like_may_be_shapes(path):
    v = jr.FISTA(jr.L2(jnp.asarray(0.3)))
    assert_same(v, returned(path, v, like=jax.eval_shape(lambda: v)))
    # A trained number is an array where the fresh one is a Python float; the precision is the file's.
    assert returned(path, jr.L2(jnp.asarray(0.3, "float32")), like=jr.L2(0.1)).lam.dtype == "float32"


@pytest.mark.parametrize(("held", "like", "message"), [
    ({"a": 1.0}, {"b": 1.0}, "the value is dict of a in the file and dict of b in `like`"),
    ((1.0, 2.0), (1.0,), "the value is tuple of 2 in the file and tuple of 1"),
    (jr.TV(0.1), jr.L1(0.1), r"is jaxrecon\.TV in the file and jaxrecon\.L1"),
    (jr.TV(0.1), jr.TV(0.1, isotropic=False), "isotropic is True in the file and False"),
    (jr.TV(0.1), jr.TV(jnp.ones(2)), r"lam is float64\[\] in the file and float64\[2\]"),
    ([jnp.ones((2, 3))], [jnp.ones((3, 2))], r"0 is float64\[2, 3\] in the file and float64\[3, 2\]"),
    ([jnp.ones(2)], [jnp.ones(2) * 1j], r"0 is float64\[2\] in the file and complex128\[2\]"),
    (jr.Fourier((4, 4)), jr.Fourier((4, 6)), r"shape\.1 is 4 in the file and 6"),
    ([None], [1.0], "0 is None in the file and 1.0"),
])
def test_like_of_another_structure(path, held, like, message):
    save(path, held)
    with pytest.raises(ValueError, match=message):
        load(path, like=like)


# ---- what cannot be saved


@pytest.mark.parametrize(("v", "message"), [
    ({"a": [object()]}, r"cannot save a\.0: object is neither"),
    (np.array(["text"]), "arrays of <U4 are not numbers"),
    (np.array([None]), "arrays of object are not numbers"),
    (np.zeros(2, "i4,f4"), "are not numbers"),
    ({1, 2}, "set is neither"),
])
def test_no_value(path, v, message):
    path.write_bytes(b"precious")
    with pytest.raises(TypeError, match=message):
        save(path, v)
    assert path.read_bytes() == b"precious"


def test_tracers_are_refused(path):
    with pytest.raises(TypeError, match=r"cannot save lam: it is traced; call jr\.save outside of jit"):
        jax.jit(lambda lam: save(path, jr.TV(lam)))(1.0)


# ---- what is damaged, foreign or new


def forged(path, node, members=(), compression=zipfile.ZIP_STORED, **header):
    """A file with right checksums and whatever it likes inside."""
    header = {"format": "jaxrecon", "version": 1, "library": "9.9", "arrays": len(members), "about": {}, "value": node,
              **header}
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("structure.json", json.dumps(header))
        for i, data in enumerate(members):
            archive.writestr(f"{i}.npy", data)
    return path


def npy(x, **options):
    buffer = io.BytesIO()
    np.save(buffer, x, **options)
    return buffer.getvalue()


def array_node(number=0, **more):
    return {"is": "array", "number": number, "of": "numpy", "dtype": "float64", **more}


def test_random_damage_is_found(path):
    v = {"r": jr.Iterative(jr.FISTA(jr.L1(0.1, transform=jr.Wavelet((8, 8), "haar", 1)))), "x": np.arange(20.0),
         "key": jax.random.key(0), "z": 1j}
    save(path, v)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for i in range(300):
        data = bytearray(whole)
        if i % 3 == 0:
            data = data[: rng.integers(len(data))]
        elif i % 3 == 1:
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        else:
            start = rng.integers(len(data))
            part = rng.integers(0, 256, size=rng.integers(1, 40), dtype=np.uint8).tobytes()
            data[start : start + len(part)] = part
        path.write_bytes(data)
        try:
            found = load(path)
        except ValueError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
        else:
            assert_same(v, found)  # dates and the like may change
    assert refused > 250


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x80\x04K\x01."])
def test_foreign_files(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is not a file that jr\.save wrote"):
        load(path)


def test_other_zip_files(path, tmp_path):
    np.savez(tmp_path / "other.npz", a=np.ones(2))
    with pytest.raises(ValueError, match=r"other\.npz is not a file that jr\.save wrote"):
        load(tmp_path / "other.npz")
    with pytest.raises(ValueError, match=r"is not a file that jr\.save wrote"):
        load(forged(path, 1, format="other"))
    with pytest.raises(ValueError, match="not a regular file"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(tmp_path / "missing")


def test_a_newer_format(path):
    with pytest.raises(ValueError, match=rf"written by jaxrecon 9\.9 in format 2; this is jaxrecon "
                                         rf"{version('jaxrecon')}, which reads up to format 1: update"):
        load(forged(path, {"is": "news"}, version=2, arrays={"changed": "too"}))


@pytest.mark.parametrize("name", ["jaxrecon.NoSuchPrior", "jaxrecon.priors.tv.NoSuch", "jaxrecon.nowhere.TV",
                                  "jaxrecon.cli.demo.Scan", "jaxrecon.cli.__main__.main", "jaxrecon.io.np.ndarray",
                                  "jaxrecon.solve", "jaxrecon.Solver", "jaxrecon.saving.file.Decoder",
                                  "jaxrecon.tv..x"])
def test_an_unknown_class_names_both_versions(path, name):
    with pytest.raises(ValueError, match=rf"written by jaxrecon 9\.9, holds the class '{name}'.*; this is jaxrecon "
                                         + version("jaxrecon")):
        load(forged(path, {"is": "value", "class": name, "fields": {}}))


@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", "builtins.eval", "jax.tree_util.Partial", "x", "",
                                  "jaxrecon_evil.Value", "antigravity.x"])
def test_nothing_outside_is_imported(path, name):
    before = set(sys.modules)
    for kind in ("value", "namedtuple", "pytree"):
        with pytest.raises(ValueError, match="not of jaxrecon"):
            load(forged(path, {"is": kind, "class": name, "fields": {}, "children": []}))
    assert set(sys.modules) == before


def test_fields_of_other_versions(path):
    node = {"is": "value", "class": "jaxrecon.L2", "fields": {}}
    known = [f.name for f in dataclasses.fields(jr.L2)]
    node["fields"] = {**dict.fromkeys(known), "lam": 0.5, "curvature": 1.0}
    with pytest.raises(ValueError, match=r"written by jaxrecon 9\.9, holds the field 'curvature' of jaxrecon\.L2"):
        load(forged(path, node))
    del node["fields"]["curvature"], node["fields"]["lam"]
    with pytest.raises(ValueError, match=r"jaxrecon\.L2 has no field 'lam' in the file.*pass like="):
        load(forged(path, node))
    assert load(path, like=jr.L2(0.25)).lam == 0.25
    net = {"is": "architecture", "class": "SavedNet", "arguments": {"depth": 3}}
    with pytest.raises(ValueError, match=r"the field 'depth' of networks\.SavedNet"):
        load(forged(path, net))
    with pytest.raises(ValueError, match=r"the architecture 'GoneNet'; where it is your own, import"):
        load(forged(path, {**net, "class": "GoneNet"}))


def test_an_architecture_that_has_changed(path):
    save(path, build(SavedNet(), jax.random.key(0)))
    with zipfile.ZipFile(path) as archive:
        header = json.loads(archive.read("structure.json"))
        arrays = [archive.read(f"{i}.npy") for i in range(header["arrays"])]
    header["value"]["factory"]["arguments"]["features"] = 4
    with pytest.raises(ValueError, match=r"parameters\.layers\.0\.bias is float32\[3\] in the file and float32\[4\]"):
        load(forged(path, header["value"], arrays))
    header["value"]["factory"]["arguments"]["features"] = "many"
    with pytest.raises(ValueError, match="does not understand"):
        load(forged(path, header["value"], arrays))


def promise(shape):
    """An .npy member whose header promises more than it holds."""
    whole = npy(np.zeros(1))
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return whole[:10] + text.ljust(len(whole) - 8 - 10 - 1) + b"\n" + whole[-8:]


@pytest.mark.parametrize(("data", "message"), [
    (promise((2**50,)), "GiB"),
    (promise((20,)), "promises 160 bytes"),
    (promise((-1,)), "impossible"),
    (npy(np.array([None]), allow_pickle=True), "would have to be unpickled"),
    (npy(np.zeros(1, "f4")), "float32 where float64 is promised"),
    (npy(np.zeros(1)) + b"more", "bytes follow"),
    (b"", "damaged"),
])
def test_hostile_arrays(path, data, message):
    with pytest.raises(ValueError, match=message):
        load(forged(path, array_node(), [data]))


@pytest.mark.parametrize("node", [
    {}, {"is": "array"}, {"is": "eval", "value": "1"}, {"is": []}, {"is": "tuple", "items": 3}, [1], array_node(1),
    array_node(-1), array_node(True), array_node(dtype="object"), array_node(dtype="key", impl="os", of="jax"),
    {"is": "value", "class": ["jaxrecon.TV"], "fields": {}}, {"is": "value", "class": "jaxrecon.TV", "fields": []},
    {"is": "type", "name": "numpy.load"}, {"is": "type", "name": "jax.jit"}, {"is": "dtype", "name": "O"},
    {"is": "float", "value": "1"}, {"is": "network"}, {"is": "decode", "items": []}, {"is": "same"},
    {"is": "dict", "items": [[{"is": "list", "items": []}, 1]]},
    {"is": "shape", "shape": ["x"], "dtype": "float32", "weak": False},
    {"is": "network", "factory": {"is": "architecture", "class": "SavedNet",
     "arguments": {"features": 3, "channels": 1, "kernel": 3}},
     "copies": -1, "conditional": False, "parameters": 1, "rest": 1},
])
def test_hostile_structures(path, node):
    with pytest.raises(ValueError, match=r"saved\.jr"):
        load(forged(path, node, [npy(np.zeros(1))]))


def test_hostile_files(path):
    deep = "[" * 100_000
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("structure.json", deep)
    with pytest.raises(ValueError, match="damaged"):
        load(path)
    text = '{"is": "list", "items": [' * 480 + "1" + "]}" * 480
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("structure.json", '{"format": "jaxrecon", "version": 1, "library": "9.9", "arrays": 0, '
                                           f'"about": {{}}, "value": {text}}}')
    with pytest.raises(ValueError, match=r"saved\.jr"):
        load(path)
    with pytest.raises(ValueError, match="damaged"):  # compressed: a small file could be a large one
        load(forged(path, array_node(), [npy(np.zeros(10_000))], zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match="members are missing"):
        load(forged(path, 1, arrays=3))
