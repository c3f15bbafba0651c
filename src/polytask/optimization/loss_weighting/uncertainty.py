"""Uncertainty weighting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer, check_word
from polytask.optimization.learned import adam_step


class Uncertainty(Balancer):
    """Learned log-variances weigh the losses by the tasks' homoscedastic uncertainty.

    With s_t = log sigma_t², minimise sum_t ½ exp(-s_t) L_t + ½ s_t for regression losses and
    exp(-s_t) L_t + ½ s_t for classification losses, over the network and s (Kendall, Gal &
    Cipolla 2018, https://arxiv.org/abs/1705.07115, eq. 7 and 10). At the optimum exp(s) = L
    (regression) or 2L (classification), so the weights become ½ / L_t. The objective may become
    negative. form='revised' replaces ½ s_t by log(1 + exp(s_t)), which never is (Liebel & Körner
    2018, https://arxiv.org/abs/1805.06334: log(1 + sigma²), without a half); its optimum is
    exp(s) = (a + sqrt(a² + 4 a)) / 2 with a = L / 2 (regression) or L (classification).

    Cost: one backward pass; three numbers of state a task. Deviation: the paper steps s with
    the network's optimizer; here the balancer steps it with Adam at its own `lr`, so that
    weight decay and schedules of the network do not touch it.

    Args:
        lr: learning rate of the log-variances.
        initial: starting value of every s (0 in the paper; -0.5 in much public code).
        kinds: task name to 'regression' or 'classification'; regression when not named.
        form: 'kendall' or 'revised', see above.
        options: those of every `Balancer`.
    """

    def __init__(
        self,
        lr: float = 0.01,
        initial: float = 0.0,
        kinds: Mapping[str, str] | None = None,
        form: Literal["kendall", "revised"] = "kendall",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_word("form", form, ("kendall", "revised"))
        self.form = form
        self.lr = lr
        self.initial = initial
        self.kinds = dict(kinds or {})
        for task, kind in self.kinds.items():
            check_word(f"kinds[{task!r}]", kind, ("regression", "classification"))

    def decide(self, statistic: Statistic) -> Tensor:
        """½ exp(-s) or exp(-s) at the current s, which is stepped afterwards."""
        tasks, losses = statistic.tasks, statistic.losses
        s = self.entry("log_variance", tasks, self.initial, losses)
        weights = self._factors(tasks).to(losses) * torch.exp(-s)
        pull = torch.full_like(s, 0.5) if self.form == "kendall" else torch.sigmoid(s)
        adam_step(self, "log_variance", tasks, pull - weights * losses, self.lr)
        return weights

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """The sum of the weights at the start."""
        return float(self._factors(tasks).sum() * torch.exp(torch.tensor(-self.initial)))

    def _factors(self, tasks: tuple[str, ...]) -> Tensor:
        named = [self.kinds.get(task, "regression") for task in tasks]
        return torch.tensor([1.0 if kind == "classification" else 0.5 for kind in named])
