"""HydaLearn: golden gains, restoration, where gains are judged, wrong use."""

import copy

import numpy as np
import pytest
import torch
from noisy import noisy, same_bits
from torch import nn

import polytask
from polytask.data import Batches
from polytask.errors import NonFiniteError, UserError
from polytask.tasks import Task
from polytask.testing.methods import BalancerConformance, small_batch, small_net
from polytask.training import Trainer

FORMS = [
    {"look_ahead": look, "evaluate": where}
    for look in ("first_order", "exact")
    for where in ("same", "next", "validation")
]


def near(value, expected, digits=1e-12):
    torch.testing.assert_close(
        value.double(), torch.as_tensor(expected, dtype=torch.float64), atol=digits, rtol=0
    )


def weights_of(step):
    return torch.stack([w.double() for w in step.weights.values()])


def suite(form):
    """What every balancer must hold, for one form."""

    class Suite(BalancerConformance):
        permutation_equivariant = False

        def make(self, **options):
            return polytask.HydaLearn(**form, **options)

    return Suite


TestNext, TestHeldOut, TestExact, TestExactNext, TestExactHeldOut = map(suite, FORMS[1:])


class Plane:
    """M = ½|θ|² at θ = (1, 2), and helpers with constant gradients (1, 0), (-1, 0), (2, -1)."""

    def __init__(self, *gradients, scale=1.0):
        self.theta = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
        rows = gradients or ((1.0, 0.0), (-1.0, 0.0), (2.0, -1.0))
        self.rows = torch.tensor(rows, dtype=torch.float64)
        self.scale = scale

    def losses(self):
        found = {"main": 0.5 * self.theta.square().sum()}
        found |= {f"h{i}": row @ self.theta for i, row in enumerate(self.rows)}
        return {task: loss * self.scale for task, loss in found.items()}

    def step(self, **options):
        self.balancer = polytask.HydaLearn("main", **options)
        given = {} if not self.balancer.needs else {"closure": self.losses}
        return self.balancer.backward(self.losses(), shared=[self.theta], **given)


class TestGolden:
    def test_exact(self):
        seen = []

        class Seen(polytask.HydaLearn):
            def decide(self, statistic):
                seen.append(statistic.need_gains())
                return super().decide(statistic)

        plane = Plane()
        step = Seen("main", look_ahead="exact", inner_lr=0.1).backward(
            plane.losses(), shared=[plane.theta], closure=plane.losses
        )
        near(seen[0], [0.475, 0.095, -0.105, -0.025])
        near(weights_of(step), [5 / 6, 1 / 6, 0.0, 0.0])
        near(plane.theta.grad, [1.0, 5 / 3])
        assert step.statistic == "gains (2 numbers)"

    def test_first_order(self):
        step = Plane().step(statistic="exact")
        near(weights_of(step), [5 / 6, 1 / 6, 0.0, 0.0])
        assert float(step.weights["h2"]) == 0.0

    def test_a_bare_gramian(self):
        rows = torch.tensor([[1.0, 2.0], [1.0, 0.0], [-1.0, 0.0], [2.0, -1.0]])
        weights = polytask.create_method("hydalearn").weights(rows @ rows.T)
        assert weights.dtype == torch.float32
        near(weights, [5 / 6, 1 / 6, 0.0, 0.0], 1e-7)

    def test_no_positive_gain_leaves_the_main_task_alone(self):
        """A step so long that each of them climbs the other side of the bowl."""
        near(weights_of(Plane().step(look_ahead="exact", inner_lr=5.0)), [1.0, 0.0, 0.0, 0.0])
        near(polytask.HydaLearn().weights(torch.zeros(3, 3)), [1.0, 0.0, 0.0])

    @pytest.mark.parametrize("look_ahead", ["first_order", "exact"])
    def test_main_weight_of_one(self, look_ahead):
        step = Plane().step(look_ahead=look_ahead, normalise="main", inner_lr=0.1)
        near(weights_of(step), [1.0, 0.2, 0.0, 0.0])
        over = Plane((0.25, 0.5)).step(look_ahead="exact", normalise="main", inner_lr=3.0)
        near(weights_of(over), [1.0, 0.0])
        near(weights_of(Plane((0.25, 0.5)).step(look_ahead="exact", inner_lr=3.0)), [0.0, 1.0])

    @pytest.mark.parametrize("look_ahead", ["first_order", "exact"])
    def test_identical_helpers_weigh_the_same(self, look_ahead):
        step = Plane((0.3, 0.4), (0.3, 0.4), (0.0, 1.0)).step(look_ahead=look_ahead)
        assert torch.equal(step.weights["h0"], step.weights["h1"])
        assert 0 < float(step.weights["h0"]) < float(step.weights["h2"])

    def test_exact_goes_to_first_order_as_the_step_gets_short(self):
        rows = torch.tensor(np.random.default_rng(0).standard_normal((6, 2))).tolist()
        first = weights_of(Plane(*rows).step(statistic="exact"))
        gaps = []
        for inner_lr in (1e-1, 1e-3, 1e-5):
            step = Plane(*rows).step(look_ahead="exact", inner_lr=inner_lr)
            gaps.append(float((weights_of(step) - first).abs().max()))
        assert gaps[0] > 10 * gaps[1] > 100 * gaps[2]
        assert gaps[2] < 1e-4

    @pytest.mark.parametrize("factor", [1e-6, 1e6])
    @pytest.mark.parametrize("look_ahead", ["first_order", "exact"])
    def test_no_absolute_scale_enters(self, look_ahead, factor):
        plain = Plane().step(look_ahead=look_ahead, inner_lr=0.1)
        scaled = Plane(scale=factor).step(look_ahead=look_ahead, inner_lr=0.1 / factor)
        near(weights_of(scaled), weights_of(plain), 1e-9)

    def test_a_running_mean_of_the_gains(self):
        plane = Plane((1.0, 0.0))
        balancer = polytask.HydaLearn("main", smooth_gains=0.75, statistic="exact")
        balancer.backward(plane.losses(), shared=[plane.theta])
        plane.rows = torch.tensor([[-1.0, 0.0]], dtype=torch.float64)
        step = balancer.backward(plane.losses(), shared=[plane.theta])
        near(balancer.table["gain", "h0"], 0.75 * 1.0 - 0.25 * 1.0)
        near(weights_of(step), [5 / 5.5, 0.5 / 5.5])


class TestLooks:
    @pytest.mark.parametrize("form", FORMS, ids=str)
    def test_all_is_bit_for_bit_as_before(self, form):
        """Parameters, buffers, random states and the optimizer, when the weights are known."""
        net, batch = noisy(), small_batch()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        sum(net.losses(*batch).values()).backward()
        optimizer.step()
        optimizer.zero_grad()
        other = (batch[0].flip(0) + 1, batch[1].flip(0))
        balancer, twin = polytask.HydaLearn("a", inner_lr=0.5, **form), copy.deepcopy(net)
        judged = net.losses(*other)
        torch.manual_seed(5)
        losses = net.losses(*batch)
        state, random = copy.deepcopy(net.state_dict()), torch.get_rng_state()
        moments = copy.deepcopy(optimizer.state_dict()["state"])
        looks = []

        def look(data, tag):
            def compute():
                looks.append(tag)
                return net.losses(*data)

            return compute

        step = balancer.backward(
            [judged, losses] if balancer.batches == 2 else losses,
            closure=look(other if balancer.batches == 2 else batch, "closure"),
            validation=look(other, "held out"),
        )
        assert same_bits(net, state)
        assert torch.equal(torch.get_rng_state(), random)
        for one, two in zip(
            moments.values(), optimizer.state_dict()["state"].values(), strict=True
        ):
            assert all(torch.equal(one[key], two[key]) for key in one)
        near(weights_of(step).sum(), 1.0, 1e-6)
        if form["look_ahead"] == "exact":
            tag = "held out" if form["evaluate"] == "validation" else "closure"
            assert looks == [tag] * 3
        torch.manual_seed(5)
        sum(twin.losses(*batch).values()).backward()
        for task in "ab":  # heads are plain
            torch.testing.assert_close(net.heads[task].weight.grad, twin.heads[task].weight.grad)

    def test_only_shared_parameters_are_moved(self):
        net, batch = small_net(), small_batch()
        held = copy.deepcopy(net.state_dict())
        moved = []

        def closure():
            moved.append({n for n, p in net.named_parameters() if not torch.equal(p, held[n])})
            return net.losses(*batch)

        polytask.HydaLearn(look_ahead="exact").backward(net.losses(*batch), closure=closure)
        trunk = {name for name in held if name.startswith("trunk")}
        assert moved == [set(), trunk, trunk, trunk]

    @pytest.mark.parametrize("where", ["same", "next", "validation"])
    def test_gains_are_those_of_steps_taken_by_hand(self, where):
        """On a network in float64, exact and first order against the gradients themselves."""
        net, batch = small_net().double(), [t.double() for t in small_batch()]
        other = [batch[0].flip(0) * 0.5 + 1, batch[1].flip(0)]
        trunk = list(net.trunk.parameters())
        judged_on = batch if where == "same" else other

        def rows(data):
            losses = net.losses(*data).values()
            found = [torch.autograd.grad(x, trunk, retain_graph=True) for x in losses]
            return [torch.cat([g.flatten() for g in one]) for one in found]

        main = rows(judged_on)[0]
        first = torch.stack([main @ row for row in rows(batch)]).clamp_min(0)
        steps = []
        for row in rows(batch):
            twin = copy.deepcopy(net)
            flat = nn.utils.parameters_to_vector(twin.trunk.parameters())
            nn.utils.vector_to_parameters(flat - 0.3 * row, twin.trunk.parameters())
            with torch.no_grad():
                gain = net.losses(*judged_on)["a"] - twin.losses(*judged_on)["a"]
            steps.append(gain.clamp_min(0))
        for look_ahead, gains in (("first_order", first), ("exact", torch.stack(steps))):
            measured = polytask.HydaLearn("a", look_ahead, where).statistic_kind
            exact = {"statistic": "exact"} if measured in ("gramian", "cross") else {}
            balancer = polytask.HydaLearn("a", look_ahead, where, inner_lr=0.3, **exact)
            losses = net.losses(*batch)
            data = other if balancer.batches == 2 else batch
            step = balancer.backward(
                [net.losses(*other), losses] if balancer.batches == 2 else losses,
                closure=lambda data=data: net.losses(*data),
                validation=lambda: net.losses(*other),
            )
            near(weights_of(step), gains / gains.sum(), 1e-6)

    def test_a_metric_of_ones_own(self):
        """What the closure returns may hold more than the losses of the step."""
        plane = Plane()

        def closure():
            return {**plane.losses(), "distance": (plane.theta[1] - 2.5).abs().item()}

        step = polytask.HydaLearn(
            "main", look_ahead="exact", metric=lambda found: found["distance"], inner_lr=0.1
        ).backward(plane.losses(), shared=[plane.theta], closure=closure)
        near(weights_of(step), [0.0, 0.0, 0.0, 1.0])  # the only one that raises the coordinate

    def test_needs_are_those_of_the_form(self):
        assert polytask.HydaLearn.statistic_kind == "gramian"
        assert polytask.HydaLearn.needs == ()
        plane = Plane()
        want = {"same": "the same losses of the same batch", "validation": "held-out data"}
        for where, words in want.items():
            with pytest.raises(UserError, match=words):
                polytask.HydaLearn(look_ahead="exact", evaluate=where).backward(plane.losses())
        with pytest.raises(UserError, match="needs batches"):
            polytask.HydaLearn(evaluate="next").backward(plane.losses())
        with pytest.raises(UserError, match="the losses of the first of the batches"):
            polytask.HydaLearn(look_ahead="exact", evaluate="next").backward([plane.losses()] * 2)


class TestAbsent:
    def helpers(self, **options):
        plane = Plane()
        balancer = polytask.HydaLearn("main", inner_lr=0.1, **options)
        given = {"closure": plane.losses, "validation": plane.losses}
        balancer.backward(plane.losses(), shared=[plane.theta], **given)
        left = {t: x for t, x in plane.losses().items() if t != "main"}
        return balancer.backward(left, shared=[plane.theta], **given)

    @pytest.mark.parametrize("look_ahead", ["first_order", "exact"])
    def test_a_step_without_the_main_task(self, look_ahead):
        step = self.helpers(look_ahead=look_ahead)
        assert step.tasks == ("h0", "h1", "h2")
        near(weights_of(step), [0.0, 0.0, 0.0])

    @pytest.mark.parametrize("look_ahead", ["first_order", "exact"])
    @pytest.mark.parametrize("normalise", ["sum", "main"])
    def test_held_out_data_judges_the_helpers_all_the_same(self, look_ahead, normalise):
        step = self.helpers(look_ahead=look_ahead, evaluate="validation", normalise=normalise)
        near(weights_of(step), [1.0, 0.0, 0.0], 1e-6)

    @pytest.mark.parametrize("look_ahead", ["first_order", "exact"])
    def test_held_out_data_without_the_main_task(self, look_ahead):
        plane = Plane()
        step = polytask.HydaLearn("main", look_ahead, "validation").backward(
            plane.losses(),
            shared=[plane.theta],
            closure=plane.losses,
            validation=lambda: {"h0": plane.losses()["h0"]},
        )
        near(weights_of(step), [1.0, 0.0, 0.0, 0.0])

    def test_the_judged_batch_without_the_main_task(self):
        plane = Plane((1.0, 0.0))

        def other():
            return {"h0": plane.losses()["h0"]}

        step = polytask.HydaLearn("main", "exact", "next").backward(
            [other(), plane.losses()], shared=[plane.theta], closure=other
        )
        near(weights_of(step), [1.0, 0.0])

    def test_alone_it_takes_a_plain_step(self):
        net, batch = small_net(), small_batch()

        def one():
            return {"a": net.losses(*batch)["a"]}

        for form in FORMS:
            balancer = polytask.HydaLearn("a", **form)
            given = [one(), one()] if balancer.batches == 2 else one()
            step = balancer.backward(given, closure=one, validation=one)
            near(weights_of(step), [1.0])


class TestWrongUse:
    @pytest.mark.parametrize("form", FORMS, ids=str)
    def test_a_loss_that_is_not_finite(self, form):
        plane = Plane((1.0, 0.0), (0.0, 1.0))

        def spoiled():
            found = plane.losses()
            return {**found, "h1": found["h1"] * float("nan")}

        def run(**options):
            balancer = polytask.HydaLearn("main", inner_lr=0.1, **form, **options)
            losses = [plane.losses(), spoiled()] if balancer.batches == 2 else spoiled()
            return balancer.backward(
                losses, shared=[plane.theta], closure=plane.losses, validation=plane.losses
            )

        with pytest.raises(NonFiniteError, match="h1"):
            run()
        assert plane.theta.grad is None
        step = run(non_finite="skip_task")
        assert step.tasks == ("main", "h0")
        assert torch.isfinite(plane.theta.grad).all()

    def test_the_main_loss_is_not_finite(self):
        plane = Plane((1.0, 0.0))

        def spoiled():
            return {**plane.losses(), "main": plane.losses()["main"] * float("inf")}

        for options in ({}, {"look_ahead": "exact"}):
            with pytest.raises(NonFiniteError, match="'main'"):
                polytask.HydaLearn("main", **options).backward(
                    spoiled(), shared=[plane.theta], closure=spoiled
                )
        balancer = polytask.HydaLearn("main", look_ahead="exact", non_finite="skip_task")
        balancer.backward(plane.losses(), shared=[plane.theta], closure=plane.losses)
        step = balancer.backward(spoiled(), shared=[plane.theta], closure=spoiled)
        assert step.tasks == ("h0",)
        near(weights_of(step), [0.0])

    def test_a_gain_that_is_not_finite_is_named_or_skipped(self):
        """A step so long that the main loss overflows behind it."""
        plane = Plane((1.0, 0.0), (1e200, 0.0))

        def run(**options):
            return polytask.HydaLearn("main", look_ahead="exact", **options).backward(
                plane.losses(), shared=[plane.theta], closure=plane.losses
            )

        with pytest.raises(NonFiniteError, match="gain of a virtual step on the loss of task 'h1'"):
            run()
        assert run(non_finite="skip_task").tasks == ("main", "h0")

    @pytest.mark.parametrize("look_ahead", ["first_order", "exact"])
    def test_held_out_data_that_is_not_finite(self, look_ahead):
        plane = Plane()
        with pytest.raises(NonFiniteError, match=r"validation loss of|judged by is inf"):
            polytask.HydaLearn("main", look_ahead, "validation").backward(
                plane.losses(),
                shared=[plane.theta],
                closure=plane.losses,
                validation=lambda: {"main": plane.theta.sum() * float("inf")},
            )
        assert plane.theta.grad is None

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"look_ahead": "second"}, "look_ahead must be one of 'first_order', 'exact'"),
            ({"evaluate": "test"}, "evaluate must be one of"),
            ({"normalise": "max"}, "normalise must be one of"),
            ({"inner_lr": 0.0}, "inner_lr must be positive"),
            ({"smooth_gains": 1.0}, "below 1"),
            ({"smooth_gains": -0.1}, "at least 0"),
            ({"metric": len}, "needs look_ahead='exact'"),
            ({"look_ahead": "exact", "statistic": "tail"}, "reads gains of virtual steps only"),
            ({"look_ahead": "exact", "groups": "separate"}, "reads the Gramian"),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(UserError, match=message):
            polytask.HydaLearn(**options)

    def test_an_exact_look_has_no_bare_gramian(self):
        with pytest.raises(UserError, match="does not decide from a Gramian"):
            polytask.HydaLearn(look_ahead="exact").weights(torch.eye(2))


class Rows:
    """Batches that count how often they are asked for one."""

    def __init__(self, batches):
        self.batches, self.drawn = batches, 0

    def __iter__(self):
        for batch in self.batches:
            self.drawn += 1
            yield batch

    def __len__(self):
        return len(self.batches)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_trainer_supplies_what_the_form_needs(form):
    """And one held-out batch a step, however often a step looks at it."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    inputs = torch.tensor(x, dtype=torch.float32) * 20
    targets = {
        "progress": torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32),
        "pressure": inputs[:, 3],
    }
    tasks = {name: Task(name, "regression") for name in targets}
    encoder = nn.Sequential(nn.Linear(9, 16), nn.BatchNorm1d(16), nn.ReLU())
    encoder.output_size = 16
    model = polytask.create_architecture("hard_sharing", encoder=encoder, tasks=tasks)
    x = torch.cat([inputs[:, :3], inputs[:, 4:]], dim=1)
    held_out = Rows(Batches({"x": x[300:]}, {t: v[300:] for t, v in targets.items()}, 16))
    trainer = Trainer(
        model,
        tasks,
        method=polytask.HydaLearn("progress", inner_lr=0.1, **form),
        epochs=2,
        batch_size=50,
        lr=1e-2,
        progress=False,
    )
    train = Batches({"x": x[:300]}, {t: v[:300] for t, v in targets.items()}, 50)
    history = trainer.fit(train, held_out)
    steps = 6 if form["evaluate"] == "next" else 12
    assert trainer.state.step == steps
    looked = steps if form["evaluate"] == "validation" else 0
    assert (held_out.drawn - looked) % len(held_out) == 0  # the rest is evaluation, whole passes
    weights = [history.series(f"weight/{t}") for t in tasks]
    assert all(a + b <= 1 + 1e-6 for a, b in zip(*weights, strict=True))
    losses = history.series("train/progress/loss")
    assert losses[-1] < losses[0]
