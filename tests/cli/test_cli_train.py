"""`polytask train` and `polytask predict` on a real CSV with missing labels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polytask.tabular import MultiTaskEstimator


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
