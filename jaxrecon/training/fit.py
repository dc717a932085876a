"""fit: trains any reconstructor end to end."""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from ..value import describe, is_count
from .checkpoint import Checkpoints, checksum
from .feed import Feed, Source
from .log import Log
from .losses import SelfSupervised, loss_function
from .parameters import split
from .run import Plan, Run
from .sharding import check_mesh, on_one_device, replicate
from .step import Fixed, Program, State, Structure
from .validation import Validation

DEFAULT_OPTIMIZER = optax.adam(1e-3)  # one object, so that a second fit need not compile again


def fit(reconstructor: Any, data: Any, steps: int = 1000, optimizer: Any = DEFAULT_OPTIMIZER, *,
        key: jax.Array | None = None, loss: Any = "mse", validation: Any = None, validate_every: int | None = None,
        patience: int | None = None, clip: float | None = None, train: Callable[[str, Any], bool] | None = None,
        checkpoint: str | os.PathLike | None = None, checkpoint_every: int | None = None, resume: bool = False,
        time_limit: float | None = None, mesh: jax.sharding.Mesh | None = None, progress: bool = True) \
        -> tuple[Any, Log]:
    """argmin over the parameters of mean_n loss(reconstructor(A_n, b_n), x_n), by steps of an optimiser on batches.

    Without ground truth (x_n None): of mean_n loss(reconstructor, A_n, b_n, key_n).

    Args:
        reconstructor: called as x = reconstructor(A, b). What trains: the weights of its networks, and the leaves that
            its classes declare (dc of jr.Unrolled); positive scalars among these, also one for each iteration of a
            solver or a step, train as their log.
        data: jr.Examples(...), jr.Simulated(...), or any iterable of batches (A, b, x) with a leading axis on b and x.
            A is shared within a batch, but for the leaves that `data.batched` names. An iterable that can begin again
            (a list) does. x is None where there is no ground truth; a self-supervised loss does not look at it.
        steps: batches, and updates of the parameters.
        optimizer: of optax, learning-rate schedule included.
        key: shuffles or simulates the data, and what a self-supervised loss draws: step k depends on the key and on k
            alone.
        loss: "mse" (of images of the order of 1: optimisers with an epsilon do not see small gradients), "l1", "nmse",
            "ssim", "magnitude_mse", "magnitude_l1", or a function (x, reference) -> scalar of one image; or,
            self-supervised, `jr.training.SURE`, `SSDU`, `Equivariant`, `Consistency`.
        validation: (A, b, x), jr.Examples (all of them count), another stream (8 batches, drawn once) or a list of
            batches. The parameters of the smallest validation loss are returned; without one, the last. Where the
            loss is self-supervised, it is the mean squared error if there are x, else that loss with fixed keys.
        validate_every: steps; None: a twentieth of all. The last step is validated in any case.
        patience: ends after this many validations without a new best.
        clip: the largest norm of the gradient (of all parameters together).
        train: predicate (path, leaf) -> bool that chooses what trains instead, for example
            lambda path, leaf: path.endswith("lam"). Frozen leaves never reach the optimiser.
        checkpoint: a folder. A training that was killed, interrupted or timed out goes on from there with resume=True,
            to the same bits as without. An iterable is then read from its beginning, past the batches already used.
        checkpoint_every: steps; None: a twentieth of all. The last step is kept in any case.
        resume: go on where the folder says; begin if it is empty. False refuses a folder in use.
        time_limit: seconds of this call, after which it ends with what it has.
        mesh: devices over which each batch is divided: jax.make_mesh((8,), ("batch",)).
        progress: a bar, on a terminal.

    Returns:
        (the trained reconstructor, the log): see `jr.training.Log`.

    A step with a loss or gradient that is not finite is not made, and counted in `log.skipped`.

    Raises:
        ValueError: data that do not fit A or the reconstructor, nothing to train, options out of range, a checkpoint of
            another training. FileExistsError: the checkpoint folder is in use. FloatingPointError: 50 steps in a row,
            or all of them, were not finite.

    Example:
        >>> A, x = jr.Diagonal(jnp.array([1.0, 2.0])), jax.random.normal(jax.random.key(0), (20, 2))
        >>> data = jr.Examples(A, jax.vmap(A)(x), x, batch_size=5)
        >>> r = jr.Iterative(jr.CGNR(lam=1.0), iterations=2)
        >>> trained, log = jr.fit(r, data, steps=50, optimizer=optax.adam(0.1), key=jax.random.key(1),
        ...                       train=lambda path, leaf: path == "solver.lam")
        >>> log.ok, bool(trained.solver.lam < 0.1)
        (True, True)
    """
    steps, validate_every, checkpoint_every = _check_options(steps, validate_every, patience, clip, checkpoint_every,
                                                             time_limit, resume, checkpoint, validation)
    if not callable(getattr(optimizer, "init", None)) or not callable(getattr(optimizer, "update", None)):
        raise TypeError(f"optimizer must be one of optax, such as optax.adam(1e-3), got {optimizer!r}")
    if not callable(reconstructor):
        raise TypeError(f"fit trains a reconstructor, called as x = r(A, b); got {type(reconstructor).__name__}")
    mesh = check_mesh(mesh)
    partition, parameters, frozen = split(reconstructor, train)
    state = State(parameters, optimizer.init(parameters))
    program = Program(partition, Structure(None, ()), optimizer, clip, mesh)
    compare = loss_function(loss)
    source = Source(data, key)
    batched = getattr(data, "batched", ())
    feed = Feed(reconstructor, program, compare, batched)

    begin = time.monotonic()
    first = source.next()
    if first is None:
        raise ValueError("data gives no batch at all")
    feed(*first)
    _warn_of_units(first[2], loss)
    check = None
    if validation is not None:
        own = getattr(validation, "batched", batched)
        size = len(jax.tree.leaves(first[1])[0])
        check = Validation(validation, Feed(reconstructor, program, compare, own), size, own, key)
    folder = None if checkpoint is None else Checkpoints(checkpoint, resume)
    about = {"reconstructor": type(reconstructor).__name__, "frozen": checksum(frozen), "loss": _name(loss),
             "batch": describe(first), "key": None if key is None else jax.random.key_data(key).tolist(),
             "validation": validation is not None}
    fixed = Fixed(replicate(frozen, mesh), replicate(compare, mesh), _loss_key(compare, key))
    plan = Plan(steps, validate_every, checkpoint_every, patience, time_limit, mesh, fixed, source, feed, check, folder,
                about, progress)
    try:
        run = Run(plan, state, begin)
        del state, parameters
        run.go(first)
    finally:
        if folder is not None:
            folder.close()
    best = run.state.parameters if run.best is None else run.best
    trained = partition.join(on_one_device(best, mesh), frozen)
    return trained, run.log()


def _name(loss: Any) -> str:
    if isinstance(loss, SelfSupervised):
        # Functions in it, by name: their addresses are other ones in the next run.
        return f"{re.sub(' at 0x[0-9a-f]+', '', repr(loss))}, checksum {checksum(loss)}"
    return loss if isinstance(loss, str) else getattr(loss, "__qualname__", type(loss).__qualname__)


def _loss_key(loss: Any, key: jax.Array | None) -> jax.Array | None:
    # 2^31 is the validation set's.
    return jax.random.fold_in(key, 2**31 + 1) if isinstance(loss, SelfSupervised) and key is not None else None


def _warn_of_units(x: Any, loss: Any) -> None:
    """Of squared errors that an optimiser with an epsilon, such as Adam's 1e-8, takes for none, or cannot square."""
    if x is None or loss not in ("mse", "magnitude_mse"):
        return
    size = float(np.sqrt(np.mean(np.abs(np.asarray(x)).astype(float) ** 2)))
    if 0 < size < 1e-3 or size > 1e8:
        warnings.warn(f"images of root mean square {size:.0e} have gradients of {loss!r} that Adam and others "
                      "with an epsilon do not see, or that overflow; use loss='nmse', or data of the order of 1",
                      stacklevel=3)


def _check_options(steps, validate_every, patience, clip, checkpoint_every, time_limit, resume, checkpoint,
                   validation):
    counts = {"steps": steps, "validate_every": validate_every, "checkpoint_every": checkpoint_every,
              "patience": patience}
    for name, n in counts.items():
        if n is not None and not is_count(n):
            raise ValueError(f"{name} must be a whole number >= 1, got {n!r}")
    for name, v in (("clip", clip), ("time_limit", time_limit)):
        if v is not None and not v > 0:
            raise ValueError(f"{name} must be > 0, got {v!r}")
    if resume and checkpoint is None:
        raise ValueError("resume=True needs checkpoint=, the folder to go on from")
    if patience is not None and validation is None:
        raise ValueError(f"patience={patience} needs validation=, the data to judge by")
    twentieth = max(1, int(steps) // 20)
    return int(steps), int(validate_every or twentieth), int(checkpoint_every or twentieth)
