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
    from polytask.report.html import SEVERAL, write_page
    from polytask.report.merged import gather
    from polytask.report.words import sentence

    studies = gather(runs)
    if out is None:
        out = Path(studies[0].folder) if len(studies) == 1 else Path(SEVERAL)
    with quiet_stdout(json):
        page = write_page(studies, out)
    if json:
        print(jsonlib.dumps({"report": str(page), **told(studies)}, indent=1))
        return
    screen = console()
    for study in studies:
        line = f"{study.label}: {sentence(study.results)[0]}"
        screen.print(line, markup=False, highlight=False)
    screen.print(f"report: {page}", markup=False, highlight=False, soft_wrap=True)


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
