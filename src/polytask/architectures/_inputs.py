"""What goes into an encoder and what must come out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from polytask.errors import UserError, foreign, unknown


def unwrap(x: Tensor | Mapping[str, Tensor], name: str | None = None) -> Tensor:
    """The one tensor in `x`: `x` itself, or the entry `name` (the only one when not given).

    Entries without columns (`[N, 0]`) do not count. Raises `UserError` when there is no such
    entry, or when several could be meant.
    """
    if isinstance(x, Tensor):
        return x
    if not isinstance(x, Mapping):
        raise UserError(
            f"expected a tensor or a dictionary of tensors as input, found {type(x).__name__}."
        )
    if name is not None:
        if name not in x:
            raise unknown("input", name, x)
        return x[name]
    filled = _filled(x)
    if len(filled) != 1:
        raise UserError(
            f"expected one input tensor, found {len(filled)}: {', '.join(filled) or 'none'}. "
            "Say which one is meant, or use a module that takes the dictionary."
        )
    return next(iter(filled.values()))


def encode(encoder: nn.Module, x: Any, width: int | None = None) -> Tensor:
    """Run the encoder and check its answer: [N, width] or [N, width, ...]; any if None.

    A dictionary with one filled entry reaches a module as that tensor, so that plain torch
    modules work on the batches of `polytask.data`; a module with a true attribute
    `takes_dict` gets the dictionary itself, and so does every module when it has several
    entries. Raises `UserError` for an answer that no head can read.
    """
    if isinstance(x, Mapping) and not getattr(encoder, "takes_dict", False):
        filled = _filled(x)
        if len(filled) == 1:
            x = next(iter(filled.values()))
    z = encoder(x)
    _check_representation(encoder, z)
    if width is not None and z.shape[1] != width:
        raise UserError(
            f"the encoder {_called(encoder)} answered a tensor of shape {tuple(z.shape)}, but the "
            f"heads were built for [N, {width}]. Expected dimension 1 to be {width} in every "
            "batch: correct its `output_size`, or pool what varies inside it."
        )
    assert isinstance(z, Tensor)
    return z


def representation_width(encoder: nn.Module, example: Any = None) -> int:
    """Width (dimension 1) of what `encoder` answers: declared, or found by a dry run.

    Declared by its integer attribute `output_size`, else measured on `example`, one input
    batch as the model will get it; given both, they are compared. The dry run is in eval mode
    without gradients, and leaves mode and random state as they were. Raises `UserError` when
    neither is there, when the encoder fails on the example, and for an answer no head can read.
    """
    declared = getattr(encoder, "output_size", None)
    if declared is None and example is None:
        raise UserError(
            f"expected the width of what the encoder {_called(encoder)} answers, found neither an "
            "attribute `output_size` nor an example. Pass example=<one batch of inputs>, or set "
            "encoder.output_size."
        )
    if declared is not None and (type(declared) is not int or declared < 1):
        raise UserError(
            f"encoder.output_size must be a whole number above 0, found {declared!r}. "
            "Set it to the size of dimension 1 of the encoder's output."
        )
    if example is None:
        assert declared is not None
        return int(declared)
    modes = [(module, module.training) for module in encoder.modules()]
    try:
        with (
            foreign(
                lambda what: (
                    f"the encoder {_called(encoder)} could not read the example batch "
                    f"({_shapes(example)}): {what}. Correct the module, or the batch, to be as the "
                    "model will get it; several entries come as one dictionary."
                )
            ),
            torch.no_grad(),
            torch.random.fork_rng(devices=[]),
        ):
            z = encode(encoder.eval(), example, declared)
    finally:
        for module, training in modes:
            module.training = training
    return z.shape[1]


def _check_representation(encoder: nn.Module, z: object) -> None:
    """Raise `UserError` unless `z` is a floating tensor [N, d] or [N, C, H, W, ...]."""
    called = _called(encoder)
    wanted = "Expected one floating-point tensor, [N, d] or [N, C, H, W]"
    if isinstance(z, list | tuple):
        raise UserError(
            f"the encoder {called} answered a {type(z).__name__} of {len(z)}. {wanted}: wrap the "
            "encoder in a module that returns the one that the tasks share."
        )
    if not isinstance(z, Tensor):
        raise UserError(
            f"the encoder {called} answered a {type(z).__name__}. {wanted}. Wrap it in a module "
            "that returns the tensor the tasks share."
        )
    if not z.is_floating_point() or z.dim() < 2:
        raise UserError(
            f"the encoder {called} answered a tensor of shape {tuple(z.shape)} and type "
            f"{z.dtype}. {wanted}: wrap it in a module that returns one."
        )
    if z.dim() == 3:
        raise UserError(
            f"the encoder {called} answered a tensor of shape {tuple(z.shape)}, which may be [N, "
            f"channels, length] or [N, length, width]. {wanted}: pool the length inside the "
            "encoder, or return [N, channels, length, 1]."
        )


def _filled(x: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of `x` that hold anything; a table without categories has `[N, 0]` there."""
    return {
        name: value
        for name, value in x.items()
        if not (isinstance(value, Tensor) and value.dim() > 1 and value.shape[1] == 0)
    }


def _called(encoder: nn.Module) -> str:
    return type(encoder).__name__


def _shapes(x: Any) -> str:
    """The shapes in a batch, for a message."""
    if isinstance(x, Tensor):
        return f"a tensor {tuple(x.shape)}"
    if isinstance(x, Mapping):
        inside = ", ".join(f"{name}: {_shapes(value)}" for name, value in x.items())
        return f"a dictionary of {inside}"
    return f"a {type(x).__name__}"
