"""From `--data` and its companions to a data set in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from polytask.cli._config import Settings, flag
from polytask.errors import UserError
from polytask.study.settings import Choice

if TYPE_CHECKING:
    from polytask.data import Dataset

WORDS = ("targets", "drop", "split", "test")


def check_words(settings: Settings, source: Choice | Path) -> None:
    """Whether the words fit the data. Raises `UserError`, naming the flag."""
    if isinstance(source, Choice):
        for word in ("drop", "test"):
            if word in settings:
                raise UserError(
                    f"{settings.where(word)} is for a table of your own; the data set "
                    f"{source.name!r} comes with its own columns and rows"
                )
    elif "targets" not in settings and source.is_file():
        raise UserError(
            f"which columns of {source} are to be predicted? Name them: "
            f"{flag('targets')} COLUMN COLUMN:KIND ...; its columns: {_columns(source)}"
        )


def load(settings: Settings, source: Choice | Path) -> Dataset:
    """The data set that the settings ask for. Raises `UserError`, naming flag or column."""
    check_words(settings, source)
    # Not at the top: the module pulls torch in, and `--help` must not wait for it.
    from polytask.study.source import open_data

    return open_data(source, **{word: settings[word] for word in WORDS if word in settings})


def _columns(path: Path) -> str:
    from polytask.data import read_table

    names = [str(name) for name in read_table(path).columns]
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
