"""Carrying out a study that a verb was told, and showing what comes of it."""

from __future__ import annotations

import json as jsonlib
from functools import partial
from pathlib import Path
from typing import Any

from polytask.cli._config import Settings
from polytask.cli._data import check_words
from polytask.cli._line import command_line
from polytask.cli._show import (
    console,
    quiet_stdout,
    show_dataset,
    show_left_out,
    show_plan,
    spoken,
)
from polytask.study.settings import Choice

Source = Choice | Path | dict[Any, Choice | Path]
"""What `data` names: a data set, a table or a folder; or one of these for each task."""


def carry_out(name: str, settings: Settings, source: Source, *, json: bool) -> None:
    """Call the function of `polytask.study` with these checked settings, and print its answer.

    The plan of a dry run, else the verdict and where the report is; with `json` one document.
    """
    screen = console(json=json)
    with quiet_stdout(json), spoken(settings.get("progress"), "polytask.study"):
        if not isinstance(source, dict):
            check_words(settings, source)
        from polytask import study

        result = getattr(study, name)(
            plain(source),
            **arguments(settings),
            on_data=partial(show_dataset, screen),
            on_notes=partial(show_left_out, screen, everything="the study's results.json has all"),
            command=command_line(),
        )
        if settings.get("dry_run"):
            show_plan(screen, result.results["plan"])
        elif not json:
            from polytask.report import print_verdict

            print_verdict(result.results)
        if result.report is not None:
            screen.print(f"report: {result.report}", markup=False, highlight=False, soft_wrap=True)
    if json:
        where = {"folder": str(result.folder), "report": result.report and str(result.report)}
        print(jsonlib.dumps(result.results | where, indent=1))


def arguments(settings: Settings) -> dict[str, Any]:
    """The settings as keyword arguments of that function: the same words, plain values."""
    return {word: plain(value) for word, value in settings.items() if word != "data"}


def plain(value: Any) -> Any:
    """A checked value as it stands in YAML: choices by name, everything else as it is."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value.plain() if isinstance(value, Choice) else value
