"""A model of another library cut into entrance, stages and exit, all with its own modules."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from polytask.architectures._init import rule_of
from polytask.architectures._inputs import dry_run
from polytask.architectures._layout import Context
from polytask.architectures.backbones._watch import Seen, features_first, first_of, watch
from polytask.architectures.stages import Staged
from polytask.errors import UserError


class Library(Protocol):
    """How models of a library are called."""

    def read(self, x: Any) -> tuple[Any, dict[str, Any]]:
        """A batch as the model takes it, and what of it all stages read (a mask, say)."""

    def answer(self, model: nn.Module, inputs: Any) -> Tensor:
        """The representation that the model gives."""

    def channel_dim(self, z: Tensor) -> int:
        """Which dimension of that holds channels."""


class Backbone(Staged):
    """A model of another library as a chain of stages, with the very same parameters."""


def cut(
    model: nn.Module,
    library: Library,
    inputs: Any,
    chains: Iterable[Sequence[str]],
    channel_dim: int,
) -> Backbone:
    """`model` as stages: the first of `chains` that one pass on `inputs` runs through.

    One stage where there is none, and where `inputs` are None or the model cannot read them; then
    `channel_dim` is that of its answers. Parameters that the representation does not depend on
    are not part of it. Cost: one forward and backward pass of a batch of two.
    """
    seen = None
    if inputs is not None:

        def look(batch: Any) -> Seen:
            return watch(model, lambda: library.answer(model, batch), chains)

        try:
            seen = dry_run(model, look, inputs)
        except UserError:
            seen = None  # A made-up batch is not what it reads; the user's own may be.
    if seen is None:
        whole = Whole(model, library, channel_dim)
        return Backbone([whole], Read(library), channel_dim=channel_dim, takes_dict=True)
    dim = library.channel_dim(seen.answer)
    width = int(seen.answer.shape[dim])
    if not seen.stages:
        whole = Whole(shell(model, {}, seen.unused), library, dim)
        encoder = Backbone([whole], Read(library), channel_dim=dim, widths=[width], takes_dict=True)
    else:
        encoder = Backbone(
            [Part(model.get_submodule(call.name), model) for call in seen.stages],
            Until(_entrance(model, seen), library),
            Part(model.get_submodule(seen.exit), model, alone=True) if seen.exit else None,
            channel_dim=dim,
            widths=[int(call.answer.shape[dim]) for call in seen.stages],
            entrance_width=int(seen.stages[0].read.shape[dim]),
            takes_dict=True,
        )
    encoder.output_size = width
    return encoder


class Until(nn.Module):
    """A model's own code up to its first stage: what that reads, and as context all the rest."""

    def __init__(self, model: nn.Module, library: Library) -> None:
        super().__init__()
        self.model = model
        self.library = library

    def forward(self, x: Any) -> tuple[Tensor, Context]:
        """The features of the first stage; `beside` and `named` are its other arguments."""
        inputs, context = self.library.read(x)
        try:
            self.library.answer(self.model, inputs)
        except _Reached as reached:
            features, beside, named = reached.args
            return features, {**context, "beside": beside, "named": named}
        raise UserError(
            f"{type(self.model).__name__} went past its first stage on this batch, and not on the "
            "one it was cut by. Wrap it in a module of one stage that answers the representation."
        )


class _Reached(Exception):  # noqa: N818 - it says where we are, and is always caught
    """The first stage was called; its arguments are the features, the others, those by name."""


class _Gate(nn.Module):
    """Stands where the first stage was, and goes no further."""

    def forward(self, *args: Any, **named: Any) -> Tensor:
        raise _Reached(*features_first(args, named))


class Part(nn.Module):
    """One stage of a model, or (`alone`) its exit, called as the model calls it."""

    takes_context = True

    def __init__(self, module: nn.Module, model: nn.Module, alone: bool = False) -> None:
        super().__init__()
        self.module = module
        self.alone = alone
        # In a tuple, so that it is no submodule: a model without parts, for its `_init_weights`.
        self.rule = (bare(model),) if rule_of(model) is not None else ()

    def forward(self, h: Tensor, context: Context) -> Tensor:
        """The next features."""
        if self.alone:
            context = {}
        answer = self.module(h, *context.get("beside", ()), **context.get("named", {}))
        after: Tensor = first_of(answer)
        return after

    @property
    def _init_weights(self) -> Callable[[nn.Module], None] | None:
        """How the model draws the weights of its submodules, see `reinitialise`."""
        return rule_of(self.rule[0]) if self.rule else None


class Read(nn.Module):
    """The entrance of a model that is one stage: a batch as it takes it, and the context."""

    def __init__(self, library: Library) -> None:
        super().__init__()
        self.library = library

    def forward(self, x: Any) -> tuple[Any, Context]:
        """What the model is called with, and what heads read beside its answer."""
        return self.library.read(x)


class Whole(nn.Module):
    """A model as one stage that answers the representation alone, not an object around it."""

    def __init__(self, model: nn.Module, library: Library, channel_dim: int) -> None:
        super().__init__()
        self.model = model
        self.library = library
        self.channel_dim = channel_dim

    def forward(self, inputs: Any) -> Tensor:
        """The representation. Raises `UserError` when its channels are where they were not."""
        z = self.library.answer(self.model, inputs)
        if (
            isinstance(z, Tensor)
            and z.dim() > 2
            and self.library.channel_dim(z) != self.channel_dim
        ):
            raise UserError(
                f"{type(self.model).__name__} answers shape {tuple(z.shape)}, whose channels were "
                f"expected in dimension {self.channel_dim}. Wrap it in a module that answers the "
                "representation and says so in its attribute channel_dim, 1 or -1."
            )
        return z


def _entrance(model: nn.Module, seen: Seen) -> nn.Module:
    """The model with a gate for its first stage, and nothing of what comes after that."""
    gone: dict[str, nn.Module | None] = {call.name: None for call in seen.stages}
    if seen.exit:
        gone[seen.exit] = None
    for name, module in model.named_modules():
        own = [f"{name}.{parameter}" for parameter, _ in module.named_parameters()]
        if name and own and name not in seen.early and seen.unused.issuperset(own):
            gone[name] = None
    return shell(model, {**gone, seen.stages[0].name: _Gate()}, seen.unused)


def shell(
    model: nn.Module,
    replaced: Mapping[str, nn.Module | None],
    unused: Collection[str],
    prefix: str = "",
) -> nn.Module:
    """`model` with some submodules replaced, beside the model itself, which stays as it is.

    All others, and all parameters, are the same objects. Those that nothing uses and that no
    module goes with become buffers: nothing would train them.
    """
    made = bare(model)
    made._buffers = dict(model._buffers)
    for name, parameter in model._parameters.items():
        if f"{prefix}{name}" in unused and parameter is not None:
            made._buffers[name] = parameter.detach()
        else:
            made._parameters[name] = parameter
    for name, child in model._modules.items():
        path = f"{prefix}{name}"
        if path in replaced:
            made._modules[name] = replaced[path]
        elif child is not None and any(p.startswith(f"{path}.") for p in (*replaced, *unused)):
            made._modules[name] = shell(child, replaced, unused, f"{path}.")
        else:
            made._modules[name] = child
    return made


def bare(model: nn.Module) -> nn.Module:
    """`model`, an object of the same class and settings, without its parts."""
    made = copy.copy(model)
    made._modules, made._parameters, made._buffers = {}, {}, {}
    return made
