"""Fields and places: Moran helper tasks in predictive and in generative networks, and baselines.

Importing this package costs nothing: torch and the rest come with the first name that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polytask.spatial._maps import moran_maps, unit_range
    from polytask.spatial.baselines import inverse_distance, kriging, upscale
    from polytask.spatial.choice import LambdaFit, fit_lambda
    from polytask.spatial.gan import SpatialGAN
    from polytask.spatial.network import MoranNetwork
    from polytask.spatial.scores import mmd2, nearest_neighbour_test
    from polytask.spatial.upscaling import upscaling_network

_HOME = {
    "LambdaFit": "choice",
    "MoranNetwork": "network",
    "SpatialGAN": "gan",
    "fit_lambda": "choice",
    "inverse_distance": "baselines",
    "kriging": "baselines",
    "mmd2": "scores",
    "moran_maps": "_maps",
    "nearest_neighbour_test": "scores",
    "unit_range": "_maps",
    "upscale": "baselines",
    "upscaling_network": "upscaling",
}

__all__ = [
    "LambdaFit",
    "MoranNetwork",
    "SpatialGAN",
    "fit_lambda",
    "inverse_distance",
    "kriging",
    "mmd2",
    "moran_maps",
    "nearest_neighbour_test",
    "unit_range",
    "upscale",
    "upscaling_network",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
