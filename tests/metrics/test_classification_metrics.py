"""Classification scores against scikit-learn, with missing labels and degenerate sets."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from polytask.errors import NonFiniteError, UserError
from polytask.metrics import Undefined, find_metric, list_metrics
from polytask.tasks import Task

ONE = Undefined("one class only among the labelled items")
BINARY = Task("b", "binary")
FOUR = Task("m", "multiclass", classes=range(4))
LABELS = Task("l", "multilabel", classes=("x", "y", "z"))


def score(task: Task, name: str, output, target, parts: int = 1):
    accumulator = find_metric(name, task.kind).fresh(task)
    for o, t in zip(output.chunk(parts), target.chunk(parts), strict=True):
        accumulator.update(o, t)
    return accumulator.compute()


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_binary_against_sklearn(rng):
    y = rng.integers(0, 2, 300)
    logit = np.round(rng.normal(size=300) + y, 1)  # rounded: with ties
    logit[:4] = 60.0, 61.0, -60.0, -61.0  # float32 probabilities of these are ties; logits are not
    decided = (logit > 0).astype(int)
    expected = {
        "auroc": sk.roc_auc_score(y, logit),
        "average_precision": sk.average_precision_score(y, logit),
        "log_loss": np.mean(np.logaddexp(0, logit) - y * logit),
        "accuracy": sk.accuracy_score(y, decided),
        "balanced_accuracy": sk.balanced_accuracy_score(y, decided),
        "f1": sk.f1_score(y, decided),
        "macro_f1": sk.f1_score(y, decided, average="macro"),
        "mean_iou": sk.jaccard_score(y, decided, average="macro"),
    }
    assert set(expected) == set(list_metrics("binary"))
    target = torch.tensor(y)
    output = torch.tensor(logit)[:, None]
    for name, value in expected.items():
        for parts in (1, 6):
            assert score(BINARY, name, output, target, parts) == pytest.approx(value, rel=1e-6), (
                name
            )


def test_multiclass_against_sklearn(rng):
    y = rng.integers(0, 4, 400)
    y[:30] = -100
    logits = rng.normal(size=(400, 4)) * 3
    logits[np.arange(400), y.clip(0)] += 2
    keep = y >= 0
    t, z = y[keep], logits[keep]
    probability = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
    decided = z.argmax(1)
    one_hot = np.eye(4)[t]
    expected = {
        "auroc": sk.roc_auc_score(t, probability, multi_class="ovr"),
        "average_precision": sk.average_precision_score(one_hot, probability, average="macro"),
        "log_loss": sk.log_loss(t, probability),
        "accuracy": sk.accuracy_score(t, decided),
        "balanced_accuracy": sk.balanced_accuracy_score(t, decided),
        "macro_f1": sk.f1_score(t, decided, average="macro"),
        "micro_f1": sk.f1_score(t, decided, average="micro"),
        "mean_iou": sk.jaccard_score(t, decided, average="macro"),
    }
    assert set(expected) == set(list_metrics("multiclass"))
    for name, value in expected.items():
        for parts in (1, 8):
            found = score(FOUR, name, torch.tensor(logits), torch.tensor(y), parts)
            assert found == pytest.approx(value, rel=1e-6), name


def test_multilabel_against_sklearn_with_missing_elements(rng):
    y = (rng.random((300, 3)) < [0.2, 0.5, 0.8]).astype(float)
    y[rng.random((300, 3)) < 0.3] = np.nan
    logits = rng.normal(size=(300, 3))
    columns = [(y[~np.isnan(y[:, i]), i], logits[~np.isnan(y[:, i]), i]) for i in range(3)]
    flat = ~np.isnan(y)
    truth, z = y[flat], logits[flat]
    expected = {
        "auroc": np.mean([sk.roc_auc_score(t, s) for t, s in columns]),
        "average_precision": np.mean([sk.average_precision_score(t, s) for t, s in columns]),
        "log_loss": sk.log_loss(truth, 1 / (1 + np.exp(-z))),
        "accuracy": np.mean(truth == (z > 0)),
        "macro_f1": np.mean([sk.f1_score(t, s > 0) for t, s in columns]),
        "micro_f1": sk.f1_score(truth, z > 0),
    }
    assert set(expected) == set(list_metrics("multilabel"))
    for name, value in expected.items():
        for parts in (1, 5):
            found = score(LABELS, name, torch.tensor(logits), torch.tensor(y), parts)
            assert found == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("task", [BINARY, FOUR, LABELS], ids=lambda task: task.kind)
def test_no_label_is_undefined_in_every_metric(task):
    shape = (5, 3) if task.kind == "multilabel" else (5,)
    target = torch.full(shape, -100) if task.kind != "multilabel" else torch.full(shape, torch.nan)
    for name in list_metrics(task.kind):
        found = score(task, name, torch.randn(5, task.output_size), target)
        assert found == Undefined("no labelled item"), name


@pytest.mark.parametrize("code", [0, 1])
def test_one_class_only_is_undefined_where_two_are_needed(code):
    """torchmetrics answers 0.0 with a warning for the AUROC of one class."""
    target = torch.tensor([code, code, -100])
    output = torch.tensor([[-1.0], [2.0], [3.0]])
    for name in ("auroc", "average_precision", "macro_f1", "f1", "balanced_accuracy", "mean_iou"):
        assert score(BINARY, name, output, target) == ONE, name
    assert score(BINARY, "accuracy", output, target) == 0.5
    losses = [np.logaddexp(0, z) - code * z for z in (-1.0, 2.0)]
    assert score(BINARY, "log_loss", output, target) == pytest.approx(np.mean(losses))


def test_one_class_only_multiclass():
    output, target = torch.randn(4, 4), torch.full((4,), 2)
    for name in ("auroc", "average_precision", "macro_f1", "balanced_accuracy", "mean_iou"):
        assert score(FOUR, name, output, target) == ONE, name
    assert isinstance(score(FOUR, "accuracy", output, target), float)


def test_multilabel_labels_without_both_values_are_left_out_of_the_ranking():
    target = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 0.0, torch.nan]])
    output = torch.tensor([[2.0, 0.1, 0.0], [1.0, 0.2, 0.0], [0.0, 0.3, 0.0]])
    assert score(LABELS, "auroc", output, target) == pytest.approx(0.5)
    assert score(LABELS, "auroc", output, target[:, :].where(target.isnan(), 1.0)) == ONE
    nothing = torch.zeros(3, 3)
    for name in ("micro_f1", "macro_f1"):
        found = score(LABELS, name, output, nothing)
        assert found == Undefined("no labelled item is positive")


def test_an_absent_class_counts_in_f1_only_when_predicted():
    target = torch.tensor([0, 0, 1, 1])
    one_hot = torch.nn.functional.one_hot
    right = one_hot(target, 4).float()
    assert score(FOUR, "macro_f1", right, target) == 1.0
    decided = torch.tensor([0, 3, 1, 1])
    wrong = one_hot(decided, 4).float()
    expected = sk.f1_score(target, decided, average="macro", zero_division=0)
    assert score(FOUR, "macro_f1", wrong, target) == pytest.approx(expected)
    assert score(FOUR, "balanced_accuracy", wrong, target) == pytest.approx(0.75)


def test_perfect_and_reversed_rankings():
    target = torch.tensor([0, 0, 1, 1])
    output = torch.tensor([[-900.0], [-800.0], [800.0], [900.0]])
    assert score(BINARY, "auroc", output, target) == 1.0
    assert score(BINARY, "auroc", -output, target) == 0.0
    assert score(BINARY, "auroc", 0 * output, target) == 0.5
    assert score(BINARY, "log_loss", -output, target) == pytest.approx(850.0)


def test_logits_that_saturate_are_not_tied():
    """sigmoid(40) == sigmoid(41) == 1 in float32."""
    target = torch.tensor([0, 1])
    assert score(BINARY, "auroc", torch.tensor([[40.0], [41.0]]), target) == 1.0


@pytest.mark.parametrize("task", [BINARY, FOUR, LABELS], ids=lambda task: task.kind)
def test_nan_outputs_of_labelled_items_raise(task):
    target = torch.ones(2, 3) if task.kind == "multilabel" else torch.ones(2, dtype=torch.int64)
    output = torch.zeros(2, task.output_size)
    output[1, 0] = torch.nan
    for name in list_metrics(task.kind):
        with pytest.raises(NonFiniteError, match=f"task '{task.name}'.*NaN"):
            score(task, name, output, target)
    if task.kind == "multilabel":
        target[1, 0] = torch.nan
    else:
        target[1] = -100
    assert isinstance(score(task, "accuracy", output, target), float)


def test_codes_outside_the_classes_are_refused():
    with pytest.raises(UserError, match=r"codes 0 to 3.*found 4"):
        score(FOUR, "accuracy", torch.zeros(1, 4), torch.tensor([4]))
    with pytest.raises(UserError, match=r"codes 0 to 1.*found 0.5"):
        score(LABELS, "accuracy", torch.zeros(1, 3), torch.tensor([[0.5, 1, 0]]))


def test_dense_multiclass_equals_its_pixels(rng):
    target = torch.tensor(rng.integers(0, 4, (3, 6, 5)))
    target[torch.tensor(rng.random((3, 6, 5)) < 0.3)] = -100
    output = torch.tensor(rng.normal(size=(3, 4, 6, 5)))
    pixels = output.permute(0, 2, 3, 1).reshape(-1, 4)
    for name in list_metrics("multiclass"):
        flat = score(FOUR, name, pixels, target.reshape(-1))
        assert score(FOUR, name, output, target, parts=3) == pytest.approx(flat), name
    keep = target.reshape(-1) >= 0
    expected = sk.jaccard_score(target.reshape(-1)[keep], pixels[keep].argmax(1), average="macro")
    assert score(FOUR, "mean_iou", output, target) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_are_upcast(dtype):
    output = torch.tensor([[2.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 3, 0]], dtype=dtype)
    target = torch.tensor([0, 1, 3])
    for name in list_metrics("multiclass"):
        expected = score(FOUR, name, output.float(), target)
        assert score(FOUR, name, output, target) == pytest.approx(expected)
