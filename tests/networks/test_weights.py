"""Weights of others: safetensors, PyTorch's layouts, published DnCNN; and the file of our own."""

import json
import struct
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.signal import correlate2d

import jaxrecon as jr
from jaxrecon.networks.base import build
from jaxrecon.networks.convnet import ConvNet
from jaxrecon.networks.dncnn import DnCNN
from jaxrecon.networks.drunet import DRUNet
from jaxrecon.networks.mlp import MLP
from jaxrecon.networks.pretrained import pretrained, store
from jaxrecon.networks.torch_weights import from_torch, read_safetensors
from jaxrecon.networks.unet import UNet


def safetensors(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(dtype, shape, *offsets):
    return {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}


def written(path, arrays):
    """A state dict in the format, written here byte by byte."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, a in arrays.items():
        kind = {"float32": "F32", "float16": "F16", "int64": "I64"}[a.dtype.name]
        header[name] = entry(kind, list(a.shape), len(data), len(data) + a.nbytes)
        data += a.tobytes()
    return safetensors(path, header, data)


def test_a_file_is_read(tmp_path, rng):
    arrays = {"b": rng.standard_normal((2, 3)).astype("float32"), "a": np.array(7, "int64"), "h": np.ones(3, "float16")}
    read = read_safetensors(written(tmp_path / "x.safetensors", arrays))
    assert list(read) == ["b", "a", "h"]
    for name in arrays:
        np.testing.assert_array_equal(read[name], arrays[name])
    half = safetensors(tmp_path / "y.safetensors", {"x": entry("BF16", [2], 0, 4)}, b"\x80\x3f\x00\xc0")
    np.testing.assert_array_equal(read_safetensors(half)["x"].astype(float), [1.0, -2.0])


@pytest.mark.parametrize(("header", "data"), [
    (b"{", b""), (b"[1]", b""), (b'{"x": 3}', b""), (b"[" * 100_000, b""), (b"\xff\xfe", b""),
    ({"x": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    ({"x": entry("F32", [2], 0, 8)}, bytes(7)),
    ({"x": entry("F32", [2], 8, 16)}, bytes(8)),
    ({"x": entry("F32", [3], 0, 8)}, bytes(8)),
    ({"x": entry("F32", [-1, -2], 0, 8)}, bytes(8)),
    ({"x": entry("F32", [2], -8, 0)}, bytes(8)),
    ({"x": entry("F32", [2.0], 0, 8)}, bytes(8)),
    ({"x": entry("F32", 2, 0, 8)}, bytes(8)),
    ({"x": entry("F99", [2], 0, 8)}, bytes(8)),
    ({"x": entry("F32", [2], 0, 8, 9)}, bytes(8)),
])
def test_damaged_files_are_refused(tmp_path, header, data):
    with pytest.raises(ValueError, match="damaged"):
        read_safetensors(safetensors(tmp_path / "x.safetensors", header, data))


@pytest.mark.parametrize("content", [b"", b"\x01", struct.pack("<Q", 9) + b"{}", struct.pack("<Q", 2**63) + b"{}"])
def test_files_that_are_too_short_are_refused(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="no safetensors file"):
        read_safetensors(tmp_path / "x.safetensors")


def torch_conv(x, kernel, bias):
    """(in, ny, nx) by PyTorch's definition: correlation with kernel (out, in, y, x), zero padding."""
    y = [sum(correlate2d(v, k, mode="same") for v, k in zip(x, ks, strict=True)) for ks in kernel]
    return np.stack(y) + bias[:, None, None]


def state_dict(rng, *widths):
    state = {}
    for k, (i, o) in enumerate(pairwise(widths)):
        state[f"model.{2 * k}.weight"] = rng.standard_normal((o, i, 3, 3)).astype("float32")
        state[f"model.{2 * k}.bias"] = rng.standard_normal(o).astype("float32")
    return state


def test_convolutions_mean_what_they_mean_in_pytorch(tmp_path, rng):
    state, x = state_dict(rng, 2, 5, 2), rng.standard_normal((2, 7, 6))
    file = written(tmp_path / "net.safetensors", state)
    net = from_torch(ConvNet(channels=2, features=5, depth=2, residual=False), file)
    h = np.maximum(torch_conv(x, state["model.0.weight"], state["model.0.bias"]), 0)
    want = torch_conv(h, state["model.2.weight"], state["model.2.bias"])
    np.testing.assert_allclose(np.moveaxis(net(jnp.asarray(np.moveaxis(x, 0, -1))), -1, 0), want, rtol=1e-4, atol=1e-4)


def test_batch_normalisation_joins_the_convolution_before_it(rng):
    state, x = state_dict(rng, 1, 4, 1), rng.standard_normal((1, 8, 8))
    norm = {k: rng.uniform(0.5, 1.5, 4) for k in ("weight", "bias", "running_mean", "running_var")}
    full = {**{k: v for k, v in state.items() if "model.0" in k}, **{f"model.1.{k}": v for k, v in norm.items()},
            "model.1.num_batches_tracked": np.array(3), **{k: v for k, v in state.items() if "model.2" in k}}
    net = from_torch(DnCNN(depth=2, features=4), full, epsilon=1e-3)
    h = torch_conv(x, state["model.0.weight"], state["model.0.bias"])
    mean, scale = (norm[k][:, None, None] for k in ("running_mean", "running_var"))
    h = (h - mean) / np.sqrt(scale + 1e-3) * norm["weight"][:, None, None] + norm["bias"][:, None, None]
    want = x - torch_conv(np.maximum(h, 0), state["model.2.weight"], state["model.2.bias"])
    np.testing.assert_allclose(net(jnp.asarray(x[0])[..., None])[..., 0], want[0], rtol=1e-4, atol=1e-4)


def test_dense_layers_are_transposed(rng):
    shapes = {"fc1.weight": (3, 4), "fc1.bias": (3,), "fc2.weight": (2, 3)}
    state = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    net, x = from_torch(MLP(inputs=4, outputs=2, hidden=(3,), activation="tanh"), state), rng.standard_normal(4)
    want = state["fc2.weight"] @ np.tanh(state["fc1.weight"] @ x + state["fc1.bias"])
    np.testing.assert_allclose(net(jnp.asarray(x)), want, rtol=1e-5)


def test_transposed_convolutions_run_as_in_pytorch(rng):
    kernel, bias, x = rng.standard_normal((3, 2, 2, 2)), rng.standard_normal(2), rng.standard_normal((4, 5, 3))
    state = {"up.weight": kernel, "up.bias": bias}
    net = from_torch(lambda rngs: nnx.ConvTranspose(3, 2, (2, 2), strides=2, rngs=rngs), state, {"": "up"})
    want = np.einsum("yxi,ioab->yaxbo", x, kernel).reshape(8, 10, 2) + bias
    np.testing.assert_allclose(net(jnp.asarray(x)), want, rtol=1e-4, atol=1e-5)


def test_layers_are_named_by_hand_or_alike(rng):
    recipe = UNet(features=2, levels=1)
    target = build(recipe, jax.random.key(3))
    ours = [*(f"{n}.conv{k}" for n in ("first", "down.0", "up.0") for k in (1, 2)), "double.0", "last"]
    state = {}
    for path in reversed(ours):
        leaf = target.parameters
        for part in path.split("."):
            leaf = leaf[int(part) if part.isdigit() else part]
        kernel = np.asarray(leaf["kernel"])
        turned = np.flip(kernel, (0, 1)).transpose(2, 3, 0, 1) if path == "double.0" else kernel.transpose(3, 2, 0, 1)
        state |= {f"{path}.weight": turned, f"{path}.bias": np.asarray(leaf["bias"])}
    for net in (from_torch(recipe, state),
                from_torch(recipe, {f"net.{k}": v for k, v in state.items()}, {n: f"net.{n}" for n in ours})):
        for a, b in zip(jax.tree.leaves(net.parameters), jax.tree.leaves(target.parameters), strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_does_not_fit_is_named(tmp_path, rng):
    state = state_dict(rng, 1, 4, 1)
    with pytest.raises(ValueError, match=r"layers\.0.*\(3, 3, 1, 5\).*model\.0.*\(4, 1, 3, 3\).*\(3, 3, 1, 4\)"):
        from_torch(DnCNN(depth=2, features=5), state)
    with pytest.raises(ValueError, match=r"3 layers \(layers\.0, .*2 \(model\.0, model\.2\)"):
        from_torch(DnCNN(depth=3, features=4), state)
    with pytest.raises(ValueError, match="bias=True"):
        from_torch(DnCNN(depth=2, features=4, bias=False), state)
    with pytest.raises(ValueError, match="weights' layers nowhere"):
        from_torch(DnCNN(depth=2, features=4), state, {"layers.0": "nowhere", "layers.1": "model.2"})
    with pytest.raises(ValueError, match=r"our layers layers\.1"):
        from_torch(DnCNN(depth=2, features=4), state, {"layers.0": "model.0"})
    with pytest.raises(ValueError, match="no weight of"):
        from_torch(DnCNN(depth=2, features=4), state | {"alpha": np.ones(1)})
    with pytest.raises(ValueError, match="no layer before it"):
        from_torch(DnCNN(depth=2, features=4), {"bn.running_mean": np.ones(1), "bn.running_var": np.ones(1)})
    with pytest.raises(ValueError, match="no kernel"):
        from_torch(DnCNN(depth=2, features=4), {"model.0.bias": np.ones(1)})
    with pytest.raises(ValueError, match="pickles"):
        from_torch(DnCNN(depth=2, features=4), tmp_path / "model.pth")
    with pytest.raises(ValueError, match="outside of dense"):
        from_torch(lambda rngs: nnx.Sequential(nnx.Linear(2, 2, rngs=rngs), nnx.LayerNorm(2, rngs=rngs)),
                   {"fc.weight": np.eye(2), "fc.bias": np.ones(2)})
    with pytest.raises(ValueError, match="2 weight sets"):
        from_torch(build(DnCNN(depth=2, features=4), jax.random.key(0), copies=2), state)


@pytest.mark.parametrize("channels", [(3, 3), (4, 3)])
def test_batch_normalisation_after_a_transposed_convolution(channels, rng):
    """PyTorch keeps its kernel as (in, out, y, x)."""
    inputs, outputs = channels

    class Up(nnx.Module):
        def __init__(self, rngs):
            self.up = nnx.ConvTranspose(inputs, outputs, (2, 2), strides=2, rngs=rngs)

        def __call__(self, x):
            return self.up(x)

    layer = {"0.weight": rng.normal(size=(inputs, outputs, 2, 2)), "0.bias": rng.normal(size=outputs)}
    gain, shift, mean, var = (rng.uniform(0.5, 1.5, outputs) for _ in range(4))
    norm = {"1.weight": gain, "1.bias": shift, "1.running_mean": mean, "1.running_var": var}
    x = jnp.asarray(rng.normal(size=(5, 4, inputs)), "float32")
    want = (np.asarray(from_torch(Up, layer)(x)) - mean) / np.sqrt(var + 1e-5) * gain + shift
    np.testing.assert_allclose(from_torch(Up, layer | norm)(x), want, rtol=0, atol=1e-5)
    if inputs != outputs:
        wrong = {k: np.ones(inputs) for k in norm}
        with pytest.raises(ValueError, match=r"'1' has 4 channels, but '0' before it has a kernel of \(4, 3, 2, 2\)"):
            from_torch(Up, layer | wrong)
        del layer["0.bias"]
        with pytest.raises(ValueError, match="after layer '0' has 4 channels, but the layer gives 3"):
            from_torch(Up, layer | wrong)


# PSNR on camera[:256, :256] with noise of default_rng(0), as their authors' own code gives it.
PUBLISHED = {"dncnn_scico_6L": (0.06, 34.90), "dncnn_scico_6M": (0.10, 30.05), "dncnn_scico_6H": (0.20, 28.93),
             "dncnn_scico_17M": (0.10, 33.21), "dncnn17_sigma25_kair": (25 / 255, 33.98)}


@pytest.mark.parametrize("name", [n if "6M" in n else pytest.param(n, marks=pytest.mark.slow) for n in PUBLISHED])
def test_published_networks_denoise_as_published(name, shared_data):
    weights = shared_data(f"w_{name}.npz")
    depth = sum(k.startswith("w") for k in weights.files)
    net = from_torch(DnCNN(depth=depth, features=64, padding="circular" if "scico" in name else "zero"), weights)
    sigma, figure = PUBLISHED[name]
    x = shared_data("nat_skimage_cc0_gray.npz")["camera"][:256, :256] / 255
    y = x + sigma * np.random.default_rng(0).standard_normal(x.shape)
    error = np.asarray(net(jnp.asarray(y, "float32")[..., None]), float)[..., 0] - x
    assert abs(-10 * np.log10(np.mean(error**2)) - figure) < 0.05


def test_what_is_stored_comes_back(tmp_path):
    net = build(DRUNet(features=(3, 4), blocks=1, shuffle=2), jax.random.key(1))
    store(tmp_path / "net.jr", net, licence="CC0-1.0")
    back = jr.load(tmp_path / "net.jr")
    assert back.factory == net.factory and back.conditional and back.graphdef == net.graphdef
    for a, b in zip(jax.tree.leaves(back.parameters), jax.tree.leaves(net.parameters), strict=True):
        assert a.dtype == "float16"
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-7)
    with pytest.raises(ValueError, match="no pretrained network 'denoise'"):
        pretrained("denoise")
