"""`--plugins FILE...`: the only way in which the command imports code of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from polytask.cli import _options as options
from polytask.errors import UserError
from polytask.plugins import load

Plugins = Annotated[
    list[Path] | None,
    Parameter(
        group=options.MODEL,
        consume_multiple=options.MANY,
        metavar="FILE...",
        help="Python files of your own that register architectures; they are run.",
    ),
]


def bring(files: Sequence[Path] | None) -> None:
    """Import the files, before any name is looked up. Raises `UserError`, naming the flag."""
    for file in files or ():
        try:
            load(file)
        except UserError as error:
            raise UserError(f"--plugins: {error}") from error
