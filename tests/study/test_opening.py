"""What all studies do alike before their first run: words, workers, data, the folder."""

import time
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from polytask.errors import UserError
from polytask.study.opening import Opening, whole_numbers, without_none
from polytask.study.settings import Choice


def opening(**words: Any) -> Opening:
    given: dict[str, Any] = {
        "data": "nothing.csv", "targets": None, "drop": (), "split": "random", "test": None,
        "test_fraction": 0.15, "val_fraction": 0.15, "methods": (Choice("linear"),),
        "architectures": (Choice("hard_sharing"),), "encoder": None, "statistic": None, "seeds": 2,
        "epochs": 3, "batch_size": 8, "lr": [3e-3, 1e-3], "trainer": {}, "workers": None,
        "max_time": None, "out": None, "dry_run": False,
    }  # fmt: skip
    return Opening(**given | words)


def test_what_follows_from_the_words() -> None:
    found = opening(workers=3, out="runs/here")
    assert (found.grid, found.limit, found.folder) == ((1e-3, 3e-3), 3, Path("runs/here"))
    assert found.deadline == float("inf")
    assert opening().limit >= 1
    assert opening().folder is None
    assert 0 < opening(max_time=60).deadline - time.monotonic() <= 60


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"lr": 0, "workers": 0, "max_time": 0}, "lr: expected a number above 0"),
        ({"workers": 0, "max_time": 0}, "workers: expected a whole number above 0"),
        ({"max_time": "soon"}, "max_time: expected a number above 0"),
    ],
)
def test_wrong_words_are_told_in_their_order_before_the_data(words: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        opening(**words)


def test_whole_numbers_are_told_in_the_order_given() -> None:
    whole_numbers(seeds=1, epochs=2)
    with pytest.raises(UserError, match="epochs"):
        whole_numbers(seeds=1, epochs=2.5, batch_size=0)


def test_what_is_not_set_is_not_written_down() -> None:
    assert without_none({"a": 0, "b": None, "c": []}) == {"a": 0, "c": []}


def test_an_encoder_given_as_an_object_needs_no_processes() -> None:
    found = opening(encoder=nn.Linear(2, 2))
    assert found.here
    with found.processes() as pool:
        assert pool is None


def test_processes_import_what_was_chosen_and_wait_where_the_study_has_ended(tmp_path) -> None:
    (tmp_path / "results.json").write_text("{}")
    found = opening(methods=(Choice("pcgrad"),), preload=("json",), out=tmp_path, workers=2)
    with found.processes() as pool:
        assert pool is not None
        assert pool.workers == 2
        assert "json" in pool.preload
        assert any(module.endswith(".pcgrad") for module in pool.preload)
        assert any(module.endswith(".hard_sharing") for module in pool.preload)
        assert pool._server is None


def test_data_are_shown_and_their_words_written_down(patients) -> None:
    seen: list[Any] = []
    targets = ["progression", "high:binary"]
    found = opening(data=patients, targets=targets, drop=("bmi",))
    dataset = found.read(seen.append)
    assert dataset is seen[0]
    assert list(dataset.tasks) == ["progression", "high"]
    facts = {"progression": ("regression", "main"), "high": ("binary", "auxiliary")}
    tasks = {name: {"kind": kind, "role": role} for name, (kind, role) in facts.items()}
    assert found.columns(tasks) == {
        "targets": ["progression:regression", "high:binary:auxiliary"],
        "drop": ["bmi"],
    }
