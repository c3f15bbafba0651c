"""Relationships of tasks in a study: measured, turned into groups, and checked.

`Estimator` is what a way of measuring affinities of your own inherits from (registered through the
entry-point group `polytask.estimators`), `RelationPlan` what it may ask for. Importing this package
costs nothing; its names are loaded at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polytask.study.relations.estimators._base import Estimator
    from polytask.study.relations.plan import RelationPlan

__all__ = ["Estimator", "RelationPlan"]


def __getattr__(name: str) -> Any:
    if name == "Estimator":
        from polytask.study.relations.estimators._base import Estimator

        return Estimator
    if name == "RelationPlan":
        from polytask.study.relations.plan import RelationPlan

        return RelationPlan
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
