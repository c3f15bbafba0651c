"""From losses to a statistic to one backward pass: what every balancer stands on (torch only)."""

from polytask.kernel.statistic import Statistic
from polytask.kernel.step import Given, Settings, Step, take_step

__all__ = ["Given", "Settings", "Statistic", "Step", "take_step"]
