"""Doctests of the package run as the tests do: in float64, on CPU."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

import jax
import jax.numpy as jnp
import pytest

jax.config.update("jax_enable_x64", True)


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace):
    import jaxrecon as jr

    doctest_namespace.update(jax=jax, jnp=jnp, jr=jr)
