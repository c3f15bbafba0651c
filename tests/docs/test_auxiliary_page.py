"""The page on auxiliary tasks: every recipe is on it, and its Python runs."""

import re
from pathlib import Path

import pytest

from polytask.auxiliary import list_auxiliaries

PAGE = Path(__file__).parents[2] / "docs" / "auxiliary.md"


def test_every_recipe_is_on_the_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == list_auxiliaries()


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
def test_its_python_runs(code: str) -> None:
    names: dict[str, object] = {}
    exec(code, names)
    assert "rotation" in names["extended"].tasks  # type: ignore[attr-defined]
