"""Relationships between tasks: what agrees, what helps what, and what to train together.

Pure functions of numbers; they need NumPy alone, and SciPy where groups or transfers are chosen.
"""

from polytask.relationships.affinity import Affinity
from polytask.relationships.branches import BranchTree, branch_tree
from polytask.relationships.conflict import Conflict, estimate
from polytask.relationships.group_choice import choose_groups
from polytask.relationships.grouping import Grouping, group_tasks
from polytask.relationships.hierarchy import ahp
from polytask.relationships.hoa import GroupLosses, predict_group_losses
from polytask.relationships.lookahead import lookahead
from polytask.relationships.representation import linear_cka, rsa
from polytask.relationships.surrogate import subset_affinity
from polytask.relationships.transfer import TransferPolicy, transfer_policy
from polytask.relationships.transfer_affinity import transfer_affinity
from polytask.relationships.transferability import h_score, leep, logme

__all__ = [
    "Affinity",
    "BranchTree",
    "Conflict",
    "GroupLosses",
    "Grouping",
    "TransferPolicy",
    "ahp",
    "branch_tree",
    "choose_groups",
    "estimate",
    "group_tasks",
    "h_score",
    "leep",
    "linear_cka",
    "logme",
    "lookahead",
    "predict_group_losses",
    "rsa",
    "subset_affinity",
    "transfer_affinity",
    "transfer_policy",
]
