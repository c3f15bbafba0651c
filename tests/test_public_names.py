"""The lazy names of the package: each loads, and type checkers are told the same ones."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import polytask

STUB = Path(polytask.__file__).with_name("__init__.pyi")


def stubbed() -> dict[str, str]:
    """Name -> the module that the stub takes it from."""
    found = {}
    for node in ast.parse(STUB.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module != "typing":
            for alias in node.names:
                assert alias.name == alias.asname, "only a repeated name is public in a stub"
                found[alias.name] = node.module
    return found


def test_the_stub_has_the_names_of_the_package() -> None:
    assert stubbed() == polytask._PUBLIC


@pytest.mark.parametrize("name", polytask.__all__)
def test_a_public_name_is_what_the_stub_says(name: str) -> None:
    value = getattr(polytask, name)
    assert name in dir(polytask)
    if name != "__version__":
        assert value is getattr(importlib.import_module(stubbed()[name]), name)


def test_packages_are_attributes() -> None:
    folders = {p.parent.name for p in STUB.parent.glob("*/__init__.py")}
    assert set(polytask._PACKAGES) == folders - {"cli", "kernel"}
    code = "import polytask; print(polytask.auxiliary.local_moran, polytask.relationships)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_a_wrong_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'PcGrad2'"):
        polytask.PcGrad2()
