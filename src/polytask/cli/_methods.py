"""`cagrad:c=0.4,rescale=1` and YAML's `{cagrad: {c: 0.4, rescale: 1}}` are the same choice.

A choice is a name with arguments. The words are checked against the registry, which reads
source files without importing them, so a wrong name costs milliseconds, not torch.
"""

from __future__ import annotations

import re
from typing import Any

from polytask import registry
from polytask.errors import UserError, unknown
from polytask.study.settings import Choice

RESERVED = {
    "method": ("generator",),
    "architecture": ("encoder", "tasks", "heads", "example"),
    "encoder": ("spec",),
    "dataset": (),
    "auxiliary": (),
    "estimator": (),
    "schedule": (),
}
"""Arguments that exist in Python but are objects, which text cannot hold."""

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
OPENING, CLOSING = "[{(", "]})"


def parse(kind: str, raw: object, where: str = "") -> Choice:
    """Read one choice of a kind ('method', 'architecture', ...) from text or a YAML mapping.

    `where` names the flag or key for the message. Raises `UserError` for a name that is not
    registered, an argument that it does not take, or a value of the wrong type.
    """
    where = where or kind
    if isinstance(raw, str):
        name, arguments = _split(raw, where)
    elif isinstance(raw, dict) and len(raw) == 1:
        name, arguments = next(iter(raw.items()))
        arguments = {} if arguments is None else arguments
        if not isinstance(arguments, dict):
            raise UserError(
                f"{where}: the arguments of {name!r} should be a mapping, as in "
                f"{{{name}: {{argument: value}}}}; found {arguments!r}"
            )
        arguments = {str(key): typed(value) for key, value in arguments.items()}
    else:
        raise UserError(
            f"{where}: expected a name, or one name with its arguments as in "
            f"{{mgda: {{depth: 1}}}}; found {raw!r}"
        )
    return check(kind, str(name), arguments)


def check(kind: str, name: str, arguments: dict[str, Any]) -> Choice:
    """Check a choice against the registry and give it its registered name."""
    entry = registry.find(kind, name)
    for word, value in arguments.items():
        allowed = [known for known in entry.arguments if known not in RESERVED[kind]]
        if word in RESERVED[kind]:
            raise UserError(f"{kind} {entry.name}: {word!r} is an object, set only from Python")
        if word not in allowed and not (entry.group == "third party" and not allowed):
            if not allowed:
                raise UserError(f"{kind} {entry.name} takes no arguments; found {word!r}")
            raise unknown(f"argument of {kind} {entry.name}:", word, allowed)
        arguments[word] = _own_none(value, entry.annotations.get(word, ""))
        registry.check_type(f"{kind} {entry.name}: {word}", entry, word, arguments[word])
    return Choice(entry.name, arguments)


def _own_none(value: Any, annotation: str) -> Any:
    """`none` as the word that it is for some arguments, not as nothing."""
    return "none" if value is None and "'none'" in annotation else value


def typed(value: Any) -> Any:
    """A YAML value with its meaning: `1e-3`, which YAML 1.1 takes for text, is a number."""
    if isinstance(value, str):
        return scalar(value)
    if isinstance(value, list):
        return [typed(item) for item in value]
    if isinstance(value, dict):
        return {str(key): typed(item) for key, item in value.items()}
    return value


def scalar(text: str) -> Any:
    """One value written as text: none, true, false, a number, or the text itself."""
    words = {"none": None, "null": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    if NUMBER.fullmatch(text):
        return float(text) if any(mark in text for mark in ".eE") else int(text)
    return text


def _split(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """`name:key=value,...` into its parts; commas inside brackets belong to the value."""
    name, colon, rest = text.partition(":")
    if not name or (colon and not rest):
        raise UserError(f"{where}: expected NAME or NAME:ARGUMENT=VALUE,...; found {text!r}")
    arguments: dict[str, Any] = {}
    for part in _top_level(rest) if rest else ():
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UserError(
                f"{where}: expected ARGUMENT=VALUE after {name + ':'!r}, as in mgda:depth=1; "
                f"found {part!r}"
            )
        if key in arguments:
            raise UserError(f"{where}: argument {key!r} of {name!r} is given twice")
        arguments[key] = _value(value.strip(), where)
    return name, arguments


def _top_level(text: str) -> list[str]:
    """Split at commas that are not inside brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in OPENING) - (letter in CLOSING)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _value(text: str, where: str) -> Any:
    """A value on the command line; lists and mappings are written as in YAML."""
    if not text or text[0] not in "[{":
        return scalar(text)
    import yaml

    try:
        value = typed(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise UserError(
            f"{where}: {text!r} is not a list or mapping; expected [64,32] or {{price: 2}}. Close "
            "every bracket and quote"
        ) from error
    if isinstance(value, dict) and None in value.values():
        raise UserError(
            f"{where}: {text!r} has a name without a value; write a space behind the colon, as in "
            "'{price: 2}', and put it in quotes for the shell"
        )
    return value
