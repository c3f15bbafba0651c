"""Where a model of another library can be cut, seen by watching one pass of it.

Names of attributes differ from model to model and change with the versions of a library. What a
pass does is certain: these modules ran one after the other, each read the very tensor that the
one before it answered, and all were given the same other arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Call:
    """One call of a submodule: the features it read, its other arguments, and what it answered."""

    name: str
    read: Any
    beside: tuple[Any, ...]
    named: Mapping[str, Any]
    answer: Any


@dataclass(frozen=True)
class Seen:
    """What one pass of a model showed."""

    answer: Tensor
    unused: frozenset[str]
    """Trainable parameters that the answer does not depend on: poolers, heads."""
    stages: tuple[Call, ...] = ()
    """The calls of its stages; none where it has no chain of them."""
    exit: str = ""
    """The module between the last stage and the answer; '' where there is none."""
    early: frozenset[str] = frozenset()
    """Modules that ran before the first stage."""


def features_first(
    args: Sequence[Any], named: Mapping[str, Any]
) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """What a stage is called with: the features, the other arguments, those by name."""
    if args:
        return args[0], tuple(args[1:]), dict(named)
    others = dict(named)
    return others.pop("hidden_states", None), (), others


def first_of(answer: Any) -> Any:
    """The features among what a layer answers: some answer `(features, attention weights)`."""
    return answer[0] if isinstance(answer, tuple) and answer else answer


def watch(model: nn.Module, answer: Callable[[], Tensor], chains: Iterable[Sequence[str]]) -> Seen:
    """One pass of a model, made by `answer()`, and the first of `chains` that it runs through.

    `chains` are names of submodules that may be its stages, in order. With gradients, in the mode
    that the model is in.
    """
    calls: list[Call] = []

    def note(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, named: Any, output: Any) -> None:
            calls.append(Call(name, *features_first(args, named), first_of(output)))

        return hook

    handles = [
        module.register_forward_hook(note(name), with_kwargs=True)
        for name, module in model.named_modules()
        if name
    ]
    try:
        with torch.enable_grad():
            z = answer()
            unused = _unused(model, z)
    finally:
        for handle in handles:
            handle.remove()
    for chain in chains:
        stages = [call for name in chain for call in calls if call.name == name]
        way_out = _exit(calls, stages[-1], z) if _chained(stages, chain) else None
        if way_out is not None:
            early = frozenset(call.name for call in calls[: calls.index(stages[0])])
            return Seen(z, unused, tuple(stages), way_out, early)
    return Seen(z, unused)


def containers(model: nn.Module) -> list[list[str]]:
    """Names of the children of every list of modules that all learn, the largest list first."""
    found = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential) or not name:
            continue
        children = dict(module.named_children())
        if children and all(next(c.parameters(), None) is not None for c in children.values()):
            size = sum(p.numel() for p in module.parameters())
            found.append((size, [f"{name}.{key}" for key in children]))
    return [names for _, names in sorted(found, key=lambda one: -one[0])]


def _chained(stages: Sequence[Call], names: Sequence[str]) -> bool:
    """Whether each was called once, on what the one before answered, all else being the same."""
    if [call.name for call in stages] != list(names):
        return False
    first = stages[0]
    tensors = [first.read, *(call.answer for call in stages)]
    return all(isinstance(t, Tensor) and t.is_floating_point() for t in tensors) and all(
        after.read is before.answer and _same(after, first) for before, after in pairwise(stages)
    )


def _same(one: Call, other: Call) -> bool:
    """Whether two calls were given the very same arguments beside the features."""
    return (
        len(one.beside) == len(other.beside)
        and set(one.named) == set(other.named)
        and all(a is b for a, b in zip(one.beside, other.beside, strict=True))
        and all(value is other.named[name] for name, value in one.named.items())
    )


def _exit(calls: Sequence[Call], last: Call, z: Tensor) -> str | None:
    """The module that makes the answer of what the last stage answered; None: it is not one."""
    if last.answer is z:
        return ""
    made = [c for c in calls if c.read is last.answer and c.answer is z and not c.beside]
    return min((c.name for c in made if not c.named), key=len, default=None)


def _unused(model: nn.Module, z: Tensor) -> frozenset[str]:
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trainable or not z.requires_grad:
        return frozenset()
    gradients = torch.autograd.grad(z.sum(), list(trainable.values()), allow_unused=True)
    return frozenset(n for n, g in zip(trainable, gradients, strict=True) if g is None)
