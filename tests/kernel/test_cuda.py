"""The same steps on an accelerator: decisions as on the CPU, losses scaled in float16."""

import pytest
import torch

import polytask
from polytask.testing.methods import full_step, small_batch, small_net

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

NEEDS_MAIN = ("gcs", "agem")


def balancer(name, **options):
    if name in NEEDS_MAIN:
        options["main"] = "a"
    return polytask.create_method(name, generator=torch.Generator().manual_seed(7), **options)


def steps(name, device, count=3, **options):
    torch.manual_seed(0)
    net = small_net().to(device)
    x, y = (t.to(device) for t in small_batch())
    method = balancer(name, **options)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    taken = [full_step(method, net, (x, y), optimizer=optimizer) for _ in range(count)]
    return net, taken


@pytest.mark.parametrize("name", polytask.list_methods())
def test_three_steps_equal_those_on_the_cpu(name):
    here, ours = steps(name, "cpu")
    there, theirs = steps(name, "cuda")
    for one, two in zip(ours, theirs, strict=True):
        assert one.tasks == two.tasks
        for task in one.weights:
            torch.testing.assert_close(
                two.weights[task].cpu().double(), one.weights[task].double(), rtol=2e-3, atol=2e-4
            )
    for a, b in zip(here.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(b.cpu(), a, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("statistic", ["features", "tail", "exact"])
@pytest.mark.parametrize("name", ["mgda", "upgrad", "nash_mtl"])
def test_every_statistic_on_the_device(name, statistic):
    _, ours = steps(name, "cpu", statistic=statistic)
    _, theirs = steps(name, "cuda", statistic=statistic)
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(two.gramian, one.gramian, rtol=1e-3, atol=1e-5)


def test_float16_decisions_do_not_depend_on_the_scale():
    decided = []
    for scale in (1.0, 2.0**8, 2.0**14):
        net, (x, y) = small_net().cuda(), (t.cuda() for t in small_batch())
        scaler = torch.amp.GradScaler("cuda", init_scale=scale)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        with torch.autocast("cuda", dtype=torch.float16):
            losses = net.losses(x, y)
        step = balancer("mgda").backward(losses, scaler=scaler)
        decided.append(torch.stack(list(step.weights.values())))
        before = [p.detach().clone() for p in net.parameters()]
        scaler.step(optimizer)
        scaler.update()
        assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    for weights in decided[1:]:
        torch.testing.assert_close(weights, decided[0], rtol=0.02, atol=0.005)


def test_an_overflow_is_left_to_the_scaler():
    net, (x, y) = small_net().cuda(), (t.cuda() for t in small_batch())
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**60)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with torch.autocast("cuda", dtype=torch.float16):
        losses = net.losses(x, y)
    before = [p.detach().clone() for p in net.parameters()]
    balancer("mgda").backward(losses, scaler=scaler)
    scaler.step(optimizer)
    scaler.update()
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert scaler.get_scale() < 2.0**60
