"""`data` as a mapping of tasks to data sets, and the words that say how they are mixed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import Token

from polytask.cli._checks import check_data
from polytask.cli._config import Settings
from polytask.cli._methods import parse, scalar, typed
from polytask.errors import UserError
from polytask.study.mixing import maps_tasks, names_several
from polytask.study.settings import Choice

if TYPE_CHECKING:
    from polytask.data import DataSets
    from polytask.tabular import Mixing

WORDS = ("schedule", "tasks_per_step", "steps_per_epoch")
EVERY = ("schedules", *WORDS)
SIZES = "a whole number, or one by data set as in ner=64,pos=16"


def rows(_: Any, tokens: Sequence[Token]) -> int | dict[str, int]:
    """`--batch-size 64`, or by data set: `--batch-size ner=64,pos=16`."""
    (token,) = tokens
    value = _by_set(token.value)
    if value is None:
        raise ValueError(f"{token.keyword} should be {SIZES}; found {token.value!r}")
    return value


def read_sizes(settings: Settings) -> Settings:
    """`batch_size` as a whole number, or whole numbers by data set; in place.

    Raises `UserError` for anything else.
    """
    value = settings.get("batch_size")
    read = _by_set(value) if isinstance(value, str) else value
    numbers = list(read.values()) if isinstance(read, dict) else [read]
    if value is not None and any(type(number) is not int for number in numbers):
        raise UserError(f"{settings.where('batch_size')} should be {SIZES}; found {value!r}")
    if value is not None:
        settings["batch_size"] = read
    return settings


def saved_sets(settings: Settings) -> Path | None:
    """The folder that `data` names, if a study has saved several data sets in it; else None.

    Brings the words of a mixture to their final form, in place. Raises `UserError` for words of one
    data set.
    """
    data = settings.get("data")
    if not isinstance(data, str) or not names_several(data):
        return None
    _refuse_of_one(settings)
    _check_words(settings)
    return Path(data)


def sources_of(settings: Settings) -> dict[Any, Choice | Path] | None:
    """What `data` names by task; None where it names one data set.

    Brings the words of a mixture to their final form, in place. Raises `UserError` for data that
    are not there, and for words of a mixture where there is one data set only.
    """
    where = settings.where("data")
    data = settings.get("data")
    if isinstance(data, str) and data.strip().startswith("{"):
        data = _mapping(data, where)
    if not maps_tasks(data):
        for word in EVERY:
            if word in settings:
                raise UserError(
                    f"{settings.where(word)} is for several data sets, and data is one; give a "
                    "data set for each task, as in data: {ner: ner.csv, pos: pos.csv}"
                )
        if isinstance(settings.get("batch_size"), dict):
            raise UserError(
                f"{settings.where('batch_size')} should be a whole number: there is one data set"
            )
        return None
    _refuse_of_one(settings)
    _check_words(settings)
    found: dict[Any, Choice | Path] = {}
    for task, source in data.items():
        if source is None:
            raise UserError(f"{where}: {task!r} has no data set; write {task}: NAME or FILE")
        own = Settings({"data": source}, {"data": f"{where}, {task}"})
        found[task] = check_data(own)
    return found


def load_sets(settings: Settings, sources: dict[Any, Choice | Path]) -> DataSets:
    """The data sets that the settings ask for. Raises `UserError`, naming the data set."""
    # Not at the top: the module pulls torch in, and `--help` must not wait for it.
    from polytask.study.data_sets import open_sets

    words = {word: settings[word] for word in ("targets", "drop", "split") if word in settings}
    return open_sets(sources, **words)


def mixing_of(settings: Settings) -> Mixing:
    """How the data sets are mixed; what is not set keeps its default."""
    from polytask.data.sources import name_of
    from polytask.study.data_sets import key_of
    from polytask.tabular import Mixing

    given = {word: settings[word] for word in WORDS if word in settings}
    if "schedule" in given:
        given["schedule"] = given["schedule"].plain()
    size = settings.get("batch_size")
    if isinstance(size, dict):
        size = {name_of(key_of(task)): number for task, number in size.items()}
    return Mixing(**given, batch_size=size)


def _refuse_of_one(settings: Settings) -> None:
    """Raise `UserError` for a word of one data set where there are several."""
    for word in ("test", "auxiliary"):
        if word in settings:
            raise UserError(
                f"{settings.where(word)} is for one data set, and data names several; leave it out"
            )


def _check_words(settings: Settings) -> None:
    """Bring the words of a mixture to their final form."""
    if "schedule" in settings:
        where = settings.where("schedule")
        settings["schedule"] = parse("schedule", settings["schedule"], where)
    if "tasks_per_step" in settings:
        value = scalar(str(settings["tasks_per_step"]))
        if value != "all" and (not isinstance(value, int) or value < 1):
            raise UserError(
                f"{settings.where('tasks_per_step')} should be 'all' or a whole number of at least "
                f"1, found {value!r}"
            )
        settings["tasks_per_step"] = value


def _by_set(text: str) -> int | dict[str, int] | None:
    """A whole number, or one by name; None for anything else."""
    if "=" not in text:
        number = scalar(text)
        return number if type(number) is int else None
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        number = scalar(value.strip())
        if not name.strip() or type(number) is not int:
            return None
        found[name.strip()] = number
    return found


def _mapping(text: str, where: str) -> Any:
    """A mapping on the command line, written as in YAML."""
    import yaml

    try:
        return typed(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise UserError(
            f"{where}: {text!r} is no mapping; write '{{ner: ner.csv, pos: pos.csv}}', with a "
            "space behind each colon, and in quotes for the shell"
        ) from error
