"""Smooth Tchebycheff scalarisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer, check_range, check_word
from polytask.optimization.loss_weighting._epoch_means import add_losses, close_epoch
from polytask.optimization.loss_weighting._losses import first_losses, need_positive


class STCH(Balancer):
    """A smooth maximum of the losses: the task that is worst off gets most of the weight.

    minimise mu log sum_t exp(v_t / mu), which lies between max v and max v + mu log T (Lin et
    al. 2024, https://arxiv.org/abs/2402.19078, eq. 9); mu -> 0 is the Tchebycheff maximum, large
    mu the mean. What v is decides what 'worst off' means:

    - normalization='none' is the paper's v_t = preference_t (L_t - ideal_t), in the units of
      the losses; the weights sum to the mean preference.
    - normalization='nadir' (default) is what the official code trains networks with:
      v_t = log((L_t - ideal_t) / nadir_t), free of units, with T times the smooth maximum as
      the objective. For `warmup_epochs` epochs the objective is sum_t log(L_t - ideal_t), and
      the nadir is the task's mean loss in the last of them in which it was present. A task that
      is first seen later takes its first loss as its nadir.

    With 'nadir' call `balancer.observe(epoch=...)` at the end of every epoch: the warm-up ends
    by it. Cost: one backward pass; four numbers of state a task. Raises `UserError` when a loss
    is not above its ideal ('nadir' only). Deviations of the official code: it warms up for one
    epoch more, in which it takes the mean, it has no ideal, and it adds 1e-20 inside the
    logarithm. scale='sum' under 'nadir' divides by the weights 1 / L_t of the first step.

    Args:
        mu: smoothness, in the units of v.
        normalization: 'nadir' or 'none', see above.
        warmup_epochs: for 'nadir'; 0 takes the first losses as the nadir.
        ideal: task name to the lowest loss one could hope for; 0 when not named.
        preference: task name to weight, for 'none'; 1 when not named.
        options: those of every `Balancer`.
    """

    needs = ("epoch",)

    def __init__(
        self,
        mu: float = 1.0,
        normalization: Literal["nadir", "none"] = "nadir",
        warmup_epochs: int = 4,
        ideal: Mapping[str, float] | None = None,
        preference: Mapping[str, float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_word("normalization", normalization, ("nadir", "none"))
        check_range("warmup_epochs", warmup_epochs, 0)
        if not mu > 0:
            raise UserError(f"mu of stch must be positive, found {mu}.")
        if preference and normalization == "nadir":
            raise UserError(
                "preference needs normalization='none'; under 'nadir' it has no effect."
            )
        if any(not value > 0 for value in (preference or {}).values()):
            raise UserError(
                f"preferences of stch must be positive, found {dict(preference or {})}."
            )
        self.mu = mu
        self.normalization = normalization
        self.warmup_epochs = warmup_epochs
        self.ideal = dict(ideal or {})
        self.preference = dict(preference or {})

    def decide(self, statistic: Statistic) -> Tensor:
        """The derivative of the smooth maximum by each loss."""
        tasks = statistic.tasks
        gap = statistic.losses - self._named(self.ideal, tasks, 0.0)
        if self.normalization == "none":
            preference = self._named(self.preference, tasks, 1.0)
            return preference * slopes(preference * gap, self.mu)
        need_positive("stch", tasks, gap, remedy="state what it can reach at best with ideal=")
        first = first_losses(self, tasks, gap)
        if self._epochs() < self.warmup_epochs:
            add_losses(self, tasks, gap)
            return 1 / gap
        late = [i for i, task in enumerate(tasks) if not self.has("nadir", task)]
        self.store("nadir", [tasks[i] for i in late], first[late])
        values = torch.log(gap / self.entry("nadir", tasks, 1.0, gap))
        return len(tasks) * slopes(values, self.mu) / gap

    def observe(
        self, *, scores: Mapping[str, float] | None = None, epoch: int | None = None
    ) -> None:
        """With `epoch`, the running epoch is over; the last of the warm-up leaves the nadir."""
        super().observe(scores=scores, epoch=epoch)
        means = close_epoch(self) if epoch is not None else {}
        if means:
            self.table["epochs", ""] = torch.tensor(self._epochs() + 1)
        for task, mean in means.items():
            self.table["nadir", task] = mean

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """'none': the mean preference; 'nadir': the sum of 1 / L when first seen."""
        if self.normalization == "none":
            return float(self._named(self.preference, tasks, 1.0).mean())
        one = torch.ones(len(tasks), dtype=torch.float64)
        return float((1 / first_losses(self, tasks, one)).sum())

    def _epochs(self) -> int:
        return int(self.table.get(("epochs", ""), torch.tensor(0)))

    @staticmethod
    def _named(table: Mapping[str, float], tasks: tuple[str, ...], default: float) -> Tensor:
        return torch.tensor([table.get(task, default) for task in tasks], dtype=torch.float64)


def smooth_maximum(values: Tensor, mu: float) -> Tensor:
    """mu log sum exp(values / mu), between max and max + mu log T."""
    top = values.max()
    return top + mu * torch.logsumexp((values - top) / mu, dim=0)


def slopes(values: Tensor, mu: float) -> Tensor:
    """The derivative of the smooth maximum: softmax(values / mu), for mu of any size."""
    return torch.softmax((values - values.max()) / mu, dim=0)
