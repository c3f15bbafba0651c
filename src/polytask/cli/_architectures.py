"""`polytask list architectures`: what tasks share, and what that costs on a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polytask import registry
from polytask.cli._config import Settings
from polytask.errors import UserError
from polytask.report.numbers import DASH, TIMES, count, ratio

if TYPE_CHECKING:
    from rich.table import Table

ONLY_WITH_DATA = ("targets", "drop", "encoder")
MOST = {"paper": 14, "shares": None, "needs": None}
"""Columns of the screen that a column may take."""


def facts(entry: registry.Entry) -> dict[str, str]:
    """What an architecture says of itself: its source, what tasks share, what it asks for."""
    said = {word: str(entry.constants.get(word, "")) for word in ("paper", "shares")}
    return {**said, "needs": str(entry.constants.get("requires", ""))}


def check_words(what: str | None, settings: Settings) -> None:
    """Raise `UserError` for flags that only measuring has, or that measure something else."""
    if "data" not in settings:
        for word in ONLY_WITH_DATA:
            if word in settings:
                raise UserError(f"{settings.where(word)} is about a data set; name it with --data")
    elif what != "architectures":
        raise UserError(
            "--data tells what architectures cost on a data set; write "
            f"polytask list architectures --data {settings['data']}"
        )


def measure(lines: list[dict[str, Any]], settings: Settings) -> str:
    """Add "cost" to every line: the sizes on the data set; answers what they were measured on."""
    from polytask.cli._checks import check, check_data
    from polytask.cli._data import load

    source = check_data(check(settings))
    dataset = load(settings, source)

    from polytask.study.setup import describe_encoder
    from polytask.study.sizes import sizes

    encoder = describe_encoder(settings.get("encoder"), dataset)
    found = sizes(dataset, [line["name"] for line in lines], settings.get("encoder"))
    for line in lines:
        line["cost"] = {"data": dataset.name, "encoder": encoder.plain(), **found[line["name"]]}
    tasks = f"{len(dataset.tasks)} task{'' if len(dataset.tasks) == 1 else 's'}"
    return f"{dataset.name}, {tasks}, encoder {encoder.label}"


def table(empty: Table, lines: list[dict[str, Any]]) -> Table:
    """One row an architecture; a column that nothing stands in is left out.

    Of several sources the first is shown; all are told of one entry alone.
    """
    from rich.markup import escape

    columns = [word for word in ("paper", "shares", "needs") if any(line[word] for line in lines)]
    for word in columns:
        empty.add_column(word, max_width=MOST[word])
    for line in lines:
        shown = line if len(lines) == 1 else {**line, "paper": line["paper"].partition(";")[0]}
        empty.add_row(line["name"], *(escape(shown[word]) for word in columns))
    return empty


def cost_table(empty: Table, lines: list[dict[str, Any]], wide: bool) -> Table:
    """Parameters and operations of a step, and as multiples of hard sharing's.

    What tasks share is told where the screen is wide; why one cannot be built, in its row.
    """
    from rich.markup import escape

    for word in ("parameters", TIMES, "operations", TIMES):
        empty.add_column(word, justify="right", no_wrap=True)
    if wide:
        empty.add_column("shares")
    if any(line["cost"]["error"] for line in lines):
        empty.add_column("why not")
    for line in lines:
        cost = line["cost"]
        more = [escape(line["shares"])] if wide else []
        if cost["error"]:
            empty.add_row(line["name"], *[DASH] * 4, *more, escape(cost["error"]))
            continue
        flops = f"{cost['flops'] / 1e6:,.3g} M" if cost["flops"] < 1e9 else _giga(cost["flops"])
        empty.add_row(
            line["name"],
            count(cost["parameters"]),
            ratio(cost["parameters_ratio"]),
            flops,
            ratio(cost["flops_ratio"]),
            *more,
        )
    return empty


def _giga(flops: float) -> str:
    return f"{flops / 1e9:,.3g} G"


def legend() -> str:
    """How to read `cost_table`."""
    from polytask.study.sizes import COUNTED

    return (
        f"operations: of a training step, an item; {COUNTED} are counted. "
        f"{TIMES}: multiple of hard_sharing's."
    )


def details(line: dict[str, Any]) -> list[str]:
    """What is said beneath the table when it holds one entry."""
    options = [
        f"{word}={default}" if default else word for word, default in line["arguments"].items()
    ]
    return [line["summary"], f"options: {', '.join(options) or 'none'}"]
