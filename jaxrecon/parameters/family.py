"""lam -> reconstructor as a value, so that a sweep compiles once and not once for every lambda that a caller writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from ..solvers import Solver
from ..value import static, value


class _Recipe:
    """How the leaves of a reconstructor follow from lam; two recipes with the same text are the same."""

    def __init__(self, jaxpr, lams, tree, made):
        self.jaxpr, self.lams, self.tree = jaxpr, lams, tree
        self.made = made  # for every leaf: computed from lam, or constant?
        self._text = str(jaxpr)

    def __eq__(self, other):
        return isinstance(other, _Recipe) and (self._text, self.lams, self.tree, self.made) == \
            (other._text, other.lams, other.tree, other.made)

    def __hash__(self):
        return hash((self._text, self.tree, self.made))


@value
class Family:
    """A reconstructor or solver for every lam; made by `family`."""

    captured: list[Any]  # arrays that the function closed over
    constants: list[Any]  # leaves that do not depend on lam
    recipe: _Recipe = static()

    def __call__(self, lam: Any) -> Any:
        lams = [jnp.asarray(v) for v in jax.tree.leaves(lam)]
        computed = iter(jaxpr_as_fun(ClosedJaxpr(self.recipe.jaxpr, self.captured))(*lams))
        constants = iter(self.constants)
        return self.recipe.tree.unflatten([next(computed) if made else next(constants) for made in self.recipe.made])


def family(make: Callable[[Any], Any], lam: Any) -> Family:
    """The family that `make` describes, for any lam of the structure and dtype of this one.

    Arrays that it closes over and fields that it sets are values; Python numbers that it computes with are part of the
    recipe.

    Raises:
        TypeError: `make` is no function, or does not give a solver or a reconstructor.
    """
    if isinstance(make, Solver) or not callable(make):
        raise TypeError(f"solver must be a function of lam, such as lambda lam: jr.FISTA(jr.TV(lam)), got {make!r}")
    seen: dict[str, Any] = {}

    def leaves(lam):
        made = make(lam)
        if not isinstance(made, Solver) and not callable(made):
            raise TypeError("solver must make a solver or a reconstructor of lam, such as "
                            f"lambda lam: jr.FISTA(jr.TV(lam)); it made {made!r}")
        found, tree = jax.tree.flatten(made)
        computed = tuple(isinstance(v, Tracer) for v in found)
        seen.update(tree=tree, made=computed,
                    constants=[v for v, c in zip(found, computed, strict=True) if not c])
        return [v for v, c in zip(found, computed, strict=True) if c]

    closed = jax.make_jaxpr(leaves)(lam)
    recipe = _Recipe(closed.jaxpr, jax.tree.structure(lam), seen["tree"], seen["made"])
    return Family(closed.consts, seen["constants"], recipe)
