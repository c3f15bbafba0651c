"""A function of the user's that makes the encoder, called with care."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from polytask.data import InputSpec
from polytask.errors import UserError, foreign


def checked_maker(maker: Callable[[InputSpec], Any]) -> Callable[[InputSpec], nn.Module]:
    """The same function; what it raises, or returns that is no module, becomes a `UserError`."""
    name = getattr(maker, "__qualname__", type(maker).__name__)

    def make(spec: InputSpec) -> nn.Module:
        with foreign(
            lambda what: (
                f"encoder: {name}(spec) raised {what}; expected a torch module for "
                f"inputs of {spec}. Call it by hand with that InputSpec."
            )
        ):
            made = maker(spec)
        if not isinstance(made, nn.Module):
            raise UserError(
                f"encoder: {name}(spec) returned {type(made).__name__}; expected a torch module. "
                "Return the encoder that it builds."
            )
        return made

    return make
