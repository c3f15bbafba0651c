"""Relationships between tasks: what agrees, what helps what, and what to train together.

Pure functions of numbers; they need NumPy alone, and SciPy where groups or transfers are chosen.
"""

from polytask.relationships.affinity import Affinity
from polytask.relationships.conflict import Conflict, estimate
from polytask.relationships.group_choice import choose_groups
from polytask.relationships.grouping import Grouping, group_tasks
from polytask.relationships.hierarchy import ahp
from polytask.relationships.hoa import GroupLosses, predict_group_losses
from polytask.relationships.transfer import TransferPolicy, transfer_policy

__all__ = [
    "Affinity",
    "Conflict",
    "GroupLosses",
    "Grouping",
    "TransferPolicy",
    "ahp",
    "choose_groups",
    "estimate",
    "group_tasks",
    "predict_group_losses",
    "transfer_policy",
]
