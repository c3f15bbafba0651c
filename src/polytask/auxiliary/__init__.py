"""Helper tasks made of data already there, and cheap statistics that tell which may help.

Importing this package costs nothing: numpy and torch come with the first name that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from polytask import registry

if TYPE_CHECKING:
    from polytask.auxiliary._base import Addition, Construction, construct, constructed_tasks
    from polytask.auxiliary._label_affinity import label_affinity
    from polytask.auxiliary._weights import knn_weights
    from polytask.auxiliary.bandit import Bandit, Posterior
    from polytask.auxiliary.construction.local_moran import LocalMoran
    from polytask.auxiliary.construction.multiresolution_moran import MultiresolutionMoran
    from polytask.auxiliary.labels import Association, LabelStatistics, label_statistics
    from polytask.auxiliary.moran import local_moran, multiresolution_moran

_HOME = {
    "Addition": "_base",
    "Association": "labels",
    "Bandit": "bandit",
    "Construction": "_base",
    "LabelStatistics": "labels",
    "LocalMoran": "construction.local_moran",
    "MultiresolutionMoran": "construction.multiresolution_moran",
    "Posterior": "bandit",
    "construct": "_base",
    "constructed_tasks": "_base",
    "knn_weights": "_weights",
    "label_affinity": "_label_affinity",
    "label_statistics": "labels",
    "local_moran": "moran",
    "multiresolution_moran": "moran",
}

__all__ = [
    "Addition",
    "Association",
    "Bandit",
    "Construction",
    "LabelStatistics",
    "LocalMoran",
    "MultiresolutionMoran",
    "Posterior",
    "construct",
    "constructed_tasks",
    "create_auxiliary",
    "knn_weights",
    "label_affinity",
    "label_statistics",
    "list_auxiliaries",
    "local_moran",
    "multiresolution_moran",
]


def list_auxiliaries(pattern: str = "*") -> list[str]:
    """Sorted names of the constructions that match a shell pattern, without importing them."""
    return registry.names("auxiliary", pattern)


def create_auxiliary(name: str, /, **arguments: Any) -> Construction:
    """The construction called `name`. Raises `UserError` for an unknown name or argument."""
    made: Construction = registry.create("auxiliary", name, **arguments)
    return made


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
