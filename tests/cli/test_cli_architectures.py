"""`polytask list architectures`, what they cost on a data set, and architectures of one's own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from polytask import registry
from polytask.architectures import create_architecture, create_encoder
from polytask.data import InputSpec, load_dataset

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_architecture.py"

PICKY = '''
import polytask
from polytask.architectures import HardSharing
from polytask.errors import UserError

@polytask.register_architecture
class ZzPicky(HardSharing):
    """Fits nothing."""

    shares = "nothing at all"

    def __init__(self, encoder, tasks, **options):
        raise UserError("the encoder has no stages [of any kind].")

@polytask.register_architecture
class ZzBroken(HardSharing):
    """Has a mistake."""

    def compute(self, x, tasks):
        return self.nothing
'''


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    """The registry as it was, afterwards."""
    entries = registry.entries("architecture")
    before = dict(entries)
    yield
    entries.clear()
    entries.update(before)


def test_the_table_says_what_is_shared(polytask: Any) -> None:
    ran = polytask("list", "architectures")
    assert (ran.code, ran.err) == (0, "")
    head = next(line for line in ran.out.splitlines() if line.split()[:1] == ["name"])
    assert {"paper", "shares"} <= set(head.split())
    assert "summary" not in head
    for name in registry.names("architecture"):
        assert name in ran.out
    assert "Caruana 1997" in ran.out


@pytest.mark.parametrize(
    ("pattern", "more"), [("*", []), ("m*", ["--data", "digits"])], ids=["plain", "data"]
)
def test_it_fits_eighty_columns(
    polytask: Any, monkeypatch: pytest.MonkeyPatch, pattern: str, more: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = polytask("list", "architectures", pattern, *more)
    assert (ran.code, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= 80
    for name in registry.names("architecture", pattern):
        assert name in ran.out, "a name was folded"


def test_one_entry_comes_with_its_summary_and_options(polytask: Any) -> None:
    said = polytask("list", "architectures", "hard_sharing").out
    assert "Hard parameter sharing: one encoder for all tasks" in said
    assert "options: head_hidden=()" in said
    assert "options:" not in polytask("list", "architectures").out


def test_json_rows_say_the_same(polytask: Any) -> None:
    rows = {r["name"]: r for r in json.loads(polytask("list", "architectures", "--json").out)}
    assert list(rows) == registry.names("architecture")
    row = rows["hard_sharing"]
    assert (row["paper"], row["shares"], row["needs"]) == ("Caruana 1997", "the whole encoder", "")
    assert "head_hidden" in row["arguments"]
    assert "cost" not in row
    for row in rows.values():
        assert row["shares"]
        assert row["summary"]


def test_what_a_step_costs_on_a_data_set(polytask: Any) -> None:
    """Equal to counting by hand; a network a task costs as much as the networks one by one."""
    words = ("list", "architectures", "--data", "digits", "--encoder", "resnet:width=4")
    rows = {row["name"]: row["cost"] for row in json.loads(polytask(*words, "--json").out)}
    assert list(rows) == registry.names("architecture")
    hard, alone = rows["hard_sharing"], rows["single_task"]
    assert (hard["data"], hard["encoder"]) == ("digits", {"resnet": {"width": 4}})
    assert hard["parameters_ratio"] == hard["flops_ratio"] == 1.0
    tasks = load_dataset("digits").tasks
    encoder = create_encoder("resnet", InputSpec(image=(1, 8, 8)), width=4)
    model = create_architecture("hard_sharing", encoder, tasks)
    assert hard["parameters"] == sum(p.numel() for p in model.parameters())
    with FlopCounterMode(display=False) as counter:
        outputs = model(torch.rand(8, 1, 8, 8))
        torch.stack([output.sum() for output in outputs.values()]).sum().backward()
    assert hard["flops"] == counter.get_total_flops() / 8
    encoders = sum(p.numel() for p in encoder.parameters())
    assert alone["parameters"] == hard["parameters"] + 2 * encoders
    assert 2.9 < alone["flops_ratio"] <= 3.0
    for cost in rows.values():
        assert cost["error"] is None
        assert cost["parameters"] > 0
        assert cost["flops"] > 0
    shown = polytask("list", "architectures", "hard*", *words[2:]).out
    assert "digits, 3 tasks, encoder resnet (width=4)" in shown
    assert "of a training step, an item" in shown


def test_tasks_may_be_chosen(polytask: Any) -> None:
    words = ("list", "architectures", "single*", "--data", "digits", "--targets", "digit", "size")
    (row,) = json.loads(polytask(*words, "--json").out)
    assert 1.9 < row["cost"]["flops_ratio"] <= 2.0


def test_a_table_of_ones_own(polytask: Any, patients: Path) -> None:
    words = ("--data", patients, "--targets", "progression:regression", "high:binary")
    ran = polytask("list", "architectures", "hard*", *words, "--drop", "id", "--json")
    assert json.loads(ran.out)[0]["cost"]["encoder"] == "mlp"


def test_what_cannot_be_built_says_why_in_its_row(polytask: Any, tmp_path: Path) -> None:
    file = tmp_path / "picky.py"
    file.write_text(PICKY)
    words = ("list", "architectures", "zz*", "--data", "digits", "--plugins", file)
    ran = polytask(*words)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    (line,) = [line for line in lines if line.split()[:1] == ["zz_picky"]]
    assert "the encoder has no stages [of any kind]." in line
    (line,) = [line for line in lines if line.split()[:1] == ["zz_broken"]]
    assert "raised AttributeError" in line
    rows = {row["name"]: row for row in json.loads(polytask(*words, "--json").out)}
    assert rows["zz_picky"]["cost"]["parameters"] is None
    assert "no stages" in rows["zz_picky"]["cost"]["error"]
    assert rows["zz_picky"]["shares"] == "nothing at all"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["methods", "--data", "digits"], "polytask list architectures --data digits"),
        (["--data", "digits"], "polytask list architectures --data digits"),
        (["architectures", "--encoder", "mlp"], "--encoder is about a data set"),
        (["architectures", "--data", "digit"], "did you mean 'digits'"),
        (["architectures", "--data", "digits", "--encoder", "mlp"], "the encoder mlp reads"),
        (["architectures", "--data", "digits", "--targets", "digi"], "did you mean 'digit'"),
        (["architectures", "--plugins", "nothing.py"], "--plugins: expected a Python file"),
    ],
)
def test_a_wrong_word_is_answered(polytask: Any, words: list[str], message: str) -> None:
    ran = polytask("list", *words)
    assert ran.code == 2
    assert message in ran.err


def test_a_plugin_is_listed_with_the_others(polytask: Any) -> None:
    (row,) = json.loads(
        polytask("list", "architectures", "gated_corr", "--plugins", EXAMPLE, "--json").out
    )
    assert (row["name"], row["group"]) == ("gated_correction", "own")
    assert row["arguments"]["hidden"] == "32"


@pytest.mark.parametrize("verb", ["compare", "train"])
def test_yaml_imports_no_code(polytask: Any, here: Path, verb: str) -> None:
    (here / "own.py").write_text("raise SystemExit(9)")
    (here / "study.yaml").write_text("data: digits\nplugins: [own.py]\n")
    ran = polytask(verb, "study.yaml")
    assert ran.code == 2
    assert "YAML never imports code" in ran.err
    assert "--plugins FILE" in ran.err


def test_an_own_architecture_is_trained_saved_and_used(polytask: Any, here: Path) -> None:
    words = ("--data", "digits", "--encoder", "resnet:width=4", "--epochs", 1)
    ran = polytask(
        "train", *words, "--architecture", "gated_correction:hidden=4", "--plugins", EXAMPLE,
        "--out", "model",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert f"--out PREDICTIONS --plugins {EXAMPLE}" in ran.out
    registry.entries("architecture").pop("gated_correction")
    ask = ("predict", "--model", "model", "--data", "digits")
    without = polytask(*ask)
    assert without.code == 2
    assert "unknown architecture 'gated_correction'" in without.err
    assert "digit,parity,size" in polytask(*ask, "--plugins", EXAMPLE).out
