"""The tables of the trial of scales, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.paired import Difference, compared, counted, word
from benchmarks.tables import markdown
from polytask.study.statistics import Interval, paired_interval, spread

Fit = dict[str, Any]
Seed = Mapping[str, Mapping[str, Fit]]
"""Of one seed: by contender and factor, the training at its best rate."""
REFERENCE = "equal, standardised"
SAME = 0.1
"""Differences below this many hundredths of the spread are of rounding."""
AS_IT_IS, LOUD = "1", "1000"
INTRODUCTION = f"""# One target multiplied by 1000

Made by `python -m benchmarks.scales.run`. The unit of a target is a choice: cadmium can be given
in mg/kg or in µg/kg, an energy in eV or in meV. Here every way of training is tried twice on the
same data, with one target as it is and multiplied by 1000. `{REFERENCE}` are equal weights
on targets standardised by their training rows, which is what `polytask train` and `compare` do by
themselves. All others get raw targets, neither shifted nor scaled: with nothing done
(`equal, raw`), with PopArt and equal weights (`Trainer(popart=True)`; `start=unit` begins as the
published code does), with weights from losses (`scale_invariant`, `uncertainty`, `imtl_l`) or from
gradients (`pcgrad`, `nash_mtl`).

A raw target troubles a network twice. Its loss outweighs the others, or is lost beside them; and
its output has to travel from about 0 to where the target is, in steps that Adam makes as long as
the learning rate whatever the loss. Weights mend the first alone: `scale_invariant` cancels any
factor on a loss, and yet leaves a target unlearned whose output does not get there in the few steps
of these trainings (its error is then far above 100). Learned weights (`uncertainty` and `imtl_l`,
which take the same steps for regressions) move by about 1 % a step, which is slow beside a factor
of a million on a loss. Standardising and PopArt mend both.

Hard sharing from the same first weights, the same batches, Adam, scale='sum'; of two learning rates
the one with the least validation error, and of the epochs the best by the mean gain on validation.
Training and validation rows are drawn anew by seed, test rows are always the same. Errors are RMSE
in percent of the spread of the training targets, whatever the unit: about 100 is what predicting
the mean does (more for Cd, whose test rows spread wider). Differences are paired by seed, in points
of these percent, ± half the width of the 95 % t-interval; negative = better. The word behind is
'better' or 'worse' where p, adjusted by Holm for the ways compared, is below 0.05; 'leans' so where
the interval alone leaves out 0; else 'tie'. 'The same': no error of any task, in any seed, moves by
{SAME:g} or more, so the way is invariant. `warned`: in how many seeds the Trainer remarked that the
gradient of one task was 100 times that of another or more, weights counted."""


def section(name: str, told: str, target: str, seeds: Sequence[Seed]) -> str:
    """Everything about one data set."""
    return "\n\n".join(
        [
            f"## {name}",
            told,
            "Mean error over all tasks, and that of the task that is multiplied:",
            _errors(target, seeds),
            f"Each task's error less that of `{REFERENCE}`, {target} as it is:",
            _by_task(AS_IT_IS, seeds),
            f"The same, {target} multiplied by 1000:",
            _by_task(LOUD, seeds),
        ]
    )


def _errors(target: str, seeds: Sequence[Seed]) -> str:
    """One line a contender: its errors with both factors, and whether they differ."""
    rows = []
    for name in seeds[0]:
        cells = [name]
        for factor in (AS_IT_IS, LOUD):
            mean, sd = spread([error(seed[name][factor]) for seed in seeds])
            own, _ = spread([seed[name][factor]["wrong"][target] for seed in seeds])
            warned = sum(bool(seed[name][factor]["warned"]) for seed in seeds)
            cells += [f"{mean:.1f} ± {sd or 0:.1f}", f"{own:.1f}", f"{warned} of {len(seeds)}"]
        rows.append([*cells, _noticed(name, seeds)])
    what = ("all", target, "warned")
    head = [f"{each}, {factor}" for factor in ("as it is", "x 1000") for each in what]
    return markdown(["training", *head, "x 1000 - as it is, all"], rows)


def _noticed(name: str, seeds: Sequence[Seed]) -> str:
    """What multiplying does to the mean error, or that it does nothing."""
    if invariant(name, seeds):
        return "the same"
    found = paired_interval(
        [error(seed[name][LOUD]) - error(seed[name][AS_IT_IS]) for seed in seeds]
    )
    return f"{shown(found)} {word(found, found.p)}"


def invariant(name: str, seeds: Sequence[Seed]) -> bool:
    """Whether no task's error moved by more than rounding, in any seed."""
    return all(
        abs(seed[name][LOUD]["wrong"][task] - value) < SAME
        for seed in seeds
        for task, value in seed[name][AS_IT_IS]["wrong"].items()
    )


def error(fit: Fit) -> float:
    """The mean error over the tasks."""
    return float(sum(fit["wrong"].values()) / len(fit["wrong"]))


def _by_task(factor: str, seeds: Sequence[Seed]) -> str:
    """One line a contender, one column a task: the paired difference from the reference."""
    columns = {
        task: compared(
            [{name: seed[name][factor]["wrong"][task] for name in seed} for seed in seeds],
            REFERENCE,
        )
        for task in seeds[0][REFERENCE][factor]["wrong"]
    }
    rows = [
        [name, *(_cell(found[name]) for found in columns.values())]
        for name in seeds[0]
        if name != REFERENCE
    ]
    return markdown(["training", *columns], rows)


def _cell(difference: Difference | None) -> str:
    """A difference and its word; empty for the reference."""
    return f"{shown(difference[0])} {word(*difference)}" if difference else ""


def shown(found: Interval) -> str:
    """`+1.2 ± 0.4`: the mean difference and half the width of its interval."""
    if found.mean is None or found.high is None:
        return "" if found.mean is None else f"{found.mean:+.1f}"
    return f"{found.mean:+.1f} ± {found.high - found.mean:.1f}"


def summary(every: Mapping[str, Sequence[Seed]]) -> str:
    """All sets at once: against the reference, and what multiplying does."""
    head, columns, told = [], [], []
    for name, seeds in every.items():
        for factor, words in ((AS_IT_IS, "as it is"), (LOUD, "x 1000")):
            found = compared([{n: error(fit[factor]) for n, fit in s.items()} for s in seeds],
                             REFERENCE)  # fmt: skip
            head.append(f"{name}, {words}")
            columns.append({n: _cell(found.get(n)) for n in seeds[0]})
            told.append(f"- {name}, {words}: {counted(found)}.")
        head.append(f"{name}, multiplied")
        columns.append({n: _noticed(n, seeds) for n in seeds[0]})
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    table = markdown([f"mean error - that of {REFERENCE}", *head], rows)
    names = [n for n in columns[0] if all(invariant(n, seeds) for seeds in every.values())]
    invariants = ", ".join(f"`{name}`" for name in names) or "none"
    said = f"Invariant on every set: {invariants}. Against `{REFERENCE}`:"
    return "\n\n".join([table, said, "\n".join(told)])
