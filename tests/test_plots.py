import subprocess
import sys

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")

from jaxrecon import metrics, plots  # noqa: E402
from jaxrecon.simulate import discs  # noqa: E402


@pytest.fixture
def truth():
    return np.asarray(discs(40))


def shown(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


def test_compare_shows_magnitudes_errors_and_scores(truth, rng):
    noisy = truth + 0.1 * rng.standard_normal(truth.shape)
    turned = 0.9j * truth
    figure = plots.compare({"noisy": noisy, "turned": turned}, truth, title="Discs")
    reference, a, ea, b, eb = shown(figure)
    np.testing.assert_allclose(reference.get_array(), truth)
    np.testing.assert_allclose(a.get_array(), np.abs(noisy))
    np.testing.assert_allclose(b.get_array(), 0.9 * truth)
    np.testing.assert_allclose(ea.get_array(), np.abs(np.abs(noisy) - truth))
    np.testing.assert_allclose(eb.get_array(), 0.1 * truth, atol=1e-15)
    assert {im.get_clim() for im in (reference, a, b)} == {(0.0, truth.max())}
    assert ea.get_clim() == eb.get_clim() and ea.get_clim()[0] == 0
    assert {im.get_cmap().name for im in (reference, a, b)} == {"gray"}
    text = figure.axes[1].get_title()
    span = truth.max() - truth.min()
    assert f"{float(metrics.psnr(np.abs(noisy), truth, data_range=span)):.1f} dB" in text
    assert f"{float(metrics.ssim(np.abs(noisy), truth, data_range=span)):.3f}" in text
    written = [t.get_text() for t in figure.texts]
    assert "Discs" in written and any("data range 1.3" in t for t in written)
    labels = [axes.get_ylabel() for axes in figure.axes]
    factor = 1.3 / ea.get_clim()[1]
    assert f"|error|  (× {factor:.3g})" in labels and "magnitude" in labels


def test_compare_without_reference_wraps_and_takes_real_images(truth):
    figure = plots.compare({f"{i}": truth - 1 for i in range(5)}, columns=2)
    images = shown(figure)
    assert len(images) == 5 and images[0].get_clim() == (-1.0, pytest.approx(0.3))
    places = [(round(im.axes.get_position().x0, 6), round(im.axes.get_position().y0, 6)) for im in images]
    assert len({x for x, _ in places}) == 2 and len({y for _, y in places}) == 3
    assert images[0].axes.get_title() == "0"


def test_compare_windows_given(truth):
    figure = plots.compare({"a": truth}, truth, window=(0.2, 0.9), error_limit=0.05)
    reference, a, error = shown(figure)
    assert reference.get_clim() == a.get_clim() == (0.2, 0.9) and error.get_clim() == (0, 0.05)
    assert "inf dB / 1.000" in figure.axes[1].get_title()


def test_compare_survives_constant_tiny_and_broken_images():
    plots.compare({"zero": np.zeros((3, 4))}, np.zeros((3, 4)))
    x = np.ones((8, 8))
    x[0, 0] = np.nan
    assert "nan" in plots.compare({"bad": x}, np.eye(8)).axes[1].get_title()


def test_convergence_draws_what_it_is_given():
    k = np.array([1, 5, 9])
    figure = plots.convergence({"a": [4.0, 3.0, 2.0], "b": (k, [3.0, 2.5, 2.0])}, limit=2.0)
    a, b = figure.axes[0].lines
    np.testing.assert_allclose(a.get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(a.get_ydata(), [1, 0.5, np.nan])  # what has arrived has no logarithm
    np.testing.assert_allclose(b.get_xdata(), k)
    assert figure.axes[0].get_yscale() == "log" and "limit" in figure.axes[0].get_ylabel()
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["a", "b"]
    assert plots.convergence({"a": [1.0, 2.0]}, log_x=True).axes[0].get_xscale() == "log"


def test_save_figure_writes_the_whole_picture_or_leaves_the_old_one(tmp_path, truth, monkeypatch):
    path = tmp_path / "out.png"
    figure = plots.compare({"x": truth}, truth, path=path)
    first = path.read_bytes()
    picture = matplotlib.image.imread(path) if hasattr(matplotlib, "image") else None
    if picture is not None:
        width, height = figure.get_size_inches() * 150
        assert abs(picture.shape[1] - width) <= 1 and abs(picture.shape[0] - height) <= 1 and picture.std() > 0.1
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]

    def broken(part, **_):
        part.write_bytes(b"half")
        raise OSError("disc full")

    monkeypatch.setattr(figure, "savefig", broken)
    with pytest.raises(OSError, match="disc full"):
        plots.save_figure(figure, path)
    assert path.read_bytes() == first and [p.name for p in tmp_path.iterdir()] == ["out.png"]


def test_figures_show_in_notebooks_and_vector_formats_work(tmp_path, truth):
    figure = plots.convergence({"a": [1.0, 0.1]})
    assert figure._repr_png_().startswith(b"\x89PNG")
    for suffix in ("pdf", "svg"):
        assert plots.save_figure(figure, tmp_path / f"a.{suffix}").stat().st_size > 1000


def test_matplotlib_is_imported_late_and_its_absence_explained(monkeypatch, truth):
    code = "import sys, jaxrecon.plots; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "jaxrecon\[plots\]"'):
        plots.compare({"x": truth})


X = np.ones((8, 8))


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda: plots.compare({}), ValueError, "no images"),
    (lambda: plots.compare({"a": np.ones((2, 8, 8))}), ValueError, r"'a' .* \(2, 8, 8\)"),
    (lambda: plots.compare({"a": np.ones((8, 9))}, X), ValueError, r"\(8, 9\), the reference \(8, 8\)"),
    (lambda: plots.compare({"a": X}, window=(1, 1)), ValueError, "window"),
    (lambda: plots.convergence({}), ValueError, "no curves"),
    (lambda: plots.convergence({"a": X}), ValueError, "1-D"),
    (lambda: plots.convergence({"a": [1.0, 2.0]}, limit=5.0), ValueError, "positive"),
    (lambda: plots.save_figure(plots.convergence({"a": [1.0]}), "no_suffix"), ValueError, "suffix"),
    (lambda: plots.save_figure(plots.convergence({"a": [1.0]}), "/no/such/x.png"), FileNotFoundError, "/no/such"),
])
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
