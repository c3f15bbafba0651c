"""The one backward pass: against gradients computed task by task with plain autograd."""

import pytest
import torch
from nets import NETS, expected, gradients, mlp, multi_depth, task_gradients
from torch import nn

import polytask
from polytask.errors import NonFiniteError, UserError

WEIGHTS = [0.3, -1.2, 0.0, 2.0]


@pytest.mark.parametrize("heads", ["plain", "weighted"])
@pytest.mark.parametrize("statistic", ["features", "tail", "exact"])
@pytest.mark.parametrize("pass_features", [False, True])
@pytest.mark.parametrize("net_name", NETS)
def test_gradients_are_those_of_the_weights(net_name, pass_features, statistic, heads):
    net, forward = NETS[net_name]()
    rows = task_gradients(net, forward)
    weights = dict(zip(rows, WEIGHTS, strict=False))
    losses, h = forward()
    chosen = torch.tensor(list(weights.values()), dtype=torch.float64)
    balancer = polytask.as_balancer(lambda g: chosen, heads=heads, statistic=statistic)
    features = h if pass_features else None
    if statistic == "features" and features is None and net_name == "multi_depth":
        with pytest.raises(UserError, match="several depths"):
            balancer.backward(losses)
        return
    step = balancer.backward(losses, features=features)
    want = expected(net, rows, weights, heads)
    have = gradients(net)
    assert have.keys() == want.keys()
    for name in want:
        torch.testing.assert_close(have[name], want[name], rtol=1e-6, atol=1e-9, msg=name)
    assert {t: float(w) for t, w in step.weights.items()} == pytest.approx(weights)


@pytest.mark.parametrize("net_name", NETS)
def test_exact_gramian_is_that_of_all_shared_parameters(net_name):
    net, forward = NETS[net_name]()
    rows = task_gradients(net, forward)
    tasks = list(rows)
    shared = [n for n, _ in net.named_parameters() if sum(n in rows[t] for t in tasks) > 1]
    jacobian = torch.stack(
        [
            torch.cat(
                [
                    rows[t].get(n, torch.zeros_like(p)).reshape(-1)
                    for n, p in net.named_parameters()
                    if n in shared
                ]
            )
            for t in tasks
        ]
    )
    step = polytask.create_method("pcgrad", statistic="exact").backward(forward()[0])
    torch.testing.assert_close(step.gramian, jacobian @ jacobian.T, rtol=1e-6, atol=1e-12)
    assert "exact" in step.statistic


def test_tail_reads_the_last_layers_and_says_so():
    net, forward = mlp()
    rows = task_gradients(net, forward)
    named = ["layers.1.weight", "layers.1.bias", "layers.2.weight", "layers.2.bias"]
    jacobian = torch.stack([torch.cat([rows[t][n].reshape(-1) for n in named]) for t in rows])
    step = polytask.create_method("mgda", statistic="tail", depth=2).backward(forward()[0])
    torch.testing.assert_close(step.gramian, jacobian @ jacobian.T, rtol=1e-6, atol=1e-12)
    assert step.statistic == f"tail, depth 2 ({jacobian.shape[1]} numbers)"


def test_features_are_flattened_over_the_batch_never_summed():
    _, forward = mlp()
    losses, h = forward()
    rows = torch.stack([torch.autograd.grad(x, h, retain_graph=True)[0] for x in losses.values()])
    flat = rows.reshape(3, -1)
    step = polytask.create_method("mgda", statistic="features").backward(losses, features=h)
    torch.testing.assert_close(step.gramian, flat @ flat.T, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("how", ["left out", "count 0"])
def test_an_absent_task_is_removed_from_the_problem(how):
    net, forward = mlp("abc")
    losses, _ = forward()
    balancer = polytask.create_method("mgda", statistic="exact")
    if how == "left out":
        del losses["b"]
        step = balancer.backward(losses)
    else:
        losses["b"] = losses["b"] * 0
        step = balancer.backward(losses, counts={"a": 12, "b": 0, "c": 12})
    assert step.tasks == ("a", "c")
    assert net.heads["b"].weight.grad is None
    pair, _ = forward()
    alone = polytask.create_method("mgda", statistic="exact").backward(
        {t: pair[t] for t in ("a", "c")}
    )
    torch.testing.assert_close(step.gramian, alone.gramian)


def test_one_task_alone_is_an_ordinary_step():
    net, forward = mlp("ab")
    losses, _ = forward()
    losses["a"].backward()
    want = gradients(net)
    for name in polytask.list_methods():
        balancer = polytask.create_method(name, scale="sum")
        if balancer.needs or balancer.statistic_kind == "jacobian":
            continue
        net.zero_grad()
        losses, _ = forward()
        step = balancer.backward({"a": losses["a"]})
        weight = float(step.weights["a"])
        assert weight > 0, name
        for key, value in gradients(net).items():
            torch.testing.assert_close(value, want[key] * weight, rtol=1e-6, atol=1e-12)
        if balancer.statistic_kind == "gramian":
            assert weight == pytest.approx(1.0), name


def test_frozen_parameters_are_left_out_and_thawed_ones_come_back():
    net, forward = mlp()
    net.layers[0].requires_grad_(False)
    balancer = polytask.create_method("mgda", statistic="exact")
    fewer = balancer.backward(forward()[0]).statistic
    net.layers[0].requires_grad_(True)
    balancer.discovery.forget()
    assert balancer.backward(forward()[0]).statistic != fewer


def test_a_fully_frozen_trunk_is_refused():
    net, forward = mlp()
    net.layers.requires_grad_(False)
    with pytest.raises(UserError, match="share none that require a gradient"):
        polytask.create_method("pcgrad").backward(forward()[0])


def test_a_cached_discovery_survives_a_new_model():
    balancer = polytask.create_method("mgda")
    balancer.backward(mlp(seed=0)[1]()[0])
    _, forward = mlp(seed=1)
    step = balancer.backward(forward()[0])
    fresh = polytask.create_method("mgda").backward(forward()[0])
    torch.testing.assert_close(step.gramian, fresh.gramian)


def test_gradients_accumulate_as_with_backward():
    net, forward = mlp()
    balancer = polytask.create_method("linear")
    balancer.backward(forward()[0])
    once = gradients(net)
    balancer.backward(forward()[0])
    for name, value in gradients(net).items():
        torch.testing.assert_close(value, 2 * once[name])


def test_shared_can_be_named():
    net, forward = mlp()
    found = polytask.create_method("mgda", statistic="exact").backward(forward()[0])
    named = polytask.create_method("mgda", statistic="exact").backward(
        forward()[0], shared=net.layers
    )
    torch.testing.assert_close(found.gramian, named.gramian)
    tail = polytask.create_method("mgda", statistic="tail").backward(
        forward()[0], shared=net.layers
    )
    assert tail.statistic.startswith("tail")
    assert tail.gramian.trace() < named.gramian.trace()


@pytest.mark.parametrize("scale", [2.0**-20, 2.0**16])
def test_decisions_do_not_depend_on_the_loss_scale(scale):
    class Scaler:
        def get_scale(self):
            return scale

    net, forward = mlp()
    plain = polytask.create_method("mgda", statistic="exact").backward(forward()[0])
    want = gradients(net)
    net.zero_grad()
    losses, h = forward()
    scaled = polytask.create_method("mgda", statistic="exact").backward(
        losses, features=h, scaler=Scaler()
    )
    torch.testing.assert_close(scaled.gramian, plain.gramian)
    for name, value in gradients(net).items():
        torch.testing.assert_close(value, want[name] * scale)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_non_finite_loss_is_named_and_nothing_is_updated(bad):
    net, forward = mlp()
    losses, _ = forward()
    losses["b"] = losses["b"] * bad
    with pytest.raises(NonFiniteError, match="loss of task 'b'"):
        polytask.create_method("mgda").backward(losses)
    assert not gradients(net)


def test_a_non_finite_gradient_is_named():
    net, forward = mlp()
    losses, h = forward()
    losses["c"] = losses["c"] + 0 * (h * 0).abs().sqrt().sum()
    with pytest.raises(NonFiniteError, match="gradient of task 'c'"):
        polytask.create_method("mgda").backward(losses)
    assert not gradients(net)


def test_skip_task_leaves_the_bad_task_out():
    net, forward = mlp()
    losses, _ = forward()
    losses["b"] = losses["b"] * float("nan")
    step = polytask.create_method("mgda", non_finite="skip_task").backward(losses)
    assert step.tasks == ("a", "c")
    assert all(torch.isfinite(g).all() for g in gradients(net).values())
    with pytest.raises(UserError, match="no task of this step"):
        polytask.create_method("mgda", non_finite="skip_task").backward(
            {"a": forward()[0]["a"] * float("nan")}
        )


def test_hooks_are_gone_after_the_step():
    _, forward = multi_depth()
    losses, _ = forward()
    torch.stack(list(losses.values())).sum().backward(retain_graph=True)
    balancer = polytask.as_balancer(lambda g: torch.zeros(len(g)))
    roots = [x.grad_fn for x in losses.values()]
    balancer.backward(losses)
    assert roots  # kept alive: a second pass over the same nodes must see no hook
    net, forward = multi_depth()
    losses, _ = forward()
    torch.stack(list(losses.values())).sum().backward()
    assert net.layers[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({}, "no task has a loss"),
        (torch.tensor(1.0), "must be a dict"),
        ({"a": 1.0}, "must be a scalar tensor.*found float"),
        ({"a": [torch.ones((), requires_grad=True) * 2, 1.0]}, "found float in the list"),
        ({"a": []}, "is empty"),
        ({"a": torch.ones(3, requires_grad=True) * 2}, r"found \(3,\)"),
        ({"a": torch.tensor(1.0)}, "carries no gradient"),
    ],
)
def test_losses_are_checked(losses, message):
    with pytest.raises(UserError, match=message):
        polytask.create_method("linear").backward(losses)


def test_a_reentrant_checkpoint_is_refused_with_the_remedy():
    net, _ = mlp()
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    trunk = nn.Sequential(net.layers[0], nn.Tanh(), net.layers[1])
    h = torch.utils.checkpoint.checkpoint(trunk, x, use_reentrant=True)
    losses = {t: net.heads[t](h).mean() for t in "ab"}
    with pytest.raises(UserError, match="use_reentrant=False"):
        polytask.create_method("pcgrad").backward(losses)


def test_losses_that_overlap_are_weighted_too():
    net, forward = mlp("ab")
    rows = task_gradients(net, forward)
    losses, _ = forward()
    losses["b"] = losses["a"] + losses["b"]
    weights = torch.tensor([2.0, 0.5], dtype=torch.float64)
    polytask.as_balancer(lambda g: weights, statistic="exact").backward(losses)
    want = 2.5 * rows["a"]["layers.0.weight"] + 0.5 * rows["b"]["layers.0.weight"]
    torch.testing.assert_close(net.layers[0].weight.grad, want)
