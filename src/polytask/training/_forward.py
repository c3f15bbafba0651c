"""One forward pass of any model, and the losses of the tasks that have labels."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from polytask.architectures import Architecture
from polytask.data import Parts
from polytask.errors import UserError, some
from polytask.tasks import LossResult, Task
from polytask.training._precision import Precision, to_float32

if TYPE_CHECKING:
    from polytask.training._rescaling import Rescaling

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


class Labels:
    """Losses on labels alone; a `Lesson` knows teachers too."""

    def loss(self, task: Task, output: Tensor, target: Tensor) -> LossResult:
        """The loss of a task's output."""
        return task.loss(output, target)

    def answer_loss(self, task: Task, output: Tensor, target: Tensor) -> LossResult:
        """The loss of an early answer of a task."""
        return task.loss(output, target)


class Lessons(Protocol):
    """What decides which losses a batch has: a distillation, or weights of its rows."""

    def lesson(
        self, inputs: Any, targets: Mapping[str, Tensor], tasks: Iterable[str], features: Any
    ) -> Labels:
        """The losses of a batch whose tasks the model has answered."""


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
        self.teaching: Lessons | None = None
        """What the losses of the running fit are, where they are not those on labels alone."""
        self.rescaling: Rescaling | None = None
        """The normalised targets of the running fit, if any."""

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

    def step(
        self,
        inputs: Any,
        targets: Mapping[str, Tensor],
        paused: Collection[str] = (),
        plain: bool = False,
    ) -> tuple[Losses, Features]:
        """Losses of a batch, or of all parts of one, and the representation that its tasks share.

        They are the distilled ones where there are teachers, but for `plain`.

        A task without a target counts as one to do without: what serves it alone is not computed.
        Parts have no representation in common, so none is answered for several.
        """
        found, shared = [], None
        for own, labels in parts_of(inputs, targets):
            outputs, shared = self(own, features=True, without=self.absent(labels) | {*paused})
            lesson = None
            if self.teaching is not None and not plain:
                lesson = self.teaching.lesson(own, labels, outputs, shared)
            found.append(self.losses(outputs, labels, lesson))
        if len(found) == 1:
            return found[0], shared
        losses = merged(found)
        values, counts = losses.values, losses.counts
        names = [name for name in self.tasks if name in values]
        losses.values = {name: values[name] for name in names}
        losses.counts = {name: counts[name] for name in names}
        return losses, None

    def absent(self, targets: Mapping[str, Tensor]) -> set[str]:
        """The tasks that have no target in a batch."""
        return {name for name in self.tasks if name not in targets}

    def losses(
        self,
        outputs: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        lesson: Labels | None = None,
    ) -> Losses:
        """Losses of the tasks with at least one label; one without target or output is absent.

        With a `lesson` they are the distilled ones, also of tasks that are taught without labels.
        Under PopArt they are those of normalised targets.

        In training, early answers of the newest forward pass add their loss to their task's, and
        the model's own terms are the penalty.
        """
        values, counts = {}, {}
        rule = lesson or Labels()
        early: Mapping[str, list[Tensor]] = getattr(self.model, "intermediate", {})
        for name, task in self.tasks.items():
            if name in targets and name in outputs:
                output, target = outputs[name], targets[name]
                if self.rescaling is not None:
                    task, output, target = self.rescaling.turned(task, output, target)
                value, count = rule.loss(task, output, target)
                for answer in early.get(name, ()):
                    more = rule.answer_loss(task, to_float32(answer), target)
                    value = value + more.value
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


def merged(parts: Sequence[Losses]) -> Losses:
    """The losses of several batches as those of one: means over all labels, or over all rows."""
    counts: dict[str, int] = {}
    for part in parts:
        for name, count in part.counts.items():
            counts[name] = counts.get(name, 0) + count
    values: dict[str, Tensor] = {}
    for part in parts:
        for name, value in part.values.items():
            share = value * (part.counts[name] / counts[name])
            values[name] = values[name] + share if name in values else share
    rows = sum(part.rows for part in parts)
    terms = [part.penalty * (part.rows / rows) for part in parts if part.penalty is not None]
    penalty = torch.stack(terms).sum() if terms else None
    return Losses(values, counts, rows, penalty)


def parts_of(inputs: Any, targets: Mapping[str, Tensor]) -> Sequence[Batch]:
    """The pairs of a batch that holds several, or the one pair that it is."""
    return inputs if isinstance(inputs, Parts) else ((inputs, targets),)


def with_graph(features: Features) -> Features:
    """The features that gradients run through: none when the shared part is frozen."""
    if features is None or isinstance(features, Tensor):
        return features if features is not None and features.requires_grad else None
    return [tensor for tensor in features if tensor.requires_grad] or None


def batches_on(batches: Iterable[Any], device: torch.device) -> Iterator[Batch]:
    """The batches, checked to be pairs `(inputs, targets)` and moved to the device.

    Of a batch of `Parts` these are the inputs, with all their targets by task beside them.
    """
    for batch in batches:
        if isinstance(batch, Parts):
            pairs = Parts(batches_on(batch, device))
            yield pairs, _all_targets(pairs)
            continue
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
        yield _moved(inputs, device), _moved(dict(targets), device)


def _moved(tensors: Any, device: torch.device) -> Any:
    from accelerate.utils import send_to_device

    return send_to_device(tensors, device)


def _all_targets(pairs: Parts) -> dict[str, Tensor]:
    found: dict[str, list[Tensor]] = {}
    for _, targets in pairs:
        for name, target in targets.items():
            found.setdefault(name, []).append(target)
    return {name: torch.cat(parts) for name, parts in found.items()}


def values_of(losses: Mapping[str, Tensor]) -> dict[str, float]:
    """Losses as numbers, fetched from the device in one go."""
    if not losses:
        return {}
    fetched = torch.stack([loss.detach().double() for loss in losses.values()]).tolist()
    return dict(zip(losses, fetched, strict=True))
