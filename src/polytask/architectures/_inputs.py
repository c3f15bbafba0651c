"""What goes into an encoder and what must come out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

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


def unwrapped(x: Any) -> Any:
    """A dictionary with one filled entry as that tensor; anything else as it is.

    So plain torch modules work on the batches of `polytask.data`.
    """
    if isinstance(x, Mapping):
        filled = _filled(x)
        if len(filled) == 1:
            return next(iter(filled.values()))
    return x


def encode(encoder: nn.Module, x: Any, width: int | None = None) -> Tensor:
    """Run the encoder and check its answer: [N, width], [N, width, ...] or [N, ..., width].

    A dictionary with one filled entry reaches a module as that tensor; a module with a true
    attribute `takes_dict` gets the dictionary itself, and so does every module when it has
    several entries. Raises `UserError` for an answer that no head can read.
    """
    z = encoder(x if getattr(encoder, "takes_dict", False) else unwrapped(x))
    check_representation(encoder, z, width)
    assert isinstance(z, Tensor)
    return z


def channel_dim_of(encoder: nn.Module) -> int:
    """Which dimension of what the encoder answers holds channels: its `channel_dim`, else 1."""
    return int(getattr(encoder, "channel_dim", 1))


def representation_width(encoder: nn.Module, example: Any = None) -> int:
    """Width (channels) of what `encoder` answers: declared, or found by a dry run.

    Declared by its integer attribute `output_size`, else measured on `example`, one input
    batch as the model will get it; given both, they are compared. Raises `UserError` when
    neither is there, when the encoder fails on the example, and for an answer no head can read.
    """
    # A model of another library says its width, and answers a tensor, only by its adapter.
    from polytask.architectures.stages import adapted

    encoder = adapted(encoder)
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
            "Set it to the number of channels of the encoder's output."
        )
    if example is None:
        assert declared is not None
        return int(declared)
    z = dry_run(encoder, lambda x: encode(encoder, x, declared), example)
    return int(z.shape[channel_dim_of(encoder)])


T = TypeVar("T")


def dry_run(encoder: nn.Module, look: Callable[[Any], T], example: Any) -> T:
    """What `look` finds on one batch, in eval mode and without gradients.

    Mode and random state are left as they were. Raises `UserError` when the encoder cannot read
    the example.
    """
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
            encoder.eval()
            return look(example)
    finally:
        for module, training in modes:
            module.training = training


def check_representation(encoder: nn.Module, z: object, width: int | None) -> None:
    """Raise `UserError` unless `z` is a floating tensor with `width` channels (any if None)."""
    called = _called(encoder)
    said = hasattr(encoder, "channel_dim") and getattr(encoder, "layout_known", True)
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
    if z.dim() == 3 and not said:
        raise UserError(
            f"the encoder {called} answered a tensor of shape {tuple(z.shape)}, which may be [N, "
            f"channels, length] or [N, length, channels]. Expected to know which: set "
            "encoder.channel_dim to 1 or to -1."
        )
    dim = channel_dim_of(encoder)
    if width is not None and z.shape[dim] != width:
        which = "dimension 1" if dim == 1 else "the last dimension"
        layout = f"[N, {width}]" if dim == 1 else f"[N, ..., {width}]"
        raise UserError(
            f"the encoder {called} answered a tensor of shape {tuple(z.shape)}, but the "
            f"heads were built for {layout}. Expected {which} to be {width} in every "
            "batch: correct its `output_size`, or pool what varies inside it."
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
