"""What terms found in the runs of a study, as means over seeds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from polytask.study.regularization import commonest, mean, terms, together


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], 1.5),
        ([1.0, {"undefined": "why"}], 1.0),
        ([{"undefined": "why"}] * 2, {"undefined": "why"}),
        ([{"undefined": "why"}, {"undefined": "other"}], {"undefined": None}),
        (["a", "a"], "a"),
        (["a", "b"], None),
        ([[1, 2], [3, 4]], [2.0, 3.0]),
        ([[1, 2], [3]], None),
        ([{"w": {"x": 1}, "v": 2}, {"w": {"x": 3}}], {"w": {"x": 2.0}}),
        ([True, True], True),
        ([None, None], None),
        ([{"x": [1]}], {"x": [1.0]}),
    ],
)
def test_means_of_whatever_form(values: list[Any], expected: Any) -> None:
    assert mean(values) == expected


def test_clusters_have_no_mean() -> None:
    seeds = [{"a": 0, "b": 1, "c": 0}, {"a": 1, "b": 0, "c": 1}, {"a": 0, "b": 0, "c": 1}]
    assert commonest(seeds) == {"groups": [["a", "c"], ["b"]], "seeds": 2}
    found = together(seeds)
    assert found["a"] == {"a": 1.0, "b": pytest.approx(1 / 3), "c": pytest.approx(2 / 3)}
    assert all(found[x][y] == found[y][x] for x in "abc" for y in "abc")
    assert commonest(seeds[2:]) == {"groups": [["a", "b"], ["c"]], "seeds": 1}


def test_one_entry_a_candidate_with_terms() -> None:
    def run(rank: int, label: int) -> dict[str, Any]:
        told = {"penalty": 1.0, "rank": {"w": rank}}
        more = {"penalty": 0.1, "cluster": {"a": 0, "b": label}}
        return {"regularization": {"trace_norm": told, "cluster": more}}

    plan: Any = SimpleNamespace(candidates=[SimpleNamespace(id=name) for name in ("x", "y", "z")])
    runs = {"x": [run(1, 1), None, run(2, 0)], "y": [{"selected": {}}], "z": [None]}
    (entry,) = terms(plan, runs)
    assert (entry["candidate"], entry["seeds"]) == ("x", 2)
    assert entry["terms"]["trace_norm"]["found"] == {"penalty": 1.0, "rank": {"w": 1.5}}
    assert set(entry["terms"]["trace_norm"]["tells"]) == {"rank", "spectrum"}
    found = entry["terms"]["cluster"]["found"]
    assert found["cluster"] == {"groups": [["a"], ["b"]], "seeds": 1}
    assert found["together"]["a"] == {"a": 1.0, "b": 0.5}


def test_terms_that_are_not_installed_here_have_no_words() -> None:
    plan: Any = SimpleNamespace(candidates=[SimpleNamespace(id="x")])
    (entry,) = terms(plan, {"x": [{"regularization": {"gone": {"penalty": 2.0}}}]})
    assert entry["terms"] == {"gone": {"tells": {}, "found": {"penalty": 2.0}}}
