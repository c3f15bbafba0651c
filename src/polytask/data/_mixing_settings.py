"""The words of a mixture, checked, and its data sets built from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polytask.data._mixing_source import Collate, Source, Walk
from polytask.data._mixing_sources import make_source
from polytask.data.sources import Tables, is_table, name_of, read_tables, tasks_of
from polytask.errors import UserError, unknown


def build_sources(
    given: Mapping[Any, Any],
    batch_size: int | Mapping[str, int] | None,
    collate_fn: Collate | Mapping[str, Collate] | None,
    kinds: Mapping[str, Any] | None,
    walk: dict[str, Any],
) -> tuple[dict[str, Source], Tables | None]:
    """The data sets by name, and the tables among them. Raises `UserError` for what cannot be."""
    if not isinstance(given, Mapping) or not given:
        found = "none" if isinstance(given, Mapping) else f"a {type(given).__name__}"
        raise UserError(
            "expected data sets by task, as in Mixture({'ner': rows, 'pos': other_rows}); found "
            f"{found}."
        )
    names = [name_of(key) for key in given]
    if len(set(names)) < len(names):
        double = next(name for i, name in enumerate(names) if name in names[:i])
        raise UserError(f"two data sets are called {double!r}; expected different names.")
    sizes = _by_name("batch_size", batch_size, names)
    collates = _by_name("collate_fn", collate_fn, names)
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise UserError(
                f"batch_size of {name!r} is {size!r}; expected a whole number of 1 or more."
            )
    tables = (
        read_tables({k: v for k, v in given.items() if is_table(v)}, kinds)
        if any(is_table(value) for value in given.values())
        else None
    )
    if tables is None and kinds:
        raise UserError("kinds says what columns of tables are, and no data set is a table.")
    sources = {}
    for key, name in zip(given, names, strict=True):
        how = Walk(batch_size=sizes.get(name), collate=collates.get(name), **walk)
        pair = tables.pairs.get(key) if tables is not None else None
        data = given[key] if pair is None else pair
        sources[name] = make_source(name, tasks_of(key), data, how)
    return sources, tables


def check_processes(seed: int, rank: int, world: int) -> None:
    """Raise `UserError` for a seed, rank or number of processes that cannot be."""
    for word, value, least in (("seed", seed, 0), ("rank", rank, 0), ("world", world, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UserError(f"{word} must be a whole number of at least {least}, found {value!r}.")
    if rank >= world:
        raise UserError(
            f"rank {rank} is not one of {world} processes; expected 0 to {world - 1}. Ranks count "
            "from 0."
        )


def check_count(word: str, value: object) -> None:
    """Raise `UserError` unless this is None or a whole number above 0."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise UserError(f"{word} must be a whole number above 0, or None; found {value!r}.")


def per_step(value: int | str, count: int, one_task: bool, schedule: str) -> int:
    """How many data sets a step draws from. Raises `UserError` for a number that cannot be."""
    if value == "all":
        return count
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not 1 <= int(value) <= count:
        raise UserError(
            f"tasks_per_step must be 'all' or a number from 1 to {count}, the data sets there are; "
            f"found {value!r}."
        )
    if int(value) > 1 and one_task:
        raise UserError(
            f"schedule {schedule} orders single tasks, found tasks_per_step={value}. Use 1 or "
            "'all', or another schedule."
        )
    return int(value)


def known_sizes(
    sources: Mapping[str, Source], given: Mapping[str, int] | None
) -> dict[str, int | None]:
    """Rows by data set; those given go first. Raises `UserError` for an unknown name."""
    sizes = {name: source.rows for name, source in sources.items()}
    for name, size in dict(given or {}).items():
        if name not in sizes:
            raise unknown("data set in sizes:", name, sizes)
        check_count(f"the size of {name!r}", size)
        sizes[name] = size
    return sizes


def steps_of(sources: Mapping[str, Source], draws: int | None) -> int:
    """The steps of an epoch that is one pass over all data; `draws` data sets a step, None all.

    Raises `UserError` when somewhere nobody knows how long a pass is.
    """
    lengths = []
    for name, source in sources.items():
        if source.batches is None:
            raise UserError(
                f"nobody knows how many rows the data set of {name!r} has, so an epoch has no "
                "length. Say steps_per_epoch."
            )
        lengths.append(source.batches)
    return max(lengths) if draws is None else -(-sum(lengths) // draws)


def _by_name(word: str, value: Any, names: list[str]) -> dict[str, Any]:
    """A setting by data set. Raises `UserError` for an unknown name."""
    if not isinstance(value, Mapping):
        return {} if value is None else dict.fromkeys(names, value)
    for name in value:
        if name not in names:
            raise unknown(f"data set in {word}:", name, names)
    return dict(value)
