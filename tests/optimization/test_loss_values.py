"""Methods that weigh by loss values: closed forms, golden numbers, epochs, absent tasks."""

import math

import pytest
import torch

import polytask
from polytask.errors import UserError
from polytask.kernel import Statistic
from polytask.optimization.loss_weighting.gradnorm import targets
from polytask.optimization.loss_weighting.stch import smooth_maximum
from polytask.testing.methods import small_batch, small_net

LOSSES = torch.tensor([0.3, 1.2, 0.7], dtype=torch.float64)


def near(value, expected, digits=5e-7):
    torch.testing.assert_close(
        value, torch.as_tensor(expected, dtype=torch.float64), atol=digits, rtol=0
    )


def weigh(balancer, losses=LOSSES, tasks=None, gramian=None):
    values = torch.as_tensor(losses, dtype=torch.float64)
    names = tuple(tasks or "abcdefgh"[: len(values)])
    return balancer.decide(Statistic(names, values, gramian))


def reloaded(balancer, **arguments):
    """A fresh balancer of the same kind with the state of this one."""
    fresh = type(balancer)(**arguments)
    fresh.load_state_dict(balancer.state_dict())
    return fresh


def gradients(method, factors=(1.0, 1.0, 1.0), **arguments):
    """What every parameter of the trunk gets when the losses are multiplied by `factors`."""
    net, batch = small_net().double(), [x.double() for x in small_batch()]
    losses = net.losses(*batch)
    scaled = {t: f * x for f, (t, x) in zip(factors, losses.items(), strict=True)}
    polytask.create_method(method, **arguments).backward(scaled)
    return torch.cat([p.grad.flatten() for p in net.trunk.parameters()])


class TestScaleInvariant:
    def test_divides_by_the_loss(self):
        near(weigh(polytask.ScaleInvariant()), 1 / LOSSES, 1e-12)

    def test_units_of_the_losses_change_no_step(self):
        plain, scaled = gradients("scale_invariant"), gradients("scale_invariant", (1e-3, 7, 1e5))
        torch.testing.assert_close(plain, scaled, rtol=1e-10, atol=1e-14)

    def test_is_the_logarithmic_transform(self):
        torch.testing.assert_close(
            gradients("scale_invariant"), gradients("linear", transform="log")
        )

    def test_sum_scale_is_one_constant_of_the_run(self):
        net, batch = small_net(), small_batch()
        losses = net.losses(*batch)
        balancer = polytask.ScaleInvariant(scale="sum")
        first = balancer.backward(losses).weights
        assert float(sum(first.values())) == pytest.approx(3)
        halved = {t: 0.5 * x for t, x in net.losses(*batch).items()}
        second = balancer.backward(halved).weights
        for task in "abc":
            assert float(second[task]) == pytest.approx(2 * float(first[task]))

    @pytest.mark.parametrize("loss", [0.0, -2.0])
    def test_refuses_a_loss_that_is_not_positive(self, loss):
        with pytest.raises(UserError, match=r"positive losses.*task 'b'"):
            weigh(polytask.ScaleInvariant(), [1.0, loss])


class TestDWA:
    @staticmethod
    def after_epochs(*epochs, tasks="abc", **arguments):
        balancer = polytask.DWA(**arguments)
        for number, losses in enumerate(epochs):
            near(weigh(balancer, losses, tasks).sum(), len(tasks), 1e-9)
            balancer.observe(epoch=number)
        return balancer

    def test_golden(self):
        balancer = self.after_epochs([2.0, 1.0, 10.0], [2.0, 0.8, 11.0])
        near(weigh(balancer), [1.014848, 0.918272, 1.066880])

    def test_weights_are_one_in_the_first_two_epochs(self):
        balancer = polytask.DWA()
        for epoch in range(2):
            for losses in ([1.0, 2.0, 3.0], [3.0, 0.1, 5.0]):
                assert torch.equal(weigh(balancer, losses), torch.ones(3, dtype=torch.float64))
            balancer.observe(epoch=epoch)
        assert weigh(balancer).std() == 0  # both epochs had the same means
        balancer.observe(epoch=2)
        assert weigh(balancer).std() > 0

    def test_ratios_are_of_epoch_means(self):
        balancer = polytask.DWA(temperature=1.0)
        for losses in ([1.0, 3.0], [3.0, 5.0]):
            weigh(balancer, losses)
        balancer.observe(epoch=0)
        for losses in ([1.0, 8.0], [1.0, 0.0], [4.0, 1.0]):
            weigh(balancer, losses)
        balancer.observe(epoch=1)
        near(weigh(balancer, [1.0, 1.0]), 2 * torch.softmax(torch.tensor([1.0, 0.75]).double(), 0))

    def test_infinite_temperature_gives_ones(self):
        balancer = self.after_epochs([2.0, 1.0, 10.0], [2.0, 0.1, 90.0], temperature=1e12)
        near(weigh(balancer), [1.0, 1.0, 1.0], 1e-9)

    def test_only_an_epoch_s_number_ends_it(self):
        balancer = polytask.DWA()
        weigh(balancer)
        balancer.observe(scores={"a": 0.5})
        assert not balancer.has("last", "a")

    def test_an_epoch_without_a_task_leaves_its_means(self):
        balancer = self.after_epochs([2.0, 1.0, 10.0], [2.0, 0.8, 11.0])
        weigh(balancer, [2.0, 0.8], "ab")
        balancer.observe(epoch=2)
        near(weigh(balancer), 3 * torch.softmax(torch.tensor([1.0, 1.0, 1.1]).double() / 2, 0))

    def test_a_newcomer_and_a_loss_of_zero_count_as_steady(self):
        balancer = self.after_epochs([2.0, 0.0], [1.0, 0.0], tasks="ab")
        near(
            weigh(balancer, [1.0, 1.0, 1.0]),
            3 * torch.softmax(torch.tensor([0.5, 1.0, 1.0]).double() / 2, 0),
        )

    def test_a_checkpoint_inside_an_epoch(self):
        first = self.after_epochs([2.0, 1.0, 10.0], [2.0, 0.8, 11.0])
        weigh(first, [1.0, 1.0, 1.0])
        second = reloaded(first)
        for balancer in (first, second):
            weigh(balancer, [2.0, 3.0, 4.0])
            balancer.observe(epoch=2)
        assert torch.equal(weigh(first), weigh(second))

    def test_wrong_arguments_and_losses(self):
        with pytest.raises(UserError, match="temperature"):
            polytask.DWA(temperature=0.0)
        with pytest.raises(UserError, match="not negative"):
            weigh(polytask.DWA(), [-1.0])


class TestIMTLL:
    def test_steps_down_its_own_objective(self):
        s = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        adam = torch.optim.Adam([s], lr=0.03)
        balancer = polytask.IMTLL(lr=0.03)
        for _ in range(6):
            adam.zero_grad()
            (s.exp() * LOSSES - s).sum().backward()
            near(weigh(balancer), s.detach().exp(), 1e-9)
            adam.step()

    def test_the_optimum_is_scale_invariant_weighting(self):
        balancer = polytask.IMTLL(lr=0.02)
        for _ in range(1200):
            weights = weigh(balancer)
        near(weights, weigh(polytask.ScaleInvariant()), 2e-3)
        # There the scaled loss is 1 + log L.
        s = weights.log()
        near(s.exp() * LOSSES - s, 1 + LOSSES.log(), 1e-3)

    def test_an_absent_task_keeps_its_scale(self):
        balancer = polytask.IMTLL(lr=0.1)
        for _ in range(5):
            weigh(balancer)
        held = balancer.table["log_scale", "b"].clone()
        weigh(balancer, [0.3, 0.7], "ac")
        assert torch.equal(balancer.table["log_scale", "b"], held)

    def test_refuses_a_negative_loss(self):
        with pytest.raises(UserError, match="not negative"):
            weigh(polytask.IMTLL(), [-0.1])


class TestUWSO:
    def test_golden(self):
        near(weigh(polytask.UWSO()), [0.812385, 0.066685, 0.120930])

    def test_high_temperature_is_equal_low_takes_the_smallest(self):
        near(weigh(polytask.UWSO(temperature=1e9)), [1 / 3] * 3, 1e-8)
        near(weigh(polytask.UWSO(temperature=1e-9)), [1.0, 0.0, 0.0], 1e-12)

    @pytest.mark.parametrize("least", [1e-3, 1e-30, 1e-300, 5e-324, 0.0])
    @pytest.mark.parametrize("temperature", [1e-6, 1.0, 1e6])
    def test_a_vanishing_loss_takes_all_the_weight(self, least, temperature):
        weights = weigh(polytask.UWSO(temperature=temperature), [least, 1.0, 2.0])
        assert torch.isfinite(weights).all()
        near(weights.sum(), 1.0, 1e-12)
        if least / temperature < 1e-8 and temperature <= 1:
            near(weights, [1.0, 0.0, 0.0], 1e-9)

    def test_two_zeros_share(self):
        near(weigh(polytask.UWSO(), [0.0, 1.0, 0.0]), [0.5, 0.0, 0.5], 1e-12)

    def test_wrong_arguments_and_losses(self):
        with pytest.raises(UserError, match="temperature"):
            polytask.UWSO(temperature=-1.0)
        with pytest.raises(UserError, match="task 'a' is -1"):
            weigh(polytask.UWSO(), [-1.0])


class TestSTCH:
    def test_golden(self):
        near(smooth_maximum(LOSSES, 1.0), 1.899676)
        near(smooth_maximum(LOSSES, 0.1), 1.200684)
        balancer = polytask.STCH(normalization="none")
        near(weigh(balancer), [0.201962, 0.496746, 0.301292])

    @pytest.mark.parametrize("mu", [1e-3, 0.1, 1.0, 50.0])
    def test_lies_between_the_maximum_and_a_constant_above(self, mu):
        generator = torch.Generator().manual_seed(0)
        for _ in range(50):
            values = torch.rand(5, generator=generator, dtype=torch.float64)
            smooth = float(smooth_maximum(values, mu))
            assert values.max() <= smooth + 1e-12
            assert smooth <= values.max() + mu * math.log(5) + 1e-12

    def test_limits_are_the_maximum_and_the_mean(self):
        near(weigh(polytask.STCH(normalization="none", mu=1e-300)), [0.0, 1.0, 0.0])
        near(weigh(polytask.STCH(normalization="none", mu=1e12)), [1 / 3] * 3, 1e-9)

    def test_weights_are_the_derivative(self):
        losses = LOSSES.clone().requires_grad_()
        preference = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
        ideal = torch.tensor([0.1, 0.0, 0.0], dtype=torch.float64)
        smooth_maximum(preference * (losses - ideal), 0.4).backward()
        balancer = polytask.STCH(
            mu=0.4, normalization="none", ideal={"a": 0.1}, preference={"b": 2.0, "c": 0.5}
        )
        near(weigh(balancer), losses.grad, 1e-12)

    def test_warm_up_then_the_nadir_of_its_last_epoch(self):
        balancer = polytask.STCH(mu=0.5, warmup_epochs=2)
        for epoch, batches in enumerate(
            ([[5.0, 5.0, 5.0]], [[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]], [[9.0, 9.0, 9.0]])
        ):
            for losses in batches:
                weights = weigh(balancer, losses)
                if epoch < 2:
                    near(weights, 1 / torch.tensor(losses).double(), 1e-12)
            balancer.observe(epoch=epoch)
        nadir = torch.tensor([2.0, 3.0, 4.0], dtype=torch.float64)
        for balancer_ in (balancer, reloaded(balancer, mu=0.5, warmup_epochs=2)):
            losses = LOSSES.clone().requires_grad_()
            (3 * smooth_maximum((losses / nadir).log(), 0.5)).backward()
            near(weigh(balancer_), losses.grad, 1e-12)

    def test_the_end_of_the_warm_up_is_no_jump(self):
        """Where all losses equal their nadir, the weights stay those of the warm-up."""
        balancer = polytask.STCH(warmup_epochs=1)
        before = weigh(balancer)
        balancer.observe(epoch=1)
        near(weigh(balancer), before, 1e-12)

    def test_a_late_task_starts_from_its_first_loss(self):
        balancer = polytask.STCH(warmup_epochs=1)
        weigh(balancer, [2.0, 4.0], "ab")
        balancer.observe(epoch=0)
        near(weigh(balancer, [2.0, 4.0, 8.0]), [1 / 2, 1 / 4, 1 / 8], 1e-12)
        near(
            weigh(balancer, [2.0, 4.0, 4.0]),
            3 * torch.tensor([1.0, 1.0, 0.5]).double() / 2.5 / torch.tensor([2.0, 4.0, 4.0]),
            1e-12,
        )

    def test_without_warm_up_the_first_losses_are_the_nadir(self):
        balancer = polytask.STCH(warmup_epochs=0)
        near(weigh(balancer), 1 / LOSSES, 1e-12)
        worse = LOSSES * torch.tensor([1.0, 3.0, 1.0]).double()
        weights = weigh(balancer, worse)
        near(weights * worse, [0.6, 1.8, 0.6], 1e-12)

    def test_units_of_the_losses_change_no_step(self):
        plain = gradients("stch", warmup_epochs=0)
        torch.testing.assert_close(plain, gradients("stch", (1e-3, 7, 1e5), warmup_epochs=0))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"mu": 0.0}, "mu of stch"),
            ({"normalization": "log"}, "must be one of"),
            ({"warmup_epochs": -1}, "warmup_epochs"),
            ({"preference": {"a": 2.0}}, "normalization='none'"),
            ({"normalization": "none", "preference": {"a": 0.0}}, "positive"),
        ],
    )
    def test_wrong_arguments(self, arguments, message):
        with pytest.raises(UserError, match=message):
            polytask.STCH(**arguments)

    def test_refuses_a_loss_below_its_ideal(self):
        with pytest.raises(UserError, match=r"task 'a' is -0.2; .*ideal="):
            weigh(polytask.STCH(ideal={"a": 0.5}))


class TestUncertaintyRevised:
    @pytest.mark.parametrize(("kind", "half"), [("regression", 0.5), ("classification", 1.0)])
    def test_steps_down_its_own_objective_to_the_closed_form(self, kind, half):
        s = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        adam = torch.optim.Adam([s], lr=0.05)
        balancer = polytask.Uncertainty(
            lr=0.05, form="revised", kinds=dict.fromkeys("abc", kind), initial=0.0
        )
        for step in range(1200):
            weights = weigh(balancer)
            if step < 5:
                adam.zero_grad()
                objective = half * torch.exp(-s) * LOSSES + torch.log1p(s.exp())
                assert (objective > 0).all()
                objective.sum().backward()
                near(weights, half * torch.exp(-s.detach()), 1e-9)
                adam.step()
        a = half * LOSSES
        near(half / weights, (a + (a.square() + 4 * a).sqrt()) / 2, 1e-3)

    def test_form_is_checked(self):
        with pytest.raises(UserError, match="form must be one of"):
            polytask.Uncertainty(form="liebel")


class TestGradNorm:
    @staticmethod
    def gram(*norms):
        return torch.diag(torch.tensor(norms, dtype=torch.float64).square())

    def test_golden_targets_and_the_way_the_weights_go(self):
        sizes = torch.tensor([4.0, 1.0], dtype=torch.float64)
        progress = torch.tensor([0.5, 1.0], dtype=torch.float64)
        near(targets(sizes, progress, 1.5), [1.360828, 3.849002])
        balancer = polytask.GradNorm(initial_losses={"a": 2.0, "b": 3.0})
        near(weigh(balancer, [1.0, 3.0], gramian=self.gram(4.0, 1.0)), [1.0, 1.0])
        second = weigh(balancer, [1.0, 3.0], gramian=self.gram(4.0, 1.0))
        assert second[0] < 1 < second[1]
        near(second.sum(), 2.0, 1e-12)

    def test_alpha_zero_makes_the_norms_equal(self):
        balancer = polytask.GradNorm(alpha=0.0, lr=0.004)
        for _ in range(600):
            weights = weigh(balancer, [1.0, 1.0], gramian=self.gram(4.0, 1.0))
        near(weights, [0.4, 1.6], 0.01)

    def test_steps_down_its_own_objective(self):
        norms = torch.tensor([4.0, 1.0, 0.5], dtype=torch.float64)
        w = torch.ones(3, dtype=torch.float64, requires_grad=True)
        adam = torch.optim.Adam([w], lr=0.025)
        balancer = polytask.GradNorm(initial_losses=dict.fromkeys("abc", 1.0))
        for _ in range(8):
            near(weigh(balancer, gramian=torch.diag(norms.square())), w.detach(), 1e-7)
            adam.zero_grad()
            sizes = w * norms
            goal = targets(sizes, LOSSES, 1.5).detach()
            (sizes - goal).abs().sum().backward()
            adam.step()
            w.data *= 3 / w.data.sum()

    @pytest.mark.parametrize("factor", [1e-12, 1e12])
    def test_no_absolute_scale_enters(self, factor):
        plain, scaled = polytask.GradNorm(), polytask.GradNorm()
        for size in (1.0, 0.7, 0.9, 0.2):
            g = self.gram(4.0 * size, 1.0, 2.0)
            one = weigh(plain, gramian=g)
            two = weigh(scaled, LOSSES * factor, gramian=g * factor**2)
            near(one, two, 1e-7)

    def test_absent_tasks_keep_their_weight_and_the_sum_stays(self):
        balancer = polytask.GradNorm()
        for _ in range(10):
            weigh(balancer, gramian=self.gram(4.0, 1.0, 2.0))
        held = balancer.table["weight", "b"].clone()
        for _ in range(10):
            weigh(balancer, [0.3, 0.7], "ac", gramian=self.gram(4.0, 2.0))
        assert torch.equal(balancer.table["weight", "b"], held)
        total = sum(float(balancer.table["weight", t]) for t in "abc")
        assert total == pytest.approx(3)

    def test_weights_stay_on_the_simplex_whatever_the_rate(self):
        balancer = polytask.GradNorm(lr=5.0)
        for norms in ((4.0, 1.0, 0.0), (0.0, 0.0, 0.0), (1e-9, 1.0, 1e9)) * 5:
            weights = weigh(balancer, gramian=self.gram(*norms))
            assert (weights >= 0).all()
            near(weights.sum(), 3.0, 1e-9)

    def test_reads_the_norms_on_the_last_shared_layer(self):
        net, batch = small_net().double(), [x.double() for x in small_batch()]
        losses = net.losses(*batch)
        last = list(net.trunk[2].parameters())
        want = [
            sum(float(g.square().sum()) for g in torch.autograd.grad(x, last, retain_graph=True))
            for x in losses.values()
        ]
        step = polytask.create_method("gradnorm").backward(losses)
        near(step.gramian.diagonal(), want, 1e-9)
        assert step.statistic.startswith("tail, depth 1")

    def test_heads_take_the_weights(self):
        net, batch = small_net(), small_batch()
        balancer = polytask.GradNorm(lr=0.2)
        balancer.backward(net.losses(*batch))
        net.zero_grad()
        step = balancer.backward(net.losses(*batch))
        plain = torch.autograd.grad(net.losses(*batch)["a"], net.heads["a"].weight)[0]
        assert float(step.weights["a"]) != pytest.approx(1.0, abs=0.01)
        torch.testing.assert_close(
            net.heads["a"].weight.grad, plain * float(step.weights["a"]), rtol=1e-5, atol=1e-7
        )

    def test_losses_of_zero_later_but_not_at_first(self):
        balancer = polytask.GradNorm()
        weigh(balancer, [1.0, 1.0], gramian=self.gram(1.0, 1.0))
        for losses in ([0.0, 1.0], [0.0, 0.0]):
            assert torch.isfinite(weigh(balancer, losses, gramian=self.gram(1.0, 2.0))).all()
        with pytest.raises(UserError, match="initial_losses="):
            weigh(polytask.GradNorm(), [0.0, 1.0], gramian=self.gram(1.0, 1.0))
        with pytest.raises(UserError, match="task 'b' is -1"):
            weigh(polytask.GradNorm(), [1.0, -1.0], gramian=self.gram(1.0, 1.0))
        with pytest.raises(UserError, match="initial_losses must be positive"):
            polytask.GradNorm(initial_losses={"a": 0.0})
        with pytest.raises(UserError, match="alpha"):
            polytask.GradNorm(alpha=-1.0)


@pytest.mark.parametrize("method", ["scale_invariant", "uw_so", "imtl_l", "dwa", "stch", "famo"])
@pytest.mark.parametrize("tasks", [1, 40])
def test_one_task_and_forty(method, tasks):
    losses = torch.logspace(-3, 3, tasks, dtype=torch.float64)
    names = tuple(f"task {i}" for i in range(tasks))
    balancer = polytask.create_method(method)
    for epoch in range(6):
        weights = weigh(balancer, losses / (epoch + 1), names)
        balancer.observe(epoch=epoch)
    assert weights.shape == (tasks,)
    assert torch.isfinite(weights).all()
    assert (weights >= 0).all()
