"""Losses on soft targets: definitions by hand, gradients, temperature, ensembles, errors."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Categorical, kl_divergence

from polytask.errors import UserError
from polytask.optimization.distillation import KINDS, soft_loss, soft_targets

CLASSES = 4


def logits(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_multiclass_is_the_divergence_of_two_distributions(temperature):
    student, teacher = logits(0, 6, CLASSES), logits(1, 6, CLASSES)
    found = soft_loss(
        student, soft_targets([teacher], "multiclass", temperature), "multiclass", temperature
    )
    wanted = kl_divergence(
        Categorical(logits=teacher / temperature), Categorical(logits=student / temperature)
    )
    assert torch.allclose(found, temperature**2 * wanted, atol=1e-12)


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_every_logit_is_a_bernoulli_of_its_own(kind, temperature):
    student, teacher = logits(0, 6, 3), logits(1, 6, 3)
    found = soft_loss(student, soft_targets([teacher], kind, temperature), kind, temperature)
    wanted = kl_divergence(
        Bernoulli(logits=teacher / temperature), Bernoulli(logits=student / temperature)
    )
    assert found.shape == student.shape
    assert torch.allclose(found, temperature**2 * wanted, atol=1e-12)


def test_regression_is_the_squared_error_at_any_temperature():
    student, teacher = logits(0, 6, 2), logits(1, 6, 2)
    for temperature in (1.0, 5.0):
        soft = soft_targets([teacher], "regression", temperature)
        found = soft_loss(student, soft, "regression", temperature)
        assert torch.equal(found, (student - teacher) ** 2)


def test_the_gradient_is_that_of_the_cross_entropy():
    teacher, temperature = logits(1, 6, CLASSES), 2.0
    soft = soft_targets([teacher], "multiclass", temperature)
    one, other = (logits(0, 6, CLASSES).requires_grad_() for _ in range(2))
    soft_loss(one, soft, "multiclass", temperature).sum().backward()
    cross = -(soft * (other / temperature).log_softmax(1)).sum()
    (temperature**2 * cross).backward()
    assert torch.allclose(one.grad, other.grad, atol=1e-12)


def test_the_factor_keeps_the_size_of_gradients_when_the_temperature_rises():
    """Hinton et al., equation 4: for zero-mean logits and a great T it is (z - v) / classes."""
    student, teacher = logits(0, 8, CLASSES), logits(1, 8, CLASSES)
    student = (student - student.mean(1, keepdim=True)).requires_grad_()
    teacher = teacher - teacher.mean(1, keepdim=True)
    sizes = []
    for temperature in (1.0, 10.0, 1e4):
        soft = soft_targets([teacher], "multiclass", temperature)
        loss = soft_loss(student, soft, "multiclass", temperature).sum()
        (gradient,) = torch.autograd.grad(loss, student)
        sizes.append(gradient.norm())
    assert torch.allclose(gradient, (student - teacher) / CLASSES, atol=1e-3)
    assert 0.3 < sizes[0] / sizes[2] < 3
    # of a Bernoulli it is (z - v) / 4: the logistic function is that steep at 0
    student = logits(2, 8, 1).requires_grad_()
    teacher = logits(3, 8, 1)
    loss = soft_loss(student, soft_targets([teacher], "binary", 1e4), "binary", 1e4).sum()
    (gradient,) = torch.autograd.grad(loss, student)
    assert torch.allclose(gradient, (student - teacher) / 4, atol=1e-3)


def test_golden_numbers():
    """By hand: p = (3/4, 1/4), q = (1/2, 1/2) gives log 2 - H(3/4)."""
    teacher = torch.tensor([[math.log(3.0), 0.0]], dtype=torch.float64)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    found = soft_loss(
        torch.zeros(1, 2, dtype=torch.float64), soft_targets([teacher], "multiclass"), "multiclass"
    )
    assert found.item() == pytest.approx(math.log(2) - entropy, abs=1e-12)
    soft = soft_targets([teacher[:, :1]], "binary")
    found = soft_loss(torch.zeros(1, 1, dtype=torch.float64), soft, "binary")
    assert found.item() == pytest.approx(math.log(2) - entropy, abs=1e-12)


@given(st.integers(0, 10_000), st.sampled_from(KINDS), st.floats(0.25, 20))
def test_never_negative_and_zero_for_the_teacher_itself(seed, kind, temperature):
    student, teacher = 5 * logits(seed, 5, 3), 5 * logits(seed + 1, 5, 3)
    soft = soft_targets([teacher], kind, temperature)
    assert (soft_loss(student, soft, kind, temperature) > -1e-9).all()
    assert soft_loss(teacher, soft, kind, temperature).abs().max() < 1e-9


def test_certain_teachers_give_finite_losses_and_gradients():
    certain = torch.tensor([[200.0, -200.0], [-200.0, 200.0]])
    student = torch.zeros(2, 2, requires_grad=True)
    for kind in ("multiclass", "multilabel"):
        loss = soft_loss(student, soft_targets([certain], kind), kind).sum()
        (gradient,) = torch.autograd.grad(loss, student)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()
    # a certain teacher is a label
    hard = torch.nn.functional.cross_entropy(student, torch.tensor([0, 1]), reduction="none")
    soft = soft_loss(student, soft_targets([certain], "multiclass"), "multiclass")
    assert torch.allclose(soft, hard)


def test_several_teachers_are_averaged_as_probabilities():
    one, two = logits(0, 5, CLASSES), logits(1, 5, CLASSES)
    wanted = (one.softmax(1) + two.softmax(1)) / 2
    assert torch.allclose(soft_targets([one, two], "multiclass"), wanted)
    assert torch.allclose(
        soft_targets([one, two], "multilabel", 2.0), ((one / 2).sigmoid() + (two / 2).sigmoid()) / 2
    )
    assert torch.allclose(soft_targets([one, two], "regression"), (one + two) / 2)


def test_places_are_taught_one_by_one():
    student, teacher = logits(0, 2, CLASSES, 3, 5), logits(1, 2, CLASSES, 3, 5)
    found = soft_loss(student, soft_targets([teacher], "multiclass"), "multiclass")
    assert found.shape == (2, 3, 5)
    last = [h.movedim(1, -1) for h in (student, teacher)]
    rows = soft_loss(last[0], soft_targets([last[1]], "multiclass", dim=-1), "multiclass", dim=-1)
    assert torch.allclose(found, rows)
    one = soft_loss(
        student[:, :, 1, 2], soft_targets([teacher[:, :, 1, 2]], "multiclass"), "multiclass"
    )
    assert torch.allclose(found[:, 1, 2], one)


def test_no_gradient_reaches_the_teacher():
    teacher = logits(0, 3, 2).requires_grad_()
    for kind in KINDS:
        assert not soft_targets([teacher], kind).requires_grad


def test_errors_say_what_to_do():
    x = torch.zeros(2, 3)
    with pytest.raises(UserError, match="did you mean 'multiclass'"):
        soft_loss(x, x, "multi_class")
    with pytest.raises(UserError, match="kind of task to teach"):
        soft_targets([x], "custom")
    for temperature in (0, -1.0, math.nan, math.inf, True, "hot"):
        with pytest.raises(UserError, match="temperature must be a number above 0"):
            soft_targets([x], "binary", temperature)
    with pytest.raises(UserError, match=r"\[2, 3\] and \[2, 1\]"):
        soft_loss(x, x[:, :1], "binary")
    with pytest.raises(UserError, match="all of one shape; found none"):
        soft_targets([], "binary")
    with pytest.raises(UserError, match="all of one shape"):
        soft_targets([x, x[:1]], "binary")
