"""The settings of a training: checked when made, and written out as they were resolved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from polytask.errors import UserError, some, unknown
from polytask.optimization.base import Balancer
from polytask.tasks import Task
from polytask.training._optim import OPTIMIZERS, SCHEDULERS, OptimizerMaker, SchedulerMaker
from polytask.training._precision import DTYPES
from polytask.training.selection import Select, check_rule

RESERVED = ("best", "last")


@dataclass(frozen=True)
class Settings:
    """Constructor arguments of the `Trainer`; see there for their meaning."""

    method: str | Balancer = "linear"
    optimizer: str | OptimizerMaker = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    epochs: int = 20
    batch_size: int = 256
    scheduler: str | SchedulerMaker | None = None
    warmup: float = 0.0
    accumulate: int = 1
    clip_norm: float | None = None
    precision: str = "no"
    patience: int | None = None
    select: Select = "mean_gain"
    reference: Mapping[str, float] = field(default_factory=dict)
    checkpoints: Mapping[str, int] = field(default_factory=dict)
    device: str = "auto"
    seed: int = 0
    checkpoint_every: float = 30.0

    def check(self, tasks: Mapping[str, Task]) -> None:
        """Raise `UserError` for the first setting that cannot be."""
        self._check_words(tasks)
        for name in ("epochs", "batch_size", "accumulate"):
            _whole(name, getattr(self, name))
        if self.patience is not None:
            _whole("patience", self.patience)
        _whole("seed", self.seed, least=0)
        _number("lr", self.lr, above=0)
        _number("checkpoint_every", self.checkpoint_every, least=0)
        _number("weight_decay", self.weight_decay, least=0)
        _number("warmup", self.warmup, least=0, below=1)
        if self.clip_norm is not None:
            _number("clip_norm", self.clip_norm, above=0)
        if self.warmup and callable(self.scheduler):
            raise UserError(
                "warmup belongs to a schedule by word; with a scheduler of your own, "
                "build the warm-up into it and leave warmup at 0."
            )

    def _check_words(self, tasks: Mapping[str, Task]) -> None:
        for word, value, known, made in (
            ("optimizer", self.optimizer, OPTIMIZERS, "(parameters, lr=, weight_decay=)"),
            ("scheduler", self.scheduler, SCHEDULERS, "(optimizer, steps)"),
        ):
            if isinstance(value, str) and value not in known:
                raise unknown(word, value, known)
            if not isinstance(value, str | None) and not callable(value):
                raise UserError(
                    f"{word} must be a name or a callable {made}, found one of type "
                    f"{type(value).__name__} that is built. Pass the class, or a function that "
                    "builds it."
                )
        if self.optimizer is None:
            raise unknown("optimizer", None, OPTIMIZERS)
        if self.precision not in DTYPES:
            raise unknown("precision", self.precision, DTYPES)
        if not isinstance(self.method, str | Balancer):
            raise UserError(
                "method must be a name or a balancer, found "
                f"{type(self.method).__name__}. Build one with polytask.create_method(...)."
            )
        check_rule(self.select, tasks)
        for name, score in self.reference.items():
            if name not in tasks:
                raise unknown("task in reference:", name, tasks)
            _number(f"reference[{name!r}]", score)
        for name, epoch in self.checkpoints.items():
            if name in RESERVED or not str(name).isidentifier():
                raise UserError(
                    f"a checkpoint cannot be called {name!r}: expected a plain word other than "
                    f"{' and '.join(RESERVED)}, such as 'equal_time'."
                )
            _whole(f"checkpoints[{name!r}]", epoch)

    def resolved(
        self, tasks: Mapping[str, Task], balancer: Balancer, device: object
    ) -> dict[str, Any]:
        """Settings and tasks as plain values, for `config.yaml`."""
        values = {f.name: _describe(getattr(self, f.name)) for f in fields(self)}
        values["method"] = self.method if isinstance(self.method, str) else repr(balancer)
        values |= {"balancer": repr(balancer), "device": str(device)}
        return {"tasks": {n: describe_task(t) for n, t in tasks.items()}, "trainer": values}


def describe_task(task: Task) -> dict[str, Any]:
    """A task as plain values; what only code can say is given by its name."""
    try:
        return task.to_dict()
    except UserError:
        return {
            "name": task.name,
            "kind": task.kind,
            "role": task.role,
            "size": task.size,
            "metrics": [metric.name for metric in task.all_metrics],
            "loss_function": _describe(task.loss_function),
        }


def by_name(tasks: Mapping[str, Task] | Any) -> dict[str, Task]:
    """Tasks by name. Raises `UserError` unless they are distinct tasks, at least one."""
    listed = list(tasks.values() if isinstance(tasks, Mapping) else tasks)
    for task in listed:
        if not isinstance(task, Task):
            raise UserError(
                f"expected a polytask.Task, found {type(task).__name__} {task!r}. Describe every "
                "task, as in Task('price', 'regression')."
            )
    named = {task.name: task for task in listed}
    if isinstance(tasks, Mapping) and list(tasks) != list(named):
        raise UserError(
            f"the tasks are filed under {', '.join(map(str, tasks))} but are called "
            f"{', '.join(named)}. Use each task's own name as its key."
        )
    if len(named) < len(listed) or not named:
        raise UserError(
            f"expected tasks with different names, found {some(t.name for t in listed)}. Rename "
            "all but one."
            if named
            else "a training needs at least one task, found none. Pass tasks by name or in a list."
        )
    return named


def _describe(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if callable(value):
        return getattr(value, "__qualname__", None) or repr(value)
    return value


def _whole(name: str, value: Any, least: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"{name} must be a whole number of at least {least}, found {value!r}.")


def _number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
) -> None:
    fine = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and (above is None or value > above)
        and (least is None or value >= least)
        and (below is None or value < below)
    )
    if not fine:
        bounds = [
            f"above {above:g}" if above is not None else "",
            f"at least {least:g}" if least is not None else "",
            f"below {below:g}" if below is not None else "",
        ]
        said = " and ".join(bound for bound in bounds if bound)
        raise UserError(f"{name} must be a number{' ' + said if said else ''}, found {value!r}.")
