"""`polytask env`: the versions and the machine, to be pasted into a bug report."""

from __future__ import annotations

import json as jsonlib
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from polytask import __version__
from polytask.cli._options import Json
from polytask.cli._show import quiet_stdout
from polytask.verbosity import VARIABLE, get_verbosity

VARIABLES = (
    "OMP_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "CUBLAS_WORKSPACE_CONFIG",
    "PYTORCH_ALLOC_CONF",
    "PYTHONHASHSEED",
    VARIABLE,
)
"""Those of the environment that change what is computed or said."""
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:.*extra == [\"'](?P<extra>[\w-]+)[\"'])?")


def env(*, json: Json = False) -> None:
    """Show versions, device and threads."""
    with quiet_stdout(json):
        facts = describe()
    if json:
        print(jsonlib.dumps(facts, indent=2))
        return
    # Plain lines, never wrapped: they go into a report as they are.
    width = max(len(word) for word in (*facts, *facts["packages"])) + 2
    for word, value in facts.items():
        if not isinstance(value, dict):
            shown = "-" if value is None else value
            print(f"{word.replace('_', ' '):<{width}}{shown}")
    for name, value in facts["variables"].items():
        print(f"{name}={value}")
    print()
    for name, found in facts["packages"].items():
        print(f"{name:<{width}}{found or 'not installed'}")
    for name, missing in facts["extras"].items():
        print(f"{f'[{name}]':<{width}}{'lacks ' + ', '.join(missing) if missing else 'complete'}")


def describe() -> dict[str, Any]:
    """Versions, device and threads as plain values; nothing that names the machine or its user."""
    facts: dict[str, Any] = {
        "polytask": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "os": _system(),
        "platform": platform.platform(),
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory": _memory(),
    }
    facts |= _torch()
    facts["verbosity"] = get_verbosity()
    facts["variables"] = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    needed = _requirements()
    # What only the developers' extras bring is not worth a line each.
    facts["packages"] = {name: _installed(name) for extra in ("", "app") for name in needed[extra]}
    facts["extras"] = {
        extra: [name for name in names if _installed(name) is None]
        for extra, names in needed.items()
        if extra
    }
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
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
    }


def _requirements() -> dict[str, list[str]]:
    """Names of the packages that polytask asks for, by extra; '' for those it cannot do without."""
    found: dict[str, list[str]] = {"": [], "app": []}
    try:
        lines = requires("polytask") or []
    except PackageNotFoundError:  # run from a folder of sources that was never installed
        lines = ["torch", "numpy"]
    for line in lines:
        if match := REQUIREMENT.match(line):
            found.setdefault(match["extra"] or "", []).append(match["name"])
    return found


def _system() -> str:
    """The system as people call it, such as 'Debian GNU/Linux 13 (trixie)'."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError, AttributeError):
        return f"{platform.system()} {platform.release()}"


def _memory() -> str | None:
    """The size of the machine's memory."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    return f"{size / 2**30:.1f} GiB"


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
