"""Every example runs, and shows what it says it shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_bare_loop_is_short_and_learns() -> None:
    lines = (EXAMPLES / "bare_loop.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 25
    assert sum("# +" in line for line in lines) == 2
    found = re.search(r"'area': ([\d.]+), 'large': ([\d.]+)", run("bare_loop.py"))
    assert found is not None
    assert float(found[1]) < 0.1
    assert float(found[2]) < 0.4


@pytest.mark.slow
def test_a_task_is_added_and_the_others_stay_the_same() -> None:
    said = run("add_task.py")
    assert "learning now: heads.size.layers.0.weight, heads.size.layers.0.bias\n" in said
    assert re.findall(r"(\w+): the same to the bit (\w+)", said) == [
        ("digit", "True"),
        ("even", "True"),
    ]
    scores = re.search(r"digit accuracy (.+), even accuracy (.+), size R2 (.+)", said)
    assert scores is not None
    assert [
        float(score) > least for score, least in zip(scores.groups(), (0.8, 0.9, 0.3), strict=True)
    ] == ([True] * 3)


@pytest.mark.slow
def test_an_architecture_of_ones_own_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("own_architecture.py")
    assert "sharing (with " in said
    assert (tmp_path / "runs" / "own_architecture" / "report.html").exists()


@pytest.mark.slow
def test_a_transformer_of_another_library_learns_two_tasks() -> None:
    found = re.findall(r"(\w+): 3 stages, digit ([\d.]+) even ([\d.]+)", run("backbones.py"))
    assert [name for name, _, _ in found] == ["hard_sharing", "mmoe"]
    assert all(float(digit) > 0.7 and float(even) > 0.8 for _, digit, even in found)


@pytest.mark.slow
def test_adam_stays_in_the_valley_and_pcgrad_leaves_it(tmp_path: Path) -> None:
    out = run("pcgrad_landscape.py", "--out", str(tmp_path / "landscape.png"))
    ends = dict(re.findall(r"(\w+) +after .*?= (-?[\d.]+)", out))
    assert float(ends["linear"]) > -110
    assert float(ends["pcgrad"]) < -200
    assert (tmp_path / "landscape.png").stat().st_size > 10_000


def test_every_example_is_named_here() -> None:
    assert {file.name for file in EXAMPLES.iterdir() if file.suffix in (".py", ".yaml")} == {
        "add_task.py",
        "assays.yaml",
        "backbones.py",
        "bare_loop.py",
        "compare_corpora.yaml",
        "own_architecture.py",
        "pcgrad_landscape.py",
        "study.yaml",
        "two_corpora.yaml",
    }
