"""How tests and doctests run: in float64, on CPU, and compiled in a hurry."""

import os
from pathlib import Path

import jaxlib.version

# Most of the time of a small test goes into XLA. This halves it; `make test-all` compiles as users do. Later versions
# do not have the second flag, and end the process where they meet it.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0" + (
    " --xla_cpu_use_fusion_emitters=false" if jaxlib.version.__version_info__ < (0, 11) else ""))
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

import jax
import jax.numpy as jnp
import pytest

jax.config.update("jax_enable_x64", True)

# Every compiled program holds a few mappings of memory, of which Linux gives a process 65,530; XLA crashes at the end
# of them. A worker that has run half of all tests is near it.
MAPPINGS = Path("/proc/self/maps")
MOST_MAPPINGS = 40_000


@pytest.fixture(autouse=True, scope="module")
def _few_mappings():
    yield
    if MAPPINGS.exists() and MAPPINGS.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace):
    import jaxrecon as jr

    doctest_namespace.update(jax=jax, jnp=jnp, jr=jr)
