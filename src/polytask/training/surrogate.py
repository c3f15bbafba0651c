"""What tasks gain from one another, told from the gradients of one trained network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from polytask.errors import UserError, count, unknown
from polytask.tasks import Task
from polytask.training import _surrogate_linear as linear
from polytask.training._surrogate_directions import Answers, check_shared, still
from polytask.training._surrogate_linear import Directions, Linear
from polytask.training._surrogate_solve import Surrogate
from polytask.training._surrogate_subsets import choose_subsets, default_size, reachable

SCHEMA = 1
STARTS = ("zero", "trained")
DERIVATIVES = ("differences", "forward")
FEW = 32
"""Rows that tell who uses which parameters, with all gradients in memory."""


def projected_gradient_affinity(
    model: nn.Module,
    tasks: Mapping[str, Task],
    train: Iterable[Any],
    held_out: Iterable[Any],
    *,
    start: str = "zero",
    directions: int = 100,
    head_directions: int = 0,
    derivatives: str = "differences",
    rows: int = 1000,
    items: int = 2000,
    subsets: int | None = None,
    size: int | None = None,
    cover: int = 3,
    ridge: float = 0.01,
    seed: int = 0,
) -> dict[str, Any]:
    """Held-out gains of tasks in many groups, from a network trained once on all of them.

    After Grad-TAG: D. Li, A. Sharma and H. R. Zhang, "Scalable Multitask Learning Using
    Gradient-based Estimation of Task Affinity", KDD 2024, https://arxiv.org/abs/2409.06091, and
    its code, https://github.com/VirtuosoResearch/ScalableMTL (the code read, the paper as
    recalled). Around the trained parameters θ* outputs are taken for linear,

        f_t(x; θ) = f_t(x; θ*) + grad f_t(x)ᵀ (θ - θ*),

    and θ - θ* is held to some random directions. With J_t the derivatives of task t's outputs
    along them, training on a group S of tasks becomes a problem in some hundred numbers,

        minimise over w, b  sum_(t in S) mean loss_t(b_t + J_t w) + ridge |w|²,

    with the tasks' own losses. The gain of t in S is 1 - L_t(S) / L_t(t): by how much its held-out
    loss is lower than after training alone in the same way (fraction).
    `polytask.relationships.subset_affinity` makes affinities of such gains.

    **Start**: paper and code differ, and `start` chooses. In the paper outputs begin at
    f_t(x; θ*), "trained" here. In the code that term is left out: a linear model of the gradients
    learns the labels from nothing, with a free constant b_t for every output; that is "zero", the
    default. It matters: at θ* the gradients of all tasks together add up to about nothing, so those
    of tasks that use the same features point against each other there, and such tasks seem to harm
    one another. In simulations of two clusters of tasks, affinities from "zero" had rank
    correlations of about 0.5 with those of training all pairs, and affinities from "trained" none.

    **Directions**: `directions` random sign vectors over the parameters that two tasks or more
    use, times the root of 1 / directions, so that products of gradients are kept on average; w are
    the coordinates, which the tasks of a group share. With `head_directions` there are more, for
    the parameters that a task uses alone, with coordinates u_t of its own, in the ridge too. In the
    same simulations they hid what tasks have in common, as heads alone can learn much from features
    that all tasks have made. Everything is divided by one number, such that the mean square
    derivative of a training item, summed over directions, is 1: `ridge` means the same for any
    network.

    **Derivatives** of the outputs of all tasks along a direction are by default differences: the
    outputs with parameters a thousandth of their length along, less the outputs as they are. That
    is one plain forward pass, right to a few percent at worst, where directions are random to
    begin with. "forward" is exact, by forward-mode differentiation, at two to four times the cost
    (where an operation has none, differences all the same).

    Other differences from paper and code: they find the gradients of every row by a backward pass
    each and project them with one sign matrix over all parameters, heads included; here a pass
    gives a whole column, and heads are left out or apart. They judge the network itself at the
    parameters found; here the linear model is judged, so no network is run per group. Their groups
    are drawn evenly, here such that no pair is left out. They average scores over groups, here
    gains. Their losses are logistic.

    **What it cannot see**: what features a network would learn from a group: those of θ* come from
    all tasks. Gains are those of one network on these held-out rows, in the linear model.

    Cost: directions + head_directions + 1 forward passes over the rows read ("forward": about
    twice that), whatever the number of tasks; nothing is walked back but once, for who uses what.
    A training of E epochs over as many rows has 3 E of them, counting a step as three. Then a small
    problem for every task and group, by L-BFGS in float64, in coordinates in which the losses bend
    by 1 where it begins: ten to twenty looks at the items kept. (Of a loss with a kink, such as
    "l1", the minimum comes out a little less sharp.)

    Memory: the derivatives of labelled items, at most 2**25 numbers (256 MB) for either part, and
    as much again for a moment. Fewer rows a batch than fit are faster on a CPU where the inputs of
    a layer fall out of its cache. The network is run in evaluation mode; parameters, buffers, modes
    and random states are as before afterwards.

    Args:
        model: as the Trainer takes it: answers a dictionary of outputs by task name.
        tasks: fitted tasks by name, at least two.
        train: batches `(inputs, targets)` to learn from; shuffle them, as the first `rows` rows
            are read.
        held_out: the same of validation rows, to judge on.
        start: "zero" or "trained", see above.
        directions, head_directions: see above; at least 1, and at least 0.
        derivatives: "differences" or "forward", see above.
        rows: most rows that are read of either part (the last batch as a whole, where it holds
            something that cannot be cut by rows).
        items: most labelled items of a task that are kept of either part; more are drawn from by
            the seed. Of dense tasks items are places, of which rows have many.
        subsets: how many groups; None is as many as `cover` takes.
        size: tasks of a group, at least 2; None is a quarter of the tasks, at least 3, and fewer
            than all where there are more than two.
        cover: groups that every pair of tasks is to be in, as far as there are so many; groups
            are chosen to cover pairs evenly.
        ridge: weight of the squared coordinates, at least 0.
        seed: of directions, groups and items.

    Returns:
        JSON: "tasks"; "alone": `{task: {"start": held-out loss before any training, "loss": after
        training alone}}`; "subsets": `[{"tasks": [...], "losses": {...}, "gains": {...}}]`,
        with None where undefined; "undefined": `{task: reason}`; the arguments, and "passes", the
        forward passes a row.

    Raises:
        UserError: fewer than two tasks, an argument that cannot be, batches without rows, a
            network that shares nothing or whose outputs are not finite.
    """
    if start not in STARTS:
        raise unknown("start of the surrogate", start, STARTS)
    if derivatives not in DERIVATIVES:
        raise unknown("derivatives of the surrogate", derivatives, DERIVATIVES)
    _check(tasks, size, directions, head_directions, rows, items, subsets, cover, ridge, seed)
    size = default_size(len(tasks)) if size is None else size
    answers = Answers(model, tasks)
    with still(answers):
        read = [
            linear.read_rows(batches, rows, answers, part)
            for batches, part in ((train, "training"), (held_out, "held-out"))
        ]
        inputs, _ = linear.first_rows(read[0][0], FEW)
        users = answers.users(inputs)
        check_shared(users)
        way = Directions(
            directions,
            head_directions if users.own else 0,
            seed,
            users,
            derivatives == "forward" and answers.supports_forward_mode(inputs, users),
        )
        learned, judged = (
            linear.linearise(answers, tasks, batches, way, items, seed + part)
            for part, batches in enumerate(read)
        )
    linear.check_answers(learned)
    linear.check_answers(judged)
    scale = _scale(learned)
    kept = start == "trained"
    solved = Surrogate(
        tasks,
        _prepared(learned, scale, kept),
        _prepared(judged, scale, kept),
        directions,
        way.own,
        ridge,
        constants=not kept,
    )
    names = tuple(tasks)
    alone = {name: solved.losses([name])[name] for name in names}
    undefined = _undefined(names, learned, judged, alone)
    chosen = choose_subsets(len(names), size, cover, subsets, np.random.default_rng([seed, size]))
    return {
        "schema": SCHEMA,
        "tasks": list(names),
        "alone": {
            name: {"start": _plain(solved.start(name)), "loss": _plain(alone[name])}
            for name in names
        },
        "subsets": [
            _group([names[i] for i in subset], solved, alone, undefined) for subset in chosen
        ],
        "undefined": undefined,
        "start": start,
        "directions": directions,
        "head_directions": way.own,
        "rows": {"train": linear.count(read[0]), "held_out": linear.count(read[1])},
        "size": size,
        "cover": reachable(len(names), size, cover),
        "ridge": ridge,
        "scale": scale,
        "seed": seed,
        "derivatives": "forward" if way.forward_mode else "differences",
        "passes": way.passes,
    }


def _check(
    tasks: Mapping[str, Task],
    size: int | None,
    directions: int,
    head_directions: int,
    rows: int,
    items: int,
    subsets: int | None,
    cover: int,
    ridge: float,
    seed: int,
) -> None:
    if len(tasks) < 2:
        raise UserError(f"expected at least two tasks, found {count(len(tasks), 'task')}.")
    whole = [
        ("directions", directions, 1),
        ("head_directions", head_directions, 0),
        ("rows", rows, 1),
        ("items", items, 1),
        ("subsets", 1 if subsets is None else subsets, 1),
        ("size", 2 if size is None else size, 2),
        ("cover", cover, 1),
        ("seed", seed, 0),
    ]
    for word, value, least in whole:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(f"{word} must be a whole number of at least {least}, found {value!r}.")
    if size is not None and size > len(tasks):
        raise UserError(
            f"size={size} is more than {count(len(tasks), 'task')}. Take groups of 2 to "
            f"{len(tasks)} tasks."
        )
    if not 0 <= ridge < math.inf:
        raise UserError(f"ridge must be a number of at least 0, found {ridge!r}.")


def _scale(learned: Mapping[str, Linear]) -> float:
    """The root of the mean square derivative of a training item, every task counting alike."""
    squares = [float(one.derivatives.square().sum(-1).mean()) for one in learned.values()]
    scale = math.sqrt(sum(squares) / max(len(squares), 1))
    if not scale:
        raise UserError(
            "no output moves when the network's parameters do, on the labelled training rows that "
            "were read: there is nothing to learn. Read more rows, or look at the network."
        )
    return scale


def _prepared(found: Mapping[str, Linear], scale: float, kept: bool) -> dict[str, Linear]:
    """Derivatives in units of `scale`, and outputs that begin at 0 unless they are kept."""
    return {
        name: Linear(
            one.start if kept else torch.zeros_like(one.start),
            one.derivatives / scale,
            one.target,
        )
        for name, one in found.items()
    }


def _undefined(
    names: tuple[str, ...],
    learned: Mapping[str, Linear],
    judged: Mapping[str, Linear],
    alone: Mapping[str, float],
) -> dict[str, str]:
    """Why a task has no gain, by its name."""
    reasons = {}
    for name in names:
        if name not in learned or name not in judged:
            part = "training" if name not in learned else "held-out"
            reasons[name] = f"none of the {part} rows that were read has a label of it"
        elif not math.isfinite(alone[name]):
            reasons[name] = "training it alone did not end in a finite loss"
        elif alone[name] <= 0:
            reasons[name] = f"its loss after training alone is {alone[name]:g}, so no gain is one"
    return reasons


def _group(
    group: list[str], solved: Surrogate, alone: Mapping[str, float], undefined: Mapping[str, str]
) -> dict[str, Any]:
    """The record of one group."""
    losses = solved.losses(group)
    gains = {
        name: math.nan if name in undefined else 1 - found / alone[name]
        for name, found in losses.items()
    }
    return {
        "tasks": group,
        "losses": {name: _plain(value) for name, value in losses.items()},
        "gains": {name: _plain(value) for name, value in gains.items()},
    }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
