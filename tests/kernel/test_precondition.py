"""Step sizes of optimizers, and products of gradients in the metric that they form."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from polytask.errors import UserError
from polytask.kernel.cross import cross_gramian
from polytask.kernel.measure import Discovery, measure
from polytask.kernel.precondition import StepSizes
from polytask.kernel.problem import pose

PLAIN = {
    "sgd": (torch.optim.SGD, {}),
    "adam": (torch.optim.Adam, {"betas": (0.0, 0.9)}),
    "adam, slow": (torch.optim.Adam, {"betas": (0.0, 0.999)}),
    "adam, largest": (torch.optim.Adam, {"betas": (0.0, 0.5), "amsgrad": True}),
    "adamw": (torch.optim.AdamW, {"betas": (0.0, 0.99), "weight_decay": 0.0}),
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.9}),
    "rmsprop, centred": (torch.optim.RMSprop, {"alpha": 0.9, "centered": True}),
}
"""Optimizers whose step is their newest gradient times a diagonal."""


def stepped(kind, steps, lr=0.01, seed=0):
    """A parameter after some steps along random gradients; its last move and gradient."""
    draw = torch.Generator().manual_seed(seed)
    parameter = nn.Parameter(torch.randn(5, 3, generator=draw, dtype=torch.float64))
    make, options = PLAIN[kind]
    optimizer = make([parameter], lr=lr, **options)
    for _ in range(steps):
        parameter.grad = torch.randn(5, 3, generator=draw, dtype=torch.float64)
        before = parameter.detach().clone()
        optimizer.step()
    return parameter, optimizer, parameter.detach() - before, parameter.grad


@pytest.mark.parametrize("kind", PLAIN)
@given(steps=st.integers(3, 30), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_it_is_what_the_optimizer_s_own_step_moved_along(kind, steps, seed):
    parameter, optimizer, move, gradient = stepped(kind, steps, seed=seed)
    torch.testing.assert_close(-StepSizes(optimizer)(parameter) * gradient, move)


def test_the_next_step_of_adam_is_the_same_where_its_gradient_is_small():
    parameter, optimizer, _, _ = stepped("adam, slow", 20)
    sizes = StepSizes(optimizer)(parameter)
    before, gradient = parameter.detach().clone(), 1e-6 * torch.randn(5, 3, dtype=torch.float64)
    parameter.grad = gradient
    optimizer.step()
    # Second moments lose a little: those of 20 steps are counted as those of 21.
    lost = (0.999 * (1 - 0.999**20) / (1 - 0.999**21)) ** 0.5
    torch.testing.assert_close(
        before - parameter.detach(), gradient * sizes / lost, rtol=1e-6, atol=0
    )


def test_momentum_and_decay_are_left_out():
    draw = torch.Generator().manual_seed(0)
    parameter = nn.Parameter(torch.randn(4, generator=draw))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9, weight_decay=0.5)
    parameter.grad = torch.randn(4, generator=draw)
    optimizer.step()
    sizes = StepSizes(optimizer)
    assert torch.equal(sizes(parameter), torch.full((4,), 0.1))
    assert sizes.words == "SGD, momentum left out"
    assert sizes.remark is None
    assert StepSizes(torch.optim.SGD([parameter], lr=0.1)).words == "SGD"
    assert StepSizes(torch.optim.AdamW([parameter])).words == "AdamW with its second moments"


def test_groups_have_rates_of_their_own_and_others_are_not_moved():
    one, two, outside = (nn.Parameter(torch.ones(2)) for _ in range(3))
    optimizer = torch.optim.SGD([{"params": [one]}, {"params": [two], "lr": 0.3}], lr=0.1)
    sizes = StepSizes(optimizer)
    found = [sizes(parameter)[0].item() for parameter in (one, two, outside)]
    assert found == pytest.approx([0.1, 0.3, 0.0])
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    assert sizes(two)[0].item() == pytest.approx(0.15)  # the rate of this very step


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.RMSprop])
def test_a_number_that_never_had_a_gradient_counts_as_not_moved(make):
    parameter = nn.Parameter(torch.zeros(3))
    optimizer = make([parameter], lr=0.1)
    for _ in range(3):
        parameter.grad = torch.tensor([1.0, 0.0, -2.0])
        optimizer.step()
    found = StepSizes(optimizer)(parameter)
    assert found[1] == 0
    assert (found[[0, 2]] > 0).all()


@pytest.mark.parametrize("steps", [0, 2])
def test_second_moments_of_too_few_steps_are_refused(steps):
    parameter = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.Adam([parameter])
    for _ in range(steps):
        parameter.grad = torch.ones(3)
        optimizer.step()
    with pytest.raises(UserError, match="second moments of Adam were of fewer than 3 steps"):
        StepSizes(optimizer)(parameter)


class Lion(torch.optim.Optimizer):
    """A step along the sign of the gradient."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})


def test_an_unknown_optimizer_counts_as_plain_and_says_so():
    parameter = nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
    sizes = StepSizes(Lion([parameter], lr=0.1))
    assert sizes(parameter).tolist() == pytest.approx([0.1, 0.1])  # not as bfloat16 has it
    assert "steps of Lion were taken to be the learning rate times the gradient" in sizes.remark


class Turned(nn.Module):
    """A layer whose weight has its units in columns."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 40) / 2)

    def forward(self, x):
        return x @ self.weight


class Reshaped(Turned):
    """A layer whose weight is used in another shape."""

    def forward(self, x):
        return x @ self.weight.view(6, 40).view(40, 6).t()


LAYERS = {
    "linear": lambda: nn.Linear(6, 40),
    "linear without bias": lambda: nn.Linear(6, 40, bias=False),
    "turned": Turned,
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 40, 3), nn.Flatten()
    ),
    "map": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 40, (2, 3)), nn.Flatten()
    ),
}


class Net(nn.Module):
    def __init__(self, layer, tasks=24):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), layer(), nn.Tanh())
        self.heads = nn.ModuleList(nn.Linear(40, 1) for _ in range(tasks))

    def losses(self, x):
        z = self.trunk(x)
        return {f"t{i}": head(z).square().mean() for i, head in enumerate(self.heads)}


@pytest.mark.parametrize("cast", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_columns_name_the_numbers_that_were_read(layer, cast):
    net, x = Net(LAYERS[layer]), torch.randn(16, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=cast):
        problem = pose({task: loss.float() for task, loss in net.losses(x).items()})
    found = measure(problem, "tail", discovery=Discovery(), budget=0.05, turn=3)
    assert "units of the last layer" in found.source
    for loss, row in zip(problem.losses, found.jacobian, strict=True):
        parts = []
        for part in found.columns:
            (slope,) = torch.autograd.grad(loss, [part.parameter], retain_graph=True)
            parts.append(part.of(slope))
        near = {"rtol": 0.05, "atol": 2e-3} if cast else {"rtol": 1e-4, "atol": 1e-7}
        torch.testing.assert_close(torch.cat(parts), row, **near)


def preconditioned(net, halves, statistic, metric, **options):
    return cross_gramian(
        *(lambda half=half: net.losses(half) for half in halves),
        statistic,
        discovery=Discovery(),
        parameters=list(net.parameters()),
        metric=metric,
        **options,
    )


def by_hand(net, halves, parameters, metric):
    """The products, from whole gradients and weights given as tensors by parameter."""
    rows = []
    for half in halves:
        losses = list(net.losses(half).values())
        slopes = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in losses]
        rows.append(torch.stack([torch.cat([s.flatten() for s in slope]) for slope in slopes]))
    weights = torch.cat([metric(p).flatten() for p in parameters])
    one, other = rows
    cross = (one * weights) @ other.T
    return (cross + cross.T) / 2, (one * weights) @ one.T, (other * weights) @ other.T


def weights_of(net, seed=1):
    draw = torch.Generator().manual_seed(seed)
    table = {p: torch.rand(p.shape, generator=draw, dtype=p.dtype) for p in net.parameters()}
    return lambda parameter: table[parameter]


def test_products_in_a_metric_are_those_by_hand():
    net = Net(LAYERS["linear"], tasks=3).double()
    halves = torch.randn(2, 8, 4, dtype=torch.float64)
    metric = weights_of(net)
    found = preconditioned(net, halves, "exact", metric)
    cross, first, second = by_hand(net, halves, list(net.trunk.parameters()), metric)
    torch.testing.assert_close(found.products, cross)
    torch.testing.assert_close(found.within, torch.stack([first, second]))
    losses = torch.stack([torch.stack([*net.losses(half).values()]) for half in halves])
    torch.testing.assert_close(found.losses, losses.detach())
    plain = preconditioned(net, halves, "exact", None)
    ones = preconditioned(net, halves, "exact", torch.ones_like)
    torch.testing.assert_close(ones.products, plain.products)
    torch.testing.assert_close(ones.full_data(0.3), plain.full_data(0.3))


@pytest.mark.parametrize("layer", ["linear", "turned", "map"])
def test_the_metric_is_cut_to_the_units_that_are_read(layer):
    net = Net(LAYERS[layer]).double()
    halves = torch.randn(2, 8, 4, dtype=torch.float64)
    metric = weights_of(net)
    found = preconditioned(net, halves, "tail", metric, budget=0.05, turn=5)
    assert "units of the last layer" in found.source
    read = measure(
        pose(net.losses(halves[0])), "tail", discovery=Discovery(), budget=0.05, turn=5
    ).columns
    kept = {}
    for part in read:
        places = part.of(torch.arange(part.parameter.numel()).reshape(part.parameter.shape))
        kept[part.parameter] = torch.zeros(part.parameter.numel(), dtype=torch.float64)
        kept[part.parameter][places] = 1.0

    def only(parameter):
        return metric(parameter) * kept[parameter].reshape(parameter.shape)

    cross, _, _ = by_hand(net, halves, [part.parameter for part in read], only)
    torch.testing.assert_close(found.products, cross)


def test_a_weight_in_another_shape_is_read_whole():
    net = Net(Reshaped)
    halves = torch.randn(2, 8, 4)
    metric = weights_of(net)
    plain = preconditioned(net, halves, "tail", None, budget=0.05)
    assert "units of the last layer" in plain.source
    found = preconditioned(net, halves, "tail", metric, budget=0.05)
    assert found.source == "tail, depth 1 (270 numbers)"  # for 24 tasks one layer is too few
    cross, _, _ = by_hand(net, halves, list(net.trunk.parameters()), metric)
    torch.testing.assert_close(found.products, cross.double(), rtol=1e-4, atol=1e-6)


def test_a_step_that_is_not_known_is_an_error_not_a_number():
    net = Net(LAYERS["linear"], tasks=2)
    with pytest.raises(UserError, match="fewer than 3 steps"):
        preconditioned(
            net, torch.randn(2, 8, 4), "tail", StepSizes(torch.optim.Adam(net.parameters()))
        )


def test_state_is_read_and_not_changed():
    parameter, optimizer, _, _ = stepped("adam", 5)
    before = copy.deepcopy(optimizer.state_dict())
    StepSizes(optimizer)(parameter)
    after = optimizer.state_dict()
    assert before["param_groups"] == after["param_groups"]
    for key, value in before["state"][0].items():
        assert torch.equal(value, after["state"][0][key]), key
