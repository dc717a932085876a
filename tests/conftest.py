"""Tests run in float64 (float32 is tested by explicit dtype), on CPU unless the caller says otherwise."""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

import jax
import numpy as np
import pytest

jax.config.update("jax_enable_x64", True)

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def shared_data():
    """The loader of the real scans, which travel beside the checkout and not in it."""
    if not SHARED.is_dir():
        pytest.skip("the real scans (../shared/data) are not on this machine")
    return lambda name: np.load(SHARED / name, allow_pickle=False)
