"""`polytask list` and `polytask env`."""

import json
from typing import Any

import pytest

import polytask as package
from polytask import registry


def test_every_method_is_in_the_table(polytask: Any) -> None:
    ran = polytask("list", "methods")
    assert (ran.code, ran.err) == (0, "")
    for name in registry.names("method"):
        assert name in ran.out


def test_json_rows(polytask: Any) -> None:
    rows = json.loads(polytask("list", "methods", "*grad*", "--json").out)
    assert [row["name"] for row in rows] == registry.names("method", "*grad*")
    (row,) = [row for row in rows if row["name"] == "pcgrad"]
    assert row["group"] == "gradients"
    assert row["needs"] == "Gramian"
    assert "statistic" in row["arguments"]
    assert "generator" not in row["arguments"]
    assert row["summary"]


def test_a_part_of_a_name_is_enough(polytask: Any) -> None:
    assert json.loads(polytask("list", "methods", "unc", "--json").out)[0]["name"] == "uncertainty"


def test_data_sets_come_with_their_cards(polytask: Any) -> None:
    (row,) = json.loads(polytask("list", "datasets", "adult", "--json").out)
    assert row["card"]["licence"].startswith("CC BY")
    assert set(row["card"]["tasks"]) == {"income", "never_married", "college"}


def test_all_lists_at_once(polytask: Any) -> None:
    found = json.loads(polytask("list", "--json").out)
    assert set(found) == {"methods", "architectures", "encoders", "datasets"}
    assert "mlp" in {row["name"] for row in found["encoders"]}


@pytest.mark.parametrize("words", [[], ["methods"], ["encoders"]])
def test_tables_are_for_people(polytask: Any, words: list[str]) -> None:
    assert "summary" in polytask("list", *words).out


def test_env(polytask: Any) -> None:
    import torch

    facts = json.loads(polytask("env", "--json").out)
    assert facts["polytask"] == package.__version__
    assert facts["packages"]["torch"] == torch.__version__
    assert facts["threads"] == torch.get_num_threads()
    text = polytask("env").out
    assert torch.__version__ in text
    assert "device" in text
