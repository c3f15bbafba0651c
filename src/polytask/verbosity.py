"""How much polytask says: one logger tree, `polytask`, of the standard library's logging.

The library prints nothing and never configures the root logger. Who has handlers of their own
gets the records through them; `set_verbosity` is for everybody else, and steps back as soon as
there is such a handler, so that no line appears twice. The environment variable
`POLYTASK_VERBOSITY` stands for a call of `set_verbosity` at the import.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator

from polytask.errors import UserError, unknown

VARIABLE = "POLYTASK_VERBOSITY"
LEVELS = {
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
LOGGER = logging.getLogger("polytask")


def set_verbosity(level: str | int) -> None:
    """Say so much on stderr: 'error', 'warning', 'info', 'debug', or a level of `logging`.

    'info' adds a line an epoch and a run where no progress bar is drawn; 'error' leaves out
    warnings and progress bars too. A line is written only while no handler of your own, on the
    logger "polytask", below it or on the root, gets it as well.

    Raises:
        UserError: an unknown word, or a number that is no level.
    """
    LOGGER.setLevel(_number(level))
    if not any(isinstance(handler, Screen) for handler in LOGGER.handlers):
        LOGGER.addHandler(Screen())


def get_verbosity() -> str | int:
    """The level in force, as its word, or as a number where it has none.

    Before `set_verbosity` it is that of the root logger: 'warning', unless it was changed.
    """
    number = LOGGER.getEffectiveLevel()
    return next((word for word, level in LEVELS.items() if level == number), number)


def hushed() -> bool:
    """Whether errors alone are wanted on stderr."""
    return not LOGGER.isEnabledFor(logging.WARNING)


def draws_bars(wanted: bool) -> bool:
    """Whether to draw a progress bar: it is wanted, stderr is a terminal, and not hushed."""
    return wanted and sys.stderr.isatty() and not hushed()


def start() -> None:
    """What the import of polytask does: it follows the environment's word.

    No handler is added without it: Python itself then shows warnings, bare, on stderr, and a run
    that failed in somebody's notebook does not go unseen.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    try:
        set_verbosity(wanted)
    except UserError as error:  # a wrong variable should not keep a program from starting
        set_verbosity("warning")
        LOGGER.warning("%s: %s", VARIABLE, error)


@contextlib.contextmanager
def speaking(level: str | int | None) -> Iterator[None]:
    """For the command, which owns its stderr: lines go there whoever else listens.

    Args:
        level: None for what `set_verbosity` or the environment said, or else 'warning'.

    At 'error' the warnings of other packages are left out too. All is as before afterwards.
    """
    before, handlers = LOGGER.level, list(LOGGER.handlers)
    LOGGER.setLevel((before or logging.WARNING) if level is None else _number(level))
    for handler in handlers:
        if isinstance(handler, Screen):
            LOGGER.removeHandler(handler)
    screen = Screen(always=True)
    LOGGER.addHandler(screen)
    try:
        with _others_hushed() if hushed() else contextlib.nullcontext():
            yield
    finally:
        LOGGER.removeHandler(screen)
        LOGGER.setLevel(before)
        for handler in handlers:
            LOGGER.addHandler(handler)


@contextlib.contextmanager
def _others_hushed() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def at_least_info(name: str) -> Iterator[None]:
    """Inside, the logger `name` lets its progress lines through."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(min(logging.INFO, logger.getEffectiveLevel()))
    try:
        yield
    finally:
        logger.setLevel(before)


class Screen(logging.Handler):
    """Writes to whatever `sys.stderr` is by then, unless another handler shows the record.

    A progress bar puts itself in the place of `sys.stderr`, so lines appear above it.
    """

    def __init__(self, *, always: bool = False) -> None:
        super().__init__()
        self.always = always
        self.setFormatter(_Lines())

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; a stderr that is closed or gone must not end a training."""
        if sys.stderr is None or (not self.always and _shown_elsewhere(record.name)):
            return
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()


class _Lines(logging.Formatter):
    """Progress as it is; anything else after its level."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno == logging.INFO else f"{record.levelname.lower()}: {text}"


def _shown_elsewhere(name: str) -> bool:
    """Whether a record of this logger reaches a handler that is not ours."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        for handler in logger.handlers:
            if not isinstance(handler, Screen | logging.NullHandler):
                return True
        logger = logger.parent if logger.propagate else None
    return False


def _number(level: str | int) -> int:
    """A word or a number, also as text, as a level of `logging`."""
    if isinstance(level, str):
        word = level.strip().lower()
        if word in LEVELS:
            return LEVELS[word]
        if not word.isdecimal():
            raise unknown("verbosity", level, LEVELS)
        level = int(word)
    if isinstance(level, bool) or not isinstance(level, int) or level <= 0:
        words = ", ".join(LEVELS)
        raise UserError(f"verbosity should be one of {words}, or a level above 0; found {level!r}.")
    return level
