"""The body of the page of a study of task relationships."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from polytask.report.cells import Footnotes
from polytask.report.frame import frame
from polytask.report.numbers import bracket, interval_decimals, number, said_undefined, signed
from polytask.report.pages import fill
from polytask.report.plots import forest_svgs
from polytask.report.relation_branches import branch_rows, branch_size
from polytask.report.relation_estimators import estimator_rows
from polytask.report.relation_map import AffinityMap, affinity_map, ends_text
from polytask.report.relation_plots import check_forests, tree_svg
from polytask.report.relation_results import Estimator, Relation, Share, why_not
from polytask.report.relation_scale import Scale
from polytask.report.relation_tables import (
    arrangement_table,
    branched_table,
    contrast_table,
    cost_rows,
    task_table,
)
from polytask.report.relation_tree import Tree, tree_of
from polytask.report.relation_words import QUESTION, TREE, facts, how_made, map_sentences, no_tree
from polytask.report.results import mapping, triple
from polytask.report.words import VERDICTS


@dataclass(frozen=True)
class Member:
    """A task on the card of a group: what it should gain there, and what it did."""

    task: str
    predicted: str
    measured: str
    interval: str
    sign: str
    tone: str
    word: str


@dataclass(frozen=True)
class GroupCard:
    """A network: the tasks it serves, and those that only train along."""

    letter: str
    heading: str
    members: tuple[Member, ...]
    along: tuple[tuple[str, str], ...]
    """Tasks that train along, with the letter of the network that serves them."""


@dataclass(frozen=True)
class TableView:
    """An estimator's affinities with everything that stands around them."""

    title: str
    map: AffinityMap
    ends: tuple[str, str]
    said: list[str]
    tree: Markup | str
    tree_said: str


def relation_body(relation: Relation) -> Markup:
    """All of a study of relationships, from the verdict to the versions."""
    return fill("relation.html.j2", **_context(relation))


def _context(relation: Relation) -> dict[str, Any]:
    results, notes = relation.results, Footnotes()
    arrangements = arrangement_table(relation, notes)
    contrasts = contrast_table(relation, notes)
    branched = branched_table(relation, notes)
    tasks = task_table(relation, notes)
    shown = [entry for entry in relation.estimators if entry.affinity is not None]
    first = relation.deciding if relation.deciding in shown else next(iter(shown), None)
    branches = mapping(relation.raw.get("branches"))
    levels = branches.get("levels") or []
    return {
        **frame(results),
        "question": QUESTION,
        "facts": facts(relation),
        "failures": relation.failures,
        "why": relation.why,
        "cards": group_cards(relation),
        "decided": relation.deciding.label if relation.deciding else "",
        "unit": relation.deciding.unit if relation.deciding else "",
        "power": relation.deciding.scale.unit if relation.deciding else "",
        "checked": relation.checked,
        "table": table_view(first) if first else None,
        "others": [table_view(entry) for entry in shown if entry is not first],
        "tree_words": TREE,
        "arrangements": arrangements if relation.arrangements else None,
        "divided": [(e.name, e.groups.members) for e in relation.arrangements],
        "contrasts": contrasts if relation.contrasts else None,
        "branch_contrasts": branched if relation.branched else None,
        "forests": forest_svgs(check_forests(relation)),
        "tasks": tasks if relation.arrangements else None,
        "notes": notes.reasons,
        "estimators": estimator_rows(relation),
        "gold": any(e.raw.get("agreement") is not None for e in relation.estimators),
        "branched": bool(branches),
        "levels": len(levels),
        "branch_size": branch_size(branches),
        "branches_why": why_not(branches, "it has not been found yet"),
        "branches": branch_rows(levels),
        "branch_of": str(branches.get("of") or ""),
        "branch_option": str(branches.get("option") or ""),
        "costs": cost_rows(relation),
        "how": how_made(relation),
    }


def table_view(entry: Estimator) -> TableView:
    """The map and the tree of an estimator that has affinities."""
    assert entry.affinity is not None
    tree = tree_of(entry.affinity)
    drawn = affinity_map(entry.affinity, tree, entry.groups, gains=entry.gains)
    return TableView(
        title=entry.label,
        map=drawn,
        ends=ends_text(drawn.scale),
        said=map_sentences(entry, drawn, tree),
        tree=tree_svg(tree, drawn.scale, drawn.letters) if isinstance(tree, Tree) else "",
        tree_said="" if isinstance(tree, Tree) else no_tree(tree),
    )


def group_cards(relation: Relation) -> list[GroupCard]:
    """One card a recommended network."""
    entry = relation.recommended
    gains = {
        task: triple(entry.task(task), "gain_") if entry else (None, None, None)
        for task in relation.results.tasks
    }
    decimals = interval_decimals(gains.values())
    deciding = relation.deciding
    scale = deciding.scale if deciding is not None else Scale()

    def member(task: str, predicted: Mapping[str, Any]) -> Member:
        word = str(entry.task(task).get("word") or "") if entry else ""
        sign, tone = VERDICTS.get(word, ("", "none"))
        given, low, high = gains[task]
        mean = number(given)
        return Member(
            task=task,
            predicted=scale.text(predicted.get(task)),
            measured=said_undefined(given) if mean is None else signed(mean, decimals),
            interval="" if mean is None else bracket(low, high, decimals),
            sign=sign,
            tone=tone,
            word=word,
        )

    serving = {task: share.letter for task, share in relation.serving.items()}
    return [
        GroupCard(
            letter=share.letter,
            heading=_heading(share),
            members=tuple(member(task, share.predicted) for task in share.serves),
            along=tuple((t, serving.get(t, "")) for t in share.tasks if t not in share.serves),
        )
        for share in relation.shares
    ]


def _heading(share: Share) -> str:
    if len(share.tasks) == 1:
        return "alone, a network of its own"
    return f"{len(share.tasks)} tasks share a network"
