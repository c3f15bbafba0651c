"""The words of a YAML file and of the flags are one set; flags win."""

from pathlib import Path

import pytest

from polytask.cli._checks import check, seconds
from polytask.cli._config import Settings, gather
from polytask.cli.compare import compare
from polytask.errors import UserError

FLAGS = {
    "data": "adult",
    "targets": ["income:binary", "hours"],
    "methods": ["linear", "mgda:scale=sum"],
    "architectures": ["hard_sharing"],
    "seeds": 3,
    "epochs": 20,
    "lr": [3e-4, 1e-3],
    "batch_size": 64,
    "max_time": "10m",
    "progress": False,
    "out": Path("runs/x"),
}
TEXT = """
data: adult
targets: [income:binary, hours]
methods: [linear, {mgda: {scale: sum}}]
architectures: hard_sharing
seeds: 3
epochs: 20
lr: [3e-4, 0.001]
batch-size: 64
max_time: 10m
progress: false
out: runs/x
"""


def written(folder: Path, text: str, name: str = "study.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def resolved(config: Path | None, **flags: object) -> Settings:
    return check(gather(compare, config, flags))


def test_a_file_and_flags_give_equal_settings(tmp_path: Path) -> None:
    from_file = resolved(written(tmp_path, TEXT))
    from_flags = resolved(None, **FLAGS)
    assert dict(from_file) == dict(from_flags)
    assert from_file["max_time"] == 600.0
    assert [choice.plain() for choice in from_file["methods"]] == [
        "linear",
        {"mgda": {"scale": "sum"}},
    ]


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    settings = resolved(written(tmp_path, TEXT), seeds=7, lr=[0.1], epochs=None)
    assert (settings["seeds"], settings["lr"], settings["epochs"]) == (7, [0.1], 20)
    assert settings.where("seeds") == "--seeds"
    assert settings.where("epochs") == f"epochs in {tmp_path / 'study.yaml'}"


def test_methods_may_be_a_mapping(tmp_path: Path) -> None:
    settings = resolved(written(tmp_path, "methods: {linear: , mgda: {scale: sum}}"))
    assert [choice.name for choice in settings["methods"]] == ["linear", "mgda"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("method: [linear]", "unknown key 'method'; did you mean 'methods'"),
        ("sedes: 3", "did you mean 'seeds'"),
        ("json: true", "unknown key 'json'"),
        ("seeds: three", "seeds in .*study.yaml should be a whole number, found 'three'"),
        ("seeds: 2.5", "should be a whole number, found 2.5"),
        ("seeds: true", "should be a whole number, found True"),
        ("seeds: [1, 2]", "should be a whole number"),
        ("lr: [fast]", "should be a number"),
        ("dry_run: maybe", "should be true or false"),
        ("targets: {price: regresion}", "did you mean 'regression'"),
        ("targets: {price: {role: helper}}", "unknown role 'helper'"),
        ("targets: {price: {knd: binary}}", "did you mean 'kind'"),
        ("targets: {price: 3}", "expected a kind or {kind"),
        ("targets: [{price: regression}]", "expected COLUMN or COLUMN:KIND"),
        ("seeds: 3\nseeds: 4", "'seeds' is given twice"),
        ("methods: [linear", "not valid YAML"),
        ("- linear", "should hold 'key: value' lines"),
        ("", "is empty"),
        ("data: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("methods: [pcgrd]", "did you mean 'pcgrad'"),
        ("epochs: 0", "epochs in .* should be a whole number of at least 1, found 0"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        resolved(written(tmp_path, text))


def test_a_missing_file_names_the_one_beside_it(tmp_path: Path) -> None:
    written(tmp_path, TEXT)
    with pytest.raises(UserError, match=r"did you mean .*study\.yaml"):
        resolved(tmp_path / "studi.yaml")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UserError, match="UTF-8"):
        resolved(file)


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("10m", 600), ("1.5h", 5400), ("30 s", 30), ("2D", 172800)]
)
def test_times(text: str, value: float) -> None:
    assert seconds(text, "--max-time") == value


@pytest.mark.parametrize("text", ["soon", "10 weeks", "-3", "0", "", "m"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UserError, match="--max-time should be a time"):
        seconds(text, "--max-time")
