"""The data sets by name: list them, read a data card, load one.

Listing and reading cards parse source files and import neither torch nor pandas.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask import registry
from polytask.errors import PolytaskError

if TYPE_CHECKING:
    from polytask.data.dataset import Dataset


def list_datasets(pattern: str = "*") -> list[str]:
    """Sorted names of the data sets that match a shell pattern."""
    return registry.names("dataset", pattern)


def load_dataset(name: str, /, **options: Any) -> Dataset:
    """Fetch (the first time) and read the data set called `name`.

    Options are those of the set's own function, for instance `split="published"`.

    Raises:
        UserError: the name or an option is unknown, or the data cannot be fetched.
    """
    dataset: Dataset = registry.create("dataset", name, **options)
    return dataset


def dataset_card(name: str) -> dict[str, Any]:
    """The data card of a set: title, source, licence, tasks, rows, split, original address.

    Reads the literal `CARD = {...}` of the set's file without importing or fetching anything;
    {} when a third party's set has none.

    Raises:
        UserError: there is no data set of that name.
    """
    entry = registry.find("dataset", name)
    for node in ast.parse(_source(entry.module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            assigned = node.targets
        elif isinstance(node, ast.AnnAssign):
            assigned = [node.target]
        else:
            continue
        names = {target.id for target in assigned if isinstance(target, ast.Name)}
        if "CARD" in names and node.value is not None:
            card: dict[str, Any] = ast.literal_eval(node.value)
            return card
    return {}


def _source(module: str) -> Path:
    """The file of a module; our own are found by their place, without importing a parent."""
    if module.startswith("polytask."):
        return registry.ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise PolytaskError(f"the registered data set module {module!r} cannot be found")
    return Path(spec.origin)
