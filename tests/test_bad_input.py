"""Malformed input is refused in one or two sentences: expected, found, what to do."""

import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from bad_input import CASES, Case, attempt, sentences
from bad_input.case import contents, patients
from bad_input.digits import TASKS, Own, batches
from bad_input.nobody import as_nobody
from bad_input.noted import ODD, Odd, Place

from polytask.data import read_table, table_dataset
from polytask.training import Callback, Trainer

LONGEST = 400
TRAIN = ["train", "--data", "t.csv", "--targets", "progression", "high"]


@pytest.mark.parametrize("case", CASES, ids=[f"{case.through}: {case.name}" for case in CASES])
def test_malformed_input(case: Case, tmp_path: Path) -> None:
    outcome = attempt(case, tmp_path)
    message = outcome.message.replace(str(tmp_path), "~")
    assert outcome.code == 2, outcome.text
    if callable(case.call):
        assert isinstance(outcome.error, case.error)
    # What was expected, what was found, and what to do now.
    for fragment in case.fragments:
        assert fragment in f"{message}\n{outcome.advice}"
    assert sentences(message) <= 2, message
    assert len(message) <= LONGEST, message
    assert "Traceback" not in outcome.text
    # Nothing half-written, and nothing trained.
    kept = {name: seen for name, seen in outcome.after.items() if name not in case.leaves}
    assert kept == outcome.before
    assert outcome.steps <= case.steps


def test_every_case_has_its_own_name() -> None:
    names = [(case.through, case.name) for case in CASES]
    assert len(set(names)) == len(names) >= 60


@pytest.mark.parametrize("odd", ODD, ids=[odd.name for odd in ODD])
def test_odd_input_is_noted(odd: Odd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    odd.make(Place(tmp_path))
    dataset = table_dataset(read_table(odd.file), list(odd.targets))
    assert odd.holds(dataset)
    assert [note for note in dataset.notes if odd.note in note], dataset.notes


def test_an_ordinary_table_gets_no_warning() -> None:
    notes = table_dataset(patients(), ["progression", "high"]).notes
    assert notes == [
        "target progression: regression (65 distinct whole numbers)",
        "target high: binary (two labels)",
        "inputs: 5 numeric, 2 categorical columns",
    ]


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    patients().to_csv(tmp_path / "t.csv", index=False)
    tmp_path.chmod(0o755)
    as_nobody(["train", "--data", "t.csv", "--targets", "nothing"], tmp_path)
    (tmp_path / "t.csv").chmod(0)
    said = as_nobody(TRAIN, tmp_path)
    assert said.code == 2
    assert said.message == (
        "t.csv cannot be read: Permission denied. Expected a file that this user may read; check "
        "its permissions and that nothing removes it."
    )


@pytest.mark.parametrize("verb", ["train", "compare"])
def test_a_folder_that_may_not_be_written_to(verb: str, tmp_path: Path) -> None:
    patients().to_csv(tmp_path / "t.csv", index=False)
    tmp_path.chmod(0o555)
    before = contents(tmp_path)
    said = as_nobody([verb, *TRAIN[1:], "--out", "out"], tmp_path)
    assert said.code == 2
    assert said.message == (
        "--out: cannot create the folder out: nothing can be written below . (Permission denied). "
        "Choose a place that can be written to."
    )
    assert contents(tmp_path) == before


class Broken(Callback):
    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict) -> None:
        raise RuntimeError("the disk of the tracker is full")


def test_an_error_of_a_callback_comes_through_as_it_is() -> None:
    trainer = Trainer(Own(), TASKS, epochs=2, callbacks=[Broken()], progress=False)
    with pytest.raises(RuntimeError, match="the disk of the tracker is full") as caught:
        trainer.fit(batches(), batches())
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "on_epoch_end"


def test_all_messages_can_be_printed() -> None:
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "tests.bad_input", "cut off", "a class for a network"]
    printed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    lines = printed.splitlines()
    assert lines[0] == "| case | door | message |"
    assert "| a class for a network | Trainer | the model must be a torch module, found" in printed
    assert len(lines) == 2 + sum(any(word in case.name for word in command[3:]) for case in CASES)
