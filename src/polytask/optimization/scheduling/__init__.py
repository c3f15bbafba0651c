"""Task schedules: which task (or data set) each step trains on. One file a schedule.

A schedule knows names, numbers of rows and what it has observed, never a model or a batch;
`polytask.data.Mixture` draws by it. See `list_schedules`.
"""

from polytask.optimization.scheduling._base import Schedule
from polytask.optimization.scheduling._create import (
    DEFAULT,
    create_schedule,
    list_schedules,
)

__all__ = ["DEFAULT", "Schedule", "create_schedule", "list_schedules"]
