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
    assert set(found) == {
        "methods", "architectures", "encoders", "datasets", "auxiliary", "estimators", "schedules",
        "regularizers",
    }  # fmt: skip
    assert "mlp" in {row["name"] for row in found["encoders"]}


def test_schedules_come_with_their_arguments(polytask: Any) -> None:
    rows = json.loads(polytask("list", "schedules", "--json").out)
    assert [row["name"] for row in rows] == registry.names("schedule")
    (row,) = [row for row in rows if row["name"] == "temperature"]
    assert "alpha" in row["arguments"]
    assert row["summary"]
    assert "options: alpha=" in polytask("list", "schedules", "temperature").out


def test_regularizers_come_with_their_options_and_where_they_are_given(polytask: Any) -> None:
    rows = json.loads(polytask("list", "regularizers", "--json").out)
    assert [row["name"] for row in rows] == registry.names("regularizer")
    (row,) = [row for row in rows if row["name"] == "trace_norm"]
    assert row["arguments"] == {"strength": "0.01", "prox": "False"}
    assert (row["paper"], row["prox"]) == ("Yang & Hospedales 2017", True)
    assert set(row["tells"]) == {"rank", "spectrum"}
    assert not next(row for row in rows if row["name"] == "mrn")["prox"]
    shown = polytask("list", "regularizers").out
    for name in registry.names("regularizer"):
        assert name in shown
    assert "single_task" in shown
    assert "regularize: [l2" in " ".join(shown.split())
    assert "hard_sharing" not in shown
    assert "options: strength=0.01, covariance=" in polytask("list", "regularizers", "mrn").out


def test_regularizers_are_found_by_a_part_of_their_name(polytask: Any) -> None:
    rows = json.loads(polytask("list", "regularizers", "t*", "--json").out)
    assert [row["name"] for row in rows] == ["tensor_train", "trace_norm", "tucker"]
    ran = polytask("list", "regularizers", "trce_norm")
    assert ran.code == 2
    assert "did you mean 'trace_norm'" in ran.err
    assert "did you mean 'regularizers'" in polytask("list", "regularisers").err


@pytest.mark.parametrize("words", [[], ["methods"], ["encoders"], ["schedules"], ["regularizers"]])
def test_tables_are_for_people(polytask: Any, words: list[str]) -> None:
    assert "summary" in polytask("list", *words).out


def test_env(polytask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    facts = json.loads(polytask("env", "--json").out)
    assert facts["polytask"] == package.__version__
    assert facts["packages"]["torch"] == torch.__version__
    assert facts["threads"] == torch.get_num_threads()
    assert facts["verbosity"] == "warning"
    assert json.loads(polytask("env", "--json", "--verbose").out)["verbosity"] == "info"
    assert facts["variables"]["OMP_NUM_THREADS"] == "1"
    # What the command itself needs is there, or this would not run.
    assert facts["extras"]["app"] == []
    assert {"numpy", "cyclopts", "safetensors", "scikit-learn"} <= set(facts["packages"])
    assert "hunter2" not in str(facts)


def test_env_is_lines_to_be_pasted(polytask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from polytask.cli import env

    monkeypatch.setenv("COLUMNS", "20")  # a narrow screen must not fold a value
    monkeypatch.setattr(env, "_installed", lambda name: None if name == "pyarrow" else "1.2.3")
    facts = json.loads(polytask("env", "--json").out)
    assert (facts["packages"]["pyarrow"], facts["extras"]["app"]) == (None, ["pyarrow"])
    lines = polytask("env").out.splitlines()
    plain = {word: value for word, value in facts.items() if not isinstance(value, dict)}
    for word, value in {**plain, **facts["packages"]}.items():
        (line,) = [line for line in lines if line.startswith(word.replace("_", " ") + "  ")]
        shown = "not installed" if word == "pyarrow" else "-" if value is None else str(value)
        assert line.endswith("  " + shown)
    assert any(line.split() == ["[app]", "lacks", "pyarrow"] for line in lines)
    assert all(line.isprintable() for line in lines)


def test_requirements_are_read_by_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from polytask.cli import env

    lines = [
        "torch<2.14,>=2.13",
        'pandas>=2.2; extra == "app"',
        "torchjd[full]>=0.18; python_version < '3.12' and extra == 'bench'",
    ]
    monkeypatch.setattr(env, "requires", lambda name: lines)
    assert env._requirements() == {"": ["torch"], "app": ["pandas"], "bench": ["torchjd"]}
