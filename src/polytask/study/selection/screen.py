"""Who goes on to be proven: all candidates ranked by what two cheap trainings told of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polytask.relationships import estimate
from polytask.study.folder import Outcome, number
from polytask.study.selection.settings import Selection

CLEARLY = 2.0
"""Standard errors below 0 from which a helper's gradient is said to fight the main task's."""


@dataclass(frozen=True)
class Screen:
    """The evidence on every candidate, best first, and the finalists in that order."""

    helpers: tuple[dict[str, Any], ...]
    """`{"task", "rank", "finalist", "agreement": {"cosine", "standard_error", "null"}, "fights",
    "bandit", "behind"}`, see `screen`."""
    finalists: tuple[str, ...]
    remarks: tuple[str, ...]


def screen(selection: Selection, recorded: Outcome, tried: Outcome) -> Screen:
    """Rank the candidates: by the bandit where it can tell, then by gradient agreement.

    Args:
        selection: what is asked.
        recorded: how the training that recorded gradients ended.
        tried: how the trial ended; empty when there was none because all candidates go on.

    "behind" is whether the bandit tells a candidate from the best: the upper end of its 95 %
    interval lies below the best's mean. Those that are come last. Within both groups the larger
    cosine goes first, an undefined one counting as 0, then the larger mean of the bandit; equal
    candidates keep the order of the data set. "fights" is whether the cosine of its gradient with
    the main task's lies more than two standard errors below 0. "agreement" and "bandit" may hold
    `{"undefined": reason}`, and "bandit" is None where there was no trial.
    """
    agreement = _agreement(selection, recorded)
    bandit = _bandit(selection, tried)
    best = max(_or_zero(known, "mean") for known in bandit.values())
    behind = {task: _behind(known, best) for task, known in bandit.items()}
    order = sorted(
        selection.candidates,
        key=lambda task: (
            behind[task],
            -_or_zero(agreement[task], "cosine"),
            -_or_zero(bandit[task], "mean"),
        ),
    )
    finalists = tuple(order[: selection.finalists])
    helpers = tuple(
        {
            "task": task,
            "rank": place,
            "finalist": task in finalists,
            "agreement": agreement[task],
            "fights": _fights(agreement[task]),
            "bandit": bandit[task],
            "behind": behind[task],
        }
        for place, task in enumerate(order, start=1)
    )
    failed = [(recorded, "that records gradients"), (tried, "of the bandit")]
    remarks = tuple(
        f"The screen's training {which} failed: {ended['error']}"
        for ended, which in failed
        if "error" in ended
    )
    return Screen(helpers, finalists, remarks)


def _agreement(selection: Selection, recorded: Outcome) -> dict[str, dict[str, Any]]:
    """The cosine of the main task's gradient and each candidate's, with its error."""
    record = recorded.get("conflict") or {}
    if not record.get("products"):
        causes: dict[str, int] = record.get("skipped") or {"no step was recorded": 0}
        cause = recorded.get("error") or max(causes, key=lambda why: causes[why])
        reason = {"undefined": str(cause).rstrip(".")}
        nothing = {"cosine": reason, "standard_error": reason, "null": reason}
        return {task: dict(nothing) for task in selection.candidates}
    found = estimate([record]).to_dict()
    places = {task: place for place, task in enumerate(found["tasks"])}
    row = places[selection.main]
    return {
        task: {key: found[key][row][places[task]] for key in ("cosine", "standard_error", "null")}
        for task in selection.candidates
    }


def _bandit(selection: Selection, tried: Outcome) -> dict[str, dict[str, Any] | None]:
    """The bandit's belief in each candidate; None where there was no trial."""
    if "error" in tried:
        reason = {"undefined": str(tried["error"]).rstrip(".")}
        return dict.fromkeys(selection.candidates, reason)
    arms = (tried.get("bandit") or {}).get("arms", {})
    return {task: arms.get(task) for task in selection.candidates}


def _or_zero(entry: Mapping[str, Any] | None, key: str) -> float:
    """A number to rank by; nothing known is no evidence for and none against."""
    return number((entry or {}).get(key)) or 0.0


def _behind(known: Mapping[str, Any] | None, best: float) -> bool:
    """Whether the bandit tells a candidate from the best."""
    return bool(known and "interval" in known and known["interval"][1] < best)


def _fights(agreement: Mapping[str, Any]) -> bool:
    cosine, error = number(agreement["cosine"]), number(agreement["standard_error"])
    return cosine is not None and error is not None and cosine + CLEARLY * error < 0
