"""`cagrad:c=0.4` on the command line and `{cagrad: {c: 0.4}}` in YAML are one thing."""

import pytest
import yaml

from polytask.cli._methods import parse, scalar
from polytask.errors import UserError

PAIRS = [
    ("method", "linear", "linear"),
    ("method", "pcgrad", "{pcgrad: {}}"),
    ("method", "pcgrad", "{pcgrad: }"),
    ("method", "PCGrad", "pcgrad"),
    ("method", "mgda:scale=sum", "{mgda: {scale: sum}}"),
    ("method", "uncertainty:lr=1e-3", "{uncertainty: {lr: 0.001}}"),
    ("method", "uncertainty:lr=1e-3", "{uncertainty: {lr: 1e-3}}"),
    ("method", "mgda:heads=plain,scale=sum", "{mgda: {heads: plain, scale: sum}}"),
    ("method", "mgda:statistic=null", "{mgda: {statistic: null}}"),
    ("method", "linear:weights={price: 2, sold: 0.5}", "{linear: {weights: {price: 2, sold: .5}}}"),
    ("encoder", "mlp:hidden=[64,32],dropout=0.1", "{mlp: {hidden: [64, 32], dropout: 0.1}}"),
    ("architecture", "hard_sharing:head_hidden=[16]", "{hard_sharing: {head_hidden: [16]}}"),
]


@pytest.mark.parametrize(("kind", "text", "config"), PAIRS)
def test_text_and_yaml_are_the_same_choice(kind: str, text: str, config: str) -> None:
    assert parse(kind, text) == parse(kind, yaml.safe_load(config))


def test_a_choice_survives_its_own_yaml_form() -> None:
    choice = parse("encoder", "mlp:hidden=[64,32],dropout=0.1")
    assert choice.arguments == {"hidden": [64, 32], "dropout": 0.1}
    assert parse("encoder", choice.plain()) == choice
    assert parse("method", "linear").plain() == "linear"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-2", -2),
        ("0.4", 0.4),
        (".5", 0.5),
        ("3e-4", 3e-4),
        ("1E3", 1000.0),
        ("true", True),
        ("False", False),
        ("none", None),
        ("tail", "tail"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
        ("nan", "nan"),
        ("", ""),
    ],
)
def test_values_are_typed(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


@pytest.mark.parametrize(
    ("kind", "raw", "says"),
    [
        ("method", "pcgrd", "did you mean 'pcgrad'"),
        ("method", "pcgrad:scal=sum", "did you mean 'scale'"),
        ("method", "pcgrad:", "NAME:ARGUMENT=VALUE"),
        ("method", ":c=1", "NAME:ARGUMENT=VALUE"),
        ("method", "pcgrad:0.4", "expected ARGUMENT=VALUE"),
        ("method", "pcgrad:=0.4", "expected ARGUMENT=VALUE"),
        ("method", "mgda:scale=sum,scale=paper", "given twice"),
        ("method", "rlw:generator=3", "set only from Python"),
        ("method", {"mgda": 0.4}, "should be a mapping"),
        ("method", {"mgda": {}, "linear": {}}, "one name with its arguments"),
        ("method", 3, "expected a name"),
        ("encoder", "mlp:dropout=much", "should be a number"),
        ("encoder", "mlp:hidden=64", "should be a list"),
        ("encoder", "mlp:hidden=[64", "not a list or mapping"),
        ("encoder", "mlp:spec=1", "set only from Python"),
        ("architecture", "single_task:fresh=perhaps", "should be true or false"),
    ],
)
def test_what_is_wrong_is_named(kind: str, raw: object, says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse(kind, raw)


def test_a_main_task_is_named_or_numbered() -> None:
    assert parse("method", "gcs:main=price").arguments == {"main": "price"}
    assert parse("method", "agem:main=1").arguments == {"main": 1}
    with pytest.raises(UserError, match="should be a number"):
        parse("method", "mgda:budget=price")
