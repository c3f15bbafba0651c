"""Sharing groups: the parameters that exactly the same tasks use, balanced on their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.gradients import gradients
from polytask.kernel.graph import leaves, parameters_among
from polytask.kernel.measure import Discovery, flat_row, gramian_of
from polytask.kernel.problem import Problem, check_finite
from polytask.kernel.statistic import Statistic

if TYPE_CHECKING:
    from polytask.kernel.step import Settings


def sharing_groups(problem: Problem) -> dict[tuple[str, ...], list[Tensor]]:
    """Parameters by the set of present tasks that use them. Walks the graph once a task."""
    users: dict[Tensor, list[str]] = {}
    for task, loss in zip(problem.tasks, problem.losses, strict=True):
        for leaf in sorted(leaves([loss.grad_fn]), key=id):
            users.setdefault(leaf, []).append(task)
    groups: dict[tuple[str, ...], list[Tensor]] = {}
    for leaf in parameters_among(list(users)):
        groups.setdefault(tuple(users[leaf]), []).append(leaf)
    return groups


def backward_groups(
    problem: Problem,
    decide: Callable[[Statistic], Tensor],
    settings: Settings,
    discovery: Discovery,
    loss_scale: float,
    generator: torch.Generator | None,
) -> dict[tuple[str, ...], dict[str, Tensor]]:
    """Decide and run one backward pass for each group; parameters of one task stay plain.

    The gradients of every task on all shared parameters are taken once (T partial passes) and
    read group by group; each group then costs one more pass over what lies above it.
    """
    groups = discovery.groups(problem, sharing_groups)
    if not all(p.requires_grad for parameters in groups.values() for p in parameters):
        discovery.forget()
        groups = discovery.groups(problem, sharing_groups)
    chosen: dict[tuple[str, ...], Tensor] = {}
    for tasks, parameters in groups.items():
        if len(tasks) > 1:
            chosen[tasks] = _decide_group(problem, tasks, parameters, decide, loss_scale, generator)
    for tasks, parameters in groups.items():
        weights = chosen.get(tasks, torch.ones(len(tasks), dtype=torch.float64))
        if settings.heads == "weighted" and len(tasks) == 1:
            weights = _mean_weight(tasks[0], chosen)
        losses = [problem.losses[problem.tasks.index(task)] for task in tasks]
        seeds = [
            (w * loss_scale).to(loss.device, loss.dtype)
            for w, loss in zip(weights, losses, strict=True)
        ]
        torch.autograd.backward(losses, seeds, inputs=parameters, retain_graph=True)
    return {tasks: dict(zip(tasks, w.unbind(), strict=True)) for tasks, w in chosen.items()}


def _decide_group(
    problem: Problem,
    tasks: tuple[str, ...],
    parameters: list[Tensor],
    decide: Callable[[Statistic], Tensor],
    loss_scale: float,
    generator: torch.Generator | None,
) -> Tensor:
    index = [problem.tasks.index(task) for task in tasks]
    rows = []
    for i in index:
        row = flat_row(gradients(problem.losses[i], parameters, loss_scale), parameters)
        if row is None:
            raise UserError(
                f"task {problem.tasks[i]!r} no longer reaches parameters that it used before; "
                "make a balancer for each model, or call balancer.discovery.forget()."
            )
        rows.append(row / loss_scale)
    jacobian = torch.stack(rows)
    values = torch.cat([problem.values[index][:, None], gramian_of(jacobian, jacobian)], 1).cpu()
    check_finite(values[:, 0], tasks, "loss")
    check_finite(values[:, 1:].diagonal(), tasks, "gradient")
    known = Statistic(tasks, values[:, 0], values[:, 1:], generator=generator, source="group")
    return decide(known).detach()


def _mean_weight(task: str, chosen: dict[tuple[str, ...], Tensor]) -> Tensor:
    """A head's weight with weighted heads: the mean over the groups its task is in."""
    found = [float(w[tasks.index(task)]) for tasks, w in chosen.items() if task in tasks]
    return torch.tensor([sum(found) / len(found) if found else 1.0], dtype=torch.float64)
