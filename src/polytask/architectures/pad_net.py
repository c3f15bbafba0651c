"""PAD-Net: early answers of all tasks, then gated messages between the tasks' features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._checks import positive_ints
from polytask.architectures._distillation import (
    Distil,
    Local,
    Refine,
    axes_of,
    drawn,
    early_heads,
    others,
    own_parts,
)
from polytask.architectures._heads import build_heads
from polytask.architectures._init import draw_seed
from polytask.architectures._inputs import channel_dim_of, representation_width
from polytask.architectures._layout import Context
from polytask.architectures._per_task import PerTask
from polytask.architectures._represent import represent
from polytask.architectures.stages import adapted


class PADNet(Architecture):
    """PAD-Net: early answers of all tasks, then gated messages between the tasks' features.

    D. Xu, W. Ouyang, X. Wang, N. Sebe, "PAD-Net: Multi-Tasks Guided Prediction-and-Distillation
    Network", CVPR 2018, https://arxiv.org/abs/1805.04409, with its distillation module C. From
    the representation z = f(x) of a shared encoder:

        F_i = refine_i(z)                                    features of task i
        early answer of i = initial_i(F_i)                   learned with the task's own loss
        G_i = sigmoid(conv_i(F_i))                           what task i lets in, place by place
        F'_i = F_i + sum over j != i of G_i * conv_ij(F_j)   messages of the other tasks
        output of i = head_i(decode_i(F'_i))

    On maps [N, C, H, W] `conv` is a 3x3 convolution; on rows and tokens, a linear map at every
    place, with which tasks of one label an item work too: their heads pool at the end. Maps are
    known by `example`, or else by tasks with labels at every place. All works at the resolution
    of the encoder's answer; heads resize to that of the labels.

    What to know of it:

    - **One task needs all.** F_j goes into every output, so `tasks=("a",)` and `prune("a")` still
      compute the features of all tasks; only the early answers, gates, messages and decoders of
      the others are left out. With `messages=False` nothing of the others is.
    - **Early answers count in the loss**: L_i(output) + L_i(early answer), each with weight 1.
      `Trainer` adds them; in a loop of your own, take them from `model.intermediate`. They are
      not computed in evaluation.
    - The gate is of the receiving task's features, as in the paper. The code most results are
      from (https://github.com/SimonVandenhende/Multi-Task-Learning-PyTorch) gates a message with
      the sender's own features, one gate a pair; with it a task cannot choose what it lets in.
      As in that code, F_j is what the early answer is made of, not the answer itself.
    - `refine` and `decode` are a projection and one residual block, which normalises the channels
      of every place by themselves; that code has two bottleneck blocks that normalise over the
      batch. Here items do not see each other.

    Cost of T tasks: one encoder pass and, on maps, about (5 T + T (T - 1)) * 9 * width ** 2
    multiplications a place, and as many parameters. Features are the list of all F_i.

    Args:
        encoder: any module that answers one tensor [N, d], [N, C, H, W] or tokens.
        tasks: tasks by name, or in a list.
        width: channels of every task's features. (That code: 256, of an encoder's 2048.)
        messages: False leaves messages and gates out: networks that share the encoder, with
            early answers; what messages are to be judged against.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name, for features of `width` channels.
            Early answers are made by default heads.
        example: one batch of inputs, as the model will get it, for a dry run of the encoder.

    Raises:
        UserError: as `HardSharing`; a width below 1.

    """

    paper = "Xu 2018"
    shares = "the encoder, and every task's features by gated messages"
    requires = "best maps [N, C, H, W] and tasks with a label at every place"
    no_new_task = (
        "every task reads messages of all the others. Train all tasks anew, or use adapters or "
        "mtan, where tasks do not read each other."
    )

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        width: int = 32,
        messages: bool = True,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        (width,) = positive_ints("width", (width,), may_be_empty=False)
        encoder = adapted(encoder)
        self.width = representation_width(encoder, example)
        self.encoder = encoder
        self.sources = self.task_names
        dim, seed = channel_dim_of(encoder), draw_seed()
        axes = axes_of(encoder, example, [output.places for output in self.outputs.values()])
        maps = axes == 2

        def conv(name: str) -> Local:
            return drawn(seed, name, encoder, Local, width, width, dim, maps)

        def refine(name: str, before: int) -> Refine:
            return drawn(seed, name, encoder, Refine, before, width, dim, maps)

        # In the order of `sources`, and not `PerTask`: with messages they serve every task.
        self.refine = nn.ModuleList(refine(f"features/{t}", self.width) for t in self.sources)
        self.distil: PerTask | None = None
        if messages and len(self.sources) > 1:
            self.distil = PerTask(
                {
                    t: Distil(
                        [conv(f"message/{j}/{t}") for j in others(t, self.sources)],
                        [conv(f"gate/{t}")],
                    )
                    for t in self.sources
                }
            )
        self.decode = PerTask({t: refine(f"decode/{t}", width) for t in self.sources})
        self.initial = early_heads(self.outputs, width, encoder, seed, dim)
        self.heads = build_heads(
            self.outputs,
            width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=seed,
            channel_dim=dim,
        )

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """One encoder pass, the features of all tasks, then what is these tasks' own."""
        z, context = represent(self.encoder, x, self.width)
        read = tasks if self.distil is None else self.sources
        features = {task: self.refine[self.sources.index(task)](z) for task in read}
        outputs = {task: self._answer(task, features, context) for task in tasks}
        return outputs, z if self.distil is None else list(features.values())

    def _answer(self, task: str, features: Mapping[str, Tensor], context: Context) -> Tensor:
        """The early answer, the messages and the output of one task."""
        own = features[task]
        if self.training:
            self.supervise(task, self.initial[task](own, context))
        if self.distil is not None:
            own = self.distil[task](own, [features[j] for j in others(task, self.sources)])
        return self.heads.answer(task, self.decode[task](own), context)

    def shared_parameters(self) -> dict[str, tuple[str, ...]]:
        """With messages, the features of a task are used by all; without, by itself."""
        users = super().shared_parameters()
        if self.distil is None:
            users |= own_parts(users, "refine", self.sources)
        return users
