"""Distillation in a running fit: what teachers say of a batch, and what it counts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from polytask.data import Batches
from polytask.errors import UserError
from polytask.optimization.distillation import (
    FeatureAdapter,
    label_share,
    soft_targets,
)
from polytask.tasks import Task
from polytask.tasks._items import check_output
from polytask.training._device import seeded
from polytask.training._forward import batches_on, parts_of
from polytask.training._lesson import Lesson, last, single
from polytask.training._trial import first_batch
from polytask.training.callbacks import Callback
from polytask.training.representation import drawn

if TYPE_CHECKING:
    from polytask.training._fit import Fit
    from polytask.training.trainer import Trainer

CACHED = "{}/teacher"
"""Where cached answers travel, among the targets; no task has "/" in its name."""


class Teaching(Callback):
    """The distillation of one fit. The adapters are its state; all else follows from the step.

    Raises `UserError` before anything is trained when the teachers' answers do not fit.
    """

    def __init__(self, fit: Fit, train: Any) -> None:
        trainer = fit.trainer
        assert trainer.distill is not None
        assert trainer.teachers is not None
        self.fit = fit
        self.distill, self.teachers = trainer.distill, trainer.teachers
        self.tasks = trainer.tasks
        self.steps: int | None = None
        self.adapters: dict[str, FeatureAdapter] = {}
        if self.distill.cache and not isinstance(train, Batches):
            raise UserError(
                "cache=True computes what teachers say of every row beforehand, which needs rows "
                f"in memory: expected polytask.data.Batches, found {type(train).__name__}. Use "
                "them, or cache=False."
            )
        self._try_out(trainer, train)

    def state_dict(self) -> dict[str, Any]:
        """The adapters, which no checkpoint holds."""
        return {name: adapter.weight.detach() for name, adapter in self.adapters.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with saved adapters."""
        with torch.no_grad():
            for name, weight in state.items():
                self.adapters[name].weight.copy_(weight)

    def begin(self, optimizer: Optimizer, steps: int | None) -> None:
        """Know the length of the training, and let the optimizer learn the adapters.

        Raises `UserError` where annealing needs a length and there is none.
        """
        if self.distill.form == "annealed" and steps is None:
            raise UserError(
                "teacher annealing follows the steps of the whole training, but the training "
                "batches have no len(). Give them one, or use form='soft'."
            )
        self.steps = steps
        if self.adapters:
            rate = self.distill.adapter_lr or self.fit.settings.lr
            learned = [adapter.weight for adapter in self.adapters.values()]
            optimizer.add_param_group({"params": learned, "lr": rate})

    def share(self, task: str) -> float:
        """What the labels of a task count in the running step."""
        if self.distill.form == "annealed":
            assert self.steps is not None
            return label_share(self.fit.state.step, self.steps)
        return 1 - self.distill.weight_of(task)

    def lesson(
        self,
        inputs: Any,
        targets: Mapping[str, Tensor],
        tasks: Iterable[str],
        features: Any,
    ) -> Lesson:
        """What is taught of a batch: of the tasks that the model answered and has targets for."""
        matching = self.distill.form == "features"
        wanted = [
            name
            for name in tasks
            if name in self.teachers.of and name in targets and (matching or self.share(name) < 1)
        ]
        known = {
            name: targets[CACHED.format(name)] for name in wanted if CACHED.format(name) in targets
        }
        known |= self.said(inputs, [name for name in wanted if name not in known])
        if matching and known:
            features = single(self.fit.trainer.model, features)
        return Lesson(self, known, features if matching else None)

    def said(self, inputs: Any, tasks: Collection[str]) -> dict[str, Tensor]:
        """Soft targets of these tasks, channels second, or their teachers' features."""
        if not tasks:
            return {}
        if self.distill.form == "features":
            return self.teachers.features(inputs, tasks)
        found = {}
        for name, outputs in self.teachers.outputs(inputs, tasks).items():
            task = self.tasks[name]
            found[name] = soft_targets(
                [self._checked(task, output) for output in outputs],
                task.kind,
                self.distill.temperature,
            )
        return found

    def cached(self, train: Any) -> Any:
        """The training batches, with what teachers say of every row where that is wanted."""
        if not self.distill.cache:
            return train
        parts: dict[str, list[Tensor]] = {name: [] for name in self.teachers.of}
        with seeded(self.fit.settings.seed, self.fit.trainer.device):
            for inputs, _ in batches_on(drawn(train, None), self.fit.trainer.device):
                for name, answer in self.said(inputs, list(parts)).items():
                    parts[name].append(answer.cpu())
        answers = {CACHED.format(name): torch.cat(part) for name, part in parts.items()}
        targets = {**train.targets, **answers}
        how = {w: getattr(train, w) for w in ("batch_size", "shuffle", "seed", "drop_last")}
        return Batches(train.inputs, targets, **how)

    def _checked(self, task: Task, output: Tensor) -> Tensor:
        """A teacher's output with channels second. Raises `UserError` for another shape."""
        try:
            output = check_output(task.name, task.output_size, output)
        except UserError as error:
            raise UserError(f"the teacher of {task.name!r} does not fit: {error}") from error
        if task.places and tuple(output.shape[2:]) != task.places:
            raise UserError(
                f"the teacher of {task.name!r} answers at places {tuple(output.shape[2:])}, "
                f"expected {task.places}. Use a teacher of the same places."
            )
        return output

    def _try_out(self, trainer: Trainer, train: Any) -> None:
        """Ask the teachers about the first batch, and make the adapters for what they answer."""
        matching = self.distill.form == "features"
        batches = first_batch(train)
        if matching and not batches:
            raise UserError(
                "form 'features' has to see a batch before training, to make adapters, and these "
                "batches cannot be looked at without using them up. Give Batches, a list or a "
                "DataLoader of a sized data set, or use another form."
            )
        training = trainer.model.training
        trainer.model.eval()
        try:
            with seeded(trainer.settings.seed, trainer.device):
                for inputs, targets in batches_on(batches, trainer.device):
                    for own, labels in parts_of(inputs, targets):
                        present = [name for name in self.teachers.of if name in labels]
                        said = self.said(own, present)
                        if matching and said:
                            _, features = trainer.forward(own, features=True)
                            self._make_adapters(trainer, said, features)
        finally:
            trainer.model.train(training)
        missing = [name for name in self.teachers.of if name not in self.adapters]
        if matching and missing:
            raise UserError(
                f"the first batch has no target of {missing[0]!r}, and shows how large its adapter "
                "must be. Give every task its target in every batch, missing labels marked."
            )

    def _make_adapters(self, trainer: Trainer, said: Mapping[str, Tensor], features: Any) -> None:
        """One adapter a task that has none yet."""
        student = single(trainer.model, features)
        for name, teacher in said.items():
            network = self.teachers.networks[self.teachers.of[name][0]]
            one, other = last(trainer.model, student), last(network, teacher)
            if one.shape[:-1] != other.shape[:-1]:
                raise UserError(
                    f"the teacher of {name!r} has features of shape {list(teacher.shape)}, and "
                    f"the model {list(student.shape)}; expected as many rows and places. Use a "
                    "teacher whose encoder has the same resolution."
                )
            if name not in self.adapters:
                made = FeatureAdapter(one.shape[-1], other.shape[-1])
                self.adapters[name] = made.to(trainer.device)
