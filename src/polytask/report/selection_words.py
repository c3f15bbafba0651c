"""What the page of a selection says beside its numbers."""

from __future__ import annotations

from polytask.report.method_notes import INTERVALS
from polytask.report.numbers import MINUS, count, number, plural
from polytask.report.selection_results import Selection
from polytask.report.words import listing, phrases, redrawn, several


def facts(selection: Selection) -> list[str]:
    """The study in a few short phrases."""
    results = selection.results
    candidates = plural(len(results.tasks) - 1, "candidate")
    return phrases(results, [candidates, plural(len(selection.helpers), "finalist")])


def screen_sentences(selection: Selection) -> list[str]:
    """Who went on, why, and whose gradients fight the main task's."""
    entries, main = selection.screen, selection.main
    if not entries:
        return ["The screen has not ended."]
    finalists = [str(entry["task"]) for entry in entries if entry.get("finalist")]
    every = len(entries)
    if len(finalists) == every:
        said = [f"All {plural(every, 'candidate')} went on, so nothing had to be chosen."]
    else:
        said = [f"Of {plural(every, 'candidate')}, {listing(finalists)} went on."]
        said.append(
            "Last come those whose rate of success in the bandit's trial is told from the best "
            "one's; otherwise the agreement of gradients ranks."
            if selection.tried
            else "The agreement of gradients ranks."
        )
    fighting = [str(entry["task"]) for entry in entries if entry.get("fights")]
    if fighting:
        verb = "pulls" if len(fighting) == 1 else "pull"
        said.append(
            f"{several(fighting, every)} {verb} against {main}, more than two standard errors "
            "below 0. That is not yet harm: the sets above show what it does on test."
        )
    return said


def every_candidate(selection: Selection) -> str:
    """What the screen saved; '' where nothing was left to choose."""
    cost = selection.results.section("cost")
    planned, every = number(cost.get("planned")), number(cost.get("every_candidate"))
    if planned is None or every is None or every <= planned:
        return ""
    return (
        f"Proving every candidate instead would take {count(every)} runs; this plan has "
        f"{count(planned)}."
    )


def how_made(selection: Selection) -> list[tuple[str, str]]:
    """(term, explanation) pairs, in the order of the work."""
    results, main = selection.results, selection.main
    config = results.section("config")
    grid = config.get("lr")
    rates = f" ({', '.join(map(str, grid))})" if isinstance(grid, (list, tuple)) else ""
    screening = results.section("screen").get("lr")
    at = f" at the learning rate {screening}" if number(screening) is not None else ""
    trial = (
        " In another a bandit chose, round by round, one helper to train along with the main task "
        "(Thompson sampling); a round is a success when the main task's validation score was at "
        "least that of before. With 'main alone' among its arms."
    )
    return [
        (
            "Screen",
            f"On seed 0{at}. One training of all tasks with equal weights recorded the tasks' "
            "gradients on two halves of a batch, whose products give cosines without the bias "
            f"of noise; ± is the standard error.{trial if selection.tried else ''}",
        ),
        (
            "Sets",
            f"{main} alone; with each finalist; with all finalists; with all but one of them; "
            f"with all candidates. Balanced by {results.raw.get('method', 'linear')}, sharing by "
            f"{results.raw.get('architecture', 'hard_sharing')}; {main} alone is a network of its "
            "own.",
        ),
        (
            "Learning rate",
            f"Every set got the same search{rates}: run on the first seed, chosen on validation, "
            "kept for the others.",
        ),
        (
            "Selection",
            f"Epochs, rates and the recommended set were chosen by {selection.metric[:-2]} of "
            f"{main} on validation: of the sets at most one standard error below the best, the "
            "smallest. The test set was used once, to judge.",
        ),
        (
            "Gain",
            f"Percent of the mean score of {main} alone, paired by seed and signed so that "
            f"positive is better: added alone = {main} with the helper {MINUS} {main} alone; to "
            f"the others = all finalists {MINUS} all finalists but this one.",
        ),
        ("95 % interval", INTERVALS[redrawn(results)]),
        (
            "Words",
            "“Helps” and “hurts” need at least 5 seeds and a p-value below 0.05 after Holm's "
            "correction over the finalists; with fewer seeds the report says “leans” at most, and "
            "only where every seed has the same sign. This study has "
            f"{plural(len(results.seeds), 'seed')}.",
        ),
        (
            "Costs",
            "Step times were measured one after another in processes of their own; a step with "
            "helpers is given as a multiple of one of the main task alone.",
        ),
    ]
