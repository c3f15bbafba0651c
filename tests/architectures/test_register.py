"""Architectures of one's own: known by name, refused with a reason, as good as the library's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from real_inputs import DIGITS, TABLE, Output, digits, first, wine

import polytask
from polytask import plugins, registry
from polytask.architectures import (
    Architecture,
    HardSharing,
    create_architecture,
    create_encoder,
    register_architecture,
)
from polytask.architectures._register import snake
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_architecture.py"
INPUTS = {"mlp": (TABLE, wine, {"hidden": (24, 16)}), "resnet": (DIGITS, digits, {"width": 4})}


@pytest.fixture(autouse=True)
def names() -> Iterator[dict[str, registry.Entry]]:
    """The registry as it was, afterwards."""
    entries = registry.entries("architecture")
    before = dict(entries)
    yield entries
    entries.clear()
    entries.update(before)


class Wide(HardSharing):
    """Nothing new. A second sentence."""

    paper = "Nobody 2026"
    shares = "everything"

    def __init__(self, encoder: Any, tasks: Any, gain: float = 2.0, **options: Any) -> None:
        super().__init__(encoder, tasks, **options)
        self.gain = gain


def test_a_registered_class_is_known_everywhere() -> None:
    assert register_architecture(Wide) is Wide
    entry = registry.find("architecture", "Wide")
    assert (entry.name, entry.group, entry.summary) == (
        "wide", "own", "Nothing new. A second sentence",
    )  # fmt: skip
    assert entry.constants["paper"] == "Nobody 2026"
    # Its own argument, and through **options those of the class it derives from.
    assert entry.arguments["gain"] == "2.0"
    assert {"encoder", "tasks", "head_hidden", "heads", "example"} <= set(entry.arguments)
    assert "wide" in polytask.list_architectures()
    encoder = create_encoder("mlp", TABLE)
    model = create_architecture("wide", encoder, [Output("a")], gain=3.0)
    assert isinstance(model, Wide)
    assert model.gain == 3.0
    with pytest.raises(UserError, match="gain should be a number"):
        create_architecture("wide", encoder, [Output("a")], gain="much")
    with pytest.raises(UserError, match="did you mean 'gain'"):
        create_architecture("wide", encoder, [Output("a")], gains=1.0)


def test_names_come_from_the_class_or_are_given() -> None:
    assert snake("GatedCorrection") == "gated_correction"
    assert snake("MRNLike2D") == "mrn_like2_d"

    @register_architecture(name="plain_one")
    class Any1(HardSharing):
        """One."""

    assert registry.find("architecture", "plain_one").load() is Any1
    for wrong in ("Plain", "a b", "a/b", "", "1st", 3):
        with pytest.raises(UserError, match="a word of lower-case letters"):
            register_architecture(name=wrong)(Wide)  # type: ignore[arg-type]


def test_a_taken_name_is_refused_and_a_changed_class_takes_its_place() -> None:
    with pytest.raises(UserError, match=r"'hard_sharing' is taken by polytask\.architectures"):
        register_architecture(name="hard_sharing")(Wide)
    with pytest.raises(UserError, match="taken"):
        register_architecture(name="hardsharing")(Wide)

    def make(gain: float) -> type[Architecture]:
        class Changed(HardSharing):
            """As a notebook's cell defines it anew."""

            bonus = gain

        return register_architecture(Changed)

    make(1.0)
    newer = make(2.0)
    assert registry.find("architecture", "changed").load() is newer


def test_what_is_no_architecture_is_refused() -> None:
    class NoCompute(Architecture):
        """Forgot the main thing."""

    class NoTasks(HardSharing):
        """Cannot be told of tasks."""

        def __init__(self, encoder: Any) -> None:
            super().__init__(encoder, [Output("a")])

    for wrong, message in (
        (torch.nn.Linear, "subclass of polytask.architectures.Architecture, found Linear"),
        ("hard_sharing", "found 'hard_sharing'"),
        (NoCompute, "no compute"),
        (NoTasks, "found no tasks"),
    ):
        with pytest.raises(UserError, match=message):
            register_architecture(wrong)  # type: ignore[call-overload]


def plugin(folder: Path, body: str, name: str = "mine.py") -> Path:
    file = folder / name
    file.write_text(dedent(body))
    return file


CLASS = """
    import polytask
    from polytask.architectures import HardSharing

    @polytask.register_architecture
    class Mine(HardSharing):
        "Mine, version {}."
    """


def test_a_file_is_imported_once_and_again_when_it_changed(
    tmp_path: Path, names: dict[str, registry.Entry]
) -> None:
    file = plugin(tmp_path, CLASS.format(1))
    plugins.load(file)
    entry = names["mine"]
    plugins.load(str(file))
    assert names["mine"] is entry
    found = plugins.origin(entry)
    assert found == {"file": str(file), "module": "", "source": plugins.source(entry)}
    # Of the same length, and in the same second: byte code would not notice.
    plugin(tmp_path, CLASS.format(2))
    with pytest.raises(UserError, match="changed or removed after the study began"):
        plugins.bring(found)
    plugins.load(file)
    assert names["mine"].summary == "Mine, version 2"
    assert plugins.source(names["mine"]) != found["source"]
    del names["mine"]
    plugins.load(file)
    assert "mine" in names
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x = 1", "registers nothing"),
        ("1 / 0", "raised ZeroDivisionError"),
        ("def broken(:", "raised SyntaxError"),
        (CLASS.format(1) + "\n    1 / 0", "raised ZeroDivisionError"),
    ],
)
def test_a_file_that_will_not_do(
    tmp_path: Path, names: dict[str, registry.Entry], body: str, message: str
) -> None:
    before, modules = dict(names), set(sys.modules)
    with pytest.raises(UserError, match=message):
        plugins.load(plugin(tmp_path, body))
    assert names == before
    assert not {name for name in set(sys.modules) - modules if name.startswith(plugins.PREFIX)}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    plugin(tmp_path, "", "own.py")
    with pytest.raises(UserError, match=r"did you mean '.*own\.py'"):
        plugins.load(tmp_path / "oen.py")
    with pytest.raises(UserError, match="it is a folder"):
        plugins.load(tmp_path)
    with pytest.raises(UserError, match=r"a Python file \(\.py\)"):
        plugins.load(plugin(tmp_path, "", "own.txt"))


def test_a_class_of_a_script_cannot_be_imported_elsewhere() -> None:
    code = """
        from polytask import plugins, registry, register_architecture
        from polytask.architectures import HardSharing

        @register_architecture
        class Scripted(HardSharing):
            "Made here."

        entry = registry.find("architecture", "scripted")
        assert plugins.here_only(entry) and plugins.origin(entry) is None
        assert len(plugins.source(entry)) == 16
        assert not plugins.here_only(registry.find("architecture", "hard_sharing"))
        """
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_class_of_an_importable_module_is_named_by_it() -> None:
    register_architecture(Wide)
    found = plugins.origin(registry.find("architecture", "wide"))
    assert found is not None
    assert (found["module"], found["file"]) == (__name__, __file__)
    plugins.bring(found)
    assert plugins.origin(registry.find("architecture", "hard_sharing")) is None


class TestTheExample(ArchitectureConformance):
    """The file that the documentation shows stands every test of the library's own."""

    @pytest.fixture(autouse=True, params=[(e, n) for e in INPUTS for n in (1, 2, 7)], ids=str)
    def case(self, request: pytest.FixtureRequest) -> None:
        self.encoder, self.count = request.param

    def make(self) -> Made:
        plugins.load(EXAMPLE)
        widths, load, options = INPUTS[self.encoder]
        tasks = {name: Output(name, 1 + i % 3) for i, name in enumerate("abcdefg"[: self.count])}
        encoder = create_encoder(self.encoder, widths, **options)  # type: ignore[arg-type]
        model = create_architecture("gated_correction", encoder, tasks, hidden=8)
        return model, first(load()[0], 6), tasks


def test_closed_gates_are_hard_sharing_to_the_bit() -> None:
    plugins.load(EXAMPLE)
    tasks, batch = [Output("a"), Output("b", 3)], first(digits()[0], 4)

    def build(name: str) -> Architecture:
        torch.manual_seed(0)
        return create_architecture(name, create_encoder("resnet", DIGITS, width=4), tasks)

    ours, plain = build("gated_correction")(batch), build("hard_sharing")(batch)
    assert all(ours[task].equal(plain[task]) for task in plain)
