"""The tables of the trial of schedules, and what they say of the claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.paired import Difference, compared, counted, said
from benchmarks.schedules.sets import Setting
from benchmarks.tables import markdown
from polytask.study.statistics import spread

PROPORTIONAL, UNIFORM, ALONE = "proportional", "uniform", "each task alone"
CLAIMED = ("temperature, alpha .5", "temperature, alpha .25", "annealed")
Fits = dict[str, dict[str, Any]]
"""Of one seed: by contender, the training that validation chose."""
INTRODUCTION = f"""# Schedules where one task has a hundred times the rows of another

Made by `python -m benchmarks.schedules.run`. Every task has rows of its own; a step draws a batch
of one of them by the schedule. All schedules have hard sharing from the same first weights, Adam,
batches of one size, and the same number of them. Epoch and rate (of two) are chosen by the
Trainer's rule on validation, the mean over the tasks of the gain over the best constant
prediction; the test plays no part. Each seed draws training and validation rows anew, and the test
rows are always the same. Errors: lower is better; *mean* is that over the tasks, each with the same
weight. Differences are paired by seed, with 95 % t-intervals; negative = better. The word behind is
'better' or 'worse' where p, adjusted by Holm for the number of lines, is below 0.05; 'leans' so
where the interval alone leaves out 0; else 'tie'.

*Seen* is the share of all labels seen in training that were the task's, and how many times that is
its own training rows. *Starved*: in how many seeds the Trainer remarked that a data set had less
than 1 % of an epoch's batches. `{ALONE}`: a network a task, each with as many batches as the
networks of all tasks have together, so that it costs as many times as much as there are tasks.
`active` and `ucb` are told the validation scores of those networks as targets. Lines with
`2 a step` draw two data sets a step in half the steps, so as many batches, balanced by PCGrad,
whose Gramians `most_conflict` follows. `annealed` goes from alpha 1 in the first epoch to .2 in the
last; what is not named has its default."""


def section(setting: Setting, seeds: Sequence[Fits], test: int) -> str:
    """Everything about one setting."""
    encoder, options = setting.encoder
    words = ", ".join(f"{word} {value}" for word, value in options.items())
    rows = ", ".join(f"{rows:,} of {task}" for task, rows in setting.rows.items())
    return "\n\n".join(
        [
            f"## {setting.name}",
            f"{setting.what}. {len(seeds)} seeds; training rows: {rows}; {setting.val} for the "
            f"validation of each task, {test:,} for the test. {setting.epochs} epochs of "
            f"{setting.steps} batches of {setting.batch} rows; encoder {encoder} ({words}); rates "
            f"{' and '.join(f'{rate:g}' for rate in setting.rates)}. Errors are {setting.unit}.",
            _errors(setting, seeds),
            f"The same, task by task: differences from `{PROPORTIONAL}`.",
            _differences(setting, seeds),
            "What training saw of each task.",
            _seen(setting, seeds),
            "\n".join(f"- {sentence}" for sentence in findings(setting, seeds)),
        ]
    )


def _errors(setting: Setting, seeds: Sequence[Fits]) -> str:
    """One line a schedule: the error of each task, the mean, and two differences of it."""
    against = {other: compared(_means(seeds), other) for other in (PROPORTIONAL, UNIFORM)}
    lines = []
    for name in seeds[0]:
        cells = [_spread([fits[name]["errors"][task] for fits in seeds]) for task in setting.rows]
        mean = _spread([errors[name] for errors in _means(seeds)])
        shown = [said(*found[name]) if name in found else "" for found in against.values()]
        lines.append([name, *cells, mean, *shown])
    return markdown(
        ["schedule", *_headed(setting), "mean", *(f"- {other}" for other in against)], lines
    )


def _differences(setting: Setting, seeds: Sequence[Fits]) -> str:
    """One line a schedule: by task, the difference from proportional."""
    found = {task: compared(_of_task(seeds, task), PROPORTIONAL) for task in setting.rows}
    return markdown(
        ["schedule", *_headed(setting)],
        [
            [name, *(said(*by_name[name]) for by_name in found.values())]
            for name in seeds[0]
            if name != PROPORTIONAL
        ],
    )


def _seen(setting: Setting, seeds: Sequence[Fits]) -> str:
    """One line a schedule: shares of the labels seen, passes over the rows, who was starved."""
    lines = []
    for name in seeds[0]:
        cells = []
        for task in setting.rows:
            share = [fits[name]["seen"][task] / sum(fits[name]["seen"].values()) for fits in seeds]
            passes = [fits[name]["passes"][task] for fits in seeds]
            part = "" if name == ALONE else f"{100 * _mean(share):.1f} %, "
            cells.append(f"{part}{_mean(passes):.3g} times")
        starved = [
            f"{task} {count} of {len(seeds)}"
            for task in setting.rows
            if (count := sum(task in fits[name]["starved"] for fits in seeds))
        ]
        lines.append([name, *cells, ", ".join(starved)])
    return markdown(["schedule", *_headed(setting), "starved"], lines)


def summary(every: Mapping[str, Sequence[Fits]]) -> str:
    """The claim, by setting."""
    lines = []
    for other in (PROPORTIONAL, UNIFORM):
        by_set = {name: compared(_means(seeds), other) for name, seeds in every.items()}
        for claimed in CLAIMED:
            told = "; ".join(f"{name} {said(*found[claimed])}" for name, found in by_set.items())
            lines.append(f"- `{claimed}` against `{other}`: {told}.")
    return "The mean error over the tasks:\n\n" + "\n".join(lines)


def findings(setting: Setting, seeds: Sequence[Fits]) -> list[str]:
    """What the numbers say, in sentences."""
    means = {name: _mean([errors[name] for errors in _means(seeds)]) for name in seeds[0]}
    shared = {name: mean for name, mean in means.items() if name != ALONE}
    best, worst = min(shared, key=shared.__getitem__), max(shared, key=shared.__getitem__)
    rates = [fit["rate"] for fits in seeds for name, fit in fits.items() if name != ALONE]
    large, small = next(iter(setting.rows)), list(setting.rows)[-1]
    sentences = [
        f"Least mean error of a schedule: `{best}` ({means[best]:.2f}); most: `{worst}` "
        f"({means[worst]:.2f}); `{ALONE}` {means[ALONE]:.2f}.",
        f"The greater rate was chosen in {rates.count(max(setting.rates))} of {len(rates)} cases.",
    ]
    sentences += [
        f"Mean error against `{other}`: {_told(compared(_means(seeds), other))}."
        for other in (PROPORTIONAL, UNIFORM, ALONE)
    ]
    sentences += [
        f"Seeds with a lesser mean error than `{other}`: {_ahead(seeds, other)}."
        for other in (PROPORTIONAL, UNIFORM)
    ]
    if never := _never(setting, seeds):
        sentences.append(f"Chance drew no batch at all: {never}.")
    for task, which in ((large, "largest"), (small, "smallest")):
        found = compared(_of_task(seeds, task), PROPORTIONAL)
        sentences.append(f"The {which} task, {task}, against `{PROPORTIONAL}`: {_told(found)}.")
    return sentences


def _told(found: Mapping[str, Difference]) -> str:
    """The words without the line of single tasks, which no schedule made."""
    return counted({name: difference for name, difference in found.items() if name != ALONE})


def _ahead(seeds: Sequence[Fits], other: str) -> str:
    """In how many seeds each of the claimed schedules has less error than another."""
    ahead = {
        name: sum(errors[name] < errors[other] for errors in _means(seeds)) for name in CLAIMED
    }
    return ", ".join(f"`{name}` {count} of {len(seeds)}" for name, count in ahead.items())


def _never(setting: Setting, seeds: Sequence[Fits]) -> str:
    """The schedules that never drew a task, and in how many seeds."""
    found = {
        (name, task): sum(fits[name]["seen"][task] == 0 for fits in seeds)
        for name in seeds[0]
        for task in setting.rows
    }
    return "; ".join(
        f"`{name}` of {task} in {count} of {len(seeds)} seeds"
        for (name, task), count in found.items()
        if count
    )


def _headed(setting: Setting) -> list[str]:
    return [f"{task} ({rows:,})" for task, rows in setting.rows.items()]


def _means(seeds: Sequence[Fits]) -> list[dict[str, float]]:
    """By seed and contender, the mean over the tasks of their errors."""
    return [{name: _mean(list(fit["errors"].values())) for name, fit in f.items()} for f in seeds]


def _of_task(seeds: Sequence[Fits], task: str) -> list[dict[str, float]]:
    return [{name: float(fit["errors"][task]) for name, fit in fits.items()} for fits in seeds]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _spread(values: Sequence[float]) -> str:
    mean, deviation = spread(values)
    return f"{mean:.2f} ± {deviation or 0:.2f}"
