"""What a run ran on: versions, device and threads, so that a number can be traced."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

PACKAGES = (
    "polytask",
    "torch",
    "numpy",
    "accelerate",
    "torchmetrics",
    "safetensors",
    "pandas",
    "scikit-learn",
)


def environment(device: torch.device | str | None = None) -> dict[str, Any]:
    """Versions, device and threads of this process, ready for JSON.

    Nothing that identifies the machine or its user is recorded (no host, no path, no name).
    `device` is the device of a run; without it, the best one present is described.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(device)
    return {
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": {"type": device.type, "name": _device_name(device)},
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda" and torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
