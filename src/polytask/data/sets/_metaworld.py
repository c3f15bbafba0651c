"""Demonstrations by the scripted experts of the package metaworld, simulated on this machine."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from polytask.errors import need

GOALS = 50
"""How many goals Meta-World draws for each task."""
CLIPPED = r"Constant\(s\) may be too high"
"""The experts warn of actions beyond [-1, 1], which are clipped here as in the simulator."""


def version() -> str:
    """The version of the installed package. Raises `MissingExtraError` when there is none."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("metaworld")
    except PackageNotFoundError as error:
        raise need("metaworld", "rl", "simulating Meta-World MT10") from error


def demonstrations(goals: int, seed: int) -> dict[str, np.ndarray]:
    """What the experts saw and did in MT10, each until its task was solved.

    An episode that ends without success after 500 steps is left out. Costs about 5 s for the
    goals of MT10 and 1 s for 1,500 steps on one core.

    Args:
        goals: the first goals of each task, of the 50 that `MT10(seed)` draws.
        seed: of the goals; nothing else is random.

    Returns:
        arrays of one entry a step: `observation` float32 [N, 39], `action` float32 [N, 4] in
        [-1, 1], `task` int64 (place in `MT10`), `goal` int64.

    Raises:
        MissingExtraError: metaworld is not installed.
    """
    try:
        import metaworld
        from metaworld.policies import ENV_POLICY_MAP
    except ImportError as error:
        raise need("metaworld", "rl", "simulating Meta-World MT10") from error
    experts: Mapping[str, Any] = ENV_POLICY_MAP
    benchmark = metaworld.MT10(seed=seed)
    parts: list[dict[str, np.ndarray]] = []
    for task, (name, maker) in enumerate(benchmark.train_classes.items()):
        given = [goal for goal in benchmark.train_tasks if goal.env_name == name]
        world, expert = maker(), experts[name]()
        for number, goal in enumerate(given[:goals]):
            if steps := _episode(world, expert, goal):
                parts.append(
                    {
                        "observation": np.stack([seen for seen, _ in steps]).astype(np.float32),
                        "action": np.stack([action for _, action in steps]),
                        "task": np.full(len(steps), task, np.int64),
                        "goal": np.full(len(steps), number, np.int64),
                    }
                )
        world.close()
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _episode(world: Any, expert: Any, goal: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """(observation, action) of every step until success; empty when there was none."""
    world.set_task(goal)
    seen, _ = world.reset()
    steps = []
    for _ in range(world.max_path_length):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", CLIPPED)
            # A copy: the expert for doors writes into the observation that it is given.
            wanted = expert.get_action(seen.copy())
        action = np.clip(wanted, -1, 1).astype(np.float32)
        steps.append((seen, action))
        seen, _, _, _, told = world.step(action)
        if told["success"]:
            return steps
    return []
