"""Data sets of their own for each task in a study: joined, kept apart, saved, made ready."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wine_tables import wines

from polytask.data import Batches, Dataset, DataSets, Mixture
from polytask.errors import UserError
from polytask.study.data_sets import open_joined
from polytask.study.facts import check_splits, facts, fingerprint, fingerprints
from polytask.study.joined import INDEX, Joined, all_stored, is_joined, same_rows
from polytask.study.prepared import PreparedSets, prepare, shared_steps
from polytask.tasks import Task

CUT = {"split": "random", "test_fraction": 0.15, "val_fraction": 0.15, "seed": 0}
WORDS: dict[str, Any] = {
    "schedule": {"name": "round_robin", "arguments": {}},
    "tasks_per_step": 1,
    "steps_per_epoch": None,
    "batch_size": {"cultivar": 16, "strong+ash": 8},
}
TOGETHER = {**CUT, "tasks": ["cultivar", "strong", "ash"], "batch_size": 16, "mixture": WORDS}


@pytest.fixture
def joined() -> Joined:
    one, other = wines()
    return open_joined({"cultivar": one, "strong, ash": other})


def numbers(rows: int, task: str, seed: int = 0) -> Dataset:
    """A data set of random inputs and one target."""
    draw = np.random.default_rng(seed)
    return Dataset(
        name=task,
        inputs={"numeric": draw.normal(size=(rows, 3)).astype("float32")},
        targets={task: draw.normal(size=rows)},
        tasks={task: Task(task, "regression")},
    )


def test_a_joined_data_set_is_all_rows_and_knows_where_each_begins(joined: Joined) -> None:
    assert (joined.n, list(joined.tasks)) == (178, ["cultivar", "strong", "ash"])
    assert joined.labelled() == {"cultivar": 110, "strong": 68, "ash": 68}
    splits = joined.split(**CUT)
    places = joined.places(splits)
    assert places == {
        "cultivar": (("cultivar",), 0, 78),
        "strong+ash": (("strong", "ash"), 78, 126),
    }
    own, parts = joined.own("ash", splits)
    assert (own.n, list(own.tasks), own.name) == (68, ["ash"], "table")
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 48, "val": 10, "test": 10}


def test_a_task_of_two_data_sets_is_alone_with_the_rows_of_both() -> None:
    a, b = numbers(40, "size", 1), numbers(30, "size", 2)
    other = numbers(30, "size", 2)
    other = Dataset("b", b.inputs, {**b.targets, "age": other.targets["size"] * 2},
                    {**b.tasks, "age": Task("age", "regression")})  # fmt: skip
    joined = Joined.of(DataSets.of({"size": a, ("size", "age"): other}))
    splits = joined.split(**CUT)
    own, parts = joined.own("size", splits)
    assert own.n == 70
    assert len(parts["train"]) == sum(len(s["train"]) for s in splits.values())
    whole = np.concatenate([a.targets["size"], b.targets["size"]])
    np.testing.assert_array_equal(own.targets["size"], whole)


def test_the_same_rows_under_two_tasks_are_never_trained_on_and_judged() -> None:
    a = numbers(60, "size")
    again = {
        "numeric": np.concatenate([a.inputs["numeric"][20:], numbers(20, "x", 9).inputs["numeric"]])
    }
    b = Dataset("b", again, {"age": np.arange(60.0)}, {"age": Task("age", "regression")})
    sets = DataSets.of({"size": a, "age": b})
    same = same_rows(sets)
    assert same is not None
    assert ((same["size"] >= 0).sum(), (same["age"] >= 0).sum()) == (40, 40)
    np.testing.assert_array_equal(same["size"][20:], same["age"][:40])
    joined = Joined.of(sets, same)
    left_out = 0
    for seed in range(5):
        splits = joined.split(**{**CUT, "seed": seed})
        for judged, others in (("test", ("train", "val")), ("val", ("train",))):
            for name, other in (("size", "age"), ("age", "size")):
                taken = same[name][splits[name][judged]]
                for part in others:
                    found = same[other][splits[other][part]]
                    assert not set(taken[taken >= 0]) & set(found[found >= 0])
        left_out += 120 - sum(len(rows) for parts in splits.values() for rows in parts.values())
        for name in splits:  # what is judged on stays whole
            assert len(splits[name]["test"]) == 9
    assert left_out > 0


def test_rows_that_their_own_data_set_has_twice_are_no_things() -> None:
    a = numbers(40, "size")
    a.inputs["numeric"][:20] = 1.0
    b = Dataset("b", {"numeric": a.inputs["numeric"].copy()}, {"age": np.arange(40.0)},
                {"age": Task("age", "regression")})  # fmt: skip
    same = same_rows(DataSets.of({"size": a, "age": b}))
    assert same is not None
    assert (same["size"][:20] == -1).all()
    assert (same["size"][20:] >= 0).all()
    assert same_rows(DataSets.of({"size": a, "age": numbers(40, "age", 5)})) is None


def test_a_group_in_two_tables_is_on_one_side() -> None:
    one, other = wines()
    one["cellar"] = np.arange(110) % 12
    other["cellar"] = np.arange(68) % 12 + 6  # half of them are in both
    data = {"cultivar": one, "strong, ash": other}
    joined = open_joined(data, split="group:cellar")
    assert joined.same is not None
    words = {**CUT, "split": "group:cellar", "test_fraction": 0.2}
    cellars = {"cultivar": one["cellar"].to_numpy(), "strong+ash": other["cellar"].to_numpy()}
    for seed in range(4):
        splits = joined.split(**{**words, "seed": seed})
        judged = {n: set(cellars[n][p["test"]]) for n, p in splits.items()}
        learned = {n: set(cellars[n][p["train"]]) for n, p in splits.items()}
        assert not judged["cultivar"] & learned["strong+ash"]
        assert not judged["strong+ash"] & learned["cultivar"]


def test_saved_and_read_again_it_is_the_same(joined: Joined, tmp_path: Path) -> None:
    one = wines()[0]
    twin = open_joined({"cultivar": one, "hue": one.drop(columns="cultivar")})
    for number, data in enumerate((joined, twin)):
        folder = tmp_path / str(number)
        assert not all_stored(folder)
        data.save(folder)
        assert is_joined(folder)
        assert all_stored(folder)
        read = Joined.load(folder)
        assert fingerprint(read) == fingerprint(data)
        assert read.notes == data.notes
        assert read.name == data.name
        before, after = data.split(**CUT), read.split(**CUT)
        for name in before:
            for part in before[name]:
                np.testing.assert_array_equal(before[name][part], after[name][part])
    (tmp_path / "1" / "0" / "dataset.json").unlink()
    assert not all_stored(tmp_path / "1")
    (tmp_path / "0" / INDEX).write_text("{ cut off")
    assert not all_stored(tmp_path / "0")
    with pytest.raises(UserError, match="damaged"):
        Joined.load(tmp_path / "0")


def test_every_data_set_has_a_fingerprint_of_its_own(joined: Joined) -> None:
    one, other = wines()
    changed = open_joined({"cultivar": one, "strong, ash": other.assign(hue=1.0)})
    assert fingerprints(changed)["cultivar"] == fingerprints(joined)["cultivar"]
    assert fingerprints(changed)["strong+ash"] != fingerprints(joined)["strong+ash"]
    assert fingerprint(changed) != fingerprint(joined)


def test_what_is_known_of_each_data_set(joined: Joined) -> None:
    known = facts(joined, check_splits(joined, 2, "random", 0.15, 0.15), {})
    first, second = known["dataset"]["sets"]
    assert (first["name"], first["n"], first["tasks"]) == ("cultivar", 110, ["cultivar"])
    assert first["rows"] == {"train": 78, "val": 16, "test": 16}
    assert second["tasks"] == ["strong", "ash"]
    assert second["labels"] == {"strong": 48, "ash": 48}
    assert known["redrawn"] == pytest.approx(max(16 / 78, 10 / 48))
    assert known["dataset"]["labelled"] == {"cultivar": 1.0, "strong": 1.0, "ash": 1.0}
    assert known["dataset"]["splits"] == {"train": 126, "val": 26, "test": 26}


def test_a_network_of_one_task_learns_from_its_own_data_set_alone(joined: Joined) -> None:
    alone = prepare({**CUT, "tasks": ["ash"], "batch_size": 8, "mixture": WORDS}, joined)
    assert set(alone.parts["train"][1]) == {"ash"}
    own = joined.sets.sets["strong", "ash"].inputs["numeric"]
    rows = joined.split(**CUT)["strong+ash"]["train"]
    expected = (own[rows] - own[rows].mean(0)) / own[rows].std(0)
    np.testing.assert_allclose(alone.parts["train"][0]["numeric"], expected, atol=2e-4)
    # 5 and 6 steps are an epoch of the mixture, and a pass over its own rows has 6.
    assert alone.passes == pytest.approx(11 / 6)
    assert alone.epochs(6) == 11
    train = alone.train({**CUT, "batch_size": 8})
    assert isinstance(train, Batches)
    assert alone.epochs(6) * len(train) == 6 * 11


def test_networks_that_share_draw_by_the_schedule(joined: Joined) -> None:
    prepared = prepare(TOGETHER, joined)
    assert isinstance(prepared, PreparedSets)
    assert prepared.passes == 1.0
    train = prepared.train(TOGETHER)
    assert isinstance(train, Mixture)
    drawn = [tuple(targets) for _, targets in train]
    assert drawn[:4] == [("cultivar",), ("strong", "ash")] * 2
    assert len(drawn) == 11
    few = prepared.labelled(10)
    assert [len(value) for value in few.parts["train"][0].values()] == [20]
    assert len(list(few.rehearsal(TOGETHER, 10, 1))) == 4
    assert len(list(prepared.enough(23, 16).train(TOGETHER))) == 23
    targets = prepared.parts["test"][1]
    assert (targets["cultivar"] >= 0).sum() == 16
    assert (~targets["ash"].isnan()).sum() == 10


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 9)), min_size=1, max_size=4),
    st.data(),
)
def test_steps_are_counted_as_a_mixture_counts_them(
    sizes: list[tuple[int, int]], data: st.DataObject
) -> None:
    per_step = data.draw(st.sampled_from([*range(1, len(sizes) + 1), "all"]))
    names = [f"t{i}" for i in range(len(sizes))]
    words = {
        "steps_per_epoch": data.draw(st.sampled_from([None, 7])),
        "tasks_per_step": per_step,
        "batch_size": {name: batch for name, (_, batch) in zip(names, sizes, strict=True)},
    }
    rows = {name: count for name, (count, _) in zip(names, sizes, strict=True)}
    pairs = {
        name: ({"x": np.zeros((count, 1))}, {name: np.zeros(count)}) for name, count in rows.items()
    }
    assert shared_steps(words, rows) == Mixture(pairs, **words).steps


def test_an_empty_part_names_its_data_set(joined: Joined) -> None:
    with pytest.raises(UserError, match="the part 'val' of the data set of 'cultivar' is empty"):
        check_splits(joined, 1, "random", 0.15, 0.0)
