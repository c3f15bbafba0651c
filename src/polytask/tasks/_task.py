"""The Task: an immutable description, with its loss, predictions and metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor

from polytask.errors import UserError
from polytask.metrics import Metric, Undefined
from polytask.metrics._subject import codes, unscale
from polytask.tasks import _losses, _stored
from polytask.tasks._check import KINDS, ROLES, checked_fields
from polytask.tasks._encode import encode
from polytask.tasks._fit import fit, trivial
from polytask.tasks._items import as_tensor, check_output, items, labelled, upcast

__all__ = ["KINDS", "ROLES", "LossResult", "Task"]


class LossResult(NamedTuple):
    """A task's loss on one batch."""

    value: Tensor
    """Scalar, connected to the graph: mean over labelled elements, or 0 when there are none."""
    count: int  # type: ignore[assignment]
    """How many labelled elements it is the mean of: items (dense: positions); one per output or
    label where a task has several; rows of a custom task."""


@dataclass(frozen=True)
class Task:
    """One thing to predict.

    name: key of its outputs, targets, losses and metrics everywhere; without "/".
    kind: what the target is. "custom" is any other: give `loss_function`, `size` and `metrics`.
    role: "main", or "auxiliary" for a task that is only there to help.
    classes: labels in code order: 2 for binary (default 0, 1; the second is the positive one), k
        for multiclass, the names of the k labels for multilabel.
    size: number of outputs of a regression or custom task.
    metrics: built-in words or `Metric`s; the first is the primary one, by which the task is
        judged. Defaults: rmse, mae, r2 | auroc, log_loss, accuracy (binary) | accuracy, log_loss,
        macro_f1 (multiclass) | auroc, micro_f1, log_loss (multilabel) | loss (custom). r2 may not
        be primary: relative changes of a score that can be 0 or negative say nothing.
    loss_function: `(output, target) -> losses [n]`, called on labelled items only. Default:
        squared error of the standardised target | logistic loss | cross-entropy | mean over the
        labels' logistic losses. Regression also takes a word, "squared", "huber" or "l1".
        Your own function gets flat vectors of labelled elements (regression, in standardised
        units; binary and multilabel: logits and 0/1 floats), logits `[n, k]` and codes `[n]`
        (multiclass), or whole rows with at least one label (custom).
    places: sizes of the axes behind a dense target, (H, W) or (L,); () for one target an item.
        `fitted` sets it. Heads built for the task answer at every place.
    reverse: for an auxiliary task to be unlearned (an adversary): its head learns as any other,
        and below the head its gradient is multiplied by -reverse, so that what the head reads
        learns to hide what it needs (gradient reversal, https://arxiv.org/abs/1409.7495). 0 is
        none. The networks of `polytask.architectures` do it, with heads of your own too.
    mean, std: what regression targets are standardised with, in target units, a number or one per
        output; `fitted` sets them. The loss is on the standardised target, so that tasks in
        different units weigh alike; metrics and `predict` are in target units.

    Targets: regression float `[N]` or `[N, size]`, NaN missing; binary and multiclass int64 codes
    `[N]`, -100 missing; multilabel float 0/1 `[N, k]`, NaN missing. Outputs: `[N, output_size]`.
    Dense tasks have further axes behind: output `[N, k, H, W]`, target `[N, H, W]` (or
    `[N, size, H, W]`). Raises `UserError` for words or settings that do not fit together.
    """

    name: str
    kind: Literal["regression", "binary", "multiclass", "multilabel", "custom"]
    role: Literal["main", "auxiliary"] = "main"
    classes: tuple[Any, ...] = ()
    size: int = 1
    metrics: tuple[str | Metric, ...] = ()
    loss_function: Callable[[Tensor, Tensor], Tensor] | str | None = None
    places: tuple[int, ...] = ()
    reverse: float = 0.0
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        for field, value in checked_fields(self).items():
            object.__setattr__(self, field, value)

    @property
    def output_size(self) -> int:
        """Channels the model must give: 1 (binary), number of classes or labels, or `size`."""
        if self.kind in ("multiclass", "multilabel"):
            return len(self.classes)
        return self.size

    @property
    def all_metrics(self) -> tuple[Metric, ...]:
        """Every metric, the primary one first."""
        return _stored.all_metrics(self.kind, self.metrics)

    @property
    def primary(self) -> Metric:
        """The metric by which the task is judged."""
        return self.all_metrics[0]

    def items(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The labelled items of a batch: outputs `[n, c]`, targets `[n]` or `[n, c]` with NaN."""
        return items(self.name, self.kind, self.output_size, output, target)

    def item_losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Losses of labelled items as `items` gives them: one per labelled element, flat."""
        own = self.loss_function
        if self.kind == "custom":
            assert callable(own)
            return _losses.checked(self.name, own, output, target, flat=False)
        if self.kind == "multiclass":
            loss: _losses.Loss = _losses.cross_entropy
        elif self.kind == "regression":
            loss = _losses.REGRESSION_LOSSES[own if isinstance(own, str) else "squared"]
            target = _losses.standardise(target, self.mean, self.std)
        else:
            loss = _losses.logistic
            target = target.to(output.dtype).reshape(output.shape)
        if self.kind != "multiclass":
            mask = ~target.isnan()
            output, target = output[mask], target[mask]
        if callable(own):
            return _losses.checked(self.name, own, output, target, flat=True)
        return loss(output, target)

    def loss(self, output: Tensor, target: Tensor) -> LossResult:
        """Mean loss over the labelled elements of a batch, in float32 or wider.

        Without any label the value is a zero whose backward gives zero gradients, and the count
        is 0. Unlabelled outputs get a gradient of exactly 0, even when they are not finite.
        """
        output, target = self.items(output, target)
        if target.shape[0] == 0:
            return LossResult(output.sum() * 0, 0)
        losses = self.item_losses(output, target)
        return LossResult(losses.mean(), losses.numel())

    def labelled(self, target: Tensor | np.ndarray) -> Tensor:
        """Which items have a label: bool `[N]`, or `[N, ...]` for a dense target.

        An item of several outputs or labels counts when at least one is there.
        """
        return labelled(self.kind, self.size, as_tensor(target))

    def predict(self, output: Tensor) -> Tensor:
        """Predictions: target units, class codes, or 0/1.

        `[N]` for binary, multiclass and one-output regression, `[N, k]` for multilabel (0/1) and
        several outputs; dense axes stay behind. Codes are int64. A custom output is left as is.
        """
        if self.kind == "custom":
            return upcast(output)
        output = check_output(self.name, self.output_size, output)
        if self.kind != "regression":
            return codes(self.kind, output, dim=1)
        values = unscale(self, output.movedim(1, -1)).movedim(-1, 1)
        return values.squeeze(1) if self.size == 1 else values

    def probabilities(self, output: Tensor) -> Tensor:
        """Probabilities: of the second class `[N]` (binary), of each class or label `[N, k]`.

        Raises `UserError` for regression and custom tasks, which have none.
        """
        if self.kind in ("regression", "custom"):
            raise UserError(f"task {self.name!r} is {self.kind}: it has no class probabilities.")
        output = check_output(self.name, self.output_size, output)
        if self.kind == "multiclass":
            return output.softmax(1)
        return output.sigmoid().squeeze(1) if self.kind == "binary" else output.sigmoid()

    def encode(self, values: Any) -> np.ndarray:
        """Raw labels (list, array, Series, tensor) as this task's target array.

        None, NaN, pandas' NA and NaT are missing everywhere; -100 in classification targets too,
        unless it is one of the classes. A multilabel row may be a set of label names. Regression
        float32 `[N]` or `[N, size]`, binary and multiclass int64 of the same shape, multilabel
        float32 `[N, k]`. Raises `UserError` naming the first value that does not fit.
        """
        return encode(self, values)

    def fitted(self, train_target: np.ndarray | Tensor) -> Task:
        """A copy with the places, mean and standard deviation of the encoded training targets.

        Mean and deviation are of regression tasks alone. All are checked: raises `UserError` for a
        target that is all missing, constant, of one class only, infinite or of another kind.
        """
        return fit(self, train_target)

    def trivial(
        self, train_target: np.ndarray | Tensor, target: np.ndarray | Tensor
    ) -> float | Undefined:
        """The primary metric of the best constant prediction learned from training labels.

        Mean (median when the primary metric is mae) of the training targets, or the share of each
        class. A custom task has none: `Undefined`.
        """
        return trivial(self, train_target, target)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values. Raises `UserError` when a loss or a metric is a function."""
        return _stored.to_dict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Task:
        """The task that `to_dict` wrote. Raises `UserError` for keys that it does not know."""
        return cls(**_stored.known(stored, cls))
