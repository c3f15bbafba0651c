"""What every architecture is: an encoder, tasks, and a declared way of sharing."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from polytask.architectures._growth import (
    Kept,
    Recipe,
    check_factor,
    grown,
    not_as_before,
    noting,
    settle,
)
from polytask.architectures._heads import Output
from polytask.architectures._per_task import PerTask, module_key
from polytask.errors import UserError, unknown

Features = Tensor | list[Tensor] | None
"""The shared representation: one tensor, several that form a cut, or None: nothing is shared."""


M = TypeVar("M", bound=nn.Module)


class TaskLike(Protocol):
    """What an architecture asks of a task; `places` and `reverse`, as of `polytask.Task`, may be
    there too.
    """

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
    `tasks=`, `prune` and `shared_parameters` follow (one in which a part serves some tasks and
    not others says so in `shared_parameters`); `polytask.testing.architectures` checks them all.

    Attributes:
        outputs: what every task's head answers.
        paper, shares, requires: for lists: the source, what tasks share, what it asks of the
            encoder.
        no_features: why there is no shared representation to return, for architectures whose
            tasks share parameters and yet have none.
        silent_at_start: patterns of parameters whose gradient is zero in the first step, because
            an identity initialisation stands behind them.
        no_new_task: why `add_task` is refused, for architectures in which a further task changes
            what the others answer.
        recipe: how it was made, for `add_task`; None where its arguments do not tell.
        kept: what holds since a task was added.

    Args:
        encoder: any module with trainable parameters.
        tasks: tasks by name, or in a list; their order is the order of the outputs.

    Raises:
        UserError: no task, two tasks of one name, or an encoder without anything to train.

    """

    paper: ClassVar[str] = ""
    shares: ClassVar[str] = ""
    requires: ClassVar[str] = ""
    no_features: ClassVar[str] = ""
    silent_at_start: ClassVar[tuple[str, ...]] = ()
    no_new_task: ClassVar[str] = ""
    recipe: Recipe | None

    def __init_subclass__(cls, **options: Any) -> None:
        """Let every constructor note how it is called: `add_task` calls it with one task more."""
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = noting(cls.__init__)  # type: ignore[method-assign]

    @noting
    def __init__(
        self, encoder: nn.Module, tasks: Mapping[str, TaskLike] | Iterable[TaskLike]
    ) -> None:
        super().__init__()
        listed = tasks if isinstance(tasks, Mapping) else list(tasks)
        self.outputs: dict[str, Output] = _outputs(listed)
        if self.recipe is not None:
            self.recipe.tasks = list(listed.values() if isinstance(listed, Mapping) else listed)
        self.kept = Kept()
        self._noted = Noted()
        _check_encoder(encoder)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in their order."""
        return tuple(self.outputs)

    @abstractmethod
    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """Outputs of exactly these tasks, at least one, and the representation they share."""

    def forward(
        self, x: Any, tasks: Sequence[str] | None = None, return_features: bool = False
    ) -> dict[str, Tensor] | tuple[dict[str, Tensor], Features]:
        """Outputs by task name, [N, output_size, *places] each, in the order of the tasks.

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
        self._noted = Noted()
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
            if task not in self.outputs:
                raise unknown("task", task, self.outputs)
        return tuple(task for task in self.task_names if task in tasks)

    def shared_parameters(self) -> dict[str, tuple[str, ...]]:
        """For every parameter, by its name in `named_parameters`, the tasks whose output uses it.

        What a `PerTask` container holds for a task, at any depth, is used by that task; all else
        by all of them. An architecture that routes otherwise overrides this.
        """
        users = {name: self.task_names for name, _ in self.named_parameters()}
        for path, container in self.named_modules():
            if isinstance(container, PerTask):
                for task in container:
                    prefix = f"{path}.{module_key(task)}."
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
        users = self.shared_parameters()
        pruned = without(self, {name for name, who in users.items() if not set(who) & set(kept)})
        pruned.outputs = {task: self.outputs[task] for task in kept}
        for container in pruned.modules():
            if isinstance(container, PerTask):
                container.keep(kept)
        return pruned

    def add_task(
        self,
        task: TaskLike,
        *,
        freeze: bool = True,
        lr_factor: float = 0.1,
        head: nn.Module | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        """Add a task to this model, trained or not, in place; the other tasks answer as before.

        The model is as if built with all tasks: its names are the same, so its weights load into
        one that is. What the new task has for itself (a head, and what the way of sharing gives
        every task) is drawn from the stream of the task's name that it would have had then.

        With `freeze`, outputs of the old tasks in evaluation stay the same **to the bit**, also
        while the new one learns: no parameter of theirs learns any more, and every module that is
        wholly theirs stays in eval mode whatever `train()` says, so running statistics of batch
        norms do not move, and dropout is off in it. (`train()` of a submodule goes round this. And
        for weights that need no gradient torch multiplies tokens by a linear layer without bias in
        another way: there the first answer after freezing may differ in its last digit.)
        Old tasks have nothing to learn then: give no targets for them, or pause them in the
        Trainer. Without `freeze` old parameters learn at `lr_factor` times the rate, by the
        Trainer's groups, and what an earlier addition froze learns again.

        Parameters stay the same objects, submodules do not; an optimizer made before knows nothing
        of the new ones. A Trainer of all tasks is to be made anew. Parts that start from the
        weights of the encoder (`fresh=False`) start from those it has now.

        Args:
            task: the new task.
            freeze: see above.
            lr_factor: without `freeze`, in (0, 1].
            head: module to use as its head.
            seed: of another stream than the model was drawn from.
            options: arguments of the architecture that are to be others than before, such as
                `groups` of `Branched`.

        Raises:
            UserError: a task of that name is there; options as when it is built; an
                architecture in which the others could not answer as before. Then nothing changed.

        """
        name = getattr(task, "name", None)
        if name in self.outputs:
            raise UserError(f"the task {name!r} is there already. Give the new one another name.")
        _outputs([task])
        factor = check_factor(lr_factor)
        twin, names, old = grown(self, task, head, seed, options)
        settle(self, twin, names, old, freeze, factor)

    def options_with(self, task: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """For `add_task`: arguments that leave old tasks where they are, once `task` is there.

        `options` are those that it would be built with otherwise.
        """
        return {}

    def names_in(self, larger: Architecture) -> dict[str, str]:
        """For `add_task`: names in the larger model of what is called otherwise in this one."""
        return {}

    def keep_apart(self, task: str, before: Mapping[str, Tensor]) -> Collection[str]:
        """For `add_task`, called on the larger model: let the old tasks take nothing of `task`.

        Parameters of unchanged shape have their old values by then; `before` holds all old ones.
        Answers the names of the parameters that it has set.
        """
        return ()

    def take_over(self, smaller: Architecture, resized: Collection[str]) -> None:
        """For `add_task`, called last on the larger model: set buffers whose size is another.

        `resized` are the names here of buffers of `smaller` that have another shape, or are gone.
        Raises `UserError` for those that it does not know.
        """
        for name in resized:
            raise not_as_before(smaller, name, "has another size with one more task")

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for what `add_task` has frozen, which stays in eval mode."""
        super().train(mode)
        if self.kept.still:
            for name, part in self.named_modules():
                if name in self.kept.still:
                    part.training = False
        return self

    def term(self, name: str, value: Tensor) -> None:
        """For `compute`: add a term, already weighted, to the objective of this forward pass.

        Only in training mode; see `penalties`.
        """
        if self.training and torch.is_grad_enabled():
            self._noted.terms[name] = value

    def supervise(self, task: str, output: Tensor) -> None:
        """For `compute`: an early answer for a task, to be learned with the task's own loss.

        Shaped as the task's output. Only in training mode; see `intermediate`.
        """
        if self.training and torch.is_grad_enabled():
            self._noted.outputs.setdefault(task, []).append(output)

    def penalties(self) -> dict[str, Tensor]:
        """What is minimised beside the tasks' losses, by name: weighted scalars with a graph.

        Those of the newest forward pass in training mode; an architecture with terms of its
        parameters alone extends this. They are not balanced: pass their sum as `penalty=` to
        `balancer.backward`. The Trainer does so.
        """
        return dict(self._noted.terms)

    @property
    def intermediate(self) -> dict[str, list[Tensor]]:
        """Early answers of the newest forward pass in training mode, by task (deep supervision).

        Their losses belong to the loss of their task: L_t(output) + sum of L_t(early answer).
        The Trainer adds them.
        """
        return self._noted.outputs

    def plan_training(self, steps: int) -> None:
        """To call once before training with the number of optimizer steps; the Trainer does so.

        For architectures with a schedule that has to end within the training; others do nothing.
        A resumed training calls it again, with the same number. It may be more than are taken
        (early stopping, batches without labels); where the length is not known, as for batches
        without `len()`, it is not called, and defaults that need no length hold. State belongs
        in buffers.
        """

    def after_step(self, lr: float) -> None:
        """To call after every optimizer step with its learning rate; the Trainer does so.

        For architectures that follow a schedule or project their parameters; others do nothing.
        """

    def observe(self, losses: Mapping[str, float]) -> None:
        """To call with the tasks' losses of every batch; the Trainer does so.

        For architectures that go by how well tasks are learned; others do nothing.
        """

    def parallel_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Corresponding parameters of the tasks' networks: by name, one a task, in their order.

        For architectures with one network a task, whose weights can be tied; heads are not
        among them. Raises `UserError` in all others.
        """
        raise UserError(
            f"{type(self).__name__} has no network a task, so no weights of tasks correspond. "
            "Choose one that has: single_task, soft_sharing, cross_stitch, nddr or sluice."
        )

    def regularization(self) -> dict[str, Any]:
        """What terms of the weights find in them, by the name of the term: plain values.

        Empty without such terms.
        """
        return {}

    def rate_factors(self) -> dict[str, float]:
        """Parameters, by name, whose learning rate is a multiple of the optimizer's.

        The Trainer makes a parameter group of each factor.
        """
        return {}


class Noted:
    """What a forward pass leaves for the objective; a copy of the model starts without it."""

    def __init__(self) -> None:
        self.terms: dict[str, Tensor] = {}
        self.outputs: dict[str, list[Tensor]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Noted:
        return Noted()

    def __reduce__(self) -> tuple[type[Noted], tuple[()]]:
        return Noted, ()


def without(module: M, parameters: Collection[str]) -> M:
    """A deep copy of `module` in which these parameters, by name, are None.

    A submodule that loses all its parameters becomes None as a whole. What goes is not copied.
    """
    own = dict(module.named_parameters())
    gone = [own[name] for name in parameters]
    for path, part in module.named_modules():
        names = [name for name in own if path and name.startswith(f"{path}.")]
        if names and all(name in parameters for name in names):
            gone.append(part)
    # deepcopy takes a copy that it finds in its memo. How it was made stays whole.
    memo: dict[int, Any] = {id(part): None for part in gone}
    made = getattr(module, "recipe", None)
    copied: M = copy.deepcopy(module, memo | ({} if made is None else {id(made): made}))
    return copied


def _outputs(tasks: Mapping[str, TaskLike] | Iterable[TaskLike]) -> dict[str, Output]:
    """Outputs by task name; raises `UserError` unless `tasks` are distinct tasks."""
    named = list(tasks.items()) if isinstance(tasks, Mapping) else [(None, t) for t in tasks]
    outputs: dict[str, Output] = {}
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
        if name in outputs:
            raise UserError(f"two tasks are called {name!r}; expected different names. Rename one.")
        places, reverse = getattr(task, "places", ()), getattr(task, "reverse", 0.0)
        outputs[name] = Output(size, tuple(places), float(reverse))
    if not outputs:
        raise UserError("an architecture needs at least one task, found none.")
    return outputs


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
