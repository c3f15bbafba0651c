"""One forward pass of any model, and the losses of the tasks that have labels."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures import Architecture
from polytask.errors import UserError, some
from polytask.tasks import Task
from polytask.training._precision import Precision, to_float32

Features = Tensor | list[Tensor] | None
Batch = tuple[Any, Mapping[str, Tensor]]


@dataclass
class Losses:
    """Losses of the tasks present in a batch, and how many labels each has."""

    values: dict[str, Tensor]
    counts: dict[str, int]
    rows: int
    penalty: Tensor | None = None
    """What the model minimises beside its tasks' losses, see `Architecture.penalties`."""


class Forward:
    """Calls a model under autocast and checks what comes back.

    The model is called with `return_features=True` when its `forward` takes that argument, and
    must then return `(outputs, features)`; otherwise it returns `outputs` alone. `outputs` is a
    dictionary by task name.
    """

    def __init__(self, model: nn.Module, tasks: Mapping[str, Task], precision: Precision) -> None:
        self.model = model
        self.tasks = tasks
        self.precision = precision
        self.with_features = "return_features" in inspect.signature(model.forward).parameters

    def __call__(
        self, inputs: Any, features: bool = False, without: Collection[str] = ()
    ) -> tuple[dict[str, Tensor], Features]:
        """Outputs by task (float32), and the shared representation when asked for.

        Tasks in `without` have no output. One of our architectures does not compute what they
        alone need; of another module the outputs are dropped.
        """
        tasks = [name for name in self.tasks if name not in without]
        options: dict[str, Any] = {}
        if without and isinstance(self.model, Architecture):
            options["tasks"] = tasks
        if features and self.with_features:
            options["return_features"] = True
        with self.precision.autocast():
            returned = self.model(inputs, **options)
        shared: Features = None
        if isinstance(returned, tuple) and len(returned) == 2:
            returned, shared = returned
        if not isinstance(returned, Mapping):
            raise UserError(
                "the model must return a dictionary of outputs by task name, found "
                f"{type(returned).__name__}. Return, for example, "
                f"{{{next(iter(self.tasks))!r}: output}}."
            )
        missing = [name for name in tasks if name not in returned]
        if missing:
            raise UserError(
                f"the model gives no output for {some(missing, 80)}: expected outputs named "
                f"{some(self.tasks, 80)}, found {some(returned, 80) or 'none'}. Name them as the "
                "tasks."
            )
        for name in tasks:
            if not isinstance(returned[name], Tensor):
                raise UserError(
                    f"the model's output of task {name!r} is of type "
                    f"{type(returned[name]).__name__}; expected a tensor. Return the tensor "
                    "itself, with its graph."
                )
        return {name: to_float32(returned[name]) for name in tasks}, with_graph(shared)

    def losses(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Losses:
        """Losses of the tasks with at least one label; one without target or output is absent.

        In training, early answers of the newest forward pass add their loss to their task's, and
        the model's own terms are the penalty.
        """
        values, counts = {}, {}
        early: Mapping[str, list[Tensor]] = getattr(self.model, "intermediate", {})
        for name, task in self.tasks.items():
            if name in targets and name in outputs:
                value, count = task.loss(outputs[name], targets[name])
                for answer in early.get(name, ()):
                    value = value + task.loss(to_float32(answer), targets[name]).value
                if count:
                    values[name], counts[name] = value, int(count)
        rows = max((len(target) for target in targets.values()), default=0)
        return Losses(values, counts, rows, self._penalty())

    def _penalty(self) -> Tensor | None:
        """The sum of the model's own terms; None when it has none, and in evaluation."""
        if not self.model.training or not torch.is_grad_enabled():
            return None
        terms: dict[str, Tensor] = getattr(self.model, "penalties", dict)()
        return torch.stack([to_float32(term) for term in terms.values()]).sum() if terms else None


def with_graph(features: Features) -> Features:
    """The features that gradients run through: none when the shared part is frozen."""
    if features is None or isinstance(features, Tensor):
        return features if features is not None and features.requires_grad else None
    return [tensor for tensor in features if tensor.requires_grad] or None


def batches_on(batches: Iterable[Any], device: torch.device) -> Iterator[Batch]:
    """The batches, checked to be pairs `(inputs, targets)` and moved to the device."""
    from accelerate.utils import send_to_device

    for batch in batches:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise UserError(
                "a batch must be a pair (inputs, targets) with targets by task name, found "
                f"{type(batch).__name__}. Let the loader give such pairs."
            )
        inputs, targets = batch
        if not isinstance(targets, Mapping):
            raise UserError(
                "the targets of a batch must be a dictionary by task name, found "
                f"{type(targets).__name__}. Let the loader give {{'task': tensor}}."
            )
        for name, target in targets.items():
            if not isinstance(target, Tensor):
                raise UserError(
                    f"the target {name!r} of a batch is of type {type(target).__name__}; expected "
                    "a tensor. Convert it (torch.as_tensor), or leave a task without labels out of "
                    "the batch."
                )
        yield send_to_device(inputs, device), send_to_device(dict(targets), device)


def values_of(losses: Mapping[str, Tensor]) -> dict[str, float]:
    """Losses as numbers, fetched from the device in one go."""
    if not losses:
        return {}
    fetched = torch.stack([loss.detach().double() for loss in losses.values()]).tolist()
    return dict(zip(losses, fetched, strict=True))
