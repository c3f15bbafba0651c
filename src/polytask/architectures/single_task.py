"""One independent network per task: nothing is shared, what sharing is judged against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from polytask.architectures._base import Features, TaskLike
from polytask.architectures._heads import build_heads
from polytask.architectures._init import copies, draw_seed
from polytask.architectures._inputs import channel_dim_of, representation_width
from polytask.architectures._per_task import PerTask
from polytask.architectures._regularized import Regularized, parallel
from polytask.architectures._represent import represent
from polytask.architectures.stages import adapted
from polytask.optimization.regularization import Terms


class SingleTask(Regularized):
    """One independent network per task: nothing is shared, what sharing is judged against.

    Every task has its own copy of the encoder and its own head; `features` are None. Cost of
    a step and of memory: as many encoders as tasks. `encoder` itself is copied, never used.

    Copies are drawn anew by `reinitialise`, each from a stream of its own for the seed and the
    task's name, so they differ from one another whatever their order. Submodules that cannot
    be drawn anew keep the weights of `encoder` in every copy; their dotted names are in the
    attribute `copied`. A lone task has nothing to differ from: its encoder starts from the
    weights of `encoder`, so the network is the same as `HardSharing` of that one task.

    `regularize` adds terms that hold the networks together, or apart, to the losses: a name, a list
    as in `[l2, {trace_norm: {strength: 0.1}}]`, or a mapping of names to options; several are
    added up. See `polytask.optimization.regularization`. Most suppose that units correspond, which
    they do in networks that start alike: `fresh=False`.

    Args:
        encoder: any module that answers one tensor [N, d], or [N, C, H, W].
        tasks: tasks by name, or in a list.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name.
        example: one batch of inputs, as the model will get it, for a dry run of the encoder.
        fresh: False starts every copy from the weights of `encoder`: for a pretrained one.
        regularize: terms of the networks' weights, see above.

    Raises:
        UserError: as `HardSharing`; terms that do not exist, or that read no weight.

    """

    shares = "nothing"

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
        fresh: bool = True,
        regularize: Terms = (),
    ) -> None:
        super().__init__(encoder, tasks)
        encoder = adapted(encoder)
        self.width = representation_width(encoder, example)
        seed = draw_seed()
        networks, self.copied = copies(encoder, self.task_names, seed, fresh=fresh)
        self.encoders = PerTask(networks)
        self.heads = build_heads(
            self.outputs,
            self.width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=seed,
            channel_dim=channel_dim_of(encoder),
        )
        self.tie(regularize, encoder)

    def parallel_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Those of the encoders."""
        return parallel([self.encoders[task] for task in self.outputs])

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """The networks of these tasks, one after the other."""
        outputs = {}
        for task in tasks:
            z, context = represent(self.encoders[task], x, self.width)
            outputs[task] = self.heads.answer(task, z, context)
        return outputs, None
