"""How the numbers were made, told to the reader of a report."""

from __future__ import annotations

from polytask.report.numbers import MINUS, TIMES, plural
from polytask.report.results import Results
from polytask.report.set_tables import data_sets
from polytask.report.words import redrawn

_WITH = (
    "with t the 97.5 % quantile of Student's distribution with "
    f"n {MINUS} 1 degrees of freedom and s the standard deviation over n seeds"
)
INTERVALS = {
    True: "Each seed draws a new test split, and such splits overlap; the variance is therefore "
    f"corrected after Nadeau and Bengio: mean ± t · s · √(1/n + n_test/n_train), {_WITH}.",
    False: "The test set is the same for every seed, so the interval covers the randomness of "
    f"training, not that of sampling the test set: mean ± t · s / √n, {_WITH}.",
    None: f"mean ± t · s · √(1/n + c), {_WITH}; c = n_test/n_train where each seed draws a new "
    "test split (Nadeau and Bengio's correction), c = 0 for a fixed test set.",
}


def how_made(results: Results) -> list[tuple[str, str]]:
    """(term, explanation) pairs, in the order of the work."""
    config = results.section("config")
    rule = config.get("select")
    by = f" by the rule “{rule}”" if rule else ""
    grid = config.get("lr")
    rates = f" ({', '.join(map(str, grid))})" if isinstance(grid, (list, tuple)) else ""
    seeds = len(results.seeds)
    said = [
        (
            "Learning rate",
            f"Every model, single-task networks included, got the same search{rates}: run on the "
            "first seed, chosen on validation, kept for the others.",
        ),
        (
            "Selection",
            f"Checkpoints and the candidate were chosen on validation{by}. The test set was used "
            "once, to judge.",
        ),
        (
            "Pairing",
            "A seed fixes the split and the initialisation, for the single-task networks and "
            "for every candidate alike, so gains are differences within a seed.",
        ),
        (
            "Δm",
            "The mean over tasks of the relative change of each task's primary metric against "
            "the mean single-task score, in percent, signed so that positive is better: "
            f"Δm = mean over tasks of ± (score {MINUS} single) / |single| {TIMES} 100. "
            "A task whose metric is undefined is left out.",
        ),
        ("95 % interval", INTERVALS[redrawn(results)]),
        (
            "Words",
            "“Helps” and “hurts” need at least 5 seeds and a p-value below 0.05 after Holm's "
            "correction over the tasks; with fewer seeds the report says “leans” at most, and only "
            f"where every seed has the same sign. This study has {plural(seeds, 'seed')}.",
        ),
        (
            "Baselines",
            "Single-task: the same encoder, one network per task. linear: equal weights. rlw: "
            "random weights; what does not beat it has not shown that its weights matter.",
        ),
        (
            "Cost",
            "Step time and peak memory were probed one model at a time. At equal cost, a model "
            "that is dearer than equal weights is judged by the best epoch within the time that "
            "equal weights take for all epochs.",
        ),
    ]
    if data_sets(results):
        said.append(
            (
                "Data sets of their own",
                "Each data set is split by itself; a row that stands for the same thing as one "
                "that another data set is judged on is left out of training. A separate network "
                "learns from the training rows of its own data set alone, how inputs are scaled "
                "too, and takes as many steps in all as a network that shares, so that a gain "
                "cannot come from longer training; validation is looked at after each pass over "
                "these rows. "
                "The schedules differ in whose turn it is, not in how many steps there are.",
            )
        )
    if results.several:
        said.append(
            (
                "Names",
                "An architecture's name alone means it with equal weights; the method stands "
                "behind it else. “Equal weights” as what others are compared with, and as the unit "
                "of cost, is hard sharing with them.",
            )
        )
    if results.boosting:
        said.append(
            (
                "Gradient boosting",
                "scikit-learn's histogram gradient boosting, one model per target on the same "
                "splits: a strong reference for tables.",
            )
        )
    return said
