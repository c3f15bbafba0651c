"""From losses to a statistic to one backward pass: what every balancer stands on (torch only)."""

from polytask.kernel.statistic import Statistic
from polytask.kernel.step import Step, take_step

__all__ = ["Statistic", "Step", "take_step"]
