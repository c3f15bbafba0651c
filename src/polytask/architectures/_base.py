"""What every architecture is: an encoder, tasks, and a declared way of sharing."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, Self

from torch import Tensor, nn

from polytask.architectures._per_task import PerTask, module_key
from polytask.errors import UserError, unknown

Features = Tensor | list[Tensor] | None
"""The shared representation: one tensor, several that form a cut, or None: nothing is shared."""


class TaskLike(Protocol):
    """What an architecture asks of a task."""

    @property
    def name(self) -> str:
        """Key of the task's output."""

    @property
    def output_size(self) -> int:
        """Number of outputs per item."""


class Architecture(nn.Module):
    """Base class: `forward` answers one output per task, keyed by task name.

    A new architecture is one file with one subclass. It builds its parts in `__init__`, keeps
    what belongs to one task alone in `PerTask` containers, and answers in `compute`. Then
    `tasks=`, `prune` and `shared_parameters` follow; `polytask.testing.architectures` checks
    them all.

    Args:
        encoder: any module with trainable parameters.
        tasks: tasks by name, or in a list; their order is the order of the outputs.

    Raises:
        UserError: no task, two tasks of one name, or an encoder without anything to train.

    """

    def __init__(
        self, encoder: nn.Module, tasks: Mapping[str, TaskLike] | Iterable[TaskLike]
    ) -> None:
        super().__init__()
        self.output_sizes: dict[str, int] = _output_sizes(tasks)
        _check_encoder(encoder)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in their order."""
        return tuple(self.output_sizes)

    @abstractmethod
    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """Outputs of exactly these tasks, at least one, and the representation they share."""

    def forward(
        self, x: Any, tasks: Sequence[str] | None = None, return_features: bool = False
    ) -> dict[str, Tensor] | tuple[dict[str, Tensor], Features]:
        """Outputs by task name, [N, output_size] each, in the order of the tasks.

        Args:
            x: one batch: a tensor, a dictionary of tensors, or whatever the encoder reads.
            tasks: compute only these, and nothing that only the others need; None is all.
            return_features: answer `(outputs, features)`, with features as the balancer takes
                them: every path from a shared parameter to an output runs through them. None
                when nothing is shared, or nothing was computed.

        Raises:
            UserError: an unknown task, or an answer of the encoder that no head can read.

        """
        wanted = self.task_names if tasks is None else self.select(tasks)
        outputs, features = self.compute(x, wanted) if wanted else ({}, None)
        return (outputs, features) if return_features else outputs

    def select(self, tasks: Sequence[str]) -> tuple[str, ...]:
        """These tasks in the order of the model. Raises `UserError` for an unknown one."""
        if isinstance(tasks, str):
            raise UserError(
                f"tasks= must be a list of task names, found the text {tasks!r}. "
                f"Write tasks=({tasks!r},)."
            )
        for task in tasks:
            if task not in self.output_sizes:
                raise unknown("task", task, self.output_sizes)
        return tuple(task for task in self.task_names if task in tasks)

    def shared_parameters(self) -> dict[str, tuple[str, ...]]:
        """For every parameter, by its name in `named_parameters`, the tasks whose output uses it.

        What a `PerTask` container holds for a task is used by that task; all else by all of
        them. An architecture that routes otherwise overrides this.
        """
        users = {name: self.task_names for name, _ in self.named_parameters()}
        for attribute, container in self.named_children():
            if isinstance(container, PerTask):
                for task in container:
                    prefix = f"{attribute}.{module_key(task)}."
                    users.update({name: (task,) for name in users if name.startswith(prefix)})
        return users

    def prune(self, *tasks: str) -> Self:
        """A copy that has only these tasks and what they need; outputs are the same to the bit.

        Parameters keep their names and are copies: training either model leaves the other as
        it is. Raises `UserError` for an unknown task, and when none is named.
        """
        kept = self.select(tasks)
        if not kept:
            raise UserError(
                f"prune() needs at least one task to keep. Known: {', '.join(self.task_names)}."
            )
        # What is dropped anyway need not be copied: deepcopy takes a copy it finds in its memo.
        memo: dict[int, Any] = {
            id(container[task]): nn.Identity()
            for container in self.children()
            if isinstance(container, PerTask)
            for task in container
            if task not in kept
        }
        pruned = copy.deepcopy(self, memo)
        pruned.output_sizes = {task: self.output_sizes[task] for task in kept}
        for container in pruned.children():
            if isinstance(container, PerTask):
                container.keep(kept)
        return pruned


def _output_sizes(tasks: Mapping[str, TaskLike] | Iterable[TaskLike]) -> dict[str, int]:
    """Output sizes by task name; raises `UserError` unless `tasks` are distinct tasks."""
    named = list(tasks.items()) if isinstance(tasks, Mapping) else [(None, t) for t in tasks]
    sizes: dict[str, int] = {}
    for key, task in named:
        name, size = getattr(task, "name", None), getattr(task, "output_size", None)
        if not isinstance(name, str) or not name or not isinstance(size, int) or size < 1:
            raise UserError(
                f"expected tasks with a name and an output size above 0, found {task!r}. "
                "Build them with polytask.Task."
            )
        if key is not None and key != name:
            raise UserError(
                f"the task filed under {key!r} is called {name!r}; expected one name for both. "
                "Rename one."
            )
        if name in sizes:
            raise UserError(f"two tasks are called {name!r}; expected different names. Rename one.")
        sizes[name] = size
    if not sizes:
        raise UserError("an architecture needs at least one task, found none.")
    return sizes


def _check_encoder(encoder: object) -> None:
    """Raise `UserError` unless `encoder` is a module with something to train."""
    if not isinstance(encoder, nn.Module):
        built = isinstance(encoder, type)
        found = repr(encoder) if isinstance(encoder, str) else f"a {type(encoder).__name__}"
        if isinstance(encoder, type):
            found = f"the class {encoder.__name__}"
        raise UserError(
            f"the encoder must be a torch module, found {found}. "
            + ("Build it first." if built else "Pass an nn.Module, such as an nn.Sequential.")
        )
    parameters = list(encoder.parameters())
    if not any(parameter.requires_grad for parameter in parameters):
        found = f"{len(parameters)}, all frozen" if parameters else "none"
        raise UserError(
            f"the encoder {type(encoder).__name__} has no trainable parameters (found {found}); "
            "expected some, as tasks would share nothing that learns. Unfreeze a part of it, or "
            "train the heads on features computed beforehand."
        )
