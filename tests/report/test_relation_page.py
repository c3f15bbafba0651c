"""The page of a study of task relationships: every number of the file, and sense in every state."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from relation_study import TASKS, make_relation
from report_browser import browsing, chromium
from report_page import Page, Table

from polytask.errors import UserError
from polytask.report import write_report
from polytask.report.html import render_relation
from polytask.report.numbers import DASH, signed
from polytask.report.relation_results import read_relation

Study = dict[str, Any]


@pytest.fixture
def relation() -> Study:
    return make_relation()


def page_of(raw: Study) -> Page:
    return Page(render_relation(read_relation(raw)))


def table_with(page: Page, heading: str) -> Table:
    """The first table whose first heading is this."""
    return next(table for table in page.tables if table[0][0][0] == heading)


def test_the_sections_come_in_order(relation: Study) -> None:
    written = render_relation(read_relation(relation))
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", written) == [
        "Recommended groups", "Who helps whom: lookahead", "Measured check", "Estimators",
        "Where to branch", "What the answer took", "The data", "What is missing",
        "How the numbers were made", "How to reproduce",
    ]  # fmt: skip
    text = page_of(relation).text
    for said in (
        "which tasks belong together?", "Train 2 networks.", "The same by pairwise",
        "polytask relate runs/census-relations/study.yaml", "at most 3 networks",
    ):  # fmt: skip
        assert said in text
    # Every place that the contents lead to is there.
    places = re.findall(r'href="#([^"]+)"', written)
    assert set(places) <= set(re.findall(r'id="([^"]+)"', written))


def test_a_card_a_network_tells_prediction_and_measurement(relation: Study) -> None:
    cards = page_of(relation).of_class("members")
    groups = relation["recommendation"]["groups"]
    assert len(cards) == len(groups)
    gains = relation["check"]["arrangements"][0]["tasks"]
    for card, group in zip(cards, groups, strict=True):
        for (task, _), (predicted, _), (measured, _) in card[1:]:
            assert task in group["serves"]
            assert predicted == signed(group["predicted"][task], 3)
            assert signed(gains[task]["gain_mean"], 1) in measured
            assert measured.endswith(gains[task]["word"])


def test_a_task_that_trains_along_is_served_elsewhere(relation: Study) -> None:
    first, second = relation["recommendation"]["groups"][:2]
    first["tasks"] = [*first["tasks"], second["serves"][0]]
    said = f"{second['serves'][0]} trains along; network B serves it."
    assert said in page_of(relation).text


def test_arrangements_and_contrasts_have_the_numbers_of_the_file(relation: Study) -> None:
    page = page_of(relation)
    entries = relation["check"]["arrangements"]
    rows = table_with(page, "arrangement")[1:]
    assert [row[0][0].split("1 failed")[0].strip() for row in rows] == [e["name"] for e in entries]
    for row, entry in zip(rows, entries, strict=True):
        wanted = [entry["networks"], entry["parameters"], entry["step"], entry["delta_m"]["mean"]]
        assert [value for _, value in row[1:]] == wanted
    versus = table_with(page, "against")[1:]
    for row, entry in zip(versus, relation["check"]["contrasts"], strict=True):
        assert [value for _, value in row[1:]] == [
            entry["mean"], entry["mean"], entry["p_holm"], 5.0
        ]  # fmt: skip
    assert [row[1][0] for row in versus] == ["▲ better", "△ leans better", "● no evidence"]
    assert [row[0][0] for row in versus][2] == "random (mean of 2)"


def test_one_network_with_branches_has_a_table_of_its_own(relation: Study) -> None:
    page = page_of(relation)
    assert "The branched network against the others" in page.text
    relation["check"]["branched"] = []
    assert "The branched network against the others" not in page_of(relation).text


def test_a_budget_is_told_with_what_groups_cost(relation: Study) -> None:
    assert "a budget of" not in page_of(relation).text
    words = "2.5 times the parameters of one network for all tasks"
    heads = dict.fromkeys(relation["tasks"], 0.05) | {"age": 0.1}
    relation["budget"] = {
        "limit": 2.5, "in": "parameters", "words": words, "network": 0.6, "tasks": heads
    }  # fmt: skip
    said = page_of(relation).text
    assert f"a budget of {words}" in said
    assert "a group costs 0.600 and 0.050 to 0.100 for each task in it" in said


def test_every_task_has_its_gain_in_every_arrangement(relation: Study) -> None:
    tables = page_of(relation).tables
    heading, *rows = next(table for table in tables if table[0][1][0].startswith("alone"))
    found = {entry["name"]: entry["tasks"] for entry in relation["check"]["arrangements"]}
    alone = found.pop("a network for each")
    assert [text.removesuffix("gain, %") for text, _ in heading[2:]] == list(found)
    for task, (label, score, *gains) in zip(TASKS, rows, strict=True):
        assert label[0].startswith(task)
        assert score[1] == alone[task]["test_mean"]
        for (text, value), entries in zip(gains, found.values(), strict=True):
            assert value == entries[task]["gain_mean"]
            assert entries[task]["word"] in text


def test_estimators_are_compared_with_pairwise_training(relation: Study) -> None:
    page = page_of(relation)
    (table,) = page.of_class("estimators")
    lookahead, pairwise, rsa = table[1:]
    assert "decides" in lookahead[0][0]
    assert [value for _, value in lookahead[2:5]] == [1.25, 0.71, 1.25]
    assert "no run of its own" in lookahead[2][0]
    assert "28 runs of its own" in pairwise[2][0]
    assert rsa[5][0] == "undefined: two single-task networks failed"
    assert [value for _, value in rsa[3:5]] == [None, None]
    for entry in relation["estimators"]:
        entry |= {"agreement": None, "grouping_worth": None}
    alone = page_of(relation)
    assert len(alone.of_class("estimators")[0][0]) == 4
    assert "--estimators … pairwise" in alone.text


def test_groups_that_are_not_proved_best_say_so(relation: Study) -> None:
    relation["estimators"][0]["grouping"]["gap"] = 0.004
    assert "another grouping could be better by +0.004 at most" in page_of(relation).text


def test_the_branch_tree_is_a_table_and_a_line_of_yaml(relation: Study) -> None:
    page = page_of(relation)
    (table,) = page.of_class("branching")
    assert [row[-1][0] for row in table[1:]] == [
        "income", "age", "smoker", "night work", "rent", "health", "commute"
    ]  # fmt: skip
    spans = [a.get("rowspan") for tag, a in page.tags if tag == "td" and "rowspan" in a]
    assert spans == ["7", "4", "3", "3", "3"]
    text = re.search(r"architectures:\n.*", page.text)
    assert text is not None
    (option,) = yaml.safe_load(text[0])["architectures"]
    assert option == {"branched": {"tree": [["a", "b"], ["c"]]}}
    assert "at most 2.0 times the layers" in page.text.lower()
    relation["branches"] = {"of": "rsa", "undefined": "two networks failed."}
    assert "There is no tree of branches: two networks failed." in page_of(relation).text


def test_without_a_check_nothing_is_claimed(relation: Study) -> None:
    page = page_of(relation | {"check": None})
    assert "No check was asked for" in page.text
    assert "Nothing was measured on test" in page.text
    assert all(len(card[0]) == 2 for card in page.of_class("members"))


def test_an_undefined_recommendation_has_its_reason(relation: Study) -> None:
    reason = {"undefined": "no affinity is known."}
    entry = relation["estimators"][0]
    entry |= {"grouping": reason}
    entry["affinity"]["values"] = [[None] * 7 for _ in TASKS]
    page = page_of(relation | {"recommendation": reason, "check": None, "branches": None})
    assert "Nothing is recommended: no affinity is known." in page.text
    assert "0 of 21 pairs were measured both ways" in page.text
    assert "Without groups there is nothing to check." in page.text
    assert not page.of_class("members")


def test_without_groups_the_two_ends_are_still_compared(relation: Study) -> None:
    reason = {"undefined": "too few steps"}
    relation["estimators"][0] |= {"affinity": reason, "grouping": reason}
    relation["check"]["arrangements"] = relation["check"]["arrangements"][1:3]
    relation["check"]["contrasts"] = []
    page = page_of(relation | {"recommendation": reason, "branches": None})
    assert [row[0][0] for row in table_with(page, "arrangement")[1:]] == [
        "one network for all1 failed", "a network for each"
    ]  # fmt: skip
    # The map is that of the first estimator which has one.
    assert "Who helps whom: pairwise" in page.text


def test_before_anything_has_ended_there_is_a_page_too(relation: Study) -> None:
    waiting = {"undefined": "its runs have not ended"}
    for entry in relation["estimators"]:
        entry |= {"affinity": waiting, "grouping": waiting, "agreement": waiting}
    early = relation | {
        "recommendation": waiting, "check": {"arrangements": [], "contrasts": []},
        "branches": waiting | {"of": "rsa"}, "complete": False, "missing": ["measuring: together"],
        "verdict": {"sentence": "No groups are recommended: its runs have not ended."},
    }  # fmt: skip
    page = page_of(early)
    assert "This study is not complete (1 run missing)." in page.text
    assert "measuring: together" in page.text
    assert not page.of_class("heat")


def test_undefined_scores_have_footnotes(relation: Study) -> None:
    reason = {"undefined": "one class only"}
    entry = relation["check"]["arrangements"][0]
    entry["tasks"]["rent"] |= {"gain_mean": reason, "gain_low": None, "gain_high": None}
    entry["delta_m"] = {"values": [], "mean": reason, "low": None, "high": None}
    assert "undefined: one class only" in page_of(relation).text


def test_a_failed_network_is_named_once(relation: Study) -> None:
    first, second = relation["check"]["arrangements"][:2]
    first["failed"] = copy.deepcopy(second["failed"])
    (said,) = read_relation(relation).failures
    assert said.startswith("income + rent + age")
    assert said.endswith("seed 1, learning rate 0.01 failed: the loss is no finite number")


def test_given_affinities_need_no_runs(relation: Study) -> None:
    given = relation["estimators"][0] | {"name": "given", "label": "given", "agreement": None}
    given |= {"cost": {"runs": 0, "seconds": 0, "trainings": None}, "needs": "", "unit": ""}
    page = page_of(relation | {"estimators": [given]})
    assert "Who helps whom: given" in page.text
    assert page.of_class("estimators")[0][1][2] == (f"{DASH}no run of its own", None)


def test_names_are_escaped(relation: Study) -> None:
    hostile = '<script>alert(1)</script> & "q"'
    text = json.dumps(make_relation([hostile, "b", "c"]))
    page = page_of(json.loads(text))
    assert not any(tag == "script" for tag, _ in page.tags)
    assert hostile in page.text


def test_a_folder_gives_the_page_and_other_files_say_what_they_are(
    relation: Study, tmp_path: Path
) -> None:
    (tmp_path / "results.json").write_text(json.dumps(relation), encoding="utf-8")
    page = write_report(tmp_path, tmp_path)
    assert page == tmp_path / "report.html"
    assert "which tasks belong together?" in page.read_text(encoding="utf-8")
    with pytest.raises(UserError, match=r"a study of task relationships.*a page of its own"):
        write_report([tmp_path, relation], tmp_path / "both.html")
    for change, said in (
        ({"schema": 9}, "of schema 9"),
        ({"estimators": None}, "found no 'estimators'"),
        ({"tasks": {}}, "found no 'tasks'"),
        ({"recommendation": None}, "run the same `polytask relate` again"),
    ):
        with pytest.raises(UserError, match=said):
            write_report(relation | change, tmp_path / "page.html")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "study.yaml").write_text("# a note\ndata: census\nmax_groups: 3\n")
    with pytest.raises(UserError, match=r"`polytask relate .*study\.yaml` goes on with it"):
        write_report(tmp_path / "begun", tmp_path / "page.html")
    broken = copy.deepcopy(relation)
    broken["estimators"][0]["affinity"]["values"] = [[1.0]]
    with pytest.raises(UserError, match="values of shape"):
        read_relation(broken)


@pytest.mark.slow
@pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")
@pytest.mark.parametrize(
    "tasks", [TASKS, ("a", "b"), [f"a task of thirty letters, no {i:02d}" for i in range(40)]]
)
def test_in_a_browser_nothing_overflows_or_is_fetched(tasks: Any, tmp_path: Path) -> None:
    page = write_report(make_relation(tasks, most=4), tmp_path / "page.html")
    with browsing() as browser:
        for width, scheme in ((375, "dark"), (1280, "light")):
            browser.open(page, width=width, scheme=scheme)
            assert browser.complaints == []
            assert browser.requests == [page.as_uri()]
            assert browser.ask("document.documentElement.scrollWidth") <= width
