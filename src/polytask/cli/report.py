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
    from polytask.report.pareto_results import Front
    from polytask.report.relation_results import Relation
    from polytask.report.results import Results
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
    from polytask.report.html import SEVERAL, write_page
    from polytask.report.kinds import kind_of, raw_of
    from polytask.report.merged import gather
    from polytask.report.words import sentence

    if len(runs) == 1 and (kind := kind_of(raw_of(runs[0]))):
        with quiet_stdout(json):
            page, results, facts = _own_page(kind, runs[0], out)
        if json:
            print(jsonlib.dumps({"report": str(page), "studies": [facts]}, indent=1))
        else:
            _told(page, {results.name: sentence(results)[0]})
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


def _own_page(kind: str, run: Path, out: Path | None) -> tuple[Path, Results, dict[str, Any]]:
    """Write the page of a study that is no comparison: where it is, its results, what is said."""
    from polytask.report import html
    from polytask.report.kinds import PARETO, SELECTION

    if kind == SELECTION:
        from polytask.report.selection_results import read_selection

        selection = read_selection(run)
        page = html.write_selection(selection, out or _folder(selection.results))
        return page, selection.results, selected(selection)
    if kind == PARETO:
        from polytask.report.pareto_results import read_front

        front = read_front(run)
        page = html.write_front(front, out or _folder(front.results))
        return page, front.results, traced(front)
    from polytask.report.relation_results import read_relation

    relation = read_relation(run)
    page = html.write_relation(relation, out or _folder(relation.results))
    return page, relation.results, related(relation)


def _folder(results: Results) -> Path:
    assert results.file is not None
    return results.file.parent


def _told(page: Path, verdicts: dict[str, str]) -> None:
    """A line a study, then where the page is."""
    screen = console()
    for label, verdict in verdicts.items():
        screen.print(f"{label}: {verdict}", markup=False, highlight=False)
    screen.print(f"report: {page}", markup=False, highlight=False, soft_wrap=True)


def selected(selection: Selection) -> dict[str, Any]:
    """What `--json` says of a selection of helper tasks."""
    recommended = selection.results.section("recommended").get("helpers")
    return {
        "kind": "auxiliary",
        **_facts(selection.results, selection.failures),
        "main": selection.main,
        "helpers": {helper.task: helper.word for helper in selection.helpers},
        "recommended": recommended,
    }


def related(relation: Relation) -> dict[str, Any]:
    """What `--json` says of a study of task relationships."""
    recommended = [
        {"tasks": list(share.tasks), "serves": list(share.serves)} for share in relation.shares
    ]
    return {
        "kind": "relate",
        **_facts(relation.results, relation.failures),
        "recommended": recommended or None,
        "estimator": relation.deciding.name if relation.deciding else None,
        "contrasts": {str(entry.get("theirs")): entry.get("word") for entry in relation.contrasts},
    }


def traced(front: Front) -> dict[str, Any]:
    """What `--json` says of a front of trade-offs."""
    return {
        "kind": "pareto",
        **_facts(front.results, front.failures),
        "front": [point.name for point in front.points if point.front],
        "steering": {task: entry.get("word") for task, entry in front.steering.items()},
        "hypervolume": front.volume.get("mean"),
    }


def _facts(results: Results, failures: list[str]) -> dict[str, Any]:
    """What is said of any study."""
    from polytask.report.words import sentence

    return {
        "folder": str(results.file.parent) if results.file else "",
        "name": results.name,
        "complete": results.complete,
        "failures": failures,
        "tasks": list(results.tasks),
        "verdict": sentence(results)[0],
    }


def told(studies: Studies) -> dict[str, Any]:
    """What `--json` says: every study, and for several what they say together."""
    from polytask.report.merged import methods
    from polytask.report.merged_words import fair_test, headline

    rows = [
        {
            "label": study.label,
            **_facts(study.results, study.results.failures),
            "folder": study.folder,
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
