"""The angle between a predicted and a true direction, as surface normals are scored."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from polytask.metrics._undefined import NO_LABEL, Undefined

ONE_OUTPUT = Undefined("an angle needs a task of at least two outputs")


class Angles(NamedTuple):
    """Sum of angles in degrees (float64), their number, and how many outputs the task has."""

    total: Tensor
    n: Tensor
    outputs: int


def between(predicted: Tensor, true: Tensor) -> Tensor:
    """Angles in degrees `[n]` between the rows of two `[n, size]`; their lengths do not matter.

    A row of zeros points nowhere: its angle is 90. Exact also for tiny angles, where the arc
    cosine of the inner product loses half of the digits (W. Kahan, "How futile are mindless
    assessments of roundoff", 2006, section 12).
    """
    u, v = (vector / _length(vector) for vector in (predicted, true))
    return torch.rad2deg(2 * torch.atan2((u - v).norm(dim=1), (u + v).norm(dim=1)))


def _length(vector: Tensor) -> Tensor:
    """`[n, 1]`, and 1 where it is 0."""
    length = vector.norm(dim=1, keepdim=True)
    return torch.where(length > 0, length, 1.0)


def mean_angle(angles: Angles) -> float | Undefined:
    """Mean angle in degrees, 0 to 180, over the items whose direction is known."""
    if not bool(angles.n > 0):
        return NO_LABEL
    return (angles.total / angles.n).item() if angles.outputs > 1 else ONE_OUTPUT
