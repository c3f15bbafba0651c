"""A function of the user's that makes the encoder, called with care."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from polytask.data import InputSpec
from polytask.errors import PolytaskError, UserError


def checked_maker(maker: Callable[[InputSpec], Any]) -> Callable[[InputSpec], nn.Module]:
    """The same function; what it raises, or returns that is no module, becomes a `UserError`."""
    name = getattr(maker, "__qualname__", type(maker).__name__)

    def make(spec: InputSpec) -> nn.Module:
        try:
            made = maker(spec)
        except (PolytaskError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:160].rstrip(".")
            raise UserError(
                f"encoder: {name}(spec) raised {type(error).__name__}: {said}; expected a torch "
                f"module for inputs of {spec}. Call it by hand with that InputSpec."
            ) from error
        if not isinstance(made, nn.Module):
            raise UserError(
                f"encoder: {name}(spec) returned {type(made).__name__}; expected a torch module. "
                "Return the encoder that it builds."
            )
        return made

    return make
