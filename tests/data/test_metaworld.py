"""Meta-World MT10: demonstrations that repeat, solve their tasks, and teach."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from polytask.data import Dataset, dataset_card, load_dataset, make_splits
from polytask.errors import MissingExtraError, UserError

SIDES = ("train", "test")
SIZES = {"push": 4, "pick-place": 4, "peg-insert-side": 4}


@pytest.fixture(scope="module")
def steps() -> Dataset:
    return load_dataset("metaworld_mt10")


@pytest.mark.slow
def test_facts(steps: Dataset) -> None:
    from metaworld.env_dict import MT10_V3

    card = dataset_card("metaworld_mt10")
    assert list(steps.tasks) == list(card["tasks"])
    assert [f"{name}-v3" for name in steps.tasks] == list(MT10_V3)
    assert steps.inputs["numeric"].shape == (card["rows"], 39)
    assert len(steps.columns["numeric"]) == 39
    assert {name: task.size for name, task in steps.tasks.items()} == {
        name: SIZES.get(name, 3) for name in steps.tasks
    }
    there = np.stack([~np.isnan(target).any(axis=1) for target in steps.targets.values()])
    assert (there.sum(axis=0) == 1).all()
    np.testing.assert_array_equal(there.argmax(axis=0), steps.stratify_on)
    actions = np.concatenate([t[~np.isnan(t)] for t in steps.targets.values()])
    assert (actions.min(), actions.max()) == (-1, 1)
    # 15 goals of ten tasks, of which the experts solve all but four in less than 500 steps.
    episodes, lengths = np.unique(steps.groups, return_counts=True)
    assert len(episodes) == 146
    assert lengths.max() < 500
    assert any("2 of door-open, 2 of peg-insert-side" in note for note in steps.notes)


@pytest.mark.slow
def test_outputs_and_fixed_parts_make_a_whole_action(steps: Dataset) -> None:
    for name, task in steps.tasks.items():
        outputs, fixed = steps.columns["actions"][name], steps.columns["fixed"][name]
        assert len(outputs) == task.size
        assert sorted([*outputs, *fixed]) == ["gripper", "x", "y", "z"]
    # The gripper pulls a drawer open while it is open, and shuts for a door.
    assert steps.columns["fixed"]["drawer-open"] == {"gripper": -1.0}
    assert steps.columns["fixed"]["door-open"] == {"gripper": 1.0}


@pytest.mark.slow
def test_goals_of_training_and_test_differ(steps: Dataset) -> None:
    goals = steps.inputs["numeric"][:, -3:]
    for split in ("random", "group:episode"):
        parts = make_splits(steps, split=split)
        episodes = {part: set(steps.groups[rows]) for part, rows in parts.items()}
        assert not episodes["test"] & (episodes["train"] | episodes["val"])
        assert bool(episodes["train"] & episodes["val"]) == (split == "random")
    reach = steps.stratify_on == 0
    test = np.isin(np.arange(steps.n), parts["test"])
    seen = {tuple(goal) for goal in goals[reach & ~test]}
    assert len(seen) == 10
    assert not seen & {tuple(goal) for goal in goals[reach & test]}


@pytest.mark.slow
def test_actions_can_be_learned(steps: Dataset) -> None:
    parts = make_splits(steps, split="group:episode")
    x = steps.inputs["numeric"]
    for name, target in steps.targets.items():
        known = ~np.isnan(target).any(axis=1)
        train, test = (np.intersect1d(parts[part], np.flatnonzero(known)) for part in SIDES)
        forest = RandomForestRegressor(10, random_state=0).fit(x[train], target[train])
        assert forest.score(x[test], target[test]) > 0.5, name


@pytest.mark.slow
def test_replayed_actions_solve_the_task(steps: Dataset) -> None:
    """The recorded actions, put together and played in a fresh simulator, end in success."""
    import metaworld

    benchmark = metaworld.MT10(seed=0)
    for place, name in enumerate(steps.tasks):
        full = f"{name}-v3"
        goal = next(goal for goal in benchmark.train_tasks if goal.env_name == full)
        world = benchmark.train_classes[full]()
        world.set_task(goal)
        seen, _ = world.reset()
        first = np.flatnonzero(steps.stratify_on == place)[0]
        rows = np.flatnonzero(steps.groups == steps.groups[first])
        told = {"success": 0.0}
        for row in rows:
            np.testing.assert_allclose(seen, steps.inputs["numeric"][row], atol=1e-6)
            seen, _, _, _, told = world.step(action(steps, name, row))
        assert told["success"], name
        world.close()


def action(steps: Dataset, name: str, row: int) -> np.ndarray:
    """The four numbers that a robot is given."""
    parts: dict[str, Any] = dict(
        zip(steps.columns["actions"][name], steps.targets[name][row], strict=True)
    )
    parts |= steps.columns["fixed"][name]
    return np.asarray([parts[key] for key in ("x", "y", "z", "gripper")], np.float32)


@pytest.mark.slow
def test_saved_and_loaded_the_same(steps: Dataset, tmp_path: Path) -> None:
    again = Dataset.load(steps.save(tmp_path))
    assert (again.tasks, again.columns) == (steps.tasks, steps.columns)
    for name, target in steps.targets.items():
        np.testing.assert_array_equal(again.targets[name], target)
    np.testing.assert_array_equal(again.groups, steps.groups)


@pytest.mark.slow
def test_simulated_twice_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for place in ("one", "two"):
        monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / place))
        found.append(load_dataset("metaworld_mt10", train_goals=1, test_goals=0, seed=3))
        assert len(list((tmp_path / place).rglob("*.safetensors"))) == 1
    assert found[0].fixed_split is None
    np.testing.assert_array_equal(found[0].inputs["numeric"], found[1].inputs["numeric"])
    for name, target in found[0].targets.items():
        np.testing.assert_array_equal(target, found[1].targets[name])


@pytest.mark.slow
def test_a_task_without_a_solved_training_goal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With seed 2 the expert for pegs fails on the first goal that is drawn."""
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"expert for peg-insert-side .* none of its first 1 goal"):
        load_dataset("metaworld_mt10", train_goals=1, test_goals=0, seed=2)


def test_options_are_checked_before_anything_is_simulated() -> None:
    for options, message in (
        ({"train_goals": 0}, "train_goals of metaworld_mt10 is 0; expected a whole number from 1"),
        ({"train_goals": 40, "test_goals": 11}, "40 and 11; Meta-World draws 50 goals"),
        ({"seed": -1}, "seed of metaworld_mt10 is -1"),
        ({"goals": 3}, "'goals'"),
    ):
        with pytest.raises(UserError, match=message):
            load_dataset("metaworld_mt10", **options)


def test_metaworld_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is where nobody installed it: its metadata cannot be found."""
    from importlib import metadata

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(MissingExtraError, match=r"pip install 'polytask\[rl\]'"):
        load_dataset("metaworld_mt10")
