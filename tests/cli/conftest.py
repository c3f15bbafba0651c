"""A real table on disk, and running a command line inside this process."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from polytask.cli import run


@dataclass
class Ran:
    """What a command line did."""

    code: int
    out: str
    err: str


Polytask = Callable[..., Ran]


@pytest.fixture
def polytask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Polytask:
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: object) -> Ran:
        capsys.readouterr()
        code = run([str(word) for word in words])
        text = capsys.readouterr()
        return Ran(code, text.out, text.err)

    return call


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder as the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's diabetes table as CSV, 30 % of the labels missing, with an id."""
    data = load_diabetes(as_frame=True, scaled=False)
    frame = data.data.assign(
        id=[f"p{i}" for i in range(442)],
        progression=data.target,
        high=np.where(data.target > 140, "yes", "no"),
        flat=1,
    )
    draw = np.random.default_rng(0)
    for name in ("progression", "high"):
        frame[name] = frame[name].mask(draw.random(len(frame)) < 0.3)
    file = tmp_path_factory.mktemp("tables") / "patients.csv"
    frame.to_csv(file, index=False)
    return file
