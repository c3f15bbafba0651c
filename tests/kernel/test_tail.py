"""The tail within a budget: exact on the units it says it read, and no dearer than allowed."""

import pytest
import torch
from torch import nn

import polytask
from polytask.kernel.graph import latest_first
from polytask.kernel.problem import pose
from polytask.kernel.tail import layer_of, plan_tail, tail_entry


def linear(tasks, dims=2):
    trunk = nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 32), nn.ReLU())
    x = torch.randn(20, 6, dtype=torch.float64) if dims == 2 else torch.randn(5, 4, 6).double()
    return _make(trunk, x, 32, tasks, lambda h: h if dims == 2 else h.mean(dim=1))


def convolution(tasks):
    trunk = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
    )
    x = torch.randn(6, 2, 8, 8, dtype=torch.float64)
    return _make(trunk, x, 16, tasks, lambda h: h.mean(dim=(2, 3)))


NETS = {
    "linear": linear,
    "linear on sequences": lambda tasks: linear(tasks, dims=3),
    "convolution": convolution,
}


def _make(trunk, x, width, tasks, pool):
    torch.manual_seed(0)
    for module in trunk.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    trunk = trunk.double()
    heads = nn.ModuleList(nn.Linear(width, 1) for _ in range(tasks)).double()

    def forward():
        h = pool(trunk(x))
        return {f"t{i}": head(h).square().mean() for i, head in enumerate(heads)}, h

    return trunk, forward


@pytest.mark.parametrize("pass_features", [False, True])
@pytest.mark.parametrize("net", NETS)
def test_part_of_a_layer_is_the_exact_gramian_of_those_units(net, pass_features):
    trunk, forward = NETS[net](40)
    balancer = polytask.create_method("mgda", budget=0.1)
    for turn in range(3):
        losses, h = forward()
        last = trunk[2]
        units = last.weight.shape[0]
        step = balancer.backward(losses, features=h if pass_features else None)
        count = int(step.statistic.split()[1])
        assert 4 <= count < units
        assert f"{count} of {units} units" in step.statistic
        chosen = (torch.arange(count) * units // count + turn) % units
        losses, _ = forward()
        rows = []
        for loss in losses.values():
            weight, bias = torch.autograd.grad(loss, [last.weight, last.bias], retain_graph=True)
            rows.append(torch.cat([weight[chosen].flatten(), bias[chosen]]))
        jacobian = torch.stack(rows)
        torch.testing.assert_close(step.gramian, jacobian @ jacobian.T, rtol=1e-6, atol=1e-14)


def test_few_tasks_get_the_layers_whole():
    _, forward = linear(2)
    step = polytask.create_method("mgda", budget=3.0).backward(forward()[0])
    assert step.statistic.startswith("tail, depth 2")
    step = polytask.create_method("mgda", budget=1.0).backward(forward()[0])
    assert step.statistic.startswith("tail, depth 1")


def test_a_depth_that_is_named_is_read_whole_whatever_it_costs():
    _, forward = linear(40)
    step = polytask.create_method("mgda", depth=2).backward(forward()[0])
    assert step.statistic.startswith("tail, depth 2")


@pytest.mark.parametrize("budget", [0.05, 0.2, 0.5, 2.0])
@pytest.mark.parametrize("tasks", [2, 8, 40])
def test_the_plan_stays_within_its_budget(tasks, budget):
    """Counted in multiply-adds, but for the fewest units that a Gramian needs."""
    trunk = nn.Sequential(nn.Linear(128, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU())
    h = trunk(torch.randn(64, 128))
    losses = {str(i): h.square().mean() * i for i in range(1, tasks + 1)}
    problem = pose(losses)
    entry = tail_entry(problem, [h])
    layers = [layer for node in latest_first(entry) if (layer := layer_of(node))]
    assert [layer.macs for layer in layers] == [64 * 512 * 512, 64 * 128 * 512]
    step = 3 * sum(layer.macs for layer in layers)
    plan = plan_tail(problem, entry, 2, budget, set())
    cost = tasks * sum(layer.macs for layer in layers[: plan.depth])
    cost += tasks * sum(layer.macs for layer in layers[: plan.depth - 1])
    if plan.units is not None:
        cost = tasks * layers[0].macs * plan.units / layers[0].units
    assert cost <= budget * step or plan.units == 4


def test_a_fresh_balancer_goes_on_where_the_saved_one_stood():
    _, forward = linear(40)
    first = polytask.create_method("mgda", budget=0.1)
    for _ in range(3):
        first.backward(forward()[0])
    second = polytask.create_method("mgda", budget=0.1)
    second.load_state_dict(first.state_dict())
    one, two = (b.backward(forward()[0]) for b in (first, second))
    assert torch.equal(one.gramian, two.gramian)


def test_a_frozen_last_layer_is_not_measured_by_unit():
    trunk, forward = linear(40)
    trunk[2].requires_grad_(False)
    step = polytask.create_method("mgda", budget=0.1).backward(forward()[0])
    assert step.statistic.startswith("tail, depth 1")
    assert float(step.gramian.trace()) > 0
