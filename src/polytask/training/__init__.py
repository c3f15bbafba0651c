"""Training: the `Trainer`, its callbacks, and the rules that choose a checkpoint.

Importing this package loads nothing but names; torch and the rest come with the first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polytask.training._environment import environment
    from polytask.training.affinity import AffinityRecorder
    from polytask.training.callbacks import Callback
    from polytask.training.conflict import ConflictRecorder
    from polytask.training.distillation import Distillation
    from polytask.training.history import History
    from polytask.training.method import build_method
    from polytask.training.popart import PopArt
    from polytask.training.representation import represent
    from polytask.training.selection import Rule, make_rule
    from polytask.training.self_paced import SelfPaced
    from polytask.training.stop_and_go import StopAndGo
    from polytask.training.stop_tasks import TaskEarlyStopping
    from polytask.training.surrogate import projected_gradient_affinity
    from polytask.training.task_bandit import TaskBandit
    from polytask.training.trainer import Trainer

__all__ = [
    "AffinityRecorder",
    "Callback",
    "ConflictRecorder",
    "Distillation",
    "History",
    "PopArt",
    "Rule",
    "SelfPaced",
    "StopAndGo",
    "TaskBandit",
    "TaskEarlyStopping",
    "Trainer",
    "build_method",
    "environment",
    "make_rule",
    "projected_gradient_affinity",
    "represent",
]

_HOME = {
    "AffinityRecorder": "affinity",
    "Callback": "callbacks",
    "ConflictRecorder": "conflict",
    "Distillation": "distillation",
    "History": "history",
    "PopArt": "popart",
    "Rule": "selection",
    "SelfPaced": "self_paced",
    "StopAndGo": "stop_and_go",
    "TaskBandit": "task_bandit",
    "TaskEarlyStopping": "stop_tasks",
    "Trainer": "trainer",
    "build_method": "method",
    "environment": "_environment",
    "make_rule": "selection",
    "projected_gradient_affinity": "surrogate",
    "represent": "representation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_HOME[name]}")
    globals()[name] = getattr(module, name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted(__all__)
