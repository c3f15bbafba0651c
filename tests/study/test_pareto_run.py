"""Whole fronts on real data: two tasks that pull apart, and what is refused before training."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from polytask.data import Dataset
from polytask.errors import UserError
from polytask.study import pareto
from polytask.tasks import Task

SMALL = {"encoder": {"mlp": {"hidden": [16]}}, "epochs": 3, "lr": 1e-2, "workers": 2,
         "progress": False}  # fmt: skip


def contest(rows: int = 900) -> Dataset:
    """Two questions about digits that have little to do with each other."""
    digits = load_digits()
    return Dataset(
        name="contest",
        inputs={"numeric": digits.data[:rows].astype(np.float32) / 16},
        targets={
            "odd": (digits.target[:rows] % 2).astype(np.int64),
            "large": (digits.target[:rows] > 4).astype(np.int64),
        },
        tasks={"odd": Task("odd", "binary"), "large": Task("large", "binary")},
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", ["epo", "pareto_mtl", "stch", "linear"])
def test_every_method_goes_from_data_to_a_front(patients, tmp_path, method):
    study = pareto(
        patients, method=method, points=3, seeds=1, batch_size=64, **SMALL,
        targets=["progression:regression", "high:binary"], out=tmp_path / "out",
    )  # fmt: skip
    results = study.results
    assert results == json.loads((study.folder / "results.json").read_text())
    assert (results["complete"], results["missing"]) == (True, [])
    assert not list(study.folder.glob("runs/*/error.json"))
    assert any(point["front"] for point in results["points"])
    assert "hypervolume" in study.report.read_text().lower()
    assert study.verdict == results["verdict"]["sentence"]
    assert results["config"]["select"] == "preference"
    what = "the sum of" if method == "linear" else "the largest of"
    assert f"by its own preference: where {what} the tasks" in study.report.read_text()
    _chosen_by_preference(study, results["points"], method)


def _chosen_by_preference(study, points, method):
    """The epoch of every point has its least weighted validation loss, by the files of its run."""
    together = sum if method == "linear" else max
    for point in points:
        for folder in study.folder.glob(f"runs/{point['id']}-lr*-s0"):
            epochs = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
            values = [
                together(p * epoch[f"val/{t}/loss"] for t, p in point["preference"].items())
                for epoch in epochs
            ]
            selected = json.loads((folder / "result.json").read_text())["selected"]["epoch"]
            assert values[selected - 1] == min(values)


@pytest.mark.slow
def test_preferences_move_the_scores_where_tasks_compete(tmp_path):
    """A bottleneck of one unit serves one of two targets, and the preference says which."""
    study = pareto(
        contest(), method="linear", points=2, seeds=2, epochs=20, lr=2e-2, batch_size=64,
        encoder={"mlp": {"hidden": [32, 1]}}, workers=2, progress=False, out=tmp_path / "out",
    )  # fmt: skip
    steering = study.results["steering"]
    assert all(entry["mean"] > 3 for entry in steering.values()), steering
    assert study.results["hypervolume"]["mean"] > 0


def test_wrong_words_cost_no_data():
    with pytest.raises(UserError, match="did you mean 'epo'"):
        pareto("nothing.csv", method="eppo")
    with pytest.raises(UserError, match="points"):
        pareto("nothing.csv", points=0)
    with pytest.raises(UserError, match="a score for every task"):
        pareto("nothing.csv", reference=[0.5])
    with pytest.raises(UserError, match="expected one, found 2"):
        pareto("nothing.csv", architecture=["mmoe", "ple"])
