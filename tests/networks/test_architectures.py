"""Every architecture: what it computes, how many parameters it has, and what it keeps."""

import dataclasses
import functools
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.signal import correlate2d

from jaxrecon.networks.automap import AUTOMAP
from jaxrecon.networks.base import apply_to_image, build, count_parameters
from jaxrecon.networks.convnet import ConvNet
from jaxrecon.networks.dncnn import DnCNN
from jaxrecon.networks.drunet import DRUNet
from jaxrecon.networks.mlp import MLP
from jaxrecon.networks.parts import shuffled, unshuffled
from jaxrecon.networks.unet import UNet

KEY = jax.random.key(0)
ON_IMAGES = {
    "convnet": ConvNet(channels=2, features=4, depth=3),
    "dncnn": DnCNN(channels=2, features=4, depth=3),
    "unet": UNet(channels=2, features=2, levels=2),
    "unet with sigma": UNet(channels=2, features=2, levels=1, conditional=True),
    "drunet": DRUNet(channels=2, features=(3, 4, 5), blocks=1, shuffle=2),
    "blind drunet": DRUNet(channels=2, features=(3, 4), blocks=2, conditional=False),
}


@functools.cache
def fresh(recipe):
    return jax.jit(lambda key: build(recipe, key))(KEY)


def awake(recipe):
    """The network with all weights random, those that start as zero too."""
    rng = np.random.default_rng(7)
    shapes = jax.eval_shape(lambda: build(recipe, KEY))
    return jax.tree.map(lambda v: jnp.asarray(0.3 * rng.standard_normal(v.shape), v.dtype), shapes)


@jax.jit
def run(net, x, *conditions):
    return net(x, *conditions)


def conditions(net):
    return (0.1,) if net.conditional else ()


@pytest.mark.parametrize("name", ON_IMAGES)
def test_any_size_and_dtype_comes_back_and_a_fresh_network_is_the_identity(name, rng):
    net = fresh(ON_IMAGES[name])
    for shape, dtype in (((9, 7, 2), "float32"), ((1, 3, 2), "float64")):
        x = jnp.asarray(rng.standard_normal(shape), dtype)
        y = run(net, x, *conditions(net))
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, x.astype("float32").astype(dtype))
    x = jnp.asarray(rng.standard_normal((9, 7, 2)), "float32")
    assert np.abs(run(awake(ON_IMAGES[name]), x, *conditions(net)) - x).max() > 1e-2


@pytest.mark.parametrize("name", ON_IMAGES)
def test_all_weights_learn(name, rng):
    """Gradients are finite and none is zero, under jit and vmap over images."""
    net, x = awake(ON_IMAGES[name]), jnp.asarray(rng.standard_normal((2, 9, 7, 2)))

    @jax.jit
    def gradient(net):
        return jax.grad(lambda n: jnp.sum(jax.vmap(lambda v: n(v, *conditions(net)))(x) ** 2))(net)

    for leaf in jax.tree.leaves(gradient(net)):
        assert np.all(np.isfinite(leaf)) and np.any(leaf != 0)


def widths_product(widths):
    return sum(a * b for a, b in pairwise(widths))


def drunet_count(a):
    f, s, fine = a.features, a.shuffle, sum(w**2 for w in a.features[:-1])
    convs = 18 * s**2 * a.channels * f[0] + 18 * a.blocks * (2 * fine + f[-1] ** 2) + 8 * widths_product(f)
    return convs + 9 * f[0] * a.conditional


def unet_count(a):
    w, c, f = [a.features * 2**k for k in range(a.levels + 1)], a.channels, a.features
    total = 9 * ((c + a.conditional) * f + f**2) + 2 * f + (f + 1) * c
    for fine, coarse in pairwise(w):
        total += 9 * (fine * coarse + coarse**2) + 2 * coarse + 4 * fine * coarse + 9 * 3 * fine**2 + 3 * fine
    return total


def convnet_count(a, i, o):
    weights = 3**a.ndim * (i * a.features + (a.depth - 2) * a.features**2 + a.features * o)
    return weights + (a.depth - 1) * a.features + o


@pytest.mark.parametrize(("recipe", "count"), [
    (MLP(7, 5, hidden=(3, 4)), 8 * 3 + 4 * 4 + 5 * 5), (MLP(7, 5, hidden=()), 8 * 5),
    (ConvNet(2, 4, 4), convnet_count(ConvNet(2, 4, 4), 2, 2)),
    (ConvNet(1, 4, in_channels=7, out_channels=5, residual=False, ndim=3), convnet_count(ConvNet(1, 4, ndim=3), 7, 5)),
    (DnCNN(2, 5, 4), 9 * (2 * 2 * 4 + 3 * 16) + 4 * 4 + 2), (DnCNN(2, 5, 4, bias=False), 9 * (2 * 2 * 4 + 3 * 16)),
    (DnCNN(), 555_137),
    (UNet(2, 3, 2), unet_count(UNet(2, 3, 2))),
    (UNet(1, 3, 1, conditional=True), unet_count(UNet(1, 3, 1, conditional=True))),
    (DRUNet(), drunet_count(DRUNet())),
    (DRUNet(2, (3, 4, 6), 2, 2, conditional=False), drunet_count(DRUNet(2, (3, 4, 6), 2, 2, conditional=False))),
    (AUTOMAP(6, (4, 5), 2, hidden=(3,), features=4, depth=3, size=5), 7 * 3 + 4 * 40 + 25 * (16 + 16) + 8 + 2),
    (AUTOMAP(6, (4, 5), depth=0), 7 * 20),
], ids=str)
def test_parameters_are_as_many_as_the_docstring_says(recipe, count):
    assert count_parameters(jax.eval_shape(lambda: build(recipe, KEY))) == count


def test_circular_padding_commutes_with_shifts_and_zero_padding_does_not(rng):
    x = jnp.asarray(rng.standard_normal((8, 12, 1)))
    for recipe in (ConvNet(features=3, padding="circular"), DnCNN(depth=3, features=3, padding="circular")):
        net, edge = awake(recipe), awake(type(recipe)(features=3, depth=3))
        np.testing.assert_allclose(run(net, jnp.roll(x, 3, 0)), jnp.roll(run(net, x), 3, 0), atol=1e-5)
        assert np.abs(run(edge, jnp.roll(x, 3, 0)) - jnp.roll(run(edge, x), 3, 0)).max() > 1e-2
    net = awake(UNet(features=2, levels=1, padding="circular"))
    np.testing.assert_allclose(run(net, jnp.roll(x, 2, 0)), jnp.roll(run(net, x), 2, 0), atol=1e-5)


def test_a_small_convnet_and_dncnn_by_hand(rng):
    x = rng.standard_normal((5, 6))
    for recipe, sign in ((ConvNet(features=2, depth=2), 1), (DnCNN(features=2, depth=2), -1)):
        net = awake(recipe)
        first, last = (net.parameters["layers"][k] for k in (0, 1))
        hidden = [np.maximum(correlate2d(x, first["kernel"][..., 0, o], "same") + first["bias"][o], 0) for o in (0, 1)]
        noise = sum(correlate2d(h, last["kernel"][..., i, 0], "same") for i, h in enumerate(hidden)) + last["bias"][0]
        np.testing.assert_allclose(net(jnp.asarray(x)[..., None])[..., 0], x + sign * noise, rtol=1e-4, atol=1e-5)


def test_without_biases_networks_are_homogeneous(rng):
    x = jnp.asarray(rng.standard_normal((9, 7, 1)))
    for recipe in (DRUNet(features=(3, 4), blocks=1, shuffle=2), DRUNet(features=(3, 4), conditional=False),
                   DnCNN(depth=3, features=3, bias=False)):
        net = awake(recipe)
        sigma, scaled = ((0.3,), (1e4 * 0.3,)) if net.conditional else ((), ())
        np.testing.assert_allclose(run(net, 1e4 * x, *scaled), 1e4 * run(net, x, *sigma), rtol=1e-4, atol=1e-2)
    net = awake(DRUNet(features=(3, 4), bias=True))
    assert np.abs(run(net, 1e4 * x, 3e3) - 1e4 * run(net, x, 0.3)).max() > 1


@pytest.mark.parametrize("recipe", [
    ConvNet(features=3, residual=False), DnCNN(depth=2, features=3),
    UNet(features=2, levels=1, residual=False), DRUNet(features=(2, 3), blocks=1)])
def test_more_axes_are_slices_and_fewer_an_error(recipe, rng):
    network = build(recipe, jax.random.key(0))
    network = dataclasses.replace(network, parameters=jax.tree.map(lambda v: v + 0.1, network.parameters))
    condition = (0.1,) if network.conditional else ()
    for x in (rng.standard_normal((3, 6, 5)), rng.standard_normal((3, 6, 5)) + 1j * rng.standard_normal((3, 6, 5))):
        x = jnp.asarray(x)
        want = jnp.stack([apply_to_image(network, v, *condition) for v in x])
        np.testing.assert_allclose(apply_to_image(network, x, *condition), want, atol=1e-6)
    with pytest.raises(ValueError, match=r"images of 2 axes, got float64\[6\]"):
        apply_to_image(network, jnp.ones(6), *condition)


@pytest.mark.parametrize("recipe", [DRUNet(features=(4, 8)), UNet(features=4, levels=1, conditional=True)])
def test_conditional_networks_are_so_in_every_form(recipe, rng):
    x = jnp.asarray(rng.normal(size=(8, 8)), "float32")
    want = apply_to_image(build(recipe, jax.random.key(0)), x, 0.1)
    for form in (recipe(nnx.Rngs(jax.random.key(0))), lambda rngs: recipe(rngs)):
        net = build(form, jax.random.key(0))
        assert net.conditional
        np.testing.assert_array_equal(apply_to_image(net, x, 0.1), want)


def test_dropout_is_refused():
    class Dropping(nnx.Module):
        def __init__(self, rngs, **options):
            self.conv, self.drop = nnx.Conv(1, 1, (3, 3), rngs=rngs), nnx.Dropout(0.5, rngs=rngs, **options)

        def __call__(self, x):
            return self.drop(self.conv(x))

    with pytest.raises(ValueError, match=r"nnx\.Dropout.*deterministic=True"):
        build(Dropping, jax.random.key(0))
    net = build(lambda rngs: Dropping(rngs, deterministic=True), jax.random.key(0))
    np.testing.assert_allclose(net(jnp.ones((4, 4, 1))), net.module.conv(jnp.ones((4, 4, 1))), atol=1e-6)


def test_the_noise_level_matters(rng):
    x = jnp.asarray(rng.standard_normal((8, 8, 2)))
    for name in ("drunet", "unet with sigma"):
        net = awake(ON_IMAGES[name])
        assert net.conditional and np.abs(run(net, x, 0.1) - run(net, x, 0.5)).max() > 1e-3
    assert not awake(ON_IMAGES["blind drunet"]).conditional


def test_the_lecture_network_by_hand(rng):
    net, x = awake(MLP(4, 3, hidden=(5,), activation="sigmoid")), rng.standard_normal(4)
    one, two = (net.parameters["layers"][k] for k in (0, 1))
    want = (1 / (1 + np.exp(-(x @ one["kernel"] + one["bias"])))) @ two["kernel"] + two["bias"]
    np.testing.assert_allclose(net(jnp.asarray(x)), want, rtol=1e-5)


def test_automap_is_a_linear_map_until_its_convolutions_learn(rng):
    net, b = fresh(AUTOMAP(12, (3, 5), 2, features=4)), rng.standard_normal(12)
    dense = net.parameters["dense"][0]
    want = (b @ dense["kernel"] + dense["bias"]).reshape(3, 5, 2)
    np.testing.assert_allclose(run(net, jnp.asarray(b)), want, rtol=1e-4, atol=1e-6)
    volume = awake(AUTOMAP(4, (2, 3, 4), depth=2, features=2))
    assert run(volume, jnp.ones(4)).shape == (2, 3, 4, 1)


def test_pixels_become_channels_and_back(rng):
    x = jnp.asarray(rng.standard_normal((6, 9, 2)))
    y = unshuffled(x, 3)
    np.testing.assert_array_equal(y[1, 2].reshape(3, 3, 2), x[3:6, 6:9])
    np.testing.assert_array_equal(shuffled(y, 3), x)


def test_recipes_are_plain_and_checked():
    assert hash(UNet(2)) == hash(UNet(2)) and UNet(2) == UNet(2)
    assert MLP(3, 2, hidden=[4, 5]).hidden == (4, 5) and DRUNet(features=[3, 4]).features == (3, 4)
    with pytest.raises(ValueError, match="depth >= 2"):
        DnCNN(depth=1)
    with pytest.raises(ValueError, match="depth >= 2"):
        AUTOMAP(4, (2, 2), depth=1)
    with pytest.raises(ValueError, match="levels >= 1"):
        UNet(levels=0)
    with pytest.raises(ValueError, match="'swish'"):
        MLP(3, 2, activation="swish")
    with pytest.raises(ValueError, match="width >= 1"):
        MLP(3, 0)
    with pytest.raises(ValueError, match="at least one width"):
        DRUNet(features=())
    with pytest.raises(ValueError, match="'reflect'"):
        build(DnCNN(padding="reflect"), KEY)
    with pytest.raises(ValueError, match="as many channels in as out, got 3 and 1"):
        build(ConvNet(in_channels=3), KEY)
