"""Choices that are learned by gradient: Gumbel-softmax samples, their temperature, mixtures."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from polytask.errors import UserError


def gumbel_softmax(logits: Tensor, temperature: float, hard: bool = False) -> Tensor:
    """A sample over the last axis, softmax((logits + G) / temperature) with Gumbel noise G.

    E. Jang, S. Gu, B. Poole, "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017,
    https://arxiv.org/abs/1611.01144. As the temperature goes to 0 it becomes one-hot, with the
    probabilities softmax(logits). `hard` answers the one-hot of the greatest entry with the
    gradient of the soft sample (straight-through); its entries are 0 and 1 to the bit. In
    float32 at least, whatever the type of the logits.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    tiny = torch.finfo(wide.dtype).tiny
    noise = -torch.empty_like(wide).exponential_().clamp(min=tiny).log()
    soft = ((wide + noise) / temperature).softmax(dim=-1)
    if not hard:
        return soft
    chosen = torch.zeros_like(soft).scatter(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
    # In this order: `soft - soft` is exactly 0, so nothing is added to the one-hot.
    return chosen + (soft - soft.detach())


def mixed(weights: Tensor, parts: Iterable[Tensor]) -> Tensor:
    """The sum of `parts`, each times its entry of `weights` [number of parts]."""
    # Weights without axes leave the parts in their type (bfloat16 stays what it is).
    terms = [weight * part for weight, part in zip(weights.unbind(), parts, strict=True)]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


class Annealed(nn.Module):
    """Counts optimizer steps, and from them the temperature of the samples.

    The count is a buffer, so that a loaded model goes on where the saved one was.
    """

    step: Tensor

    def __init__(self, start: float, rate: float, every: int, least: float = 1e-2) -> None:
        super().__init__()
        if not start > 0:
            raise UserError(f"temperature must be above 0, found {start!r}.")
        if not 0 < rate <= 1:
            raise UserError(f"anneal must be in (0, 1], found {rate!r}; 1 keeps the temperature.")
        if every < 1:
            raise UserError(f"anneal_every must be at least 1 step, found {every!r}.")
        self.start, self.rate, self.every, self.least = start, rate, every, least
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @property
    def steps(self) -> int:
        """Optimizer steps so far."""
        return int(self.step)

    @property
    def temperature(self) -> float:
        """start * rate ** (steps // every), no less than `least` (and `start`, if smaller)."""
        decayed = self.start * self.rate ** (self.steps // self.every)
        return max(decayed, min(self.least, self.start))

    def advance(self) -> None:
        """One optimizer step more."""
        self.step += 1
