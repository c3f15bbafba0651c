"""Looks that leave no trace, FAMO, and what every method with further needs has in common."""

import copy
import warnings

import pytest
import torch
from noisy import noisy, same_bits
from torch import nn

import polytask
from polytask.errors import UserError
from polytask.kernel.shift import shifted, unnoticed
from polytask.optimization.learned import in_first_units
from polytask.optimization.loss_weighting.famo import slope
from polytask.optimization.state import NamedState
from polytask.testing.methods import small_batch, small_net

LOSSES = torch.tensor([0.3, 1.2, 0.7], dtype=torch.float64)


def near(value, expected, digits=5e-7):
    torch.testing.assert_close(
        value, torch.as_tensor(expected, dtype=torch.float64), atol=digits, rtol=0
    )


class TestUnnoticed:
    @pytest.mark.parametrize("named", [False, True])
    def test_buffers_come_back_also_when_no_module_is_named(self, named):
        net, (x, _) = noisy(), small_batch()
        state = copy.deepcopy(net.state_dict())
        with unnoticed([x], net if named else None):
            net(x)
            net(x)
            assert not same_bits(net, state)
        assert same_bits(net, state)
        assert not nn.modules.module._has_any_global_hook()

    def test_random_states_come_back(self):
        net, (x, _) = noisy(), small_batch()
        torch.manual_seed(1)
        want = torch.rand(4)
        torch.manual_seed(1)
        with shifted(list(net.parameters()), [torch.ones_like(p) for p in net.parameters()]):
            net(x)
        assert torch.equal(torch.rand(4), want)

    def test_all_comes_back_after_an_error_inside(self):
        net, (x, _) = noisy(), small_batch()
        state = copy.deepcopy(net.state_dict())
        parameters = list(net.parameters())
        deltas = [torch.ones_like(p) for p in parameters]

        def fail():
            with shifted(parameters, deltas):
                net(x)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert same_bits(net, state)
        assert not nn.modules.module._has_any_global_hook()

    @pytest.mark.slow
    def test_a_compiled_module_gives_no_warning(self):
        net, (x, _) = noisy(), small_batch()
        fast = torch.compile(net.trunk, backend="eager")
        fast(x)
        state = copy.deepcopy(net.state_dict())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with unnoticed([x]):
                fast(x)
        assert same_bits(net, state)


def test_first_units_are_a_constant_of_the_run():
    state = NamedState()
    zero = torch.zeros(2, dtype=torch.float64)
    assert torch.equal(in_first_units(state, "w", zero), zero)
    near(in_first_units(state, "w", torch.tensor([2e-9, -6e-9]).double()), [0.5, -1.5])
    near(in_first_units(state, "w", torch.tensor([8e-9, 0.0]).double()), [2.0, 0.0])


class TestFAMO:
    @staticmethod
    def closure(*answers):
        left = list(answers)
        return lambda: {
            t: torch.tensor(x) for t, x in zip("abc", left.pop(0), strict=False) if x is not None
        }

    @staticmethod
    def leaf(*values):
        return {
            t: torch.tensor(x, dtype=torch.float64, requires_grad=True) * 1.0
            for t, x in zip("abc", values, strict=False)
            if x is not None
        }

    def test_golden_weights(self):
        step = polytask.FAMO().backward(self.leaf(0.3, 1.2, 0.7), closure=self.closure())
        near(torch.stack(list(step.weights.values())), [0.595745, 0.148936, 0.255319])

    def test_golden_gradient(self):
        delta = LOSSES.log() - torch.tensor([0.25, 1.1, 0.7], dtype=torch.float64).log()
        near(delta, [0.182322, 0.087011, 0.0])
        gradient = slope(torch.zeros(3, dtype=torch.float64), delta)
        near(gradient, [0.030848, -0.000922, -0.029926])
        near(gradient.sum(), 0.0, 1e-15)
        equal = slope(torch.tensor([0.3, -1.0, 0.2]).double(), torch.full((3,), 0.7).double())
        near(equal, [0.0, 0.0, 0.0], 1e-15)

    def test_learns_as_adam_on_the_logits_would(self):
        """An oracle with torch's Adam and its weight decay, through a training."""
        net, batch = small_net().double(), [x.double() for x in small_batch()]
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
        balancer = polytask.FAMO(lr=0.1, weight_decay=0.01)
        logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        adam = torch.optim.Adam([logits], lr=0.1, weight_decay=0.01)
        for _ in range(6):
            optimizer.zero_grad()
            losses = net.losses(*batch)
            old = torch.stack(list(losses.values())).detach()
            step = balancer.backward(losses, closure=lambda: net.losses(*batch))
            share = torch.softmax(logits.detach(), 0) / old
            near(torch.stack(list(step.weights.values())), share / share.sum(), 1e-7)
            optimizer.step()
            balancer.after_step()
            new = torch.stack(list(net.losses(*batch).values())).detach()
            adam.zero_grad()
            (torch.softmax(logits, 0) * (old.log() - new.log())).sum().backward()
            adam.step()

    def test_the_look_leaves_no_trace(self):
        net, batch = noisy(), small_batch()
        balancer = polytask.FAMO()
        balancer.backward(net.losses(*batch), closure=lambda: net.losses(*batch))
        state = copy.deepcopy(net.state_dict())
        random = torch.get_rng_state()
        balancer.after_step()
        assert same_bits(net, state)
        assert torch.equal(torch.get_rng_state(), random)
        assert balancer.has("logit.first", "a")

    def test_what_improved_more_counts_less(self):
        balancer = polytask.FAMO(lr=0.5)
        balancer.backward(self.leaf(1.0, 1.0), closure=self.closure([0.5, 0.9]))
        balancer.after_step()
        weights = balancer.backward(self.leaf(1.0, 1.0), closure=self.closure()).weights
        assert weights["a"] < weights["b"]

    def test_accumulated_calls_are_one_step(self):
        """Two halves of a batch teach what the whole batch teaches."""
        balancer, whole = polytask.FAMO(), polytask.FAMO()
        balancer.calls_per_step = 2
        balancer.backward(self.leaf(1.0, 3.0), closure=self.closure([0.8, 2.0]))
        balancer.backward(self.leaf(3.0, 1.0), closure=self.closure([2.0, 1.0]))
        whole.backward(self.leaf(4.0, 4.0), closure=self.closure([2.8, 3.0]))
        for one in (balancer, whole):
            one.after_step()
        for task in "ab":
            near(balancer.table["logit.first", task], whole.table["logit.first", task], 1e-7)

    def test_absent_tasks_keep_their_logit(self):
        balancer = polytask.FAMO()
        balancer.backward(self.leaf(1.0, 1.0, 1.0), closure=self.closure([0.5, 0.9, 0.7]))
        balancer.after_step()
        held = balancer.table["logit", "b"].clone()
        balancer.backward(self.leaf(1.0, None, 1.0), closure=self.closure([0.5, None, 0.9]))
        balancer.after_step()
        assert torch.equal(balancer.table["logit", "b"], held)

    def test_minimum_is_taken_off(self):
        balancer = polytask.FAMO(minimum={"a": -1.0, "b": 1.0})
        step = balancer.backward(self.leaf(-0.7, 2.2, 0.7), closure=self.closure())
        near(torch.stack(list(step.weights.values())), [0.595745, 0.148936, 0.255319])
        with pytest.raises(UserError, match=r"task 'a' is -0\.5; .*minimum="):
            polytask.FAMO().backward(self.leaf(-0.5, 1.0), closure=self.closure())

    @pytest.mark.parametrize("after", [0.0, -1.0, float("nan"), float("inf")])
    def test_a_loss_that_ends_at_its_bound_or_not_finite(self, after):
        balancer = polytask.FAMO()
        balancer.backward(self.leaf(1.0, 1.0, 1.0), closure=self.closure([0.5, after, 0.7]))
        balancer.after_step()
        assert all(torch.isfinite(value).all() for value in balancer.table.values())
        assert float(balancer.table["logit", "a"]) != 0
        moved = float(balancer.table["logit", "b"])
        assert (moved < 0) if after in (0.0, -1.0) else (moved == 0)

    def test_missing_needs_show_the_lines(self):
        with pytest.raises(UserError, match=r"balancer.backward\(losses, closure=closure\)"):
            polytask.FAMO().backward(self.leaf(1.0))
        balancer = polytask.FAMO()
        balancer.backward(self.leaf(1.0), closure=self.closure())
        with pytest.raises(UserError, match=r"balancer.after_step\(\)"):
            balancer.backward(self.leaf(1.0), closure=self.closure())
        balancer = polytask.FAMO()
        balancer.backward(self.leaf(1.0, 1.0), closure=lambda: {"a": torch.tensor(1.0)})
        with pytest.raises(UserError, match="left out b"):
            balancer.after_step()


@pytest.mark.parametrize("method", ["famo", "modo", "auto_lambda"])
def test_refresh_spares_the_looks_of_a_decision(method):
    """With refresh_every the weights are kept; the loop stays as it is."""
    net, batch = small_net(), small_batch()
    looks = []

    def look():
        looks.append(1)
        return net.losses(*batch)

    balancer = polytask.create_method(method, refresh_every=3)
    weights = []
    for _ in range(3):
        losses = [net.losses(*batch) for _ in range(balancer.batches)]
        step = balancer.backward(
            losses if balancer.batches > 1 else losses[0], closure=look, validation=look
        )
        balancer.after_step()
        weights.append(torch.stack(list(step.weights.values())))
    assert torch.equal(weights[0], weights[2])
    assert len(looks) == {"famo": 3, "modo": 0, "auto_lambda": 3}[method]
