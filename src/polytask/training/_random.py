"""The states of everything random in a process, taken and given back."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def random_state(device: torch.device, batches: Any = None) -> dict[str, Any]:
    """The generators of Python, NumPy and torch, of the device, and of a loader of batches."""
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    if (own := _generator(batches)) is not None:
        state["loader"] = own.get_state()
    return state


def set_random_state(state: dict[str, Any], device: torch.device, batches: Any = None) -> None:
    """Go on from a state that `random_state` took."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if "cuda" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
    if "loader" in state and (own := _generator(batches)) is not None:
        own.set_state(state["loader"])


def _generator(batches: Any) -> torch.Generator | None:
    """The generator that a `DataLoader` shuffles with, if it has one of its own."""
    found = getattr(batches, "generator", None)
    return found if isinstance(found, torch.Generator) else None
