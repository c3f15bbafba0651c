"""The losses of one batch that is taught: labels and what teachers say, mixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from polytask.architectures import Architecture
from polytask.errors import UserError
from polytask.optimization.distillation import feature_distance, mixed, soft_loss
from polytask.tasks import LossResult, Task
from polytask.training._forward import Labels
from polytask.training._taught import taught_elements

if TYPE_CHECKING:
    from polytask.training._teaching import Teaching


class Lesson(Labels):
    """What is taught of one batch: soft targets, or the features of teachers, by task."""

    def __init__(self, teaching: Teaching, known: Mapping[str, Tensor], features: Any) -> None:
        self.teaching = teaching
        self.known = known
        self.features = features

    def loss(self, task: Task, output: Tensor, target: Tensor) -> LossResult:
        """The distilled loss of a task; its own where nobody teaches it."""
        found = self.answer_loss(task, output, target)
        if self.features is None or task.name not in self.known:
            return found
        return self._with_features(task, found, target)

    def answer_loss(self, task: Task, output: Tensor, target: Tensor) -> LossResult:
        """The loss of an answer, early ones included: on labels and on soft targets."""
        hard = task.loss(output, target)
        if self.features is not None or task.name not in self.known:
            return hard
        distill = self.teaching.distill
        outputs, soft = taught_elements(
            task,
            output,
            target,
            self.known[task.name],
            unlabelled=distill.unlabelled,
            every_place=distill.places == "all",
        )
        losses = soft_loss(outputs, soft, task.kind, distill.temperature, dim=-1)
        count = losses.numel()
        value = mixed(
            hard.value if hard.count else None,
            losses.mean() if count else None,
            self.teaching.share(task.name),
        )
        if value is None:
            return LossResult(hard.value * 0, 0)
        return LossResult(value, max(hard.count, count))

    def _with_features(self, task: Task, found: LossResult, target: Tensor) -> LossResult:
        """The loss on labels and the weighted distance to the teacher's features."""
        teaching, teacher = self.teaching, self.known[task.name]
        model = teaching.fit.trainer.model
        network = teaching.teachers.networks[teaching.teachers.of[task.name][0]]
        own = teaching.adapters[task.name](last(model, self.features))
        distances = feature_distance(own, last(network, teacher), dim=-1)
        if not teaching.distill.unlabelled:
            kept = task.labelled(target)
            distances = distances[kept.reshape(len(kept), -1).any(1)]
        if not distances.numel():
            return found
        term = teaching.distill.weight_of(task.name) * distances.mean()
        if not found.count:
            return LossResult(term, len(distances))
        return LossResult(found.value + term, found.count)


def single(model: nn.Module, features: Any) -> Tensor:
    """The one tensor of features. Raises `UserError` where there is none, or several."""
    if isinstance(features, Tensor):
        return features
    found = "none that learns" if features is None else f"{len(features)} that form a cut"
    raise UserError(
        "form 'features' follows one shared representation, which the model's forward answers "
        f"with return_features=True; {type(model).__name__} has {found}. Use hard sharing, or "
        "form='annealed'."
    )


def last(model: nn.Module, features: Tensor) -> Tensor:
    """Features with their channels in the last dimension."""
    places = getattr(getattr(model, "encoder", None), "channel_dim", 1)
    dim = int(getattr(model, "channel_dim", places)) if isinstance(model, Architecture) else 1
    return features if features.dim() == 2 else to_float(features).movedim(dim, -1)


def to_float(features: Tensor) -> Tensor:
    """At least float32: distances of half-precision features would round."""
    return features.float() if features.dtype in (torch.float16, torch.bfloat16) else features
