"""Studies: many runs of one question, judged with intervals.

`polytask.compare`, `polytask.select_auxiliaries`, `polytask.relate` and `polytask.pareto` live
here. Importing this package costs nothing; its names are loaded at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polytask.study.comparison import compare
    from polytask.study.fronts.pareto import pareto
    from polytask.study.relations.relate import relate
    from polytask.study.result import StudyResult
    from polytask.study.selection import select_auxiliaries

__all__ = ["StudyResult", "compare", "pareto", "relate", "select_auxiliaries"]


def __getattr__(name: str) -> Any:
    if name == "select_auxiliaries":
        from polytask.study.selection.selection import select_auxiliaries

        return select_auxiliaries
    if name == "relate":
        from polytask.study.relations.relate import relate

        return relate
    if name == "pareto":
        from polytask.study.fronts.pareto import pareto

        return pareto
    if name in __all__:
        from polytask.study import comparison

        return getattr(comparison, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
