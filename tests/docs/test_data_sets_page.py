"""The page on many data sets: its lists are whole, its Python is true, its commands run."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from sklearn.datasets import load_wine

from polytask import registry
from polytask.cli import run
from polytask.study import carry_out
from polytask.study.fronts import carry_out as fronts
from polytask.training._rules import TOGETHER
from polytask.training.distillation import FORMS
from polytask.training.selection import WORDS

PAGE = Path(__file__).parents[2] / "docs" / "data_sets.md"
TEXT = PAGE.read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, str]:
    """The rows of the table under a heading that name something, by that name."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `([\w:]+)` \| (.*) \|$", section, re.MULTILINE))


def test_every_schedule_is_on_the_page_with_its_source_and_what_it_needs() -> None:
    found = rows("Schedules")
    assert sorted(found) == registry.names("schedule")
    for name, row in found.items():
        schedule = registry.find("schedule", name).load()
        what, _, source = row.rpartition("|")
        assert source.strip() == schedule.paper, name
        needs = re.findall(r"^\*(\w+)\*", what)
        assert needs == [{"gramian": "gradients"}.get(need, need) for need in schedule.needs], name


def test_every_term_rule_and_form_is_on_the_page() -> None:
    terms = rows("Terms that tie networks")
    assert sorted(terms) == registry.names("regularizer")
    for name, row in terms.items():
        assert registry.find("regularizer", name).load().paper in row, name
    assert tuple(rows("Which epoch is kept")) == WORDS
    section = TEXT.split("\n## Which epoch is kept\n")[1].split("\n## ")[0]
    assert re.findall(r'{"(\w+)": {...}}', section) == list(TOGETHER)
    assert tuple(rows("Teachers")) == FORMS


@pytest.fixture(scope="module")
def names() -> dict[str, object]:
    """All blocks of the page, run one after the other as a reader would."""
    found: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(code, found)
    return found


def test_its_python_says_what_the_comments_say(names) -> None:
    assert len(names["mixture"]) == 30
    assert sum(names["mixture"].drawn.values()) == 30
    assert set(names["trainer"].history.epochs[0]) >= {"examples/digit", "val/even/auroc"}
    assert len(names["inputs"]["x"]) == 70
    assert int((names["targets"]["even"] >= 0).sum()) == 20
    assert set(names["targets"]["even"].tolist()) == {-100, 0, 1}
    assert (names["loss"].item(), int(names["count"])) == (2.0, 2)
    assert names["output"].grad[1] == 0
    assert names["first"].tolist() == pytest.approx([5 / 6, 1 / 6])
    assert names["last"].tolist() == pytest.approx([0.5, 0.5])
    assert torch.equal(names["before"]["digit"], names["after"]["digit"])
    assert names["student"].history.best_epoch
    assert names["non_dominated"](names["losses"]).tolist() == [True, True, False]
    assert names["hypervolume"](names["losses"], [1.0, 1.0]) == pytest.approx(0.47)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's YAML files and the tables that they name, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for text in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL):
        name = re.match(r"# (\S+\.yaml)\n", text)
        assert name is not None
        Path(name[1]).write_text(text, encoding="utf-8")
    frame = load_wine(as_frame=True).frame.sample(frac=1, random_state=0)
    frame = frame.rename(columns={"target": "cultivar"})
    strong = frame.pop("color_intensity") > 5
    frame[:110].drop(columns="ash").to_csv("first.csv", index=False)
    second = frame[110:].drop(columns="cultivar").assign(strong=strong[110:])
    second.to_csv("second.csv", index=False)
    second.drop(columns=["strong", "ash"]).to_csv("new.csv", index=False)
    return tmp_path


def commands() -> list[list[str]]:
    """Every command of the page."""
    blocks = re.findall(r"```\n(polytask .*?)```", TEXT, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines]


@pytest.mark.slow
def test_its_commands_run(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trainings whole, as they are small; studies as far as their plan, without timing it."""
    for module in (carry_out, fronts):
        monkeypatch.setattr(module, "measured", lambda *given: ({}, 0))
    for words in commands():
        planned = words[0] in ("compare", "pareto") and "--dry-run" not in words
        assert run([*words, *(["--dry-run"] if planned else [])]) == 0, (words, capsys.readouterr())
    assert "cultivar,strong,ash" in capsys.readouterr().out
    mixture = yaml.safe_load(Path("models/wines/config.yaml").read_text())["mixture"]
    assert mixture["how"]["batch_size"] == {"cultivar": 16, "strong+ash": 8}
    assert len(pd.read_csv("new.csv")) == 68


def test_lists_and_links_lead_somewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "schedules", "active"]) == 0
    assert "tau" in capsys.readouterr().out
    for link in re.findall(r"\]\((\.\./[^)#]+|[a-z_]+\.md)", TEXT):
        assert (PAGE.parent / link).exists(), link
