"""The numbers of a selection as sentences: which helpers to train along, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polytask.report.numbers import duration, fixed, p_value, plural, ratio, signed
from polytask.report.words import listing, several
from polytask.study.coverage import coverage
from polytask.study.folder import number
from polytask.study.statistics import VERDICT_SEEDS, mean_defined

Results = Mapping[str, Any]
Entry = Mapping[str, Any]

LEADS = {
    "helps": "helps",
    "hurts": "hurts",
    "leans helps": "leans towards helping",
    "leans hurts": "leans towards hurting",
    "no evidence": "no evidence that it helps or hurts",
    "undefined": "no verdict",
}
BESIDE = {
    "helps": "beside the other finalists it still helps",
    "hurts": "beside the other finalists it hurts",
    "leans helps": "beside the other finalists it leans towards helping",
    "leans hurts": "beside the other finalists it leans towards hurting",
    "no evidence": "beside the other finalists there is no evidence of a difference",
    "undefined": "beside the other finalists nothing can be said yet",
}
SEEN = "The screen saw seed 0 only, of whose training rows some are test rows of other seeds."


def verdict(results: Results) -> dict[str, Any]:
    """The "verdict" of `results.json`: one sentence, one per finalist, and how sure it is."""
    helpers = {task: _helper(task, entry, results) for task, entry in results["helpers"].items()}
    chosen = results["recommended"]
    if chosen is None:
        return {
            "sentence": f"No verdict yet: {results['main']} alone, and sets of helpers, have not "
            "finished on any seed.",
            "helpers": helpers,
            "confidence_note": "",
        }
    parts = [_recommended(results, chosen), _every_candidate(results, chosen)]
    parts += [_each(helpers), _cost(results, chosen)]
    return {
        "sentence": " ".join(part for part in parts if part),
        "helpers": helpers,
        "confidence_note": _confidence(results, chosen),
    }


def entry_of(results: Results, set_id: str) -> Entry:
    """The set with this id."""
    found: Entry = next(entry for entry in results["sets"] if entry["id"] == set_id)
    return found


def _recommended(results: Results, chosen: Entry) -> str:
    """What to train along, and what that is worth on test."""
    main, helpers = results["main"], list(chosen["helpers"])
    if not helpers:
        more = " by more than one standard error" if len(results["seeds"]) > 1 else ""
        return f"Train {main} alone: on validation no set of helpers was better{more}."
    along, versus = listing(helpers), chosen["versus_none"]
    said = versus["word"]
    gain = f"{results['tasks'][main]['metric']} on test {_change(versus)}"
    picked = f"{along}, chosen on validation,"
    if said == "helps":
        return f"Train {main} with {along} (chosen on validation): {gain} against {main} alone."
    if said == "hurts":
        return (
            f"Train {main} alone: {picked} {'makes' if len(helpers) == 1 else 'make'} it worse "
            f"({gain} against {main} alone)."
        )
    if said == "leans helps":
        return (
            f"Leans towards training {main} with {along} (chosen on validation): {gain} against "
            f"{main} alone, the same sign in {_all_of(versus)}."
        )
    if said == "leans hurts":
        return (
            f"Leans towards {main} alone: {picked} {'is' if len(helpers) == 1 else 'are'} worse "
            f"in {_all_of(versus)} ({gain})."
        )
    if said == "undefined":
        return f"No verdict yet: {main} alone and {along} have no seed in common."
    return (
        f"No evidence that helpers change {main}: {picked} {'ties' if len(helpers) == 1 else 'tie'}"
        f" with {main} alone ({results['tasks'][main]['metric']} on test {_gain(versus)})."
    )


def _every_candidate(results: Results, chosen: Entry) -> str:
    """The recommended set against all candidates together; ties said as ties."""
    versus = chosen["versus_all"]
    count = len(results["tasks"]) - 1
    if versus is None or versus["mean"] is None or count < 2:
        return ""
    words = {
        "helps": "better beyond noise",
        "hurts": "worse beyond noise",
        "leans helps": f"better in {_all_of(versus)}",
        "leans hurts": f"worse in {_all_of(versus)}",
        "no evidence": "a tie",
    }
    what = "it is" if chosen["helpers"] else f"{results['main']} alone is"
    value = _gain(versus) if versus["word"] == "no evidence" else _change(versus)
    return (
        f"Against all {plural(count, 'candidate')} together {what} {words[versus['word']]} "
        f"({value})."
    )


def _each(helpers: Mapping[str, Mapping[str, str]]) -> str:
    """The words on the single finalists in one sentence."""
    every = len(helpers)
    parts = []
    verbs = (
        ("helps", "help", ""),
        ("leans helps", "lean", " towards helping"),
        ("hurts", "hurt", ""),
        ("leans hurts", "lean", " towards hurting"),
    )
    for said, verb, tail in verbs:
        named = [task for task, entry in helpers.items() if entry["word"] == said]
        if named:
            agreed = f"{verb}s" if len(named) == 1 else verb
            parts.append(f"{several(named, every)} {agreed}{tail}")
    unclear = [task for task, entry in helpers.items() if entry["word"] == "no evidence"]
    if unclear and not parts:
        return f"Added alone, there is no evidence for or against {several(unclear, every)}."
    if unclear:
        parts.append(f"there is no evidence for or against {several(unclear, every)}")
    return f"Added alone, {'; '.join(parts)}." if parts else ""


def _cost(results: Results, chosen: Entry) -> str:
    """What a step with the helpers costs, and what the answer took."""
    said = []
    relative = entry_of(results, chosen["id"])["cost"]["relative"]
    if relative is not None and chosen["helpers"]:
        along = "it" if len(chosen["helpers"]) == 1 else "them"
        said.append(f"A step with {along} costs {ratio(relative)} one of {results['main']} alone.")
    cost = results["cost"]
    runs = cost["screen"]["runs"] + cost["proof"]["runs"]
    saved = cost["every_candidate"] - cost["planned"]
    instead = f"; proving every candidate would take {fixed(cost['every_candidate'], 0)}"
    said.append(
        f"The answer took {plural(runs, 'run')} and {duration(results['seconds'])} of computing"
        f"{instead if saved > 0 else ''}."
    )
    return " ".join(said)


def _helper(task: str, entry: Entry, results: Results) -> dict[str, str]:
    """The word and the sentence on one finalist: what it adds alone, and beside the others."""
    add, leave = entry["add"], entry["leave"]
    said = add["word"]
    if said == "undefined":
        reason = "no seed in which both networks finished with a score"
        return {"word": said, "sentence": f"{task}: no verdict, because there is {reason}."}
    sentence = f"{task}: {LEADS[said]}, {_gain(add)} ({_why(add, said)})"
    if len(results["finalists"]) > 1:
        worth = "" if leave["mean"] is None else f", {_gain(leave)}"
        sentence += f"; {BESIDE[leave['word']]}{worth}"
    return {"word": said, "sentence": f"{sentence}."}


def _why(entry: Entry, said: str) -> str:
    """What the word rests on."""
    seeds = len(entry["differences"])
    if seeds >= VERDICT_SEEDS:
        return f"Holm-adjusted {p_value(entry['p_holm'])}"
    if seeds == 1:
        return "one seed, which says nothing about noise"
    same = "same sign in all" if said != "no evidence" else "the sign changes over"
    return f"{same} {seeds} seeds"


def _gain(entry: Entry) -> str:
    """'+2.4 % [+0.6, +4.1]'."""
    said = f"{signed(entry['mean'], 1)} %"
    if entry["low"] is not None:
        said += f" [{signed(entry['low'], 1)}, {signed(entry['high'], 1)}]"
    return said


def _change(entry: Entry) -> str:
    """A difference of two sets, in which positive is better whatever the metric."""
    better = "worse" if round(entry["mean"], 1) < 0 else "better"
    return f"{_gain(entry)} {better}" if round(entry["mean"], 1) else f"{_gain(entry)}"


def _all_of(entry: Entry) -> str:
    seeds = len(entry["differences"])
    if seeds == 1:
        return "the one seed, which says nothing about noise"
    return "both seeds" if seeds == 2 else f"all {seeds} seeds"


def _confidence(results: Results, chosen: Entry) -> str:
    """What the intervals cover, and what weakens them."""
    main, ours = results["main"], entry_of(results, chosen["id"])
    seeds = sum(number(v) is not None for v in ours["test"])
    said = [
        f"Positive = better; in percent of the mean score of {main} alone. "
        f"{plural(seeds, 'paired seed')}."
    ]
    said += coverage(seeds, results["interval"]["test_redrawn"], SEEN)
    if not results["complete"]:
        said.append("The study is not complete.")
    return " ".join([*said, *_on_validation(results, ours), *results["remarks"]])


def _on_validation(results: Results, ours: Entry) -> Sequence[str]:
    """What the choice rests on."""
    values = [number(v) for v in ours["val"]]
    mean = mean_defined(values)
    alone = mean_defined([number(v) for v in results["sets"][0]["val"]])
    if mean is None or alone is None or not ours["helpers"]:
        return []
    metric = results["tasks"][results["main"]]["metric"]
    return [
        f"On validation, by which it was chosen, {metric} was {mean:.4g} against {alone:.4g} of "
        f"{results['main']} alone."
    ]
