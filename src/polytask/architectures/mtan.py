"""MTAN: a shared encoder, and attention of every task to the features of each of its stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._checks import positive_ints
from polytask.architectures._heads import as_new, build_heads
from polytask.architectures._init import draw_seed, seeded
from polytask.architectures._inputs import representation_width
from polytask.architectures._layout import Context
from polytask.architectures._mtan import AttentionMask, Transition, at_places_of
from polytask.architectures._per_task import PerTask
from polytask.architectures._represent import leave
from polytask.architectures.stages import as_stages, begin, enter, run, stage_widths


class MTAN(Architecture):
    """MTAN: a shared encoder, and attention of every task to the features of each of its stages.

    S. Liu, E. Johns, A. J. Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019,
    https://arxiv.org/abs/1803.10704. With shared features u_j in front of block j and p_j behind
    it, task t attends to

        a_tj = sigmoid(norm(W_2 relu(norm(W_1 [u_j; f_{j-1}(a_t,j-1)])))) * p_j,

    a mask in (0, 1) for every channel and place, W maps of channels (1x1 convolutions); its head
    reads what the encoder's exit makes of the attended features of the last block.

    Here every stage of the encoder is a block: p_j is what leaves it and u_j what enters it. The
    first has no features before it that are learned, so there u_1 = p_1 (the paper splits every
    block in two, which a stage of any encoder cannot be). Where resolution changes, u and the
    attended features are averaged over the places that fall together (the paper: max pooling).

    **The transition f between blocks is one for all tasks**, as in the authors' code, and is
    declared so: it is easily taken for a part of the tasks, and library code that did so left it
    out of what is shared. `shared_transition=False` gives every task its own. The paper's f is a
    3x3 convolution with norm and ReLU (its ResNet has a bottleneck block), the one here a 1x1, so
    that tables, tokens and maps are served alike. Norms are batch norms: that of a shared
    transition sees the tasks in turn, so its running statistics are those of all together, and
    tokens that are padding count in all of them.

    Cost of a step: one encoder pass whatever the number of tasks, and the attention of each task:
    for a block of width C, 2 C^2 to 3 C^2 / `reduction` parameters at every place.

    Features, with transitions of the tasks' own and an exit without parameters: the output of
    every stage as the tasks read it, which is a cut. With shared transitions there is none but
    each task's own last features, where the tasks' gradients never meet.

    Args:
        encoder: any module; best one of several stages (see `stages`).
        tasks: tasks by name, or in a list.
        shared_transition: one transition between two blocks for all tasks, or one for each.
        reduction: hidden channels of an attention are those of the stage divided by this. The
            authors' SegNet has 1, their ResNet 4.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name.
        example: one batch of inputs, for a dry run where widths of stages are not declared.

    Raises:
        UserError: as `HardSharing`; widths of stages that are not known; a faulty reduction.

    """

    paper = "Liu 2019"
    shares = "the encoder; every task masks the features of its stages"
    no_features = (
        "shared transitions run on every task's own attended features, where the tasks' gradients "
        "never meet; shared_transition=False has a cut, unless the encoder's exit learns"
    )

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        shared_transition: bool = True,
        reduction: int = 1,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        positive_ints("reduction", (reduction,), may_be_empty=False)
        staged = as_stages(encoder)
        self.width = representation_width(staged, example)
        self.encoder = staged
        self.shared_transition = shared_transition
        widths, dim = stage_widths(staged, example), staged.channel_dim
        # u and, behind the first block, what comes from the one before at the width of p.
        reads = [widths[0], *(before + after for before, after in pairwise(widths))]
        seed = draw_seed()
        attention: dict[str, nn.Module] = {}
        for task in self.task_names:
            with seeded(seed, f"attention/{task}"), torch.device("cpu"):
                masks = [
                    AttentionMask(before, max(1, after // reduction), after, dim)
                    for before, after in zip(reads, widths, strict=True)
                ]
            attention[task] = as_new(nn.ModuleList(masks), encoder)
        self.attention = PerTask(attention)

        def transitions(stream: str) -> nn.ModuleList:
            with seeded(seed, stream), torch.device("cpu"):
                made = nn.ModuleList(Transition(a, b, dim) for a, b in pairwise(widths))
            moved: nn.ModuleList = as_new(made, encoder)
            return moved

        self.transitions: nn.Module = (
            transitions("transitions")
            if shared_transition
            else PerTask({task: transitions(f"transitions/{task}") for task in self.task_names})
        )
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
        """One pass of the encoder, then the attention of these tasks along its stages."""
        h, context = enter(self.encoder.entrance, begin(self.encoder, x))
        read = []
        for stage in self.encoder.stages:
            h = run(stage, h, context)
            # A node of its own: what goes on to deeper stages does not run through it.
            read.append(h.view_as(h))
        outputs = {}
        for task in tasks:
            attended = self._attend(task, read, context)
            z = leave(self.encoder, attended, context, self.width)
            outputs[task] = self.heads.answer(task, z, context)
        if self._learns_behind():
            return outputs, None
        return outputs, read[0] if len(read) == 1 else read

    def _attend(self, task: str, read: Sequence[Tensor], context: Context) -> Tensor:
        """The task's features at the last stage; `read` are the shared ones of every stage."""
        dim = self.encoder.channel_dim
        channels = 1 if dim == 1 else -1
        masks = self.attention[task]
        transitions = self.transitions
        if isinstance(transitions, PerTask):
            transitions = transitions[task]
        assert isinstance(masks, nn.ModuleList)
        assert isinstance(transitions, nn.ModuleList)
        attended: Tensor = masks[0](read[0]) * read[0]
        for mask, transition, (u, p) in zip(
            list(masks)[1:], transitions, pairwise(read), strict=True
        ):
            brought = [at_places_of(h, p, dim, context) for h in (u, transition(attended))]
            attended = mask(torch.cat(brought, dim=channels)) * p
        return attended

    def _learns_behind(self) -> bool:
        """Whether tasks share something trained behind the features that they attend to."""
        shared = [self.encoder.exit]
        if self.shared_transition:
            shared.append(self.transitions)
        return any(p.requires_grad for part in shared for p in part.parameters())
