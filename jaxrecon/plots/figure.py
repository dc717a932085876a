"""Figures without pyplot: no display, no global state, nothing left open. Notebooks show what is returned."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444444")  # Okabe & Ito
DASHES = ("-", "--", "-.", ":")
STYLE: Any = {"font.size": 9, "font.family": "DejaVu Sans", "axes.titlesize": 9, "axes.linewidth": 0.6,
               "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}


def save_figure(figure: Figure, path: str | os.PathLike, dpi: int = 150) -> Path:
    """Write a figure, of the format its suffix names, whole or not at all: a file of that name is replaced at the end.

    Args:
        figure: from `compare` or `convergence`, or any matplotlib figure.
        path: such as "out.png"; .pdf and .svg work too. Its folder must exist.
        dpi: dots per inch.

    Returns:
        The path.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: no suffix, or one that matplotlib cannot write.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jr.plots.save_figure(jr.plots.convergence({"a": [1.0, 0.1]}), folder + "/a.png").name
        'a.png'
    """
    path = Path(path)
    kind = path.suffix.lstrip(".").lower()
    if not kind:
        raise ValueError(f"save_figure: {path} needs a suffix that names the format, such as .png")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"save_figure: the folder {path.parent} does not exist; create it first")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        figure.savefig(part, format=kind, dpi=dpi, facecolor="white")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def matplotlib_or_why():
    try:
        import matplotlib
    except ImportError as e:
        raise ImportError('plots need matplotlib: pip install "jaxrecon[plots]"') from e
    return matplotlib


@contextlib.contextmanager
def style():
    with matplotlib_or_why().rc_context(STYLE):
        yield


def new_figure(size: tuple[float, float], layout: Any = None) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=100, layout=layout)
    FigureCanvasAgg(figure)
    # IPython asks an object for this; without pyplot nobody else tells it how to show a figure.
    vars(figure)["_repr_png_"] = functools.partial(_png, figure)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, facecolor="white")
    return buffer.getvalue()
