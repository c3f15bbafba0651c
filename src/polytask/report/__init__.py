"""Showing studies: one self-contained HTML file, and the verdict in the terminal.

The only input is the `results.json` of a study (a dict, a file, or its folder), or several of
them for one page; nothing is measured or judged anew here, so every number on the page is one of
those files or, over several studies, their plain mean and rank. An `Affinity` of one's own is drawn
by `affinity_heat_map` and `dendrogram`. Names are loaded when first used: importing this package
costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polytask.report.html import write_report
    from polytask.report.relation_figures import affinity_heat_map, dendrogram
    from polytask.report.terminal import print_verdict, verdict_renderable

__all__ = [
    "affinity_heat_map", "dendrogram", "print_verdict", "verdict_renderable", "write_report",
]  # fmt: skip

_HOMES = {
    "affinity_heat_map": "polytask.report.relation_figures",
    "dendrogram": "polytask.report.relation_figures",
    "write_report": "polytask.report.html",
    "print_verdict": "polytask.report.terminal",
    "verdict_renderable": "polytask.report.terminal",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
