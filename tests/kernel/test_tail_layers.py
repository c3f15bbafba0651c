"""Which layers the tail reads by unit, and which whole, against plain autograd."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import polytask

TASKS = 40


class Product(nn.Module):
    """x @ W with a bare parameter."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) / inputs)

    def forward(self, x):
        return x @ self.weight


def conv(dims, *shape, **options):
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    return kind(2, 16, 3, **options), (4, 2, *shape)


LAYERS = {
    "linear": (nn.Linear(6, 32), (20, 6)),
    "linear without bias": (nn.Linear(6, 32, bias=False), (20, 6)),
    "linear on sequences without bias": (nn.Linear(6, 32, bias=False), (5, 4, 6)),
    "product": (Product(6, 32), (20, 6)),
    "conv1d": conv(1, 9, padding=1),
    "conv2d strided and dilated": conv(2, 9, 8, stride=(2, 1), dilation=(1, 2), padding=(0, 2)),
    "conv2d without bias": conv(2, 6, 6, bias=False),
    "conv2d same padding": (nn.Conv2d(2, 16, (1, 3), padding="same"), (4, 2, 6, 6)),
    "conv3d": conv(3, 5, 5, 5, padding=1, stride=2),
}


def build(layer, shape, after=lambda h: h, around=None):
    """A layer below `TASKS` heads; x requires no gradient."""
    torch.manual_seed(0)
    layer = layer.double()
    x = torch.randn(shape, dtype=torch.float64)
    call = around or (lambda module, value: module(value))
    with torch.no_grad():
        width = layer(x).shape
    channel = 1 if len(shape) > 2 and not isinstance(layer, nn.Linear) else len(width) - 1
    mixes = torch.randn(TASKS, width[channel], dtype=torch.float64)

    def forward():
        h = torch.tanh(after(call(layer, x)))
        h = h.movedim(channel, -1)
        return {f"t{i}": (h @ mix - i).square().mean() for i, mix in enumerate(mixes)}

    return layer, forward


def units_read(step):
    assert "units" in step.statistic, step.statistic
    return int(step.statistic.split()[1])


@pytest.mark.parametrize("scale", [1.0, 2.0**12])
@pytest.mark.parametrize("name", LAYERS)
def test_units_are_those_of_plain_autograd(name, scale):
    class Scaler:
        def get_scale(self):
            return scale

    layer, forward = build(*LAYERS[name])
    balancer = polytask.create_method("mgda", budget=0.1)
    for turn in range(2):
        step = balancer.backward(forward(), scaler=Scaler())
        count = units_read(step)
        parameters = list(layer.parameters())
        at = 1 if name == "product" else 0
        total = parameters[0].shape[at]
        chosen = (torch.arange(count) * total // count + turn) % total
        rows = []
        for loss in forward().values():
            found = torch.autograd.grad(loss, parameters, retain_graph=True)
            parts = [g.index_select(at if g.dim() > 1 else 0, chosen).flatten() for g in found]
            rows.append(torch.cat(parts))
        jacobian = torch.stack(rows)
        torch.testing.assert_close(step.gramian, jacobian @ jacobian.T, rtol=1e-6, atol=1e-14)


def test_a_checkpoint_is_read_by_unit_too():
    def around(layer, x):
        return checkpoint(layer, x, use_reentrant=False)

    _, plain = build(*LAYERS["conv2d without bias"])
    _, saved = build(*LAYERS["conv2d without bias"], around=around)
    one, two = (polytask.create_method("mgda", budget=0.1).backward(f()) for f in (plain, saved))
    assert one.statistic == two.statistic
    assert units_read(one) > 0
    torch.testing.assert_close(one.gramian, two.gramian)


def tied(layer, x):
    return layer(x) + 0.5 * layer(x.flip(0))


def normed():
    return nn.utils.parametrizations.weight_norm(nn.Linear(6, 32))


class LowRank(nn.Module):
    def __init__(self):
        super().__init__()
        self.base = nn.Parameter(torch.randn(32, 6), requires_grad=False)
        self.up = nn.Parameter(torch.randn(32, 2))
        self.down = nn.Parameter(torch.randn(2, 6))

    def forward(self, x):
        return nn.functional.linear(x, self.base + self.up @ self.down)


@pytest.mark.parametrize(
    ("layer", "around"),
    [
        (nn.Linear(6, 32), tied),
        (normed(), None),
        (LowRank(), None),
        (nn.Conv2d(2, 16, 3, groups=2), None),
        (nn.ConvTranspose2d(2, 16, 3), None),
    ],
    ids=["tied", "weight norm", "low rank", "grouped", "transposed"],
)
def test_other_weights_are_read_whole(layer, around):
    shape = (4, 2, 6, 6) if "Conv" in type(layer).__name__ else (20, 6)
    layer, forward = build(layer, shape, around=around)
    step = polytask.create_method("mgda", budget=0.01).backward(forward())
    assert step.statistic.startswith("tail, depth 1"), step.statistic
    exact = polytask.create_method("mgda", statistic="exact").backward(forward())
    torch.testing.assert_close(step.gramian, exact.gramian, rtol=1e-6, atol=1e-12)


def test_a_weight_used_by_a_loss_itself_is_read_whole():
    layer, forward = build(nn.Linear(6, 32), (20, 6))
    losses = forward()
    losses["t3"] = losses["t3"] + layer.weight.square().sum()
    step = polytask.create_method("mgda", budget=0.01).backward(losses)
    assert "units" not in step.statistic


def test_a_layer_frozen_after_the_plan_is_read_no_more():
    first, second = nn.Linear(6, 32).double(), nn.Linear(32, 32).double()
    x = torch.randn(20, 6, dtype=torch.float64)
    mixes = torch.randn(TASKS, 32, dtype=torch.float64)

    def forward():
        h = torch.tanh(second(torch.tanh(first(x))))
        return {str(i): (h @ mix).square().mean() for i, mix in enumerate(mixes)}

    for options in ({"budget": 0.1}, {"depth": 2}, {"statistic": "exact"}):
        second.requires_grad_(True)
        balancer = polytask.create_method("mgda", **options)
        before = balancer.backward(forward())
        second.requires_grad_(False)
        step = balancer.backward(forward())
        assert step.statistic != before.statistic
        rows = [
            torch.cat([g.flatten() for g in torch.autograd.grad(losses[t], [*first.parameters()])])
            for t in before.losses
            for losses in [forward()]
        ]
        want = torch.stack(rows) @ torch.stack(rows).T
        torch.testing.assert_close(step.gramian, want, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_units_under_bfloat16_autocast_are_near_the_float32_ones(kind):
    name = "linear" if kind == "linear" else "conv2d strided and dilated"
    layer, _ = build(*LAYERS[name])
    layer.float()
    torch.manual_seed(0)
    x = torch.randn(LAYERS[name][1], dtype=torch.float64).float()
    with torch.no_grad():
        width = layer(x).shape[1]
    mixes = torch.randn(TASKS, width)

    def losses(enabled):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            h = layer(x)
        h = torch.tanh(h.float()).movedim(1, -1)
        return {f"t{i}": (h @ mix - i).square().mean() for i, mix in enumerate(mixes)}

    steps = [
        polytask.create_method("mgda", budget=0.1).backward(losses(on)) for on in (False, True)
    ]
    assert units_read(steps[0]) == units_read(steps[1])
    g, h = (s.gramian / s.gramian.diagonal().outer(s.gramian.diagonal()).sqrt() for s in steps)
    torch.testing.assert_close(g, h, atol=0.02, rtol=0)


@pytest.mark.parametrize("pass_features", [False, True])
@pytest.mark.parametrize("options", [{"budget": 0.1}, {"depth": 1}, {"depth": 2}])
def test_heads_in_one_layer_are_passed_over(options, pass_features):
    torch.manual_seed(0)
    first, last = nn.Linear(6, 32).double(), nn.Linear(32, TASKS).double()
    x = torch.randn(20, 6, dtype=torch.float64)

    def forward():
        z = torch.tanh(first(x))
        out = last(z)
        return {str(i): (out[:, i] - i).square().mean() for i in range(TASKS)}, z

    losses, z = forward()
    step = polytask.create_method("mgda", **options).backward(
        losses, features=z if pass_features else None
    )
    assert "meet" in step.statistic
    assert bool((step.gramian - step.gramian.diagonal().diag()).abs().max() > 0)
    if options.get("depth"):
        rows = [
            torch.cat([g.flatten() for g in torch.autograd.grad(x, [*first.parameters()])])
            for x in (forward()[0][str(i)] for i in range(TASKS))
        ]
        want = torch.stack(rows) @ torch.stack(rows).T
        torch.testing.assert_close(step.gramian, want, rtol=1e-6, atol=1e-12)


def test_heads_in_one_layer_over_a_frozen_trunk_are_all_there_is():
    last = nn.Linear(6, 3).double()
    out = last(torch.randn(20, 6, dtype=torch.float64))
    step = polytask.create_method("mgda").backward(
        {t: out[:, i].mean() for i, t in enumerate("abc")}
    )
    assert torch.equal(step.gramian, step.gramian.diagonal().diag())
