"""The section on terms of the networks' weights: its numbers are those of the file."""

from __future__ import annotations

import io
from typing import Any

import pytest
from report_page import Page, page
from report_studies import make_study

from polytask.optimization.regularization import list_regularizers
from polytask.report.numbers import DASH, MINUS
from polytask.report.regularization import MOST_MAPS, MOST_ROWS, regularization
from polytask.report.regularization_map import WITH_TEXT
from polytask.report.regularization_words import NAMES, sentences
from polytask.report.results import read
from polytask.report.terminal import print_verdict

Study = dict[str, Any]
TASKS = ("price", "sold", "heating")
TITLE = "What the terms on weights found"


def pairs(function: Any, tasks: tuple[str, ...] = TASKS) -> dict[str, dict[str, float]]:
    return {a: {b: function(i, j) for j, b in enumerate(tasks)} for i, a in enumerate(tasks)}


TRACE = {
    "tells": {"rank": "directions", "spectrum": "singular values"},
    "found": {
        "penalty": 0.5,
        "rank": {"stages.0.0.weight": 1.4, "stages.1.0.weight": 2.0},
        "spectrum": {"stages.0.0.weight": [1.0, 0.25, 0.01], "stages.1.0.weight": [1.0, 0.5, 0.4]},
    },
}
MRN = {
    "tells": {"correlation": "how the weights of two tasks are correlated"},
    "found": {
        "penalty": 0.1,
        "correlation": {
            "a.weight": pairs(lambda i, j: 1.0 if i == j else 0.1 * (i + j)),
            "b.weight": pairs(lambda i, j: 1.0 if i == j else -0.3 * (i + j)),
        },
    },
}
CLUSTER = {
    "tells": {"within": "share"},
    "found": {
        "penalty": 0.1,
        "within": 0.25,
        "cluster": {"groups": [["price", "heating"], ["sold"]], "seeds": 4},
        "together": pairs(lambda i, j: 1.0 if i == j else 0.8 if i + j == 2 else 0.2),
    },
}
AMTL = {
    "tells": {"transfer": "the share"},
    "found": {"penalty": 0.0, "transfer": pairs(lambda i, j: 1.6 if (i, j) == (0, 1) else 0.0)},
}


def with_terms(**terms: Any) -> Study:
    study = make_study()
    study["regularization"] = [{"candidate": "hard_sharing-pcgrad", "seeds": 5, "terms": terms}]
    return study


def maps_of(shown: Page) -> list[Any]:
    return shown.of_class("terms")


def test_a_study_without_terms_has_no_section() -> None:
    for study in (make_study(), make_study() | {"regularization": []}):
        shown = page(study)
        assert TITLE not in shown.text
        assert not any(attributes.get("href") == "#terms" for _, attributes in shown.tags)


def test_ranks_and_singular_values_by_weight() -> None:
    shown = page(with_terms(trace_norm=TRACE))
    assert TITLE in shown.text
    assert any(attributes.get("href") == "#terms" for _, attributes in shown.tags)
    assert "span 1.7 of 3 directions, mean over 2 weights;" in shown.text
    (table,) = [t for t in shown.tables if t and t[0][0][0] == "weight"]
    assert [cell[0] for cell in table[0]] == ["weight", "rank", "spectrum"]
    assert [[text for text, _ in row[:2]] for row in table[1:]] == [
        ["stages.0.0.weight", "1.4"],
        ["stages.1.0.weight", "2.0"],
    ]
    assert [row[1][1] for row in table[1:]] == [1.4, 2.0]
    assert "1 · 0.25 · 0.01" in table[1][2][0]
    bars = [a for tag, a in shown.tags if tag == "rect" and a.get("fill") == "var(--c0)"]
    heights = [float(a["height"] or 0) for a in bars if a.get("width") == "9"]
    assert heights == [22.0, 5.5, 0.6, 22.0, 11.0, 8.8]
    assert "rank: directions; spectrum: singular values." in shown.text


def test_a_covariance_is_a_map_of_the_tasks() -> None:
    shown = page(with_terms(mrn=MRN))
    mean, first, second = maps_of(shown)
    assert [cell[0] for cell in mean[0]] == ["task", *TASKS]
    for table, factor in ((mean, -0.1), (first, 0.1), (second, -0.3)):
        for i, row in enumerate(table[1:]):
            assert row[0][0] == TASKS[i]
            for j, (text, value) in enumerate(row[1:]):
                if i == j:
                    assert (text, value) == ("", None)
                else:
                    assert value == pytest.approx(factor * (i + j))
                    assert text.endswith(f"{abs(factor * (i + j)):.2f}")
                    assert text.startswith("+" if factor > 0 else MINUS)
    assert "mean over 2 weights" in shown.text
    assert "The same for every weight" in shown.text
    assert f"Most alike are price and sold ({MINUS}0.10)" in shown.text


def test_clusters_are_named_and_how_often_they_were_found() -> None:
    shown = page(with_terms(cluster=CLUSTER))
    assert "2 clusters in 4 of 5 seeds: price and heating; sold." in shown.text
    assert "25 % of the networks' squared distances" in shown.text
    (table,) = maps_of(shown)
    assert table[1][3] == ("0.80", 0.8)
    assert "in every seed 1" in shown.text
    assert "Always together" not in shown.text
    one = {"cluster": {"groups": [["price", "sold"]], "seeds": 1}}
    assert sentences(one, 1, TASKS) == ["All tasks are in one cluster: no parting was found."]
    seldom = {
        "cluster": {"groups": [["price", "heating"], ["sold"]], "seeds": 1},
        "together": pairs(lambda i, j: 1.0 if i == j or i + j == 1 else 0.5),
    }
    assert sentences(seldom, 3, TASKS) == [
        "No two of the 3 seeds part the tasks alike. Always together: price and sold."
    ]


def test_transfer_has_a_direction() -> None:
    shown = page(with_terms(amtl=AMTL))
    assert "Most is transferred from price to sold (1.60)." in shown.text
    assert "Nothing is given by sold and heating." in shown.text
    (table,) = maps_of(shown)
    assert table[0][0][0] == "giver ↓ taker →"
    assert table[1][2] == ("1.60", 1.6)
    cells = [
        a for tag, a in shown.tags if tag == "td" and a.get("title") == "from price to sold: 1.60"
    ]
    assert [a["style"] for a in cells] == ["--shade:80.0%"]
    nothing = {"transfer": pairs(lambda i, j: 0.0)}
    assert sentences(nothing, 3, TASKS)[0].startswith("No network is drawn")


def test_other_forms_of_what_is_told() -> None:
    """Of a third party: a list, several numbers a weight, numbers by task, words, nothing."""
    odd = {
        "tells": {},
        "found": {
            "penalty": 0.2,
            "sizes": {"w": [3, 7], "v": [1, 2]},
            "counts": {"w": {"all": 12, "gone": 3}, "v": {"all": 4, "gone": {"undefined": "no"}}},
            "share": {"w": 0.123456, "v": None},
            "by_task": {"price": 1.0, "sold": 2.0},
            "mode": "strict",
            "none": {},
            "half": None,
        },
    }
    shown = page(with_terms(mine=odd))
    (table,) = [t for t in shown.tables if t and t[0][0][0] == "weight"]
    assert [cell[0] for cell in table[0]] == ["weight", "sizes", "all", "gone", "share"]
    assert [cell[0] for cell in table[1]] == ["w", "3 · 7", "12", "3", "0.123"]
    assert [cell[0] for cell in table[2]] == ["v", "1 · 2", "4", DASH, DASH]


def test_names_of_users_are_only_names() -> None:
    study = with_terms(
        **{"<b>x</b>": {"found": {"rank": {"<i>w</i>": 1}}, "tells": {"rank": "<u>"}}}
    )
    shown = page(study)
    assert "<b>x</b>" in shown.text
    assert "<i>w</i>" in shown.text
    assert not {"b", "i", "u"} & {tag for tag, _ in shown.tags if tag in ("i", "u")}


def test_damaged_files_are_shown_as_far_as_they_go() -> None:
    for entry in (3, None, "x", {"candidate": "hard_sharing-pcgrad"}, {"candidate": "gone"}):
        page(make_study() | {"regularization": [entry]})
    page(make_study() | {"regularization": "nothing"})
    page(
        with_terms(mrn={"found": {"correlation": {"w": {"price": {"sold": 1}}}}}, l2=7, cluster={})
    )
    page(with_terms(cluster={"found": {"cluster": {"groups": 3}, "together": {"price": 1}}}))


def test_the_chosen_candidate_stands_first_and_open() -> None:
    study = with_terms(trace_norm=TRACE)
    chosen = study["chosen"]
    other = next(c["id"] for c in study["candidates"] if c["id"] != chosen)
    study["regularization"] = [
        {"candidate": name, "seeds": 5, "terms": {"trace_norm": TRACE}} for name in (other, chosen)
    ]
    shown = regularization(read(study))
    labels = {c["id"]: c["label"] for c in study["candidates"]}
    assert [one.label for one in shown] == [labels[chosen], labels[other]]


def test_many_tasks_and_many_weights() -> None:
    names = tuple(f"task {i}" for i in range(WITH_TEXT + 3))
    study = make_study(names=names)
    weights = {f"layer {i}": pairs(lambda i, j: 0.5, names) for i in range(MOST_MAPS + 1)}
    ranks = {f"layer {i}": i for i in range(MOST_ROWS + 1)}
    study["regularization"] = [
        {
            "candidate": "hard_sharing-pcgrad",
            "seeds": 2,
            "terms": {
                "mrn": {"found": {"correlation": weights}, "tells": {}},
                "trace_norm": {"found": {"rank": ranks}, "tells": {}},
            },
        }
    ]
    shown = page(study)
    (table,) = maps_of(shown)
    assert {text for row in table[1:] for text, _ in row[1:]} == {""}
    assert f"Each of the {MOST_ROWS + 1} weights" in shown.text
    assert "All pairs are about alike (+0.50 to +0.50)." in shown.text


def test_the_terminal_says_where_to_look() -> None:
    for study, said in ((with_terms(trace_norm=TRACE), True), (make_study(), False)):
        file = io.StringIO()
        print_verdict(study, file)
        assert ("What the terms on weights found" in " ".join(file.getvalue().split())) == said


def test_every_term_has_a_title() -> None:
    assert set(NAMES) == set(list_regularizers())


def test_pairs_that_are_all_alike_are_not_told_apart() -> None:
    def said(high: float) -> str:
        values = pairs(lambda i, j: 0.9 if i + j > 1 else high)
        return " ".join(sentences({"correlation": {"w": values}}, 3, TASKS))

    assert said(0.89).startswith("All pairs are about alike (+0.89 to +0.90). Networks that start")
    assert said(0.1).startswith("Most alike are price and heating (+0.90), least price and sold")
