"""The data sets themselves: known sizes and shares, splits, cards."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from polytask.data import (
    Dataset,
    Preprocessor,
    dataset_card,
    list_datasets,
    load_dataset,
    make_splits,
)
from polytask.errors import UserError

Load = Callable[..., Dataset]


def test_adult_matches_the_published_census_file(public: Load) -> None:
    data = public("adult", "published")
    assert data.n == 48842
    assert list(data.tasks) == ["income", "never_married", "college"]
    assert data.columns["numeric"] == ["age", "capital-gain", "capital-loss", "hours-per-week"]
    assert data.columns["categorical"] == [
        "workclass",
        "occupation",
        "race",
        "sex",
        "native-country",
    ]
    parts = make_splits(data)
    test = parts["test"]
    train = np.concatenate([parts["train"], parts["val"]])
    # Counts of incomes above 50K that UCI gives for adult.data and adult.test.
    assert (len(train), int(data.targets["income"][train].sum())) == (32561, 7841)
    assert (len(test), int(data.targets["income"][test].sum())) == (16281, 3846)
    # The first row of adult.data: 39, State-gov, Never-married, Bachelors, 2174, 0, 40, <=50K.
    assert data.inputs["numeric"][0].tolist() == [39, 2174, 0, 40]
    level = data.inputs["categorical"][0, 0]
    assert data.columns["categories"]["workclass"][level] == "State-gov"
    assert [int(data.targets[t][0]) for t in data.tasks] == [0, 1, 1]


def test_adult_targets_can_be_learned_but_are_not_given_away(public: Load) -> None:
    data = public("adult")
    rows = np.random.default_rng(0).permutation(data.n)[:6000]
    part = data.subset(rows)
    x = Preprocessor.fit(part, np.arange(4000)).transform(part.inputs)
    flat = np.concatenate(
        [x["numeric"].numpy()] + [np.eye(int(c.max()) + 1)[c] for c in x["categorical"].numpy().T],
        axis=1,
    )
    for task in data.tasks:
        y = part.targets[task]
        score = (
            LogisticRegression(max_iter=500).fit(flat[:4000], y[:4000]).score(flat[4000:], y[4000:])
        )
        share = max(y[4000:].mean(), 1 - y[4000:].mean())
        assert share + 0.02 < score < 0.95


def test_yeast_matches_mulan(public: Load) -> None:
    data = public("yeast", "published")
    assert data.inputs["numeric"].shape == (2417, 103)
    assert list(data.tasks) == [f"Class{i}" for i in range(1, 15)]
    labels = np.stack(list(data.targets.values()), axis=1)
    assert labels.sum() / 2417 == pytest.approx(4.237, abs=5e-4)
    parts = make_splits(data)
    assert (len(parts["test"]), len(parts["train"]) + len(parts["val"])) == (917, 1500)
    np.testing.assert_array_equal(parts["test"], np.arange(917))
    # First row of MULAN's yeast-train.arff.
    np.testing.assert_allclose(data.inputs["numeric"][917, :3], [0.0937, 0.139771, 0.062774])
    assert labels[917].tolist() == [0, 0, 1, 1] + [0] * 10


def test_digits_tasks_follow_from_the_digit() -> None:
    data = load_dataset("digits")
    assert data.inputs["image"].shape == (1797, 1, 8, 8)
    assert data.inputs["image"].max() == 16
    digit = data.targets["digit"]
    assert data.tasks["parity"].classes == ("even", "odd")
    assert data.tasks["size"].classes == ("below_5", "at_least_5")
    np.testing.assert_array_equal(data.targets["parity"], digit % 2)
    np.testing.assert_array_equal(data.targets["size"], digit > 4)
    assert np.bincount(digit).min() == 174


def test_names_and_options_are_checked() -> None:
    assert {"adult", "digits", "yeast"} <= set(list_datasets())
    assert list_datasets("y*t") == ["yeast"]
    with pytest.raises(UserError, match="unknown dataset 'adlt'; did you mean 'adult'"):
        load_dataset("adlt")
    with pytest.raises(UserError, match="'publised'; did you mean 'published'"):
        load_dataset("yeast", split="publised")
    with pytest.raises(UserError, match="'spilt'"):
        load_dataset("yeast", spilt="published")


@pytest.mark.parametrize("name", ["adult", "digits", "yeast"])
def test_cards_are_complete_and_true(name: str, public: Load) -> None:
    card = dataset_card(name)
    for key in (
        "title",
        "kind",
        "rows",
        "inputs",
        "tasks",
        "split",
        "address",
        "source",
        "licence",
    ):
        assert card[key], key
    data = load_dataset("digits") if name == "digits" else public(name)
    assert data.n == card["rows"]
    assert card["address"].startswith("https://")
    if name != "yeast":
        assert list(card["tasks"]) == list(data.tasks)


def test_unknown_card() -> None:
    with pytest.raises(UserError, match="unknown dataset 'yeastt'"):
        dataset_card("yeastt")
