"""Methods by name, and plain functions as methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from polytask import registry
from polytask.errors import NonFiniteError, UserError, foreign
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer


def list_methods(pattern: str = "*") -> list[str]:
    """Names of all methods that match a shell pattern, sorted. Imports none of them."""
    return registry.names("method", pattern)


def create_method(name: str, /, **arguments: Any) -> Balancer:
    """Build a balancer by name: `create_method("cagrad", c=0.4)`.

    Raises:
        UserError: no method of that name, or an argument it does not take; the message names
            the nearest right word.
    """
    balancer = registry.create("method", name, **arguments)
    if not isinstance(balancer, Balancer):
        raise UserError(f"method {name!r} must make a Balancer, found {type(balancer).__name__}.")
    return balancer


def as_balancer(function: Callable[[Tensor], Tensor], **options: Any) -> Balancer:
    """Wrap a plain function Gramian [T, T] -> weights [T] as a balancer.

    The function gets the Gramian in float64 on the host. `options` are those of every balancer.
    """
    return _FromFunction(function, **options)


class _FromFunction(Balancer):
    statistic_kind = "gramian"
    default_heads = "plain"

    def __init__(self, function: Callable[[Tensor], Tensor], **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def decide(self, statistic: Statistic) -> Tensor:
        gramian = statistic.need_gramian()
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        with foreign(
            lambda what: (
                f"the balancer {name} raised {what}, for a Gramian of {len(gramian)} "
                "tasks; expected weights. Call it by hand on such a matrix."
            )
        ):
            weights: object = self.function(gramian)
        if not isinstance(weights, Tensor) or weights.shape != (len(gramian),):
            shape = f"shape {list(weights.shape)}" if isinstance(weights, Tensor) else ""
            raise UserError(
                f"the balancer {name} returned {shape or type(weights).__name__}; expected a "
                f"tensor of {len(gramian)} weights, one for each present task. Give it that shape."
            )
        if not bool(weights.isfinite().all()):
            raise NonFiniteError(
                f"the balancer {name} returned weights that are not finite: {weights.tolist()}; "
                "nothing was updated. Look for divisions by 0 in it."
            )
        return weights
