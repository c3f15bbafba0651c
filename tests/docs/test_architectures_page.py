"""The pages on architectures say what the classes say of themselves; what they show is run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import polytask
from polytask import registry
from polytask.study.settings import choose_architectures

ROOT = Path(__file__).parents[2]
OWN = (ROOT / "docs" / "own_architecture.md").read_text(encoding="utf-8")


def test_the_page_is_up_to_date_and_names_every_architecture(program) -> None:
    made = program("make_architectures")
    text = made.PAGE.read_text(encoding="utf-8")
    assert text == made.page(), "run: python docs/make_architectures.py"
    for name in polytask.list_architectures():
        assert f"### {name}\n" in text
        assert f"| [`{name}`](#{name}) | " in text


def test_a_section_holds_docstring_options_and_defaults(program) -> None:
    made = program("make_architectures")
    section = made._section(registry.find("architecture", "single_task"))
    assert section.startswith(
        "### single_task\n\n`polytask.SingleTask(encoder, tasks, fresh=True, regularize=())`"
    )
    assert "- `fresh`: False starts every copy from the weights of `encoder`" in section
    assert "- `example`" not in section
    assert "Raises:\n\n- `UserError`: as `HardSharing`; terms that do not exist" in section


def test_formulas_keep_their_asterisks_and_prose_is_not_slanted(program) -> None:
    made = program("make_architectures")
    text = "a *b* **bold** 2 * 3\n\n    w * x*y"
    assert made._escaped(text) == "a \\*b\\* **bold** 2 * 3\n\n    w * x*y"


def test_the_class_that_is_shown_is_the_one_that_is_tested() -> None:
    example = (ROOT / "examples" / "own_architecture.py").read_text(encoding="utf-8")
    shown = re.findall(r"```python\n(.*?)```", OWN, re.DOTALL)[0]
    assert shown.startswith("@polytask.register_architecture\n")
    assert shown in example


@pytest.mark.parametrize("word", ["no_features", "silent_at_start", "rate_factors", "supervise"])
def test_the_contract_names_what_there_is(word: str) -> None:
    from polytask.architectures import Architecture

    assert word in OWN
    assert hasattr(Architecture, word)


def test_what_the_readme_shows_runs(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").split("## Ways to share")[1]
    section = readme.split("\n## ")[0]
    (shown,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    program = f"{shown}\nimport torch\nprint(*map(len, model(torch.rand(5, 8)).values()))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "5 5\n"), done.stderr
    (study,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    settings = yaml.safe_load(study)
    chosen = choose_architectures(settings["architectures"])
    assert [choice.name for choice in chosen] == ["hard_sharing", "mmoe", "cross_stitch"]
    named = set(re.findall(r"`(\w+)`", section.split("`polytask list")[0]))
    assert named <= set(polytask.list_architectures())
