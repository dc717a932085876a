"""Commands and their options. What they run is imported when it runs, so that --help stays quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from .errors import Failure


class _Group(TyperGroup):
    """Every error of the user's is one line on stderr: exit code 2 for what was asked, 1 for what went wrong."""

    def main(self, *args, standalone_mode: bool = True, **kwargs):
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **kwargs)
        try:
            code = super().main(*args, standalone_mode=False, **kwargs)
        except Failure as error:
            code = _report(str(error), error.code)
        except typer.Abort:
            code = _report("stopped", 130)
        except Exception as error:
            # Click's own errors, wherever this version of typer keeps them: unknown options, missing arguments.
            if not hasattr(error, "format_message"):
                raise
            code = _report(error.format_message(), 2)  # pyright: ignore[reportAttributeAccessIssue]
        sys.exit(code or 0)


def _report(message: str, code: int) -> int:
    print("jaxrecon:", " ".join(message.split()), file=sys.stderr)
    return code


app = typer.Typer(cls=_Group, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown",
                  context_settings={"help_option_names": ["-h", "--help"]})


def main() -> None:
    """Entry point of the `jaxrecon` command."""
    app(prog_name="jaxrecon")


@app.callback(invoke_without_command=True)
def _root(context: typer.Context,
          version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Image reconstruction in JAX."""
    if version:
        from .info import installed

        print("jaxrecon", installed("jaxrecon"))
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def demo(output: Annotated[Path, typer.Option("--output", "-o", help="The picture; the table lies beside it as .csv.")]
         = Path("demo.png"),
         size: Annotated[int, typer.Option(help="Pixels along each side.")] = 128,
         seed: Annotated[int, typer.Option(help="Of the sampling mask and the noise.")] = 0) -> None:
    """Simulate a multi-coil scan, reconstruct it with every classical method, and write a picture and a table."""
    from .demo import run

    run(output, size, seed)


@app.command()
def reconstruct(
        scan: Annotated[Path, typer.Argument(
            metavar="SCAN", show_default=False,
            help="A file of raw data: ISMRMRD, fastMRI, BART (.cfl), MATLAB (.mat); or .npz with kspace or ksp (coils, "
                 "ny, nx), and perhaps mask and maps.")],
        method: Annotated[str | None, typer.Option(
            help="fista (the default), pogm, ista, condat-vu, pdhg, admm, cg, landweber or zero-filled.",
            show_default=False)] = None,
        model: Annotated[Path | None, typer.Option(
            help="A trained reconstructor, from `jaxrecon train` or jr.save, in place of a method.",
            show_default=False)] = None,
        prior: Annotated[str | None, typer.Option(
            help="wavelet, tv, l1, l2 or none. Default: wavelet; tv for condat-vu, pdhg and admm; l2 for cg.",
            show_default=False)] = None,
        lam: Annotated[str | None, typer.Option(
            help="Weight of the prior: a number, or how to choose it: crossvalidate, sure, gcv, lcurve or discrepancy. "
                 "Default: crossvalidate where samples are missing, else sure.",
            show_default=False)] = None,
        iterations: Annotated[int | None, typer.Option(
            help="Default: 100; 15 for cg, 30 for landweber.", show_default=False)] = None,
        maps: Annotated[str, typer.Option(
            help="Coil maps: espirit, rss, or the name of an array in SCAN (BART: a .cfl file). auto: `maps` of SCAN "
                 "where it has them, else espirit; none needed for one coil.")] = "auto",
        slice: Annotated[int | None, typer.Option(
            help="Which slice of SCAN, from 0. Default: the middle one.", show_default=False)] = None,
        output: Annotated[Path | None, typer.Option(
            "--output", "-o", show_default=False,
            help="The result, .npz. Default, unless --png is given: SCAN-METHOD-PRIOR.npz in this folder, "
                 "SCAN-sliceN-... for one slice of several.")] = None,
        png: Annotated[Path | None, typer.Option(
            help="A picture of the result beside the zero-filled image.", show_default=False)] = None) -> None:
    """Reconstruct one slice of a scan, Cartesian or along a trajectory.

    Minimises 1/2 |A x - b|² + lam prior(x), with b scaled so that 99 % of the pixels of the zero-filled (or
    gridded) image lie below 1: one lam then means the same for every scanner (for l2: where coil maps have the
    same scale). The image is scaled back.

    With --model the image is that of a trained reconstructor, in whatever units the samples are. A model for CT takes
    an .npz file with sinogram (views, detectors).

    OUT.npz holds image (complex64), method, prior, lam, iterations, scale, objective, version, slice and
    slices.

    Exit codes: 0 done; 1 the solver diverged; 2 the input or the options are wrong. Outputs are written whole or not
    at all.
    """
    if model is not None:
        given = {"--method": method, "--prior": prior, "--lam": lam, "--iterations": iterations}
        for option, v in given.items():
            if v is not None:
                raise Failure(f"{option} {v} has no effect with --model; leave one of them out")
        from .learned import run as run_model

        return run_model(scan, model, maps, output, png, slice)
    from .reconstruct import run

    return run(scan, method or "fista", prior, lam, iterations, maps, output, png, slice)


@app.command()
def train(
        config: Annotated[Path | None, typer.Argument(metavar="CONFIG", show_default=False,
                                                      help="A TOML file, see `jaxrecon train --keys`.")] = None,
        output: Annotated[Path | None, typer.Option(
            "--output", "-o", show_default=False,
            help="The model. Default: CONFIG.jr in this folder. The log lies beside it as .csv and .png.")] = None,
        resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped: the same bits as "
                                                              "one that was not.")] = False,
        keys: Annotated[bool, typer.Option("--keys", help="Print every key of CONFIG with its default, and stop.")]
        = False) -> None:
    """Train a reconstructor on simulated scans, as a configuration says.

    Checkpoints are kept in a folder beside the model, so that --resume works after any interruption.

    Exit codes: 0 done; 1 the training diverged; 2 the configuration or the options are wrong.
    """
    if keys:
        from .config import describe

        return print(describe())
    if config is None:
        raise Failure("missing argument CONFIG, a TOML file; jaxrecon train --keys prints what it may hold")
    from .train import run

    return run(config, output, resume)


@app.command()
def evaluate(
        model: Annotated[Path, typer.Argument(metavar="MODEL", show_default=False,
                                              help="What `jaxrecon train` wrote.")],
        config: Annotated[Path | None, typer.Argument(
            metavar="[CONFIG]", show_default=False, help="Other scans than those of the model's own configuration.")]
        = None,
        images: Annotated[Path | None, typer.Option(
            show_default=False, help="Test images: a file or a folder, as images.source of CONFIG.")] = None,
        output: Annotated[Path | None, typer.Option(
            "--output", "-o", show_default=False, help="Every image's scores, .csv. Default: MODEL-evaluation.csv.")]
        = None,
        png: Annotated[Path | None, typer.Option(
            show_default=False, help="A picture of the first scan's images and their errors.")] = None) -> None:
    """Compare a model with the direct reconstruction and the best TV, on simulated scans of held-out images.

    The weight of TV is the one of best mean PSNR on the validation images. PSNR and SSIM are of magnitudes, with the
    maximum of the image as data range.
    """
    from .evaluate import run

    run(model, config, images, output, png)


@app.command()
def info() -> None:
    """Print versions, devices and the floating-point mode."""
    from .info import run

    run()
