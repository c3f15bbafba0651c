"""Architectures of the user's own, known by name from the moment their class is defined."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from typing import TypeVar, overload

from polytask import registry
from polytask.architectures._base import Architecture
from polytask.errors import UserError

A = TypeVar("A", bound=type[Architecture])
SAID = ("paper", "shares", "requires", "no_features", "silent_at_start", "aliases")
"""Class attributes that lists and pages read."""


@overload
def register_architecture(cls: A) -> A: ...
@overload
def register_architecture(*, name: str | None = None) -> Callable[[A], A]: ...
def register_architecture(cls: A | None = None, *, name: str | None = None) -> A | Callable[[A], A]:
    """Make an architecture of one's own known by name, wherever a name is taken.

    As a decorator, plain or with a name, or called with the class:

        @polytask.register_architecture
        class GatedResidual(polytask.architectures.Architecture):  # "gated_residual"
            ...

    It lasts for this process. The processes of a study import the class's file again; a class of
    a running script or notebook they cannot import, so such a study runs in this process, one
    run after another. On the command line the file is named by `--plugins FILE`. A class may be
    registered again, changed, by the same file or notebook.

    Args:
        cls: a subclass of `Architecture` whose `__init__` takes `encoder` and `tasks`.
        name: what to call it; by default the name of the class in snake_case.

    Raises:
        UserError: another entry has that name, a name that is no word of lower-case letters,
            digits and underscores, or something else than an architecture's class.
    """
    if cls is None:
        return lambda found: _named(found, name)
    return _named(cls, name)


def _named(cls: A, name: str | None) -> A:
    """Check a class, and enter it under its name."""
    _check(cls)
    name = snake(cls.__name__) if name is None else name
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(
            f"an architecture's name is a word of lower-case letters, digits and underscores, "
            f"found {name!r}. Pass name=, as in name='gated_residual'."
        )
    file = getattr(sys.modules.get(cls.__module__), "__file__", None) or ""
    entries = registry.entries("architecture")
    for entry in list(entries.values()):
        same = entry.attribute == cls.__qualname__ and (
            entry.module == cls.__module__ or (file != "" and entry.file == file)
        )
        if entry.thing is not None and same:
            del entries[entry.name]
        elif registry.squash(name) in map(registry.squash, (entry.name, *entry.aliases)):
            raise UserError(
                f"the name {name!r} is taken by {entry.module}.{entry.attribute}. Give the class "
                "another name, or pass name=."
            )
    said = {word: getattr(cls, word) for word in SAID if hasattr(cls, word)}
    parameters = _parameters(cls)
    entries[name] = registry.Entry(
        name=name,
        module=cls.__module__,
        attribute=cls.__qualname__,
        summary=(inspect.getdoc(cls) or "").split("\n")[0].rstrip("."),
        group="own",
        aliases=tuple(said.get("aliases", ())),
        arguments={word: _default(p) for word, p in parameters.items()},
        annotations={
            word: p.annotation
            if isinstance(p.annotation, str)
            else inspect.formatannotation(p.annotation)
            for word, p in parameters.items()
            if p.annotation is not p.empty
        },
        constants=said,
        thing=cls,
        file=file,
    )
    return cls


def snake(name: str) -> str:
    """`GatedResidual` is `gated_residual`, `MRNLike` is `mrn_like`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _check(cls: object) -> None:
    if not isinstance(cls, type) or not issubclass(cls, Architecture):
        found = cls.__name__ if isinstance(cls, type) else repr(cls)
        raise UserError(
            f"expected a subclass of polytask.architectures.Architecture, found {found}. Derive "
            "the class from it; a plain encoder needs no registration."
        )
    if cls.compute is Architecture.compute:
        raise UserError(
            f"the architecture {cls.__name__} has no compute(self, x, tasks) of its own. Write "
            "one that answers (outputs by task, features)."
        )
    missing = [word for word in ("encoder", "tasks") if word not in _parameters(cls)]
    if missing:
        raise UserError(
            f"{cls.__name__}.__init__ must take encoder and tasks, found no "
            f"{' and no '.join(missing)}. Begin it with (self, encoder, tasks, ...)."
        )


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """What `__init__` takes by name; through `**options` also what those of its bases take."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        listed = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        for parameter in listed:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                found.setdefault(parameter.name, parameter)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in listed):
            break
    return found


def _default(parameter: inspect.Parameter) -> str:
    """The default as source text; "" when there is none."""
    return "" if parameter.default is parameter.empty else repr(parameter.default)
