"""The command `polytask`: one file per verb, nothing heavy imported before a verb runs.

Importing this package costs neither torch nor pandas nor numpy, so `--help` of every verb
answers at once. `main` is the console script; `run` is the same without leaving the process.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from polytask.errors import need
from polytask.verbosity import speaking

if TYPE_CHECKING:
    from cyclopts import App

VERBS = {
    "compare": (
        "polytask.cli.compare:compare",
        "Compare ways to share and to balance, and say with evidence whether sharing helped.",
    ),
    "auxiliary": (
        "polytask.cli.auxiliary:select",
        "Find out which helper tasks help one main task, how much, and how sure that is.",
    ),
    "relate": (
        "polytask.cli.relate:relate",
        "Find out which tasks should share a network, and check that it pays.",
    ),
    "pareto": (
        "polytask.cli.pareto:pareto",
        "Trace the trade-offs between tasks with one model a preference.",
    ),
    "train": (
        "polytask.cli.train:train",
        "Fit one model on a table or a registered data set, and test it.",
    ),
    "predict": ("polytask.cli.predict:predict", "Predict every target for new rows."),
    "report": (
        "polytask.cli.report:report",
        "Write the report of a study anew, or of several studies on one page.",
    ),
    "list": (
        "polytask.cli.listing:listing",
        "List methods, architectures, encoders, data sets and more.",
    ),
    "data": ("polytask.cli.data:data", "Fetch data sets into the cache."),
    "env": ("polytask.cli.env:env", "Show versions, device and threads."),
}
"""Verb -> where it is, and its line in the help."""
SUMMARY = (
    "Multi-task learning with proof: should these tasks share a network, and how should they be "
    "balanced?"
)
EVERY_VERB = {
    "--help": "what a verb does, and its flags",
    "--quiet": "nothing on stderr but errors: no progress, no notes, no warnings",
    "--verbose": "say line by line what is being done",
    "--debug": "show where an error comes from",
}
"""Flags of every verb, taken off the command line before the verb sees it."""
MORE = "\nAlso --quiet, --verbose, --debug and the exit codes: polytask --help\n"
EPILOGUE = (
    "Every verb takes:\n"
    + "".join(f"  {flag:<10} {text}\n" for flag, text in EVERY_VERB.items())
    + "\nExit codes: 0 done; 1 a fault of polytask's own; 2 wrong input, with what to change; "
    "130 interrupted (Ctrl-C); 143 ended (SIGTERM). "
    "With --json, stdout holds one JSON document, or nothing when the code is not 0.\n"
    "\nFirst steps: polytask list datasets; "
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
            help_epilogue=EXAMPLES[verb] + MORE,
            sort_key=order,
        )
    return app


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code: 0 done, 1 our fault, 2 the input's.

    130 and 143 when it was interrupted or ended from outside.
    """
    from polytask.cli._errors import guarded, refused
    from polytask.cli._line import remembered

    words, given = _take(argv, ("--debug", "--quiet", "--verbose"))
    if {"--quiet", "--verbose"} <= given:
        return refused("--quiet and --verbose contradict each other", "give one of them, or none")
    level = "info" if "--verbose" in given else "error" if "--quiet" in given else None
    with speaking(level), remembered(argv):
        return guarded(build, words, debug="--debug" in given)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line (default: this process's) and exit with its code."""
    from polytask.cli._signals import ended_like_interrupted

    with ended_like_interrupted() as ended:
        try:
            code = run(sys.argv[1:] if argv is None else argv)
        except KeyboardInterrupt:  # before or after the verb: nothing to say
            code = 130
    raise SystemExit(ended.code(code))


def _take(argv: Sequence[str], flags: Sequence[str]) -> tuple[list[str], set[str]]:
    """The command line without those flags, and which of them it had; what follows `--` stays."""
    end = argv.index("--") if "--" in argv else len(argv)
    head = [word for word in argv[:end] if word not in flags]
    return [*head, *argv[end:]], set(flags) & set(argv[:end])


def _version() -> str:
    from polytask import __version__

    return __version__
