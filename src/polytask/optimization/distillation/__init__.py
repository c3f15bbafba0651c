"""Losses of knowledge distillation: a network learns from the answers of trained ones.

Pure functions of tensors; `polytask.training.Distillation` trains with them.
"""

from polytask.optimization.distillation.annealing import label_share, mixed
from polytask.optimization.distillation.features import (
    FeatureAdapter,
    channel_normalised,
    feature_distance,
)
from polytask.optimization.distillation.soft import KINDS, soft_loss, soft_targets

__all__ = [
    "KINDS",
    "FeatureAdapter",
    "channel_normalised",
    "feature_distance",
    "label_share",
    "mixed",
    "soft_loss",
    "soft_targets",
]
