"""Fifty kills of a study and a hundred of a training, at random moments: nothing is lost."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(program: str, folder: Path, kills: int) -> str:
    """The program's log; its failure is this test's."""
    command = [sys.executable, str(HERE / program), str(folder), "--kills", str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.slow
def test_a_study_survives_fifty_kills(tmp_path: Path) -> None:
    log = run("study_kills.py", tmp_path, 50)
    assert len(re.findall(r"^kill ", log, flags=re.MULTILINE)) >= 50
    assert re.search(r"\d+ kills, [1-9]\d* studies, nothing lost", log)


@pytest.mark.slow
def test_a_training_survives_a_hundred_kills(tmp_path: Path) -> None:
    log = run("training_kills.py", tmp_path, 100)
    assert len(re.findall(r"^kill ", log, flags=re.MULTILINE)) >= 100
    assert re.search(r"\d+ kills, [1-9]\d* trainings, nothing lost", log)
