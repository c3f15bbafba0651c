"""Paired, interleaved timing: every contender is timed once a round, and ratios are by round."""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from statistics import median

import torch

Step = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """A contender's time in units of the baseline's, over the rounds."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.low:.2f}-{self.high:.2f})"


def interleave(steps: dict[str, Step], baseline: str, rounds: int, device: str) -> dict[str, Ratio]:
    """Ratios to `baseline`: median and the middle half of the rounds."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():  # warm up
        step()
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, step in steps.items():
                times[name].append(_once(step, device))
    finally:
        gc.enable()
    out = {}
    for name, own in times.items():
        ratios = sorted(a / b for a, b in zip(own, times[baseline], strict=True))
        quarter = len(ratios) // 4
        out[name] = Ratio(median(ratios), ratios[quarter], ratios[-1 - quarter])
    return out


def milliseconds(step: Step, repeats: int, device: str = "cpu") -> float:
    """Median time of one call."""
    step()
    return 1e3 * median(_once(step, device) for _ in range(repeats))


def peak_mib(step: Step, device: str) -> float:
    """Peak memory that a step takes above what was held before it, MiB."""
    step()
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with torch.profiler.profile(profile_memory=True) as profile:
        step()
    results = profile.profiler.kineto_results  # type: ignore[union-attr]
    events = [e for e in results.events() if e.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda e: e.start_ns())]
    return max(accumulate(sizes), default=0) / 2**20


def machine(device: str) -> str:
    """One line on what was measured on."""
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    cores = len(os.sched_getaffinity(0))
    return (
        f"{platform.machine()} CPU, {cores} cores, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}"
    )


def _once(step: Step, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
