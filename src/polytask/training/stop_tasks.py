"""Stopping a helper task for good once it only memorises."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polytask.errors import UserError
from polytask.metrics import Undefined
from polytask.training._watched import check_names, watched
from polytask.training.callbacks import Callback

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer

log = logging.getLogger("polytask.training")
BY = "TaskEarlyStopping"


class TaskEarlyStopping(Callback):
    """Stops a helper for the rest of a training when it no longer learns and overfits.

    Zhang, Luo, Loy and Tang 2014 (https://doi.org/10.1007/978-3-319-10599-4_7, equation 5, given
    here as recalled). After epoch t, with training losses E_j and validation losses V_j of the
    task and the median and the sum over the last k + 1 epochs, the task is stopped when

        [k med / (sum - k med)] * [(V_t - min E) / (lambda min E)]  >  epsilon.

    The first factor is small while the training loss falls fast (k where it is flat, about 1 where
    it halves every epoch); the second is how far validation lies above the best training loss.
    lambda is the task's importance: a larger one lets it train for longer. The paper learns it
    with the network; here it is given. Where the last losses fell so fast that the first
    denominator is not positive, which the paper leaves open, the task goes on.

    E_j is the mean loss over the steps of epoch j that the task took part in, so it is of
    changing weights and with dropout. A stopped task is still evaluated. Needs validation data;
    costs nothing else.

    Args:
        epsilon: the threshold. The paper names no value; at 1, with k = 5, a task whose training
            loss is flat is stopped once validation lies 20 % above it.
        period: k, at least 1; nothing is stopped before epoch k + 1.
        importance: lambda, one number or one a task; 1 where none is given.
        tasks: which may be stopped; every auxiliary one by default.

    `stopped` has the epoch after which a task was stopped, `values` the left-hand side of every
    epoch, by task (None where it is undefined).

    Raises:
        UserError: an argument that cannot be; no task that may be stopped; no validation data.

    >>> from polytask.training import TaskEarlyStopping
    >>> TaskEarlyStopping(epsilon=0.5, importance={"pose": 2.0}).stopped
    {}
    """

    def __init__(
        self,
        epsilon: float = 1.0,
        period: int = 5,
        importance: float | Mapping[str, float] = 1.0,
        tasks: Sequence[str] | None = None,
    ) -> None:
        if not epsilon > 0:
            raise UserError(f"epsilon must be above 0, found {epsilon!r}.")
        if not isinstance(period, int) or period < 1:
            raise UserError(f"period must be a whole number of at least 1, found {period!r}.")
        given = importance.values() if isinstance(importance, Mapping) else [importance]
        for value in given:
            if not value > 0:
                raise UserError(f"importance must be above 0, found {value!r}.")
        self.epsilon = epsilon
        self.period = period
        self.importance = dict(importance) if isinstance(importance, Mapping) else importance
        self.tasks = check_names(BY, tasks)
        self._resumed = False
        self._start()

    def _start(self) -> None:
        self.stopped: dict[str, int] = {}
        self.values: dict[str, list[float | None]] = {}
        self._errors: dict[str, list[float]] = {}

    def changes(self) -> dict[str, Any]:
        """Its arguments."""
        return {
            "epsilon": self.epsilon,
            "period": self.period,
            "importance": self.importance,
            "tasks": self.tasks,
        }

    def state_dict(self) -> dict[str, Any]:
        """Losses so far and what was stopped."""
        return {"stopped": self.stopped, "values": self.values, "errors": self._errors}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from saved losses."""
        self.stopped = dict(state["stopped"])
        self.values = {task: list(values) for task, values in state["values"].items()}
        self._errors = {task: list(errors) for task, errors in state["errors"].items()}
        self._resumed = True

    def on_train_begin(self, trainer: Trainer) -> None:
        """Check that the tasks can be stopped; a training that is not resumed starts anew."""
        if not self._resumed:
            self._start()
        self._resumed = False
        self._names = watched(trainer, self.tasks, BY)

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, Any]) -> None:
        """Judge every task that still trains."""
        for task in self._names:
            if task in self.stopped:
                continue
            value = self._judge(task, metrics[f"train/{task}/loss"], metrics[f"val/{task}/loss"])
            self.values.setdefault(task, []).append(value)
            if value is not None and value > self.epsilon:
                self.stopped[task] = epoch
                trainer.pause(task, by=BY)
                log.info("task %r is stopped after epoch %d (%.3g)", task, epoch, value)

    def _judge(self, task: str, trained: Any, val: Any) -> float | None:
        """The left-hand side after one more epoch; one without both losses does not count."""
        if isinstance(trained, Undefined) or isinstance(val, Undefined):
            return None
        errors = self._errors.setdefault(task, [])
        errors.append(trained)
        given = self.importance
        importance = given.get(task, 1.0) if isinstance(given, dict) else given
        return criterion(errors, val, self.period, importance)


def criterion(
    errors: Sequence[float], val: float, period: int, importance: float = 1.0
) -> float | None:
    """The left-hand side of `TaskEarlyStopping`.

    Args:
        errors: training losses of all epochs so far; where one is negative, shares of it say
            nothing, and the answer is None.
        val: the newest validation loss.
        period: k; with fewer than k + 1 losses the answer is None.
        importance: lambda.

    >>> criterion([1.0, 1.0, 1.0], 1.25, period=2)  # flat: 2 * 0.25
    0.5
    """
    if len(errors) <= period or min(errors) < 0:
        return None
    last = errors[-period - 1 :]
    middle = period * statistics.median(last)
    rest = math.fsum(last) - middle
    trend = middle / rest if rest > 0 else 0.0
    if not any(last):
        trend = period  # flat at 0
    if not trend:
        return 0.0
    least = min(errors)
    if not least:
        return math.inf if val > 0 else 0.0
    return trend * (val - least) / (importance * least)
