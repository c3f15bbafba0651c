"""Filling the templates: every name is escaped, and a name that is not given is an error."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from polytask.errors import need
from polytask.report.names import short

if TYPE_CHECKING:
    from jinja2 import Environment

_MOST = 48  # columns of a name in a table


def fill(template: str, **context: Any) -> Markup:
    """A template with its blanks filled.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    return Markup(_environment().get_template(template).render(context))


@cache
def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as cause:
        raise need("jinja2", "app", "writing the report") from cause
    made = Environment(
        loader=PackageLoader("polytask.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["brief"] = brief
    return made


def brief(name: str) -> str:
    """A name as it stands in tables and above plots; its card and the data section have it all."""
    return short(name, _MOST)
