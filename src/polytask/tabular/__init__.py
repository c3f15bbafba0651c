"""Tables in, tables out: one network for several targets, in scikit-learn's conventions.

Importing this package costs nothing; torch, pandas and scikit-learn come with first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polytask.tabular.estimator import MultiTaskEstimator
    from polytask.tabular.fitted import Fitted
    from polytask.tabular.fitting import FitSettings, fit_dataset
    from polytask.tabular.mixed import Mixing, fit_sets

_HOME = {
    "Fitted": "fitted",
    "MultiTaskEstimator": "estimator",
    "FitSettings": "fitting",
    "fit_dataset": "fitting",
    "Mixing": "mixed",
    "fit_sets": "mixed",
}

__all__ = ["FitSettings", "Fitted", "Mixing", "MultiTaskEstimator", "fit_dataset", "fit_sets"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
