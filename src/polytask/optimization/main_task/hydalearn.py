"""HydaLearn: helpers weighed by what a step on each of them wins for the main task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.problem import Problem, check_finite, pose, total
from polytask.kernel.shift import Closure, unnoticed
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import check_range, check_word
from polytask.optimization.main_task._main import MainTask

Metric = Callable[[Mapping[str, Any]], Tensor | float]
# What the gains are made of: the statistic, the needs, and how many batches a step reads.
READS: dict[tuple[str, str], tuple[Any, tuple[str, ...], int]] = {
    ("first_order", "same"): ("gramian", (), 1),
    ("first_order", "next"): ("cross", ("batches",), 2),
    ("first_order", "validation"): ("row", ("closure", "validation"), 1),
    ("exact", "same"): ("gains", ("closure",), 1),
    ("exact", "next"): ("gains", ("batches", "closure"), 2),
    ("exact", "validation"): ("gains", ("validation",), 1),
}


class HydaLearn(MainTask):
    """Weights in proportion to the gain of the main task from a step on each task alone.

    In every mini-batch: gain_t = M(theta) - M(theta - inner_lr g_t), where M is the main loss and
    the step moves the shared parameters only; w_t = max(gain_t, 0) / sum of the same. A weight
    follows both the training, as helpers become useful or useless, and the mini-batch
    (Verboven et al. 2020, https://arxiv.org/abs/2008.11643).

    A reconstruction: the official repository does not hold the method. The abstract says that
    weights come from the gain in a metric of the main task, for every mini-batch anew; that
    weights are in proportion to gains is known at second hand. The first-order form, what happens
    to negative gains, and where the gains are judged are choices made here.

    *First order* (default): gain_t = inner_lr <grad M, g_t>, read from the main row of the
    Gramian; the length cancels out. *Exact*: the virtual steps are taken. Parameters, buffers
    and random states are restored bit for bit, the optimizer's state is never touched, and all
    looks of one step see the same random numbers. It sees curvature: a task orthogonal to the
    main one has a negative gain. Gains near the rounding of the losses are noise: in float32
    choose no inner_lr much below the learning rate.

    Without any positive gain the main task is alone. In a step without the main task's loss no
    task has shown that it helps, and all weights are 0; judged on validation the helpers have,
    and their weights sum to 1 (all 0 without a positive gain). Where the main task has no label
    in the batch that is judged on, no gain is known, so the main task is alone.

    Cost: first order, that of the statistic and one backward pass. Exact: T + 1 backward passes,
    one of them the step's, T + 1 forward passes without a graph, and a copy of the shared
    parameters. 'validation' in first order: a forward and backward pass over the held-out batch
    and two forward passes without a graph, whatever T; 'next': twice the statistic. No state but
    the running gains. Heads are plain: a helper's head learns where its weight is 0.

    Args:
        main: the main task's name, or its row; the first task by default.
        look_ahead: 'first_order' or 'exact'.
        evaluate: the data that M is computed on: 'same' (this batch), 'validation' (needs
            `validation=`), or 'next', another training batch: `backward([judged, batch])` steps
            on the second. Exact looks need `closure=`, with 'next' one for the judged batch.
        metric: for exact looks, what the step should lower in place of the main loss: a function
            of what `closure` (or `validation`, which may hold more than losses) returns to a
            number, lower being better. Not settable from YAML.
        inner_lr: length of the virtual step: the learning rate of the network.
        normalise: 'sum', weights sum to 1; 'main', the main weight is 1 (the main task is alone
            where its own gain is not positive).
        smooth_gains: in [0, 1), a running mean of each task's gain keeps this share of its past.
        options: those of every `Balancer`.

    Raises:
        UserError: a need that was not supplied, or options that contradict each other.
        NonFiniteError: a loss, a gain, or what is judged by is not finite.
    """

    statistic_kind = "gramian"
    default_heads = "plain"

    def __init__(
        self,
        main: str | int = 0,
        look_ahead: Literal["first_order", "exact"] = "first_order",
        evaluate: Literal["same", "next", "validation"] = "same",
        metric: Metric | None = None,
        inner_lr: float = 0.01,
        normalise: Literal["sum", "main"] = "sum",
        smooth_gains: float = 0.0,
        **options: Any,
    ) -> None:
        check_word("look_ahead", look_ahead, ("first_order", "exact"))
        check_word("evaluate", evaluate, ("same", "next", "validation"))
        check_word("normalise", normalise, ("sum", "main"))
        if metric is not None and look_ahead != "exact":
            raise UserError("metric= has no gradient to read; it needs look_ahead='exact'.")
        if not inner_lr > 0:
            raise UserError(f"inner_lr must be positive, found {inner_lr}.")
        check_range("smooth_gains", smooth_gains, 0)
        if not smooth_gains < 1:
            raise UserError(f"smooth_gains must be below 1, found {smooth_gains}.")
        self.statistic_kind, self.needs, self.batches = READS[look_ahead, evaluate]
        super().__init__(main, **options)
        self.look_ahead = look_ahead
        self.evaluate = evaluate
        self.metric = metric
        self.inner_lr = inner_lr
        self.normalise = normalise
        self.smooth_gains = smooth_gains
        # Only helpers that are judged on held-out data can be weighed in a batch without it.
        self.steps_without_main = evaluate == "validation"

    def row_vector(
        self,
        problem: Problem,
        parameters: Sequence[Tensor],
        closure: Closure | None,
        validation: Closure | None,
    ) -> Sequence[Tensor]:
        """First order on held-out data: the gradient of the main loss there."""
        assert validation is not None, "checked by the balancer"
        zeros = [torch.zeros_like(parameter) for parameter in parameters]
        with unnoticed(parameters):
            losses = validation()
            main = self._name(problem)
            if main not in losses:
                return zeros
            held_out = pose({main: losses[main]})
            check_finite(held_out.values, held_out.tasks, "validation loss")
            found = torch.autograd.grad(held_out.losses[0], parameters, allow_unused=True)
        return [zero if one is None else one for zero, one in zip(zeros, found, strict=True)]

    def judge(
        self, problem: Problem, closure: Closure | None, validation: Closure | None
    ) -> Tensor | None:
        """The main loss, or the metric, on the data that steps are judged on."""
        main = self._name(problem)
        if self.evaluate != "validation" and main not in problem.tasks:
            return None
        look = validation if self.evaluate == "validation" else closure
        assert look is not None, "checked by the balancer"
        returned = look()
        if self.metric is not None:
            return torch.as_tensor(self.metric(returned)).detach()
        return total(main, returned[main]).detach() if main in returned else None

    def decide(self, statistic: Statistic) -> Tensor:
        """The positive gains, normalised."""
        row = self.row(statistic.tasks)
        gains = self._gains(statistic, row)
        if gains is None:
            return torch.zeros(len(statistic), dtype=torch.float64)
        if self.smooth_gains:
            past = [self.table.get(("gain", t), gains[i]) for i, t in enumerate(statistic.tasks)]
            gains = torch.lerp(gains, torch.stack(past).to(gains), self.smooth_gains)
            self.store("gain", statistic.tasks, gains)
        weights = gains.clamp_min(0)
        by_main = self.normalise == "main" and row is not None
        whole = weights[row] if by_main else weights.sum()
        if bool(whole > 0):
            return weights / whole
        weights = torch.zeros_like(weights)
        if row is not None:
            weights[row] = 1.0
        return weights

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """1, or as many as there are tasks when the main weight is 1."""
        return 1.0 if self.normalise == "sum" else float(len(tasks))

    def _gains(self, statistic: Statistic, row: int | None) -> Tensor | None:
        """The gain of every present task, but for a factor; None where none can be known."""
        if row is None and self.evaluate != "validation":
            return None
        if self.statistic_kind == "gains":
            return statistic.need_gains()
        if self.statistic_kind == "row":
            return statistic.need_row()
        table = statistic.gramian if self.statistic_kind == "gramian" else statistic.need_cross()
        assert table is not None, "the method's statistic_kind is 'gramian'"
        return table[row]

    def _name(self, problem: Problem) -> str:
        """The main task's name."""
        if isinstance(self.main, str):
            return self.main
        row = self.row(problem.tasks)
        assert row is not None, "a row that is not there is refused"
        return problem.tasks[row]
