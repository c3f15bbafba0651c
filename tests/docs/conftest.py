"""The programs that write the pages, as modules."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="session")
def program() -> Callable[[str], ModuleType]:
    """`program("make_methods")` is docs/make_methods.py, imported once in a test process."""
    if str(DOCS) not in sys.path:
        sys.path.insert(0, str(DOCS))
    return importlib.import_module
