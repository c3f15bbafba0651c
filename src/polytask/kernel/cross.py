"""Products of two batches' gradients: the Gramian without the noise that one batch adds to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polytask.errors import UserError
from polytask.kernel.measure import Discovery, Measured, gramian_of, measure
from polytask.kernel.problem import Losses, Problem, pose
from polytask.kernel.shift import Closure, unnoticed


@dataclass(frozen=True)
class Cross:
    """Inner products of the gradients of two batches, float64 on the host."""

    tasks: tuple[str, ...]
    """The tasks that have a loss in both batches."""
    products: Tensor
    """C = (J_A J_Bᵀ + J_B J_Aᵀ) / 2, shape [T, T]. The diagonal may be negative."""
    within: Tensor
    """J_A J_Aᵀ and J_B J_Bᵀ, shape [2, T, T]."""
    losses: Tensor
    """The losses of both batches, shape [2, T]."""
    source: str
    """What was read, in words: 'tail, depth 2 (8,320 numbers)'."""

    def full_data(self, fraction: float = 0.0) -> Tensor:
        """The Gramian of the full data's gradients, free of sampling noise on average, [T, T].

        The two batches are halves of one that holds `fraction` of all rows. Rows of one half are
        never in the other, so that with few rows in all C alone comes out too low, by as much as
        the noise that is left in the full data's mean: where a network has fitted its N rows, the
        mean of C is not 0 but below. With G the Gramian of both halves together, a mean of exactly
        the full data's Gramian has (1 - f) C + f G; with f = 1 this is the full data itself.
        """
        whole = (self.within.sum(0) + 2 * self.products) / 4
        return torch.lerp(self.products, whole, fraction)

    def norms(self) -> Tensor:
        """n_i, the root of the mean of the two batches' squared norms, shape [T].

        Turning one batch's gradient round leaves it as it is, so where a task's gradients are
        nothing but noise C_ii / n_i² is 0 on average, as C_ii is. Divided by the norm of both
        together it would come out below 0.
        """
        return self.within.diagonal(dim1=1, dim2=2).mean(dim=0).sqrt()

    def scaled(self, fraction: float = 0.0) -> Tensor:
        """`full_data` over norms, G_ij / (n_i n_j), shape [T, T], within [-1, 1].

        NaN where a norm is zero or not finite.
        """
        scale = self.norms()[:, None] * self.norms()[None, :]
        found = torch.where(scale > 0, self.full_data(fraction) / scale, torch.nan)
        return torch.where(found.isfinite(), found, torch.nan)


def cross_gramian(
    first: Closure,
    second: Closure,
    statistic: str,
    *,
    discovery: Discovery,
    parameters: Sequence[Tensor],
    depth: int = 2,
    budget: float | None = None,
    turn: int = 0,
    loss_scale: float = 1.0,
    module: nn.Module | None = None,
    metric: Callable[[Tensor], Tensor] | None = None,
) -> Cross | None:
    """Multiply the gradients of two batches on the same shared parameters, unnoticed.

    With independent batches the mean of the products is the Gramian of the full data's
    gradients, on the diagonal too, and where two tasks share rows: the product of one batch with
    itself would add its noise. Nothing is left behind: no `.grad`, and random states and buffers
    are as before.

    Cost: two forward passes, and the statistic twice.

    Args:
        first: computes the losses of the first batch, with their graph.
        second: the same for the second batch.
        statistic: 'tail' or 'exact'.
        discovery: the cache of who shares what, the same from call to call.
        parameters: some that live on the devices in use.
        depth: shared layers that 'tail' reads.
        budget: what reading the tail of a batch may cost, in ordinary steps; see `measure`.
        turn: which units of a layer then; counts up from call to call.
        loss_scale: factor on the losses in the backward passes, against float16 underflow.
        module: see `unnoticed`; may be left out.
        metric: the weight of every number of a parameter, a tensor of its shape and not negative
            (see `polytask.kernel.precondition`): products are then gᵀ P g in place of gᵀ g.

    Returns:
        None when fewer than two tasks have a loss in both batches.

    Raises:
        UserError: nothing is shared by two of the tasks, or not the same in both batches.
    """
    with unnoticed(parameters, module):
        losses = first(), second()
        problems = _common(losses)
        if problems is None:
            return None

        def look(problem: Problem, depth: int = depth, budget: float | None = budget) -> Measured:
            return measure(
                problem,
                statistic,
                discovery=discovery,
                depth=depth,
                budget=budget,
                turn=turn,
                loss_scale=loss_scale,
            )

        one, other = map(look, problems)
        if not _alike(one, other):
            # What the first saw was found in another batch and has changed since.
            one = look(problems[0])
        if not _alike(one, other):
            raise UserError(
                "the two batches do not share the same parameters, so their gradients cannot be "
                f"multiplied: {one.source} in one, {other.source} in the other."
            )
        if metric is not None and one.columns is None:
            # Units of a weight that is used in another shape: the whole layer can be told.
            one, other = (look(problem, depth=1, budget=None) for problem in problems)
        values = torch.stack([problem.values for problem in problems])
    rows = one.jacobian, other.jacobian
    within = [one.gramian, other.gramian]
    if metric is not None:
        root = _roots(one, metric)
        rows = rows[0] * root, rows[1] * root
        within = [gramian_of(half, half) for half in rows]
    table = gramian_of(*rows)
    # One copy from the device.
    found = torch.cat([(table + table.T) / 2, *within, values]).cpu()
    size = len(problems[0])
    products, first_own, second_own = found[: 3 * size].split(size)
    return Cross(
        problems[0].tasks,
        products,
        torch.stack([first_own, second_own]),
        found[3 * size :],
        one.source,
    )


def _roots(measured: Measured, metric: Callable[[Tensor], Tensor]) -> Tensor:
    """Roots of the metric, a number a column: rows times them have its products."""
    rows = measured.jacobian
    assert measured.columns is not None, "whole parameters were read"
    found = torch.cat([part.of(metric(part.parameter)) for part in measured.columns])
    return found.to(rows.dtype).sqrt()


def _common(losses: tuple[Losses, Losses]) -> tuple[Problem, Problem] | None:
    """Both problems with the tasks they have in common, in the first one's order."""
    tasks = [task for task in losses[0] if task in losses[1]]
    if len(tasks) < 2:
        return None
    one, other = (pose({task: batch[task] for task in tasks}) for batch in losses)
    return one, other


def _alike(one: Measured, other: Measured) -> bool:
    """Whether the columns of both Jacobians are the same parameters."""
    return (
        one.source == other.source
        and one.jacobian.shape == other.jacobian.shape
        and len(one.inputs) == len(other.inputs)
        and all(a is b for a, b in zip(one.inputs, other.inputs, strict=True))
    )
