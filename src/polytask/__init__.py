"""Polytask: multi-task and auxiliary-task learning on PyTorch, with proof that sharing helped.

Names are loaded when they are first used, so `import polytask` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

from polytask import registry as _registry
from polytask import verbosity as _verbosity
from polytask.errors import need as _need

__version__ = "0.1.0"

_PUBLIC = {
    "Balancer": "polytask.optimization",
    "as_balancer": "polytask.optimization",
    "ConFIG": "polytask.optimization.gradients.conflict_free",
    "create_method": "polytask.optimization",
    "list_methods": "polytask.optimization",
    "create_schedule": "polytask.optimization.scheduling",
    "list_schedules": "polytask.optimization.scheduling",
    "create_regularizer": "polytask.optimization.regularization",
    "list_regularizers": "polytask.optimization.regularization",
    "Task": "polytask.tasks",
    "Dataset": "polytask.data",
    "Mixture": "polytask.data",
    "list_datasets": "polytask.data",
    "load_dataset": "polytask.data",
    "create_architecture": "polytask.architectures",
    "create_encoder": "polytask.architectures",
    "list_architectures": "polytask.architectures",
    "register_architecture": "polytask.architectures",
    "create_auxiliary": "polytask.auxiliary",
    "list_auxiliaries": "polytask.auxiliary",
    "Callback": "polytask.training",
    "Trainer": "polytask.training",
    "MultiTaskEstimator": "polytask.tabular",
    "group_tasks": "polytask.relationships",
    "compare": "polytask.study",
    "relate": "polytask.study",
    "pareto": "polytask.study",
    "select_auxiliaries": "polytask.study",
    "get_verbosity": "polytask.verbosity",
    "set_verbosity": "polytask.verbosity",
    "UserError": "polytask.errors",
    "PolytaskError": "polytask.errors",
    "NonFiniteError": "polytask.errors",
}

_PACKAGES = (
    "architectures", "auxiliary", "data", "metrics", "optimization", "relationships", "report",
    "spatial", "study", "tabular", "tasks", "testing", "training",
)  # fmt: skip
"""Found as attributes too, without an import of their own."""

__all__ = ["__version__", *_PUBLIC]

_verbosity.start()


def __getattr__(name: str) -> Any:
    """Load a public name, or a method or architecture by its class name (`polytask.PCGrad`)."""
    if name in _PUBLIC:
        value = _loaded(name)
    elif name in _PACKAGES:
        value = importlib.import_module(f"polytask.{name}")
    elif not name.startswith("_") and (entry := _by_class_name(name)):
        value = entry.load()
    else:
        raise AttributeError(f"module 'polytask' has no attribute {name!r}")
    globals()[name] = value
    return value


def _loaded(name: str) -> Any:
    try:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module in ("", "polytask", "torch", "numpy"):
            raise
        raise _need(module, "app", f"polytask.{name}") from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _by_class_name(name: str) -> _registry.Entry | None:
    if not name[0].isupper():
        return None
    for kind in ("method", "architecture"):
        for entry in _registry.entries(kind).values():
            if entry.attribute == name:
                return entry
    return None
