"""`polytask train` and `polytask predict` on a real CSV with missing labels."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polytask.tabular import MultiTaskEstimator
from polytask.tasks import Task


@pytest.fixture(scope="module")
def model(patients: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained from the command line."""
    from polytask.cli import run

    folder = tmp_path_factory.mktemp("models") / "patients"
    words = ["train", "--data", patients, "--targets", "progression:regression", "high"]
    words += ["--drop", "id", "flat", "--method", "pcgrad:scale=sum", "--epochs", "12"]
    words += ["--encoder", "mlp:hidden=[32]", "--no-progress", "--out", folder]
    assert run([str(word) for word in words]) == 0
    return folder


def test_kinds_come_before_and_scores_after(polytask: Any, patients: Path, here: Path) -> None:
    ran = polytask(
        "train", "--data", patients, "--targets", "progression", "high", "--epochs", 1, "--out", "m"
    )
    assert (ran.code, ran.err) == (0, "")
    told = [ran.out.index(text) for text in ("442 rows", "regression", "note: ", "best constant")]
    assert told == sorted(told)
    assert "id: left out" in ran.out
    assert "polytask predict --model m" in ran.out


def test_the_run_folder_is_the_model(model: Path) -> None:
    assert {"config.yaml", "metrics.jsonl", "environment.json"} <= {p.name for p in model.iterdir()}
    assert len((model / "metrics.jsonl").read_text().splitlines()) == 12
    assert json.loads((model / "polytask.json").read_text())["settings"]["method"] == {
        "pcgrad": {"scale": "sum"}
    }


def test_predictions_are_those_of_the_estimator(
    polytask: Any, model: Path, patients: Path, here: Path
) -> None:
    ran = polytask(
        "predict", "--model", model, "--data", patients, "--out", "p.parquet", "--keep", "id",
        "--probabilities",
    )  # fmt: skip
    assert (ran.code, ran.err) == (0, "")
    written = pd.read_parquet("p.parquet")
    assert list(written) == ["id", "progression", "high", "high=no", "high=yes"]
    table = pd.read_csv(patients)
    assert list(written.id) == list(table.id)
    estimator = MultiTaskEstimator.load(model)
    assert (estimator.epochs, estimator.method) == (12, {"pcgrad": {"scale": "sum"}})
    assert estimator.encoder == {"mlp": {"hidden": [32]}}
    expected = estimator.predict(table)
    assert (written.progression == expected.progression).all()
    assert (written.high == expected.high).all()
    assert np.allclose(written["high=no"] + written["high=yes"], 1, atol=1e-6)


def test_predictions_to_the_screen_and_as_json(
    polytask: Any, model: Path, patients: Path, here: Path
) -> None:
    pd.read_csv(patients)[:1].drop(columns=["progression", "high"]).to_csv("one.csv", index=False)
    lines = polytask("predict", "--model", model, "--data", "one.csv").out.splitlines()
    assert lines[0] == "progression,high"
    ran = polytask("predict", "--model", model, "--data", "one.csv", "--json")
    (row,) = json.loads(ran.out)["predictions"]
    assert f"{row['progression']:.3f},{row['high']}" == (
        f"{float(lines[1].split(',')[0]):.3f},{lines[1].split(',')[1]}"
    )


@pytest.mark.parametrize(
    ("change", "words", "says"),
    [
        (lambda t: t.drop(columns="bmi"), [], "the table lacks 'bmi'"),
        (lambda t: t.assign(bmi="heavy"), [], "'bmi'"),
        (lambda t: t[:0], [], "a header but no rows"),
        (lambda t: t, ["--keep", "idd"], "did you mean 'id'?"),
        (lambda t: t, ["--keep", "high"], "'high' is a predicted column too"),
        (lambda t: t, ["--targets", "high"], "unknown flag --targets"),
    ],
)
def test_new_data_that_does_not_fit(
    polytask: Any, model: Path, patients: Path, here: Path, change: Any, words: Any, says: str
) -> None:
    change(pd.read_csv(patients)).to_csv("new.csv", index=False)
    ran = polytask("predict", "--model", model, "--data", "new.csv", *words)
    assert ran.code == 2
    assert says in ran.err
    assert ran.out == ""


def test_one_json_document_and_nothing_else(polytask: Any, patients: Path, here: Path) -> None:
    words = ["train", "--data", patients, "--targets", "high", "--epochs", 2, "--out", "m"]
    ran = polytask(*words, "--json", "--progress")
    told = json.loads(ran.out)
    assert told["rows"] == {"train": 310, "val": 66, "test": 66}
    assert told["tasks"]["high"]["kind"] == "binary"
    assert 0 < told["test"]["high"]["auroc"] < 1
    assert told["test"]["high"]["best constant"] == 0.5
    assert "epoch 2/2" in ran.err
    again = json.loads(polytask(*words, "--json").out)
    assert again["test"] == told["test"]


def test_the_scores_say_on_how_many_labels_they_rest(
    polytask: Any, patients: Path, here: Path
) -> None:
    words = ["train", "--data", patients, "--targets", "high", "--epochs", 1, "--out", "m"]
    told = json.loads(polytask(*words, "--json").out)
    known = told["labelled"]["high"]
    assert sum(known.values()) == pd.read_csv(patients).high.notna().sum()
    assert 0 < known["test"] < told["rows"]["test"] == 66
    lines = polytask(*words, "--no-resume").out.split("test, 66 rows")[1].splitlines()
    assert lines[2].split()[-2:] == ["labelled", "rows"]
    # Once for a task, beside its first metric.
    assert [line.split()[-1] for line in lines if line.split()[:1] == ["high"]] == [
        str(known["test"])
    ]
    pd.read_csv(patients).dropna().to_csv("complete.csv", index=False)
    words[2] = "complete.csv"
    ran = polytask(*words)
    assert "best constant" in ran.out
    assert "labelled rows" not in ran.out


def test_rows_of_maps_count_once() -> None:
    from polytask.cli.train import _labelled

    depth = np.full((4, 2, 3), np.nan)
    depth[1, 0, 0] = depth[3] = 1.0
    fitted = SimpleNamespace(tasks={"depth": Task("depth", "regression")})
    dataset = SimpleNamespace(targets={"depth": depth})
    splits = {"train": np.array([0, 1]), "val": np.array([], np.int64), "test": np.array([3, 1])}
    found = _labelled(fitted, dataset, splits)  # type: ignore[arg-type]
    assert found == {"depth": {"train": 1, "val": 0, "test": 2}}


def test_a_few_labels_are_not_none_and_a_few_gaps_are_seen(
    polytask: Any, patients: Path, here: Path
) -> None:
    table = pd.read_csv(patients)
    many = pd.concat([table] * 3, ignore_index=True)
    many["bp_high"] = (many.bp > 100).astype(float).where(np.arange(len(many)) < 6)
    many["warm"] = (many.bmi > 26).astype(float).where(np.arange(len(many)) > 5)
    many.to_csv("many.csv", index=False)
    ran = polytask(
        "train", "--data", "many.csv", "--targets", "warm:binary", "bp_high:regression",
        "--drop", "progression", "high", "id", "--epochs", 1, "--out", "m",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert re.search(r"warm +binary +>99 %", ran.out)
    assert re.search(r"bp_high +regression +<1 %", ran.out)


def test_many_gaps_do_not_flood_the_screen(polytask: Any, patients: Path, here: Path) -> None:
    table = pd.read_csv(patients)
    names = [f"t{i}" for i in range(6)]
    for name in names:  # labels among the first rows alone, so none in val and in test
        table[name] = table.bmi.where(table.index < 200)
    table.assign(visit=table.index).to_csv("early.csv", index=False)
    words = ["train", "--data", "early.csv", "--targets", "progression:regression"]
    words += [f"{name}:regression" for name in names]
    words += ["--drop", "id", "high", "--split", "time:visit", "--epochs", 1, "--out", "m"]
    ran = polytask(*words)
    assert ran.code == 0, ran.err
    notes = [line for line in ran.out.splitlines() if ": no label among the" in line]
    assert notes[0] == "note: target t0: no label among the 66 val rows"
    assert len(notes) == 10
    assert "note: 2 more like these; --json has all" in ran.out.splitlines()
    told = json.loads(polytask(*words, "--json", "--no-resume").out)
    assert sum(": no label among the" in note for note in told["notes"]) == 12
    assert told["labelled"]["t0"] == {"train": 200, "val": 0, "test": 0}


def test_a_yaml_file_with_a_flag_over_it(polytask: Any, patients: Path, here: Path) -> None:
    Path("m.yaml").write_text(
        f"data: {patients}\ntargets: {{high: binary}}\nmethod: {{uncertainty: {{lr: 1e-2}}}}\n"
        "epochs: 50\nsplit: stratified\nout: m\n"
    )
    told = json.loads(polytask("train", "m.yaml", "--epochs", 1, "--json").out)
    assert (told["epochs"], told["out"]) == (1, "m")


def test_your_own_test_file(polytask: Any, patients: Path, here: Path) -> None:
    table = pd.read_csv(patients)
    table[:300].to_csv("a.csv", index=False)
    table[300:].to_csv("b.csv", index=False)
    words = ["--data", "a.csv", "--test", "b.csv", "--targets", "high", "--epochs", 1]
    told = json.loads(polytask("train", *words, "--out", "m", "--json").out)
    assert told["rows"]["test"] == 142


def test_a_registered_set_of_images(polytask: Any, here: Path) -> None:
    ran = polytask(
        "train", "--data", "digits", "--targets", "parity", "--epochs", 1, "--out", "m", "--json"
    )
    assert json.loads(ran.out)["tasks"].keys() == {"parity"}
    lines = polytask("predict", "--model", "m", "--data", "digits").out.split()
    assert lines[0] == "parity"
    assert len(lines) == 1798
    ran = polytask("train", "--data", "digits", "--targets", "parity:regression", "--epochs", 1)
    assert (ran.code, "parity of digits is binary" in ran.err) == (2, True)
    ran = polytask("train", "--data", "digits", "--drop", "parity")
    assert (ran.code, "--drop is for a table of your own" in ran.err) == (2, True)


def test_a_diverging_run_names_the_task(polytask: Any, patients: Path, here: Path) -> None:
    ran = polytask(
        "train", "--data", patients, "--targets", "progression", "--optimizer", "sgd", "--lr", 1e30,
        "--out", "m",
    )  # fmt: skip
    assert ran.code == 2
    assert "progression" in ran.err
    assert "try a smaller --lr" in ran.err
    assert "Traceback" not in ran.err
