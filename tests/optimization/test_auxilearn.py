"""AuxiLearn: its series, implicit gradients against those by hand, learning."""

import copy

import numpy as np
import pytest
import torch
from bowls import Bowls, learned, near, weights_of
from hypothesis import given, settings
from hypothesis import strategies as st
from noisy import noisy, same_bits
from torch import nn

import polytask
from polytask.optimization.main_task._combiner import Combiner
from polytask.optimization.main_task._implicit import inverse_hessian_times
from polytask.testing.methods import BalancerConformance, small_batch, small_net


class TestNonlinear(BalancerConformance):
    """What every balancer must hold, for the form that is not the default."""

    def make(self, **options):
        return polytask.AuxiLearn(combiner="nonlinear", every=2, lr=0.05, **options)


class TestSeries:
    size = 5

    def quadratic(self):
        rng = np.random.default_rng(0)
        root = rng.standard_normal((self.size, self.size))
        hessian = root @ root.T / self.size + 0.3 * np.eye(self.size)
        vector = rng.standard_normal(self.size)
        theta = torch.zeros(self.size, dtype=torch.float64, requires_grad=True)
        loss = 0.5 * theta @ torch.tensor(hessian) @ theta + theta.sum()
        return hessian, vector, theta, loss

    def product(self, alpha, terms):
        hessian, vector, theta, loss = self.quadratic()
        found = inverse_hessian_times(loss, [theta], [torch.tensor(vector)], alpha, terms)
        return hessian, vector, found[0]

    @pytest.mark.parametrize("terms", [0, 1, 3])
    def test_partial_sums(self, terms):
        hessian, vector, found = self.product(0.2, terms)
        turn = np.eye(self.size) - 0.2 * hessian
        want = sum(np.linalg.matrix_power(turn, j) @ vector for j in range(terms + 1))
        near(found, 0.2 * want, 1e-12)

    def test_goes_to_the_inverse_where_the_step_is_short_enough(self):
        most = np.linalg.eigvalsh(self.quadratic()[0]).max()
        hessian, vector, found = self.product(1.9 / most, 400)
        near(found, np.linalg.solve(hessian, vector), 1e-9)
        _, _, grown = self.product(2.1 / most, 400)
        assert float(grown.norm()) > 1e6

    def test_parameters_without_curvature_or_without_a_part(self):
        """A loss linear in one parameter, quadratic in another, that does not see the third."""
        line, bowl, far = (torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in "abc")
        ones = [torch.ones(2, dtype=torch.float64) for _ in "abc"]
        loss = line.sum() + 0.5 * bowl.square().sum()
        found = inverse_hessian_times(loss, [line, bowl, far], ones, 0.5, 2)
        near(found[0], [1.5, 1.5])
        near(found[1], [0.875, 0.875])
        near(found[2], [1.5, 1.5])
        near(inverse_hessian_times(line.sum(), [line], ones[:1], 0.5, 2)[0], [1.5, 1.5])


class TestImplicitGradient:
    def test_linear_in_closed_form(self):
        """d L_val(theta*(w)) / dw, where theta* solves a linear system."""
        bowls = Bowls()
        hessians = [a.T @ a / 6 for a in bowls.a]
        sides = [a.T @ b / 6 for a, b in zip(bowls.a, bowls.b, strict=True)]

        def settled(w):
            h = hessians[0] + w[0] * hessians[1] + w[1] * hessians[2]
            return torch.linalg.solve(h, sides[0] + w[0] * sides[1] + w[1] * sides[2])

        w = torch.tensor([0.7, 0.7], dtype=torch.float64, requires_grad=True)
        want = torch.autograd.grad(bowls.validation(settled(w))["m"], w)[0]
        bowls.theta.data.copy_(settled(w.detach()))
        balancer = polytask.AuxiLearn("m", initial=0.7, alpha=0.3, terms=600, clip=0)
        step = bowls.step(balancer)
        near(weights_of(step), [1.0, 0.7, 0.7])
        near(learned(balancer, "weight", "xy"), want, 1e-6)
        short = polytask.AuxiLearn("m", initial=0.7, alpha=0.3, terms=3, clip=0)
        bowls.step(short)
        turn = torch.eye(4).double() - 0.3 * (hessians[0] + 0.7 * hessians[1] + 0.7 * hessians[2])
        found = torch.autograd.grad(bowls.validation()["m"], bowls.theta)[0]
        p = 0.3 * sum(torch.linalg.matrix_power(turn, j) @ found for j in range(4))
        rows = [torch.autograd.grad(x, bowls.theta)[0] for x in bowls.losses().values()]
        near(learned(short, "weight", "xy"), -torch.stack(rows[1:]) @ p, 1e-6)

    def test_nonlinear_against_differences_of_trained_networks(self):
        """Every number of phi is moved, the network trained to its minimum, and judged."""
        bowls = Bowls(1)
        balancer = polytask.AuxiLearn(
            "m", "nonlinear", hidden=2, alpha=0.1, terms=2000, clip=0, initial=0.8
        )
        balancer.table["unit", ""] = torch.tensor(1.5, dtype=torch.float64)
        phi = {
            "weights": torch.tensor([1.0, 0.8, 0.8], dtype=torch.float64),
            "inputs": torch.tensor([[1.0, 0.4, 0.7], [0.2, 1.3, 0.5]], dtype=torch.float64),
            "biases": torch.tensor([-0.5, 0.3], dtype=torch.float64),
            "outputs": torch.tensor([0.6, 0.9], dtype=torch.float64),
            "unit": torch.tensor(1.5, dtype=torch.float64),
        }
        for j in range(2):
            balancer.table["bias", str(j)] = phi["biases"][j]
            balancer.table["output", str(j)] = phi["outputs"][j]
            for t, value in zip("mxy", phi["inputs"][j], strict=True):
                balancer.table[f"input{j}", t] = value
        bowls.theta.data.copy_(bowls.settle(Combiner(**phi)))
        step = bowls.step(balancer)

        def judged(word, index, change):
            moved = phi[word].clone()
            moved[index] += change
            with torch.no_grad():
                return bowls.validation(bowls.settle(Combiner(**{**phi, word: moved})))["m"]

        def difference(word, *index):
            return (judged(word, index, 1e-4) - judged(word, index, -1e-4)) / 2e-4

        near(weights_of(step), Combiner(**phi).slopes(torch.stack(list(bowls.losses().values()))))
        for j in range(2):
            want = torch.stack([difference("inputs", j, i) for i in range(3)])
            near(learned(balancer, f"input{j}", "mxy"), want, 1e-6)
        for word, name, keys, places in (
            ("weights", "weight", "xy", (1, 2)),
            ("biases", "bias", "01", (0, 1)),
            ("outputs", "output", "01", (0, 1)),
        ):
            want = torch.stack([difference(word, i) for i in places])
            near(learned(balancer, name, keys), want, 1e-6)

    @pytest.mark.parametrize("factor", [1e-6, 1e6])
    @pytest.mark.parametrize("combiner", ["linear", "nonlinear"])
    def test_no_absolute_scale_enters(self, combiner, factor):
        """All losses times one number, and the step of the series divided by it."""
        plain = polytask.AuxiLearn("m", combiner, lr=0.1, every=1)
        scaled = polytask.AuxiLearn("m", combiner, lr=0.1, every=1, alpha=0.01 / factor)
        bowls = Bowls(2)

        def times(make):
            return lambda: {t: x * factor for t, x in make().items()}

        for _ in range(4):
            one = bowls.step(plain)
            two = scaled.backward(
                times(bowls.losses)(),
                shared=[bowls.theta],
                closure=times(bowls.losses),
                validation=times(bowls.validation),
            )
            near(weights_of(two), weights_of(one), 1e-5)
            with torch.no_grad():
                bowls.theta.sub_(0.01 * bowls.theta.grad.sign())
        assert float(weights_of(one)[1]) != 1.0

    def test_clipping_is_in_units_of_the_first_gradient(self):
        bowls = Bowls()
        free, held = (polytask.AuxiLearn("m", clip=clip) for clip in (0.0, 0.5))
        bowls.step(free)
        bowls.step(held)
        moment = torch.stack([held.table["weight.first", t] for t in "xy"])
        near(moment.norm(), 0.05)
        whole = learned(free, "weight", "xy")
        near(moment / moment.norm(), whole / whole.norm())


positive = st.floats(0.0, 5.0)
anything = st.floats(-5.0, 5.0)


class TestCombiner:
    @settings(max_examples=60, deadline=None)
    @given(st.data(), st.integers(1, 4), st.integers(0, 3))
    def test_monotone_with_the_slopes_of_its_graph(self, data, tasks, hidden):
        def draw(values, *shape):
            count = int(np.prod(shape))
            flat = data.draw(st.lists(values, min_size=count, max_size=count))
            return torch.tensor(flat, dtype=torch.float64).reshape(shape)

        h = Combiner(
            weights=draw(positive, tasks),
            inputs=draw(positive, hidden, tasks),
            biases=draw(anything, hidden),
            outputs=draw(positive, hidden),
            unit=draw(st.floats(0.1, 10.0), 1)[0],
        )
        losses = draw(anything, tasks).requires_grad_()
        (slopes,) = torch.autograd.grad(h(losses), losses)
        torch.testing.assert_close(h.slopes(losses.detach()), slopes)
        assert (slopes >= 0).all()
        with torch.no_grad():
            higher = losses + draw(positive, tasks)
            assert float(h(higher)) >= float(h(losses)) - 1e-9

    @pytest.mark.parametrize("combiner", ["linear", "nonlinear"])
    def test_weights_are_never_negative_however_fast_it_learns(self, combiner):
        bowls, balancer = Bowls(3), polytask.AuxiLearn("m", combiner, lr=2.0, every=1)
        seen = []
        for _ in range(15):
            bowls.theta.grad = None
            step = bowls.step(balancer)
            seen.append(weights_of(step))
            rows = [torch.autograd.grad(x, bowls.theta)[0] for x in bowls.losses().values()]
            torch.testing.assert_close(bowls.theta.grad, seen[-1] @ torch.stack(rows))
            with torch.no_grad():
                bowls.theta.sub_(0.01 * bowls.theta.grad)
        seen = torch.stack(seen)
        assert (seen >= 0).all()
        words = {"weight", "input0", "input1", "input2", "output"}
        signed = [value for (name, _), value in balancer.table.items() if name in words]
        assert all(float(v) >= 0 for v in signed)

    def test_it_starts_linear_and_bends_later(self):
        bowls, balancer = Bowls(), polytask.AuxiLearn("m", "nonlinear", lr=0.1, every=1)
        near(weights_of(bowls.step(balancer)), [1.0, 1.0, 1.0])
        for _ in range(3):
            bowls.step(balancer)
        assert any(float(balancer.table["output", j]) > 0 for j in "012")


def few_labels(seed, combiner, steps=300):
    """Weights after training a linear model: 20 noisy main labels, a good helper, a harmful one."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(200, 8, generator=generator)
    clean = x @ torch.randn(8, generator=generator)
    noise = torch.randn(200, 2, generator=generator)
    y = torch.stack([clean + noise[:, 0], clean + 0.3 * noise[:, 1], -clean], dim=1)
    torch.manual_seed(seed)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    balancer = polytask.AuxiLearn("main", combiner, lr=0.03, every=5, alpha=0.05)

    def losses(rows):
        errors = (model(x[rows]) - y[rows]).square().mean(dim=0)
        return dict(zip(("main", "good", "harmful"), errors, strict=True))

    for _ in range(steps):
        rows = torch.randint(20, (10,), generator=generator)
        optimizer.zero_grad()
        step = balancer.backward(
            losses(rows),
            shared=model,
            closure=lambda rows=rows: losses(rows),
            validation=lambda: losses(slice(20, 40)),
        )
        optimizer.step()
    with torch.no_grad():
        return step.weights, float((model(x[40:])[:, 0] - clean[40:]).square().mean())


class TestLearning:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("combiner", ["linear", "nonlinear"])
    def test_a_harmful_helper_loses_its_weight(self, combiner, seed):
        weights, error = few_labels(seed, combiner)
        assert float(weights["harmful"]) < 0.1
        assert float(weights["good"]) > 0.9
        assert error < 0.5

    def test_phi_is_looked_at_every_so_many_steps(self):
        net, batch = small_net(), small_batch()
        balancer = polytask.AuxiLearn("a", every=3)
        seen = []

        def look(tag):
            def compute():
                seen.append(tag)
                return net.losses(*batch)

            return compute

        for _ in range(7):
            seen.append("step")
            balancer.backward(net.losses(*batch), closure=look("c"), validation=look("v"))
        update = ["step", "v", "c", "c"]
        assert seen == [*update, "step", "step", *update, "step", "step", *update]

    def test_an_update_waits_for_main_labels(self):
        bowls, balancer = Bowls(), polytask.AuxiLearn("m", every=3)

        def step(validation):
            return balancer.backward(
                bowls.losses(), shared=[bowls.theta], closure=bowls.losses, validation=validation
            )

        for _ in range(2):
            step(lambda: {"x": bowls.losses()["x"]})
            assert not balancer.has("weight.first", "x")
        step(bowls.validation)
        assert balancer.has("weight.first", "x")

    def test_absent_tasks_keep_their_weight_and_the_main_one_may_be_missing(self):
        bowls, balancer = Bowls(), polytask.AuxiLearn("m", lr=0.1, every=1)
        bowls.step(balancer)
        held = balancer.table["weight", "x"].clone()
        for left in ("my", "y", "m"):
            step = balancer.backward(
                {t: x for t, x in bowls.losses().items() if t in left},
                shared=[bowls.theta],
                closure=bowls.losses,
                validation=bowls.validation,
            )
            assert torch.equal(balancer.table["weight", "x"], held)
            assert step.tasks == tuple(left)
        assert float(step.weights["m"]) == 1.0
        assert polytask.AuxiLearn("m", initial=0.5).sum_on_equal(("m", "x", "y")) == 2.0
        assert polytask.AuxiLearn("m", initial=0.5).sum_on_equal(("x", "y")) == 1.0

    @pytest.mark.parametrize("combiner", ["linear", "nonlinear"])
    def test_everything_is_restored_bit_for_bit(self, combiner):
        net, batch = noisy(), small_batch()
        held_out = (batch[0].flip(0) + 1, batch[1].flip(0))
        twin = copy.deepcopy(net)
        torch.manual_seed(5)
        losses = net.losses(*batch)
        state, random = copy.deepcopy(net.state_dict()), torch.get_rng_state()
        step = polytask.AuxiLearn("a", combiner, initial=0.4).backward(
            losses, closure=lambda: net.losses(*batch), validation=lambda: net.losses(*held_out)
        )
        assert same_bits(net, state)
        assert torch.equal(torch.get_rng_state(), random)
        torch.manual_seed(5)
        sum(float(step.weights[t]) * x for t, x in twin.losses(*batch).items()).backward()
        for mine, other in zip(net.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, other.grad, rtol=1e-5, atol=1e-8)

    def test_digits_with_a_convolution(self):
        """Real images through convolution, norm, ReLU and pooling, differentiated twice."""
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
        y = torch.tensor(labels)
        torch.manual_seed(0)
        trunk = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(72, 32), nn.ReLU(),
        )  # fmt: skip
        heads = nn.ModuleDict({"digit": nn.Linear(32, 10), "odd": nn.Linear(32, 2)})
        optimizer = torch.optim.Adam([*trunk.parameters(), *heads.parameters()], lr=0.01)
        balancer = polytask.AuxiLearn("digit", "nonlinear", lr=0.05, every=5)

        def losses(rows):
            h = trunk(x[rows])
            cross = nn.functional.cross_entropy
            return {
                "digit": cross(heads["digit"](h), y[rows]),
                "odd": cross(heads["odd"](h), y[rows] % 2),
            }

        for i in range(60):
            rows = slice(32 * (i % 6), 32 * (i % 6) + 32)
            optimizer.zero_grad()
            step = balancer.backward(
                losses(rows),
                closure=lambda rows=rows: losses(rows),
                validation=lambda: losses(slice(200, 300)),
            )
            optimizer.step()
        assert float(step.weights["odd"]) != 1.0
        assert torch.isfinite(weights_of(step)).all()
        trunk.eval()
        with torch.no_grad():
            right = heads["digit"](trunk(x[300:])).argmax(dim=1) == y[300:]
        assert float(right.float().mean()) > 0.8
