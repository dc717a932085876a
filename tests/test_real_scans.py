"""Measured data through the public API, where `../shared/data` is there (DATA README: origin and licence)."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxrecon as jr


def test_the_scanners_own_image_is_reproduced_in_every_pixel(shared_data):
    """Bruker RARE mouse head: all 15 x 128 x 128 pixels of the vendor's image, bit for bit."""
    scan = shared_data("mri_mouse15_rare96.npz")

    F = jr.Fourier((128, 128))
    kspace = jnp.pad(jnp.asarray(scan["ksp"], complex), ((0, 0), (16, 16), (16, 16)))
    k = jnp.arange(-64, 64)[:, None]
    kspace = kspace * jnp.exp(-2j * jnp.pi * k * float(scan["phase_shift"]))
    image = jnp.abs(jax.vmap(F.H)(kspace)) / 128  # the vendor's inverse DFT divides by N, the unitary one by sqrt(N)
    pixels = jnp.floor(jnp.swapaxes(image, 1, 2) * float(scan["map_slope"]))

    vendor = scan["vendor_2dseq"]
    assert vendor.size == 245_760
    assert int(np.sum(np.asarray(pixels) != vendor)) == 0
