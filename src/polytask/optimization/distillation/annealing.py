"""How much the labels count beside the teachers, and the loss that is mixed of both."""

from __future__ import annotations

from torch import Tensor

from polytask.errors import UserError


def label_share(step: int, steps: int) -> float:
    """Lambda of teacher annealing: 0 at the first step, 1 at the last, linear between.

    K. Clark et al., "BAM! Born-Again Multi-Task Networks for Natural Language Understanding",
    ACL 2019, section 3.2, https://arxiv.org/abs/1907.04829: the student learns from its teachers
    alone at first, and from labels alone in the end, so it can become better than they are. The
    paper's lambda goes from 0 to 1 over the training; the step `step` of `steps`, counted from
    0, has step / (steps - 1) here, so that both ends are reached. A training of one step has 0;
    steps beyond the last have 1.

    Raises `UserError` for a step below 0 or no steps.

    >>> [label_share(step, 5) for step in range(6)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    if step < 0 or steps < 1:
        raise UserError(
            f"expected a step from 0 and at least one step in all, found step {step} of {steps}."
        )
    return min(1.0, step / max(1, steps - 1))


def mixed(hard: Tensor | None, soft: Tensor | None, share: float) -> Tensor | None:
    """share * hard + (1 - share) * soft; what has no share plays no part, to the bit.

    With cross-entropy, which is linear in its target, this is the loss on BAM's target
    lambda * y + (1 - lambda) * p_teacher, less a constant. With squared error it differs from
    the loss on the mixed target by share * (1 - share) * (y - teacher)², which no student can
    change: gradients are the same.

    Args:
        hard: the loss on labels; None where there are none.
        soft: the loss on soft targets; None where nothing is taught.
        share: of the labels, from 0 to 1.

    Returns:
        None when neither has a part. One alone keeps its share: rows without labels teach less
        and less as the share of the labels grows.

    Raises:
        UserError: a share outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise UserError(f"the share of the labels must be from 0 to 1, found {share!r}.")
    parts = [
        part if weight == 1 else weight * part
        for part, weight in ((hard, share), (soft, 1 - share))
        if part is not None and weight > 0
    ]
    return sum(parts[1:], parts[0]) if parts else None
