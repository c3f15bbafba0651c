"""One step: losses, statistic, decision, one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from polytask.errors import UserError
from polytask.kernel.graph import Ownership
from polytask.kernel.groups import backward_groups
from polytask.kernel.heads import (
    backward_known,
    backward_plain,
    backward_replaced,
    backward_through_cut,
    backward_weighted,
)
from polytask.kernel.measure import Discovery, Measured, gramian_of, measure, nothing_shared
from polytask.kernel.problem import (
    Features,
    Losses,
    Problem,
    Shared,
    as_cut,
    as_parameters,
    check_finite,
    log_losses,
    pose,
)
from polytask.kernel.shift import Closure, directional_derivatives, virtual_gains
from polytask.kernel.statistic import Statistic

Decide = Callable[[Statistic], Tensor]


@dataclass(frozen=True)
class Settings:
    """What does not change from step to step. The words are those of `Balancer`."""

    kind: Literal["losses", "row", "gains", "gramian", "cross", "jacobian"] = "losses"
    statistic: str = "losses"
    heads: Literal["plain", "weighted"] = "weighted"
    depth: int = 2
    budget: float | None = None
    turn: int = 0
    non_finite: Literal["raise", "skip_task"] = "raise"
    transform: Literal["none", "log"] = "none"
    groups: Literal["joint", "separate"] = "joint"


@dataclass(frozen=True)
class Given:
    """What the caller passed for one step."""

    losses: Losses
    earlier: Sequence[Losses] = ()
    """Losses of the other batches of this step, for methods that need several."""
    shared: Shared = None
    features: Features = None
    counts: Mapping[str, int] | None = None
    scaler: Any = None
    closure: Closure | None = None
    vector: Callable[[Problem, Sequence[Tensor]], Sequence[Tensor] | None] | None = None
    """For 'row': the vector whose products with the gradients are wanted, on the parameters.
    None in a step that does without."""
    judge: Callable[[Problem], Tensor | None] | None = None
    """For 'gains': the number that virtual steps should lower; None where it is not known."""
    length: float = 0.0
    """For 'gains': the length of a virtual step, times the gradient."""


@dataclass(frozen=True)
class Step:
    """What one balanced step did."""

    tasks: tuple[str, ...]
    """Names of the tasks that took part, in the order of the Gramian's rows."""
    weights: dict[str, Tensor]
    """Weight of each task's loss in the shared part; empty for methods that give a direction."""
    losses: dict[str, Tensor]
    gramian: Tensor | None
    statistic: str
    """What the decision was made on, in words: 'tail, depth 2 (8,320 numbers)'."""
    groups: dict[tuple[str, ...], dict[str, Tensor]] = field(default_factory=dict)
    """groups='separate': the weights of each set of tasks that shares parameters."""
    audit: dict[str, float] | None = None
    """Agreement with the exact statistic, on steps that were audited."""


Audit = Callable[[Problem, Tensor, list[Tensor] | None], dict[str, float]]


def take_step(
    given: Given,
    decide: Decide,
    settings: Settings,
    discovery: Discovery,
    *,
    generator: torch.Generator | None = None,
    audit: Audit | None = None,
) -> Step:
    """Measure, decide and run the one backward pass. See `Balancer.backward` for the words."""
    problem = pose(given.losses, given.counts)
    raw = problem.values
    if settings.transform == "log":
        problem = log_losses(problem)
    cut = as_cut(given.features)
    named = as_parameters(given.shared)
    loss_scale = _scale_of(given.scaler, problem)
    if settings.groups == "separate":
        weights_of = backward_groups(problem, decide, settings, discovery, loss_scale, generator)
        return Step(problem.tasks, {}, _named(problem, raw), None, "exact by group", weights_of)
    measured, known = _know(problem, given, settings, discovery, cut, named, loss_scale, generator)
    bad = _not_finite(known)
    if bad and settings.non_finite == "skip_task":
        kept = {task: loss for task, loss in given.losses.items() if task not in bad}
        if not kept or not set(kept) & set(problem.tasks):
            raise UserError(
                f"no task of this step has a finite loss and gradient ({', '.join(bad)}); "
                "nothing is left to learn from. Look at the inputs and lower the learning rate."
            )
        return take_step(
            replace(given, losses=kept), decide, settings, discovery, generator=generator
        )
    if bad:
        check_finite(known.losses, problem.tasks, "loss")
        if given.scaler is None:
            if known.gains is not None:
                check_finite(known.gains, problem.tasks, "gain of a virtual step on the loss")
            numbers = [value for value in (known.gramian, known.row) if value is not None]
            check_finite(torch.stack([_diagonal(n) for n in numbers], 1), problem.tasks, "gradient")
        # A float16 overflow: run the pass so that the scaler sees it and skips the step.
        decide = _equal
    answer = decide(known)
    audited = audit(problem, answer, named) if audit is not None else None
    weights = _apply(problem, answer, settings, discovery, cut, measured, loss_scale)
    if settings.transform == "log" and weights is not None:
        weights = weights / raw.to(weights)
    return Step(
        tasks=problem.tasks,
        weights={} if weights is None else _named(problem, weights),
        losses=_named(problem, raw),
        gramian=known.gramian,
        statistic=known.source,
        audit=audited,
    )


def _scale_of(scaler: Any, problem: Problem) -> float:
    """The scaler's factor. It makes its state at the first `scale`, which users would call."""
    if scaler is None:
        return 1.0
    if hasattr(scaler, "scale"):
        scaler.scale(problem.losses[0].detach().float())
    return float(scaler.get_scale())


def _know(
    problem: Problem,
    given: Given,
    settings: Settings,
    discovery: Discovery,
    cut: list[Tensor] | None,
    named: list[Tensor] | None,
    loss_scale: float,
    generator: torch.Generator | None,
) -> tuple[Measured | None, Statistic]:
    """Measure what the method asked for and bring it to the host in one synchronisation."""
    base = Statistic(problem.tasks, problem.values, generator=generator, cut=cut)
    if settings.kind == "losses":
        return None, replace(base, losses=base.losses.cpu())
    if settings.kind in ("row", "gains"):
        return None, _know_ahead(problem, given, settings, discovery, named, loss_scale, base)

    def look(one: Problem) -> Measured:
        return measure(
            one,
            settings.statistic,
            discovery=discovery,
            depth=settings.depth,
            budget=None if settings.kind in ("cross", "jacobian") else settings.budget,
            turn=settings.turn,
            shared=named,
            cut=cut if one is problem else None,
            loss_scale=loss_scale,
        )

    if settings.kind == "cross":
        pair = [*given.earlier, given.losses][:2]
        first, second = (look(_same_tasks(losses, problem)) for losses in pair)
        table = gramian_of(first.jacobian, second.jacobian)
        values = torch.cat([base.losses[:, None], table], dim=1).cpu()
        source = f"{first.source}, two batches"
        return None, replace(base, losses=values[:, 0], cross=values[:, 1:], source=source)
    measured = look(problem)
    values = torch.cat([base.losses[:, None], measured.gramian], dim=1).cpu()
    return measured, replace(
        base,
        losses=values[:, 0],
        gramian=values[:, 1:],
        jacobian=measured.jacobian if settings.kind == "jacobian" else None,
        sizes=measured.sizes if settings.kind == "jacobian" else None,
        source=measured.source,
    )


def _know_ahead(
    problem: Problem,
    given: Given,
    settings: Settings,
    discovery: Discovery,
    named: list[Tensor] | None,
    loss_scale: float,
    base: Statistic,
) -> Statistic:
    """One number a task, 'row' or 'gains', from forward passes at moved shared parameters."""
    base = replace(base, losses=base.losses.cpu())
    parameters = named or discovery.parameters(problem, "exact", depth=1)
    if not parameters:
        source = nothing_shared(problem, settings.kind).source
        none = torch.zeros(len(problem), dtype=torch.float64)
        return replace(base, row=none, gains=none, source=source)
    module = given.shared if isinstance(given.shared, nn.Module) else None
    source = f"{settings.kind} ({sum(p.numel() for p in parameters):,} numbers)"
    if settings.kind == "gains":
        assert given.judge is not None, "given by the balancer"
        gains = virtual_gains(
            problem, parameters, given.judge, given.length, module=module, loss_scale=loss_scale
        )
        return replace(base, gains=gains, source=source)
    assert given.closure is not None, "checked by the balancer"
    assert given.vector is not None, "given by the balancer"
    vector = given.vector(problem, parameters)
    if vector is None:
        return base
    row = directional_derivatives(given.closure, problem.tasks, parameters, vector, module)
    return replace(base, row=row, source=source)


def _same_tasks(losses: Losses, problem: Problem) -> Problem:
    missing = [task for task in problem.tasks if task not in losses]
    if missing:
        raise UserError(
            "a method that reads several batches needs every present task in each of them; "
            f"{', '.join(missing)} is missing in one. Draw batches with all tasks."
        )
    return pose({task: losses[task] for task in problem.tasks})


def _apply(
    problem: Problem,
    answer: Tensor,
    settings: Settings,
    discovery: Discovery,
    cut: list[Tensor] | None,
    measured: Measured | None,
    loss_scale: float,
) -> Tensor | None:
    """Run the backward pass; the weights, or None when the answer was a direction."""
    if settings.kind == "jacobian":
        assert measured is not None
        if answer.shape != measured.jacobian.shape[1:]:
            raise UserError(
                f"a direction must have the {measured.jacobian.shape[1]} coordinates of the "
                f"Jacobian, found shape {tuple(answer.shape)}."
            )
        backward_replaced(problem, measured.inputs, answer, loss_scale)
        return None
    if answer.shape != (len(problem),):
        raise UserError(
            f"a decision must give one weight for each of the {len(problem)} present tasks, "
            f"found a tensor of shape {tuple(answer.shape)}."
        )
    others = _others(problem, measured) if settings.statistic == "exact" else None
    if others is not None and measured is not None:
        rows, shared = measured.jacobian, measured.inputs
        backward_known(problem, answer, rows, shared, others, settings.heads, loss_scale)
    elif settings.heads == "weighted":
        backward_weighted(problem, answer, loss_scale)
    elif (
        measured is not None
        and measured.cut_gradients is not None
        and cut is not None
        # Else something is shared around the cut: weigh every edge into the trunk instead.
        and discovery.is_clean(problem, cut)
    ):
        directions = [
            torch.tensordot(answer.detach().to(rows.device, rows.dtype), rows, dims=1)
            for rows in measured.cut_gradients
        ]
        backward_through_cut(problem, cut, directions, loss_scale)
    else:
        backward_plain(problem, answer, loss_scale, cut)
    return answer


def _others(problem: Problem, measured: Measured | None) -> list[Tensor] | None:
    """The leaves beside those whose gradients are all known; None when some are shared too.

    The graph is walked anew: a layer thawed since the discovery must get its gradient.
    """
    if measured is None or not measured.inputs:
        return None
    shared, own = Ownership(problem.losses).all_leaves()
    return own if shared == set(measured.inputs) else None


def _not_finite(known: Statistic) -> list[str]:
    """Tasks whose loss or gradient is not finite."""
    finite = torch.isfinite(known.losses)
    for numbers in (known.gramian, known.cross, known.row, known.gains):
        if numbers is not None:
            finite &= torch.isfinite(_diagonal(numbers))
    return [task for task, fine in zip(known.tasks, finite.tolist(), strict=True) if not fine]


def _diagonal(numbers: Tensor) -> Tensor:
    return numbers.diagonal() if numbers.ndim == 2 else numbers


def _named(problem: Problem, values: Tensor) -> dict[str, Tensor]:
    return dict(zip(problem.tasks, values.detach().unbind(), strict=True))


def _equal(known: Statistic) -> Tensor:
    if known.jacobian is not None:
        return known.jacobian.sum(dim=0)
    return torch.ones_like(known.losses)
