"""Choices that are learned by gradient: Gumbel-softmax samples, their temperature, mixtures."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from polytask.architectures._numbers import counted
from polytask.errors import UserError

DESCENT = 0.8
"""Share of the planned steps after which the temperature is at its end."""
END = 0.1
"""The temperature there: a sample is then one-hot, nearly."""
UNPLANNED = 0.965
"""Rate where the length of the training is not known."""


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

    With a `rate` it is start * rate ** (steps // every), no less than `least`, however long the
    training is. With None and a plan it falls geometrically to `END` after the share `DESCENT` of
    the planned steps, whatever `every`; then choices are `settled`. With None and no plan the rate
    is `UNPLANNED`.

    Steps and plan are buffers, so that a loaded model goes on where the saved one was.
    """

    step: Tensor
    planned: Tensor

    def __init__(self, start: float, rate: float | None, every: int, least: float = 1e-2) -> None:
        super().__init__()
        if not start > 0:
            raise UserError(f"temperature must be above 0, found {start!r}.")
        if rate is not None and not 0 < rate <= 1:
            raise UserError(
                f"anneal must be in (0, 1], found {rate!r}; 1 keeps the temperature, None lets it "
                "fall within the training."
            )
        if every < 1:
            raise UserError(f"anneal_every must be at least 1 step, found {every!r}.")
        self.start, self.rate, self.every, self.least = start, rate, every, least
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("planned", torch.zeros((), dtype=torch.int64))

    @property
    def steps(self) -> int:
        """Optimizer steps so far."""
        return int(self.step)

    @property
    def total(self) -> int | None:
        """Planned steps of the training, None without a plan."""
        return int(self.planned) or None

    @property
    def settled(self) -> bool:
        """Whether a planned descent has ended."""
        descent = self._descent
        return descent is not None and self.steps >= descent

    @property
    def temperature(self) -> float:
        """Of the samples of the next step."""
        descent = self._descent
        if descent is not None:
            end = min(END, self.start)
            return max(self.start * (end / self.start) ** (self.steps / descent), end)
        rate = UNPLANNED if self.rate is None else self.rate
        decayed = self.start * rate ** (self.steps // self.every)
        return max(decayed, min(self.least, self.start))

    def plan(self, steps: int) -> None:
        """The training has so many steps, those done so far included.

        What is settled stays so: a longer training of the same model does not undo its choices.
        """
        steps = counted("steps", steps)
        if not self.settled:
            self.planned.fill_(steps)

    def advance(self) -> None:
        """One optimizer step more."""
        self.step += 1

    @property
    def _descent(self) -> int | None:
        """Steps over which the temperature falls by plan; None where there is none."""
        if self.rate is not None or self.total is None:
            return None
        return max(1, round(DESCENT * self.total))
