"""Sub-network routing: parallel sub-networks whose connections are learned, most of them shut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._experts import (
    Expert,
    Trunk,
    as_features,
    branching_point,
    check_keeps_input,
    drawn,
    node,
)
from polytask.architectures._gates import drawn_gate
from polytask.architectures._hard_concrete import Layer, Route, Stretch
from polytask.architectures._heads import build_heads
from polytask.architectures._init import draw_seed
from polytask.architectures._inputs import representation_width
from polytask.architectures._levels import split
from polytask.architectures._numbers import counted, within
from polytask.architectures._per_task import PerTask
from polytask.architectures.stages import as_stages, stage_widths
from polytask.errors import unknown

VARIANTS = ("average", "transform")


class SNR(Architecture):
    """Sub-network routing: parallel sub-networks whose connections are learned, some of them shut.

    J. Ma et al., "SNR: Sub-Network Routing for Flexible Parameter Sharing in Multi-Task
    Learning", AAAI 2019, https://doi.org/10.1609/aaai.v33i01.3301216. Levels of sub-networks lie
    above each other; those of the lowest read the shared features. With outputs u_i of a level,
    sub-network j of the next one, and likewise the head of task t, reads

        v_j = sum_i z_ji u_i      (variant "average", SNR-Aver: a sum weighted by gates), or
        v_j = sum_i z_ji W_ji u_i (variant "transform", SNR-Trans: W a learned matrix),

    with a hard-concrete gate z in [0, 1] for every connection (Louizos et al. 2018),

        z = clip(sigmoid((log u - log(1 - u) + log alpha) / beta) (zeta - gamma) + gamma, 0, 1),

    u uniform, drawn once a connection and batch in training; in evaluation
    z = clip(sigmoid(log alpha) (zeta - gamma) + gamma, 0, 1), so nothing is random. The expected
    number of open connections is minimised along with the losses,

        l0 * sum sigmoid(log alpha - beta log(-gamma / zeta)),

    as one term of `penalties()`: the Trainer adds it, a loop of one's own passes the sum as
    `penalty=`. Connections between levels are common to all tasks, those to a head are of its
    task. `routes` tells which are open. With one sub-network a level there is nothing to route
    and no gate: hard sharing, bit for bit.

    A level's sub-networks are copies of its part of the encoder's stages; the first has the given
    encoder's weights, the others are drawn anew. The matrices map channels at every place, have
    no bias, so that a shut connection leaves nothing behind, and start from torch's default.
    Cost of a step: one pass of the shared stages, `subnetworks` passes of the rest; parameters
    likewise, a number a connection, and width^2 for each with "transform". A gate that is exactly 0
    in training gives no gradient to the weights of what it shuts off in that step; in evaluation
    shut connections are still computed.

    The paper gives no rule for the start of the gates: here nearly all are open (`start`). As the
    "average" is a sum, its size grows with the number of open connections.

    Args:
        encoder: any module; best one of several stages (see `stages`).
        tasks: tasks by name, or in a list.
        subnetworks: how many at every level, at least 1.
        levels: how many, at most as many as there are stages behind the branching point. None: 2,
            or 1 where there is one such stage.
        variant: "average" or "transform".
        l0: weight of the expected number of open connections, at least 0; the paper tunes it.
        beta: temperature of the gates, above 0.
        gamma: lower end of the interval that is clipped, below 0.
        zeta: its upper end, above 1.
        start: chance that a connection is open at first, in (0, 1).
        shared_stages: how many first stages all sub-networks share; None as in `MMoE`.
        fresh: False starts every sub-network from the weights of `encoder`.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name.
        example: one batch of inputs, for a dry run where widths are not declared.

    Raises:
        UserError: as `HardSharing`; numbers that cannot be, more levels than stages, a first stage
            of a sub-network that changes its input in place, and, for "transform", widths of
            stages that are not known.

    """

    paper = "Ma et al. 2019"
    shares = "all sub-networks and the connections between them; each task has its own to its head"
    requires = "stages, one a level; with one stage, tasks choose among copies of it"
    # Gates are drawn: one that is 0 in a step gives what it shuts off no gradient in that step,
    # and one at 0 or 1 gets none from the tasks.
    silent_at_start = ("*.log_alpha", "*.maps.*", "levels.*.nets.*")

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        subnetworks: int = 3,
        levels: int | None = None,
        variant: Literal["average", "transform"] = "average",
        l0: float = 1e-3,
        beta: float = 0.9,
        gamma: float = -0.1,
        zeta: float = 1.1,
        start: float = 0.98,
        shared_stages: int | None = None,
        fresh: bool = True,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        count = counted("subnetworks", subnetworks)
        if variant not in VARIANTS:
            raise unknown("variant", variant, VARIANTS)
        self.l0 = within("l0", l0, least=0)
        start = within("start", start, above=0, below=1)
        stretch = Stretch(
            within("beta", beta, above=0),
            within("gamma", gamma, below=0),
            within("zeta", zeta, above=1),
        )
        staged = as_stages(encoder)
        self.width = representation_width(encoder, example)
        self.shared_stages = branching_point(staged, shared_stages, example)
        parts = split(len(staged.stages), self.shared_stages, levels)
        widths: list[int | None] = [None] * len(parts)
        if variant == "transform":
            after = stage_widths(staged, example)
            widths = [*(after[end - 1] for _, end in parts[:-1]), self.width]
        if count > 1:
            check_keeps_input(staged, self.shared_stages, example)
        seed = draw_seed()

        def route(width: int | None, name: str) -> nn.Module:
            return drawn_gate(
                lambda _, n: Route(n, stretch, start, width, staged.channel_dim),
                (0, count),
                encoder,
                seed,
                name,
            )

        self.trunk = Trunk(staged, self.shared_stages)
        self.copied: tuple[str, ...] = ()
        self.levels = nn.ModuleList()
        for level, part in enumerate(parts):
            first = Expert(staged, *part, self.width)
            names = [f"level {level}/sub-network/{i}" for i in range(1, count)]
            others, kept = drawn(first, names, seed, fresh=fresh)
            self.copied = tuple(dict.fromkeys((*self.copied, *kept)))
            readers = range(count if level and count > 1 else 0)
            routes = [route(widths[level - 1], f"level {level}/route/{j}") for j in readers]
            self.levels.append(Layer([first, *others], routes))
        to_heads = {task: route(widths[-1], f"route/{task}") for task in self.task_names}
        self.to_heads = PerTask(to_heads if count > 1 else {})
        self.heads = build_heads(
            self.outputs,
            self.width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=seed,
            channel_dim=staged.channel_dim,
        )

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """Every sub-network, level by level; then the connections to these tasks' heads."""
        cut: list[Tensor] = []
        h, context = self.trunk(x)
        answers = [h] * len(self._layers()[0].nets)
        for layer in self._layers():
            answers = layer(answers, context)
        answers = [node(cut, z) for z in answers]
        outputs = {}
        for task in tasks:
            z = self.to_heads[task](answers, context) if task in self.to_heads else answers[0]
            outputs[task] = self.heads.answer(task, z, context)
        chances = [route.gates.chance().sum() for route in self._routes(tasks)]
        if chances and self.l0:
            self.term("open connections", self.l0 * torch.stack(chances).sum())
        return outputs, as_features(cut)

    def routes(self) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The gates as they are in evaluation: 0 is shut, 1 open.

        First those between levels, [reader, source] for every level but the lowest; then those
        to the head of each task, [source]. Both are empty with one sub-network.
        """
        between = [
            torch.stack([route.gates.settled() for route in layer.taken()])
            for layer in self._layers()
            if len(layer.routes)
        ]
        to_heads = {t: self._to_head(t).gates.settled() for t in self.to_heads}
        return [z.detach() for z in between], {t: z.detach() for t, z in to_heads.items()}

    def _layers(self) -> list[Layer]:
        return [layer for layer in self.levels if isinstance(layer, Layer)]

    def _to_head(self, task: str) -> Route:
        route = self.to_heads[task]
        assert isinstance(route, Route)
        return route

    def _routes(self, tasks: Sequence[str]) -> list[Route]:
        """All that the answers to these tasks run through."""
        between = [route for layer in self._layers() for route in layer.taken()]
        return between + [self._to_head(task) for task in tasks if task in self.to_heads]
