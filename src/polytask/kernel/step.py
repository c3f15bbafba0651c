"""One step: losses, statistic, decision, one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from polytask.errors import UserError, unknown
from polytask.kernel.heads import backward_plain, backward_through_cut, backward_weighted
from polytask.kernel.measure import KINDS, Discovery, Measured, measure
from polytask.kernel.problem import (
    Features,
    Problem,
    Shared,
    as_cut,
    as_parameters,
    check_finite,
    pose,
)
from polytask.kernel.statistic import Statistic

Decide = Callable[[Statistic], Tensor]


@dataclass(frozen=True)
class Step:
    """What one balanced step did."""

    tasks: tuple[str, ...]
    """Names of the tasks that took part, in the order of the Gramian's rows."""
    weights: dict[str, Tensor]
    losses: dict[str, Tensor]
    gramian: Tensor | None
    statistic: str
    """What the decision was made on, in words: 'tail, depth 2 (8,320 numbers)'."""


def take_step(
    losses: Mapping[str, Tensor],
    decide: Decide,
    *,
    statistic: str,
    heads: Literal["plain", "weighted"],
    discovery: Discovery,
    depth: int = 2,
    shared: Shared = None,
    features: Features = None,
    counts: Mapping[str, int] | None = None,
    scaler: Any = None,
    non_finite: Literal["raise", "skip_task"] = "raise",
    generator: torch.Generator | None = None,
) -> Step:
    """Measure, decide and run the one backward pass. See `Balancer.backward` for the arguments."""
    if statistic not in KINDS:
        raise unknown("statistic", statistic, KINDS)
    problem = pose(losses, counts)
    cut = as_cut(features)
    parameters = as_parameters(shared)
    loss_scale = float(scaler.get_scale()) if scaler is not None else 1.0
    values = problem.values
    measured: Measured | None = None
    if statistic != "losses":
        measured = measure(
            problem,
            statistic,
            discovery=discovery,
            depth=depth,
            shared=parameters,
            cut=cut,
            loss_scale=loss_scale,
        )
    known = _known(problem, values, measured, generator)
    if not bool(torch.isfinite(_all_numbers(known)).all()):
        if non_finite == "skip_task":
            return _without_bad(
                losses,
                known,
                decide,
                statistic=statistic,
                heads=heads,
                discovery=discovery,
                depth=depth,
                shared=shared,
                features=features,
                counts=counts,
                scaler=scaler,
                generator=generator,
            )
        check_finite(known.losses, problem.tasks, "loss")
        if scaler is None:
            check_finite(known.need_gramian().diagonal(), problem.tasks, "gradient")
        else:
            # A float16 overflow: run the pass so that the scaler sees it and skips the step.
            decide = _equal
    weights = decide(known)
    _check_weights(weights, problem)
    if cut is not None and not discovery.is_clean(problem, cut):
        cut = None  # something is shared around the cut: weigh every edge into the trunk instead
    _apply(problem, weights, heads, cut, measured, loss_scale)
    return Step(
        tasks=problem.tasks,
        weights=dict(zip(problem.tasks, weights.detach().unbind(), strict=True)),
        losses=dict(zip(problem.tasks, values.unbind(), strict=True)),
        gramian=known.gramian,
        statistic=known.source,
    )


def _known(
    problem: Problem,
    values: Tensor,
    measured: Measured | None,
    generator: torch.Generator | None,
) -> Statistic:
    """What the method may know, brought to the host in the step's one synchronisation."""
    if measured is None:
        return Statistic(problem.tasks, values.cpu(), generator=generator)
    together = torch.cat([values[:, None], measured.gramian], dim=1).cpu()
    return Statistic(
        problem.tasks,
        together[:, 0],
        gramian=together[:, 1:],
        generator=generator,
        source=measured.source,
    )


def _all_numbers(known: Statistic) -> Tensor:
    if known.gramian is None:
        return known.losses
    return torch.cat([known.losses, known.gramian.flatten()])


def _without_bad(
    losses: Mapping[str, Tensor], known: Statistic, decide: Decide, **settings: Any
) -> Step:
    """The same step without the tasks whose loss or gradient is not finite."""
    finite = torch.isfinite(known.losses)
    if known.gramian is not None:
        finite &= torch.isfinite(known.gramian.diagonal())
    bad = {task for task, fine in zip(known.tasks, finite.tolist(), strict=True) if not fine}
    kept = {task: loss for task, loss in losses.items() if task not in bad}
    if not bad or len(bad) == len(known.tasks):
        raise UserError(
            f"no task of this step has a finite loss and gradient ({', '.join(known.tasks)}); "
            "nothing is left to learn from. Look at the inputs and lower the learning rate."
        )
    return take_step(kept, decide, **settings)


def _apply(
    problem: Problem,
    weights: Tensor,
    heads: str,
    cut: list[Tensor] | None,
    measured: Measured | None,
    loss_scale: float,
) -> None:
    if heads == "weighted":
        backward_weighted(problem, weights, loss_scale)
    elif measured is not None and measured.cut_gradients is not None and cut is not None:
        directions = [
            torch.tensordot(weights.detach().to(rows.device, rows.dtype), rows, dims=1)
            for rows in measured.cut_gradients
        ]
        backward_through_cut(problem, cut, directions, loss_scale)
    else:
        backward_plain(problem, weights, loss_scale)


def _check_weights(weights: Tensor, problem: Problem) -> None:
    if weights.shape != (len(problem),):
        raise UserError(
            f"a decision must give one weight for each of the {len(problem)} present tasks, "
            f"found a tensor of shape {tuple(weights.shape)}."
        )


def _equal(known: Statistic) -> Tensor:
    return torch.ones_like(known.losses)
