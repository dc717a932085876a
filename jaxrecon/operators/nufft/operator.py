"""The NUFFT as an operator, its prepared form, and its Gram operator by Toeplitz embedding."""

from __future__ import annotations

import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...operator import LinearOperator
from ...value import is_complex, is_concrete, static, value
from .plan import Plan, make_kernels, make_plan
from .toeplitz import NUFFTGram
from .transform import to_image, to_samples

# Aliasing that the default width stays below, for oversampling 2: about 5e-6 in single, 5e-11 in double precision.
_ALIASING = {4: 2e-6, 8: 1e-10}


@value
class NUFFT(LinearOperator):
    """The Fourier transform at arbitrary nodes: y_j = sum_n x_n exp(-2 pi i n.k_j) / sqrt(N), n centred.

    On Cartesian nodes it equals `Fourier`. Differentiable in the nodes, which are its only leaf; the tables they imply
    are made once per solve. The Gram operator is a convolution (`gram.prepared` holds its spectrum).

    Args:
        nodes: k (..., ndim), real, in cycles/pixel within [-1/2, 1/2); nodes[..., d] belongs to axis d. They are
            periodic: k and k + 1 are one node.
        shape: of the image, 1 to 3 axes.
        width: W of the kernel, in cells of the oversampled grid. None: 6 for float32 nodes, 11 for float64, and more
            where `oversampling` is below 2. Relative errors at oversampling 2: W = 4: 4e-4, 6: 5e-6, 8: 5e-8,
            10: 5e-10, 12: 5e-12.
        oversampling: of the grid, above 1. Less than 2 saves memory in 3-D: 1.5 with W = 8 reaches 9e-7.
        dtype: complex dtype of x; None is that of the nodes. Real x is taken as well.

    Raises:
        ValueError: nodes that are not finite, not (..., ndim), or far outside [-1/2, 1/2); a bad shape, width or
            oversampling.
        TypeError: complex nodes, or a real dtype.

    Example:
        >>> A = jr.NUFFT(jr.simulate.radial(8, 32), (16, 16))
        >>> A(jnp.ones((16, 16))).shape
        (8, 32)

    Source: kernel: Beatty, Nishimura & Pauly (2005); Gram operator: Fessler et al. (2005).
    """

    nodes: Any
    shape: tuple[int, ...] = static()
    width: Any = static(default=None)
    oversampling: float = static(default=2.0)
    dtype: Any = static(default=None)

    def check(self):
        shape = (self.shape,) if isinstance(self.shape, int) else tuple(operator.index(n) for n in self.shape)
        if not 1 <= len(shape) <= 3 or min(shape) < 1:
            raise ValueError(f"NUFFT needs a shape of 1 to 3 sizes >= 1, got {shape}; for more images of the same "
                             "nodes use jr.batched(A, n) or A @ jr.CoilMaps(maps)")
        nodes = checked_nodes(self.nodes, len(shape))
        if not 1 < self.oversampling <= 8:
            raise ValueError(f"oversampling must be above 1 and at most 8, got {self.oversampling}; 2 is usual")
        if self.dtype is None:
            dtype = jnp.promote_types(nodes.dtype, jnp.complex64)
        else:
            dtype = jax.dtypes.canonicalize_dtype(self.dtype)
        if not jnp.issubdtype(dtype, jnp.complexfloating):
            raise TypeError(f"NUFFT needs a complex dtype, got {dtype}; for real x use jr.real_part(jr.NUFFT(...))")
        width = self.width
        if width is None:
            # The error falls as exp(-pi W sqrt(1 - 1/oversampling)).
            slope = math.pi * math.sqrt(1 - 1 / self.oversampling)
            width = math.ceil(-math.log(_ALIASING[jnp.finfo(dtype).bits // 8]) / slope)
        elif int(width) != width or not 2 <= width <= 32:
            raise ValueError(f"width is a whole number of cells in [2, 32], got {width}")
        for name, v in (("nodes", nodes), ("shape", shape), ("width", int(width)), ("dtype", jnp.dtype(dtype)),
                        ("oversampling", float(self.oversampling))):
            object.__setattr__(self, name, v)

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.shape, self.dtype)

    @property
    def prepared(self):
        kernels = make_kernels(self.shape, self.width, self.oversampling)
        nodes = self.nodes.reshape(-1, len(self.shape)).astype(jnp.finfo(self.dtype).dtype)
        return Planned(self, make_plan(nodes, kernels))

    @property
    def frequencies(self):
        return jnp.sqrt(jnp.sum(jnp.square(self.nodes), -1))

    @property
    def gram(self):
        return NUFFTGram(self)

    def weighted_gram(self, w):
        return NUFFTGram(self, w)

    def apply(self, x):
        return self.prepared.apply(x)

    def apply_adjoint(self, y):
        return self.prepared.apply_adjoint(y)


@value
class Planned(LinearOperator):
    """A NUFFT and the tables of its nodes. The nodes stay a leaf: derivatives reach them, not the tables."""

    operator: NUFFT
    plan: Plan

    @property
    def domain(self):
        return self.operator.domain

    @property
    def frequencies(self):
        return self.operator.frequencies

    @property
    def gram(self):
        return NUFFTGram(self)

    def weighted_gram(self, w):
        return NUFFTGram(self, w)

    def apply(self, x):
        y = to_samples(self.plan, self._nodes(), x)
        return y.reshape(*y.shape[:-1], *self.operator.nodes.shape[:-1])

    def apply_adjoint(self, y):
        return to_image(self.plan, self._nodes(), y.reshape(-1))

    def _nodes(self):
        return self.operator.nodes.reshape(-1, len(self.operator.shape))


def checked_nodes(nodes: Any, ndim: int) -> jax.Array:
    """Nodes (..., ndim) as floats, finite and in cycles/pixel as far as can be seen."""
    nodes = jnp.asarray(nodes)
    if is_complex(nodes):
        raise TypeError(f"nodes are real coordinates, got {nodes.dtype}; pass jnp.stack([k.real, k.imag], -1)")
    if nodes.ndim < 2 or nodes.shape[-1] != ndim:
        hint = ""
        if nodes.ndim >= 2 and nodes.shape[0] == ndim:
            hint = "; pass jnp.moveaxis(nodes, 0, -1)"
        elif nodes.ndim == 1 and ndim == 1:
            hint = "; pass nodes[:, None]"
        raise ValueError(f"nodes must be (..., {ndim}) for an image of {ndim} axes, got {nodes.shape}{hint}")
    if nodes.size == 0:
        raise ValueError(f"nodes must hold at least one node, got shape {nodes.shape}")
    nodes = nodes if jnp.issubdtype(nodes.dtype, jnp.floating) else nodes.astype(float)
    if is_concrete(nodes):
        values = np.asarray(nodes)
        if not np.all(np.isfinite(values)):
            raise ValueError("nodes must be finite, got NaN or infinity")
        largest = float(np.max(np.abs(values)))
        if largest > 1:
            radians = largest <= 1.01 * math.pi
            raise ValueError(f"nodes are in cycles/pixel, [-1/2, 1/2), got up to {largest:.4g}: " + (
                "divide radians/pixel by 2 pi" if radians else
                "divide cycles per field of view by the number of pixels, or radians by 2 pi"))
    return nodes
