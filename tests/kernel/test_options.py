"""What every balancer takes: refresh, smooth, audit, transform, groups, row, several batches."""

import pytest
import torch
from nets import NETS, gradients, mlp, multi_depth

import polytask
from polytask.errors import UserError
from polytask.kernel.shift import directional_derivatives, shifted
from polytask.optimization import Balancer


def test_refresh_keeps_the_weights_and_the_first_call_solves():
    _, forward = mlp()
    calls = []
    balancer = polytask.as_balancer(
        lambda g: calls.append(1) or torch.full((len(g),), float(len(calls))), refresh_every=3
    )
    weights = [float(balancer.backward(forward()[0]).weights["a"]) for _ in range(7)]
    assert weights == [1, 1, 1, 2, 2, 2, 3]
    assert len(calls) == 3


def test_refresh_decides_anew_when_other_tasks_are_present():
    _, forward = mlp()
    balancer = polytask.create_method("mgda", refresh_every=10)
    balancer.backward(forward()[0])
    losses = forward()[0]
    del losses["b"]
    step = balancer.backward(losses)
    assert set(step.weights) == {"a", "c"}
    assert float(sum(step.weights.values())) == pytest.approx(1)
    assert step.gramian is not None


def test_refresh_survives_a_checkpoint():
    _, forward = mlp()
    first = polytask.create_method("mgda", refresh_every=4)
    first.backward(forward()[0])
    second = polytask.create_method("mgda", refresh_every=4)
    second.load_state_dict(first.state_dict())
    for _ in range(4):
        one, two = (b.backward(forward()[0]) for b in (first, second))
        assert one.statistic == two.statistic
        assert all(torch.equal(one.weights[t], two.weights[t]) for t in one.weights)


def test_smooth_is_the_running_mean_of_the_gramian():
    net, forward = mlp()
    seen = []
    balancer = polytask.as_balancer(
        lambda g: seen.append(g.clone()) or torch.ones(len(g)), smooth=0.9, statistic="exact"
    )
    raw = []
    for _ in range(3):
        net.zero_grad()
        raw.append(balancer.backward(forward()[0]).gramian)
        with torch.no_grad():
            for p in net.parameters():
                p.sub_(0.1 * p.grad)
    want = raw[0]
    torch.testing.assert_close(seen[0], want)
    for g, smoothed in zip(raw[1:], seen[1:], strict=True):
        want = 0.9 * want + 0.1 * g
        torch.testing.assert_close(smoothed, want)


def test_audit_is_one_for_the_exact_statistic_and_less_for_a_tail():
    _, forward = mlp()
    exact = polytask.create_method("mgda", statistic="exact", audit_every=2)
    assert exact.backward(forward()[0]).audit is None
    audit = exact.backward(forward()[0]).audit
    assert audit == pytest.approx({"cosine": 1.0, "residual_cosine": 1.0})
    tail = polytask.create_method("mgda", statistic="tail", depth=1, audit_every=1)
    audit = tail.backward(forward()[0]).audit
    assert audit["residual_cosine"] < audit["cosine"] < 1


def test_audit_changes_nothing():
    _, forward = mlp()
    plain, audited = (
        polytask.create_method("pcgrad", generator=torch.Generator().manual_seed(0), audit_every=n)
        for n in (0, 1)
    )
    for _ in range(3):
        one, two = (b.backward(forward()[0]).weights for b in (plain, audited))
        assert all(torch.equal(one[t], two[t]) for t in one)


def test_log_transform_divides_each_gradient_by_its_loss():
    net, forward = mlp()
    losses, _ = forward()
    torch.stack([x.log() for x in losses.values()]).sum().backward()
    want = gradients(net)
    net.zero_grad()
    losses, _ = forward()
    values = {t: x.item() for t, x in losses.items()}
    step = polytask.create_method("linear", transform="log").backward(losses)
    for name, value in gradients(net).items():
        torch.testing.assert_close(value, want[name])
    for task, weight in step.weights.items():
        assert float(weight) == pytest.approx(1 / values[task])
    losses = forward()[0]
    losses["b"] = losses["b"] * -1
    with pytest.raises(UserError, match=r"needs positive losses.*'b'"):
        polytask.create_method("linear", transform="log").backward(losses)


def test_log_transform_acts_on_the_gramian_from_both_sides():
    _, forward = mlp()
    losses = forward()[0]
    inverse = torch.tensor([1 / x.item() for x in losses.values()], dtype=torch.float64)
    logs = polytask.create_method("mgda", transform="log", statistic="exact").backward(losses)
    raw = polytask.create_method("mgda", statistic="exact").backward(forward()[0])
    torch.testing.assert_close(logs.gramian, raw.gramian * inverse[:, None] * inverse)


def test_separate_groups_balance_each_set_over_its_tasks():
    net, forward = multi_depth()
    seen = {}

    def decide(g):
        seen[len(g)] = g
        return torch.arange(1.0, len(g) + 1)

    step = polytask.as_balancer(decide, groups="separate").backward(forward()[0])
    assert set(step.groups) == {("a", "b", "c", "d"), ("b", "c", "d"), ("c", "d")}
    have = gradients(net)
    rows = {}
    for task in "abcd":
        net.zero_grad()
        forward()[0][task].backward()
        rows[task] = gradients(net)
    for layer, tasks in ((0, "abcd"), (1, "bcd"), (2, "cd")):
        name = f"layers.{layer}.weight"
        want = sum((i + 1) * rows[t][name] for i, t in enumerate(tasks))
        torch.testing.assert_close(have[name], want, rtol=1e-6, atol=1e-9)
        flat = torch.stack(
            [
                torch.cat([rows[t][n].flatten() for n in (name, f"layers.{layer}.bias")])
                for t in tasks
            ]
        )
        torch.testing.assert_close(seen[len(tasks)], flat @ flat.T, rtol=1e-6, atol=1e-12)
    for task in "abcd":
        torch.testing.assert_close(have[f"heads.{task}.weight"], rows[task][f"heads.{task}.weight"])


@pytest.mark.parametrize("net_name", NETS)
def test_directional_derivatives_equal_the_exact_row(net_name):
    net, forward = NETS[net_name]()
    parameters = list(net.parameters())
    losses = forward()[0]
    vector = [torch.randn_like(p) for p in parameters]
    before = [p.detach().clone() for p in parameters]
    row = directional_derivatives(lambda: forward()[0], list(losses), parameters, vector)
    for p, saved in zip(parameters, before, strict=True):
        assert torch.equal(p, saved)
    for task, value in zip(losses, row.tolist(), strict=True):
        found = torch.autograd.grad(losses[task], parameters, retain_graph=True, allow_unused=True)
        exact = sum(
            float((v * g).sum()) for v, g in zip(vector, found, strict=True) if g is not None
        )
        assert value == pytest.approx(exact, rel=2e-3, abs=1e-5)


def test_a_look_ahead_restores_buffers_and_randomness():
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5))
    x = torch.randn(8, 3)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    torch.manual_seed(5)
    want = torch.rand(4)
    torch.manual_seed(5)
    masks = []
    for _ in range(2):
        with shifted(list(net.parameters()), [torch.ones_like(p) for p in net.parameters()], net):
            masks.append(net(x) == 0)
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(torch.rand(4), want)
    for key, value in net.state_dict().items():
        assert torch.equal(value, state[key]), key


class CrossSum(Balancer):
    """A method that reads two independent batches and steps on a third."""

    statistic_kind = "cross"
    needs = ("batches",)
    batches = 3

    def decide(self, statistic):
        self.seen = statistic.need_cross()
        return torch.ones(len(statistic), dtype=torch.float64)


class MainRow(Balancer):
    """A method that reads the products of the first task's gradient with every other."""

    statistic_kind = "row"
    needs = ("closure",)

    def row_vector(self, problem, parameters, closure, validation):
        return torch.autograd.grad(problem.losses[0], parameters, retain_graph=True)

    def decide(self, statistic):
        self.seen = statistic.need_row()
        return torch.ones(len(statistic), dtype=torch.float64)


class Positive(Balancer):
    """A direction from the Jacobian: only its positive part."""

    statistic_kind = "jacobian"
    default_heads = "plain"

    def decide(self, statistic):
        return statistic.need_jacobian().sum(dim=0).clamp_min(0)


def test_several_batches_give_their_cross_gramian():
    net, forward = mlp()
    other = mlp(seed=0)[1]  # the same data: the cross-Gramian is then the Gramian
    balancer = CrossSum(statistic="exact")
    step = balancer.backward([forward()[0], forward()[0], forward()[0]])
    gramian = polytask.create_method("mgda", statistic="exact").backward(other()[0]).gramian
    torch.testing.assert_close(balancer.seen, gramian)
    assert "two batches" in step.statistic
    assert net.layers[0].weight.grad is not None
    with pytest.raises(UserError, match="losses of n independent batches"):
        balancer.backward(forward()[0])
    with pytest.raises(UserError, match="reads one batch"):
        polytask.create_method("mgda").backward([forward()[0]] * 2)


def test_a_row_equals_the_row_of_the_exact_gramian():
    _, forward = mlp()
    balancer = MainRow()
    balancer.backward(forward()[0], closure=lambda: forward()[0])
    gramian = polytask.create_method("mgda", statistic="exact").backward(forward()[0]).gramian
    torch.testing.assert_close(balancer.seen, gramian[0], rtol=2e-3, atol=1e-6)
    with pytest.raises(UserError, match=r"balancer.backward\(losses, closure=closure\)"):
        balancer.backward(forward()[0])


@pytest.mark.parametrize("pass_features", [False, True])
@pytest.mark.parametrize("statistic", ["features", "exact", "tail"])
def test_a_direction_replaces_what_the_trunk_receives(statistic, pass_features):
    net, forward = mlp()
    losses, h = forward()
    step = Positive(statistic=statistic).backward(losses, features=h if pass_features else None)
    have = gradients(net)
    assert step.weights == {}
    net.zero_grad()
    losses, h = forward()
    total = sum(losses.values())
    if statistic == "features":
        at_cut = torch.autograd.grad(total, h, retain_graph=True)[0]
        h.backward(at_cut.clamp_min(0), retain_graph=True)
        reached = [n for n in have if n.startswith("layers")]
    else:
        total.backward(retain_graph=True)
        for p in net.parameters():
            p.grad = p.grad.clamp_min(0)
        reached = [
            n for n in have if n.startswith("layers" if statistic == "exact" else "layers.2")
        ]
    for name, value in gradients(net).items():
        if name in reached:
            torch.testing.assert_close(have[name], value, rtol=1e-6, atol=1e-9)
    head = torch.autograd.grad(sum(forward()[0].values()), net.heads["a"].weight)[0]
    torch.testing.assert_close(have["heads.a.weight"], head)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"refresh_every": 0}, "refresh_every must be at least 1"),
        ({"smooth": 1.0}, "smooth must be"),
        ({"transform": "sqrt"}, "transform must be one of"),
        ({"groups": "each"}, "groups must be one of"),
        ({"audit_every": -1}, "audit_every must be at least 0"),
        ({"non_finite": "ignore"}, "non_finite must be one of"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(UserError, match=message):
        polytask.create_method("mgda", **options)


def test_separate_groups_are_for_gramian_methods():
    with pytest.raises(UserError, match="reads the Gramian"):
        polytask.create_method("rlw", groups="separate")
