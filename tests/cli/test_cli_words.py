"""Arguments in Python, YAML keys and flags are the same words with the same defaults."""

import inspect
import re
import typing
from pathlib import Path
from typing import Any

import pytest

from polytask.cli import EPILOGUE, VERBS, _checks, _options, build
from polytask.cli._config import gather
from polytask.cli._study import arguments
from polytask.cli.compare import compare
from polytask.cli.predict import predict
from polytask.cli.train import TRAINER_WORDS, train
from polytask.study import compare as study
from polytask.study.settings import TRAINER_OPTIONS
from polytask.tabular import FitSettings, MultiTaskEstimator
from polytask.training import Trainer
from polytask.training._optim import OPTIMIZERS, SCHEDULERS
from polytask.training._precision import DTYPES

OWN = {"config", "json", "plugins"}
"""What only the command line has."""


def words(function: Any) -> dict[str, Any]:
    return {
        name: p.default
        for name, p in inspect.signature(function).parameters.items()
        if p.kind is not p.VAR_KEYWORD
    }


def helps(verb: Any) -> dict[str, str]:
    """The help text of every flag of a verb."""
    out = {}
    for name, hint in typing.get_type_hints(verb, include_extras=True).items():
        parts = [meta.help for meta in getattr(hint, "__metadata__", ()) if meta.help]
        out |= {name: parts[-1]} if parts else {}
    return out


def test_compare_has_the_words_of_the_function() -> None:
    theirs = set(words(study)) - {"on_data", "on_notes", "command"}
    assert set(words(compare)) - OWN == theirs | set(TRAINER_OPTIONS)


def test_train_has_the_words_of_the_trainer() -> None:
    known = set(words(Trainer))
    assert set(TRAINER_WORDS) <= known
    assert {"method", "epochs", "batch_size", "lr", "patience", "select", "seed"} <= known
    assert set(words(MultiTaskEstimator)) - set(words(train)) == set()


@pytest.mark.parametrize(("verb", "function"), [(compare, study), (train, FitSettings)])
def test_the_help_tells_the_true_defaults(verb: Any, function: Any) -> None:
    defaults = words(function)
    told = {
        word: match[1].split()
        for word, text in helps(verb).items()
        if (match := re.search(r"\[default: ([-\w. ]+)\]", text))
    }
    numbers = {
        word: said
        for word, said in told.items()
        if word in defaults and re.fullmatch(r"[\d.e-]+", said[0])
    }
    assert {"epochs", "batch_size", "lr"} <= set(numbers)
    for word, said in numbers.items():
        real = defaults[word]
        real = list(real) if isinstance(real, tuple) else [real]
        assert [float(value) for value in said] == real, word


def test_choices_are_those_of_the_library() -> None:
    assert set(_checks.CHOICES["optimizer"]) == set(OPTIMIZERS)
    assert set(_checks.CHOICES["scheduler"]) == set(SCHEDULERS)
    assert set(_checks.CHOICES["precision"]) == set(DTYPES)


@pytest.mark.parametrize("verb", [compare, train, predict])
def test_every_flag_has_help(verb: Any) -> None:
    assert set(helps(verb)) == set(words(verb))


def test_every_example_in_the_help_is_right() -> None:
    app, found = build(), 0
    for text in (*_options.EXAMPLES.values(), EPILOGUE):
        for line in re.findall(r"polytask (\w+ .+?)(?:;|\n|$)", text.replace("\\\n", " ")):
            given = [word.strip("'") for word in line.split()]
            verb, bound, _ = app.parse_args(given, exit_on_error=False, print_error=False)
            if "methods" in bound.arguments:
                _checks.check(gather(verb, None, bound.arguments))
            found += 1
    assert found == len(VERBS) + 4


def test_the_example_study_is_valid() -> None:
    file = Path(__file__).parents[2] / "examples" / "study.yaml"
    settings = _checks.check(gather(compare, file, {}))
    assert _checks.check_data(settings).name == "adult"
    assert arguments(settings)["methods"] == [
        "uncertainty",
        "pcgrad",
        "mgda",
    ]
