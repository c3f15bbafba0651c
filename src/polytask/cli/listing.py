"""`polytask list`: what exists, read from source files without importing them."""

from __future__ import annotations

import fnmatch
import json as jsonlib
from typing import Annotated, Any

from cyclopts import Parameter

from polytask import registry
from polytask.cli import _architectures as architectures
from polytask.cli import _options as options
from polytask.cli._config import Settings
from polytask.cli._methods import RESERVED
from polytask.cli._plugins import Plugins, bring
from polytask.cli._show import quiet_stdout
from polytask.data import dataset_card
from polytask.data.fetch import fetched
from polytask.errors import UserError, nearest, unknown

KINDS = {
    "methods": "method",
    "architectures": "architecture",
    "encoders": "encoder",
    "datasets": "dataset",
    "auxiliary": "auxiliary",
    "estimators": "estimator",
    "schedules": "schedule",
    "regularizers": "regularizer",
}
DETAILED = ("architectures", "auxiliary", "estimators", "schedules", "regularizers")
"""Kinds of which one entry alone is shown with its options."""
WIDE = 110
"""Columns from which a screen has room for more than numbers."""


def listing(
    what: Annotated[
        str | None,
        Parameter(
            help="methods, architectures, encoders, datasets, auxiliary (helper tasks made from "
            "the data), estimators (of which tasks help which), schedules (of which task each step "
            "trains on) or regularizers (terms that tie the networks of tasks); all when left out."
        ),
    ] = None,
    pattern: Annotated[
        str, Parameter(help="A shell pattern such as '*grad*', or a part of the name.")
    ] = "*",
    /,
    *,
    data: Annotated[
        str | None,
        Parameter(
            group=options.DATA,
            metavar="NAME|FILE",
            help="With architectures: build each for this data set, and show what it costs.",
        ),
    ] = None,
    targets: options.Targets = None,
    drop: options.Drop = None,
    encoder: options.Encoder = None,
    plugins: Plugins = None,
    json: options.Json = False,
) -> None:
    """List methods, architectures, encoders, data sets, helper tasks and what else has a name."""
    if what is not None and what not in KINDS:
        raise unknown("list", what, KINDS)
    given = {"data": data, "targets": targets, "drop": drop, "encoder": encoder}
    settings = Settings({word: value for word, value in given.items() if value is not None}, {})
    architectures.check_words(what, settings)
    bring(plugins)
    found = {word: rows(word, pattern) for word in ([what] if what else KINDS)}
    if not any(found.values()):
        raise _nothing(pattern, list(found))
    measured = ""
    if settings:
        with quiet_stdout(json):
            measured = architectures.measure(found["architectures"], settings)
    if json:
        print(jsonlib.dumps(found[what] if what else found, indent=2))
        return
    from rich.console import Console

    console = Console()
    for word, lines in found.items():
        if lines:
            console.print(_table(word, lines, console.width, measured))
    if what is not None and what in DETAILED:
        alone = architectures.details(found[what][0]) if len(found[what]) == 1 else []
        more = [architectures.legend()] if measured else []
        more += [_takers()] if what == "regularizers" else []
        for line in [*more, *alone]:
            console.print(line, markup=False, highlight=False)


def rows(what: str, pattern: str = "*") -> list[dict[str, Any]]:
    """One row an entry: name, group, what it needs, arguments, aliases, summary."""
    kind = KINDS[what]
    shell = pattern if any(mark in pattern for mark in "*?[") else f"*{pattern}*"
    return [
        row(kind, entry)
        for name, entry in sorted(registry.entries(kind).items())
        if any(fnmatch.fnmatchcase(known, shell) for known in (name, *entry.aliases))
    ]


def row(kind: str, entry: registry.Entry) -> dict[str, Any]:
    """What is told about one entry."""
    out: dict[str, Any] = {
        "name": entry.name,
        "group": entry.group,
        "needs": _needs(entry) if kind == "method" else "",
        "summary": entry.summary,
        "aliases": list(entry.aliases),
        "arguments": {
            word: default
            for word, default in entry.arguments.items()
            if word not in RESERVED.get(kind, ())
        },
    }
    if kind == "dataset":
        out |= _stock(dataset_card(entry.name))
    if kind == "architecture":
        out |= architectures.facts(entry)
    if kind == "auxiliary":
        out |= _recipe(entry)
    if kind == "estimator":
        out |= _estimator(entry)
    if kind == "regularizer":
        out |= _regularizer(entry)
    return out


def _recipe(entry: registry.Entry) -> dict[str, str]:
    """What a recipe of helper tasks says of itself: source, what it predicts, what it asks for."""
    said = {word: str(entry.constants.get(word, "")) for word in ("paper", "makes")}
    return {**said, "needs": str(entry.constants.get("requires", ""))}


def _estimator(entry: registry.Entry) -> dict[str, Any]:
    """What an estimator of affinities takes, what its numbers mean, whether 0 is no help."""
    said = {word: str(entry.constants.get(word, "")) for word in ("needs", "unit")}
    return {**said, "gains": bool(entry.constants.get("gains", True))}


def _regularizer(entry: registry.Entry) -> dict[str, Any]:
    """The source of a term, whether it has a proximal step, what its diagnostics tell."""
    said = {
        "paper": str(entry.constants.get("paper", "")),
        "tells": entry.constants.get("tells", {}),
    }
    return {**said, "prox": bool(entry.constants.get("proximal", False))}


def _takers() -> str:
    """How a term is given to an architecture, and to which."""
    entries = registry.entries("architecture").items()
    takers = ", ".join(name for name, entry in entries if "regularize" in entry.arguments)
    return f"Given to one of {takers} as regularize: [l2, {{trace_norm: {{strength: 0.1}}}}]."


def _stock(card: dict[str, Any]) -> dict[str, Any]:
    """A data set's card, whether its files are in the cache (None: it has none), what to load."""
    carriers = card.get("carriers", [])
    return {
        "card": card,
        "cached": fetched(card) if carriers else None,
        "megabytes": round(sum(carrier["megabytes"] for carrier in carriers), 1),
    }


def _whence(line: dict[str, Any]) -> str:
    """Where the files of a data set are: cached, bundled with a package, yours, or how big."""
    card = line["card"]
    if card.get("provided"):
        return "simulated" if card["provided"].startswith("simulated") else "your copy"
    if card.get("bundled"):
        return "bundled"
    if line["cached"] is None:
        return ""
    return "cached" if line["cached"] else f"{line['megabytes']:.1f} MB"


def _needs(entry: registry.Entry) -> str:
    """What a method's decision is made from."""
    kind = str(entry.constants.get("statistic_kind", "losses"))
    return {"gramian": "Gramian", "jacobian": "Jacobian"}.get(kind, kind)


def _table(what: str, lines: list[dict[str, Any]], width: int, measured: str = "") -> Any:
    from rich import box
    from rich.table import Table

    title = f"{what} on {measured}" if measured else what
    edge = what != "architectures"  # its rows need every column of a narrow screen
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE, pad_edge=edge
    )
    table.add_column("name", style="bold", no_wrap=True)
    if what == "datasets":
        return _datasets(table, lines)
    if what == "architectures":
        if measured:
            return architectures.cost_table(table, lines, wide=width >= WIDE)
        return architectures.table(table, lines)
    if what == "auxiliary":
        for word in ("paper", "makes", "needs"):
            table.add_column(word)
        for line in lines:
            table.add_row(*(line[word] for word in ("name", "paper", "makes", "needs")))
        return table
    if what == "estimators":
        for word in ("needs", "a number is", "0 is no help"):
            table.add_column(word)
        for line in lines:
            gains = "yes" if line["gains"] else "no"
            table.add_row(line["name"], line["needs"], line["unit"], gains)
        return table
    if what == "regularizers":
        for word in ("paper", "prox", "summary"):
            table.add_column(word)
        for line in lines:
            paper = line["paper"].partition(";")[0]
            table.add_row(line["name"], paper, "yes" if line["prox"] else "", line["summary"])
        return table
    columns = [word for word in ("group", "needs") if any(line[word] for line in lines)]
    if what == "encoders":
        columns = []
    for word in (*columns, "summary"):
        table.add_column(word)
    for line in lines:
        table.add_row(line["name"], *(line[word] for word in columns), line["summary"])
    return table


def _datasets(table: Any, lines: list[dict[str, Any]]) -> Any:
    """The table of data sets: title and tasks share a column, so that 80 characters will do."""
    from rich.markup import escape

    for word in ("kind", "rows", "files"):
        table.add_column(word, justify="right" if word == "rows" else "left", no_wrap=True)
    table.add_column("title and tasks")
    for line in lines:
        card = line["card"]
        rows = f"{card['rows']:,}" if isinstance(card.get("rows"), int) else ""
        title = f"{card.get('title', line['summary'])}: {_few(list(card.get('tasks', ())))}"
        cells = (line["name"], card.get("kind", ""), rows, _whence(line), title.rstrip(": "))
        table.add_row(*map(escape, cells))
    return table


def _few(names: list[str], most: int = 4) -> str:
    """The first names and how many there are."""
    return ", ".join(names[:most]) + (f", ... ({len(names)})" if len(names) > most else "")


def _nothing(pattern: str, kinds: list[str]) -> UserError:
    """The error for a pattern that matches nothing."""
    options = [name for word in kinds for name in registry.names(KINDS[word])]
    close = nearest(pattern.strip("*?"), options)
    hint = f"; did you mean {close!r}?" if close else ""
    return UserError(f"nothing in {', '.join(kinds)} matches {pattern!r}{hint}")
