"""Teacher annealing: the share of the labels, and mixtures that are exact at both ends."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polytask.errors import UserError
from polytask.optimization.distillation import label_share, mixed, soft_loss, soft_targets


def test_the_share_rises_linearly_and_reaches_both_ends():
    shares = [label_share(step, 11) for step in range(11)]
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    assert shares == pytest.approx([k / 10 for k in range(11)])
    assert label_share(0, 1) == 0.0
    assert label_share(99, 11) == 1.0


@given(st.integers(1, 1000), st.data())
def test_the_share_never_falls(steps, data):
    step = data.draw(st.integers(0, steps))
    assert 0 <= label_share(step, steps) <= label_share(step + 1, steps) <= 1


def test_the_ends_are_the_losses_themselves():
    hard, soft = torch.rand(2).unbind()
    assert mixed(hard, soft, 1.0) is hard
    assert mixed(hard, soft, 0.0) is soft
    # what has no share is not even looked at
    broken = torch.tensor(math.nan)
    assert mixed(broken, soft, 0.0) is soft
    assert mixed(hard, broken, 1.0) is hard
    assert mixed(hard, soft, 0.25).item() == pytest.approx(0.25 * hard + 0.75 * soft)


def test_without_labels_the_teacher_has_its_share_alone():
    soft = torch.tensor(2.0)
    assert mixed(None, soft, 0.25) == 1.5
    assert mixed(None, soft, 1.0) is None
    assert mixed(soft, None, 0.25) == 0.5
    assert mixed(None, None, 0.5) is None


def test_the_gradient_is_that_of_the_mixed_target():
    """BAM's target, lambda y + (1 - lambda) p_teacher, in cross-entropy and in squared error."""
    draw = torch.Generator().manual_seed(0)
    z, teacher = torch.randn(2, 6, 4, generator=draw, dtype=torch.float64)
    codes, share = torch.tensor([0, 1, 2, 3, 0, 1]), 0.3
    one, other = (z.clone().requires_grad_() for _ in range(2))
    soft = soft_targets([teacher], "multiclass")
    hard = torch.nn.functional.cross_entropy(one, codes)
    mixed(hard, soft_loss(one, soft, "multiclass").mean(), share).backward()
    target = share * torch.nn.functional.one_hot(codes, 4) + (1 - share) * soft
    torch.nn.functional.cross_entropy(other, target).backward()
    assert torch.allclose(one.grad, other.grad, atol=1e-12)

    one, other = (z.clone().requires_grad_() for _ in range(2))
    y = torch.randn(6, 4, generator=draw, dtype=torch.float64)
    mixed(((one - y) ** 2).mean(), soft_loss(one, teacher, "regression").mean(), share).backward()
    ((other - (share * y + (1 - share) * teacher)) ** 2).mean().backward()
    assert torch.allclose(one.grad, other.grad, atol=1e-12)


def test_errors():
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(UserError, match="from 0 to 1"):
            mixed(None, None, share)
    with pytest.raises(UserError, match="step -1 of 5"):
        label_share(-1, 5)
    with pytest.raises(UserError, match="step 0 of 0"):
        label_share(0, 0)
