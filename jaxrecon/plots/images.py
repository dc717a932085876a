"""Images side by side, with their error maps."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jax.typing import ArrayLike

from .. import metrics
from .figure import new_figure, save_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def compare(images: Mapping[str, ArrayLike], reference: ArrayLike | None = None, *, title: str | None = None,
            window: tuple[float, float] | None = None, error_limit: float | None = None,
            data_range: float | None = None, columns: int = 6, path: str | os.PathLike | None = None) -> Figure:
    """Images (magnitudes, where complex) in one grey window; with a reference, PSNR / SSIM and error maps beneath.

    Args:
        images: name -> 2-D array, real or complex.
        reference: the truth, shown first; all images then have its shape.
        title: of the figure.
        window: (lowest, highest) value shown; None: 0 (or the minimum, if negative) to the maximum of the reference,
            or of all images.
        error_limit: the error shown brightest; None: the window over a round number (1, 2, 5, 10, ...), such that 99 %
            of the pixels of the median image stay below it.
        data_range: of PSNR and SSIM; None: max - min of the reference. The figure states it.
        columns: panels in a row, before the next one starts.
        path: also save there (see `save_figure`).

    Returns:
        The matplotlib Figure.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: no images, not 2-D, or a shape other than the reference's.

    Example:
        >>> x = jr.simulate.shepp_logan((32, 32))
        >>> figure = jr.plots.compare({"dimmed": 0.9 * x}, reference=x)
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['reference', 'dimmed\\n32.1 dB / 0.989']
    """
    panels = _magnitudes(images, reference)
    shown = list(panels.values())
    truth = None if reference is None else shown[0]
    others = list(panels)[truth is not None :]
    low, high = _window(shown if truth is None else [truth]) if window is None else window
    if not high > low:
        raise ValueError(f"compare: window must have its lower end below its upper end, got {(low, high)}")
    errors = {} if truth is None else {name: np.abs(panels[name] - truth) for name in others}
    if error_limit is None:
        error_limit = _error_limit(list(errors.values()), high - low)
    caption = ""
    scores: dict[str, str] = {}
    if truth is not None:
        span = float(truth.max() - truth.min()) if data_range is None else float(data_range)
        if span > 0:
            scores = {name: _score(panels[name], truth, span) for name in errors}
            caption = f"PSNR / SSIM with data range {span:.3g}"

    columns = max(1, min(columns, len(panels)))
    blocks = math.ceil(len(panels) / columns)
    per = 1 if truth is None else 2
    ny, nx = max(x.shape[0] for x in shown), max(x.shape[1] for x in shown)
    width = 2.1
    height = min(max(width * ny / nx, 0.6), 6.0)
    titles = {name: textwrap.fill(name, 27) + (f"\n{scores[name]}" if name in scores else "") for name in panels}
    top = 0.1 + 0.16 * max(text.count("\n") + 1 for text in titles.values())  # inches above each image
    below = (0.06, 0.14)[truth is not None]
    block = top + per * height + (per - 1) * 0.06 + below
    head, foot = (0.34 if title else 0.05), (0.24 if caption else 0.05)
    side = 0.85
    total = columns * (width + 0.06) + side, blocks * block + head + foot
    with style():
        figure = new_figure(total)

        def place(column: float, y: float, w: float, h: float, under: float = 0.0):
            """Axes by inches from the top left corner, so that every pixel keeps its place however long the titles."""
            left = 0.05 + column * (width + 0.06) + under
            return figure.add_axes((left / total[0], 1 - (y + h) / total[1], w / total[0], h / total[1]))

        grey = error_map = None
        for i, (name, x) in enumerate(panels.items()):
            column, y = i % columns, head + (i // columns) * block + top
            axes = place(column, y, width, height)
            grey = axes.imshow(x, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            axes.set_title(titles[name], pad=4, linespacing=1.25)
            axes.set_axis_off()
            if name in errors:
                axes = place(column, y + height + 0.06, width, height)
                error_map = axes.imshow(errors[name], cmap="inferno", vmin=0, vmax=error_limit, interpolation="nearest")
                axes.set_axis_off()
        y = head + top
        for n, (mappable, label) in enumerate(((grey, "magnitude" if _any_complex(images, reference) else "value"),
                                               (error_map, f"|error|  (× {_short((high - low) / error_limit)})"))):
            if mappable is not None:
                cax = place(columns, y + n * (height + 0.06) + 0.05, 0.09, height - 0.1, 0.02)
                bar = figure.colorbar(mappable, cax=cax)
                bar.set_label(label, fontsize=8)
                bar.ax.tick_params(labelsize=7, width=0.5, length=2)
                bar.outline.set_linewidth(0.5)  # pyright: ignore[reportCallIssue]
                bar.locator = _ticks()
                bar.update_ticks()
        if title:
            figure.text(0.05 / total[0], 1 - 0.08 / total[1], title, va="top", fontsize=11, fontweight="bold")
        if caption:
            figure.text(0.05 / total[0], 0.07 / total[1], caption, va="bottom", fontsize=7.5, color="#555555")
    if path is not None:
        save_figure(figure, path)
    return figure


def _ticks():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4)


def _magnitudes(images: Mapping[str, ArrayLike], reference: ArrayLike | None) -> dict[str, np.ndarray]:
    if not images:
        raise ValueError("compare: no images to show; pass a dict name -> array")
    everything = dict(images)
    if reference is not None:
        name = "reference" if "reference" not in images else "reference (truth)"
        everything = {name: reference, **images}
    cast = np.abs if _any_complex(images, reference) else np.asarray
    shown = {str(name): np.asarray(cast(np.asarray(x)), float) for name, x in everything.items()}
    for name, x in shown.items():
        if x.ndim != 2 or not x.size:
            raise ValueError(f"compare: {name!r} must be one 2-D image, got shape {x.shape}; pick a slice or a coil")
        if reference is not None and x.shape != np.shape(reference):
            raise ValueError(f"compare: {name!r} has shape {x.shape}, the reference {np.shape(reference)}; crop one")
    return shown


def _any_complex(images: Mapping[str, ArrayLike], reference: ArrayLike | None) -> bool:
    return any(np.iscomplexobj(x) for x in (*images.values(), reference) if x is not None)


def _window(shown: Sequence[np.ndarray]) -> tuple[float, float]:
    finite = np.concatenate([x[np.isfinite(x)] for x in shown])
    if not finite.size:
        return 0.0, 1.0
    low, high = min(float(finite.min()), 0.0), float(finite.max())
    return (low, high) if high > low else (low, low + 1.0)


def _error_limit(errors: Sequence[np.ndarray], span: float) -> float:
    # Of the median image: one bad method would otherwise paint all the good ones black.
    typical = [float(np.percentile(e[np.isfinite(e)], 99)) for e in errors if np.isfinite(e).any()]
    middle = float(np.median(typical)) if typical else 0.0
    factors = [m * 10**k for k in range(7) for m in (1, 2, 5)]
    return span / (max([f for f in factors if span / f >= middle], default=1) if middle > 0 else 1)


def _score(x: np.ndarray, truth: np.ndarray, span: float) -> str:
    text = f"{float(metrics.psnr(x, truth, data_range=span)):.1f} dB"
    if min(truth.shape) >= 7:
        text += f" / {float(metrics.ssim(x, truth, data_range=span)):.3f}"
    return text


def _short(x: float) -> str:
    return f"{x:.3g}" if x < 1000 else f"{x:.0f}"
