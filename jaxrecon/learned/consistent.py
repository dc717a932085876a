"""Data consistency at the end of another reconstructor."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from ..consistency import ConsistencyStep, SampleReplacement
from ..consistency.base import check_step
from ..operator import LinearOperator
from ..priors import L2
from ..solvers import Alternating, solve
from ..value import value


@value
class Consistent:
    """x = DC(r(A, b)): what r made, drawn towards the measurements once more.

    A network after a direct reconstruction no longer looks at b, and an unrolled one ends with its network. Where only
    some samples are judged, as by `jr.training.SSDU`, this keeps the others right.

    Args:
        reconstructor: r, any x = r(A, b).
        dc: a data-consistency step; not trained unless `fit(train=...)` says so.

    Raises:
        TypeError: r is not callable, or dc is not a data-consistency step.

    Example:
        >>> A = jr.Fourier((8, 8), mask=jnp.arange(8) % 2)
        >>> b = A(jnp.ones((8, 8), complex))
        >>> net = jr.networks.ConvNet(channels=2, features=4, residual=False)
        >>> r = jr.PostProcessed(jr.ZeroFilled(), net, key=jax.random.key(0))
        >>> bool(jnp.allclose(A(jr.Consistent(r)(A, b)), b))
        True
    """

    reconstructor: Any
    dc: ConsistencyStep = dataclasses.field(default_factory=SampleReplacement)

    def check(self):
        if not callable(self.reconstructor):
            raise TypeError("Consistent takes a reconstructor such as jr.PostProcessed(...), got "
                            f"{self.reconstructor!r}")
        check_step(self.dc)

    def prepare(self, A: LinearOperator) -> LinearOperator:
        """A with what both ask of it: for many images of one A."""
        prepare = getattr(self.reconstructor, "prepare", None)
        return self.dc.prepare(A if prepare is None else prepare(A))

    def __call__(self, A: LinearOperator, b: Any) -> jax.Array:
        step = Alternating(self.dc, L2(0.0))
        return solve(A, b, step, iterations=1, x0=self.reconstructor(A, b)).x
