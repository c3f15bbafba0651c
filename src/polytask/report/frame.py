"""What the page of every kind of study has: the verdict above, data and reproduction below."""

from __future__ import annotations

from typing import Any

from polytask.report import reproduce
from polytask.report.plots import swatch
from polytask.report.results import Results
from polytask.report.words import incomplete, missing_item, sentence


def frame(results: Results) -> dict[str, Any]:
    """What `frame.html.j2` shows of any study, but its "facts", its "failures" and "how"."""
    first, more = sentence(results)
    return {
        "name": results.name,
        "sentence": first,
        "more": more,
        "confidence": str(results.section("verdict").get("confidence_note") or ""),
        "incomplete": incomplete(results),
        "created": str(results.raw.get("created") or ""),
        "swatch": swatch,
        **reproduce.data_facts(results),
        "task_specs": list(results.tasks.items()),
        "seeds": [str(seed) for seed in results.seeds],
        "missing": [missing_item(entry) for entry in results.raw.get("missing") or []],
        "config": reproduce.configuration(results),
        "versions": reproduce.versions(results),
        "version": str(results.raw.get("polytask") or ""),
        "command": reproduce.command(results),
        "again": reproduce.again(results),
    }
