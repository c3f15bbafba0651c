"""A YAML file and flags, one set of words: what a verb was told, checked and typed.

The keys of the file are the flags of the verb; a flag given on the command line wins over the
file. Only plain values are read: YAML never imports a class.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polytask.cli._methods import scalar
from polytask.errors import UserError, nearest, unknown

TABLES = (".csv", ".tsv", ".tab", ".parquet", ".pq", ".gz")
NOT_IN_FILE = {"config", "json", "plugins"}
NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}


class Settings(dict[str, Any]):
    """What was set, by word; `where(word)` says how to name it to the user."""

    def __init__(self, values: dict[str, Any], source: dict[str, str]) -> None:
        super().__init__(values)
        self._source = source

    def where(self, word: str) -> str:
        """`--seeds`, or `seeds in study.yaml`, whichever the user wrote."""
        return self._source.get(word, flag(word))


def flag(word: str) -> str:
    """The flag of a word: `batch_size` is `--batch-size`."""
    return "--" + word.replace("_", "-")


def gather(verb: Callable[..., Any], config: Path | None, flags: dict[str, Any]) -> Settings:
    """Merge a verb's YAML file and its flags; a flag that is None was not given.

    Raises `UserError` for a key that is no flag of the verb or a value of the wrong type.
    """
    hints = typing.get_type_hints(verb)
    words = [word for word in hints if word not in NOT_IN_FILE | {"return"}]
    values: dict[str, Any] = {}
    source: dict[str, str] = {}
    for key, value in (read(config) if config is not None else {}).items():
        word = str(key).replace("-", "_")
        if word == "plugins" and word in hints:
            raise UserError(
                f"{config}: YAML never imports code, so 'plugins' is no key of it. Take the line "
                "out, and give the files on the command line: --plugins FILE..."
            )
        if word not in words:
            raise UserError(f"{config}: {unknown('key', key, words)}")
        source[word] = f"{word} in {config}"
        if value is not None:
            values[word] = coerce(value, hints[word], source[word])
    for word, value in flags.items():
        if word in words and value is not None:
            source[word] = flag(word)
            values[word] = value
    return Settings(values, source)


def read(path: Path) -> dict[Any, Any]:
    """The mapping in a YAML file. Raises `UserError` when there is none."""
    import yaml

    if path.suffix.lower() in TABLES:
        raise UserError(f"{path} is a table, not a study in YAML; pass it with --data {path}")
    if path.is_dir():
        raise UserError(f"{path} is a folder; expected a file in YAML with a study's settings")
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        close = nearest(path.name, near)
        hint = f"; did you mean {str(path.with_name(close))!r}?" if close else ""
        raise UserError(
            f"no study file {str(path)!r}"
            + (hint or "; a value follows its --flag, and most flags take one only")
        )
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), _strict_loader())
    except yaml.YAMLError as error:
        raise _no_yaml(path, error) from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not a text file in UTF-8, so not a study in YAML. Save it as UTF-8, or "
            "name another file"
        ) from error
    if loaded is None:
        raise UserError(f"{path} is empty; it should hold keys such as 'data' and 'methods'")
    if not isinstance(loaded, dict):
        raise UserError(
            f"{path} should hold 'key: value' lines (data: adult); found a {type(loaded).__name__}"
        )
    return loaded


def _no_yaml(path: Path, error: Any) -> UserError:
    """Where a file is no YAML, and what to do about it."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    place = f", line {mark.line + 1}" if mark else ""
    remedies = {
        "'\\t'": "Indent with spaces, not tabs.",
        "given twice": "Keep one of them.",
        "constructor for the tag": "Only names, numbers, lists and mappings are read; no objects.",
        "another document": "Keep one study in a file, without a line '---' in it.",
    }
    remedy = next(
        (remedy for part, remedy in remedies.items() if part in problem),
        "Expected lines 'key: value', lists as [a, b], and every bracket and quote closed.",
    )
    problem = problem.replace("tag:yaml.org,2002:", "!!")
    return UserError(f"{path} is not valid YAML{place}: {problem}. {remedy}")


YAML_1_2 = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
}
"""Plain words that are no text. In YAML 1.1 `no` is false, 18:30 is 1110 and 1e-3 is a text."""


def _strict_loader() -> Any:
    """YAML's safe loader that refuses a key given twice, and reads plain words as YAML 1.2 does."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys: list[Any] = []
            for place, _ in node.value:
                key = self.construct_object(place, deep=True)
                if key in keys:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key!r} is given twice", problem_mark=place.start_mark
                    )
                keys.append(key)
            return super().construct_mapping(node, deep)

    Loader.yaml_implicit_resolvers = {}
    null = (r"~|null|Null|NULL|", ["~", "n", "N", ""])
    for word, (form, first) in {**YAML_1_2, "null": null}.items():
        Loader.add_implicit_resolver(
            f"tag:yaml.org,2002:{word}", re.compile(f"^(?:{form})$"), list(first)
        )
    return Loader


def coerce(value: Any, hint: Any, where: str) -> Any:
    """A YAML value as the type that the flag has; a single value stands for a list of one."""
    if type(value) in typing.get_args(hint):
        return value  # of a flag that takes a word or none, as in `branches: true`
    hint = _without_none(hint)
    if typing.get_origin(hint) is list:
        (item,) = typing.get_args(hint)
        if isinstance(value, dict) and item is str:
            return value  # names with arguments, or targets with kinds: read by their own parser
        items = value if isinstance(value, list) else [value]
        if None in items:
            raise UserError(f"{where} holds an empty entry; write {NAMES[item]} there or remove it")
        return [coerce(each, item, where) for each in items]
    if isinstance(value, str) and hint in (int, float, bool):
        value = {"yes": True, "on": True, "no": False, "off": False}.get(
            value.lower() if hint is bool else "", scalar(value)
        )
    if hint is str and isinstance(value, dict):
        return value
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is hint:
        return value
    remedy = "; give one value" if isinstance(value, list) else ""
    if where.startswith("seeds") and isinstance(value, list):
        remedy = f"; write how many, as in {len(value)}: they are 0, 1, 2, ..."
    raise UserError(f"{where} should be {NAMES.get(hint, 'a path')}, found {value!r}{remedy}")


def _without_none(hint: Any) -> Any:
    """`list[str] | None` -> `list[str]`."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return next(arg for arg in typing.get_args(hint) if arg is not type(None))
    return hint
