"""What a task is: name, kind of target, loss over labelled items, metrics, role.

Everything here needs torch and numpy alone; metrics need torchmetrics when they are computed.
"""

from polytask.metrics import Metric, Undefined, list_metrics
from polytask.tasks._evaluate import evaluate
from polytask.tasks._task import KINDS, ROLES, LossResult, Task

__all__ = [
    "KINDS",
    "ROLES",
    "LossResult",
    "Metric",
    "Task",
    "Undefined",
    "evaluate",
    "list_metrics",
]
