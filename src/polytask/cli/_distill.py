"""`--distill from=single_task form=soft` and YAML's `{from: single_task, form: soft}` are one.

`polytask train` learns from saved models: `--distill from=models/price`, or `price=models/price`
for each task.
"""

from __future__ import annotations

from typing import Any

from polytask.cli._methods import scalar, typed
from polytask.errors import UserError
from polytask.study.settings import ALONE, DISTILL_OPTIONS, choose_distill


def teachers(raw: object, where: str) -> dict[str, Any]:
    """The distillation as a mapping; a word alone says whom to learn from.

    Raises `UserError`, naming the flag or the key, for what cannot be.
    """
    given: dict[str, Any] = {}
    if isinstance(raw, dict):
        given = {str(word): typed(value) for word, value in raw.items()}
    else:
        for part in raw if isinstance(raw, list) else [raw]:
            word, equals, value = str(part).partition("=")
            if not equals:
                word, value = "from", word
            if not value or word in given:
                raise UserError(
                    f"{where}: expected from=single_task and options as OPTION=VALUE, each once, "
                    f"found {part!r}."
                )
            given[word] = scalar(value)
    try:
        choose_distill(given)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return given


def saved_teachers(raw: object, where: str) -> dict[str, Any]:
    """The distillation of one training: "from", a folder or folders by task, and options.

    On the command line a word that is no option is a task: `price=models/price form=soft`.

    Raises `UserError`, naming the flag or the key, for what cannot be.
    """
    given: dict[str, Any] = {}
    if isinstance(raw, dict):
        given = {str(word): typed(value) for word, value in raw.items()}
    else:
        folders: dict[str, str] = {}
        for part in raw if isinstance(raw, list) else [raw]:
            word, equals, value = str(part).partition("=")
            if not equals:
                word, value = "from", word
            if not value or word in given or word in folders:
                raise UserError(
                    f"{where}: expected from=FOLDER or TASK=FOLDER, and options as OPTION=VALUE, "
                    f"each once; found {part!r}."
                )
            if word == "from":
                given[word] = value
            elif word in DISTILL_OPTIONS:
                given[word] = scalar(value)
            else:
                folders[word] = value
        if folders and "from" in given:
            raise UserError(
                f"{where}: expected from=FOLDER for all tasks or TASK=FOLDER for each, found both."
            )
        if folders:
            given["from"] = folders
    if given.get("from") == ALONE:
        raise UserError(
            f"{where}: one training has no networks of single tasks to learn from. Train them "
            "first and name their folders, or use polytask compare, which trains them itself."
        )
    if not given.get("from"):
        raise UserError(
            f"{where}: expected from=FOLDER or TASK=FOLDER, the model to learn from; found none."
        )
    return given
