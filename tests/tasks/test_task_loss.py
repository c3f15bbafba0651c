"""Losses: closed forms, float64 oracles, the mean over labelled elements alone."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from polytask.errors import UserError
from polytask.tasks import Task

NAN = float("nan")


def test_regression_closed_form_on_the_standardised_target():
    task = Task("t", "regression", mean=10.0, std=2.0)
    value, count = task.loss(torch.tensor([[0.0], [1.0], [7.0]]), torch.tensor([12.0, 12.0, NAN]))
    assert count == 2
    assert value.item() == pytest.approx((1.0 + 0.0) / 2)


def test_the_loss_does_not_depend_on_the_unit():
    target = torch.tensor([1.0, 2.0, 4.0, NAN])
    output = torch.tensor([[0.3], [-0.2], [1.0], [0.0]])
    metres = Task("t", "regression").fitted(target)
    millimetres = Task("t", "regression").fitted(target * 1000)
    a, b = metres.loss(output, target).value, millimetres.loss(output, target * 1000).value
    torch.testing.assert_close(a, b)


def test_standardising_keeps_the_digits_of_a_target_far_from_zero():
    """The mean lies between two neighbouring float32 numbers."""
    target = torch.tensor([1e6, 1e6 + 0.0625, 1e6 + 0.0625])
    task = Task("t", "regression").fitted(target)
    perfect = ((target.double() - task.mean) / task.std).float()[:, None]
    assert perfect.square().mean().item() == pytest.approx(1.0)
    assert task.loss(perfect, target).value.item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("squared", (0.25 + 9) / 2), ("l1", (0.5 + 3) / 2), ("huber", (0.125 + 2.5) / 2)],
)
def test_regression_losses_by_word(word, expected):
    task = Task("t", "regression", loss_function=word)
    value, count = task.loss(torch.tensor([[0.5], [3.0]]), torch.tensor([0.0, 0.0]))
    assert value.item() == pytest.approx(expected)
    assert count == 2


def test_classification_against_numpy():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(6, 3))
    y = np.array([0, 2, -100, 1, 1, -100])
    log_p = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
    expected = -np.mean([log_p[i, y[i]] for i in (0, 1, 3, 4)])
    task = Task("m", "multiclass", classes=("a", "b", "c"))
    value, count = task.loss(torch.tensor(z), torch.tensor(y))
    assert (value.item(), count) == (pytest.approx(expected, rel=1e-12), 4)

    y = np.array([0, 1, 1, -100, 0, 1])
    z = z[:, :1]
    expected = np.mean((np.logaddexp(0, z[:, 0]) - y * z[:, 0])[y >= 0])
    value, count = Task("b", "binary").loss(torch.tensor(z), torch.tensor(y))
    assert (value.item(), count) == (pytest.approx(expected, rel=1e-12), 5)


def test_several_outputs_and_labels_average_over_labelled_elements():
    target = torch.tensor([[1.0, NAN], [0.0, 1.0], [NAN, NAN]])
    output = torch.tensor([[0.0, 5.0], [2.0, 3.0], [9.0, 9.0]])
    value, count = Task("r", "regression", size=2).loss(output, target)
    assert (value.item(), count) == (pytest.approx((1 + 4 + 4) / 3), 3)
    value, count = Task("l", "multilabel", classes=("x", "y")).loss(output, target)
    expected = (np.log(2) + np.logaddexp(0, 2) + np.logaddexp(0, 3) - 3) / 3
    assert (value.item(), count) == (pytest.approx(expected), 3)


def test_missing_in_either_notation():
    task = Task("b", "binary")
    output = torch.randn(3, 1)
    a = task.loss(output, torch.tensor([1, -100, 0]))
    b = task.loss(output, torch.tensor([1.0, NAN, 0.0]))
    assert a == b
    labels = Task("l", "multilabel", classes=("x",))
    assert labels.loss(output, torch.tensor([[1], [-100], [0]])) == labels.loss(
        output, torch.tensor([1.0, NAN, 0.0])
    )


def test_minus_100_is_a_number_in_regression():
    task = Task("t", "regression")
    assert task.loss(torch.zeros(1, 1), torch.tensor([-100.0])).value.item() == 1e4


@pytest.mark.parametrize(
    ("task", "output", "target"),
    [
        (Task("r", "regression"), (4, 1), torch.full((4,), NAN)),
        (Task("r", "regression", size=3), (4, 3), torch.full((4, 3), NAN)),
        (Task("b", "binary"), (4, 1), torch.full((4,), -100)),
        (Task("m", "multiclass", classes=range(3)), (4, 3), torch.full((4,), -100)),
        (Task("m", "multiclass", classes=range(3)), (4, 3, 2, 2), torch.full((4, 2, 2), -100)),
        (Task("l", "multilabel", classes=("x", "y")), (4, 2), torch.full((4, 2), NAN)),
        (Task("c", "custom", loss_function=lambda o, t: 1 / 0), (4, 7), torch.full((4,), NAN)),
        (Task("r", "regression"), (0, 1), torch.zeros(0)),
        (Task("m", "multiclass", classes=range(3)), (0, 3), torch.zeros(0, dtype=torch.int64)),
    ],
)
def test_without_labels_a_connected_zero(task, output, target):
    leaf = torch.full(output, torch.inf, requires_grad=True)
    value, count = task.loss(leaf, target)
    assert count == 0
    assert value.item() == 0.0
    value.backward()
    assert leaf.grad is not None
    assert leaf.grad.eq(0).all()


def test_dense_targets():
    rng = torch.Generator().manual_seed(0)
    output = torch.randn(2, 5, 4, 3, generator=rng)
    target = torch.randint(0, 5, (2, 4, 3), generator=rng)
    target[0, :2] = -100
    task = Task("seg", "multiclass", classes=range(5))
    value, count = task.loss(output, target)
    torch.testing.assert_close(value, functional.cross_entropy(output, target))
    assert count == 18
    depth = torch.randn(2, 4, 3, generator=rng)
    depth[1, 0] = NAN
    for shaped in (depth, depth[:, None]):
        value, count = Task("depth", "regression").loss(output[:, :1], shaped)
        expected = (output[:, 0] - depth).square()[~depth.isnan()].mean()
        torch.testing.assert_close(value, expected)
        assert count == 21
    edge = (depth > 0).long()
    for shaped in (edge, edge[:, None]):
        value, count = Task("edge", "binary").loss(output[:, :1], shaped)
        expected = functional.binary_cross_entropy_with_logits(output[:, 0], edge.float())
        torch.testing.assert_close(value, expected)
    normals = torch.randn(2, 3, 4, 3, generator=rng)
    value, count = Task("normals", "regression", size=3).loss(output[:, :3], normals)
    torch.testing.assert_close(value, functional.mse_loss(output[:, :3], normals))
    assert count == normals.numel()


def test_sequences_are_dense_with_one_axis():
    output, target = torch.randn(2, 3, 7), torch.randint(0, 3, (2, 7))
    task = Task("tag", "multiclass", classes=range(3))
    torch.testing.assert_close(
        task.loss(output, target).value, functional.cross_entropy(output, target)
    )
    with pytest.raises(UserError, match="channels come second"):
        task.loss(output.transpose(1, 2), target)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_averaged_in_float32(dtype):
    output = torch.full((70000, 1), 2.0, dtype=dtype, requires_grad=True)
    value, _ = Task("t", "regression").loss(output, torch.zeros(70000))
    assert value.dtype == torch.float32
    assert value.item() == 4.0
    value.backward()
    assert output.grad is not None
    assert output.grad.dtype == dtype


@pytest.mark.parametrize(
    ("task", "output", "target", "message"),
    [
        (Task("r", "regression"), (3, 2), torch.zeros(3), r"shape \[N, 1\].*found \[3, 2\]"),
        (Task("r", "regression"), (3, 1), torch.zeros(2), r"3 outputs and 2 targets"),
        (Task("r", "regression"), (3, 1), torch.tensor(0.0), r"found \[\]"),
        (Task("r", "regression", size=2), (3, 2), torch.zeros(3), r"\[3, 2\].*found \[3\]"),
        (Task("b", "binary"), (3, 1), torch.tensor([0, 1, 2]), "codes 0 to 1.*found 2"),
        (Task("b", "binary"), (3, 1), torch.tensor([0, 1, -1]), "codes 0 to 1.*found -1"),
        (Task("b", "binary"), (3, 1), torch.tensor([0, 0.4, 1]), r"codes 0 to 1.*found 0.4"),
        (Task("m", "multiclass", classes=range(3)), (1, 3), torch.tensor([3]), "0 to 2.*found 3"),
        (Task("c", "custom", loss_function=lambda o, t: o), (3, 1), torch.zeros(2), "as many rows"),
    ],
)
def test_shapes_and_codes_that_do_not_fit(task, output, target, message):
    with pytest.raises(UserError, match=f"task '{task.name}'.*{message}"):
        task.loss(torch.zeros(output), target)


def test_an_integer_output_is_refused():
    with pytest.raises(UserError, match="floating-point output"):
        Task("b", "binary").loss(torch.zeros(3, 1, dtype=torch.int64), torch.zeros(3))


def test_a_flat_output_of_a_one_output_task_is_taken():
    task = Task("b", "binary")
    z, y = torch.randn(5), torch.tensor([0, 1, 1, -100, 0])
    assert task.loss(z, y) == task.loss(z[:, None], y)


def test_own_loss_functions_see_labelled_elements_only():
    seen = {}

    def own(output, target):
        seen["shapes"] = (tuple(output.shape), tuple(target.shape))
        assert not target.is_floating_point() or not target.isnan().any()
        return (output.reshape(len(target), -1).sum(1) - target).abs()

    task = Task("r", "regression", size=2, mean=(1.0, 2.0), std=(1.0, 2.0), loss_function=own)
    target = torch.tensor([[2.0, NAN], [NAN, NAN], [1.0, 6.0]])
    value, count = task.loss(torch.zeros(3, 2), target)
    assert seen["shapes"] == ((3,), (3,))
    assert (value.item(), count) == (pytest.approx((1 + 0 + 2) / 3), 3)
    task = Task("m", "multiclass", classes=range(4), loss_function=own)
    task.loss(torch.zeros(3, 4), torch.tensor([0, -100, 3]))
    assert seen["shapes"] == ((2, 4), (2,))
    task = Task("b", "binary", loss_function=own)
    task.loss(torch.zeros(3, 1), torch.tensor([0, -100, 1]))
    assert seen["shapes"] == ((2,), (2,))


def test_custom_tasks_are_open():
    def cosine(output, target):
        return 1 - functional.cosine_similarity(output, target, dim=1)

    task = Task("normals", "custom", size=3, loss_function=cosine)
    output = torch.tensor([[1.0, 0, 0], [0, 1, 0], [NAN, 0, 0]])
    target = torch.tensor([[2.0, 0, 0], [1, 0, 0], [NAN, NAN, NAN]])
    value, count = task.loss(output, target)
    assert (value.item(), count) == (pytest.approx(0.5), 2)
    assert task.output_size == 3


@pytest.mark.parametrize("bad", [lambda o, t: (o - t).mean(), lambda o, t: 0.0])
def test_a_reduced_own_loss_is_refused(bad):
    task = Task("t", "regression", loss_function=bad)
    with pytest.raises(UserError, match="one loss per labelled item"):
        task.loss(torch.zeros(3, 1), torch.zeros(3))


def test_under_autocast_the_loss_stays_float32():
    layer = torch.nn.Linear(4, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(torch.randn(8, 4))
        assert output.dtype == torch.bfloat16
        value, _ = Task("b", "binary").loss(output, torch.ones(8, dtype=torch.int64))
    assert value.dtype == torch.float32
