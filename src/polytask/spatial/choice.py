"""λ, the weight of the Moran helpers, chosen on validation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from polytask.errors import UserError
from polytask.optimization import create_method
from polytask.tasks import Task
from polytask.training import Trainer


@dataclass(frozen=True)
class LambdaFit:
    """The training with the best validation score."""

    trainer: Trainer
    """Holds the model with the chosen weights."""
    weight: float
    """The chosen λ."""
    scores: dict[float, float]
    """Validation score of the main task by λ, in its primary metric."""


def fit_lambda(
    build: Callable[[], nn.Module],
    tasks: Mapping[str, Task] | Iterable[Task],
    train: Any,
    val: Any,
    lambdas: Sequence[float] = (0.01, 0.1, 1.0),
    seed: int = 0,
    **options: Any,
) -> LambdaFit:
    """Train once for each λ on L_main + λ sum of L_helper; keep the best by validation.

    Klemmer & Neill 2021, https://arxiv.org/abs/2006.10461, with their three values. Losses are
    on standardised targets, so λ has no unit. Every training starts from the same weights and
    sees the same batches. The epoch is chosen by the main task's validation score as well.
    Cost: one training for each λ.

    Args:
        build: makes the untrained model; called once for each λ with torch seeded by `seed`.
        tasks: one main task, and helpers of role "auxiliary".
        train, val: as `Trainer.fit` takes them; `val` needs labels of the main task alone.
        lambdas: the weights to try, at least one, none below 0.
        seed: of initial weights and the order of batches.
        options: any further argument of `polytask.Trainer`, such as epochs or lr.

    Raises:
        UserError: no or several main tasks, no λ, a λ below 0, no validation data, or what the
            Trainer refuses.
        NonFiniteError: a training diverged.
    """
    named = list(tasks.values() if isinstance(tasks, Mapping) else tasks)
    mains = [task for task in named if task.role == "main"]
    if len(mains) != 1:
        raise UserError(
            f"λ is chosen by the validation score of one main task, found {len(mains)} "
            f"({', '.join(task.name for task in mains)}). Give helpers role='auxiliary'."
        )
    if not lambdas or not all(0 <= value < float("inf") for value in lambdas):
        raise UserError(f"lambdas must be one or more numbers of at least 0, found {lambdas!r}.")
    if val is None:
        raise UserError("λ is chosen on validation data, found none; pass val=.")
    main = mains[0]
    key = f"val/{main.name}/{main.primary.name}"
    scores: dict[float, float] = {}
    best: tuple[float, Trainer] | None = None
    for value in map(float, lambdas):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build()
        weights = {task.name: value for task in named if task.role != "main"}
        trainer = Trainer(
            model,
            named,
            method=create_method("linear", weights=weights),
            select=f"main:{main.name}",
            seed=seed,
            **options,
        )
        trainer.fit(train, val)
        score = trainer.evaluate(val, "val")[key]
        if not isinstance(score, float):
            raise UserError(f"the validation score {key} has no value: {score}.")
        scores[value] = score
        if best is None or _better(score, scores[best[0]], main.primary.direction):
            best = value, trainer
    assert best is not None
    return LambdaFit(best[1], best[0], scores)


def _better(score: float, other: float, direction: str) -> bool:
    return score > other if direction == "max" else score < other
