"""What is trained on labels of which many are missing: four ways to treat the gaps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.auxiliary.arml_data import FewLabels
from benchmarks.missing_labels.data import Drawn, present
from polytask import Task
from polytask.architectures import create_architecture, create_encoder
from polytask.data import Batches
from polytask.errors import UserError
from polytask.tasks import evaluate
from polytask.training import Trainer

MASKED, LISTWISE, IMPUTED, ALONE = "masked", "complete rows", "imputed", "single-task"
ARMS = (MASKED, LISTWISE, IMPUTED, ALONE)
Targets = dict[str, np.ndarray]
Fit = dict[str, Any]
Rates = Mapping[str, float]
"""By network: of a single task its name, else `SHARED`."""
SHARED = "all"


def fit(arm: str, drawn: Drawn, targets: Targets, before: Fit | None = None) -> Fit:
    """One way on one seed: its error by task, or why it cannot be trained.

    Rates and epochs are chosen by the loss on the labels that the validation rows have. `before`
    is what was found on the first seed, whose rates are kept.
    """
    rates = {} if before is None else before.get("rates", {})
    return _FITS[arm](drawn, targets, rates)


def _masked(drawn: Drawn, targets: Targets, rates: Rates) -> Fit:
    """One network; a label that is missing takes no part."""
    return _best(drawn, fitted(drawn, targets, drawn.train), targets, drawn.train, rates)


def _listwise(drawn: Drawn, targets: Targets, rates: Rates) -> Fit:
    """One network on the training rows that have every label."""
    rows = complete(drawn, targets)
    if not len(rows):
        return {"impossible": "no complete row"}
    try:
        tasks = fitted(drawn, targets, rows)
    except UserError:  # a task with one class, or one value, in so few rows
        return {"impossible": "too few complete rows"}
    return _best(drawn, tasks, targets, rows, rates)


def _imputed(drawn: Drawn, targets: Targets, rates: Rates) -> Fit:
    """One network; a missing number is the mean of the others, a missing class their shares."""
    real = fitted(drawn, targets, drawn.train)
    tasks: dict[str, Task] = {}
    filled: Targets = {}
    for name, task in real.items():
        values = targets[name]
        gaps = np.zeros(len(values), bool)
        gaps[drawn.train] = ~present(values[drawn.train])
        if task.kind == "regression":
            tasks[name] = task
            filled[name] = values.copy()
            filled[name][gaps] = task.mean
        else:
            tasks[name] = soft(task)
            shares = soft_labels(task, values)
            shares[gaps] = np.nanmean(shares[drawn.train], axis=0)
            filled[name] = shares
    return _best(drawn, tasks, filled, drawn.train, rates, real=real)


def _alone(drawn: Drawn, targets: Targets, rates: Rates) -> Fit:
    """A network for each task, on the training rows that have its label."""
    found: Fit = {"wrong": {}, "epoch": 0.0, "rates": {}}
    for name, task in fitted(drawn, targets, drawn.train).items():
        rows = drawn.train[present(targets[name][drawn.train])]
        best = _best(drawn, {name: task}, {name: targets[name]}, rows, rates, name)
        found["wrong"] |= best["wrong"]
        found["rates"] |= best["rates"]
        found["epoch"] += best["epoch"] / len(drawn.tasks)
    return found


_FITS: dict[str, Callable[[Drawn, Targets, Rates], Fit]] = {
    MASKED: _masked,
    LISTWISE: _listwise,
    IMPUTED: _imputed,
    ALONE: _alone,
}


def fitted(drawn: Drawn, targets: Targets, rows: np.ndarray) -> dict[str, Task]:
    """The tasks with the scale of the labels that these rows have."""
    return {name: task.fitted(targets[name][rows]) for name, task in drawn.tasks.items()}


def complete(drawn: Drawn, targets: Targets) -> np.ndarray:
    """The training rows that have every label."""
    whole = np.all([present(targets[name][drawn.train]) for name in drawn.tasks], axis=0)
    return drawn.train[whole]


def soft(task: Task) -> Task:
    """The same outputs, learned from shares of classes in place of codes."""
    one = task.kind == "binary"
    return Task(task.name, "custom", size=task.output_size, loss_function=_logistic if one else _ce)


def _logistic(output: Tensor, share: Tensor) -> Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(output, share, reduction="none")


def _ce(output: Tensor, shares: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(output, shares, reduction="none")


def soft_labels(task: Task, codes: np.ndarray) -> np.ndarray:
    """float32 [N, 1] share of the second class, or [N, k] of each; NaN where there is no label."""
    if task.kind == "binary":
        shares = codes[:, None].astype(np.float32)
    else:
        shares = (codes[:, None] == np.arange(len(task.classes))).astype(np.float32)
    shares[~present(codes)] = np.nan
    return shares


def _best(
    drawn: Drawn,
    tasks: Mapping[str, Task],
    targets: Targets,
    rows: np.ndarray,
    rates: Rates,
    network: str = SHARED,
    real: Mapping[str, Task] | None = None,
) -> Fit:
    """The rate with the least validation loss; `real` are the tasks that test outputs are of."""
    wanted = [rates[network]] if network in rates else drawn.setting.rates
    tried = [_train(drawn, tasks, targets, rows, real or tasks, rate) for rate in wanted]
    best = min(tried, key=lambda found: float(found["val"]))
    return {"wrong": best["wrong"], "epoch": best["epoch"], "rates": {network: best["rate"]}}


def _train(
    drawn: Drawn,
    tasks: Mapping[str, Task],
    targets: Targets,
    rows: np.ndarray,
    real: Mapping[str, Task],
    rate: float,
) -> dict[str, Any]:
    """One training, judged on test at the epoch with the least validation loss."""
    setting = drawn.setting
    known = {name: torch.from_numpy(targets[name]) for name in tasks}
    torch.manual_seed(drawn.seed)
    encoder = create_encoder("mlp", drawn.spec, hidden=setting.hidden)
    trainer = Trainer(
        create_architecture("hard_sharing", encoder, tasks),
        tasks,
        lr=rate,
        epochs=setting.epochs,
        select="loss",
        device="cpu",
        seed=drawn.seed,
        progress=False,
    )
    few = [(rows, min(setting.batch, len(rows)))]
    history = trainer.fit(
        FewLabels((drawn.inputs, known), few, setting.steps, drawn.seed),
        Batches(*_part(drawn.inputs, known, drawn.val), 2000),
    )
    assert history.best_epoch is not None, "there is a validation part"
    truth = {name: torch.from_numpy(drawn.targets[name]) for name in tasks}
    inputs, truth = _part(drawn.inputs, truth, drawn.test)
    scores = evaluate(real, trainer.outputs(Batches(inputs, {}, 2000)), truth)
    return {
        "rate": rate,
        "epoch": history.best_epoch,
        "val": -float(history.epochs[history.best_epoch - 1]["select/loss"]),
        "wrong": {name: _error(task, scores[name], truth[name]) for name, task in real.items()},
    }


def _part(
    inputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], rows: np.ndarray
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    at = torch.from_numpy(rows)
    return {k: v[at] for k, v in inputs.items()}, {k: v[at] for k, v in targets.items()}


def _error(task: Task, scores: Mapping[str, Any], truth: Tensor) -> float:
    """In percent: of the spread of the test labels for numbers, else what lacks to a score of 1."""
    score = float(scores[task.primary.name])
    if task.kind == "regression":
        return 100 * score / float(truth.double().std(correction=0))
    return 100 - 100 * score
