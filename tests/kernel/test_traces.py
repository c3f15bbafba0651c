"""What a step leaves behind (no graph, no rows) and what of autograd it may be mixed with."""

import gc
import weakref

import pytest
import torch
from nets import NETS, gradients, mlp
from torch import nn
from zoo import ZOO

import polytask
from polytask.errors import UserError
from polytask.kernel.gradients import explained


@pytest.mark.parametrize("options", [{}, {"statistic": "exact"}, {"statistic": "features"}])
@pytest.mark.parametrize("method", ["mgda", "pcgrad", "linear"])
def test_a_step_keeps_no_graph_alive(method, options):
    if method == "linear" and options:
        return
    _, forward = mlp()
    balancer = polytask.create_method(method, **options)
    for _ in range(2):
        losses, z = forward()
        watched = [weakref.ref(x) for x in [*losses.values(), z]]
        step = balancer.backward(losses, features=z)
        del losses, z
        gc.collect()
        assert [ref() for ref in watched] == [None] * len(watched)
    held = [x for x in vars(balancer.discovery).values() if isinstance(x, dict)]
    leaves = [p for entry in held for v in entry.values() if isinstance(v, list | set) for p in v]
    assert all(p.is_leaf for p in leaves)
    tensors = [*step.weights.values(), *step.losses.values()]
    assert all(tensor.grad_fn is None for tensor in tensors)


def test_inputs_that_require_a_gradient_are_not_kept():
    net, forward = ZOO["physics"]()
    for options in ({"statistic": "exact"}, {"groups": "separate"}):
        balancer = polytask.create_method("mgda", **options)
        one, two = (balancer.backward(forward()[0]).gramian for _ in range(2))
        if one is not None:
            torch.testing.assert_close(one, two)
        found = [*balancer.discovery.cache.values(), *balancer.discovery.by_users.values()]
        lists = [x for f in found for x in (f.values() if isinstance(f, dict) else [f])]
        names = {id(p) for p in net.parameters()}
        assert all(id(p) in names for some in lists for p in some)


@pytest.mark.parametrize("heads", ["plain", "weighted"])
@pytest.mark.parametrize("statistic", ["features", "tail", "exact"])
def test_hooks_fire_once_with_the_final_gradient(statistic, heads):
    net, forward = mlp()
    chosen = torch.tensor([0.5, 2.0, -1.0], dtype=torch.float64)
    balancer = polytask.as_balancer(lambda g: chosen, statistic=statistic, heads=heads)
    seen: dict[str, list] = {}
    handles = [
        p.register_hook(lambda g, n=n: seen.setdefault(n, []).append(g.clone()))
        for n, p in net.named_parameters()
    ]
    losses, z = forward()
    if statistic == "features":
        z.register_hook(lambda g: seen.setdefault("z", []).append(g.clone()))
    wanted = torch.autograd.grad(
        sum(w * x for w, x in zip(chosen, losses.values(), strict=True)), z, retain_graph=True
    )[0]
    seen.clear()
    balancer.backward(losses, features=z)
    assert {name: len(calls) for name, calls in seen.items()} == dict.fromkeys(seen, 1)
    if statistic == "features":
        torch.testing.assert_close(seen.pop("z")[0], wanted)
    have = gradients(net)
    assert seen.keys() == have.keys()
    for name, (value,) in seen.items():
        torch.testing.assert_close(value, have[name])
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("statistic", ["features", "tail", "exact"])
def test_a_hook_on_features_changes_what_the_trunk_receives(statistic):
    """As gradient reversal does."""
    net, forward = mlp()
    options = {"statistic": statistic, "depth": 1}
    polytask.create_method("mgda", **options).backward(forward()[0])
    plain = gradients(net)
    net.zero_grad()
    losses, z = forward()
    z.register_hook(lambda g: -g)
    polytask.create_method("mgda", **options).backward(losses, features=z)
    for name, value in gradients(net).items():
        sign = -1 if name.startswith("layers") else 1
        torch.testing.assert_close(value, sign * plain[name])


def test_several_losses_of_a_task_are_one():
    net, forward = mlp("abc")
    losses = forward()[0]
    joined = {"a": losses["a"] + losses["b"], "c": losses["c"]}
    want = polytask.create_method("mgda", statistic="exact").backward(joined)
    plain = gradients(net)
    net.zero_grad()
    losses = forward()[0]
    several = {"a": [losses["a"], losses["b"].reshape(1)], "c": (losses["c"],)}
    step = polytask.create_method("mgda", statistic="exact").backward(several)
    torch.testing.assert_close(step.gramian, want.gramian)
    for name, value in gradients(net).items():
        torch.testing.assert_close(value, plain[name])
    assert float(step.losses["a"]) == pytest.approx(float(want.losses["a"]))


def test_a_look_ahead_takes_several_losses_too():
    net, forward = mlp("abc")

    def losses():
        found = forward()[0]
        return {"a": [found["a"], found["b"]], "c": found["c"]}

    balancer = polytask.create_method("famo")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(2):
        step = balancer.backward(losses(), closure=losses)
        optimizer.step()
        balancer.after_step()
    assert set(step.weights) == {"a", "c"}


def test_anomaly_detection_finds_nothing_wrong():
    _, forward = mlp()
    with torch.autograd.set_detect_anomaly(True):
        for statistic in ("features", "tail", "exact"):
            polytask.create_method("mgda", statistic=statistic).backward(forward()[0])


def test_two_batches_accumulate_into_buffers_that_stay():
    """With zero_grad(set_to_none=False) and one optimizer for the trunk, one for the heads."""
    net, forward = mlp()
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (net.layers, net.heads)]
    balancer = polytask.as_balancer(lambda g: torch.ones(len(g)), statistic="exact")
    balancer.backward(forward()[0])
    once = gradients(net)
    buffers = {n: p.grad for n, p in net.named_parameters()}
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=False)
    for _ in range(2):
        balancer.backward(forward()[0])
    for name, parameter in net.named_parameters():
        assert parameter.grad is buffers[name]
        torch.testing.assert_close(parameter.grad, 2 * once[name])
    before = net.heads["a"].weight.detach().clone()
    for optimizer in optimizers:
        optimizer.step()
    assert not torch.equal(before, net.heads["a"].weight)


def test_a_graph_used_twice_is_explained():
    _, forward = mlp()
    losses, _ = forward()
    polytask.create_method("mgda").backward(losses)
    for method in ("mgda", "linear"):
        with pytest.raises(UserError, match="retain_graph=True"):
            polytask.create_method(method).backward(losses)


def test_donated_buffers_are_explained():
    with pytest.raises(UserError, match="donated_buffer = False"), explained():
        raise RuntimeError("This backward function was compiled with non-empty donated buffers")
    with pytest.raises(RuntimeError, match="something else"), explained():
        raise RuntimeError("something else")


class HalfTrunk(nn.Module):
    """A float16 representation whose gradients underflow without a loss scale."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Linear(5, 8)
        self.heads = nn.ModuleDict({t: nn.Linear(8, 1) for t in "ab"})

    def forward(self, x):
        z = torch.tanh(self.trunk(x)).half()
        return {t: 1e-6 * (h(z.float()) - 1).square().mean() for t, h in self.heads.items()}, z


@pytest.mark.parametrize("statistic", ["features", "tail", "exact"])
def test_a_float16_representation_keeps_its_gradient_under_a_scale(statistic):
    class Scaler:
        def get_scale(self):
            return 2.0**16

    torch.manual_seed(0)
    net, x = HalfTrunk(), torch.randn(64, 5)
    weights = torch.tensor([0.5, 1.5], dtype=torch.float64)
    losses, z = net(x)
    total = sum(w * x for w, x in zip(weights.float(), losses.values(), strict=True))
    (total * 2.0**16).backward(retain_graph=True)
    want = net.trunk.weight.grad.clone()
    net.zero_grad()
    balancer = polytask.as_balancer(lambda g: weights, statistic=statistic)
    balancer.backward(losses, features=z, scaler=Scaler())
    torch.testing.assert_close(net.trunk.weight.grad, want, rtol=0.01, atol=1e-4)


@pytest.mark.parametrize("net_name", ["mlp", "multi_depth", "transformer"])
def test_shared_parameters_come_in_the_order_of_the_forward_pass(net_name):
    net, forward = NETS[net_name]()
    names = {id(p): n for n, p in net.named_parameters()}
    orders = []
    tasks = list(forward()[0])
    for present in (tasks, tasks[::-1], tasks[-2:]):
        losses = forward()[0]
        balancer = polytask.create_method("mgda", statistic="exact")
        balancer.backward({t: losses[t] for t in present})
        (found,) = balancer.discovery.cache.values()
        orders.append([names[id(p)] for p in found])
    assert orders[0] == orders[1]
    assert (
        orders[2] == [name for name in orders[0] if name in orders[2]] or net_name == "multi_depth"
    )
    assert orders[0][:1] == [next(iter(names.values()))]


def test_what_was_clean_with_the_cut_passed_is_not_with_a_tied_decoder():
    """A parameter behind the cut that one task also reaches around it takes that task's weight."""
    net, forward = ZOO["autoencoder"]()
    balancer = polytask.as_balancer(lambda g: torch.tensor([1.0, 1.0, 0.0]), statistic="exact")
    losses, z = forward()
    balancer.backward(losses, features=z)
    have = net["first"].weight.grad.clone()
    losses, _ = forward()
    want = torch.autograd.grad(losses["a"] + losses["b"], net["first"].weight)[0]
    torch.testing.assert_close(have, want)


@pytest.mark.parametrize("heads", ["plain", "weighted"])
def test_the_exact_statistic_spares_the_last_walk_of_the_trunk(heads):
    """T walks to measure and none to apply; hooks on parameters still fire once."""
    net, forward = mlp()
    walked, fired = [], []
    net.layers[0].weight.register_hook(lambda g: fired.append(g.clone()))
    losses, h = forward()
    h.grad_fn.register_hook(lambda *_: walked.append(1))
    polytask.create_method("mgda", statistic="exact", heads=heads).backward(losses)
    assert len(walked) == len(losses)
    assert len(fired) == 1
    assert torch.equal(fired[0], net.layers[0].weight.grad)


def test_a_layer_thawed_since_the_discovery_gets_its_gradient():
    net, forward = mlp()
    net.layers[0].requires_grad_(False)
    balancer = polytask.create_method("mgda", statistic="exact")
    balancer.backward(forward()[0])
    net.layers[0].requires_grad_(True)
    net.zero_grad()
    balancer.backward(forward()[0])
    assert float(net.layers[0].weight.grad.abs().sum()) > 0
