"""The tables of the trial of missing labels, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.missing_labels.data import SHARES, Setting
from benchmarks.missing_labels.fits import ALONE, ARMS, IMPUTED, LISTWISE, MASKED, Fit
from benchmarks.paired import Difference, compared, said, word
from benchmarks.tables import markdown
from polytask.study.statistics import spread

Seed = Mapping[str, Mapping[str, Fit]]
"""Of one seed: by share of missing labels and way to treat them, what was found."""
NONE = "0"
NOTES = {
    "yeast": "Six of its fourteen tasks. ",
    "digits": "Read as 64 grey values. ",
    "qm9": "Four of its eleven tasks; molecules as the eigenvalues of their Coulomb matrix. ",
}


def section(setting: Setting, seeds: Sequence[Seed]) -> str:
    """Everything about one data set."""
    tasks = list(seeds[0][NONE][MASKED]["wrong"])
    hidden = ", ".join(map(str, setting.hidden))
    rates = " and ".join(f"{rate:g}" for rate in setting.rates)
    return "\n\n".join(
        [
            f"## {setting.name}",
            f"{NOTES.get(setting.name, '')}{len(seeds)} seeds; {len(tasks)} tasks "
            f"({', '.join(tasks)}); {setting.train} rows to train, {setting.val} to choose by, "
            f"{setting.test} for the test. Encoder mlp ({hidden}), {setting.epochs} epochs of "
            f"{setting.steps} steps of {setting.batch} rows, rates {rates}. Mean epoch chosen: "
            f"{_epochs(seeds)}.",
            _scores(setting, seeds),
        ]
    )


def _scores(setting: Setting, seeds: Sequence[Seed]) -> str:
    """One line for every way and share: its error and its difference from masked training."""
    told = differences(seeds)
    rows = [["0 %", MASKED, str(setting.train), _spread(seeds, NONE, MASKED), ""]]
    for share in map(str, SHARES):
        for arm in ARMS:
            labels = _labels(seeds, share, arm)
            if reason := impossible(seeds, share, arm):
                rows.append([percent(share), arm, labels, reason, ""])
                continue
            difference = told.get((share, arm))
            cell = said(*difference) if difference else ""
            rows.append([percent(share), arm, labels, _spread(seeds, share, arm), cell])
    header = ["missing", "training", "labels a task", setting.measure, f"- {MASKED}"]
    return markdown(header, rows)


def _epochs(seeds: Sequence[Seed]) -> str:
    """How long each way trains before validation gets worse."""
    of: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for seed in seeds:
        for found in seed.values():
            for arm, fit in found.items():
                of[arm] += [fit["epoch"]] if "epoch" in fit else []
    return ", ".join(f"{arm} {sum(e) / len(e):.1f}" for arm, e in of.items() if e)


def _labels(seeds: Sequence[Seed], share: str, arm: str) -> str:
    """How many training labels a task has on average, those filled in told apart."""
    real, rows = (
        sum(float(seed[share][MASKED][word]) for seed in seeds) / len(seeds)
        for word in ("real", "complete")
    )
    if arm == IMPUTED:
        return f"{real:.0f}, the others filled in"
    return f"{rows:.1f}" if arm == LISTWISE else f"{real:.0f}"


def _spread(seeds: Sequence[Seed], share: str, arm: str) -> str:
    mean, sd = spread([error(seed[share][arm]) for seed in seeds])
    return f"{mean:.2f} ± {sd or 0:.2f}"


def error(fit: Fit) -> float:
    """The mean error over the tasks."""
    return sum(fit["wrong"].values()) / len(fit["wrong"])


def impossible(seeds: Sequence[Seed], share: str, arm: str) -> str:
    """Why there is no number: in how many seeds a way could not be trained."""
    reasons = [seed[share][arm].get("impossible") for seed in seeds]
    there = [reason for reason in reasons if reason]
    if not there:
        return ""
    words = [f"{reason} in {there.count(reason)}" for reason in dict.fromkeys(there)]
    return f"{', '.join(words)} of {len(seeds)} seeds"


def differences(seeds: Sequence[Seed]) -> dict[tuple[str, str], Difference]:
    """Of every share and way that all seeds have, its paired difference from masked training.

    p is adjusted for the number of these lines.
    """
    lines = [
        (share, arm)
        for share in map(str, SHARES)
        for arm in ARMS
        if arm != MASKED and not impossible(seeds, share, arm)
    ]
    rows = [
        {MASKED: 0.0}
        | {
            f"{share} {arm}": error(seed[share][arm]) - error(seed[share][MASKED])
            for share, arm in lines
        }
        for seed in seeds
    ]
    found = compared(rows, MASKED)
    return {(share, arm): found[f"{share} {arm}"] for share, arm in lines}


def summary(every: Mapping[str, Sequence[Seed]]) -> str:
    """All sets at once: what each way does beside masked training."""
    told = {name: differences(seeds) for name, seeds in every.items()}
    rows = []
    for arm in (LISTWISE, IMPUTED, ALONE):
        for share in map(str, SHARES):
            cells = [_cell(seeds, told[name], share, arm) for name, seeds in every.items()]
            rows.append([arm, percent(share), *cells])
    table = markdown([f"error - that of {MASKED}", "missing", *every], rows)
    return f"{table}\n\n{_counted(every, told)}"


def _cell(
    seeds: Sequence[Seed], told: Mapping[tuple[str, str], Difference], share: str, arm: str
) -> str:
    if impossible(seeds, share, arm):
        return "cannot be trained"
    interval, p = told[share, arm]
    return f"{interval.mean:+.2f} {word(interval, p)}"


def _counted(every: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """How often each way was better, worse or neither than masked training."""
    said_of = []
    for arm in (LISTWISE, IMPUTED, ALONE):
        words = [
            word(*told[name][share, arm]) if (share, arm) in told[name] else "cannot be trained"
            for name in every
            for share in map(str, SHARES)
        ]
        counts = ", ".join(f"{words.count(w)} {w}" for w in dict.fromkeys(sorted(words)))
        said_of.append(f"{arm}: {counts}")
    return f"Counted over sets and shares, against {MASKED}: {'; '.join(said_of)}."


def percent(share: str) -> str:
    """`50 %` for "0.5"."""
    return f"{100 * float(share):g} %"
