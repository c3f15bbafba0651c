"""The report: one HTML file that holds everything it shows and opens without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from polytask.errors import UserError
from polytask.files import make_folder, write_text
from polytask.report.kinds import PARETO, RELATION, SELECTION, kind_of, raw_of
from polytask.report.merged import Studies, gather
from polytask.report.merged_page import merged_body
from polytask.report.names import presentable
from polytask.report.pages import fill
from polytask.report.pareto_page import front_body
from polytask.report.pareto_results import Front, read_front
from polytask.report.relation_page import relation_body
from polytask.report.relation_results import Relation, read_relation
from polytask.report.results import Results
from polytask.report.selection_page import selection_body
from polytask.report.selection_results import Selection, read_selection
from polytask.report.study_page import study_body

Source = Mapping[str, Any] | Path | str
ONE, SEVERAL = "report.html", "studies.html"
_ENDINGS = {".html", ".htm"}


def write_report(results: Source | Sequence[Source], out: Path | str) -> Path:
    """Write the report of a study, or of several on one page, and return its path.

    Several begin with what they say together: a row a study, every method in every study with
    its mean and its rank; the report of each follows, folded.

    Args:
        results: the dict of `results.json`, that file, or the folder that holds it; or a list
            of such. A list of one is a study like any other.
        out: the file to write, or a folder, which then gets `report.html` (of several studies
            `studies.html`). It is replaced in one go, so that a reader never sees half a page.

    Raises:
        UserError: `results` are not a study's results, one of them is given twice, or `out`
            cannot be written or is a file of another kind.
        MissingExtraError: jinja2 or matplotlib is not installed.

    """
    sources = [results] if isinstance(results, Mapping | Path | str) else results
    if len(sources) == 1:
        kind = kind_of(raw := raw_of(sources[0]))
        if kind == SELECTION:
            return write_selection(read_selection(raw), Path(out))
        if kind == RELATION:
            return write_relation(read_relation(raw), Path(out))
        if kind == PARETO:
            return write_front(read_front(raw), Path(out))
    return write_page(gather(sources), Path(out))


def write_page(studies: Studies, out: Path) -> Path:
    """Write studies that are already read; see `write_report`."""
    target = _target(out, ONE if len(studies) == 1 else SEVERAL)
    page = render(studies[0].results) if len(studies) == 1 else render_several(studies)
    return _write(page, target)


def write_selection(selection: Selection, out: Path) -> Path:
    """Write the page of a selection of helper tasks that is already read; see `write_report`."""
    target = _target(out, ONE)
    return _write(render_selection(selection), target)


def write_relation(relation: Relation, out: Path) -> Path:
    """Write the page of a study of relationships that is already read; see `write_report`."""
    target = _target(out, ONE)
    return _write(render_relation(relation), target)


def write_front(front: Front, out: Path) -> Path:
    """Write the page of a front of trade-offs that is already read; see `write_report`."""
    target = _target(out, ONE)
    return _write(render_front(front), target)


def _target(out: Path, name: str) -> Path:
    """The file to write. Raises `UserError` when that is no page."""
    target = out / name if out.is_dir() else out
    if target.suffix.lower() not in _ENDINGS:
        raise UserError(
            f"expected a file that ends in .html, or a folder, to write the report to; found "
            f"{str(out)!r}."
        )
    return target


def _write(page: str, target: Path) -> Path:
    make_folder(target.parent)
    write_text(target, page)
    return target


def render(results: Results) -> str:
    """The page of one study as a string."""
    return _page(results.name, study_body(results))


def render_several(studies: Studies) -> str:
    """The page of several studies as a string."""
    return _page(f"{len(studies)} studies", merged_body(studies))


def render_selection(selection: Selection) -> str:
    """The page of a selection of helper tasks as a string."""
    return _page(selection.results.name, selection_body(selection))


def render_relation(relation: Relation) -> str:
    """The page of a study of task relationships as a string."""
    return _page(relation.results.name, relation_body(relation))


def render_front(front: Front) -> str:
    """The page of a front of trade-offs as a string."""
    return _page(front.results.name, front_body(front))


def _page(title: str, body: Markup) -> str:
    page = presentable(fill("page.html.j2", title=title, body=body))
    # Half of a surrogate pair, which JSON can hold, has no place in a file.
    return page.encode("utf-8", "replace").decode("utf-8")
