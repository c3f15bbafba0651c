"""The frozen networks that a training learns from: copied, called, and known by their weights."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures import Architecture
from polytask.data._digest import digest
from polytask.errors import UserError, foreign, some, unknown
from polytask.tasks import Task
from polytask.training._precision import Precision, to_float32
from polytask.training._settings import describe_task
from polytask.training._weights import put, snapshot
from polytask.training.distillation import Distillation
from polytask.training.history import plain
from polytask.training.run_folder import RunFolder

SAME = ("kind", "classes", "size", "mean", "std")
"""What must be alike of a task in a run folder and of the task that is taught."""


class Teachers:
    """The teachers of a `Distillation`, each network once, however many tasks it teaches.

    Raises `UserError` for a teacher of no task, or one that does not fit its task.
    """

    def __init__(
        self,
        distill: Distillation,
        model: nn.Module,
        tasks: Mapping[str, Task],
        precision: Precision,
    ) -> None:
        distill.check(tasks)
        self.precision = precision
        self.networks: list[nn.Module] = []
        self.of: dict[str, list[int]] = {}
        """The places in `networks` of a task's teachers."""
        places: dict[int, int] = {}
        for name, given in distill.teachers.items():
            self.of[name] = []
            for teacher in given:
                if isinstance(teacher, nn.Module):
                    _check_outputs(teacher, tasks[name])
                    if id(teacher) not in places:
                        places[id(teacher)] = len(self.networks)
                        self.networks.append(_frozen(copy.deepcopy(teacher), precision))
                    self.of[name].append(places[id(teacher)])
                else:
                    loaded = _from_folder(Path(teacher), tasks[name], model)
                    self.of[name].append(len(self.networks))
                    self.networks.append(_frozen(loaded, precision))

    def identity(self) -> dict[str, list[str]]:
        """A hash of the weights of every teacher, by task."""
        known = [digest(snapshot(network)) for network in self.networks]
        return {name: [known[place] for place in places] for name, places in self.of.items()}

    def outputs(self, inputs: Any, tasks: Iterable[str]) -> dict[str, list[Tensor]]:
        """Raw outputs of the teachers of these tasks, float32, without a graph."""
        found: dict[str, list[Tensor]] = {name: [] for name in tasks if name in self.of}
        for place, network in enumerate(self.networks):
            wanted = [name for name in found if place in self.of[name]]
            if wanted:
                returned, _ = self._call(network, inputs, wanted)
                for name in wanted:
                    # A teacher that is named twice counts twice.
                    found[name] += [_of(returned, name)] * self.of[name].count(place)
        return found

    def features(self, inputs: Any, tasks: Iterable[str]) -> dict[str, Tensor]:
        """The features of the one teacher of each of these tasks, float32, without a graph."""
        wanted = [name for name in tasks if name in self.of]
        found: dict[int, Tensor] = {}
        for name in wanted:
            (place,) = self.of[name]
            if place not in found:
                _, features = self._call(self.networks[place], inputs, [name], features=True)
                if not isinstance(features, Tensor):
                    raise UserError(
                        f"the teacher of {name!r} ({type(self.networks[place]).__name__}) has no "
                        "single shared representation; form 'features' expects a network whose "
                        "forward takes return_features=True and answers (outputs, features), as "
                        "hard sharing does. Use such a one, or form='annealed'."
                    )
                found[place] = to_float32(features)
        return {name: found[self.of[name][0]] for name in wanted}

    def _call(
        self, network: nn.Module, inputs: Any, tasks: list[str], features: bool = False
    ) -> tuple[Any, Any]:
        """What a network answers for these tasks, and its features when asked for."""
        options: dict[str, Any] = {}
        if isinstance(network, Architecture):
            options["tasks"] = tasks
        if features and "return_features" in inspect.signature(network.forward).parameters:
            options["return_features"] = True
        explain = f"the teacher of {some(map(repr, tasks))} ({type(network).__name__}) raised"
        remedy = "Give a network that reads the batches of this training."
        with (
            foreign(lambda what: f"{explain} {what}. {remedy}"),
            torch.no_grad(),
            self.precision.autocast(),
        ):
            returned = network(inputs, **options)
        if isinstance(returned, tuple) and len(returned) == 2:
            return returned
        return returned, None


def _of(returned: Any, task: str) -> Tensor:
    """The output of one task in what a teacher returned."""
    output = returned.get(task) if isinstance(returned, Mapping) else returned
    if not isinstance(output, Tensor):
        found = some(returned, 80) if isinstance(returned, Mapping) else type(returned).__name__
        raise UserError(
            f"the teacher of {task!r} must return outputs by task name, or one tensor; found "
            f"{found}. Name its output as the task."
        )
    return to_float32(output)


def _frozen(network: nn.Module, precision: Precision) -> nn.Module:
    """A network of our own, on the device, that neither learns nor is ever in training mode."""
    return network.to(precision.device).eval().requires_grad_(requires_grad=False)


def _check_outputs(teacher: nn.Module, task: Task) -> None:
    """Raise `UserError` for one of our networks that says it answers something else."""
    if not isinstance(teacher, Architecture):
        return
    if task.name not in teacher.outputs:
        raise unknown(f"task for the teacher of {task.name!r}:", task.name, teacher.outputs)
    found = teacher.outputs[task.name]
    if found.size != task.output_size or tuple(found.places) != task.places:
        raise UserError(
            f"the teacher of {task.name!r} gives {found.size} outputs at places "
            f"{tuple(found.places)}; expected {task.output_size} at {task.places}, as the task "
            "has. Use a teacher of the same task, with the same classes."
        )


def _from_folder(folder: Path, task: Task, model: nn.Module) -> nn.Module:
    """The chosen weights of a run in a copy of the model, whole or pruned to the task."""
    if not folder.is_dir():
        raise UserError(
            f"the teacher of {task.name!r}: there is no folder {folder}; expected one that a "
            "Trainer(out=...) has written. Give its path, or a module."
        )
    weights = RunFolder(folder).load("best")
    _check_task(folder, task)
    shapes = {name: value.shape for name, value in weights.items()}
    made = [copy.deepcopy(model)]
    if isinstance(model, Architecture):
        made.append(model.prune(task.name))
    for network in made:
        if {name: value.shape for name, value in network.state_dict().items()} == shapes:
            put(network, weights, folder)
            return network
    raise UserError(
        f"the teacher of {task.name!r}: the weights in {folder} fit neither this network nor this "
        "network pruned to the task. Build the teacher's own network, load its weights with "
        "Trainer(network, tasks, out=folder).load_checkpoint(), and give the network."
    )


def _check_task(folder: Path, task: Task) -> None:
    """Raise `UserError` unless the run in a folder trained this very task."""
    import yaml

    content = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")) or {}
    known = content.get("tasks", {})
    if task.name not in known:
        raise unknown(f"task in the run {folder}:", task.name, known)
    before, now = known[task.name], plain(describe_task(task))
    differs = [word for word in SAME if before.get(word) != now.get(word)]
    if differs:
        shown = "; ".join(f"{w} {before.get(w)!r}, here {now.get(w)!r}" for w in differs)
        raise UserError(
            f"the teacher of {task.name!r}: the run in {folder} was of another task ({shown[:200]}"
            "), so its answers mean something else. Train a teacher on the same training rows."
        )
