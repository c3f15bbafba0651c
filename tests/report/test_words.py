"""Sentences: ties, the best on test, equal cost, boosting, what is missing."""

from __future__ import annotations

from typing import Any

from polytask.report.results import read
from polytask.report.words import facts, incomplete, redrawn, remarks, sentence, tied, verdict_of

Study = dict[str, Any]


def set_delta(study: Study, label: str, mean: float, low: float, high: float) -> None:
    for candidate in study["candidates"]:
        if candidate["label"] == label:
            candidate["delta_m"].update(mean=mean, low=low, high=high)


def spread_out(study: Study) -> None:
    """Means 0, 10, 20, 30, 40 with intervals of ±1: nothing ties; the last is chosen."""
    for index, candidate in enumerate(study["candidates"]):
        centre = 10.0 * index
        candidate["delta_m"].update(mean=centre, low=centre - 1, high=centre + 1)
    study["chosen"] = study["candidates"][-1]["id"]


def test_a_tie_is_said_in_words(study: Study) -> None:
    spread_out(study)
    assert tied(read(study)) == []
    set_delta(study, "mgda", 39.5, 38.0, 41.0)
    assert [candidate.label for candidate in tied(read(study))] == ["mgda"]
    assert "ties with mgda" in remarks(read(study))[0]


def test_one_wide_interval_is_no_tie(study: Study) -> None:
    spread_out(study)
    set_delta(study, "mgda", 30.0, -50.0, 90.0)  # holds the other's mean, but not the reverse
    assert tied(read(study)) == []


def test_the_best_on_test_is_named_when_it_was_not_chosen(study: Study) -> None:
    spread_out(study)
    assert not any("highest mean" in remark for remark in remarks(read(study)))
    set_delta(study, "linear", 77.0, 76.0, 78.0)
    assert any(
        "linear has the highest mean Δm on test (+77.0 %)" in said for said in remarks(read(study))
    )


def test_a_tied_best_on_test_is_not_called_the_best(study: Study) -> None:
    spread_out(study)
    set_delta(study, "mgda", 40.5, 39.5, 41.5)
    assert not any("highest mean" in remark for remark in remarks(read(study)))


def test_a_gain_that_equal_cost_takes_away_is_said(study: Study) -> None:
    spread_out(study)
    cut = study["candidates"][-1]["equal_time"]["delta_m"]
    cut.update(mean=1.0, low=0.5, high=1.5)
    assert not any("equal measured cost" in said for said in remarks(read(study)))
    cut.update(mean=0.2, low=-0.5, high=0.9)
    said = " ".join(remarks(read(study)))
    assert "At equal measured cost the gain is not established" in said


def test_a_difference_beyond_noise_from_equal_weights_is_no_tie(study: Study) -> None:
    spread_out(study)
    set_delta(study, "linear", 39.5, 38.0, 41.0)
    chosen = study["candidates"][-1]
    chosen["versus_linear"]["p_holm"] = 0.3
    assert [candidate.label for candidate in tied(read(study))] == ["linear"]
    chosen["versus_linear"]["p_holm"] = 0.01
    assert tied(read(study)) == []


def test_the_first_sentence_stands_apart(study: Study) -> None:
    study["verdict"]["sentence"] = "Share (Δm +1.5 % [+0.2, +2.8]). A step costs twice. So it is."
    first, more = sentence(read(study))
    assert first == "Share (Δm +1.5 % [+0.2, +2.8])."
    assert more == "A step costs twice. So it is."


def test_incomplete_studies_say_so(study: Study) -> None:
    assert incomplete(read(study)) == ""
    study["missing"] = ["a", "b"]
    assert "(2 runs missing)" in incomplete(read(study))


def test_verdict_words(study: Study) -> None:
    study["verdict"]["tasks"]["sold"] = {"word": "leans hurts", "sentence": "Two seeds say so."}
    assert verdict_of(read(study), "sold") == ("leans hurts", "▽", "bad", "Two seeds say so.")
    study["verdict"] = {}
    assert verdict_of(read(study), "sold")[0] == "no verdict yet"
    assert sentence(read(study))[0].startswith("No verdict yet")


def test_facts_and_splits(study: Study) -> None:
    assert {"3 tasks", "5 candidates", "5 seeds", "3 min 35 s of computing"} <= set(
        facts(read(study))
    )
    assert redrawn(read(study)) is True
    del study["interval"]
    assert redrawn(read(study)) is None
    study["config"]["test"] = "test.csv"
    assert redrawn(read(study)) is False
