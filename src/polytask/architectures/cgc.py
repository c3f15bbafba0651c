"""Customised gate control: shared experts, and some of each task's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from polytask.architectures._base import TaskLike
from polytask.architectures._mixture import Mixture
from polytask.architectures._numbers import counted


class CGC(Mixture):
    """Customised gate control: shared experts, and some of each task's own.

    H. Tang et al., "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning Model for
    Personalized Recommendations", RecSys 2020, https://doi.org/10.1145/3383313.3412236. Output t
    is

        y_t = h_t(sum_e w_te z_e),   w_t = softmax(W_t g + b_t)   (equations 1 to 3)

    over the shared experts and those of task t alone; no gradient of another task reaches these.
    Without own experts it is `MMoE`, bit for bit; with one shared expert on top of that, hard
    sharing.

    Experts are as in `MMoE`: copies of the encoder's stages from the branching point on, with its
    exit. The first shared expert has the given encoder's weights, other shared ones are drawn by
    their number, own ones by their task's name. Cost of a step: one pass of the shared stages, and
    shared_experts + T * task_experts passes of the rest for T tasks; parameters likewise, and
    (width + 1) * (shared_experts + task_experts) for each gate. For some of the tasks only their
    own experts are computed beside the shared ones.

    Difference from published code: gates read pooled features at the branching point, not the
    flattened raw input, and have a bias, as there. Gates are soft: nothing keeps a task from
    ignoring the shared experts, which is then single-task learning at a greater price; look at
    `gate_usage`, where shared experts come first. The features are a cut: what every shared
    expert answers, and what gates and own experts read where that is learned.

    Args:
        encoder: any module; of several stages to share the first ones (see `stages`).
        tasks: tasks by name, or in a list.
        shared_experts: how many for all tasks, at least 1.
        task_experts: how many for each task alone, at least 0.
        shared_stages: as in `MMoE`.
        fresh: False starts every expert from the weights of `encoder`, for a pretrained one.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name.
        example: one batch of inputs, for a dry run where widths are not declared.

    Raises:
        UserError: as `MMoE`.

    """

    paper = "Tang et al. 2020"
    shares = "some experts; each task has experts and a gate of its own"
    requires = "features of known width at the branching point"

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        shared_experts: int = 2,
        task_experts: int = 1,
        shared_stages: int | None = None,
        fresh: bool = True,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(
            encoder,
            tasks,
            experts=counted("shared_experts", shared_experts),
            own=counted("task_experts", task_experts, least=0),
            shared_stages=shared_stages,
            fresh=fresh,
            head_hidden=head_hidden,
            heads=heads,
            example=example,
        )
