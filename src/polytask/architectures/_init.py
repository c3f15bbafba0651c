"""Initial weights: drawn anew for a copy, and the same for a task whatever its company.

All of it follows from `torch.manual_seed`. A task's head (or its own copy of an encoder) is
drawn from a stream that depends on the seed and the task's *name* only, so a network of one
task and a network of many start with the same head for that task, and runs are paired.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def draw_seed() -> int:
    """One number from torch's CPU generator: the only draw an architecture makes from it."""
    return int(torch.randint(2**62, (), device="cpu"))


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Inside, torch's CPU generator is a stream of its own for `(seed, name)`; restored after.

    Weights that live on an accelerator are drawn from its generator, which this leaves alone:
    build on the CPU and move the model for weights that do not depend on the other tasks.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    state = torch.get_rng_state()
    # Only the CPU's generator: `torch.manual_seed` would also reseed every accelerator.
    torch.default_generator.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    try:
        yield
    finally:
        torch.set_rng_state(state)


def reinitialise(module: nn.Module) -> tuple[str, ...]:
    """Draw the parameters of `module` anew, in place, by each submodule's own initialisation.

    Calls `reset_parameters` (or `_reset_parameters`, as in `nn.MultiheadAttention`) of every
    submodule, children before parents: the order in which a constructor draws, so that a
    parent's choice wins. Buffers such as running statistics are reset by the same call. A model of
    transformers then draws all its parts by its own rule, `_init_weights`, as when it was built.

    A submodule with parameters of its own and no such method **keeps the weights it has**
    (a class token held as a bare `nn.Parameter`, parametrised weights). No warning is given;
    the dotted names of those submodules are returned ('' is `module` itself). Give the class
    a `reset_parameters(self)` to have it drawn anew.
    """
    kept: list[str] = []
    for name, part in _children_first(module, "", set()):
        reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
        if callable(reset):
            reset()
        elif next(part.parameters(recurse=False), None) is not None:
            kept.append(name)
        rule = rule_of(part)
        if rule is not None:
            drawn = [n for n, p in _children_first(part, name, set()) if _drawn_by(rule, p)]
            kept = [name for name in kept if name not in drawn]
    return tuple(kept)


def rule_of(part: nn.Module) -> Callable[[nn.Module], None] | None:
    """`_init_weights(submodule)` of a model of transformers, or of a stage cut from one."""
    homes = ("transformers.", "polytask.architectures.backbones.")
    if not any(base.__module__.startswith(homes) for base in type(part).__mro__):
        return None
    rule: Callable[[nn.Module], None] | None = getattr(part, "_init_weights", None)
    return rule


@torch.no_grad()
def _drawn_by(rule: Callable[[nn.Module], None], part: nn.Module) -> bool:
    """Whether the rule has drawn all parameters that `part` itself holds; others keep theirs."""
    before = {p: p.clone() for p in part.parameters(recurse=False)}
    for tensor in (*before, *part.buffers(recurse=False)):
        # What came from a file is marked, and transformers draws no marked tensor.
        if hasattr(tensor, "_is_hf_initialized"):
            del tensor._is_hf_initialized
    for parameter in before:
        parameter.fill_(math.nan)  # so that what the rule leaves alone is seen
    rule(part)
    left = {p: p.isnan() for p in before}
    for parameter, old in before.items():
        parameter.copy_(torch.where(left[parameter], old, parameter))
    return not any(bool(missed.any()) for missed in left.values())


def fresh_copy(module: M, seed: int, name: str) -> tuple[M, tuple[str, ...]]:
    """A copy drawn anew from the stream `(seed, name)`, and the submodules that kept theirs.

    Frozen parameters keep their values: nothing would train what is drawn in their place.
    """
    copied = copy.deepcopy(module)
    with seeded(seed, name):
        kept = reinitialise(copied)
    _keep_frozen(module, copied)
    return copied, kept


@torch.no_grad()
def _keep_frozen(first: nn.Module, copied: nn.Module) -> None:
    """Give back to a copy the frozen parameters, and the buffers beside them."""
    for old, new in zip(first.modules(), copied.modules(), strict=True):
        own = dict(old.named_parameters(recurse=False))
        frozen = {name for name, parameter in own.items() if not parameter.requires_grad}
        if frozen and len(frozen) == len(own):
            frozen |= {name for name, _ in old.named_buffers(recurse=False)}
        for name in frozen:
            getattr(new, name).copy_(getattr(old, name))


def copies(
    encoder: M, names: Collection[str], seed: int, *, fresh: bool = True
) -> tuple[dict[str, M], tuple[str, ...]]:
    """One copy of `encoder` a name, each drawn anew from its own stream unless `fresh` is False.

    A lone copy has nothing to differ from and keeps the weights of `encoder`. The second answer
    names the submodules that could not be drawn anew.
    """
    if not fresh or len(names) == 1:
        return {name: copy.deepcopy(encoder) for name in names}, ()
    made = {name: fresh_copy(encoder, seed, f"encoder/{name}") for name in names}
    return {name: one for name, (one, _) in made.items()}, next(iter(made.values()))[1]


def _children_first(
    module: nn.Module, name: str, seen: set[nn.Module]
) -> Iterator[tuple[str, nn.Module]]:
    """Every distinct submodule with its dotted name, in the order of construction."""
    if module in seen:
        return
    seen.add(module)
    for key, child in module.named_children():
        yield from _children_first(child, f"{name}.{key}" if name else key, seen)
    yield name, module
