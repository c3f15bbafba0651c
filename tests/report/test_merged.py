"""Several studies on one page: which are averaged and ranked, and numbers that stay the file's."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_page import Page
from report_studies import make_study

from polytask.errors import UserError
from polytask.report import write_report
from polytask.report.html import render_several
from polytask.report.merged import Studies, alike, gather, methods, shared
from polytask.report.merged_words import averaging, fair_test, headline

Study = dict[str, Any]
METHODS = ("linear", "rlw", "mgda")


@pytest.fixture(scope="module")
def base() -> Study:
    """A small study; every test changes a copy."""
    return bare(make_study(("price", "sold"), METHODS, epochs=3, boosting=False))


def bare(study: Study) -> Study:
    """Without what takes time to draw."""
    for candidate in study["candidates"]:
        candidate.update(curves=None, weights=None, equal_time=None)
    for entry in study["single_task"].values():
        entry["curves"] = None
    return study


def named(base: Study, name: str, gains: dict[str, float] | None = None) -> Study:
    """The study under another name, with other Δm by label; a label without one is left out."""
    study = copy.deepcopy(base)
    study["name"] = study["dataset"]["name"] = name
    if gains is not None:
        kept = [c for c in study["candidates"] if c["label"] in gains]
        for candidate in kept:
            mean = gains[candidate["label"]]
            candidate["delta_m"].update(mean=mean, low=mean - 1, high=mean + 1)
        study["candidates"] = kept
    return study


def page(studies: Studies) -> Page:
    return Page(render_several(studies))


def test_studies_of_one_name_are_told_apart_by_folder(base: Study, tmp_path: Path) -> None:
    for folder in ("one", "two", "three"):
        (tmp_path / folder).mkdir()
        study = named(base, "digits" if folder == "three" else "adult")
        (tmp_path / folder / "results.json").write_text(json.dumps(study))
    found = gather([tmp_path / "one", str(tmp_path / "two" / "results.json"), tmp_path / "three"])
    assert [study.label for study in found] == [
        f"adult ({tmp_path / 'one'})", f"adult ({tmp_path / 'two'})", "digits",
    ]  # fmt: skip
    with pytest.raises(UserError, match="given twice"):
        gather([tmp_path / "one", tmp_path / "two", tmp_path / "one" / "results.json"])
    assert [s.label for s in gather([base, base])] == ["houses (number 1)", "houses (number 2)"]


def test_no_study_is_an_error() -> None:
    with pytest.raises(UserError, match="which studies"):
        gather([])


def test_only_methods_of_every_study_are_averaged_and_ranked(base: Study) -> None:
    one = named(base, "one", {"linear": 1.0, "rlw": -1.0, "mgda": 3.0})
    two = named(base, "two", {"linear": 2.0, "rlw": 2.0})
    found = {method.label: method for method in methods(gather([one, two]))}
    assert [found[label].mean for label in METHODS] == [1.5, 0.5, None]
    assert [found[label].rank for label in METHODS] == [1.25, 1.75, None]  # a tie shares places
    assert [gain and gain[0] for gain in found["mgda"].gains] == [3.0, None]
    assert [method.label for method in methods(gather([one, two]))] == ["linear", "rlw", "mgda"]
    said = " ".join(averaging(gather([one, two]), list(found.values())))
    assert "mgda is not in all of them and stays out." in said


def test_an_undefined_gain_keeps_a_method_out(base: Study) -> None:
    one, two = named(base, "one"), named(base, "two")
    two["candidates"][2]["delta_m"] = {"undefined": "no run of it has finished"}
    found = methods(gather([one, two]))
    assert {method.label for method in shared(found)} == {"linear", "rlw"}


def test_another_architecture_is_another_method(base: Study) -> None:
    two = named(base, "two")
    for candidate in two["candidates"]:
        candidate["architecture"] = "mmoe"
    found = methods(gather([named(base, "one"), two]))
    assert {m.label for m in found} >= {"hard_sharing", "mmoe", "hard_sharing · rlw", "mmoe · rlw"}
    assert shared(found) == []
    assert "no mean rank" in averaging(gather([named(base, "one"), two]), found)[0]


def test_a_method_looks_the_same_in_every_study(base: Study) -> None:
    one, two = named(base, "one"), named(base, "two", {"mgda": 1.0, "rlw": 2.0})
    two["candidates"].reverse()
    looks = [
        {c.raw["label"]: c.style for c in study.results.candidates}
        for study in alike(gather([one, two]))
    ]
    assert looks[1].items() <= looks[0].items()
    assert len(set(looks[0].values())) == 3


def test_the_numbers_of_the_page_are_those_of_the_files(base: Study) -> None:
    one = named(base, "one")
    two = named(base, "two", {"linear": 0.5, "rlw": -0.25, "mgda": 4.0})
    whole = page(gather([one, two]))
    summary, matrix = whole.tables[:2]
    for row, study in zip(summary[1:], (one, two), strict=True):
        chosen = next(c for c in study["candidates"] if c["id"] == study["chosen"])
        assert [value for _, value in row[-2:]] == [
            chosen["delta_m"]["mean"], chosen["cost"]["relative"],
        ]  # fmt: skip
    found = {method.label: method for method in methods(gather([one, two]))}
    for row in matrix[1:]:
        label = next(label for label in METHODS if row[0][0].startswith(label))
        means = [
            next(c["delta_m"]["mean"] for c in study["candidates"] if c["label"] == label)
            for study in (one, two)
        ]
        assert [value for _, value in row[1:]] == [*means, sum(means) / 2, found[label].rank]


def test_ids_are_unique_and_every_reference_leads_somewhere(base: Study) -> None:
    text = render_several(gather([named(base, "one"), named(base, "two"), named(base, "three")]))
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids)) > 100
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', text)
    assert set(used) <= set(ids)
    assert {"study-1", "study-2", "study-3", "s1-conflict", "s3-gain"} <= set(ids)


def test_the_page_loads_nothing_and_escapes_names(base: Study) -> None:
    nasty = '</summary><script>1</script> "{{ 7 * 7 }}"'
    study = named(base, nasty)
    study["candidates"][0]["label"] = '<img src=x onerror="1"> id="s1-gain" href="#x"'
    text = render_several(gather([study, named(base, "two")]))
    whole = Page(text)
    assert "http" not in text
    assert not {"script", "img", "link", "iframe"} & {tag for tag, _ in whole.tags}
    assert nasty in whole.text
    assert study["candidates"][0]["label"] in whole.text


def test_what_is_missing_is_shown(base: Study) -> None:
    late = named(base, "late")
    late.update(complete=False, missing=["hard_sharing-mgda: seeds 3, 4"], chosen=None, verdict={})
    late["candidates"][0]["failed"] = [{"seed": 1, "cause": "out of memory"}]
    begun = {"tasks": {"x": {}}, "single_task": {}, "candidates": [], "complete": False}
    text = page(gather([named(base, "one"), late, begun])).text
    assert "incomplete, 1 run failed" in text
    assert "hard_sharing-mgda: seeds 3, 4" in text
    assert "out of memory" in text
    assert "none yet" in text
    assert "3 without a verdict." in text
    nothing = page(gather([begun, begun | {"name": "other"}])).text
    assert "No study has a candidate yet." in nothing


def test_the_headline_counts_the_verdicts(base: Study) -> None:
    one, two = named(base, "one"), named(base, "two")
    one["verdict"]["tasks"] = {"price": {"word": "helps"}, "sold": {"word": "no evidence"}}
    two["verdict"]["tasks"] = {"price": {"word": "hurts"}, "sold": {"word": "no evidence"}}
    assert headline(gather([one, two])) == (
        "In 2 studies with 4 tasks in all, sharing helps 1 and hurts 1; "
        "for 2 there is no evidence either way."
    )
    for study in (one, two):
        study["verdict"]["tasks"]["price"] = {"word": "no evidence"}
    assert headline(gather([one, two])).endswith("neither helps nor hurts any beyond noise.")


def test_ranks_are_tested_only_where_it_is_fair(base: Study) -> None:
    order = {"linear": 0.0, "rlw": -1.0, "mgda": 1.0}
    different = [named(base, f"set {i}", order) for i in range(5)]
    studies = gather(different)
    test = fair_test(studies, methods(studies))
    assert test is not None
    assert test.significant
    assert "They differ beyond chance" in averaging(studies, methods(studies))[-1]
    few = gather(different[:4])
    assert fair_test(few, methods(few)) is None
    assert "needs at least 5 data sets" in averaging(few, methods(few))[-1]
    same = gather([*different[:4], named(base, "set 0", order)])
    assert fair_test(same, methods(same)) is None
    assert "Studies of the same data (set 0)" in averaging(same, methods(same))[-1]
    turned = [
        {"linear": 0.0, "rlw": 1.0, "mgda": -1.0},
        order,
        {"linear": 2.0, "rlw": 1.0, "mgda": 0},
    ]
    mixed = gather([named(base, f"set {i}", turned[i % 3]) for i in range(6)])
    assert "do not differ beyond chance" in averaging(mixed, methods(mixed))[-1]


def test_write_report_takes_a_list(base: Study, tmp_path: Path, make: Callable[..., Study]) -> None:
    one = named(base, "one")
    assert write_report([one], tmp_path).name == "report.html"
    single = (tmp_path / "report.html").read_text()
    assert write_report(one, tmp_path / "again.html").read_text() == single
    both = write_report([one, named(base, "two")], tmp_path)
    assert both.name == "studies.html"
    assert both.read_text().count('<details class="study"') == 2
    for wrong in (tmp_path / "results.json", tmp_path / "no folder"):
        with pytest.raises(UserError, match=r"ends in \.html"):
            write_report(one, wrong)
