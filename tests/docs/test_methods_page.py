"""The page of methods says what the methods say of themselves."""

import importlib.util
from pathlib import Path
from types import ModuleType

import polytask

FILE = Path(__file__).parents[2] / "docs" / "make_methods.py"


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_methods", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date_and_names_every_method() -> None:
    made = maker()
    text = made.PAGE.read_text(encoding="utf-8")
    assert text == made.page(), "run: python docs/make_methods.py"
    assert all(f"### {name}\n" in text for name in polytask.list_methods())
