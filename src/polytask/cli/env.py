"""`polytask env`: the versions and the machine, for a bug report."""

from __future__ import annotations

import json as jsonlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from polytask import __version__
from polytask.cli._options import Json

PACKAGES = (
    "torch",
    "numpy",
    "accelerate",
    "torchmetrics",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "safetensors",
    "matplotlib",
    "jinja2",
    "rich",
    "cyclopts",
    "PyYAML",
    "filelock",
)


def env(*, json: Json = False) -> None:
    """Show versions, device and threads."""
    facts = describe()
    if json:
        print(jsonlib.dumps(facts, indent=2))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=box.SIMPLE)
    table.add_column(style="bold")
    table.add_column()
    for word, value in facts.items():
        if word != "packages":
            table.add_row(word.replace("_", " "), "" if value is None else str(value))
    for name, found in facts["packages"].items():
        table.add_row(name, found or "not installed: pip install 'polytask[app]'")
    Console().print(table)


def describe() -> dict[str, Any]:
    """Versions, device and threads as plain values."""
    facts: dict[str, Any] = {
        "polytask": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
    }
    facts |= _torch()
    facts["packages"] = {name: _installed(name) for name in PACKAGES}
    return facts


def _torch() -> dict[str, Any]:
    """What torch sees: the device that "auto" would take and the number of threads."""
    import torch

    cuda = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name(0) if cuda else "cpu",
        "devices": torch.cuda.device_count() if cuda else 0,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
    }


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
