"""From an exception to what a person reads: two lines on stderr and an exit code.

2: the input is wrong, or training found out that it is (`PolytaskError`, a parse error, a file
that cannot be read or written). 1: our own bug. A traceback is shown with `--debug` only.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polytask.errors import NonFiniteError, PolytaskError, UserError, nearest, unknown

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.exceptions import CycloptsError

WRONG_INPUT, OUR_FAULT, INTERRUPTED, ENDED = 2, 1, 130, 143
GO_ON = "run the same command again to go on; what is finished is kept"


def guarded(build: Callable[[], App], words: Sequence[str], *, debug: bool) -> int:
    """Build the application, run `words` in it and turn whatever happens into an exit code."""
    try:
        _call(build(), words)
        sys.stdout.flush()
        return 0
    except PolytaskError as error:
        return _report(str(error), _advice(error, words), WRONG_INPUT, debug)
    except BrokenPipeError:
        # The reader (`| head`) has gone: not an error of anyone. Python's own flush at exit
        # would complain once more, so stdout is pointed at nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):
            return 0  # the same, found by rich, which leaves with code 1
        raise
    except OSError as error:
        if error.filename is None and error.strerror is None:
            return _bug(error, debug)
        where = f"{error.filename}: " if error.filename is not None else ""
        text = f"{where}{error.strerror or error}"
        return _report(text, "check the path, its permissions and the free disk space", 2, debug)
    except KeyboardInterrupt as stop:
        # Who was interrupted may know better what is kept and where.
        said = "; ".join(getattr(stop, "__notes__", [GO_ON]))
        print(f"interrupted: {said}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        return _bug(error, debug)


def refused(text: str, advice: str) -> int:
    """Say what is wrong with the command line and what to do; the exit code of that."""
    return _report(text, advice, WRONG_INPUT, debug=False)


def _call(app: App, words: Sequence[str]) -> None:
    """Run the application; its own parse errors leave as `UserError` in our words."""
    from cyclopts.exceptions import CycloptsError

    try:
        app(
            list(words),
            exit_on_error=False,
            print_error=False,
            verbose=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        raise UserError(_parse_error(error, app)) from error


def _parse_error(error: CycloptsError, app: App) -> str:
    """One line for a command line that does not parse, always with the nearest right word."""
    from cyclopts import exceptions as kinds

    from polytask.cli import EVERY_VERB

    if isinstance(error, kinds.UnknownOptionError):
        # Only what stands before '=' is the flag's name.
        word = (error.token.keyword or error.token.value).split("=", 1)[0]
        flags = {name for argument in error.argument_collection for name in argument.names}
        flags |= set(EVERY_VERB)
        verb = " ".join(error.command_chain or ())
        close = nearest(word, flags)
        hint = f"; did you mean {close}?" if close else ""
        return f"unknown flag {word} of polytask {verb}".rstrip() + hint
    if isinstance(error, kinds.UnknownCommandError):
        word = (error.unused_tokens or ["?"])[0]
        return str(unknown("flag" if word.startswith("-") else "verb", word, _verbs(app)))
    if isinstance(error, kinds.UnusedCliTokensError):
        rest = " ".join(error.unused_tokens or ())
        return f"unexpected words at the end: {rest}; every value follows its --flag"
    text = " ".join(str(error).split())
    if isinstance(error, kinds.CoercionError) and (token := error.token) is not None:
        wanted = {float: "a number", Path: "a path"}.get(error.target_type or str)
        if wanted:
            return f"{token.keyword} should be {wanted}, found {token.value!r}"
    # What cyclopts says before our own words, or before the flag.
    text = re.sub(r"^Invalid value for \S+: (?=--)", "", text)
    if isinstance(error, kinds.MissingArgumentError):
        text = re.sub(r'^Command ".*?" parameter ', "", text).rstrip(".")
        text = text.replace("at least 1 element. Got 0", "at least one value") + "; none follows it"
    return text


def _verbs(app: App) -> list[str]:
    """Names of the verbs of an application."""
    return [name for name in app if not name.startswith("-")]


def _advice(error: PolytaskError, words: Sequence[str]) -> str:
    """The second line: what to do next."""
    if isinstance(error, NonFiniteError):
        return "try a smaller --lr, or look at the named task's labels for extreme values"
    from polytask.cli import VERBS

    verb = next((word for word in words if word in VERBS), None)
    return f"for all flags: polytask {verb} --help" if verb else "for all verbs: polytask --help"


def _bug(error: BaseException, debug: bool) -> int:
    what = " ".join(f"{type(error).__name__}: {error}".split())
    text = f"polytask failed, and the fault is its own: {what}"
    return _report(text, "run again with --debug to see where, and report it", OUR_FAULT, debug)


def _report(text: str, advice: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"error: {' '.join(text.split())}\n{advice}", file=sys.stderr)
    return code
