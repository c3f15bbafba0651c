"""Auto-lambda: its slope against finite differences, restoration, learning, wrong use."""

import copy

import numpy as np
import pytest
import torch
from noisy import noisy, same_bits
from torch import nn

import polytask
from polytask.errors import NonFiniteError, UserError
from polytask.testing.methods import small_batch, small_net


def near(value, expected, digits=5e-7):
    torch.testing.assert_close(
        value, torch.as_tensor(expected, dtype=torch.float64), atol=digits, rtol=0
    )


class Quadratics:
    """Losses ½|A_t θ - b_t|² of two tasks on a batch and on held-out data, in float64."""

    def __init__(self, seed=0, size=4):
        rng = np.random.default_rng(seed)
        self.a, self.b, self.va, self.vb = (
            torch.tensor(rng.standard_normal(shape))
            for shape in ((3, 5, size), (3, 5), (3, 5, size), (3, 5))
        )
        self.theta = torch.tensor(rng.standard_normal(size), requires_grad=True)

    def losses(self, theta=None):
        return self._on(self.a, self.b, theta)

    def validation(self, theta=None):
        return self._on(self.va, self.vb, theta)

    def _on(self, a, b, theta):
        theta = self.theta if theta is None else theta
        return {t: 0.5 * (a[i] @ theta - b[i]).square().sum() for i, t in enumerate("abc")}

    def step(self, balancer):
        return balancer.backward(
            self.losses(), shared=[self.theta], closure=self.losses, validation=self.validation
        )


def learned_slope(balancer):
    """The gradient of the weights in the first step, read back from Adam's first moment."""
    moment = torch.stack([balancer.table["weight.first", t] for t in "abc"])
    return moment / 0.1 * balancer.table["weight.unit", ""]


def noisy_labels(method, seed, **arguments):
    """Error against the clean function after 150 steps of a linear model, and the weights."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(500, 8, generator=generator)
    clean = x @ torch.randn(8, 1, generator=generator)
    noise = torch.randn(500, 3, generator=generator)
    y = torch.cat([clean + 2 * noise[:, :1], clean + 0.5 * noise[:, 1:2], 4 * noise[:, 2:]], dim=1)
    torch.manual_seed(0)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    balancer = polytask.create_method(method, **arguments)

    def losses(rows):
        errors = (model(x[rows]) - y[rows]).square().mean(dim=0)
        return dict(zip(("main", "useful", "useless"), errors, strict=True))

    for _ in range(150):
        rows = torch.randint(0, 150, (10,), generator=generator)
        held_out = torch.randint(150, 300, (50,), generator=generator)
        optimizer.zero_grad()
        step = balancer.backward(
            losses(rows),
            shared=model,
            closure=lambda rows=rows: losses(rows),
            validation=lambda rows=held_out: losses(rows),
        )
        optimizer.step()
        balancer.after_step()
    with torch.no_grad():
        return float((model(x[300:]) - clean[300:]).square().mean()), step.weights


class TestAutoLambda:
    @pytest.mark.parametrize("primary", [None, "b", ("a", "c")])
    def test_slope_is_that_of_the_validation_loss_after_a_virtual_step(self, primary):
        problem = Quadratics()
        balancer = polytask.AutoLambda(primary=primary, initial=0.3, inner_lr=0.05)
        before = problem.theta.detach().clone()
        problem.step(balancer)
        assert torch.equal(problem.theta, before)

        w = torch.full((3,), 0.3, dtype=torch.float64, requires_grad=True)
        theta = before.clone().requires_grad_()
        rows = [torch.autograd.grad(x, theta)[0] for x in problem.losses(theta).values()]

        def after(weights):
            moved = before - 0.05 * (weights @ torch.stack(rows))
            held_out = problem.validation(moved)
            return sum(held_out[t] for t in (primary or "abc"))

        near(learned_slope(balancer), torch.autograd.grad(after(w), w)[0], 1e-6)
        step = 1e-5 * torch.eye(3, dtype=torch.float64)
        with torch.no_grad():
            differences = torch.stack([(after(w + d) - after(w - d)) / 2e-5 for d in step])
        near(learned_slope(balancer), differences, 1e-6)

    def test_adam_cancels_the_unit_and_the_weights_follow_it(self):
        problem, balancer = Quadratics(1), polytask.AutoLambda(lr=0.01, inner_lr=0.05)
        w = torch.full((3,), 0.1, dtype=torch.float64, requires_grad=True)
        adam = torch.optim.Adam([w], lr=0.01)
        optimizer = torch.optim.SGD([problem.theta], lr=0.05)
        for _ in range(8):
            rows = torch.stack(
                [
                    torch.autograd.grad(x, problem.theta, retain_graph=True)[0]
                    for x in problem.losses().values()
                ]
            )
            moved = problem.theta.detach() - 0.05 * (w @ rows)
            loss = sum(problem.validation(moved).values())
            optimizer.zero_grad()
            step = problem.step(balancer)
            near(torch.stack(list(step.weights.values())), w.detach(), 1e-5)
            torch.testing.assert_close(problem.theta.grad, w.detach() @ rows, rtol=1e-4, atol=1e-8)
            optimizer.step()
            adam.zero_grad()
            w.grad = torch.autograd.grad(loss, w)[0]
            adam.step()
            w.data.clamp_min_(0)

    @pytest.mark.parametrize("factor", [1e-6, 1e6])
    def test_no_absolute_scale_enters(self, factor):
        """All losses times one number, and the virtual step divided by it."""
        plain = polytask.AutoLambda(lr=0.01, inner_lr=0.01)
        scaled = polytask.AutoLambda(lr=0.01, inner_lr=0.01 / factor)
        problem = Quadratics(2)

        def times(make):
            return lambda: {t: x * factor for t, x in make().items()}

        for _ in range(4):
            one = problem.step(plain).weights
            two = scaled.backward(
                times(problem.losses)(),
                shared=[problem.theta],
                closure=times(problem.losses),
                validation=times(problem.validation),
            ).weights
            for task in "abc":
                near(two[task], float(one[task]), 1e-6)
            with torch.no_grad():
                problem.theta.sub_(0.01 * problem.theta.grad.sign())

    def test_everything_is_restored_bit_for_bit(self):
        """Parameters, buffers and random states, with nothing but the losses passed."""
        net, batch = noisy(), small_batch()
        held_out = (batch[0].flip(0) + 1, batch[1].flip(0))
        losses = net.losses(*batch)
        state = copy.deepcopy(net.state_dict())
        random = torch.get_rng_state()
        seen = []

        def look(data, tag):
            def compute():
                seen.append(tag)
                return net.losses(*data)

            return compute

        step = polytask.AutoLambda(inner_lr=0.5).backward(
            losses, closure=look(batch, "batch"), validation=look(held_out, "held out")
        )
        assert seen == ["held out", "batch", "batch"]
        assert same_bits(net, state)
        assert torch.equal(torch.get_rng_state(), random)
        have = {n: p.grad.clone() for n, p in net.named_parameters()}
        twin = noisy()
        plain = twin.losses(*batch)
        sum(float(step.weights[t]) * x for t, x in plain.items()).backward()
        for name, p in twin.named_parameters():
            torch.testing.assert_close(have[name], p.grad, rtol=1e-6, atol=1e-9)

    def test_weights_are_kept_above_zero_and_a_harmful_helper_gets_none(self):
        """The helper's gradient is exactly opposed to that of the primary task."""
        theta = torch.ones(3, dtype=torch.float64, requires_grad=True)

        def losses():
            return {"main": theta.square().sum(), "helper": 9 - theta.square().sum()}

        balancer = polytask.AutoLambda(primary="main", lr=0.02)
        for _ in range(20):
            step = balancer.backward(
                losses(), shared=[theta], closure=losses, validation=lambda: losses()
            )
        assert float(step.weights["helper"]) == 0.0
        assert float(step.weights["main"]) > 0.3

    @pytest.mark.parametrize("seed", range(3))
    def test_a_useful_helper_gains_over_a_useless_one(self, seed):
        """A bare loop: noisy labels, a helper that knows the function better, one that is noise."""
        learned, weights = noisy_labels("auto_lambda", seed, primary="main", lr=0.01, inner_lr=0.05)
        assert float(weights["useful"]) > 5 * float(weights["useless"])
        equal, _ = noisy_labels("linear", seed)
        alone, _ = noisy_labels("linear", seed, weights={"useful": 0.0, "useless": 0.0})
        assert learned < 0.5 * min(equal, alone)

    def test_absent_tasks_keep_their_weight(self):
        problem, balancer = Quadratics(), polytask.AutoLambda(lr=0.01)
        problem.step(balancer)
        held = balancer.table["weight", "b"].clone()
        balancer.backward(
            {t: x for t, x in problem.losses().items() if t != "b"},
            shared=[problem.theta],
            closure=problem.losses,
            validation=problem.validation,
        )
        assert torch.equal(balancer.table["weight", "b"], held)

    def test_one_present_task_shares_nothing_and_takes_a_plain_step(self):
        net, batch = small_net(), small_batch()

        def one():
            return {"a": net.losses(*batch)["a"]}

        step = polytask.AutoLambda(initial=0.5).backward(one(), closure=one, validation=one)
        assert step.statistic == "one task"
        near(step.weights["a"], 0.5)

    def test_tasks_that_share_nothing_are_refused(self):
        net, (x, y) = small_net(), small_batch()
        for p in net.trunk.parameters():
            p.requires_grad_(False)

        def losses():
            return net.losses(x, y)

        with pytest.raises(UserError, match="share none that require a gradient"):
            polytask.AutoLambda().backward(losses(), closure=losses, validation=losses)

    def test_a_loss_that_is_not_finite_is_named_or_skipped(self):
        problem = Quadratics()

        def spoiled():
            return {**problem.losses(), "b": problem.losses()["b"] * float("nan")}

        def run(**options):
            return polytask.AutoLambda(primary="a", **options).backward(
                spoiled(), shared=[problem.theta], closure=spoiled, validation=problem.validation
            )

        with pytest.raises(NonFiniteError, match=r"loss of task 'b' \(nan\)"):
            run()
        assert problem.theta.grad is None
        assert run(non_finite="skip_task").tasks == ("a", "c")
        assert torch.isfinite(problem.theta.grad).all()

    def test_a_validation_loss_that_is_not_finite_is_said_so(self):
        problem, before = Quadratics(), Quadratics().theta.detach()
        with pytest.raises(NonFiniteError, match=r"validation loss of task 'a'"):
            polytask.AutoLambda().backward(
                problem.losses(),
                shared=[problem.theta],
                closure=problem.losses,
                validation=lambda: {"a": problem.theta.sum() * float("inf")},
            )
        assert torch.equal(problem.theta, before)
        assert problem.theta.grad is None

    @pytest.mark.parametrize(
        ("arguments", "validation", "message"),
        [
            ({"primary": "aa"}, lambda q: q.validation(), "unknown primary task 'aa'; did you"),
            ({}, lambda q: {t: x.detach() for t, x in q.validation().items()}, "no gradient"),
            ({}, lambda q: {}, "no task"),
        ],
    )
    def test_wrong_validation(self, arguments, validation, message):
        problem = Quadratics()
        before = problem.theta.detach().clone()
        with pytest.raises(UserError, match=message):
            polytask.AutoLambda(**arguments).backward(
                problem.losses(),
                shared=[problem.theta],
                closure=problem.losses,
                validation=lambda: validation(problem),
            )
        assert torch.equal(problem.theta, before)

    def test_missing_needs_and_wrong_arguments(self):
        problem = Quadratics()
        with pytest.raises(UserError, match="needs closure"):
            polytask.AutoLambda().backward(problem.losses(), validation=problem.validation)
        with pytest.raises(UserError, match=r"losses on a batch of held-out data"):
            polytask.AutoLambda().backward(problem.losses(), closure=problem.losses)
        with pytest.raises(UserError, match="names no task"):
            polytask.AutoLambda(primary=())
        with pytest.raises(UserError, match="must be positive"):
            polytask.AutoLambda(inner_lr=0.0)
