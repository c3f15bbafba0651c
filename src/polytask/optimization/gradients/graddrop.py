"""Gradient sign dropout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.statistic import Statistic
from polytask.kernel.step import Step
from polytask.optimization.base import Balancer, Losses


class GradDrop(Balancer):
    """Each coordinate keeps the positive or the negative parts of the gradients, by chance.

    With P = ½ (1 + sum g_t / sum |g_t|) and U uniform in [0, 1), task t keeps its coordinate
    where it is positive and P > U, or negative and P <= U; what the tasks keep is summed (Chen
    et al. 2020, https://arxiv.org/abs/2010.06808, algorithm 1). Its mean is the plain sum.
    Where the signs agree nothing is dropped.

    With `features=` the gradients are those of the representation z, as in the paper: P is
    taken from sum over the batch (first axis) of sign(z) times the gradient, and one mask a
    feature serves the whole batch; the trunk then gets what flows from z. Otherwise they are
    those of the parameters that the statistic names, all shared ones by default.

    Cost: with features=, one walk of the heads more than a plain step; on parameters, T walks
    of the shared part and T x p numbers. No state but the generator. Heads are plain.
    Deviations: a coordinate whose batch sum is exactly zero has no sign and is kept; the
    paper's monotone function of P is the identity.

    Args:
        leak: share of the gradient that passes the mask, in [0, 1]: one number or task name to
            number (0 for tasks not named). Leaks that differ bias the mean.
        options: those of every `Balancer`; with `statistic` given, it is used even when
            features= is passed.
    """

    statistic_kind = "jacobian"
    default_heads = "plain"
    default_statistic = "exact"

    def __init__(self, leak: float | Mapping[str, float] = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.leak = dict(leak) if isinstance(leak, Mapping) else leak
        named = self.leak if isinstance(self.leak, dict) else {"leak": self.leak}
        for task, value in named.items():
            if not 0 <= value <= 1:
                raise UserError(f"leak must be in [0, 1], found {value} ({task}).")
        self._free_choice = options.get("statistic") is None

    def backward(
        self,
        losses: Losses | Sequence[Losses],
        *,
        statistic: str | None = None,
        **given: Any,
    ) -> Step:
        """As `Balancer.backward`; on the representation when features= is passed."""
        if self._free_choice and statistic is None and given.get("features") is not None:
            statistic = "features"
        return super().backward(losses, statistic=statistic, **given)

    def decide(self, statistic: Statistic) -> Tensor:
        """The direction, with the Jacobian's columns."""
        rows = statistic.need_jacobian()
        leak = self._leaks(statistic.tasks).to(rows)
        if not statistic.source.startswith("features"):
            return self._drop(rows, rows, leak, statistic.generator)
        if statistic.cut is None:
            raise UserError(
                "GradDrop on the representation needs its values: pass features= (the tensor "
                "that the heads read) to backward, or use statistic='exact'."
            )
        pieces = rows.split([z.numel() for z in statistic.cut], dim=1)
        kept = []
        for piece, z in zip(pieces, statistic.cut, strict=True):
            grads = piece.reshape(len(rows), *z.shape)
            signed = grads * z.detach().sign().to(grads)
            summed = signed.sum(dim=1, keepdim=True) if z.ndim > 1 else signed
            kept.append(self._drop(grads, summed, leak, statistic.generator).reshape(-1))
        return torch.cat(kept)

    def _drop(
        self, grads: Tensor, signed: Tensor, leak: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """Sum over tasks of the gradients behind the mask that `signed` [T, ...] makes."""
        total = signed.abs().sum(dim=0)
        purity = 0.5 * (1 + signed.sum(dim=0) / torch.where(total > 0, total, 1.0))
        source = generator.device if generator is not None else purity.device
        uniform = torch.rand(purity.shape, generator=generator, device=source).to(purity)
        up = purity > uniform
        mask = torch.where(up, signed >= 0, signed <= 0).to(grads.dtype)
        leak = leak.reshape(-1, *[1] * (grads.ndim - 1))
        return ((leak + (1 - leak) * mask) * grads).sum(dim=0)

    def _leaks(self, tasks: tuple[str, ...]) -> Tensor:
        if isinstance(self.leak, dict):
            return torch.tensor([float(self.leak.get(task, 0.0)) for task in tasks])
        return torch.full((len(tasks),), float(self.leak))
