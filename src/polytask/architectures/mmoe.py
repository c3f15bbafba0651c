"""Multi-gate mixture of experts: shared experts, weighed by a gate of every task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from polytask.architectures._base import TaskLike
from polytask.architectures._mixture import Mixture
from polytask.architectures._numbers import counted


class MMoE(Mixture):
    """Multi-gate mixture of experts: shared experts, weighed by a gate of every task.

    J. Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate
    Mixture-of-Experts", KDD 2018, https://doi.org/10.1145/3219819.3220007. With experts f_e and
    features g at the branching point, output t is

        y_t = h_t(sum_e w_te f_e(x)),   w_t = softmax(W_t g + b_t)   (equations 6 and 7),

    so tasks that differ may use different experts, item by item. Weights of a task sum to 1.
    With one expert there is nothing to decide and no gate: it is hard sharing, bit for bit.

    An expert is the encoder's stages from the branching point on, with its exit. Expert 0 has
    the given encoder's weights; the others are copies drawn anew by `reinitialise`, each from a
    stream of its own. Frozen parts keep their weights, and so do submodules that cannot be drawn
    anew, which are named in `copied`. Cost of a step: one pass of the shared stages and `experts`
    passes of the rest, whatever the number of tasks; parameters likewise, and
    (width + 1) * experts for each gate.

    Differences from published code: gates read the features at the branching point, averaged
    over places (padding left out), where others flatten the raw input, which fixes the size of
    images and lets a gate see next to nothing; as there, a gate has a bias, which the paper's
    equation lacks. All experts are computed for all items (soft gates): nothing is dropped.
    `gate_usage` and `gate_entropy` say whether gates have collapsed onto one expert, which
    nothing here prevents. The features are a cut: what every expert answers, and what gates read
    where that is learned.

    Args:
        encoder: any module; of several stages to share the first ones (see `stages`).
        tasks: tasks by name, or in a list.
        experts: how many, at least 1.
        shared_stages: how many first stages all experts share, from 0 to one less than there
            are; the entrance is always shared. None: 0 where the first stage reads one vector an
            item (a table) and for an encoder of one stage, else 1, so that gates do not read raw
            pixels. Without `example` this goes by the shapes of the parameters.
        fresh: False starts every expert from the weights of `encoder`, for a pretrained one;
            gates and dropout must then tell them apart.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name.
        example: one batch of inputs, for a dry run where widths are not declared.

    Raises:
        UserError: as `HardSharing`; numbers of experts or stages that cannot be; features at the
            branching point of unknown width, or that are no floating-point tensor (tokens that
            are embedded by the first stage: share it); a first stage of an expert that changes
            its input in place.

    """

    paper = "Ma et al. 2018"
    shares = "all experts; each task weighs them by a gate of its own"
    requires = "features of known width at the branching point"

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        experts: int = 4,
        shared_stages: int | None = None,
        fresh: bool = True,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(
            encoder,
            tasks,
            experts=counted("experts", experts),
            own=0,
            shared_stages=shared_stages,
            fresh=fresh,
            head_hidden=head_hidden,
            heads=heads,
            example=example,
        )
