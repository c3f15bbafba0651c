"""The command `polytask`: one file per verb, nothing heavy imported before a verb runs.

Importing this package costs neither torch nor pandas nor numpy, so `--help` of every verb
answers at once. `main` is the console script; `run` is the same without leaving the process.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from polytask.errors import need

if TYPE_CHECKING:
    from cyclopts import App

VERBS = {
    "compare": (
        "polytask.cli.compare:compare",
        "Compare ways to share and to balance, and say with evidence whether sharing helped.",
    ),
    "train": (
        "polytask.cli.train:train",
        "Fit one model on a table or a registered data set, and test it.",
    ),
    "predict": ("polytask.cli.predict:predict", "Predict every target for new rows."),
    "list": (
        "polytask.cli.listing:listing",
        "List methods, architectures, encoders or data sets.",
    ),
    "env": ("polytask.cli.env:env", "Show versions, device and threads."),
}
"""Verb -> where it is, and its line in the help."""
SUMMARY = (
    "Multi-task learning with proof: should these tasks share a network, and how should they be "
    "balanced?"
)
EPILOGUE = (
    "Every verb takes --help, and --debug (show where an error comes from). "
    "First steps: polytask list datasets; "
    "polytask compare --data adult --seeds 3 --out runs/adult\n"
)


def build() -> App:
    """The cyclopts application; a verb's module is imported when the verb is needed."""
    try:
        from cyclopts import App, Parameter
    except ImportError as error:
        raise need("cyclopts", "app", "the command line") from error

    app = App(
        name="polytask",
        help=SUMMARY,
        help_epilogue=EPILOGUE,
        help_format="plaintext",
        version=_version,
        default_parameter=Parameter(negative_iterable=(), show_default=False),
        suppress_keyboard_interrupt=False,
    )
    from polytask.cli._options import EXAMPLES

    for order, (verb, (target, summary)) in enumerate(VERBS.items()):
        app.command(
            target,
            name=verb,
            help=summary,
            help_epilogue=EXAMPLES[verb],
            sort_key=order,
        )
    return app


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code: 0 done, 1 our fault, 2 the input's."""
    from polytask.cli._errors import guarded

    words = list(argv)
    head = words[: words.index("--")] if "--" in words else words
    debug = "--debug" in head
    if debug:
        words.remove("--debug")
    return guarded(build, words, debug=debug)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line (default: this process's) and exit with its code."""
    raise SystemExit(run(sys.argv[1:] if argv is None else argv))


def _version() -> str:
    from polytask import __version__

    return __version__
