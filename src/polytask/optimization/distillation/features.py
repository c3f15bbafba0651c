"""Matching features: a shared representation is mapped, task by task, to those of teachers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from polytask.errors import UserError

EPSILON = 1e-6
"""Added to the squared norm, so that features of zeros have a gradient."""


def channel_normalised(features: Tensor, dim: int = 1) -> Tensor:
    """Features divided by their norm over the channels: sqrt(sum of squares + 1e-6).

    As in the code of KD4MTL; their sizes play no part then, which differ from teacher to teacher.

    >>> channel_normalised(torch.tensor([[3.0, 4.0]])).round(decimals=3)
    tensor([[0.6000, 0.8000]])
    """
    return features / (features.square().sum(dim, keepdim=True) + EPSILON).sqrt()


def feature_distance(student: Tensor, teacher: Tensor, dim: int = 1) -> Tensor:
    """Squared distance of channel-normalised features, for every row and place; from 0 to 4.

    W.-H. Li, H. Bilen, "Knowledge Distillation for Multi-task Learning", ECCV 2020 workshops,
    https://arxiv.org/abs/2007.06889: sum over channels of (a / |a| - t / |t|)², with a = A(h)
    the student's features behind the task's adapter and t the teacher's. The mean over places and
    rows, times a weight of the task, is added to the loss of the task.

    Args:
        student: [N, C, ...] with channels along `dim`, behind the adapter.
        teacher: the same shape; no gradient runs to it.
        dim: where the channels are.

    Raises:
        UserError: shapes that differ.
    """
    if student.shape != teacher.shape:
        raise UserError(
            f"expected features of one shape, found {list(student.shape)} of the student and "
            f"{list(teacher.shape)} of the teacher. Use a teacher whose encoder answers as many "
            "places, and an adapter to its number of channels."
        )
    gap = channel_normalised(student, dim) - channel_normalised(teacher.detach(), dim)
    return gap.square().sum(dim)


class FeatureAdapter(nn.Module):
    """A task's linear map of the student's channels, the same at every place (a 1x1 convolution).

    Without a bias, drawn by Xavier's normal distribution, as in the code of KD4MTL. It is thrown
    away after training.

    Args:
        before: channels of the student's features.
        after: channels of the teacher's.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(after, before))
        nn.init.xavier_normal_(self.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Map features with their channels last, [..., before], to [..., after]."""
        return nn.functional.linear(features, self.weight)
