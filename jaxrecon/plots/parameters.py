"""How a lam was chosen: the L-curve, the score of a rule, and the data of a Picard plot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from .figure import COLOURS, new_figure, save_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def lcurve(curve: Any, *, title: str | None = None, path: str | os.PathLike | None = None) -> Figure:
    """The L-curve with its corner marked, and its curvature over lam.

    Args:
        curve: from `jr.lcurve`. title: of the figure. path: also save there (see `save_figure`).

    Raises:
        ImportError: matplotlib is missing. ValueError: a batch of curves.

    Example:
        >>> curve = jr.lcurve(jr.Matrix(jnp.diag(0.5 ** jnp.arange(8.0))), jnp.ones(8))
        >>> [axes.get_xlabel() for axes in jr.plots.lcurve(curve).axes]
        ['|A x − b|', 'λ']
    """
    if np.ndim(curve.lams) != 1:
        raise ValueError(f"plots.lcurve draws one curve, got a batch of shape {np.shape(curve.lams)}; pick one with "
                         "jax.tree.map(lambda v: v[0], curve)")
    order = np.argsort(curve.lams)
    lams, residual, penalty, curvature = (np.asarray(v, float)[order] for v in
                                          (curve.lams, curve.residual, curve.penalty, curve.curvature))
    with style():
        figure = new_figure((7.2, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        positive = (residual > 0) & (penalty > 0)
        left.loglog(residual[positive], penalty[positive], color=COLOURS[0], marker="o", markersize=3, linewidth=1.5)
        _mark(left, float(curve.residual[curve.corner]), float(curve.penalty[curve.corner]), curve)
        left.set_xlabel("|A x − b|")
        left.set_ylabel("R(x)")
        right.semilogx(lams, curvature, color=COLOURS[0], marker="o", markersize=3, linewidth=1.5)
        right.axvline(float(curve.lam), color=COLOURS[1], linewidth=1)
        right.set_xlabel("λ")
        right.set_ylabel("curvature")
        _finish(figure, title, path)
    return figure


def choice(found: Any, *, ylabel: str = "score", truth: Any = None, title: str | None = None,
           path: str | os.PathLike | None = None) -> Figure:
    """The score of a rule over lam, with the chosen lam.

    Args:
        found: from `jr.gcv`, `jr.sure` or `jr.crossvalidate`, of one lam.
        ylabel: what the score is. title: of the figure. path: also save there (see `save_figure`).
        truth: the true error of every lam, where it is known: drawn on an axis of its own.

    Raises:
        ImportError: matplotlib is missing. ValueError: several parameters, or a batch.

    Example:
        >>> found = jr.gcv(jr.Matrix(jnp.diag(0.5 ** jnp.arange(8.0))), jnp.ones(8))
        >>> jr.plots.choice(found, ylabel="GCV").axes[0].get_ylabel()
        'GCV'
    """
    if isinstance(found.lams, dict | tuple) or np.ndim(found.lams) != 1:
        raise ValueError("plots.choice draws the score over one lam")
    order = np.argsort(found.lams)
    lams, scores = np.asarray(found.lams, float)[order], np.asarray(found.scores, float)[order]
    with style():
        figure = new_figure((4.8, 3.4), layout="constrained")
        axes = figure.add_subplot()
        axes.semilogx(lams, scores, color=COLOURS[0], marker="o", markersize=3, linewidth=1.5)
        if np.all(scores[np.isfinite(scores)] > 0):
            axes.set_yscale("log")
        axes.axvline(float(found.lam), color=COLOURS[1], linewidth=1)
        axes.set_title(_label(found), loc="right", fontsize=8, color=COLOURS[1])
        axes.set_xlabel("λ")
        axes.set_ylabel(ylabel)
        if truth is not None:
            other = axes.twinx()
            other.semilogx(lams, np.asarray(truth, float)[order], color=COLOURS[2], linewidth=1.5, linestyle="--")
            other.set_ylabel("true error", color=COLOURS[2])
        _finish(figure, title, path)
    return figure


def picard(data: Any, *, title: str | None = None, path: str | os.PathLike | None = None) -> Figure:
    """Singular values, coefficients |u_i^H b| and their ratios: where the ratios rise, noise is all there is
    (Hansen 1990).

    Args:
        data: from `jr.svd(A).picard(b)`. title: of the figure. path: also save there (see `save_figure`).

    Raises:
        ImportError: matplotlib is missing.

    Example:
        >>> F = jr.svd(jr.Matrix(jnp.diag(0.5 ** jnp.arange(8.0))))
        >>> len(jr.plots.picard(F.picard(jnp.ones(8))).axes[0].lines)
        3
    """
    with style():
        figure = new_figure((4.8, 3.4), layout="constrained")
        axes = figure.add_subplot()
        i = np.arange(1, len(data.singular_values) + 1)
        for k, (label, v, marker) in enumerate((("$s_i$", data.singular_values, "o"),
                                                ("$|u_i^H b|$", data.coefficients, "x"),
                                                ("$|u_i^H b| / s_i$", data.ratios, "s"))):
            v = np.asarray(v, float)
            axes.semilogy(i, np.where(v > 0, v, np.nan), label=label, color=COLOURS[k], marker=marker, markersize=3,
                          linewidth=1.2)
        axes.set_xlabel("i")
        axes.legend()
        _finish(figure, title, path)
    return figure


def _label(found):
    return f"λ = {float(found.lam):.3g}" + ("" if bool(found.ok) else ": not to be trusted")


def _mark(axes, x, y, found):
    axes.plot([x], [y], color=COLOURS[1], marker="o", markersize=8, markerfacecolor="none", linestyle="none")
    axes.annotate(_label(found), (x, y), xytext=(8, 8), textcoords="offset points", fontsize=8, color=COLOURS[1])


def _finish(figure, title, path):
    for axes in figure.axes:
        axes.grid(which="major", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(which="both", width=0.6, length=3)
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold")
    if path is not None:
        save_figure(figure, path)
