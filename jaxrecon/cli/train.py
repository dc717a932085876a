"""jaxrecon train: from a configuration to a trained reconstructor in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from rich.console import Console

from ..io.atomic import atomic_write, check_writable
from ..networks import count_parameters
from ..networks.base import Network
from ..saving import save
from ..simulate import Simulation
from ..training import Examples, Simulated, fit
from .config import Config, parse_config, read_config
from .errors import Failure, of_the_input
from .models import make_reconstructor
from .tasks import VALIDATION, make_simulation, read_images, scans

# What may differ from the run that is resumed: it changes no number.
FREE = ("time_limit", "checkpoint", "checkpoint_every")


class Outputs(NamedTuple):
    model: Path
    table: Path
    picture: Path
    checkpoints: Path


def run(path: Path, output: Path | None, resume: bool) -> None:
    c = read_config(path)
    t = c.training
    console = Console(soft_wrap=True, highlight=False)
    with of_the_input():
        out = _outputs(c, path, output)
        _check_run(c, out.checkpoints, resume)
        images = read_images(c)
        simulation = make_simulation(c, images.train)
        initial_key, training_key = jax.random.split(jax.random.key(t["seed"]))
        reconstructor = make_reconstructor(c, simulation.A, initial_key)
        A, b, _ = jax.eval_shape(lambda s, key: s(key), simulation, training_key)
        # Before hours of work: do network and data fit?
        jax.eval_shape(lambda r, A, b: r(A, b), reconstructor, A, b)
        _keep_config(c, out.checkpoints)
        validation = stacked(make_simulation(c), list(scans(make_simulation(c), c, VALIDATION, images.validation)))
    console.print(f"{c.method['name']}, {_parameters(reconstructor):,} parameters; {c.task} of {c.size} x {c.size} "
                  f"pixels; {t['steps']} steps of {t['batch_size']}")
    try:
        with of_the_input():
            data = Simulated(simulation, t["batch_size"], batched=validation.batched)
            trained, log = fit(
                reconstructor, data, steps=t["steps"], key=training_key, loss=t["loss"], validation=validation,
                optimizer=optax.adam(schedule(c)), clip=float(t["clip"]),
                validate_every=t["validate_every"], patience=t["patience"], checkpoint=out.checkpoints / "steps",
                checkpoint_every=t["checkpoint_every"], resume=resume,
                time_limit=None if t["time_limit"] is None else 60.0 * t["time_limit"])
    except FloatingPointError as error:
        raise Failure(f"training diverged: {error}", 1) from error
    except RuntimeError as error:  # no memory left, no checkpoint that can be read
        raise Failure(f"training failed: {str(error)[:300]}", 1) from error
    with of_the_input():
        save(out.model, trained, about={"config": c.text, "best_step": log.best_step, "finished": log.finished})
        log.write_csv(out.table)
        log.plot(title=f"{path.stem}: {c.method['name']}, {c.task} {c.size} x {c.size}", path=out.picture)
    console.print(log.table())
    if not log.finished:
        console.print(f"ended at step {len(log)} of {t['steps']}: {log.reason}; --resume goes on", markup=False)
    console.print(f"the best by validation is of step {log.best_step}")
    console.print(f"wrote {out.model}, {out.table} and {out.picture}", markup=False)


def stacked(simulation: Simulation, examples: list[tuple[Any, Any, Any]]) -> Examples:
    """Scans as one set; each has its own mask where masks are drawn."""
    operators, b, x = zip(*examples, strict=True)
    if simulation.mask is None:
        return Examples(simulation.A, jnp.stack(b), jnp.stack(x), batch_size=1)

    def joined(path, v, *others):
        return jnp.stack([v, *others]) if path[-1].name == "mask" else v

    A = jax.tree_util.tree_map_with_path(joined, *operators)
    return Examples(A, jnp.stack(b), jnp.stack(x), batch_size=1, batched=("mask",))


def schedule(c: Config) -> Any:
    """The learning rate over the steps: a rise over `warmup` steps, then constant or a cosine down to 0."""
    t = c.training
    rate, warmup, left = float(t["learning_rate"]), t["warmup"], t["steps"] - t["warmup"]
    after = optax.cosine_decay_schedule(rate, left) if t["schedule"] == "cosine" else optax.constant_schedule(rate)
    return optax.join_schedules([optax.linear_schedule(0.0, rate, warmup), after], [warmup]) if warmup else after


def _outputs(c: Config, path: Path, output: Path | None) -> Outputs:
    model = Path(path.stem + ".jr") if output is None else output
    if model.suffix.lower() in (".csv", ".png", ".toml", ".npz", ""):
        raise ValueError(f"--output {model}: take a name that ends in .jr; the log goes to .csv and .png beside it")
    import matplotlib.figure  # noqa: F401

    folder = c.training["checkpoint"]
    out = Outputs(model, model.with_suffix(".csv"), model.with_suffix(".png"),
                  model.with_suffix(".checkpoints") if folder is None else Path(folder))
    for file in out[:3]:
        check_writable(file)
    if out.checkpoints.exists() and not out.checkpoints.is_dir():
        raise ValueError(f"cannot keep checkpoints in {out.checkpoints}: it is not a folder")
    return out


def _check_run(c: Config, folder: Path, resume: bool) -> None:
    """Refuse to mix two runs in one folder."""
    kept = folder / "config.toml"
    if not kept.exists():
        # Nothing was begun: --resume begins.
        return
    if not resume:
        raise ValueError(f"{folder} holds a run already: --resume goes on with it; remove the folder to start again")
    before = parse_config(kept.read_text(encoding="utf-8"), str(kept))
    old, new = _flat(before), _flat(c)
    for key in [*old, *new]:
        if old.get(key) != new.get(key) and key.removeprefix("training.") not in FREE:
            raise ValueError(f"{folder} holds a run with {key} = {old.get(key)!r}, the configuration says "
                             f"{new.get(key)!r}: a resumed run must be the same; give the new one another name")


def _flat(c: Config) -> dict[str, Any]:
    tables = c._asdict()
    del tables["text"]
    return {f"{table}.{key}" if key else table: v for table, found in tables.items()
            for key, v in (found.items() if isinstance(found, dict) else [("", found)])}


def _keep_config(c: Config, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "config.toml") as file:
        file.write(c.text.encode())


def _parameters(reconstructor: Any) -> int:
    networks = jax.tree.leaves(reconstructor, is_leaf=lambda v: isinstance(v, Network))
    return sum(count_parameters(n) for n in networks if isinstance(n, Network))
