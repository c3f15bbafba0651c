"""`polytask report`: the page of a study written anew, or several studies on one page."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from polytask.cli import _options as options
from polytask.cli._show import console, quiet_stdout
from polytask.errors import UserError

if TYPE_CHECKING:
    from polytask.report.merged import Studies
    from polytask.report.selection_results import Selection


def report(
    *runs: Annotated[
        Path, Parameter(metavar="RUNS...", help="Folders of studies, or their results.json.")
    ],
    out: Annotated[
        Path | None,
        Parameter(
            group=options.OUTPUT,
            metavar="FILE",
            help="Where the page goes. [default: report.html in the folder of the one study; "
            "studies.html here for several]",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Write the report of a study anew, or of several studies on one page."""
    if not runs:
        raise UserError("which studies? Name their folders, as in: polytask report runs/adult")
    from polytask.report.html import SEVERAL, write_page, write_selection
    from polytask.report.kinds import is_selection, raw_of
    from polytask.report.merged import gather
    from polytask.report.selection_results import read_selection
    from polytask.report.words import sentence

    if len(runs) == 1 and is_selection(raw_of(runs[0])):
        selection = read_selection(runs[0])
        assert selection.results.file is not None
        with quiet_stdout(json):
            page = write_selection(selection, out or selection.results.file.parent)
        if json:
            print(jsonlib.dumps({"report": str(page), "studies": [selected(selection)]}, indent=1))
        else:
            _told(page, {selection.results.name: sentence(selection.results)[0]})
        return
    studies = gather(runs)
    if out is None:
        out = Path(studies[0].folder) if len(studies) == 1 else Path(SEVERAL)
    with quiet_stdout(json):
        page = write_page(studies, out)
    if json:
        print(jsonlib.dumps({"report": str(page), **told(studies)}, indent=1))
        return
    _told(page, {study.label: sentence(study.results)[0] for study in studies})


def _told(page: Path, verdicts: dict[str, str]) -> None:
    """A line a study, then where the page is."""
    screen = console()
    for label, verdict in verdicts.items():
        screen.print(f"{label}: {verdict}", markup=False, highlight=False)
    screen.print(f"report: {page}", markup=False, highlight=False, soft_wrap=True)


def selected(selection: Selection) -> dict[str, Any]:
    """What `--json` says of a selection of helper tasks."""
    from polytask.report.words import sentence

    results = selection.results
    recommended = results.section("recommended").get("helpers")
    return {
        "kind": "auxiliary",
        "folder": str(results.file.parent) if results.file else "",
        "name": results.name,
        "complete": results.complete,
        "failures": selection.failures,
        "tasks": list(results.tasks),
        "main": selection.main,
        "verdict": sentence(results)[0],
        "helpers": {helper.task: helper.word for helper in selection.helpers},
        "recommended": recommended,
    }


def told(studies: Studies) -> dict[str, Any]:
    """What `--json` says: every study, and for several what they say together."""
    from polytask.report.merged import methods
    from polytask.report.merged_words import fair_test, headline
    from polytask.report.words import sentence

    rows = [
        {
            "label": study.label,
            "folder": study.folder,
            "name": study.results.name,
            "complete": study.results.complete,
            "failures": study.results.failures,
            "tasks": list(study.results.tasks),
            "verdict": sentence(study.results)[0],
            "chosen": study.results.raw.get("chosen"),
        }
        for study in studies
    ]
    if len(studies) == 1:
        return {"studies": rows}
    found = methods(studies)
    test = fair_test(studies, found)
    return {
        "verdict": headline(studies),
        "studies": rows,
        "methods": [
            {
                "label": method.key[0],
                "architecture": method.key[1],
                "delta_m": [_gain(gain) for gain in method.gains],
                "mean": method.mean,
                "mean_rank": method.rank,
            }
            for method in found
        ],
        "rank_test": None
        if test is None
        else {"p": test.p, "critical_difference": test.critical, "data_sets": test.sets},
    }


def _gain(gain: tuple[Any, Any, Any] | None) -> dict[str, Any] | None:
    """One Δm; None for a method that is not in the study, no mean where it is undefined."""
    from polytask.report.numbers import number

    if gain is None:
        return None
    mean, low, high = map(number, gain)
    return {"mean": mean, "low": low, "high": high}
