"""The report: one HTML file that holds everything it shows and opens without a network."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from polytask.errors import need
from polytask.files import make_folder, write_text
from polytask.report import numbers
from polytask.report.cells import Footnotes
from polytask.report.cost_table import cost_table
from polytask.report.method_notes import how_made
from polytask.report.plot_cost import cost_svg
from polytask.report.plot_data import (
    Limits,
    cost_points,
    delta_m_forests,
    learning_curves,
    task_forests,
    versus_linear_forest,
    weight_curves,
)
from polytask.report.plots import forest_svgs, panel_svg
from polytask.report.results import SINGLE_STYLE, Results, Style, mapping, read
from polytask.report.svg import marker_path
from polytask.report.tables import main_tables, seed_tables
from polytask.report.words import (
    DIRECTION,
    facts,
    incomplete,
    missing_item,
    redrawn,
    remarks,
    sentence,
    verdict_of,
)


@dataclass(frozen=True)
class Card:
    """The verdict on one task, with the chosen candidate's gain on a scale shared by all cards."""

    task: str
    word: str
    sign: str
    tone: str
    sentence: str
    gain: str
    title: str
    strip: tuple[float, float, float, float] | None  # zero, low, mean, high in percent of width


def write_report(results: Mapping[str, Any] | Path | str, out: Path | str) -> Path:
    """Write the report of a study and return its path.

    Args:
        results: the dict of `results.json`, that file, or the folder that holds it.
        out: the file to write, or a folder, which then gets `report.html`. It is replaced in
            one go, so that a reader never sees half a page.

    Raises:
        UserError: `results` are not a study's results, or `out` cannot be written.
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    page = render(read(results))
    target = Path(out)
    if target.is_dir():
        target = target / "report.html"
    make_folder(target.parent)
    write_text(target, page)
    return target


def render(results: Results) -> str:
    """The page as a string."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as cause:
        raise need("jinja2", "app", "writing the report") from cause
    environment = Environment(
        loader=PackageLoader("polytask.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(_context(results))


def _context(results: Results) -> dict[str, Any]:
    notes = Footnotes()
    tables = main_tables(results, notes)
    verdict = results.section("verdict")
    points = cost_points(results)
    curves = learning_curves(results)
    first, more = sentence(results)
    versus = versus_linear_forest(results)
    return {
        "name": results.name,
        "sentence": first,
        "more": more,
        "confidence": str(verdict.get("confidence_note") or ""),
        "incomplete": incomplete(results),
        "facts": facts(results),
        "created": str(results.raw.get("created") or ""),
        "remarks": remarks(results),
        "cards": _cards(results),
        "chosen": results.chosen.label if results.chosen else "",
        "direction": DIRECTION,
        "tables": tables,
        "notes": notes.reasons,
        "forests": forest_svgs(delta_m_forests(results) + ([versus] if versus else [])),
        "task_forests": forest_svgs([f for f in task_forests(results) if f.spans]),
        "curves": [(p.title, panel_svg(p, "Learning curves")) for p in curves],
        "single_curves": any(line.style.colour == "ink" for p in curves for line in p.lines),
        "weights": [(p.title, panel_svg(p, "Task weight")) for p in weight_curves(results)],
        "cost_table": cost_table(results),
        "cost": cost_svg(points) if points else "",
        "key": [(swatch(c.style), c.label) for c in results.candidates],
        "swatch": swatch,
        "single_swatch": swatch(SINGLE_STYLE),
        "level_swatch": swatch(Style("muted", "", "dotted")),
        **_data(results),
        "task_specs": list(results.tasks.items()),
        "seeds": [str(seed) for seed in results.seeds],
        "failures": results.failures,
        "missing": [missing_item(entry) for entry in results.raw.get("missing") or []],
        "how": how_made(results),
        "rates": _rates(results),
        "seed_tables": seed_tables(results),
        "config": list(_flat(results.section("config"))),
        "versions": _versions(results),
        "version": str(results.raw.get("polytask") or ""),
        "command": _command(results),
    }


def _data(results: Results) -> dict[str, Any]:
    data = results.section("dataset")
    size = numbers.number(data.get("n"))
    drawn = redrawn(results)
    test_set = "" if drawn is None else "drawn anew for every seed" if drawn else "always the same"
    return {
        "dataset": data,
        "rows": "" if size is None else numbers.plural(round(size), "row"),
        "splits": {k: numbers.count(v) for k, v in mapping(data.get("splits")).items()},
        "labelled": {
            task: f"{numbers.fixed(100 * share, 0)} %"
            for task, value in mapping(data.get("labelled")).items()
            if (share := numbers.number(value)) is not None
        },
        "card": list(_flat(mapping(data.get("card")))),
        "test_set": test_set,
    }


def _cards(results: Results) -> list[Card]:
    chosen = results.chosen
    gains = {t: chosen.gain(t) if chosen else (None, None, None) for t in results.tasks}
    decimals = numbers.interval_decimals(gains.values())
    ends = [0.0, *(end for gain in gains.values() for end in numbers.numbers(gain))]
    air = 0.04 * (max(ends) - min(ends)) or 1.0
    limits = (min(ends) - air, max(ends) + air)
    cards = []
    for task, (mean, low, high) in gains.items():
        word, sign, tone, said = verdict_of(results, task)
        centre = numbers.number(mean)
        text = numbers.said_undefined(mean) if chosen and centre is None else ""
        if centre is not None:
            inside = numbers.bracket(low, high, decimals)
            text = f"{numbers.signed(centre, decimals)} % {inside}".strip()
            if f"{numbers.signed(centre, 1)} %" in said:
                text = ""  # the sentence has the numbers already
        why = numbers.reason(mean) or "" if chosen else ""
        strip = _strip((mean, low, high), limits)
        cards.append(Card(task, word, sign, tone, said, text, why, strip))
    return cards


def _strip(gain: tuple[Any, Any, Any], limits: Limits) -> tuple[float, float, float, float] | None:
    found = numbers.numbers(gain)
    if len(found) < 3:
        return None
    width = limits[1] - limits[0]
    zero, mean, low, high = (round(100 * (value - limits[0]) / width, 2) for value in (0.0, *found))
    return (zero, low, mean, high)


def swatch(style: Style) -> Markup:
    """The sign of a model: its line and marker, as in the plots."""
    dashes = {"dashed": "5 3", "dotted": "1.5 2.5"}.get(style.dash, "")
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    mark = f'<path d="{marker_path(style.marker)}"/>' if style.marker else ""
    return Markup(
        f'<svg class="swatch" viewBox="-14 -7 28 14" aria-hidden="true" '
        f'style="color:var(--{style.colour})"><path class="line" d="M-13 0H13"{dash}/>{mark}</svg>'
    )


def _rates(results: Results) -> list[tuple[str, str]]:
    rows = [
        (f"single-task, {task}", mapping(entry).get("lr"))
        for task, entry in results.single_task.items()
    ]
    rows += [(candidate.label, candidate.raw.get("lr")) for candidate in results.candidates]
    return [(label, str(rate)) for label, rate in rows if rate is not None]


def _versions(results: Results) -> list[tuple[str, str]]:
    found = mapping(results.section("environment") or results.section("versions"))
    named = {"polytask": results.raw.get("polytask"), **mapping(found.get("packages"))}
    named |= {key: value for key, value in found.items() if key != "packages"}
    return [pair for pair in _flat(named) if pair[1] != "null"]


def _command(results: Results) -> str:
    """What makes the study again: its recorded command, or its resolved configuration."""
    if results.raw.get("command"):
        return str(results.raw["command"])
    folder = results.section("config").get("out")
    file = f"{folder}/study.yaml" if folder else "study.yaml"
    return f"polytask compare {shlex.quote(file)}"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as dotted names and short values."""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        elif isinstance(value, str):
            yield name, value
        else:
            yield name, json.dumps(value, ensure_ascii=False, default=str)
