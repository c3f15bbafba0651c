"""`MultiTaskEstimator`: several targets of one table, learned by one network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from polytask.data import Dataset, make_splits, table_dataset, transform_frame
from polytask.data._encode import encode_target, new_labels
from polytask.data.gaps import gaps
from polytask.errors import UserError
from polytask.metrics import Undefined
from polytask.tabular._inputs import checked, joined
from polytask.tabular.fitted import Fitted
from polytask.tabular.fitting import Choice, FitSettings, fit_dataset
from polytask.tabular.frames import prediction_frame, probability_frames
from polytask.tasks import Task, evaluate
from polytask.training.selection import relative_gain

if TYPE_CHECKING:
    import pandas as pd

    from polytask.tabular._inputs import Targets

TRAINER_WORDS = ("optimizer", "weight_decay", "scheduler", "clip_norm", "precision", "device")


class MultiTaskEstimator(BaseEstimator):
    """One network for several columns of a table, numbers and classes mixed, labels missing.

    Follows scikit-learn: nothing happens in `__init__`, fitted attributes end in an underscore,
    DataFrame in and DataFrame out. A missing label (NaN, None) is no reason to drop a row: it
    still trains the other targets. Inputs may have missing values and categories.

    Args:
        method: how the tasks are balanced: a name (`polytask.list_methods()`) or one name with
            its arguments, `{"cagrad": {"c": 0.4}}`.
        architecture: how they share, likewise.
        encoder: the network before the heads, likewise; None is `mlp`.
        auxiliary: helper tasks made from the table (`polytask.list_auxiliaries()`), names or names
            with arguments, as in `["quantised", {"predicting_inputs": {"columns": ["age"]}}]`.
            They are trained along, made from the training rows, and not predicted. None: none.
        epochs, batch_size, lr, optimizer, weight_decay, scheduler, clip_norm, precision, device:
            as in `polytask.Trainer`.
        patience: end after so many epochs without a better one; None never does.
        select: how the epoch is chosen on the rows held out: "mean_gain" (over the best constant
            prediction), "mean_rank", "main:NAME" or "loss".
        val_fraction: part of the rows held out for that; 0 trains on all and takes the last epoch.
        seed: of the split, the initial weights and the order of rows.
        progress: show a bar in a terminal.

    Attributes:
        tasks_: the tasks by name, with kinds, classes and scales as inferred from `fit`'s data.
        notes_: what was inferred and decided about columns and targets, in sentences.
        history_: `polytask.training.History` of the training.
        fitted_: the model with its preprocessing, a `polytask.tabular.Fitted`.
        feature_names_in_, n_features_in_: the columns given to `fit`.

    """

    tasks_: dict[str, Task]
    fitted_: Fitted

    def __init__(
        self,
        *,
        method: Choice = "linear",
        architecture: Choice = "hard_sharing",
        encoder: Choice | None = None,
        auxiliary: Choice | Sequence[Choice] | None = None,
        epochs: int = 100,
        batch_size: int = 128,
        lr: float = 1e-3,
        optimizer: str = "adam",
        weight_decay: float = 0.0,
        scheduler: str | None = None,
        clip_norm: float | None = None,
        precision: str = "no",
        patience: int | None = 20,
        select: str = "mean_gain",
        val_fraction: float = 0.15,
        device: str = "auto",
        seed: int = 0,
        progress: bool = False,
    ) -> None:
        self.method = method
        self.architecture = architecture
        self.encoder = encoder
        self.auxiliary = auxiliary
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.scheduler = scheduler
        self.clip_norm = clip_norm
        self.precision = precision
        self.patience = patience
        self.select = select
        self.val_fraction = val_fraction
        self.device = device
        self.seed = seed
        self.progress = progress

    def fit(
        self,
        X: pd.DataFrame,
        Y: pd.DataFrame | pd.Series | None = None,
        *,
        targets: Targets | None = None,
    ) -> Self:
        """Learn the columns of `Y` from the columns of `X`.

        Args:
            X: the inputs; with `Y` left out, the targets too.
            Y: the targets, one column each, rows as in `X`; NaN or None where unknown.
            targets: which columns are targets and of which kind: `["price:regression", "sold"]`
                or `{"price": "regression", "sold": Task(...)}`. Default: all of `Y`, with kinds
                inferred (read them in `notes_`). Needed when `Y` is left out.

        Raises:
            UserError: tables that do not fit together, an unknown column, a target that cannot
                be learned (constant, without labels, of another kind), a setting out of range.
            NonFiniteError: training diverged; says in which task, step and batch.
        """
        frame, wanted, unused = joined(X, Y, targets)
        dataset = table_dataset(frame, wanted, drop=unused)
        splits = self._splits(dataset)
        fitted, history = fit_dataset(dataset, splits, self._settings(), progress=self.progress)
        self.fitted_, self.history_ = fitted, history
        self.tasks_, self.notes_ = fitted.tasks, dataset.notes + gaps(dataset, splits)
        inputs = [name for name in X.columns if str(name) not in fitted.tasks]
        self.feature_names_in_ = _object_array(inputs)
        self.n_features_in_ = len(inputs)
        return self

    def predict(self, X: pd.DataFrame) -> pd.DataFrame:
        """Every target for the rows of `X`, in units and labels of the training table.

        Columns that training did not use are ignored, categories it did not see count as
        missing. Raises `UserError` for a column that is not there.
        """
        outputs = self._outputs(X)
        return prediction_frame(self.tasks_, outputs, X.index)

    def predict_proba(self, X: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Probabilities of every class, by classification task; {} when there is none."""
        outputs = self._outputs(X)
        return probability_frames(self.tasks_, outputs, X.index)

    def evaluate(
        self, X: pd.DataFrame, Y: pd.DataFrame | pd.Series | None = None
    ) -> dict[str, dict[str, float | Undefined]]:
        """Every metric of every task on rows with labels, in original units.

        A task without a column in `Y` is left out. A metric without a value (one class only, no
        label) is `Undefined` with its reason. Rows of a multiclass task whose label training has
        not seen count as wrong in its accuracy; its other metrics are then `Undefined`. Any
        other task with such a label raises `UserError`.
        """
        return self._evaluate(X, *self._targets(X, Y))

    def score(self, X: pd.DataFrame, Y: pd.DataFrame | pd.Series | None = None) -> float:
        """Mean over the main tasks of the relative gain over the best constant prediction.

        Like R², but of each task's primary metric (the part of the constant prediction's error
        that is gone, where the metric is an error): 0 is no better than a constant, higher is
        better. Tasks without a defined score are left out; with none, `UserError`.
        """
        targets, unseen = self._targets(X, Y)
        scores = self._evaluate(X, targets, unseen)
        gains = []
        for name, row in scores.items():
            task = self.tasks_[name]
            value = row[task.primary.name]
            constant = task.trivial(targets[name], targets[name])
            if isinstance(constant, float) and unseen.get(name):
                constant *= _seen_share(task, targets[name], unseen[name])
            if task.role == "main" and isinstance(value, float) and isinstance(constant, float):
                gains.append(relative_gain(value, constant, task.primary.direction))
        if not gains:
            raise UserError(
                "no task has a defined score on these rows; expected labels of at least one of "
                f"{', '.join(self.tasks_)}, and more than one value of it."
            )
        return sum(gains) / len(gains)

    def save(self, folder: str | Path) -> Path:
        """Write the model to a folder as JSON and safetensors; see `polytask.tabular.Fitted`."""
        check_is_fitted(self, "fitted_")
        self.fitted_.settings["estimator"] = self.get_params()
        return self.fitted_.save(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """An estimator that predicts as the saved one does (also one of `polytask train`).

        Raises `UserError` when the folder holds no model of a table, or a damaged one.
        """
        fitted = Fitted.load(folder)
        if not fitted.columns:
            raise UserError(f"{folder} holds a model that was not fitted on a table.")
        known = cls().get_params()
        saved = fitted.settings.get("estimator", fitted.settings)
        self = cls(**{word: saved[word] for word in known if word in saved})
        self.fitted_, self.tasks_, self.notes_ = fitted, fitted.tasks, []
        inputs = [*fitted.columns.get("numeric", []), *fitted.columns.get("categorical", [])]
        self.feature_names_in_ = _object_array(inputs)
        self.n_features_in_ = len(inputs)
        return self

    def _settings(self) -> FitSettings:
        words = ("method", "architecture", "encoder", "epochs", "batch_size", "lr", "patience")
        return FitSettings(
            **{word: getattr(self, word) for word in (*words, "select", "seed")},
            auxiliary=() if self.auxiliary is None else self.auxiliary,
            options={word: getattr(self, word) for word in TRAINER_WORDS},
        )

    def _splits(self, dataset: Dataset) -> dict[str, Any]:
        return make_splits(
            dataset, test_fraction=0.0, val_fraction=self.val_fraction, seed=self.seed
        )

    def _outputs(self, X: pd.DataFrame) -> dict[str, torch.Tensor]:
        check_is_fitted(self, "fitted_")
        return self.fitted_.outputs(transform_frame(checked(X, "X"), self.fitted_.columns))

    def _evaluate(
        self, X: pd.DataFrame, targets: dict[str, torch.Tensor], unseen: dict[str, int]
    ) -> dict[str, dict[str, float | Undefined]]:
        outputs = self._outputs(X)
        tasks = {name: self.tasks_[name] for name in targets}
        scores = evaluate(tasks, {name: outputs[name] for name in tasks}, targets)
        for name, count in unseen.items():
            seen = _seen_share(tasks[name], targets[name], count)
            accuracy = scores[name].get("accuracy")
            for metric in scores[name]:
                scores[name][metric] = Undefined(f"{count} rows have a label not seen in training")
            if accuracy is not None:
                scores[name]["accuracy"] = float(accuracy) * seen if seen else 0.0
        return scores

    def _targets(
        self, X: pd.DataFrame, Y: pd.DataFrame | pd.Series | None
    ) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
        """Encoded targets of the tasks that have a column; rows with a new class, by task."""
        check_is_fitted(self, "fitted_")
        frame = X if Y is None else joined(X, Y, None)[0]
        targets: dict[str, torch.Tensor] = {}
        unseen: dict[str, int] = {}
        for name, task in self.tasks_.items():
            if name not in frame.columns:
                continue
            column = frame[name]
            if task.kind == "multiclass" and (new := new_labels(column, task)).any():
                unseen[name] = int(new.sum())
                column = column.mask(new, None)
            targets[name] = torch.from_numpy(encode_target(column, task, []))
        return targets, unseen


def _seen_share(task: Task, target: torch.Tensor, unseen: int) -> float:
    """The share of labelled rows whose label is one of the task's classes."""
    seen = int(task.labelled(target).sum())
    return seen / (seen + unseen)


def _object_array(names: list[Any]) -> Any:
    import numpy as np

    return np.asarray([str(name) for name in names], dtype=object)
