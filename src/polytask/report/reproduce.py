"""How a study came about and is made again: its data, settings, versions and command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from polytask.report.kinds import kind_of
from polytask.report.numbers import count, number, plural, share
from polytask.report.results import Results, mapping
from polytask.report.words import redrawn

Pairs = list[tuple[str, str]]


def data_facts(results: Results) -> dict[str, Any]:
    """What the page says of the data."""
    data = results.section("dataset")
    size = number(data.get("n"))
    drawn = redrawn(results)
    test_set = "" if drawn is None else "drawn anew for every seed" if drawn else "always the same"
    return {
        "dataset": data,
        "rows": "" if size is None else plural(round(size), "row"),
        "splits": {k: count(v) for k, v in mapping(data.get("splits")).items()},
        "labelled": {
            task: share(part)
            for task, value in mapping(data.get("labelled")).items()
            if (part := number(value)) is not None
        },
        "card": list(_flat(mapping(data.get("card")))),
        "test_set": test_set,
    }


def rates(results: Results) -> Pairs:
    """The learning rate chosen for every model."""
    rows = [
        (f"single-task, {task}", mapping(entry).get("lr"))
        for task, entry in results.single_task.items()
    ]
    rows += [(candidate.label, candidate.raw.get("lr")) for candidate in results.candidates]
    return [(label, str(rate)) for label, rate in rows if rate is not None]


def configuration(results: Results) -> Pairs:
    """The resolved settings, nested names joined by dots."""
    return list(_flat(results.section("config")))


def versions(results: Results) -> Pairs:
    """Versions of the packages and the machine."""
    found = mapping(results.section("environment") or results.section("versions"))
    named = {"polytask": results.raw.get("polytask"), **mapping(found.get("packages"))}
    named |= {key: value for key, value in found.items() if key != "packages"}
    return [pair for pair in _flat(named) if pair[1] != "null"]


def command(results: Results) -> str:
    """What makes the study again: the command as it was given, or its resolved configuration."""
    given = results.raw.get("command")
    if given and isinstance(given, str):
        return given
    return again(results)


def again(results: Results) -> str:
    """The command that goes on with the study from its folder."""
    folder = results.section("config").get("out")
    file = f"{folder}/study.yaml" if folder else "study.yaml"
    plugins = results.raw.get("plugins")
    flag = ["--plugins", *map(str, plugins)] if isinstance(plugins, list) and plugins else []
    verb = kind_of(results.raw) or "compare"
    return shlex.join(["polytask", verb, file, *flag])


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as dotted names and short values."""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            yield from _flat({str(i): v for i, v in enumerate(value, start=1)}, f"{name}.")
        elif isinstance(value, str):
            yield name, value
        else:
            yield name, json.dumps(value, ensure_ascii=False, default=str)
