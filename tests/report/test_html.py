"""The page: its numbers are those of the results, and it is safe, small and self-contained."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_page import Page, page, row_of

from polytask.errors import UserError
from polytask.report import write_report
from polytask.report.html import render
from polytask.report.numbers import fixed, number, signed
from polytask.report.results import read

Study = dict[str, Any]


@pytest.fixture
def study(study: Study) -> Study:
    """The study without curves, which most tests here do not need and which take time to draw."""
    for candidate in study["candidates"]:
        candidate.update(curves=None, weights=None)
    for entry in study["single_task"].values():
        entry["curves"] = None
    return study


def test_a_few_labels_are_not_none(study: Study) -> None:
    first, second, *_ = study["tasks"]
    study["dataset"]["labelled"] |= {first: 0.0012, second: 0.999}
    text = render(read(study))
    assert "<td>&lt;1 %</td>" in text
    assert "<td>&gt;99 %</td>" in text
    assert "<td>70 %</td>" in text


def test_the_numbers_of_the_tables_are_those_of_the_results(study: Study) -> None:
    summary, scores = page(study).tables[:2]
    tasks = list(study["tasks"])
    for candidate in study["candidates"]:
        assert row_of(summary, candidate["label"]) == [
            candidate["delta_m"]["mean"],
            candidate["equal_time"]["delta_m"]["mean"],
            candidate["mean_rank"],
            candidate["cost"]["relative"],
            candidate["cost"]["peak_memory_mb"],
        ]
        means = [candidate["tasks"][task]["mean"] for task in tasks]
        assert row_of(scores, candidate["label"]) == means
    singles = [study["single_task"][task]["mean"] for task in tasks]
    assert row_of(scores, "single-task") == singles
    assert row_of(scores, "best constant") == [study["tasks"][t]["trivial"] for t in tasks]
    boosted = [study["boosting"][task]["mean"] for task in tasks]
    assert row_of(scores, "gradient boosting") == boosted


def test_two_tasks_fit_into_one_table(make: Callable[..., Study]) -> None:
    study = make(("price", "sold"), epochs=3)
    table = page(study).tables[0]
    candidate = study["candidates"][1]
    means = [candidate["tasks"][task]["mean"] for task in ("price", "sold")]
    assert row_of(table, candidate["label"])[5:] == means


def test_the_text_of_a_cell_is_its_value_rounded(study: Study) -> None:
    shown = 0
    for table in page(study).tables:
        for row in table:
            for text, value in row:
                digits = re.match(r"[+\u2212]?[\d\u202f]+(\.\d+)?(?=$| ±|\[|[+\u2212▲▼])", text)
                if value is None or digits is None:
                    continue
                printed = digits.group().replace("\u202f", "").replace("\u2212", "-")
                # Half a unit of the last digit shown; hundreds where the spread is hundreds.
                decimals = len(printed.split(".")[1]) if "." in printed else -3
                assert abs(float(printed) - value) <= 0.5001 * 10.0**-decimals
                shown += 1
    assert shown > 40


def test_every_seed_is_in_the_page(study: Study) -> None:
    tables = page(study).tables[-5:]
    values = {value for table in page(study).tables for row in table for _, value in row}
    assert tables
    for candidate in study["candidates"]:
        for entry in candidate["tasks"].values():
            assert set(entry["test"]) <= values


def test_many_tasks_get_tables_that_fit_a_screen(make: Callable[..., Study]) -> None:
    names = tuple(f"task{i}" for i in range(14))
    study = make(names, epochs=3)
    summary, *scores = page(study).tables[:4]
    assert len(summary[0]) == 6
    assert [len(table[0]) - 1 for table in scores] == [5, 5, 4]
    wanted = [
        candidate["tasks"] for candidate in study["candidates"] if candidate["label"] == "rlw"
    ]
    found = [value for table in scores for value in row_of(table, "rlw")]
    assert found == [wanted[0][name]["mean"] for name in names]


def test_every_study_gives_a_page_that_loads_nothing_and_prints_no_nan(any_study: Study) -> None:
    text = render(read(any_study))
    whole = Page(text)
    assert "http" not in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    loading = {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in whole.tags:
        assert tag not in loading
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    said = whole.text.replace("became NaN", "")  # the cause of a failure, in its own words
    assert not re.search(r"\b(nan|inf)\b", said, re.IGNORECASE)
    assert not re.search(r"\b(None|dict_|Undefined)\b|\d[eE][+-]?\d", said)
    assert "positive = better than single-task" in said


def test_names_are_escaped(make: Callable[..., Study]) -> None:
    # A formula or a template in a name stays what it is.
    names = ("<script>alert('x')</script>", 'größe & 価格 "m²"', "a" * 40, "$price$ {{ 7 * 7 }}")
    study = make(names, ("linear", "rlw", "<img src=x onerror=1>"), name="<b>study</b>")
    study["dataset"]["notes"] = ["<i>note</i>"]
    study["candidates"][0]["failed"] = [{"seed": 1, "cause": "<u>cause</u>"}]
    study["config"]["data"] = "</td><script>1</script>"
    study["single_task"][names[0]]["test"][0] = {"undefined": '"><script>2</script>'}
    whole = page(study)
    tags = {tag for tag, _ in whole.tags}
    assert not tags & {"script", "b", "i", "u", "img"}
    for name in (*names, "<b>study</b>", "<i>note</i>", "<u>cause</u>", "</td><script>1</script>"):
        assert name in whole.text


def test_undefined_is_a_word_with_its_reason_on_hover_and_below(study: Study) -> None:
    why = "auroc: one class only"
    for candidate in study["candidates"]:
        candidate["tasks"]["sold"].update(mean={"undefined": why}, gain_mean={"undefined": why})
    whole = page(study)
    assert f"undefined: {why}" in whole.text
    hovers = [a for tag, a in whole.tags if tag == "td" and a.get("title") == why]
    assert len(hovers) == len(study["candidates"])
    assert "undefined1" in [text for text, _ in whole.tables[1][3]]


def test_an_incomplete_study_says_so_before_anything_else(study: Study) -> None:
    assert "Incomplete." not in page(study).text
    study.update(complete=False, missing=["pcgrad, seed 3"])
    text = page(study).text
    assert text.index("Incomplete.") < text.index("Sharing helps")
    assert "pcgrad, seed 3" in text


def test_the_best_constant_keeps_its_digits_where_every_run_failed(study: Study) -> None:
    gone = {"undefined": "no finished run has this score"}
    for entry in [*study["single_task"].values(), *study["boosting"].values()]:
        entry.update(mean=gone, sd=None, test=[])
    for candidate in study["candidates"]:
        for entry in candidate["tasks"].values():
            entry.update(mean=gone, sd=None, test=[])
    constant = next(row for row in page(study).tables[1] if row[0][0] == "best constant")
    assert [text for text, _ in constant[1:]] == ["109\u202f200", "0.516", "0.426"]


def test_failures_are_listed_with_their_cause(study: Study) -> None:
    study["candidates"][2]["failed"] = [{"seed": 2, "lr": 0.001, "cause": "out of memory"}]
    study["single_task"]["sold"]["failed"] = [{"seed": 0, "cause": "killed"}]
    whole = page(study)
    assert "pcgrad, seed 2, learning rate 0.001 failed: out of memory" in whole.text
    assert "single-task, sold, seed 0 failed: killed" in whole.text
    assert "1 failed" in whole.text
    assert whole.text.index("2 runs failed.") < whole.text.index("Sharing helps")


def test_the_verdict_comes_first_and_every_task_has_a_card(study: Study) -> None:
    study["verdict"]["sentence"] = "Share: one network helps. A step costs 1.5 times as much."
    text = page(study).text
    places = [text.index(words) for words in ("Share: one network helps.", "A step costs 1.5")]
    assert places == sorted(places)
    assert places[1] < text.index("Every candidate")
    for task, entry in study["verdict"]["tasks"].items():
        assert entry["sentence"].removeprefix(f"{task}: ") in text


def test_a_card_says_its_numbers_once(study: Study) -> None:
    gain = next(c for c in study["candidates"] if c["id"] == study["chosen"])["tasks"]["sold"]
    said = f"{signed(gain['gain_mean'], 1)} %"
    before = page(study).text.count(said)
    study["verdict"]["tasks"]["sold"]["sentence"] = f"sold: sharing helps, {said}."
    assert page(study).text.count(said) == before


def test_single_task_costs_are_the_sum_over_tasks(study: Study) -> None:
    tables = page(study).tables
    costs = next(table for table in tables if table[1][0][0] == "single-task, all")
    assert row_of(costs, "single-task, all") == pytest.approx([7.5, 1.86, 280.0, 135_000])
    del study["single_task"]["sold"]["cost"]  # what is not known makes no sum
    costs = next(table for table in page(study).tables if table[1][0][0] == "single-task, all")
    assert row_of(costs, "single-task, all")[1] is None


def test_a_sign_marks_what_holm_leaves_standing(study: Study) -> None:
    for candidate in study["candidates"]:
        for entry in candidate["tasks"].values():
            entry.update(p_holm=0.2)
    assert not any("▲" in text for row in page(study).tables[1] for text, _ in row)
    entry = study["candidates"][0]["tasks"]["sold"]
    entry.update(p_holm=0.01, gain_mean=-3.0)
    signs = [text for row in page(study).tables[1] for text, _ in row if "▼" in text]
    assert len(signs) == 1
    entry["gain"] = entry["gain"][:4]  # four seeds lean, whatever the p-value
    assert not any("▼" in text for row in page(study).tables[1] for text, _ in row)


def test_reproduction_and_configuration(study: Study) -> None:
    text = page(study).text
    assert study["command"] in text
    assert "encoder.mlp.hidden" in text
    assert study["environment"]["torch"] in text
    del study["command"]
    study["config"]["out"] = "runs/my houses"
    study["dataset"]["card"] = {"carriers": [{"client": "pip"}], "rows": 3}
    assert "carriers.1.client" in page(study).text
    assert "polytask compare 'runs/my houses/study.yaml'" in page(study).text
    assert f"polytask[app]=={study['polytask']}" in text


def test_dark_and_light_and_print() -> None:
    text = render(read({"tasks": {}, "single_task": {}, "candidates": []}))
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


@pytest.mark.slow
def test_a_large_study_stays_small(make: Callable[..., Study], tmp_path: Path) -> None:
    names = tuple(f"task_number_{i}" for i in range(10))
    methods = tuple(f"method_{i}" for i in range(12))
    study = make(names, methods, seeds=10, epochs=100)
    assert len(study["conflict"][0]["cosine"]) == 10
    size = write_report(study, tmp_path / "report.html").stat().st_size
    print(f"10 tasks, 12 methods, 10 seeds, 100 epochs: {size / 1e6:.2f} MB")
    assert size < 3_000_000


def test_write_report_replaces_in_one_go_and_reads_files(study: Study, tmp_path: Path) -> None:
    source = tmp_path / "results.json"
    source.write_text(json.dumps(study), encoding="utf-8")
    before = copy.deepcopy(study)
    out = write_report(study, tmp_path / "new" / "report.html")
    assert study == before
    first = out.read_bytes()
    assert write_report(source, tmp_path / "new") == out
    assert out.read_bytes() == first
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written(study: Study, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot create the folder"):
        write_report(study, tmp_path / "file" / "report.html")


def test_rounded_numbers_agree_with_the_report_of_numbers(study: Study) -> None:
    mean = number(study["candidates"][0]["mean_rank"])
    assert mean is not None
    assert fixed(mean, 1) in page(study).text
