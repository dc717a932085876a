"""Curves against iterations."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jax.typing import ArrayLike

from .figure import COLOURS, DASHES, new_figure, save_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def convergence(curves: Mapping[str, ArrayLike | tuple[ArrayLike, ArrayLike]], *, limit: float | None = None,
                title: str | None = None, xlabel: str = "iteration", ylabel: str = "objective", log_x: bool = False,
                path: str | os.PathLike | None = None) -> Figure:
    """Curves against iterations on a logarithmic scale.

    Args:
        curves: name -> values after iteration 1, 2, ..., or a pair (iterations, values).
        limit: the value that all curves should reach: what is drawn is (value - limit) / |limit| (value - limit, if
            limit = 0).
        title, xlabel, ylabel: of the figure.
        log_x: logarithmic iterations too.
        path: also save there (see `save_figure`).

    Returns:
        The matplotlib Figure. Values that are not positive leave gaps.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: no curves, not 1-D, or nothing positive to draw.

    Example:
        >>> figure = jr.plots.convergence({"ISTA": 1 / jnp.arange(1, 50), "FISTA": 1 / jnp.arange(1, 50) ** 2})
        >>> figure.axes[0].get_yscale()
        'log'
    """
    if not curves:
        raise ValueError("convergence: no curves to draw; pass a dict name -> values")
    lines = {name: _curve(name, curve) for name, curve in curves.items()}
    if limit is not None:
        ylabel = f"{ylabel}: (value − limit) / |limit|" if limit else f"{ylabel} − limit"
        lines = {name: (k, (v - limit) / (abs(limit) or 1.0)) for name, (k, v) in lines.items()}
    if not any(np.any(v > 0) for _, v in lines.values()):
        raise ValueError("convergence: no value is positive, so a logarithmic scale shows nothing; check `limit`")
    with style():
        figure = new_figure((5.6, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.set_yscale("log", nonpositive="mask")
        if log_x:
            axes.set_xscale("log", nonpositive="mask")
        for i, (name, (k, v)) in enumerate(lines.items()):
            axes.plot(k, np.where(v > 0, v, np.nan), label=name, color=COLOURS[i % len(COLOURS)],
                      linestyle=DASHES[i // len(COLOURS) % len(DASHES)], linewidth=1.5,
                      marker="o" if len(k) == 1 else None)
        axes.grid(which="major", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.margins(x=0.02)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.tick_params(which="both", width=0.6, length=3)
        if title:
            axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", handlelength=2.2)
    if path is not None:
        save_figure(figure, path)
    return figure


def _curve(name: str, curve: ArrayLike | tuple[ArrayLike, ArrayLike]) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(curve, tuple) and len(curve) == 2 and np.ndim(curve[0]) == 1:
        k, v = np.asarray(curve[0], float), np.asarray(curve[1], float)
    else:
        v = np.asarray(curve, float)
        k = np.arange(1, v.size + 1.0)
    if v.ndim != 1 or k.shape != v.shape or not v.size:
        raise ValueError(f"convergence: {name!r} must be values or (iterations, values), 1-D and of one length; "
                         f"got shapes {k.shape} and {v.shape}")
    return k, v
