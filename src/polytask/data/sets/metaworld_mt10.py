"""Meta-World MT10: what a robot arm should do next, learned from scripted experts of ten tasks."""

from __future__ import annotations

from typing import Any

import numpy as np

from polytask.data.dataset import Dataset
from polytask.data.parsed import parsed
from polytask.data.sets import _metaworld
from polytask.errors import UserError
from polytask.tasks import Task

CARD: dict[str, Any] = {
    "title": "Meta-World MT10 demonstrations",
    "kind": "control",
    "rows": 11078,
    "inputs": "39 numeric columns: hand, gripper and objects now and a step before, and the goal",
    "tasks": {
        "reach": "regression: move of the hand (x, y, z)",
        "push": "regression: move of the hand (x, y, z) and effort of the gripper",
        "pick-place": "regression: move of the hand (x, y, z) and effort of the gripper",
        "door-open": "regression: move of the hand (x, y, z)",
        "drawer-open": "regression: move of the hand (x, y, z)",
        "drawer-close": "regression: move of the hand (x, y, z)",
        "button-press-topdown": "regression: move of the hand (x, y, z)",
        "peg-insert-side": "regression: move of the hand (x, y, z) and effort of the gripper",
        "window-open": "regression: move of the hand (x, y, z)",
        "window-close": "regression: move of the hand (x, y, z)",
    },
    "split": "given: goals 0 to 9 of each task to train on, the following to test on; "
    "split='group:episode' draws whole episodes for validation",
    "address": "https://metaworld.farama.org",
    "source": "T. Yu et al., Meta-World: a benchmark and evaluation for multi-task and meta "
    "reinforcement learning, CoRL 2019; simulated by the package metaworld",
    "licence": "MIT (metaworld), Apache-2.0 (mujoco)",
    "carriers": [],
    "bundled": "metaworld",
    "provided": "simulated by the package metaworld: pip install 'polytask[rl]'",
    "notes": [
        "observations are in metres, actions in [-1, 1]: a move of 1 is a centimetre",
        "imitation of experts (behaviour cloning): a small error of actions does not yet mean that "
        "a task is solved, which only simulation can tell",
        "each row is labelled for the task that it comes from, and nothing else in it says which",
        "the gripper's effort never changes in seven tasks: there it is no output but stands in "
        "columns['fixed']",
        "steps of one episode are alike: a random split puts them into training and validation",
    ],
}
PARTS = ("now", "before")
PLACES = (
    *("hand_x", "hand_y", "hand_z", "gripper"),
    *("object_x", "object_y", "object_z", "object_q0", "object_q1", "object_q2", "object_q3"),
    *("second_x", "second_y", "second_z", "second_q0", "second_q1", "second_q2", "second_q3"),
)
NAMES = [
    *(f"{place}_{part}" for part in PARTS for place in PLACES),
    *("goal_x", "goal_y", "goal_z"),
]
ACTIONS = ("x", "y", "z", "gripper")
TASKS = tuple(CARD["tasks"])
"""In the order of MT10."""
VERSION = 1


def metaworld_mt10(train_goals: int = 10, test_goals: int = 5, seed: int = 0) -> Dataset:
    """Meta-World MT10: 11,078 steps of scripted experts in ten tasks; the action of the next step.

    Simulated the first time (about 15 s), then read from the cache. `Dataset.columns` holds
    `actions` (task -> components that are its outputs, of x, y, z and gripper) and `fixed` (task
    -> component -> the value that it always has), which together make an action of 4 numbers.

    Args:
        train_goals: goals of each task that training rows come from, the first ones.
        test_goals: goals of each task that test rows come from, the following ones; 0 leaves the
            test rows to the split.
        seed: with which Meta-World draws its 50 goals of each task.

    Raises:
        UserError: an impossible option, an expert that solved no training goal, or the cache
            cannot be written.
        MissingExtraError: metaworld is not installed.
    """
    goals = _checked(train_goals, test_goals, seed)
    title = f"MT10 of metaworld {_metaworld.version()}, {goals} goals, seed {seed}"
    steps = parsed(
        CARD | {"title": title}, VERSION, lambda files: _metaworld.demonstrations(goals, seed)
    )
    held_out = steps["goal"] >= train_goals
    tasks: dict[str, Task] = {}
    targets: dict[str, np.ndarray] = {}
    actions: dict[str, list[str]] = {}
    fixed: dict[str, dict[str, float]] = {}
    for code, name in enumerate(TASKS):
        own = steps["task"] == code
        known = steps["action"][own & ~held_out]
        if not len(known):
            raise UserError(
                f"the expert for {name} of metaworld_mt10 solved none of its first {train_goals} "
                "goal(s), so nothing is left to train on; raise train_goals or take another seed."
            )
        varies = known.min(axis=0) < known.max(axis=0)
        actions[name] = [ACTIONS[i] for i in np.flatnonzero(varies)]
        fixed[name] = {ACTIONS[i]: float(known[0, i]) for i in np.flatnonzero(~varies)}
        tasks[name] = Task(name, "regression", size=int(varies.sum()))
        targets[name] = np.where(own[:, None], steps["action"][:, varies], np.nan)
    test = np.flatnonzero(held_out)
    return Dataset(
        name="metaworld_mt10",
        inputs={"numeric": steps["observation"]},
        targets=targets,
        tasks=tasks,
        columns={
            "numeric": list(NAMES),
            "group": "episode",
            "actions": actions,
            "fixed": fixed,
        },
        groups=steps["task"] * _metaworld.GOALS + steps["goal"],
        stratify_on=steps["task"],
        fixed_split={"train": np.flatnonzero(~held_out), "test": test} if len(test) else None,
        notes=[f"{title}: {_solved(steps, goals)}", *CARD["notes"]],
    )


def _checked(train_goals: int, test_goals: int, seed: int) -> int:
    """How many goals of each task are needed."""
    options = {"train_goals": (train_goals, 1), "test_goals": (test_goals, 0), "seed": (seed, 0)}
    for name, (value, least) in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(
                f"{name} of metaworld_mt10 is {value!r}; expected a whole number from {least}."
            )
    if train_goals + test_goals > _metaworld.GOALS:
        raise UserError(
            f"train_goals and test_goals of metaworld_mt10 are {train_goals} and {test_goals}; "
            f"Meta-World draws {_metaworld.GOALS} goals of each task."
        )
    return train_goals + test_goals


def _solved(steps: dict[str, np.ndarray], goals: int) -> str:
    """How many episodes there are, and where the expert failed."""
    episodes = np.unique(np.stack([steps["task"], steps["goal"]], axis=1), axis=0)
    counts = np.bincount(episodes[:, 0], minlength=len(TASKS))
    failed = [
        f"{goals - count} of {name}"
        for name, count in zip(TASKS, counts, strict=True)
        if count < goals
    ]
    told = f"{len(episodes)} episodes, {len(steps['task']):,} steps"
    return f"{told}; left out because the expert failed: {', '.join(failed)}" if failed else told
