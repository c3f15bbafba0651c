"""How much the labels of all pairs of tasks say about each other, before anything is trained."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np

from polytask.auxiliary._association import Array, Association, associate
from polytask.auxiliary._label_columns import Pair, measured
from polytask.auxiliary.labels import check_numbers, read_columns
from polytask.errors import UserError, count, some, unknown
from polytask.relationships import Affinity

if TYPE_CHECKING:
    from polytask.tasks import Task

MEASURES = ("information", "correlation")
WORDS = {
    "information": "normalised mutual information of the labels",
    "correlation": "share of variance explained between the labels",
}


def label_affinity(
    tasks: Mapping[str, Task],
    targets: Mapping[str, np.ndarray],
    train: np.ndarray | None = None,
    measure: str = "information",
    *,
    adjusted: bool = True,
    bins: int = 8,
    resamples: int = 100,
    permutations: int = 200,
    max_rows: int = 5000,
    seed: int = 0,
) -> Affinity:
    """The association of the labels of every two tasks, from 0 (nothing in common) to 1.

    `measure="information"`: mutual information over the mean of the two entropies, regression
    targets cut into `bins` equally full bins; as scikit-learn's `normalized_mutual_info_score`.
    `measure="correlation"`: the share of variance explained, that is the squared correlation of two
    numbers and the correlation ratio (eta squared) of a number and classes; of two tasks with
    classes it is Cramér's V squared (the mean square contingency over its greatest value), which
    for two classes each is the squared correlation. All of them are symmetric, and so is the table.

    Such shares are above 0 by chance, and more so with few rows and many classes. With `adjusted`
    a pair has (found - m) / (1 - m), where m is what is found on average with the rows of one task
    shuffled: independent labels come out at about 0, of either sign, and copies at 1, whatever the
    numbers of classes. The standard error is that of rows drawn anew with replacement.

    Tasks with the same labels need not help one another: a copy teaches nothing. Read it as a
    description that costs nothing, not as a gain.

    Rows, places and columns are read as in `label_statistics`: rows with a label of both, at most
    `max_rows`; of several labels or outputs at most 8 of either, values being means over the
    pairs. NaN are pairs with fewer than 10 rows, one of which is constant, whose places differ,
    and custom tasks; `measured` then says why. The diagonal is 1, unless the task is such a one.

    Cost: `resamples` + `permutations` passes over the rows for every pair.

    Args:
        tasks: by name, at least two.
        targets: by task, in the form of `Dataset.targets`.
        train: numbers of the training rows. Without them all rows are read: pass the training part
            alone then.
        measure: "information" or "correlation".
        adjusted: take off what chance alone gives, see above.
        bins: how many equally full ones a regression target is cut into for the information.
        resamples, permutations: for the errors and for what chance gives.
        max_rows: most rows that are read for a pair.
        seed: of all draws. A pair has draws of its own, whatever the other tasks are.

    Raises:
        UserError: fewer than two tasks, an unknown measure, targets that are missing or of other
            lengths, infinite values, or a number that cannot be.

    >>> from polytask.tasks import Task
    >>> tasks = {n: Task(n, "binary") for n in ("smile", "glad")}
    >>> labels = np.array([0, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0])
    >>> label_affinity(tasks, {"smile": labels, "glad": 1 - labels})["smile"]["glad"]
    1.0
    """
    if measure not in MEASURES:
        raise unknown("measure of labels", measure, MEASURES)
    if len(tasks) < 2:
        raise UserError(f"expected at least two tasks, found {count(len(tasks), 'task')}.")
    check_numbers(bins, resamples, permutations, max_rows, seed)
    columns = read_columns(tasks, targets, train)
    names = tuple(tasks)
    values, errors = np.full((2, len(names), len(names)), np.nan)
    reasons: dict[str, str] = {}
    for i, j in combinations_with_replacement(range(len(names)), 2):
        # In an order of their own: the draws must not hang on the order of the tasks.
        one, other = sorted((names[i], names[j]))
        chance = np.random.default_rng([seed, zlib.crc32(f"{one}\n{other}".encode())])
        pair = Pair(tasks[one], tasks[other], columns[one], columns[other], chance, bins, max_rows)
        if i == j:
            # Only whether there is anything to tell: a copy has 1 by definition.
            if not isinstance(_associated(pair, measure, resamples, 1), str):
                values[i, i], errors[i, i] = 1.0, 0.0
            continue
        found = _associated(pair, measure, resamples, permutations)
        if isinstance(found, str):
            reasons[f"{one} with {other}"] = found
            continue
        by_chance = found.null_mean if adjusted and found.null_mean < 1 else 0.0
        values[i, j] = values[j, i] = (found.value - by_chance) / (1 - by_chance)
        errors[i, j] = errors[j, i] = found.standard_error / (1 - by_chance)
    said = WORDS[measure] + (", less what chance gives" if adjusted else "")
    if reasons:
        told = some([f"{pair} ({why})" for pair, why in reasons.items()])
        said += f"; not defined for {told}"
    return Affinity(names, values, errors, measured=said, cost=0.0)


def _associated(pair: Pair, measure: str, resamples: int, permutations: int) -> Association | str:
    """The association of a pair; in words, why there is none."""
    one, other = pair.mine.shape[2:], pair.theirs.shape[2:]
    if one != other:
        return f"places {list(one)} of the one are not {list(other)} of the other"
    read = pair.read()
    if isinstance(read, str):
        return read
    pairs = measured(pair, measure, *read)
    if not pairs:
        pairs = [(a, b, contingency) for a in read[0] for b in read[1]]
    return associate(pairs, pair.chance, resamples, permutations)


def contingency(one: Array, other: Array) -> float | None:
    """Cramér's V squared of two columns of classes, NaN where missing; None where one is constant.

    The chi-square statistic over rows times the fewer of both numbers of classes less 1.
    """
    both = ~(np.isnan(one) | np.isnan(other))
    if not both.any():
        return None
    _, a = np.unique(one[both], return_inverse=True)
    _, b = np.unique(other[both], return_inverse=True)
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a.reshape(-1), b.reshape(-1)), 1)
    fewest = min(table.shape) - 1
    if not fewest:
        return None
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    square = ((table - expected) ** 2 / expected).sum() / table.sum()
    return float(np.clip(square / fewest, 0.0, 1.0))
