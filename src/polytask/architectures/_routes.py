"""Tasks that run a choice of the same stages, and the network of choices once they are fixed."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor, nn

from polytask.architectures._base import Architecture, Features
from polytask.architectures._heads import Heads, Output
from polytask.architectures._layout import Context
from polytask.architectures._represent import leave
from polytask.architectures._same_shape import same_shape
from polytask.architectures.stages import Staged, begin, enter, run

Use = bool | Tensor
"""Whether a task runs a stage, or how far: u for u * F(h) + (1 - u) * h."""


def follow(
    encoder: Staged, x: Any, uses: Mapping[str, Sequence[Use]], width: int
) -> tuple[dict[str, Tensor], Context]:
    """The representation of every task, whose `uses` say what it runs of every stage.

    Tasks that have run the same so far have one stream of features and one pass of the next
    stage; a stage that no task uses is not run.
    """
    h, context = enter(encoder.entrance, begin(encoder, x))
    streams = dict.fromkeys(uses, h)
    for number, stage in enumerate(encoder.stages):
        # Answers by the identity of what was read: `before` keeps all of that alive.
        before, streams, answers = streams, {}, dict[int, Tensor]()
        for task, h in before.items():
            use = uses[task][number]
            if use is not False and id(h) not in answers:
                answers[id(h)] = run(stage, h, context)
            if isinstance(use, Tensor):
                after = same_shape(stage, h, answers[id(h)])
                streams[task] = use * after + (1 - use) * h
            else:
                streams[task] = answers[id(h)] if use else h
    read: dict[int, Tensor] = {}
    for h in streams.values():
        if id(h) not in read:
            read[id(h)] = leave(encoder, h, context, width)
    return {task: read[id(h)] for task, h in streams.items()}, context


class FixedRoutes(Architecture):
    """Every task runs some stages of one encoder, always the same; see `AdaShare.derive`.

    A stage is shared by the tasks that run it. There is no parameter of stages that none runs.

    Args:
        encoder: the stages; it is copied.
        outputs: what every task's head answers.
        routes: the numbers of the stages that each task runs.
        heads: the heads; they are copied.
        width: channels of the representation.

    """

    shares = "the stages that several tasks run"
    no_new_task = (
        "its routes were found for the tasks it has. Train all tasks anew, or use adapters."
    )
    no_features = (
        "tasks that have left a stage out read the next ones with features of their own, so the "
        "features that form a cut are those of one task each"
    )

    def __init__(
        self,
        encoder: Staged,
        outputs: Mapping[str, Output],
        routes: Mapping[str, Sequence[int]],
        heads: Heads,
        width: int,
    ) -> None:
        super().__init__(encoder, known(outputs))
        self.routes = {task: tuple(route) for task, route in routes.items()}
        self.width = width
        self.encoder = copy.deepcopy(encoder)
        for number in range(len(encoder.stages)):
            if not any(number in route for route in self.routes.values()):
                self.encoder.stages[number] = nn.Identity()
        self.heads = copy.deepcopy(heads)

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """Every task's stages, those of a common beginning once."""
        numbers = range(len(self.encoder.stages))
        uses = {task: [number in self.routes[task] for number in numbers] for task in tasks}
        read, context = follow(self.encoder, x, uses, self.width)
        outputs = {task: self.heads.answer(task, z, context) for task, z in read.items()}
        same = len({self.routes[task] for task in self.task_names}) == 1
        return outputs, read[tasks[0]] if same else None

    def prune(self, *tasks: str) -> Self:
        """As of every architecture; a task may have left out all stages with parameters."""
        pruned = super().prune(*tasks)
        if getattr(pruned, "encoder", None) is None:
            pruned.encoder = Staged(
                [nn.Identity() if _learns(s) else copy.deepcopy(s) for s in self.encoder.stages],
                copy.deepcopy(self.encoder.entrance),
                copy.deepcopy(self.encoder.exit),
                channel_dim=self.encoder.channel_dim,
                takes_dict=self.encoder.takes_dict,
            )
        return pruned

    def shared_parameters(self) -> dict[str, tuple[str, ...]]:
        """A stage is used by the tasks that run it."""
        users = super().shared_parameters()
        for number in range(len(self.encoder.stages)):
            who = tuple(task for task in self.task_names if number in self.routes[task])
            prefix = f"encoder.stages.{number}."
            users.update({name: who for name in users if name.startswith(prefix)})
        return users


def _learns(stage: nn.Module) -> bool:
    return next(stage.parameters(), None) is not None


@dataclass(frozen=True)
class Known:
    """A task as far as its head tells of it."""

    name: str
    output_size: int
    places: tuple[int, ...]


def known(outputs: Mapping[str, Output]) -> list[Known]:
    """The tasks of a model, to build another one for them."""
    return [Known(task, output.size, output.places) for task, output in outputs.items()]
