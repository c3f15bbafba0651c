"""MultiTaskEstimator on real tables: mixed kinds, missing labels, scikit-learn's rules."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold, cross_val_score

from polytask.errors import UserError
from polytask.metrics import Undefined
from polytask.tabular import MultiTaskEstimator
from polytask.tasks import Task

Table = tuple[pd.DataFrame, pd.DataFrame]


@pytest.fixture(scope="module")
def fitted(diabetes: Table) -> MultiTaskEstimator:
    X, Y = diabetes
    return MultiTaskEstimator(epochs=25, method="uncertainty").fit(X[:330], Y[:330])


def test_predicts_units_and_labels(fitted: MultiTaskEstimator, diabetes: Table) -> None:
    X, _Y = diabetes
    predicted = fitted.predict(X[330:])
    assert list(predicted.columns) == ["progression", "high", "weight"]
    assert predicted.index.equals(X.index[330:])
    assert predicted.progression.between(0, 400).all()
    assert set(predicted.high) == {"yes", "no"}
    assert set(predicted.weight) <= {"low", "mid", "high"}


def test_is_better_than_constants_on_new_rows(fitted: MultiTaskEstimator, diabetes: Table) -> None:
    X, Y = diabetes
    scores = fitted.evaluate(X[330:], Y[330:])
    known = Y.progression[330:].dropna()
    assert scores["progression"]["rmse"] < 0.9 * known.std()
    assert scores["high"]["auroc"] > 0.7
    assert fitted.score(X[330:], Y[330:]) > 0.15


def test_probabilities_are_those_of_the_classes(
    fitted: MultiTaskEstimator, diabetes: Table
) -> None:
    X, _ = diabetes
    probabilities = fitted.predict_proba(X)
    assert list(probabilities) == ["high", "weight"]
    assert list(probabilities["high"].columns) == ["no", "yes"]
    for name, frame in probabilities.items():
        assert np.allclose(frame.sum(axis=1), 1, atol=1e-5)
        assert (frame.idxmax(axis=1) == fitted.predict(X)[name]).all()


def test_what_was_inferred_is_told(fitted: MultiTaskEstimator) -> None:
    kinds = {name: task.kind for name, task in fitted.tasks_.items()}
    assert kinds == {"progression": "regression", "high": "binary", "weight": "multiclass"}
    assert any("weight: multiclass with 3 classes" in note for note in fitted.notes_)
    assert "sex" in fitted.feature_names_in_
    assert fitted.n_features_in_ == 9


def test_saved_and_loaded_predicts_the_same(
    fitted: MultiTaskEstimator, diabetes: Table, tmp_path: Path
) -> None:
    X, Y = diabetes
    loaded = MultiTaskEstimator.load(fitted.save(tmp_path / "model"))
    assert loaded.predict(X).equals(fitted.predict(X))
    assert loaded.predict_proba(X)["weight"].equals(fitted.predict_proba(X)["weight"])
    assert loaded.get_params() == fitted.get_params()
    assert loaded.score(X, Y) == fitted.score(X, Y)
    assert sorted(f.name for f in (tmp_path / "model").iterdir()) == [
        "model.safetensors",
        "polytask.json",
    ]


def test_new_rows_with_an_unseen_category_count_as_missing(
    fitted: MultiTaskEstimator, diabetes: Table
) -> None:
    X, _ = diabetes
    unseen, missing = X[330:].assign(sex="c"), X[330:].assign(sex=None)
    assert fitted.predict(unseen).equals(fitted.predict(missing))


def test_inputs_may_be_missing_and_in_any_order(
    fitted: MultiTaskEstimator, diabetes: Table
) -> None:
    X, _ = diabetes
    shuffled = X[330:][X.columns[::-1]].assign(further=1)
    assert fitted.predict(shuffled).equals(fitted.predict(X[330:]))
    assert fitted.predict(X[330:].assign(bp=np.nan)).notna().all(axis=None)


def test_a_missing_column_is_named(fitted: MultiTaskEstimator, diabetes: Table) -> None:
    X, _ = diabetes
    with pytest.raises(UserError, match="lacks 'bp'"):
        fitted.predict(X.drop(columns="bp"))


def test_integer_and_boolean_labels_come_back_as_such(wine: Table) -> None:
    X, Y = wine
    model = MultiTaskEstimator(epochs=15, method="pcgrad").fit(X, Y)
    predicted = model.predict(X)
    assert predicted.cultivar.dtype == np.int64
    assert predicted.dark.dtype == bool
    assert model.evaluate(X, Y)["cultivar"]["accuracy"] > 0.9
    assert any("cultivar" in note and "guess" in note for note in model.notes_)


def test_twenty_rows_with_missing_labels(linnerud: Table) -> None:
    X, Y = linnerud
    model = MultiTaskEstimator(epochs=5, val_fraction=0.2).fit(X, Y)
    assert model.predict(X).notna().all(axis=None)
    assert model.predict(X).shape == (20, 3)


def test_without_validation_the_last_epoch_is_taken(linnerud: Table) -> None:
    X, Y = linnerud
    model = MultiTaskEstimator(epochs=4, val_fraction=0).fit(X, Y)
    assert model.history_.best_epoch == 4


def test_the_same_seed_gives_the_same_model(wine: Table) -> None:
    X, Y = wine
    first, again, other = (
        MultiTaskEstimator(epochs=3, method="rlw", seed=seed).fit(X, Y).predict(X)
        for seed in (1, 1, 2)
    )
    assert first.equals(again)
    assert not first.equals(other)


def test_targets_by_name_and_kind(wine: Table) -> None:
    X, Y = wine
    frame = pd.concat([X, Y], axis=1)
    by_name = MultiTaskEstimator(epochs=2).fit(frame, targets=["cultivar:regression", "dark"])
    assert by_name.tasks_["cultivar"].kind == "regression"
    assert "alcohol" in by_name.feature_names_in_
    helper = Task("alcohol", "regression", role="auxiliary", metrics=("mae",))
    by_task = MultiTaskEstimator(epochs=2).fit(X, Y, targets={"cultivar": None, "alcohol": helper})
    assert list(by_task.evaluate(X, Y)["alcohol"]) == ["mae"]
    assert set(by_task.feature_names_in_) == set(X.columns)
    assert list(by_task.predict(X)) == ["cultivar", "alcohol"]


def test_several_labels_in_a_cell() -> None:
    X = pd.DataFrame({"x": np.arange(60.0), "y": np.arange(60) % 7})
    Y = pd.DataFrame({"tags": ["low" if i < 30 else "high|far" for i in range(60)]})
    estimator = MultiTaskEstimator(epochs=60, lr=1e-2, val_fraction=0)
    model = estimator.fit(X, Y, targets=["tags:multilabel"])
    predicted = model.predict(X)
    assert list(predicted.columns) == ["tags/far", "tags/high", "tags/low"]
    assert (predicted["tags/low"] == (X.x < 30)).mean() > 0.9


def test_follows_scikit_learn(wine: Table) -> None:
    X, Y = wine
    estimator = MultiTaskEstimator(epochs=2, encoder={"mlp": {"hidden": [16]}}, lr=0.01)
    assert not [name for name in vars(estimator) if name.endswith("_")]
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert copy.set_params(epochs=3, seed=4) is copy
    assert (copy.epochs, copy.seed, estimator.epochs) == (3, 4, 2)
    assert "lr=0.01" in repr(estimator)
    scores = cross_val_score(estimator, X, Y, cv=KFold(3, shuffle=True, random_state=0))
    assert np.isfinite(scores).all()
    with pytest.raises(NotFittedError):
        estimator.predict(X)
    with pytest.raises(NotFittedError):
        estimator.score(X, Y)


def test_a_score_without_a_value_says_why(fitted: MultiTaskEstimator, diabetes: Table) -> None:
    X, Y = diabetes
    only = Y.high == "yes"
    scores = fitted.evaluate(X[only], Y[only])
    assert isinstance(scores["high"]["auroc"], Undefined)
    assert isinstance(scores["progression"]["rmse"], float)
    with pytest.raises(UserError, match="no task has a defined score"):
        fitted.score(X[only][["age", *X.columns[1:]]], Y[only][["high"]])


def test_a_class_that_training_never_saw_counts_as_wrong(wine: Table) -> None:
    X, Y = wine
    known = Y.cultivar.isin([0, 1]) | Y.cultivar.isna()
    rare = Y.cultivar.where(Y.cultivar != 1, "b").where(Y.cultivar != 0, "a")
    Y = Y.assign(cultivar=rare.mask(Y.cultivar == 2, "c").mask(X.hue < X.hue.quantile(0.1), "d"))
    known &= Y.cultivar != "d"
    model = MultiTaskEstimator(epochs=5).fit(X[Y.cultivar != "c"], Y[Y.cultivar != "c"])
    scores = model.evaluate(X, Y)["cultivar"]
    labelled = Y.cultivar.notna()
    right = (model.predict(X).cultivar == Y.cultivar)[labelled].mean()
    assert scores["accuracy"] == pytest.approx(right)
    assert isinstance(scores["log_loss"], Undefined)
    assert f"{(Y.cultivar == 'c').sum()} rows have a label not seen" in scores["log_loss"].reason
    assert np.isfinite(model.score(X, Y))
    with pytest.raises(UserError, match="'perhaps', which is not among its classes"):
        model.evaluate(X, Y.assign(dark="perhaps"))
