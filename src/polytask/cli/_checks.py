"""Settings checked before anything heavy is imported: ranges, choices, names, files.

Whatever only the data or torch can tell (does the column exist, is there a GPU) is checked
where it is known; the rest is found here, in milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polytask import registry
from polytask.cli._config import TABLES, Settings, flag
from polytask.cli._methods import Choice, parse
from polytask.errors import UserError, nearest, some, unknown
from polytask.files import check_place

KINDS = ("regression", "binary", "multiclass", "multilabel")
TARGET_WORDS = {"kind": KINDS, "role": ("main", "auxiliary")}
SPLITS = ("random", "stratified", "group", "time", "spatial")
SELECT = ("mean_gain", "mean_rank", "main", "loss")
CHOICES = {
    "statistic": ("losses", "features", "tail", "exact"),
    "optimizer": ("adam", "adamw", "momentum", "rmsprop", "sgd"),
    "scheduler": ("constant", "cosine"),
    "precision": ("no", "bf16", "fp16"),
    "select": SELECT,
    "split": SPLITS,
}
WITH_NAME = {"split": ("stratified", "group", "time", "spatial"), "select": ("main",)}
NEEDS_NAME = {"split": ("group", "time"), "select": ("main",)}

Rule = tuple[Callable[[Any], bool], str]
AT_LEAST_ONE: Rule = (lambda value: value >= 1, "a whole number of at least 1")
POSITIVE: Rule = (lambda value: 0 < value < float("inf"), "a number above 0")
FRACTION: Rule = (lambda value: 0 < value < 1, "a fraction between 0 and 1")
NOT_NEGATIVE: Rule = (lambda value: 0 <= value < float("inf"), "0 or more")
RULES: dict[str, Rule] = {
    "seeds": AT_LEAST_ONE,
    "epochs": AT_LEAST_ONE,
    "batch_size": AT_LEAST_ONE,
    "finalists": AT_LEAST_ONE,
    "rounds": AT_LEAST_ONE,
    "max_groups": AT_LEAST_ONE,
    "points": AT_LEAST_ONE,
    "randoms": (lambda value: value >= 0, "a whole number of at least 0"),
    "workers": AT_LEAST_ONE,
    "accumulate": AT_LEAST_ONE,
    "patience": AT_LEAST_ONE,
    "lr": POSITIVE,
    "clip_norm": POSITIVE,
    "weight_decay": NOT_NEGATIVE,
    "checkpoint_every": NOT_NEGATIVE,
    "steps_per_epoch": AT_LEAST_ONE,
    "warmup": (lambda value: 0 <= value < 1, "a fraction from 0 to below 1"),
    "seed": NOT_NEGATIVE,
    "test_fraction": FRACTION,
    "val_fraction": FRACTION,
}
NAMED_LISTS = {
    "methods": "method",
    "architectures": "architecture",
    "auxiliary": "auxiliary",
    "estimators": "estimator",
    "schedules": "schedule",
}
"""Words that take several names with arguments, and what they name."""
UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def check(settings: Settings) -> Settings:
    """Check every word that is set and bring it to its final form, in place.

    Names with arguments become `Choice`; `max_time` becomes seconds; `data` is left to
    `check_data`. Raises `UserError`, naming the flag or the key.
    """
    for word, value in settings.items():
        where = settings.where(word)
        if word in RULES:
            fits, wanted = RULES[word]
            several = list(value.values()) if isinstance(value, dict) else value
            for each in several if isinstance(several, list) else [several]:
                if not fits(each):
                    raise UserError(f"{where} should be {wanted}, found {each}")
        if word in CHOICES:
            _check_choice(word, value, where)
        if isinstance(value, list):
            _check_list(value, where)
    for word, kind in NAMED_LISTS.items():
        if word in settings:
            raw, where = settings[word], settings.where(word)
            rows = [{k: v} for k, v in raw.items()] if isinstance(raw, dict) else raw
            settings[word] = [parse_named(kind, row, where) for row in rows]
            _check_list([choice.plain() for choice in settings[word]], where)
    for word in ("method", "architecture", "encoder"):
        if word in settings:
            settings[word] = parse_named(word, settings[word], settings.where(word))
    if "max_time" in settings:
        settings["max_time"] = seconds(settings["max_time"], settings.where("max_time"))
    if "targets" in settings:
        _check_targets(settings["targets"], settings.where("targets"))
    if "test" in settings:
        check_file(settings["test"], settings.where("test"))
    if "out" in settings:
        # Only predictions, which come from a saved model, go to a file.
        _check_out(settings["out"], settings.where("out"), file="model" in settings)
    return settings


def _check_out(out: Path, where: str, *, file: bool) -> None:
    """A file or a folder that is, or that can be made."""
    if file and out.is_dir():
        raise UserError(
            f"{where}: {out} is a folder; name a file in it, as in {out}/predictions.csv"
        )
    if not file and out.exists() and not out.is_dir():
        raise UserError(
            f"{where}: {out} is a file, not a folder; name a folder that is not there yet"
        )
    try:
        check_place(out.parent if file else out)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def parse_named(kind: str, raw: object, where: str) -> Choice:
    """`parse`, with a hint when a file's name was swallowed by a list of names."""
    try:
        return parse(kind, raw, where)
    except UserError:
        if isinstance(raw, str) and Path(raw).suffix.lower() in {".yaml", ".yml"}:
            raise UserError(
                f"{raw!r} was read as a value of {where}; put the YAML file first: "
                f"polytask compare {raw} {where} ..."
            ) from None
        raise


def check_data(settings: Settings) -> Choice | Path:
    """What `data` names: a registered data set (with arguments) or a table's file."""
    if "data" not in settings:
        raise UserError(
            "which data? Give a table with --data houses.csv or a data set's name, one of: "
            + ", ".join(registry.names("dataset"))
        )
    raw, where = settings["data"], settings.where("data")
    if isinstance(raw, str):
        name = raw.partition(":")[0]
        file = Path(raw).expanduser()
        if (file / "dataset.json").is_file():
            return file  # a data set that `Dataset.save`, or a study, wrote
        if file.exists() and not _registered(raw):
            return check_file(file, where)
        if file.suffix.lower() in TABLES or not _registered(name):
            raise _no_data(raw, where)
    elif isinstance(raw, dict) and len(raw) > 1:
        raise UserError(
            f"{where}: expected one data set, found {len(raw)} ({some(raw, 60)}). Data sets of "
            "their own for each task are for polytask train and polytask compare"
        )
    elif isinstance(raw, dict) and len(raw) == 1 and not _registered(str(next(iter(raw)))):
        raise _no_data(str(next(iter(raw))), where)
    return parse("dataset", raw, where)


def check_file(path: Path, where: str) -> Path:
    """A table's file: it exists, is a file and is not empty."""
    if path.is_dir():
        raise UserError(f"{where}: {path} is a folder; name one table in it (CSV or Parquet)")
    if not path.exists():
        raise _no_data(str(path), where, sets=False)
    if not path.is_file():
        raise UserError(
            f"{where}: {path} is a pipe or a device; expected a file, which can be read more than "
            "once. Save the table first"
        )
    if path.stat().st_size == 0:
        raise UserError(f"{where}: {path} is empty (0 bytes); a table with a header was expected")
    return path


def seconds(value: str, where: str) -> float:
    """`90`, `10m`, `1.5h` in seconds."""
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]*)\s*", str(value).lower())
    if not match or match[2] not in UNITS or float(match[1]) == 0:
        raise UserError(
            f"{where} should be a time such as 90 (seconds), 10m or 2h; found {value!r}"
        )
    return float(match[1]) * UNITS[match[2]]


def _registered(name: str) -> bool:
    return registry.squash(name) in map(registry.squash, registry.entries("dataset"))


def _no_data(name: str, where: str, *, sets: bool = True) -> UserError:
    """The error for data that is not there: the nearest data set or file beside it."""
    path = Path(name).expanduser()
    if path.is_symlink():
        return UserError(
            f"{where}: {path} is a link to {path.readlink()}, which does not exist; expected a file"
        )
    near = (
        [p for p in path.parent.iterdir() if p.suffix.lower() in TABLES]
        if path.parent.is_dir()
        else []
    )
    options = {str(p) if path.parent != Path() else p.name for p in near}
    known = registry.names("dataset") if sets else []
    close = nearest(name, [*known, *sorted(options)])
    hint = f"; did you mean {close!r}?" if close else "."
    if not path.parent.is_dir():
        hint = f": there is no folder {str(path.parent)!r}."
    what = "no data set and no file is called" if sets else "there is no file"
    tail = f" Data sets: {', '.join(known)}." if sets else ""
    return UserError(f"{where}: {what} {name!r}{hint}{tail}")


def _check_choice(word: str, value: str, where: str) -> None:
    """A word from a fixed list, for some words followed by `:NAME`."""
    head, colon, name = value.partition(":")
    if head not in CHOICES[word]:
        raise UserError(f"{where}: {unknown(word, value, _spelled(word))}")
    if colon and (head not in WITH_NAME.get(word, ()) or not name):
        raise UserError(f"{where}: {value!r} should be one of {', '.join(_spelled(word))}")
    if not colon and head in NEEDS_NAME.get(word, ()):
        what = "the main task" if word == "select" else "the column"
        raise UserError(f"{where}: {head} needs {what}, as in {flag(word)} {head}:NAME")


def _spelled(word: str) -> list[str]:
    return [
        choice + (":NAME" if choice in NEEDS_NAME.get(word, ()) else "") for choice in CHOICES[word]
    ]


def _check_list(values: list[Any], where: str) -> None:
    """A list holds something, and nothing twice."""
    if not values:
        raise UserError(f"{where} needs at least one value")
    for value in values:
        if values.count(value) > 1:
            raise UserError(f"{where}: {value!r} is given twice")


def _check_targets(targets: list[Any] | dict[str, Any], where: str) -> None:
    """Kinds of a YAML mapping; `name:kind` texts are read where the columns are known."""
    if isinstance(targets, list):
        for each in targets:
            if not isinstance(each, str) or not each or each.startswith(":"):
                raise UserError(
                    f"{where}: expected COLUMN or COLUMN:KIND[:ROLE], found {each!r}; write the "
                    "column's name first, as in price:regression"
                )
        return
    for spec in targets.values():
        given = {"kind": spec} if spec is None or isinstance(spec, str) else spec
        if not isinstance(given, dict):
            raise UserError(f"{where}: expected a kind or {{kind: ..., role: ...}}, found {spec!r}")
        for word, value in given.items():
            if word not in TARGET_WORDS:
                raise UserError(f"{where}: {unknown('word', word, TARGET_WORDS)}")
            if value is not None and value not in TARGET_WORDS[word]:
                raise UserError(f"{where}: {unknown(word, value, TARGET_WORDS[word])}")
