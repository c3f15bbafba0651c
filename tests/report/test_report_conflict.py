"""Who agrees and who fights: readings, order, sentences, and files that lack a part."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
from report_studies import make_conflict

from polytask.report.conflict import AGREE, FIGHT, NOISE, UNDEFINED, UNJUDGED, Conflict, conflicts
from polytask.report.conflict_words import how_measured, pair_title, sentences
from polytask.report.numbers import MINUS
from polytask.report.results import read

Study = dict[str, Any]
NAMES = ("income", "college", "married")


def measured(
    cosine: dict[tuple[int, int], Any], names: tuple[str, ...] = NAMES, null: Any = 0.1
) -> Conflict:
    """A conflict with these cosines above the diagonal, 0 elsewhere."""
    size = len(names)
    tables: dict[str, list[list[Any]]] = {
        key: [[value if i != j else 1.0 for j in range(size)] for i in range(size)]
        for key, value in (("cosine", 0.0), ("standard_error", 0.05), ("null", null))
    }
    for (i, j), value in cosine.items():
        tables["cosine"][i][j] = tables["cosine"][j][i] = value
    entry = {"architecture": "hard_sharing", "tasks": list(names), "statistic": "tail", **tables}
    (found,) = conflicts(read(study_with([entry])))
    return found


def study_with(conflict: Any) -> Study:
    return {"tasks": {}, "single_task": {}, "candidates": [], "conflict": conflict}


def test_the_null_level_decides_the_reading() -> None:
    found = measured({(0, 1): 0.42, (0, 2): -0.11, (1, 2): -0.1})
    readings = {(pair.one, pair.other): pair.reading for pair in found.pairs}
    assert readings == {
        ("income", "college"): AGREE,
        ("income", "married"): FIGHT,
        ("college", "married"): NOISE,
    }
    assert [pair.cosine for pair in found.pairs] == [0.42, -0.11, -0.1]


def test_what_is_undefined_or_has_no_null_level_is_neither() -> None:
    why = {"undefined": "the gradient of married does not stand out"}
    found = measured({(0, 1): 0.42, (0, 2): why, (1, 2): why}, null=None)
    assert [pair.reading for pair in found.pairs] == [UNJUDGED, UNDEFINED, UNDEFINED]
    assert found.judged == []
    assert "undefined (the gradient of married does not stand out)" in pair_title(found.pairs[1])


def test_sentences_name_the_pairs_beyond_noise() -> None:
    said = sentences(measured({(0, 1): 0.42, (0, 2): -0.211, (1, 2): 0.02}))
    assert said == [
        f"Beyond noise, income and married fight ({MINUS}0.21\u00a0±0.05); "
        "income and college agree (+0.42\u00a0±0.05).",
        "The other pair cannot be told from noise.",
    ]


def test_noise_alone_is_neither_conflict_nor_agreement() -> None:
    assert sentences(measured({(0, 1): 0.09, (0, 2): -0.1})) == [
        "None of the 3 pairs can be told from noise: this shows neither conflict nor agreement."
    ]
    one = measured({(0, 1): -0.02}, names=("a", "b"))
    assert sentences(one) == [
        f"a and b: the cosine ({MINUS}0.02\u00a0±0.05) cannot be told from noise."
    ]


def test_what_chance_alone_would_show_is_said() -> None:
    names = tuple(f"t{i}" for i in range(8))  # 28 pairs, of which chance puts 1.4 beyond
    assert (
        "no fewer than here: take none for found." in sentences(measured({(0, 1): 0.3}, names))[-1]
    )
    many = dict.fromkeys(list(itertools.combinations(range(8), 2))[:9], -0.5)
    said = sentences(measured(many, names))
    assert said[0].startswith("Beyond noise, 9 pairs fight, most of all t0 and t1")
    assert said[-1] == "Chance alone would put about 1 of 28 pairs beyond the null level."


def test_undefined_pairs_are_counted_with_their_reason() -> None:
    gone = {"undefined": "no step measured both."}
    said = sentences(measured({(0, 1): 0.42, (0, 2): gone, (1, 2): gone}))
    assert said[-1] == "2 pairs are undefined: no step measured both."


def test_few_tasks_keep_their_order_and_many_are_put_beside_their_like() -> None:
    assert measured({(0, 2): 0.9}).tasks == NAMES
    names = tuple("abcdefgh")
    camps = [0, 1, 0, 1, 0, 1, 0, 1]
    cosine = {
        (i, j): 0.6 if camps[i] == camps[j] else -0.6
        for i, j in itertools.combinations(range(8), 2)
    }
    order = measured(cosine, names).tasks
    assert {frozenset(order[:4]), frozenset(order[4:])} == {frozenset("aceg"), frozenset("bdfh")}
    assert order[0] in "aceg"  # the first task's camp comes first


def test_the_order_does_not_depend_on_the_order_of_the_file() -> None:
    # A chain in which each task agrees with its neighbours has one right order, read either way.
    chain = {(i, i + 1): 0.8 for i in range(9)}
    right = tuple("abcdefghij")
    shuffled = np.random.default_rng(0).permutation(10)
    place = {int(task): index for index, task in enumerate(shuffled)}
    moved = {tuple(sorted((place[i], place[j]))): value for (i, j), value in chain.items()}
    names = tuple(right[int(task)] for task in shuffled)
    order = measured(moved, names, null=0.1).tasks  # type: ignore[arg-type]
    assert order in (right, right[::-1])


@pytest.mark.parametrize(
    "damaged",
    [None, [], {}, "text", [None], [{"tasks": ["a"]}], [{"tasks": ["a", "a"]}], [{"tasks": None}]],
)
def test_a_study_without_conflict_has_none(damaged: Any) -> None:
    assert conflicts(read(study_with(damaged))) == []


@pytest.mark.parametrize("gone", ["cosine", "standard_error", "null", "samples", "statistic"])
def test_a_missing_part_is_missing_and_no_error(gone: str) -> None:
    entry = make_conflict(("a", "b", "c"))
    del entry[gone]
    (found,) = conflicts(read(study_with([entry])))
    assert len(found.pairs) == 3
    assert sentences(found)
    assert "Cosine of two tasks' gradients" in how_measured(found)
    short = make_conflict(("a", "b", "c"))
    for key in ("cosine", "standard_error", "null"):
        short[key] = short[key][:1]
    (found,) = conflicts(read(study_with([short])))
    assert [pair.cosine is None for pair in found.pairs].count(True) == 1


def test_how_it_was_measured_tells_where_and_how_often() -> None:
    said = how_measured(conflicts(read(study_with([make_conflict(("a", "b"))])))[0])
    assert "on the last shared layers" in said
    assert "(300 recorded steps, 5 seeds)" in said
    assert "these very networks" not in said
    few = {**make_conflict(("a", "b")), "seeds": 2}
    assert "of these very networks" in how_measured(conflicts(read(study_with([few])))[0])
    exact = make_conflict(("a", "b")) | {"statistic": "exact"}
    assert "all shared parameters" in how_measured(conflicts(read(study_with([exact])))[0])


def test_reading_changes_nothing(study: Study) -> None:
    before = copy.deepcopy(study)
    conflicts(read(study))
    assert study == before
