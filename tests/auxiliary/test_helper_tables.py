"""Helpers made of tables: exact targets, gaps kept, nothing learned from held-out rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polytask.auxiliary import construct, create_auxiliary, list_auxiliaries
from polytask.data import Dataset, Preprocessor, table_dataset, transform_frame
from polytask.errors import UserError
from polytask.tasks import Task

TRAIN = np.arange(30)


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": rng.normal(40, 10, 50),
            "income": rng.lognormal(10, 1, 50),
            "city": rng.choice(["Oslo", "Bonn", "Lima"], 50),
            "price": rng.normal(size=50),
        }
    )
    table.loc[3, "age"] = np.nan
    table.loc[4, "city"] = None
    table.loc[5, "price"] = np.nan
    return table


@pytest.fixture
def people(frame: pd.DataFrame) -> Dataset:
    dataset = table_dataset(frame, ["price:regression"])
    return replace(dataset, groups=np.arange(50) % 4, times=np.arange(50)[::-1].copy())


RECIPES: list[tuple[str, dict[str, Any]]] = [
    ("reconstruction", {}),
    ("denoising", {"noise": "gaussian"}),
    ("denoising", {"noise": "masked", "copies": 2}),
    ("predicting_inputs", {"columns": ["income", "city"]}),
    ("hints", {"of": "price"}),
    ("hints", {"of": "city", "equals": "Oslo"}),
    ("next_step", {"of": "income"}),
    ("nuisance", {}),
    ("pseudo_tasks", {}),
    ("quantised", {}),
]


@pytest.mark.parametrize(("name", "options"), RECIPES)
def test_held_out_values_change_nothing_of_training(
    people: Dataset, name: str, options: dict[str, Any]
) -> None:
    recipe = create_auxiliary(name, **options)
    before, rows = construct([recipe], people, TRAIN, seed=3)
    people.inputs["numeric"][30:] = 1e4 * np.arange(20)[:, None]
    people.inputs["categorical"][30:] = 1
    people.targets["price"][30:] *= -1e4
    after, again = construct([recipe], people, TRAIN, seed=3)
    np.testing.assert_array_equal(rows, again)
    for task in recipe.tasks(people):
        known = before.targets[task.name][rows]
        np.testing.assert_array_equal(known, after.targets[task.name][rows])
        assert task.labelled(known).any()
    for key in before.inputs:
        np.testing.assert_array_equal(before.inputs[key][rows], after.inputs[key][rows])


@pytest.mark.parametrize(("name", "options"), RECIPES)
def test_the_same_seed_draws_the_same(people: Dataset, name: str, options: dict[str, Any]) -> None:
    recipe = create_auxiliary(name, **options)
    one, _ = construct([recipe], people, TRAIN, seed=1)
    same, _ = construct([recipe], people, TRAIN, seed=1)
    other, rows = construct([recipe], people, TRAIN, seed=2)
    np.testing.assert_array_equal(one.inputs["numeric"], same.inputs["numeric"])
    for task in recipe.tasks(people):
        np.testing.assert_array_equal(one.targets[task.name], same.targets[task.name])
    moved = not np.array_equal(one.inputs["numeric"], other.inputs["numeric"], equal_nan=True)
    assert moved == (len(rows) > len(TRAIN))


def test_all_are_registered_with_what_they_say() -> None:
    from polytask import registry

    names = {name for name, _ in RECIPES} | {"rotation"}
    assert names <= set(list_auxiliaries())
    for name in names:
        constants = registry.find("auxiliary", name).constants
        assert constants["paper"]
        assert constants["makes"]


def test_numeric_columns_are_rebuilt(people: Dataset) -> None:
    people.inputs["numeric"][7, 1] = np.inf
    extended, _ = construct([create_auxiliary("reconstruction")], people, TRAIN)
    target = extended.targets["reconstruction"]
    assert np.isnan(target[3, 0])
    assert np.isnan(target[7, 1])
    rest = np.isfinite(target)
    assert rest.sum() == 98
    np.testing.assert_array_equal(target[rest], people.inputs["numeric"][rest])
    one = create_auxiliary("reconstruction", columns=["income"], loss="huber")
    assert construct([one], people, TRAIN)[0].targets["reconstruction"].shape == (50,)
    assert one.tasks(people)[0].loss_function == "huber"


def test_a_constant_column_is_named(people: Dataset) -> None:
    people.inputs["numeric"][:30, 0] = 5
    with pytest.raises(UserError, match=r"'age' has no two different values"):
        create_auxiliary("reconstruction").extend(people, TRAIN)
    with pytest.raises(UserError, match=r"'age' has no two different values"):
        create_auxiliary("denoising").extend(people, TRAIN)
    create_auxiliary("denoising", columns=["income"]).extend(people, TRAIN)


def test_masked_values_are_read_as_missing(people: Dataset) -> None:
    extended, rows = construct([create_auxiliary("denoising", strength=0.5)], people, TRAIN)
    new = extended.inputs["numeric"][50:]
    old = people.inputs["numeric"][TRAIN]
    kept = ~np.isnan(new)
    np.testing.assert_array_equal(new[kept], old[kept])
    assert 0.3 < kept.mean() < 0.7
    np.testing.assert_array_equal(extended.targets["denoising"][50:], old)
    assert np.isnan(extended.targets["denoising"][:50]).all()
    np.testing.assert_array_equal(
        extended.inputs["categorical"][rows[30:]], people.inputs["categorical"][TRAIN]
    )


def test_noise_keeps_gaps_and_spread(people: Dataset) -> None:
    recipe = create_auxiliary("denoising", noise="gaussian", strength=0.1)
    new = construct([recipe], people, TRAIN)[0].inputs["numeric"][50:]
    noise = new - people.inputs["numeric"][TRAIN]
    assert np.isnan(new[3, 0])
    spread = 0.1 * np.nanstd(people.inputs["numeric"][TRAIN], axis=0)
    np.testing.assert_allclose(np.nanstd(noise, axis=0), spread, rtol=0.5)


def test_inputs_become_targets(people: Dataset, frame: pd.DataFrame) -> None:
    recipe = create_auxiliary("predicting_inputs", columns=["income", "city"])
    extended, _ = construct([recipe], people, TRAIN)
    assert [task.kind for task in recipe.tasks(people)] == ["regression", "multiclass"]
    np.testing.assert_array_equal(extended.targets["input_income"], people.inputs["numeric"][:, 1])
    known = frame["city"].notna().to_numpy()
    labels = np.array(extended.tasks["input_city"].classes)
    assert labels[extended.targets["input_city"][known]].tolist() == frame["city"][known].tolist()
    assert extended.targets["input_city"][4] == -100
    # The network reads the same whatever stands in the hidden columns, also in new tables,
    # which need not have them.
    preprocessor = Preprocessor.fit(extended, TRAIN)
    raw, hidden = (preprocessor.transform(d.inputs) for d in (people, extended))
    new = transform_frame(frame.drop(columns=["income", "city"]), extended.columns)
    for key in ("numeric", "categorical"):
        assert raw[key].equal(hidden[key])
        assert preprocessor.transform(new)[key].equal(hidden[key])
    assert people.inputs["numeric"][0, 1] > 0
    assert "unread" not in people.columns


def test_inputs_may_be_kept(people: Dataset) -> None:
    recipe = create_auxiliary("predicting_inputs", columns=["income"], keep_as_input=True)
    extended, _ = construct([recipe], people, TRAIN)
    np.testing.assert_array_equal(extended.inputs["numeric"], people.inputs["numeric"])


def test_hidden_in_new_rows_too(people: Dataset) -> None:
    recipes = [
        create_auxiliary("predicting_inputs", columns=["income"]),
        create_auxiliary("denoising", noise="gaussian"),
    ]
    extended, _ = construct(recipes, people, TRAIN)
    assert np.isnan(extended.inputs["numeric"][:, 1]).all()
    assert not np.isnan(extended.targets["denoising"][50:, 1]).any()


def test_something_must_be_left_to_read(people: Dataset) -> None:
    recipe = create_auxiliary("predicting_inputs", columns=["age", "income", "city"])
    with pytest.raises(UserError, match="every input column is hidden"):
        construct([recipe], people, TRAIN)


def test_columns_without_names() -> None:
    values = np.arange(12.0).reshape(6, 2)
    dataset = Dataset("bare", {"numeric": values}, {"y": values[:, 0]}, {"y": _regression()})
    recipe = create_auxiliary("predicting_inputs", columns=["numeric_1"])
    extended, _ = construct([recipe], dataset, np.arange(4))
    np.testing.assert_array_equal(extended.targets["input_numeric_1"], values[:, 1])
    assert np.isnan(extended.inputs["numeric"][:, 1]).all()


def test_hints_of_numbers_and_categories(people: Dataset, frame: pd.DataFrame) -> None:
    above = create_auxiliary("hints", of="price", quantile=0.8)
    codes = construct([above], people, TRAIN)[0].targets["price_hint"]
    limit = np.nanquantile(people.targets["price"][TRAIN], 0.8)
    known = frame["price"].notna().to_numpy()
    assert codes[5] == -100
    np.testing.assert_array_equal(codes[known], people.targets["price"][known] > limit)
    assert (codes[TRAIN] == 1).sum() == 6
    oslo = create_auxiliary("hints", of="city", equals="Oslo", name="oslo")
    codes = construct([oslo], people, TRAIN)[0].targets["oslo"]
    assert codes[4] == -100
    known = frame["city"].notna().to_numpy()
    np.testing.assert_array_equal(codes[known], (frame["city"] == "Oslo")[known])


def test_hints_of_sequences() -> None:
    words = np.array([[1, 2, 3], [4, 5, 6], [2, 2, 0]])
    dataset = Dataset("text", {"words": words}, {"y": words[:, 0]}, {"y": _regression()})
    codes = construct([create_auxiliary("hints", of="words", equals=2)], dataset, np.arange(2))
    assert codes[0].targets["words_hint"].tolist() == [1, 0, 1]


def test_what_hints_cannot_look_at(people: Dataset) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        create_auxiliary("hints", of="price", quantile=1.0)
    with pytest.raises(UserError, match="expected quantile="):
        create_auxiliary("hints", of="price", equals=1).tasks(people)
    with pytest.raises(UserError, match="expected equals="):
        create_auxiliary("hints", of="city").tasks(people)
    with pytest.raises(UserError, match="did you mean 'Oslo'"):
        create_auxiliary("hints", of="city", equals="Olso").tasks(people)
    with pytest.raises(UserError, match="did you mean 'price'"):
        create_auxiliary("hints", of="prize").tasks(people)


def test_next_rows_in_time(people: Dataset) -> None:
    # Times fall with the row number, and group g holds the rows g, g + 4, ...
    recipe = create_auxiliary("next_step", of="income")
    target = construct([recipe], people, TRAIN)[0].targets["next_income"]
    income = people.inputs["numeric"][:, 1]
    np.testing.assert_array_equal(target[4:30], income[:26])
    assert np.isnan(target[:4]).all()
    assert np.isnan(target[30:]).all()
    second = create_auxiliary("next_step", of="city", steps=2)
    codes = construct([second], people, TRAIN)[0].targets["next_city"]
    city = np.where(
        people.inputs["categorical"][:, 0] < 0, -100, people.inputs["categorical"][:, 0]
    )
    np.testing.assert_array_equal(codes[8:30], city[:22])
    assert (codes[:8] == -100).all()


def test_a_step_over_a_held_out_row_is_not_made(people: Dataset) -> None:
    alone = replace(people, groups=None)
    train = np.array([0, 1, 3, 4, 6])
    recipe = create_auxiliary("next_step", of="income")
    target = construct([recipe], alone, train)[0].targets["next_income"]
    assert np.flatnonzero(~np.isnan(target)).tolist() == [1, 4]


def test_time_and_group_may_be_columns(people: Dataset) -> None:
    bare = replace(people, groups=None, times=None)
    bare.inputs["numeric"][:, 0] = people.times
    recipe = create_auxiliary("next_step", of="income", time="age", group="city")
    target = construct([recipe], bare, TRAIN)[0].targets["next_income"]
    city, income = bare.inputs["categorical"][:, 0], bare.inputs["numeric"][:, 1]
    for row in TRAIN:
        earlier = np.flatnonzero(city[:row] == city[row])
        wanted = income[earlier[-1]] if len(earlier) else np.nan
        np.testing.assert_array_equal(target[row], wanted)


def test_when_there_is_no_next(people: Dataset) -> None:
    with pytest.raises(UserError, match="no order of time"):
        create_auxiliary("next_step", of="price").tasks(replace(people, times=None))
    with pytest.raises(UserError, match="have the same time"):
        create_auxiliary("next_step", of="price").tasks(replace(people, times=np.zeros(50)))
    with pytest.raises(UserError, match="missing values"):
        create_auxiliary("next_step", of="price", time="age").tasks(people)
    with pytest.raises(UserError, match="no training row is followed"):
        create_auxiliary("next_step", of="price").extend(people, np.arange(4))


def test_a_nuisance_is_reversed_and_hidden(people: Dataset) -> None:
    recipe = create_auxiliary("nuisance", of="city", strength=0.5)
    (task,) = recipe.tasks(people)
    assert (task.reverse, task.role, task.classes) == (0.5, "auxiliary", ("Bonn", "Lima", "Oslo"))
    extended, _ = construct([recipe], people, TRAIN)
    assert (extended.inputs["categorical"] == -1).all()
    assert extended.columns["unread"] == ["city"]
    kept = create_auxiliary("nuisance", of="city", keep_as_input=True)
    assert (construct([kept], people, TRAIN)[0].inputs["categorical"] >= 0).any()


def test_groups_without_a_training_row_have_no_label(people: Dataset) -> None:
    groups = np.repeat(np.arange(5), 10)
    recipe = create_auxiliary("nuisance")
    extended, _ = construct([recipe], replace(people, groups=groups), np.arange(25))
    codes = extended.targets["group_nuisance"]
    np.testing.assert_array_equal(codes[:30], groups[:30])
    assert (codes[30:] == -100).all()


def test_what_is_no_nuisance(people: Dataset) -> None:
    with pytest.raises(UserError, match="has no groups"):
        create_auxiliary("nuisance").tasks(replace(people, groups=None))
    with pytest.raises(UserError, match="holds numbers"):
        create_auxiliary("nuisance", of="age").tasks(people)
    with pytest.raises(UserError, match="above 0"):
        create_auxiliary("nuisance", strength=0.0)


def test_pseudo_tasks_copy_labels(people: Dataset) -> None:
    recipe = create_auxiliary("pseudo_tasks", copies=2)
    extended, rows = construct([recipe], people, TRAIN)
    assert list(extended.tasks) == ["price", "price_pseudo_1", "price_pseudo_2"]
    assert rows.tolist() == TRAIN.tolist()
    for i in (1, 2):
        copy = extended.targets[f"price_pseudo_{i}"]
        np.testing.assert_array_equal(copy, people.targets["price"])
        assert extended.tasks[f"price_pseudo_{i}"].role == "auxiliary"
    with pytest.raises(UserError, match="at least 1"):
        create_auxiliary("pseudo_tasks", copies=0)
    with pytest.raises(UserError, match="did you mean 'price'"):
        create_auxiliary("pseudo_tasks", of="prize").tasks(people)


def _regression() -> Task:
    return Task("y", "regression")
