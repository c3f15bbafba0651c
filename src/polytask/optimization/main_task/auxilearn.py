"""AuxiLearn: a combination of the losses learned by implicit differentiation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.problem import Problem, check_finite, pose
from polytask.kernel.shift import Closure, unnoticed
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import check_range, check_word
from polytask.optimization.main_task._combiner import Combiner, learn, recall
from polytask.optimization.main_task._implicit import inverse_hessian_times
from polytask.optimization.main_task._main import MainTask


class AuxiLearn(MainTask):
    """Losses combined so that the network they train to does well on held-out main data.

    The network minimises L_T = L_main + h(L), with h monotone and learned; the weight of a
    task is dL_T / dL_t >= 0. By the implicit function theorem the parameters phi of h descend
    on the held-out main loss along

        -grad L_val (d²L_T)^-1 d(grad L_T) / d phi = -d/dphi sum_t <p, g_t> dh/dL_t,
        p = alpha sum_{j=0..J} (I - alpha d²L_T)^j grad L_val

    (Navon et al. 2021, https://arxiv.org/abs/2007.02693). So T products <p, g_t> are enough;
    they come from one central difference along p. *Linear*: h = sum w_t L_t over the helpers.
    *Non-linear*: also s sum_j v_j softplus(sum_t u_jt L_t / s + b_j) over all tasks, v and u
    not negative, s a quarter of the first losses' sum. It starts as the linear one (v = 0), and its
    weights change with the losses from step to step.

    Needs `backward(losses, closure=..., validation=...)`. Cost: an ordinary step but for every
    `every`-th, the first among them. That one also takes a forward and backward pass on held-out
    data, a backward pass that keeps its own graph, J passes back through that graph (each about
    two ordinary ones), two forward passes without a graph, and memory for the graph of the
    gradient (about that of the forward pass again) and four copies of the shared parameters.
    State: four numbers a helper, and 4 (T + 2) a hidden unit. Parameters, buffers and random
    states are restored bit for bit. Heads take the weights.

    Deviations: theta is the shared parameters only, as for the other methods that look ahead,
    where the paper takes the whole network; h reads the losses of the batch, not those of every
    row; the main weight is 1 in the linear form, as only proportions matter to a minimum. The
    official code leaves out the last factor alpha of p, and is not followed in that; it makes no
    difference to the step, which is Adam in units of the first gradient (official: any optimizer;
    most scripts SGD). Its non-linear form has no linear path beside the hidden units and starts
    them at random. Clipping is in those units too. The step uses the h from before its update.

    Nothing bounds the weights above: an h that grows acts as a larger learning rate on the network
    and makes the series diverge. Lower `lr` and `alpha` where weights run away.

    Absent tasks are left out of h and keep their numbers. Without the main task the step is on
    the helpers with their weights. An update waits for a held-out batch that has main labels.

    Args:
        main: the main task's name, or its row; the first task by default.
        combiner: 'linear' or 'nonlinear'.
        hidden: units of the non-linear form.
        every: update phi every so many steps.
        lr: learning rate of phi (Adam). The paper tunes it.
        alpha: step of the series; below 2 / lambda_max of the Hessian for it to converge. The
            official code takes the network's learning rate.
        terms: J, the terms of the series beyond the first.
        clip: largest norm of phi's gradient, in units of its first mean size; 0 for none.
        initial: weight of every helper at the start.
        options: those of every `Balancer`.

    Raises:
        UserError: a layer cannot be differentiated twice, or a need was not supplied.
        NonFiniteError: a loss is not finite, also one on held-out data.
    """

    statistic_kind = "row"
    needs = ("closure", "validation")

    def __init__(
        self,
        main: str | int = 0,
        combiner: Literal["linear", "nonlinear"] = "linear",
        hidden: int = 3,
        every: int = 20,
        lr: float = 0.01,
        alpha: float = 0.01,
        terms: int = 3,
        clip: float = 10.0,
        initial: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(main, **options)
        check_word("combiner", combiner, ("linear", "nonlinear"))
        check_range("hidden", hidden, 1)
        check_range("every", every, 1)
        check_range("terms", terms, 0)
        for word, value in (("lr", lr), ("clip", clip), ("initial", initial)):
            check_range(word, value, 0)
        if not alpha > 0:
            raise UserError(f"alpha must be positive, found {alpha}.")
        self.combiner = combiner
        self.hidden = hidden if combiner == "nonlinear" else 0
        self.every = every
        self.lr = lr
        self.alpha = alpha
        self.terms = terms
        self.clip = clip
        self.initial = initial

    def row_vector(
        self,
        problem: Problem,
        parameters: Sequence[Tensor],
        closure: Closure | None,
        validation: Closure | None,
    ) -> Sequence[Tensor] | None:
        """p: the inverse Hessian times the held-out main gradient. None when no update is due."""
        assert validation is not None, "checked by the balancer"
        if self._wait() > 0:
            return None
        row = self.row(problem.tasks)
        main = self.main if isinstance(self.main, str) else problem.tasks[row or 0]
        with unnoticed(parameters):
            judged = validation()
            if main not in judged:
                return None
            held_out = pose({main: judged[main]})
            check_finite(held_out.values, held_out.tasks, "validation loss")
            found = torch.autograd.grad(held_out.losses[0], parameters, allow_unused=True)
        vector = [
            torch.zeros_like(p) if slope is None else slope
            for p, slope in zip(parameters, found, strict=True)
        ]
        if not bool(torch.isfinite(problem.values).all()):
            return None  # the policy of the kernel names the loss
        losses = [
            loss.to(torch.promote_types(loss.dtype, torch.float32)) for loss in problem.losses
        ]
        combined = self._combiner(problem.tasks, problem.values.cpu())(torch.stack(losses))
        return inverse_hessian_times(combined, parameters, vector, self.alpha, self.terms)

    def decide(self, statistic: Statistic) -> Tensor:
        """The slopes of L_T; phi is stepped afterwards where its gradient was measured."""
        tasks, losses, products = statistic.tasks, statistic.losses, statistic.row
        combiner = self._combiner(tasks, losses)
        wait = self._wait()
        # Products that are all zero, as with one task in the step, teach nothing.
        if wait == 0 and products is not None and bool(products.any()):
            learn(self, combiner, tasks, self.row(tasks), losses, products, self.lr, self.clip)
            wait = self.every
        self.table["wait", ""] = torch.tensor(max(wait - 1, 0))
        return combiner.slopes(losses)

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """The sum of the weights at the start."""
        main = self.main in tasks if isinstance(self.main, str) else True
        return self.initial * (len(tasks) - main) + main

    def _wait(self) -> int:
        """Steps until the next update of phi; 0 when one is due."""
        return int(self.table.get(("wait", ""), torch.tensor(0)))

    def _combiner(self, tasks: tuple[str, ...], losses: Tensor) -> Combiner:
        """L_T as a function of the present losses."""
        combiner = recall(self, tasks, losses, self.hidden, self.initial)
        row = self.row(tasks)
        if row is not None:
            combiner.weights[row] = 1.0
        return combiner
