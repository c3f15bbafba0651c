"""What a metric is: a name, a direction, and a way to be accumulated in batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from polytask.errors import NonFiniteError, UserError, foreign, need, unknown
from polytask.metrics import _angle as angle
from polytask.metrics import _classification as classification
from polytask.metrics import _regression as regression
from polytask.metrics._subject import Subject
from polytask.metrics._undefined import NO_LABEL, Undefined

CLASSES = ("binary", "multiclass", "multilabel")


class _Word(NamedTuple):
    """A built-in metric: what it accumulates and the function that ends it."""

    direction: Literal["max", "min"]
    kinds: tuple[str, ...]
    state: str
    finish: Callable[[Any], float | Undefined]


_WORDS: dict[str, _Word] = {
    "rmse": _Word("min", ("regression",), "MomentState", regression.rmse),
    "mse": _Word("min", ("regression",), "MomentState", regression.mse),
    "mae": _Word("min", ("regression",), "MomentState", regression.mae),
    "r2": _Word("max", ("regression",), "MomentState", regression.r2),
    "pearson": _Word("max", ("regression",), "MomentState", regression.pearson),
    "mean_angle": _Word("min", ("regression",), "AngleState", angle.mean_angle),
    "auroc": _Word("max", CLASSES, "ScoreState", classification.auroc),
    "average_precision": _Word("max", CLASSES, "ScoreState", classification.average_precision),
    "log_loss": _Word("min", CLASSES, "LossState", classification.mean_loss),
    "accuracy": _Word("max", CLASSES, "CountState", classification.accuracy),
    "balanced_accuracy": _Word(
        "max", ("binary", "multiclass"), "CountState", classification.balanced_accuracy
    ),
    "f1": _Word("max", ("binary",), "CountState", classification.f1),
    "macro_f1": _Word("max", CLASSES, "CountState", classification.macro_f1),
    "micro_f1": _Word("max", ("multiclass", "multilabel"), "CountState", classification.micro_f1),
    "mean_iou": _Word("max", ("binary", "multiclass"), "CountState", classification.mean_iou),
    "loss": _Word("min", ("custom",), "LossState", classification.mean_loss),
}


def list_metrics(kind: str | None = None) -> list[str]:
    """Sorted names of the built-in metrics, of one kind of task or of all."""
    return sorted(name for name, word in _WORDS.items() if kind is None or kind in word.kinds)


def find_metric(name: str, kind: str) -> Metric:
    """The built-in metric called `name` for a task of `kind`.

    Raises `UserError` when there is none of that name (with the nearest) or when it does not fit
    the kind (with those that do).
    """
    if name not in _WORDS:
        raise unknown(f"metric for a {kind} task:", name, list_metrics(kind))
    if kind not in _WORDS[name].kinds:
        raise UserError(
            f"metric {name!r} does not fit a {kind} task; it is for {', '.join(_WORDS[name].kinds)}"
            f". Metrics that fit: {', '.join(list_metrics(kind))}, or a Metric of your own."
        )
    return Metric(name, _WORDS[name].direction)


@dataclass(frozen=True)
class Metric:
    """One score of one task.

    name: a built-in word (`list_metrics()`), or any name when `function` is given.
    direction: "max" when larger is better, "min" when smaller is.
    function: your own metric, `(outputs, targets) -> float | Undefined`, called once over all
        labelled items together. Outputs are logits (`[n]` binary, `[n, k]` multiclass and
        multilabel), predictions in target units (`[n]`, or `[n, size]`) for regression, and rows
        as the model gave them for a custom task; targets are codes `[n]`, or floats with NaN for
        a missing element.
    """

    name: str
    direction: Literal["max", "min"]
    function: Callable[[Tensor, Tensor], float | Tensor | Undefined] | None = None

    def __post_init__(self) -> None:
        if self.direction not in ("max", "min"):
            raise unknown("direction", self.direction, ("max", "min"))
        if not isinstance(self.name, str) or not self.name or "/" in self.name:
            raise UserError(f"a metric's name is a word without '/'; found {self.name!r}.")
        if self.function is not None:
            return
        if self.name not in _WORDS:
            raise UserError(
                f"{unknown('metric', self.name, _WORDS)} For a metric of your own, pass function=."
            )
        if self.direction != _WORDS[self.name].direction:
            raise UserError(
                f"metric {self.name!r} has direction {_WORDS[self.name].direction!r}; "
                f"found {self.direction!r}. For a metric of your own, pass function=."
            )

    @property
    def sign(self) -> int:
        """+1 when larger is better, -1 when smaller is."""
        return 1 if self.direction == "max" else -1

    def fresh(self, task: Subject) -> Accumulator:
        """An empty accumulator of this metric for `task` (needs torchmetrics)."""
        if self.function is None:
            find_metric(self.name, task.kind)
        return Accumulator(self, task)


class Accumulator:
    """One metric of one task over batches."""

    def __init__(self, metric: Metric, task: Subject) -> None:
        try:
            from polytask.metrics import _states as states
        except ModuleNotFoundError as error:
            if error.name != "torchmetrics":
                raise
            raise need("torchmetrics", "app", "computing metrics") from error
        self.metric, self.task = metric, task
        word = "ItemState" if metric.function else _WORDS[metric.name].state
        self._state = getattr(states, word)(task)

    @torch.no_grad()
    def update(self, output: Tensor, target: Tensor) -> None:
        """Take a batch: what the model gave and the encoded target, with missing labels.

        Unlabelled items have no influence, whatever their output. Raises `NonFiniteError` for a
        NaN output (regression: also infinite) of a labelled item and for an infinite target,
        `UserError` for shapes or codes that do not fit the task.
        """
        output, target = self.task.items(output.detach(), target.detach())
        self._check(output, target)
        if self._state.device != output.device:
            self._state.to(output.device)
        self._state.update(output, target)

    def compute(self) -> float | Undefined:
        """The score over everything seen so far. Raises `NonFiniteError` instead of NaN."""
        with self._state.sync_context():
            summary = self._state.summary()
        if self.metric.function is None:
            value = _WORDS[self.metric.name].finish(summary)
        elif summary is None:
            value = NO_LABEL
        else:
            value = self._own(*summary)
        if not isinstance(value, Undefined) and not math.isfinite(value):
            raise NonFiniteError(
                f"task {self.task.name!r}: metric {self.metric.name!r} came out as {value}; "
                "look for infinite or overflowing model outputs."
            )
        return value

    def _own(self, output: Tensor, target: Tensor) -> float | Undefined:
        """What the user's function says. Raises `UserError` when it fails or gives no number."""
        assert self.metric.function is not None
        what = f"task {self.task.name!r}: metric {self.metric.name!r}"
        shapes = f"outputs {list(output.shape)} and targets {list(target.shape)}"
        with foreign(
            lambda raised: (
                f"{what} raised {raised}, for {shapes}; expected one number. Call its "
                "function by hand on two such tensors."
            )
        ):
            found: Any = self.metric.function(output, target)
        if isinstance(found, Undefined):
            return found
        try:
            return float(found)
        except (TypeError, ValueError, RuntimeError):
            kind = f"shape {list(found.shape)}" if isinstance(found, Tensor) else ""
            raise UserError(
                f"{what} returned {kind or type(found).__name__} for {shapes}; expected one "
                "number, or polytask's Undefined. Reduce it to one, with .mean() for instance."
            ) from None

    def _check(self, output: Tensor, target: Tensor) -> None:
        """Refuse labelled elements from which no honest number can come."""
        exact = self.task.kind == "regression"
        if exact and bool(target.isinf().any()):
            raise NonFiniteError(
                f"task {self.task.name!r}: a target is infinite; encode such values as missing."
            )
        if not output.is_floating_point():
            return
        bad = ~output.isfinite() if exact else output.isnan()
        if target.is_floating_point() and target.shape == output.shape:
            bad &= ~target.isnan()
        if bool(bad.any()):
            what = "NaN or infinite" if exact else "NaN"
            raise NonFiniteError(
                f"task {self.task.name!r}: the model's output is {what} for {int(bad.sum())} of "
                f"{bad.numel()} labelled outputs, so metric {self.metric.name!r} has no value; "
                "training has diverged or an input is not finite."
            )
