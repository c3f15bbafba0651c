"""Task routing: every task runs through channels of its own choice, fixed at the start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._heads import as_new, build_heads
from polytask.architectures._init import draw_seed, seeded
from polytask.architectures._inputs import representation_width
from polytask.architectures._layout import Context, along
from polytask.architectures._passes import passes
from polytask.architectures._per_task import PerTask
from polytask.architectures.stages import as_stages, stage_widths
from polytask.errors import UserError


class TaskRouting(Architecture):
    """Task routing: every task runs through channels of its own, drawn at random and fixed.

    G. Strezoski, N. van Noord, M. Worring, "Many Task Learning With Task Routing", ICCV 2019,
    https://arxiv.org/abs/1903.12117. After every stage j the features of task t are
    h * m_tj, with a binary mask of the channels. Nothing is learned for it, and parameters are
    those of hard sharing. Cost of a step: the first stage once, all others **once a task**.

    **`share` is the fraction of a stage's channels that all tasks use**; the others are split
    evenly among the tasks, so each is used by exactly one. `share=1` is hard sharing to the bit,
    `share=0` gives every task channels of its own in a network of shared layers. A task of T has
    about share + (1 - share) / T of the channels; a lone task has them all. At least one channel
    of a stage is shared where `share` is above 0. Which channels these are follows from the seed,
    and how the others are dealt from the seed and the tasks' names, whatever their order; but
    split channels cannot be the same in another company.

    The published code differs, and is not followed: its sigma is the number of channels switched
    *off* where its documentation says routed; every task draws those alone, so that channels may
    be nobody's; the mask is a trainable parameter, unseeded; and it is applied behind autograd's
    back, so that gradients pass masked channels. Here masks are buffers: they are no parameters,
    are saved and loaded with the model, and stop gradients as they stop features. It also trains
    one task a step, where here all tasks of a batch are trained.

    Masks act on what leaves a stage; inside the next one every channel may fill again, until its
    own mask (the paper masks after every convolution, in front of the activation). Every shared
    parameter stays in the graph of every task, with a gradient of zero where a mask closes it.
    Batch norms of the encoder are shared too: their running statistics mix the passes of all
    tasks, and dropout is drawn anew in every pass. Features: for an encoder of one stage, what the
    masks are applied to; else none, since the tasks' gradients never meet at one tensor.

    Args:
        encoder: any module; the channels after each of its stages are routed.
        tasks: tasks by name, or in a list.
        share: fraction of channels that all tasks use, from 0 to 1.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name.
        example: one batch of inputs, for a dry run where widths of stages are not declared.

    Raises:
        UserError: as `HardSharing`; a share outside [0, 1], or one of 0 where a stage has fewer
            channels than there are tasks, so that a task would have none.

    """

    paper = "Strezoski 2019"
    shares = "the encoder; every task uses a fixed part of its channels"
    no_features = (
        "every task runs through the stages on channels of its own, so the tasks' gradients never "
        "meet at one representation; an encoder of one stage has one"
    )

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        share: float = 0.5,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share <= 1:
            raise UserError(
                f"share must be the fraction of channels that all tasks use, from 0 to 1, found "
                f"{share!r}."
            )
        staged = as_stages(encoder)
        self.width = representation_width(staged, example)
        self.encoder = staged
        seed = draw_seed()
        drawn = []
        for stage, width in enumerate(stage_widths(staged, example), 1):
            with seeded(seed, f"routes/{stage}"):
                drawn.append(_draw(width, sorted(self.task_names), share, stage))
        routes = {
            task: as_new(Route([masks[task] for masks in drawn], staged.channel_dim), encoder)
            for task in self.task_names
        }
        self.routes = PerTask(routes)
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
        """The first stage once, then a pass for each of these tasks."""
        stages = range(1, len(self.encoder.stages) + 1)
        found, context, parting = passes(self.encoder, x, self.width, tasks, stages, self._route)
        outputs = {task: self.heads.answer(task, z, context) for task, z in found.items()}
        return outputs, parting

    def _route(self, task: str, stage: int, h: Tensor, context: Context) -> Tensor:
        routed: Tensor = self.routes[task](h, stage)
        return routed


class Route(nn.Module):
    """The masks of one task, bool [C], one a stage: buffers `stage_1`, `stage_2`, ..."""

    def __init__(self, masks: Sequence[Tensor], channel_dim: int) -> None:
        super().__init__()
        for stage, mask in enumerate(masks, 1):
            self.register_buffer(f"stage_{stage}", mask)
        self.channel_dim = channel_dim

    def forward(self, h: Tensor, stage: int) -> Tensor:
        """`h` with the channels of other tasks set to zero, of the same shape and type."""
        return h * along(self.get_buffer(f"stage_{stage}"), h, self.channel_dim)


def _draw(width: int, tasks: Sequence[str], share: float, stage: int) -> dict[str, Tensor]:
    """A mask a task from torch's stream; raises `UserError` when one would be empty."""
    shared = max(round(share * width), int(share > 0))
    if not shared and width < len(tasks):
        raise UserError(
            f"share={share} leaves tasks without a channel: stage {stage} has {width} for "
            f"{len(tasks)} tasks. Choose a share above 0, or a wider encoder."
        )
    channels = torch.randperm(width, device="cpu")
    # Who gets one more where they do not divide evenly differs from stage to stage.
    turns = torch.randperm(len(tasks), device="cpu").tolist()
    masks = {}
    for task, turn in zip(tasks, turns, strict=True):
        mask = torch.zeros(width, dtype=torch.bool, device="cpu")
        mask[channels[:shared]] = True
        mask[channels[shared:][turn :: len(tasks)]] = True
        masks[task] = mask
    return masks
