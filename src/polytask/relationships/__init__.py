"""Relationships between tasks: estimates from recorded statistics, without any training.

Pure functions of numbers; needs NumPy alone.
"""

from polytask.relationships.conflict import Conflict, estimate

__all__ = ["Conflict", "estimate"]
