"""`--distill from=single_task form=soft` and YAML's `{from: single_task, form: soft}` are one."""

from __future__ import annotations

from typing import Any

from polytask.cli._methods import scalar, typed
from polytask.errors import UserError
from polytask.study.settings import choose_distill


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
