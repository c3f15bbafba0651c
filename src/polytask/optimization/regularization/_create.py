"""Regularizers by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polytask import registry
from polytask.errors import UserError
from polytask.optimization.regularization._base import Regularizer

Term = str | Mapping[str, Any] | Regularizer
Terms = Term | Sequence[Term]
"""What `regularize=` takes: one term or several, see `create_regularizers`."""


def list_regularizers(pattern: str = "*") -> list[str]:
    """Names of all regularizers that match a shell pattern, sorted. Imports none of them.

    >>> list_regularizers("t*")
    ['tensor_train', 'trace_norm', 'tucker']
    """
    return registry.names("regularizer", pattern)


def create_regularizer(
    regularizer: str | Mapping[str, Any] | Regularizer, /, **arguments: Any
) -> Regularizer:
    """Build a regularizer: `create_regularizer("trace_norm", strength=0.1)`.

    Args:
        regularizer: its name, a mapping of its name to its arguments (as YAML writes it,
            `{trace_norm: {strength: 0.1}}`), or a regularizer, which is given back.
        arguments: keyword arguments of the class.

    Raises:
        UserError: no regularizer of that name, or an argument that it does not take.

    >>> create_regularizer({"trace_norm": {"strength": 0.1}}).strength
    0.1
    """
    if isinstance(regularizer, Regularizer):
        if arguments:
            raise UserError(
                "a regularizer was given ready made, with arguments beside it "
                f"({', '.join(arguments)}); expected one of the two. Give its name with them."
            )
        return regularizer
    if isinstance(regularizer, Mapping):
        (name, inside), *_ = [*regularizer.items(), ("", None)]
        if len(regularizer) != 1 or not isinstance(inside, Mapping | None):
            raise UserError(
                "a regularizer is one name with its arguments, as in {l2: {strength: 0.1}}; found "
                f"{dict(regularizer)!r}. Write several as a list."
            )
        return create_regularizer(str(name), **dict(inside or {}), **arguments)
    if not isinstance(regularizer, str):
        raise UserError(
            f"a regularizer is a name, a mapping {{name: arguments}} or a Regularizer; found "
            f"{regularizer!r}. Known names: {', '.join(list_regularizers())}."
        )
    made = registry.create("regularizer", regularizer, **arguments)
    if not isinstance(made, Regularizer):
        raise UserError(
            f"regularizer {regularizer!r} must make a Regularizer, found {type(made).__name__}."
        )
    return made


def create_regularizers(wanted: Terms) -> list[Regularizer]:
    """Build several: one, a list of them, or a mapping of names to arguments.

    >>> [term.name for term in create_regularizers({"l2": None, "mrn": {"every": 10}})]
    ['l2', 'mrn']

    Raises:
        UserError: as `create_regularizer`; a name that stands there twice.
    """
    listed: list[Any] = [wanted]
    if isinstance(wanted, Mapping):
        listed = [{name: arguments} for name, arguments in wanted.items()]
    elif isinstance(wanted, Sequence) and not isinstance(wanted, str):
        listed = list(wanted)
    made = [create_regularizer(one) for one in listed]
    names = [regularizer.name for regularizer in made]
    for name, regularizer in zip(names, made, strict=True):
        if not name:
            raise UserError(
                f"regularize: {type(regularizer).__name__} has no name to tell its term by. Write "
                "`name = ...` in the class."
            )
        if names.count(name) > 1:
            raise UserError(
                f"regularize: the term {name!r} stands there {names.count(name)} times; "
                "expected each once. Leave one out."
            )
    return made
