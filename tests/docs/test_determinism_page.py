"""Every promise of docs/determinism.md names a test that is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "determinism.md").read_text(encoding="utf-8")


def functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_the_named_test_is_there(file: str, name: str) -> None:
    assert name in functions(ROOT / file)


def test_no_promise_goes_without_a_test() -> None:
    """Every row of the tables names one."""
    assert len(NAMED) > 20
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    promises = [row for row in rows if "| test |" not in row]
    assert len(promises) > 15
    assert [row for row in promises if "`tests/" not in row] == []
