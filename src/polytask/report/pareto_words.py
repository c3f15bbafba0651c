"""What the page of a front says beside its numbers."""

from __future__ import annotations

from polytask.report.method_notes import INTERVALS
from polytask.report.numbers import fixed, number, plural, plus_minus, said_undefined
from polytask.report.pareto_results import Front
from polytask.report.results import mapping
from polytask.report.words import phrases, redrawn

METHODS = {
    "epo": "EPO ends where preference times loss is the same for every task, on any front.",
    "pareto_mtl": "Pareto-MTL ends within the cone of losses that belongs to the preference.",
    "stch": "The smooth Tchebycheff sum lowers the largest of preference times loss.",
    "linear": "A weighted sum of losses reaches no point of a front that is bent in.",
}


def facts(front: Front) -> list[str]:
    """The study in a few short phrases."""
    kept = sum(point.front is True for point in front.points)
    counts = [plural(len(front.points), "point"), f"{kept} on the front"]
    return phrases(front.results, [*counts, f"method {front.raw.get('method')}"])


def volume_sentence(front: Front) -> str:
    """The hypervolume with the reference that it depends on, or why there is none."""
    found = front.volume
    mean = number(found.get("mean"))
    if mean is None:
        why = found.get("undefined") or mapping(found.get("mean")).get("undefined") or "no scores"
        return f"The hypervolume is undefined: {why}."
    corner = ", ".join(
        f"{task} {value:.4g}" for task, value in mapping(found.get("reference")).items()
    )
    whose = (
        "as it was given"
        if found.get("given")
        else "the worst score of any point, a tenth of its distance to the best worse"
    )
    return (
        f"Hypervolume on test {plus_minus(mean, found.get('sd'), 3)}: the share that the front "
        f"covers of the box from the reference point ({corner}: {whose}) to the single-task "
        "scores. 1 is a point that gives nothing up; fronts compare under one reference only."
    )


def steering_lines(front: Front) -> list[str]:
    """One line a task: what counting most does to its own score."""
    names = {str(point.raw.get("id")): str(point.number) for point in front.points}
    lines = []
    for task, entry in front.steering.items():
        mean = number(entry.get("mean"))
        if mean is None:
            lines.append(f"{task}: {said_undefined(entry.get('mean'))}")
            continue
        low, high = number(entry.get("low")), number(entry.get("high"))
        span = "" if low is None or high is None else f" [{fixed(low, 1)}, {fixed(high, 1)}]"
        most, least = (names.get(str(entry.get(word)), "?") for word in ("most", "least"))
        lines.append(
            f"{task}: {fixed(mean, 1)} %{span}, point {most} against {least}: {entry.get('word')}"
        )
    return lines


def how_made(front: Front) -> list[tuple[str, str]]:
    """(term, explanation) pairs, in the order of the work."""
    results = front.results
    config = results.section("config")
    method = str(front.raw.get("method"))
    rate = number(front.raw.get("lr"))
    at = f" It was {rate:g}." if rate is not None else ""
    seeds = plural(len(results.seeds), "seed")
    return [
        (
            "Points",
            "One model a preference: positive numbers with sum 1 that say how much each task "
            "counts, at equal angles for two tasks, the inner points of a regular lattice for "
            f"more. {METHODS.get(method, '')}",
        ),
        (
            "Learning rate",
            "The middle preference was searched on the first seed and chosen on validation; all "
            f"points have its rate.{at} Every single-task network had a search of its own.",
        ),
        ("Epochs", _epochs(method, str(config.get("select", "mean_gain")))),
        (
            "Front",
            "The points that no other equals or beats in every task, by mean scores on validation. "
            "What is shown of them are test scores, so that a point of the front may look beaten.",
        ),
        (
            "Steering",
            "A task's gain at the point where it counts most minus that where it counts least, in "
            "percent of its mean single-task score, paired by seed; p-values corrected over the "
            f"tasks (Holm). This study has {seeds}; below 5 a difference leans at most.",
        ),
        ("95 % interval", INTERVALS[redrawn(results)]),
    ]


def _epochs(method: str, select: str) -> str:
    """How the epoch of every point was chosen."""
    if select != "preference":
        return f"Chosen on validation by {select}, the same rule at every point."
    what = "the sum" if method == "linear" else "the largest"
    return (
        f"Every point's on validation by its own preference: where {what} of the tasks' preference "
        "times loss is least, losses of regressions standardised as in training. Learning rates "
        "were compared, and epochs of single-task networks chosen, by the tasks' metrics."
    )
