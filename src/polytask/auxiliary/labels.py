"""What the labels alone tell of a helper task, before anything is trained."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.auxiliary._association import FEWEST, Array, Association, associate, entropy
from polytask.auxiliary._label_columns import CLASSES, Pair, columns_of, measured
from polytask.errors import UserError, unknown

if TYPE_CHECKING:
    from polytask.tasks import Task


@dataclass(frozen=True)
class LabelStatistics:
    """What is known of one candidate; what is undefined is None and has its reason."""

    task: str
    kind: str
    labelled: float
    """Share of the items that have a label; of a dense target an item is a place."""
    entropy: float | None
    """Of the classes, in nats; of several labels the mean. Plug-in: a little low for few rows."""
    excess_kurtosis: float | None
    """Fourth standardised moment less 3 of a regression target; of several outputs the mean."""
    information: Association | None
    """Normalised mutual information with the main target; numbers are cut into bins."""
    correlation: Association | None
    """Share of variance explained: the squared correlation of two numbers, or the correlation
    ratio (eta squared) of a number and classes."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why a field is None, by its name."""

    def to_dict(self) -> dict[str, Any]:
        """JSON: numbers, or `{"undefined": reason}`."""
        plain = asdict(self)
        reasons = plain.pop("reasons")
        return plain | {name: {"undefined": reason} for name, reason in reasons.items()}


def label_statistics(
    tasks: Mapping[str, Task],
    targets: Mapping[str, np.ndarray],
    main: str,
    *,
    train: np.ndarray | None = None,
    bins: int = 8,
    resamples: int = 100,
    permutations: int = 200,
    max_rows: int = 5000,
    seed: int = 0,
) -> dict[str, LabelStatistics]:
    """How the labels of every other task are distributed, and how they go with the main task's.

    Cheap, and free of features and training. Alonso and Plank 2017
    (https://arxiv.org/abs/1612.02251) found that helpers with many evenly spread classes (high
    entropy, low kurtosis) help most; Bingel and Soegaard 2017 (https://arxiv.org/abs/1702.08303)
    that such properties of the labels predict gains less well than learning curves do (both as
    recalled). Both studied tagging tasks: take the numbers as hints, not as a verdict. A helper
    that is independent of the main target can still help, where it needs the same features.

    The association is read on rows that have a label of both, at most `max_rows` of them, drawn by
    the seed. Its error comes from rows drawn anew with replacement, its null from rows that
    are shuffled. Of dense and sequence targets with the same places, whole rows are drawn and
    shuffled, and at most 20,000 places are read in all; with other places nothing belongs
    together, and the association is None. Of several labels or outputs at most 8, drawn by the
    seed, are read of either side, and values are means over the pairs. The same seed gives the
    same numbers for a task, whatever the others are.

    Args:
        tasks: by name, the main one and the candidates.
        targets: by task, in the form of `Dataset.targets`.
        main: name of the main task.
        train: numbers of the training rows. Without them all rows are read: pass the training part
            alone then.
        bins: how many equally full ones a regression target is cut into for the information.
        resamples, permutations: for the errors and the null.
        max_rows: most rows that are read for an association.
        seed: of all draws.

    Returns:
        For every task but the main one, in their order.

    Raises:
        UserError: an unknown main task, targets that are missing or of other lengths, infinite
            values, or a number that cannot be.

    >>> from polytask.tasks import Task
    >>> tasks = {n: Task(n, "binary") for n in ("smile", "glad")}
    >>> labels = np.array([0, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0])
    >>> found = label_statistics(tasks, {"smile": labels, "glad": 1 - labels}, "smile")
    >>> found["glad"].information.value, round(found["glad"].entropy, 4)
    (1.0, 0.6931)
    """
    check_numbers(bins, resamples, permutations, max_rows, seed)
    if main not in tasks:
        raise unknown("main task", main, tasks)
    columns = read_columns(tasks, targets, train)
    found = {}
    for name, task in tasks.items():
        if name == main:
            continue
        chance = np.random.default_rng([seed, zlib.crc32(name.encode())])
        pair = Pair(task, tasks[main], columns[name], columns[main], chance, bins, max_rows)
        found[name] = _describe(pair, resamples, permutations)
    return found


def check_numbers(bins: int, resamples: int, permutations: int, max_rows: int, seed: int) -> None:
    """Raise `UserError` for one of these that cannot be."""
    for name, value, least in (
        ("bins", bins, 2),
        ("resamples", resamples, 2),
        ("permutations", permutations, 1),
        ("max_rows", max_rows, FEWEST),
        ("seed", seed, 0),
    ):
        if not isinstance(value, int) or value < least:
            raise UserError(f"{name} must be a whole number of at least {least}, found {value!r}.")


def read_columns(
    tasks: Mapping[str, Task], targets: Mapping[str, np.ndarray], train: np.ndarray | None
) -> dict[str, Array]:
    """The targets of all tasks as columns, of the rows in `train` or of all.

    Raises `UserError` for targets that are missing, infinite or of other lengths.
    """
    read = {}
    for name in tasks:
        if name not in targets:
            raise unknown("target of the task", name, targets)
        target = np.asarray(targets[name])
        read[name] = target if train is None else target[train]
    lengths = {name: len(target) for name, target in read.items()}
    if len(set(lengths.values())) > 1 or not max(lengths.values()):
        raise UserError(
            f"expected targets with the same number of rows, above 0, found {lengths}. Pass the "
            "targets of one data set."
        )
    return {name: columns_of(task, read[name]) for name, task in tasks.items()}


def _describe(pair: Pair, resamples: int, permutations: int) -> LabelStatistics:
    task = pair.task
    items = pair.mine.reshape(*pair.mine.shape[:2], -1)
    share = float((~np.isnan(items)).any(1).mean())
    disorder: float | str = "it has no classes"
    heavy: float | str = "it is no regression target"
    if task.kind in CLASSES:
        disorder = _mean_over(items, lambda x: entropy(np.bincount(x.astype(np.int64))))
    elif task.kind == "regression":
        heavy = _mean_over(items, _excess_kurtosis)
    read = pair.read()
    fields: dict[str, Any] = {"entropy": disorder, "excess_kurtosis": heavy}
    for word in ("information", "correlation"):
        if isinstance(read, str):
            fields[word] = read
        elif pairs := measured(pair, word, *read):
            fields[word] = associate(pairs, pair.chance, resamples, permutations)
        else:
            fields[word] = "both are classes: the information says it"
    reasons = {name: value for name, value in fields.items() if isinstance(value, str)}
    defined = {name: None if name in reasons else value for name, value in fields.items()}
    return LabelStatistics(task.name, task.kind, share, **defined, reasons=reasons)


def _mean_over(items: Array, statistic: Any) -> float | str:
    """The mean over columns of a statistic of their labelled items; or why there is none."""
    labelled = [column[~np.isnan(column)] for column in np.moveaxis(items, 1, 0)]
    if not any(len(column) for column in labelled):
        return "no item has a label"
    found = [statistic(column) for column in labelled if len(column)]
    values = [value for value in found if value is not None]
    return float(np.mean(values)) if values else "the labels are constant"


def _excess_kurtosis(values: Array) -> float | None:
    if values.min() == values.max():
        return None
    centred = values - values.mean()
    squares = (centred / np.abs(centred).max()) ** 2
    return float((squares**2).mean() / squares.mean() ** 2 - 3)
