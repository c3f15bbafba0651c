"""Splits into train, validation and test rows: repeatable, disjoint, and honest about groups.

Sizes are shares of all rows, rounded. When the test part is given (`Dataset.fixed_split`) only
validation is drawn, as a share of the remaining rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from numbers import Integral, Real

import numpy as np

from polytask.data._blocks import blocks_of
from polytask.data.dataset import MISSING_CODE, Dataset
from polytask.errors import UserError, count, some, unknown

KINDS = ("random", "stratified", "group", "time", "spatial")
Draw = Callable[[np.ndarray, int, int, np.random.Generator], np.ndarray]
"""(rows to draw from, how many, parts that still need rows, generator) -> the rows drawn."""


def make_splits(
    dataset: Dataset,
    *,
    split: str = "random",
    test_fraction: float = 0.15,
    val_fraction: float = 0.15,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Sorted int64 row numbers of "train", "val" and "test"; no row is in two parts.

    Every row is in a part, unless a fixed split that names its training rows leaves some out.

    Args:
        dataset: with `groups`, `times`, `coordinates` or `stratify_on` where the split needs them.
        split: `random`; `stratified` (by `stratify_on`, else the first classification task) or
            `stratified:TASK`: every class's share of the test part is off by less than one row,
            of the others by less than two, missing labels being a class of their own;
            `group:COLUMN`: no group is in two parts, sizes as near as whole groups allow;
            `time:COLUMN`: the last rows are test, those before validation; rows of one instant
            stay together and the seed changes nothing;
            `spatial`, `spatial:X,Y`, `spatial:SIDE` or `spatial:X,Y:SIDE`: the map is cut into
            squares, and each is wholly in one part, as a group is. Places are
            `Dataset.coordinates` or the two numeric columns X and Y. SIDE is in their units, by
            default a tenth of the longer side of the area. Take it larger than the distance over
            which values are alike: blocks of two parts may touch.
        test_fraction: share of test rows; 0 makes the part empty. Unused when it is given.
        val_fraction: share of validation rows; 0 makes the part empty.
        seed: of the draw.

    Raises:
        UserError: the split does not exist, lacks its column, or leaves a part without rows.
    """
    kind, _, column = str(split).partition(":")
    if kind not in KINDS:
        raise unknown("split", kind, KINDS)
    for name, share in (("test_fraction", test_fraction), ("val_fraction", val_fraction)):
        if not isinstance(share, Real) or not 0 <= share < 1:
            hint = ", so 0.15 for 15 %" if isinstance(share, Real) and share > 1 else ""
            raise UserError(
                f"{name} is {share!r}; expected a share of at least 0 and below 1{hint}."
            )
    if test_fraction + val_fraction >= 1:
        raise UserError(
            f"test_fraction + val_fraction is {test_fraction + val_fraction:g}; expected less than "
            f"1, so that training rows are left. Make one of them smaller."
        )
    if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:
        raise UserError(f"seed must be a whole number of at least 0, found {seed!r}.")
    draw, check = _method(dataset, kind, column)
    parts = {name: rows for name, rows in (dataset.fixed_split or {}).items() if len(rows)}
    taken = np.concatenate([np.empty(0, np.int64), *parts.values()])
    rest = np.setdiff1d(np.arange(dataset.n), taken) if "train" not in parts else parts["train"]
    parts["train"] = np.sort(rest)
    total = dataset.n if "test" not in parts else len(rest)
    shares = {"test": test_fraction, "val": val_fraction}
    wanted = {name: share for name, share in shares.items() if share > 0 and name not in parts}
    generator = np.random.default_rng(int(seed))
    for done, (name, share) in enumerate(wanted.items()):
        later = len(wanted) - done
        if len(parts["train"]) <= later:
            raise UserError(
                f"{dataset.n} rows are too few for the parts {', '.join(wanted)} and train; "
                f"every part needs a row. Give more rows."
            )
        size = min(max(1, round(total * share)), len(parts["train"]) - later)
        drawn = draw(parts["train"], size, later, generator)
        parts[name] = np.sort(drawn)
        parts["train"] = np.setdiff1d(parts["train"], drawn)
    out = {name: parts.get(name, np.empty(0, np.int64)) for name in ("train", "val", "test")}
    check(out)
    return out


def _method(
    dataset: Dataset, kind: str, column: str
) -> tuple[Draw, Callable[[dict[str, np.ndarray]], None]]:
    """How rows are drawn for a kind of split, and what must hold in the end."""
    if kind == "stratified":
        strata = _strata(dataset, column)
        return (lambda rows, size, later, g: _stratified(strata, rows, size, g)), _nothing
    if kind == "group":
        groups = _column(dataset, kind, column)
        return (
            lambda rows, size, later, g: _whole_groups(groups, rows, size, later, g),
            lambda parts: _check_groups(groups, parts),
        )
    if kind == "time":
        times = _column(dataset, kind, column)
        return (
            lambda rows, size, later, g: _latest(times, rows, size, later),
            lambda parts: _check_order(times, parts),
        )
    if kind == "spatial":
        blocks = blocks_of(dataset, f"{kind}:{column}" if column else kind)
        return (
            lambda rows, size, later, g: _whole_groups(blocks, rows, size, later, g, "block"),
            lambda parts: _check_groups(blocks, parts, "block"),
        )
    if column:
        raise UserError(f"a random split takes no column; found 'random:{column}'.")
    return (lambda rows, size, later, g: g.permutation(rows)[:size]), _nothing


def _nothing(parts: dict[str, np.ndarray]) -> None:
    """Holds for any parts."""


def _stratified(
    strata: np.ndarray, rows: np.ndarray, size: int, generator: np.random.Generator
) -> np.ndarray:
    """`size` of `rows`, from every stratum its share rounded down or up."""
    values, counts = np.unique(strata[rows], return_counts=True)
    share = counts * (size / len(rows))
    take = np.floor(share + 1e-9).astype(np.int64)
    # Strata that would get nothing go first, then the largest remainders; ties by chance.
    order = np.lexsort((generator.random(len(values)), take - share, take > 0))
    take[order[: size - take.sum()]] += 1
    drawn = [
        generator.permutation(rows[strata[rows] == value])[:number]
        for value, number in zip(values, take, strict=True)
    ]
    return np.concatenate(drawn)


def _whole_groups(
    groups: np.ndarray,
    rows: np.ndarray,
    size: int,
    later: int,
    generator: np.random.Generator,
    what: str = "group",
) -> np.ndarray:
    """Whole groups of `rows` in random order while they fit into `size`; the smallest if none."""
    values, place, counts = np.unique(groups[rows], return_inverse=True, return_counts=True)
    if len(values) <= later:
        kind, remedy = _words(what)
        raise UserError(
            f"a {kind} split needs a {what} for every part; the {len(rows)} rows to divide into "
            f"{later + 1} parts belong to {count(len(values), what)}. Use {remedy} or a "
            f"random split."
        )
    order = generator.permutation(len(values))
    chosen: list[int] = []
    filled = 0
    for group in order:
        if filled + counts[group] <= size and len(chosen) < len(values) - later:
            chosen.append(group)
            filled += counts[group]
    if not chosen:
        chosen = [order[np.argmin(counts[order])]]
    return rows[np.isin(place, chosen)]


def _latest(times: np.ndarray, rows: np.ndarray, size: int, later: int) -> np.ndarray:
    """The `size` latest of `rows`, more or fewer so that equal times stay together."""
    ordered = np.sort(times[rows])
    # Where a new time begins, with a time left for each of the parts before.
    starts = (np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)[later - 1 :]
    if len(starts) == 0:
        raise UserError(
            f"a time split needs a time for every part; the {len(rows)} rows to divide into "
            f"{later + 1} parts have {count(len(np.unique(ordered)), 'different time')}. Use "
            f"another column or a random split."
        )
    start = starts[np.argmin(np.abs(starts - (len(rows) - size)))]
    return rows[times[rows] >= ordered[start]]


def _words(what: str) -> tuple[str, str]:
    """The split that keeps groups or blocks together, and what may be tried instead."""
    if what == "block":
        return "spatial", "another side of the blocks (spatial:SIDE)"
    return "group", "another column"


def _check_groups(groups: np.ndarray, parts: dict[str, np.ndarray], what: str = "group") -> None:
    """A given test part may share groups with the rest; then the promise cannot be kept."""
    names = list(parts)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            both = np.intersect1d(groups[parts[first]], groups[parts[second]])
            if len(both):
                shared = count(len(both), what) + (" is" if len(both) == 1 else " are")
                kind, remedy = _words(what)
                other = f"{remedy}, " if what == "block" else ""
                raise UserError(
                    f"{shared} in both the {first} and the given {second} rows; "
                    f"a {kind} split needs each on one side. Use {other}a random split or another "
                    f"test file."
                )


def _check_order(times: np.ndarray, parts: dict[str, np.ndarray]) -> None:
    filled = [name for name in ("train", "val", "test") if len(parts[name])]
    for before, after in itertools.pairwise(filled):
        if times[parts[before]].max() >= times[parts[after]].min():
            raise UserError(
                f"some {before} rows are not earlier than all given {after} rows; a time split "
                f"cannot mend that. Use a random split or another test file."
            )


def _strata(dataset: Dataset, task: str) -> np.ndarray:
    """int64 [N] classes to stratify by, a class of their own for missing labels."""
    kinds = {name: t.kind for name, t in dataset.tasks.items()}
    possible = [name for name, kind in kinds.items() if kind in ("binary", "multiclass")]
    if task and task not in possible and (task in kinds or not possible):
        found = f"{task!r} is {kinds.get(task, 'no target')}"
        raise UserError(
            f"a stratified split needs a binary or multiclass target; {found}. Name one of "
            f"{', '.join(possible)}, or use split=random."
            if possible
            else f"a stratified split needs a binary or multiclass target; {found}. Use "
            "split=random."
        )
    if task and task not in possible:
        raise unknown("target to stratify by:", task, possible)
    if not task and dataset.stratify_on is not None:
        strata, what = dataset.stratify_on, "stratify_on"
    elif task or possible:
        what = task or possible[0]
        strata = dataset.targets[what]
        if strata.ndim > 1:
            raise UserError(
                f"the target {what!r} has a label map per row; expected one label a row to "
                "stratify by. Use split=random."
            )
    else:
        raise UserError(
            f"a stratified split needs a binary or multiclass task; found only "
            f"{', '.join(f'{name} ({kind})' for name, kind in kinds.items())}. Use split=random."
        )
    values, counts = np.unique(strata, return_counts=True)
    rare = [(v, c) for v, c in zip(values, counts, strict=True) if c < 3 and v != MISSING_CODE]
    if rare:
        code, few = rare[0]
        classes = dataset.tasks[what].classes if what in kinds else ()
        shown = classes[code] if code < len(classes) else code
        raise UserError(
            f"class {shown!r} of {what!r} has {count(few, 'row')}; a stratified split needs at "
            f"least 3, one for each part. Merge or drop the class, or use split=random."
        )
    return strata


def _column(dataset: Dataset, kind: str, column: str) -> np.ndarray:
    """The values that a group or time split goes by."""
    known = dataset.groups if kind == "group" else dataset.times
    own = dataset.columns.get(kind)
    if known is not None and column in ("", own or ""):
        return known
    for name in ("categorical", "numeric"):
        names = list(dataset.columns.get(name, []))
        if column in names and (kind == "group" or name == "numeric"):
            values = dataset.inputs[name][:, names.index(column)]
            missing = int((values < 0).sum() if name == "categorical" else np.isnan(values).sum())
            if missing:
                raise UserError(
                    f"the {kind} column {column!r} has {count(missing, 'missing value')}; expected "
                    f"none. Fill them, or use another column."
                )
            return values
    if known is not None and own is None:
        return known
    options = [*dataset.columns.get("numeric", []), *([own] if own else [])]
    if kind == "group":
        options += list(dataset.columns.get("categorical", []))
    if not column:
        raise UserError(
            f"a {kind} split needs a column: {kind}:COLUMN; found {kind!r} alone. There are: "
            f"{some(options) or 'none'}."
        )
    raise unknown(f"column for a {kind} split:", column, options)
