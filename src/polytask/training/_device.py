"""Where a run computes (found by Accelerate), and random numbers that belong to the run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from polytask.errors import UserError, need


def find_device(word: str | torch.device) -> torch.device:
    """The device called `word`; "auto" is the best one present, as Accelerate sees it.

    Raises `UserError` for an unknown or absent device, and under a launcher with several
    processes: each would train on all the data and none would know of the others.
    """
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise need("accelerate", "app", "the Trainer") from error

    try:
        # "no": Accelerate's own mixed precision wraps the model's outputs; see _precision.py.
        accelerator = Accelerator(mixed_precision="no")
    except ValueError as error:
        raise UserError(
            "the Trainer does its own mixed precision, but this process has already set up "
            f"Accelerate with {error}. Set it up with mixed_precision='no'."
        ) from error
    if accelerator.num_processes > 1:
        raise UserError(
            f"the Trainer runs in one process, found {accelerator.num_processes}. "
            "Start it without a launcher."
        )
    if str(word) == "auto":
        return accelerator.device
    try:
        device = torch.device(word)
    except RuntimeError as error:
        raise UserError(f"unknown device {word!r}: expected auto, cpu, cuda or cuda:N.") from error
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if (device.index or 0) >= count:
        raise UserError(f"device {str(word)!r} is not present. Use device='auto' or 'cpu'.")
    return device


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed Python, NumPy and torch for a block, and give the caller's states back after it."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
