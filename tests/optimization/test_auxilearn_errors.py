"""AuxiLearn: what cannot be differentiated twice, and other wrong use."""

import pytest
import torch
from bowls import Bowls, near, weights_of
from torch import nn

import polytask
from polytask.errors import NonFiniteError, UserError
from polytask.testing.methods import small_batch, small_net


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return slope * x.cos()


class TestWrongUse:
    def test_a_layer_that_cannot_be_differentiated_twice(self):
        net, batch = small_net(), small_batch()

        def losses():
            h = Once.apply(net.trunk(batch[0]))
            y = batch[1][:, 0]
            return {t: (head(h)[:, 0] - y).square().mean() for t, head in net.heads.items()}

        with pytest.raises(UserError, match=r"cannot be differentiated twice.*auto_lambda"):
            polytask.AuxiLearn().backward(losses(), closure=losses, validation=losses)
        assert all(p.grad is None for p in net.parameters())

    def test_attention_that_torch_cannot_differentiate_twice(self):
        """And the remedy that the message names."""
        torch.manual_seed(0)
        project, heads = nn.Linear(4, 8), nn.ModuleDict({t: nn.Linear(8, 1) for t in "ab"})
        x = torch.randn(2, 6, 4)

        def losses():
            h = project(x)[:, None]
            h = nn.functional.scaled_dot_product_attention(h, h, h)
            return {t: head(h).square().mean() for t, head in heads.items()}

        with pytest.raises(UserError, match=r"SDPBackend\.MATH"):
            polytask.AuxiLearn().backward(losses(), closure=losses, validation=losses)
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            step = polytask.AuxiLearn().backward(losses(), closure=losses, validation=losses)
        near(weights_of(step), [1.0, 1.0])

    @pytest.mark.parametrize("combiner", ["linear", "nonlinear"])
    def test_a_loss_that_is_not_finite_is_named_or_skipped(self, combiner):
        bowls = Bowls()

        def spoiled():
            return {**bowls.losses(), "x": bowls.losses()["x"] * float("nan")}

        def run(**options):
            return polytask.AuxiLearn("m", combiner, **options).backward(
                spoiled(), shared=[bowls.theta], closure=spoiled, validation=bowls.validation
            )

        with pytest.raises(NonFiniteError, match=r"loss of task 'x' \(nan\)"):
            run()
        assert bowls.theta.grad is None
        assert run(non_finite="skip_task").tasks == ("m", "y")
        assert torch.isfinite(bowls.theta.grad).all()

    def test_held_out_data_that_is_not_finite(self):
        bowls = Bowls()
        with pytest.raises(NonFiniteError, match=r"validation loss of task 'm'"):
            polytask.AuxiLearn("m").backward(
                bowls.losses(),
                shared=[bowls.theta],
                closure=bowls.losses,
                validation=lambda: {"m": bowls.theta.sum() * float("inf")},
            )
        assert bowls.theta.grad is None

    def test_missing_needs(self):
        bowls = Bowls()
        with pytest.raises(UserError, match="needs closure"):
            polytask.AuxiLearn("m").backward(bowls.losses(), validation=bowls.validation)
        with pytest.raises(UserError, match="losses on a batch of held-out data"):
            polytask.AuxiLearn("m").backward(bowls.losses(), closure=bowls.losses)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"combiner": "cubic"}, "combiner must be one of 'linear', 'nonlinear'"),
            ({"hidden": 0}, "hidden must be at least 1"),
            ({"every": 0}, "every must be at least 1"),
            ({"terms": -1}, "terms must be at least 0"),
            ({"alpha": 0.0}, "alpha must be positive"),
            ({"lr": -1.0}, "lr must be at least 0"),
            ({"initial": -0.1}, "initial must be at least 0"),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(UserError, match=message):
            polytask.AuxiLearn(**options)
