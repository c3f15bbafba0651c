"""The Task itself: settings, fitting, predictions, trivial scores, JSON."""

import json
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.dummy import DummyClassifier

from polytask.errors import UserError
from polytask.tasks import Metric, Task, Undefined, evaluate

NAN = float("nan")


def own(output, target):
    return (output[:, 0] - target).abs()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "", "kind": "binary"}, "name must be a text"),
        ({"name": "a/b", "kind": "binary"}, "without '/'"),
        ({"name": "t", "kind": "regresion"}, "did you mean 'regression'"),
        ({"name": "t", "kind": "binary", "role": "auxilary"}, "did you mean 'auxiliary'"),
        ({"name": "t", "kind": "binary", "classes": (1, 2, 3)}, "exactly 2 classes, found 3"),
        ({"name": "t", "kind": "multiclass"}, "at least 2 classes, found 0"),
        ({"name": "t", "kind": "multiclass", "classes": ("a", "a")}, "'a' is given twice"),
        ({"name": "t", "kind": "multiclass", "classes": (1, True)}, "given twice"),
        ({"name": "t", "kind": "multiclass", "classes": ((1,), (2,))}, "a class is a text"),
        ({"name": "t", "kind": "multiclass", "classes": (1, NAN)}, "a class is a text"),
        ({"name": "t", "kind": "multiclass", "classes": "ab"}, "must be a list"),
        ({"name": "t", "kind": "multiclass", "size": 3, "classes": "abc"}, "must be a list"),
        ({"name": "t", "kind": "multiclass", "size": 2, "classes": (1, 2)}, "follows from classes"),
        ({"name": "t", "kind": "regression", "classes": (1, 2)}, "takes no classes"),
        ({"name": "t", "kind": "regression", "size": 0}, "above 0"),
        ({"name": "t", "kind": "regression", "std": 0.0}, "std must be finite and above 0"),
        ({"name": "t", "kind": "regression", "mean": NAN}, "mean must be finite"),
        ({"name": "t", "kind": "regression", "size": 2, "std": (1.0, 1.0, 1.0)}, "one per output"),
        ({"name": "t", "kind": "binary", "mean": 3.0}, "takes no mean"),
        ({"name": "t", "kind": "regression", "loss_function": "hubber"}, "did you mean 'huber'"),
        ({"name": "t", "kind": "binary", "loss_function": "huber"}, "must be a function"),
        ({"name": "t", "kind": "custom"}, "Pass loss_function="),
        ({"name": "t", "kind": "regression", "metrics": ("r2",)}, "r2 may not be the primary"),
        ({"name": "t", "kind": "regression", "metrics": ("mae", "mae")}, "named twice"),
    ],
)
def test_settings_that_do_not_fit(arguments, message):
    with pytest.raises(UserError, match=message):
        Task(**arguments)


def test_defaults_and_primary():
    task = Task("t", "regression")
    assert [m.name for m in task.all_metrics] == ["rmse", "mae", "r2"]
    assert task.primary == Metric("rmse", "min")
    assert [m.name for m in Task("t", "binary").all_metrics] == ["auroc", "log_loss", "accuracy"]
    multi = Task("t", "multiclass", classes=range(3))
    assert [m.name for m in multi.all_metrics] == ["accuracy", "log_loss", "macro_f1"]
    labels = Task("t", "multilabel", classes=("x",))
    assert [m.name for m in labels.all_metrics] == ["auroc", "micro_f1", "log_loss"]
    assert Task("t", "custom", loss_function=own).primary.name == "loss"
    assert Task("t", "regression", metrics=("mae", "r2")).primary.name == "mae"
    assert Task("t", "binary", metrics="f1").primary.name == "f1"  # type: ignore[arg-type]
    assert (multi.output_size, labels.output_size, task.output_size) == (3, 1, 1)
    assert Task("t", "binary").output_size == 1
    with pytest.raises(FrozenInstanceError):
        task.name = "other"  # type: ignore[misc]
    assert len({task, Task("t", "regression"), multi}) == 2


def test_fitted_regression_on_real_targets():
    target = load_diabetes().target.astype(np.float32)
    target[::3] = np.nan
    task = Task("progress", "regression").fitted(target)
    seen = target[~np.isnan(target)].astype(np.float64)
    assert task.mean == pytest.approx(seen.mean(), rel=1e-12)
    assert task.std == pytest.approx(seen.std(), rel=1e-12)
    assert Task("progress", "regression").fitted(torch.tensor(target)) == task
    vector = Task("xy", "regression", size=2).fitted(np.array([[1, 10], [3, NAN], [NAN, 30.0]]))
    assert vector.mean == (2.0, 20.0)
    assert vector.std == (1.0, 10.0)


@pytest.mark.parametrize(
    ("task", "target", "message"),
    [
        (Task("t", "regression"), [NAN, NAN], "none of its 2 training targets has a label"),
        (Task("t", "regression"), [], "none of its 0"),
        (Task("t", "regression"), [0.1, 0.1, NAN], "all 2 training targets are 0.1"),
        (Task("t", "regression"), [1.0, float("inf")], "infinite"),
        (Task("t", "regression", size=2), [[1.0, 5], [2, 5]], "output 1 of task 't'.*constant"),
        (Task("t", "regression", size=2), [[1.0, NAN], [2, NAN]], "output 1.*are missing"),
        (Task("t", "regression", size=2), [1.0, 2.0], r"expected targets of shape \[N, 2\]"),
        (
            Task("t", "binary", classes=("no", "yes")),
            [1, 1, -100],
            "all 2 training labels are 'yes'",
        ),
        (Task("t", "binary"), [-100, -100], "has a label"),
        (Task("t", "binary"), [0, 1, 2], "expected codes 0 to 1.*found 2"),
        (Task("t", "binary"), [0.3, 1.7], "another kind of target"),
        (Task("t", "multiclass", classes=range(3)), [0, 1, 3], "codes 0 to 2.*found 3"),
        (Task("t", "multilabel", classes=("x", "y")), [[1.0, 0], [1, 0]], "no label has both"),
        (Task("t", "custom", loss_function=own), [NAN], "has a label"),
    ],
)
def test_fitted_refuses(task, target, message):
    with pytest.raises(UserError, match=f"task 't'.*{message}|{message}"):
        task.fitted(np.array(target))


def test_fitted_leaves_other_kinds_unchanged():
    for task, target in (
        (Task("t", "binary"), [0, 1, -100]),
        (Task("t", "multiclass", classes=range(9)), [0, 8]),
        (Task("t", "multilabel", classes=("x", "y")), [[1.0, 0], [0, NAN]]),
        (Task("t", "custom", loss_function=own), [1.0, 1.0]),
    ):
        assert task.fitted(np.array(target)) is task


def test_predictions_and_probabilities():
    task = Task("t", "regression", mean=10.0, std=2.0)
    assert task.predict(torch.tensor([[1.0], [-1.0]])).tolist() == [12.0, 8.0]
    vector = Task("t", "regression", size=2, mean=(0.0, 5.0), std=(1.0, 2.0))
    assert vector.predict(torch.ones(1, 2)).tolist() == [[1.0, 7.0]]
    assert vector.predict(torch.ones(1, 2, 3, 4))[0, :, 0, 0].tolist() == [1.0, 7.0]
    assert task.predict(torch.ones(2, 1, 3, 4)).shape == (2, 3, 4)
    binary = Task("t", "binary")
    logits = torch.tensor([[-1.0], [0.0], [float(np.log(3))]])
    assert binary.predict(logits).tolist() == [0, 0, 1]
    torch.testing.assert_close(binary.probabilities(logits)[1:], torch.tensor([0.5, 0.75]))
    multi = Task("t", "multiclass", classes=range(3))
    assert multi.predict(torch.eye(3)).tolist() == [0, 1, 2]
    assert multi.predict(torch.rand(2, 3, 4, 5)).shape == (2, 4, 5)
    torch.testing.assert_close(multi.probabilities(torch.rand(4, 3)).sum(1), torch.ones(4))
    labels = Task("t", "multilabel", classes=("x", "y"))
    assert labels.predict(torch.tensor([[1.0, -1.0]])).tolist() == [[1, 0]]
    assert labels.probabilities(torch.zeros(3, 2)).tolist() == [[0.5, 0.5]] * 3
    half = torch.ones(2, 1, dtype=torch.float16)
    assert replace(task, mean=1e5).predict(half).tolist() == [100002.0] * 2
    for other in (task, Task("t", "custom", loss_function=own)):
        with pytest.raises(UserError, match="no class probabilities"):
            other.probabilities(torch.zeros(1, 1))
    with pytest.raises(UserError, match=r"\[N, 3\]"):
        multi.predict(torch.zeros(2, 4))


def test_trivial_scores_on_real_data_against_scikit_learn():
    y = load_diabetes().target
    train, test = y[:300], y[300:]
    task = Task("t", "regression").fitted(train)
    constant = np.full(len(test), train.mean())
    assert task.trivial(train, test) == pytest.approx(sk.root_mean_squared_error(test, constant))
    task = replace(task, metrics=("mae",))
    constant = np.full(len(test), np.median(train))
    expected = sk.mean_absolute_error(test, constant)
    assert task.trivial(train, test) == pytest.approx(expected, rel=5e-3)

    y = load_breast_cancer().target
    train, test = y[:300], y[300:]
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((300, 1)), train)
    assert Task("t", "binary").trivial(train, test) == 0.5
    task = Task("t", "binary", metrics=("log_loss",))
    expected = sk.log_loss(test, dummy.predict_proba(np.zeros((len(test), 1))))
    assert task.trivial(train, test) == pytest.approx(expected)
    task = Task("t", "binary", metrics=("average_precision",))
    assert task.trivial(train, test) == pytest.approx(test.mean())

    y = load_wine().target
    task = Task("t", "multiclass", classes=range(3))
    assert task.trivial(y, y) == pytest.approx(np.bincount(y).max() / len(y))
    task = replace(task, metrics=("log_loss",))
    share = np.bincount(y) / len(y)
    assert task.trivial(y, y) == pytest.approx(-(share * np.log(share)).sum())


def test_trivial_scores_with_missing_labels_and_dense_targets():
    task = Task("t", "regression", mean=5.0, std=3.0)
    train, test = np.array([1.0, 3.0, NAN]), np.array([2.0, 4.0, NAN])
    expected = pytest.approx(np.sqrt(2.0))
    assert task.trivial(train, test) == expected
    assert task.trivial(train[:, None], test[:, None]) == expected
    assert task.trivial(train[None], test[None]) == expected
    assert task.trivial(train[None, None], test[None, None]) == expected
    nothing = np.array([NAN])
    assert task.trivial(train, nothing) == Undefined("no labelled item")
    assert task.trivial(nothing, train) == Undefined("no labelled training item")
    labels = Task("t", "multilabel", classes=("x", "y"), metrics=("log_loss",))
    train = np.array([[1.0, 0], [1, 1], [NAN, 1], [0, NAN]])
    p = np.array([2 / 3, 2 / 3])
    expected = -np.mean([np.log(p[0]), np.log(1 - p[1])])
    assert labels.trivial(train, np.array([[1.0, 0.0]])) == pytest.approx(expected)
    finite = labels.trivial(np.array([[1.0, 0], [1, 0]]), np.array([[0.0, 1.0]]))
    assert isinstance(finite, float)
    assert isinstance(Task("t", "custom", loss_function=own).trivial(train, train), Undefined)


TASKS = [
    Task("price", "regression", mean=3.5, std=0.25, loss_function="huber"),
    Task("xy", "regression", "auxiliary", size=2, mean=(1.0, 2.0), std=(3.0, 4.0)),
    Task("sold", "binary", classes=("no", "yes"), metrics=("f1", "auroc")),
    Task("rooms", "multiclass", classes=np.array([1, 2, 5])),  # type: ignore[arg-type]
    Task("tags", "multilabel", classes=("x", "y"), metrics=(Metric("auroc", "max"),)),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_through_json_and_pickle(task):
    back = Task.from_dict(json.loads(json.dumps(task.to_dict())))
    assert back.to_dict() == task.to_dict()
    assert back.all_metrics == task.all_metrics
    assert replace(back, metrics=task.metrics) == task
    assert pickle.loads(pickle.dumps(task)) == task


def test_functions_cannot_be_stored():
    with pytest.raises(UserError, match="task 't': its loss_function is a Python function"):
        Task("t", "custom", loss_function=own).to_dict()
    with pytest.raises(UserError, match="metric 'mine' is a Python function"):
        Task("t", "binary", metrics=(Metric("mine", "max", own),)).to_dict()


def test_from_dict_refuses_unknown_and_missing_keys():
    with pytest.raises(UserError, match="did you mean 'metrics'"):
        Task.from_dict({"name": "t", "kind": "binary", "metric": ["f1"]})
    with pytest.raises(UserError, match="needs 'kind'"):
        Task.from_dict({"name": "t"})


def test_evaluate_with_an_absent_task():
    tasks = {"a": Task("a", "regression"), "b": Task("b", "binary")}
    found = evaluate(tasks, {"a": torch.zeros(2, 1)}, {"a": torch.tensor([3.0, 4.0])})
    assert found["a"]["rmse"] == pytest.approx(np.sqrt(12.5))
    assert found["a"]["mae"] == pytest.approx(3.5)
    assert set(found["b"].values()) == {Undefined("no labelled item")}


def test_read_only_arrays_are_taken():
    target = np.array([1.0, 3.0, NAN])
    target.flags.writeable = False
    task = Task("t", "regression").fitted(target)
    assert task.labelled(target).tolist() == [True, True, False]
    assert task.trivial(target, target) == pytest.approx(1.0)


def test_import_is_light():
    code = (
        "import sys, polytask.tasks as t; t.Task('a', 'binary');"
        "assert not {'torchmetrics', 'pandas', 'sklearn', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
