"""Gradient boosting per target: what a table deserves before a network is praised.

scikit-learn's histogram gradient boosting on the same rows and the same columns, one model
per target (per output or label where a target has several), trained on labelled rows only.
The number of trees is chosen on validation, by the task's primary metric, as a network's
epoch is; all else is scikit-learn's default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from polytask.data import make_splits
from polytask.study.joined import Joined
from polytask.study.prepared import cut
from polytask.study.statistics import SIGNS
from polytask.tasks import Task, Undefined, evaluate

if TYPE_CHECKING:
    from polytask.data import Dataset
    from polytask.study.unit import EncoderMaker

LEARNING_RATE = 0.1
TREES = 200
EVERY = 10
"""Validation is looked at after every 10 trees."""
CATEGORIES = 255
"""More codes than this in a column are read as numbers: scikit-learn's limit."""
SURE = 30.0
"""Greatest log-odds: a probability of exactly 0 would make the log loss infinite."""

Stages = list[np.ndarray]
Part = tuple[np.ndarray, np.ndarray]


def boost(
    config: Mapping[str, Any],
    dataset: Dataset,
    folder: Path | None = None,
    make_encoder: EncoderMaker | None = None,
) -> dict[str, Any]:
    """Fit and judge one target on the split of the run's seed, on a data set of its own if any."""
    (name,) = config["tasks"]
    splits: Mapping[str, np.ndarray]
    if isinstance(dataset, Joined):
        dataset, splits = dataset.own(name, dataset.split(**cut(config)))
    else:
        splits = make_splits(dataset, **cut(config))
    task = dataset.tasks[name].fitted(dataset.targets[name][splits["train"]])
    x, categorical = features(dataset, splits["train"])
    target = dataset.targets[name]
    rows = splits["train"]
    judged = {part: x[splits[part]] for part in ("val", "test")}
    outputs = _fit(task, (x[rows], target[rows]), list(judged.values()), categorical)
    stages = dict(zip(judged, outputs, strict=True))
    truth = {part: torch.from_numpy(target[splits[part]]) for part in stages}

    def score(part: str, stage: int) -> dict[str, Any]:
        output = torch.from_numpy(stages[part][stage]).float()
        return evaluate({name: task}, {name: output}, {name: truth[part]})[name]

    metric = task.primary
    validation = [score("val", stage)[metric.name] for stage in range(len(stages["val"]))]
    values = [
        -np.inf if isinstance(v, Undefined) else SIGNS[metric.direction] * v for v in validation
    ]
    best = int(np.argmax(values)) if np.isfinite(values).any() else len(values) - 1
    tested = score("test", best)
    return {
        "selected": {
            "trees": (best + 1) * EVERY,
            "val": {name: validation[best]},
            "test": {name: tested[metric.name]},
        },
        "metrics": {"val": {name: score("val", best)}, "test": {name: tested}},
    }


def features(dataset: Dataset, train: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """The table's columns [N, d], categories as codes, and which columns are categories.

    Missing values stay missing, which the trees can read; a category that does not occur in
    the training rows is missing, as it is for the networks.
    """
    numeric = dataset.inputs.get("numeric", np.empty((dataset.n, 0), np.float32))
    codes = dataset.inputs.get("categorical", np.empty((dataset.n, 0), np.int64))
    columns = [np.where(np.isfinite(c), c, np.nan) for c in numeric.T.astype(np.float64)]
    categorical: list[int] = []
    for column in codes.T:
        seen = np.unique(column[train][column[train] >= 0])
        if len(seen) == 0:
            continue
        place = np.searchsorted(seen, column)
        known = np.isin(column, seen)
        if len(seen) <= CATEGORIES:
            categorical.append(len(columns))
        columns.append(np.where(known, place, np.nan).astype(np.float64))
    return np.column_stack(columns or [np.zeros(dataset.n)]), categorical


def _fit(task: Task, train: Part, others: list[np.ndarray], categorical: list[int]) -> list[Stages]:
    """Outputs as a network would give them, per part and stage: [stage][n, output_size]."""
    x, y = train
    if task.kind == "multiclass":
        return _classes(task, x, y, others, categorical)
    y = y.reshape(len(y), -1)
    columns = [_column(task, i, x, y[:, i], others, categorical) for i in range(y.shape[1])]
    return [
        [np.column_stack([column[part][stage] for column in columns]) for stage in range(_stages())]
        for part in range(len(others))
    ]


def _column(
    task: Task,
    index: int,
    x: np.ndarray,
    y: np.ndarray,
    others: list[np.ndarray],
    categorical: list[int],
) -> list[Stages]:
    """One output: a standardised value, or the log-odds of 1."""
    present = ~np.isnan(y) if y.dtype.kind == "f" else y >= 0
    x, y = x[present], y[present]
    if task.kind == "regression":
        mean, std = np.atleast_1d(task.mean)[index], np.atleast_1d(task.std)[index]
        if len(y) == 0:
            return [[np.zeros(len(part))] * _stages() for part in others]
        model = _model("regression", categorical).fit(x, y)
        return [
            [(value - mean) / std for value in _staged(model.staged_predict, part)]
            for part in others
        ]
    if len(np.unique(y)) < 2:
        # One class only: nothing to learn for this label, its share is the answer.
        odds = 0.0 if len(y) == 0 else SURE * (2.0 * float(y[0]) - 1.0)
        return [[np.full(len(part), odds)] * _stages() for part in others]
    model = _model("classification", categorical).fit(x, y.astype(np.int64))
    return [
        [_log(p[:, 1]) - _log(p[:, 0]) for p in _staged(model.staged_predict_proba, part)]
        for part in others
    ]


def _classes(
    task: Task, x: np.ndarray, y: np.ndarray, others: list[np.ndarray], categorical: list[int]
) -> list[Stages]:
    """Log probabilities of every class; one that is not in the training rows is ruled out."""
    present = y >= 0
    model = _model("classification", categorical).fit(x[present], y[present])
    found: list[Stages] = []
    for part in others:
        stages: Stages = []
        for p in _staged(model.staged_predict_proba, part):
            output = np.full((len(part), task.output_size), -SURE)
            output[:, model.classes_] = _log(p)
            stages.append(output)
        found.append(stages)
    return found


def _model(kind: str, categorical: list[int]) -> Any:
    """scikit-learn's model; it stops at `TREES`, which the caller cuts back on validation."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    cls = HistGradientBoostingRegressor if kind == "regression" else HistGradientBoostingClassifier
    return cls(
        learning_rate=LEARNING_RATE,
        max_iter=TREES,
        early_stopping=False,
        categorical_features=categorical or None,
        random_state=0,
    )


def _staged(predict: Callable[[np.ndarray], Iterator[np.ndarray]], x: np.ndarray) -> Stages:
    """Predictions after every `EVERY` trees."""
    return [p for tree, p in enumerate(predict(x), start=1) if tree % EVERY == 0]


def _stages() -> int:
    return TREES // EVERY


def _log(p: np.ndarray) -> np.ndarray:
    """Log of a probability, bounded."""
    bounded: np.ndarray = np.maximum(np.log(np.maximum(p, 1e-300)), -SURE)
    return bounded
