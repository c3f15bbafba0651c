"""A YAML file and flags, one set of words: what a verb was told, checked and typed.

The keys of the file are the flags of the verb; a flag given on the command line wins over the
file. Only plain values are read: YAML never imports a class.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polytask.cli._methods import scalar
from polytask.errors import UserError, nearest, unknown

TABLES = (".csv", ".tsv", ".tab", ".parquet", ".pq", ".gz")
NOT_IN_FILE = {"config", "json"}
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
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        close = nearest(path.name, near)
        hint = f"; did you mean {str(path.with_name(close))!r}?" if close else ""
        raise UserError(
            f"no study file {str(path)!r}{hint or '; every other value follows its --flag'}"
        )
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), _strict_loader())
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8, so not a study in YAML") from error
    if loaded is None:
        raise UserError(f"{path} is empty; it should hold keys such as 'data' and 'methods'")
    if not isinstance(loaded, dict):
        raise UserError(
            f"{path} should hold 'key: value' lines (data: adult); found a {type(loaded).__name__}"
        )
    return loaded


def _strict_loader() -> Any:
    """YAML's safe loader that refuses a key given twice instead of taking the last one."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            for key in keys:
                if keys.count(key) > 1:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key!r} is given twice", problem_mark=node.start_mark
                    )
            return super().construct_mapping(node, deep)

    return Loader


def coerce(value: Any, hint: Any, where: str) -> Any:
    """A YAML value as the type that the flag has; a single value stands for a list of one."""
    hint = _without_none(hint)
    if typing.get_origin(hint) is list:
        (item,) = typing.get_args(hint)
        if isinstance(value, dict) and item is str:
            return value  # names with arguments, or targets with kinds: read by their own parser
        items = value if isinstance(value, list) else [value]
        return [coerce(each, item, where) for each in items]
    if isinstance(value, str) and hint in (int, float, bool):
        value = scalar(value)
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
    raise UserError(f"{where} should be {NAMES.get(hint, 'a path')}, found {value!r}")


def _without_none(hint: Any) -> Any:
    """`list[str] | None` -> `list[str]`."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return next(arg for arg in typing.get_args(hint) if arg is not type(None))
    return hint
