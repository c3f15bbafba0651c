"""Features matched through adapters: the distance by hand, its bounds, gradients, errors."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polytask.errors import UserError
from polytask.optimization.distillation import (
    FeatureAdapter,
    channel_normalised,
    feature_distance,
)


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_distance_is_two_minus_two_cosines():
    student, teacher = draw(0, 5, 8), draw(1, 5, 8)
    wanted = 2 - 2 * torch.cosine_similarity(student, teacher)
    assert torch.allclose(feature_distance(student, teacher), wanted, atol=1e-5)


def test_as_the_published_code_computes_it():
    """KD4MTL, model_segnet_kdmtl.py: sums over channels, means over rows and places."""
    student, teacher = draw(0, 2, 6, 3, 4), draw(1, 2, 6, 3, 4)

    def normalised(h):
        return h / (h.pow(2).sum(1) + 1e-6).sqrt().view(2, 1, 3, 4)

    wanted = (normalised(student) - normalised(teacher)).pow(2).sum(1).mean()
    assert torch.allclose(feature_distance(student, teacher).mean(), wanted, atol=1e-12)


@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_sizes_play_no_part_and_it_lies_between_0_and_4(seed, scale):
    student, teacher = 10 * draw(seed, 4, 5), 10 * draw(seed + 1, 4, 5)
    distance = feature_distance(student, teacher)
    assert ((distance >= 0) & (distance <= 4)).all()
    assert torch.allclose(feature_distance(scale * student, teacher), distance, atol=0.05)
    assert feature_distance(student, scale * student).max() < 0.05
    assert torch.allclose(feature_distance(student, -student), 4 + 0 * distance, atol=1e-3)


def test_features_of_zeros_are_finite_with_a_gradient():
    student = torch.zeros(2, 3, requires_grad=True)
    distance = feature_distance(student, torch.ones(2, 3))
    (gradient,) = torch.autograd.grad(distance.sum(), student)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0
    assert channel_normalised(torch.zeros(1, 3)).abs().max() == 0


def test_either_layout():
    student, teacher = draw(0, 2, 6, 3), draw(1, 2, 6, 3)
    last = feature_distance(student.movedim(1, -1), teacher.movedim(1, -1), dim=-1)
    assert torch.allclose(feature_distance(student, teacher), last)


def test_an_adapter_is_a_one_by_one_convolution():
    adapter = FeatureAdapter(6, 4).double()
    maps = draw(0, 2, 6, 3, 5)
    convolved = torch.nn.functional.conv2d(maps, adapter.weight[:, :, None, None])
    assert torch.allclose(adapter(maps.movedim(1, -1)).movedim(-1, 1), convolved)
    assert [name for name, _ in adapter.named_parameters()] == ["weight"]


def test_no_gradient_reaches_the_teacher():
    student, teacher = draw(0, 2, 3).requires_grad_(), draw(1, 2, 3).requires_grad_()
    feature_distance(student, teacher).sum().backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 0


def test_shapes_that_differ_are_refused():
    with pytest.raises(UserError, match=r"\[2, 3\] of the student and \[2, 4\] of the teacher"):
        feature_distance(torch.zeros(2, 3), torch.zeros(2, 4))
