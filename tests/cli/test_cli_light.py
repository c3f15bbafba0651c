"""What must answer at once: every help, lists, versions; without torch, pandas or numpy."""

import json
import subprocess
import sys

import pytest

from polytask.cli import VERBS

HEAVY = ("torch", "numpy", "pandas", "sklearn", "matplotlib", "torchmetrics", "accelerate")
PROBE = """
import sys
from polytask.cli import run
code = run(sys.argv[1:])
heavy = [name for name in {heavy!r} if name in sys.modules]
assert not heavy, heavy
sys.exit(code)
"""


def light(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in a fresh interpreter that fails when it imports something heavy."""
    return subprocess.run(
        [sys.executable, "-c", PROBE.format(heavy=HEAVY), *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={"COLUMNS": "100", "PYTHONWARNINGS": "error"},
    )


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_needs_nothing_heavy(verb: str) -> None:
    done = light(*filter(None, [verb]), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: polytask")
    if verb:
        assert "Example:\n  polytask " + verb in done.stdout
        assert VERBS[verb][1].split(",")[0] in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["list"],
        ["list", "methods", "--json"],
        ["list", "architectures"],
        ["list", "architectures", "hard", "--json"],
        ["list", "datasets", "a*"],
    ],
)
def test_lists_need_nothing_heavy(words: list[str]) -> None:
    done = light(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "--methods", "pcgrd"],
        ["compare", "--data", "adlut"],
        ["train", "--data", "adult", "--method", "linear:wieghts=1"],
        ["compare", "--seeds", "0"],
    ],
)
def test_a_wrong_word_is_found_before_anything_heavy(words: list[str]) -> None:
    done = light(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


def test_python_m_polytask_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "polytask", "list", "methods", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert "pcgrad" in {row["name"] for row in json.loads(done.stdout)}


@pytest.mark.parametrize("words", [["list", "--json"], ["list"], ["--help"], ["list", "--help"]])
def test_a_reader_that_leaves_is_no_error(words: list[str]) -> None:
    command = [sys.executable, "-m", "polytask", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), said) == (0, "")
