"""Numbers that a balancer learns by itself, one a task, stepped by Adam."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from polytask.optimization.state import NamedState

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def adam_step(
    state: NamedState,
    name: str,
    tasks: Sequence[str],
    gradient: Tensor,
    lr: float,
    weight_decay: float = 0.0,
) -> None:
    """One Adam step (Kingma & Ba 2015) on the entry `name` of the present tasks.

    The moments and the step count are entries too, so they are saved with the rest. A task
    that is absent in a step keeps its value and its moments.

    Args:
        state: the balancer that holds the entry.
        name: the entry; it must exist for every task of `tasks`.
        tasks: the present tasks.
        gradient: shape [T].
        lr: learning rate of these numbers.
        weight_decay: classic L2 term, added to the gradient.
    """
    value = state.entry(name, tasks, 0.0, gradient)
    first = state.entry(f"{name}.first", tasks, 0.0, gradient)
    second = state.entry(f"{name}.second", tasks, 0.0, gradient)
    count = state.entry(f"{name}.count", tasks, 0.0, gradient) + 1
    gradient = gradient + weight_decay * value
    first = torch.lerp(gradient, first, BETA1)
    second = torch.lerp(gradient.square(), second, BETA2)
    unbiased = first / (1 - BETA1**count)
    spread = (second / (1 - BETA2**count)).sqrt()
    state.store(name, tasks, value - lr * unbiased / (spread + EPSILON))
    state.store(f"{name}.first", tasks, first)
    state.store(f"{name}.second", tasks, second)
    state.store(f"{name}.count", tasks, count)


def in_first_units(state: NamedState, name: str, values: Tensor) -> Tensor:
    """`values` in units of the mean size they had when they were first not all zero.

    Adam cancels a constant factor of the gradient except beside its absolute epsilon, so
    gradients with a unit (that of a loss, squared) are divided by a constant of the run before
    they are learned from. The constant is an entry, `name.unit`, and is saved with the rest.
    """
    size = values.abs().mean()
    if not state.has(f"{name}.unit"):
        if float(size) == 0.0:
            return values
        state.table[f"{name}.unit", ""] = size.detach().clone()
    return values / state.table[f"{name}.unit", ""].to(values)
