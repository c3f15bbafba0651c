"""What polytask says, where, and to whom: in fresh interpreters, whose logging nobody touched."""

import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

import polytask
from polytask import verbosity
from polytask.errors import UserError


def fresh(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run lines of Python after `import logging, sys, polytask`."""
    done = subprocess.run(
        [sys.executable, "-c", "import logging, sys, polytask\n" + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        env={k: v for k, v in os.environ.items() if k != verbosity.VARIABLE} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done


SAY = """
log = logging.getLogger("polytask.study")
log.debug("a detail"); log.info("some progress"); log.warning("careful"); log.error("lost")
"""


def test_by_default_python_shows_warnings_and_nothing_is_configured() -> None:
    done = fresh(
        "tree = logging.getLogger('polytask')\n"
        "assert tree.handlers == []\n"
        "assert (tree.level, tree.propagate) == (logging.NOTSET, True)\n"
        "assert polytask.get_verbosity() == 'warning'\n"
        + SAY
        + "assert not logging.root.handlers\n"
        "assert logging.root.level == logging.WARNING"
    )
    assert (done.stdout, done.stderr) == ("", "careful\nlost\n")


@pytest.mark.parametrize(
    ("level", "lines"),
    [
        ("'error'", ["error: lost"]),
        ("'Warning'", ["warning: careful", "error: lost"]),
        ("'info'", ["some progress", "warning: careful", "error: lost"]),
        ("'debug'", ["debug: a detail", "some progress", "warning: careful", "error: lost"]),
        ("logging.INFO", ["some progress", "warning: careful", "error: lost"]),
        ("35", ["error: lost"]),
    ],
)
def test_set_verbosity_speaks_on_stderr_once(level: str, lines: list[str]) -> None:
    twice = f"polytask.set_verbosity({level})\n" * 2
    done = fresh(twice + SAY + "assert not logging.root.handlers")
    assert (done.stdout, done.stderr.splitlines()) == ("", lines)


@pytest.mark.parametrize("name", ["''", "'polytask'", "'polytask.study'"])
@pytest.mark.parametrize("first", [True, False])
def test_with_a_handler_of_ones_own_no_line_comes_twice(name: str, first: bool) -> None:
    ours = "polytask.set_verbosity('info')\n"
    theirs = f"logging.getLogger({name}).addHandler(logging.StreamHandler(sys.stderr))\n"
    done = fresh((theirs + ours if first else ours + theirs) + SAY)
    assert done.stderr.splitlines() == ["some progress", "careful", "lost"]


def test_a_handler_elsewhere_takes_no_line_away() -> None:
    done = fresh(
        "polytask.set_verbosity('info')\n"
        "logging.getLogger('polytask.training').addHandler(logging.StreamHandler(sys.stderr))\n"
        "logging.getLogger('other').addHandler(logging.StreamHandler(sys.stderr))\n"
        "quiet = logging.getLogger('polytask.study'); quiet.addHandler(logging.NullHandler())\n"
        + SAY
    )
    assert done.stderr.splitlines() == ["some progress", "warning: careful", "error: lost"]


def test_the_environment_has_the_first_word_and_the_program_the_last() -> None:
    assert fresh(SAY, POLYTASK_VERBOSITY="info").stderr.startswith("some progress\n")
    assert fresh(SAY, POLYTASK_VERBOSITY="40").stderr == "error: lost\n"
    assert fresh(SAY, POLYTASK_VERBOSITY="").stderr == "careful\nlost\n"
    done = fresh("polytask.set_verbosity('error')" + SAY, POLYTASK_VERBOSITY="debug")
    assert done.stderr == "error: lost\n"


def test_a_wrong_environment_is_said_and_stops_nothing() -> None:
    done = fresh("", POLYTASK_VERBOSITY="warn")
    assert done.stderr.startswith("warning: POLYTASK_VERBOSITY: unknown verbosity 'warn'; did you")


def test_exceptions_come_with_where_they_were_raised() -> None:
    done = fresh(
        "polytask.set_verbosity('error')\n"
        "try:\n    1 / 0\n"
        "except ZeroDivisionError:\n    logging.getLogger('polytask').exception('lost')"
    )
    assert done.stderr.startswith("error: lost\nTraceback")
    assert done.stderr.endswith("division by zero\n")


@pytest.mark.parametrize("broken", ["sys.stderr = None", "sys.stderr.close()"])
def test_a_lost_stderr_ends_nothing(broken: str) -> None:
    done = fresh(f"polytask.set_verbosity('info'); {broken}\n" + SAY + "print('alive')")
    assert done.stdout == "alive\n"


@pytest.fixture
def untouched() -> Iterator[None]:
    level, handlers = verbosity.LOGGER.level, list(verbosity.LOGGER.handlers)
    yield
    verbosity.LOGGER.setLevel(level)
    verbosity.LOGGER.handlers[:] = handlers


@pytest.mark.usefixtures("untouched")
def test_what_was_set_is_what_is_got() -> None:
    for level in ("error", "warning", "info", "debug", 35):
        polytask.set_verbosity(level)
        assert polytask.get_verbosity() == level
    polytask.set_verbosity(logging.DEBUG)
    assert polytask.get_verbosity() == "debug"


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("level", "says"),
    [
        ("wraning", "unknown verbosity 'wraning'; did you mean 'warning'?"),
        ("-1", "unknown verbosity '-1'"),
        (0, "error, warning, info, debug, or a level above 0; found 0"),
        (-10, "found -10"),
        (True, "found True"),
        (None, "found None"),
        (1.5, "found 1.5"),
    ],
)
def test_what_is_no_level_is_refused_and_changes_nothing(level: object, says: str) -> None:
    polytask.set_verbosity("info")
    with pytest.raises(UserError) as caught:
        polytask.set_verbosity(level)  # type: ignore[arg-type]
    assert says in str(caught.value)
    assert polytask.get_verbosity() == "info"


@pytest.mark.usefixtures("untouched")
def test_errors_only_means_no_progress_bar_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    drawn = {}
    for level in ("error", "warning", "info"):
        polytask.set_verbosity(level)
        drawn[level] = (verbosity.draws_bars(True), verbosity.draws_bars(False))
    assert drawn == {"error": (False, False), "warning": (True, False), "info": (True, False)}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("level", [None, "error", "info"])
def test_the_command_leaves_all_as_it_was(
    capsys: pytest.CaptureFixture[str], level: str | None
) -> None:
    polytask.set_verbosity("warning")
    before = list(verbosity.LOGGER.handlers)
    with verbosity.speaking(level):
        # pytest listens on the root logger, and still the command says it on its stderr, once.
        logging.getLogger("polytask.training").error("lost")
    assert capsys.readouterr().err == "error: lost\n"
    assert (polytask.get_verbosity(), verbosity.LOGGER.handlers) == ("warning", before)
    logging.getLogger("polytask.training").error("again")
    assert capsys.readouterr().err == ""
