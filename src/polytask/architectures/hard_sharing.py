"""Hard parameter sharing: one encoder for all tasks, one head for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._heads import build_heads
from polytask.architectures._init import draw_seed
from polytask.architectures._inputs import channel_dim_of, representation_width
from polytask.architectures._represent import represent
from polytask.architectures.stages import adapted


class HardSharing(Architecture):
    """Hard parameter sharing: one encoder for all tasks, one head for each.

    R. Caruana, "Multitask Learning", Machine Learning 28 (1997),
    https://doi.org/10.1023/A:1007379606734. With representation z = f(x), output t is
    h_t(z). Cost of a step: one encoder pass whatever the number of tasks.

    The encoder is used as it is, with the weights it has; only heads are drawn here, each from
    a stream of its own for the seed and the task's name. So under one `torch.manual_seed` a
    network of one task starts from the same encoder and the same head as a network of many.

    Args:
        encoder: any module that answers one tensor [N, d], or [N, C, H, W], which the default
            head pools. Its width is its attribute `output_size`, or found on `example`.
        tasks: tasks by name, or in a list.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name (for dense outputs, say); each
            reads what the encoder answers, and owns its parameters.
        example: one batch of inputs, as the model will get it, for a dry run of the encoder.

    Raises:
        UserError: an encoder without trainable parameters, of unknown or wrong width, or one
            that answers something else than one floating-point tensor; faulty tasks or heads.

    """

    paper = "Caruana 1997"
    shares = "the whole encoder"

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        encoder = adapted(encoder)
        self.width = representation_width(encoder, example)
        self.encoder = encoder
        self.heads = build_heads(
            self.outputs,
            self.width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=draw_seed(),
            channel_dim=channel_dim_of(encoder),
        )

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """One pass of the encoder, then the heads of these tasks."""
        z, context = represent(self.encoder, x, self.width)
        return {task: self.heads.answer(task, z, context) for task in tasks}, z
