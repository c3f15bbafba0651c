"""Gates: how much of every expert a task takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._heads import as_new
from polytask.architectures._init import seeded

Answer = Tensor | tuple[Tensor, ...]


class Gate(nn.Linear):
    """softmax(W g + b) over the experts: [N, width] to weights [N, experts] that sum to 1."""

    def forward(self, read: Tensor) -> Tensor:
        """Weights of the experts, item by item."""
        return super().forward(read).softmax(dim=-1)


NewGate = Callable[[int, int], nn.Module]
"""From what a gate reads, its width, and the number of experts to a gate."""


def gate_of_each(
    tasks: Iterable[str],
    new: NewGate,
    sizes: tuple[int, int],
    like: nn.Module,
    seed: int,
    level: str = "",
) -> dict[str, nn.Module]:
    """A gate of these sizes for each task, seeded by its name; `level` tells its gates apart."""
    return {task: drawn_gate(new, sizes, like, seed, f"{level}gate/{task}") for task in tasks}


def drawn_gate(
    new: NewGate, sizes: tuple[int, int], like: nn.Module, seed: int, name: str
) -> nn.Module:
    """A gate drawn from the stream `(seed, name)`, where the encoder `like` is."""
    # On the CPU first, so that the seeded stream decides whatever the default device.
    with seeded(seed, name), torch.device("cpu"):
        gate = new(*sizes)
    moved: nn.Module = as_new(gate, like)
    return moved


def normalised_entropy(weights: Tensor) -> Tensor:
    """Entropy over the last dimension in units of its greatest value, log E: in [0, 1].

    0: one expert has all the weight; 1: all have the same. One expert alone has entropy 0.

    >>> normalised_entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]])).tolist()
    [0.0, 1.0]
    """
    experts = weights.shape[-1]
    if experts == 1:
        return weights.new_zeros(weights.shape[:-1])
    return torch.special.entr(weights).sum(dim=-1) / math.log(experts)


def mean_weights(model: nn.Module, gates: Mapping[str, nn.Module], x: Any) -> dict[str, Tensor]:
    """What each of these gates inside `model` answers on one batch, averaged over its items.

    One forward pass in eval mode, without gradients; the mode is left as it was.
    """
    found: dict[str, Tensor] = {}

    def note(task: str, answer: Answer) -> None:
        weights = answer if isinstance(answer, Tensor) else answer[0]
        found[task] = weights if weights.dim() == 1 else weights.mean(dim=0)

    handles = [
        gate.register_forward_hook(lambda _, __, answer, task=task: note(task, answer))
        for task, gate in gates.items()
    ]
    try:
        with _evaluating(model), torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return {task: found[task] for task in gates}


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, every submodule is in eval mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
