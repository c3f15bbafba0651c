"""Products of two batches: no bias, nothing left behind, the same parameters in both."""

from itertools import combinations

import pytest
import torch
from torch import nn

from polytask.errors import UserError
from polytask.kernel.cross import cross_gramian
from polytask.kernel.measure import Discovery, measure
from polytask.kernel.problem import pose


class Net(nn.Module):
    """A trunk with batch norm and dropout when asked for, and one linear head a task."""

    def __init__(self, tasks, noisy=False, width=6):
        super().__init__()
        torch.manual_seed(0)
        extra = [nn.BatchNorm1d(width), nn.Dropout(0.5)] if noisy else []
        self.trunk = nn.Sequential(nn.Linear(4, width), *extra, nn.Tanh())
        self.heads = nn.ModuleDict({task: nn.Linear(width, 1) for task in tasks})

    def losses(self, x, y, tasks=None):
        z = self.trunk(x)
        return {
            task: ((self.heads[task](z)[:, 0] - y[task]) ** 2).mean()
            for task in tasks or self.heads
        }


def rows(n, tasks, seed=1):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=draw)
    return x, {task: torch.randn(n, generator=draw) for task in tasks}


def crossed(net, first, second, statistic="exact", **options):
    options = {"discovery": Discovery(), "parameters": list(net.parameters())} | options
    return cross_gramian(
        lambda: net.losses(*first), lambda: net.losses(*second), statistic, **options
    )


def part(data, chosen):
    x, y = data
    chosen = list(chosen)
    return x[chosen], {task: values[chosen] for task, values in y.items()}


def test_over_all_batches_and_halves_the_mean_is_exactly_the_full_data_s_gramian():
    tasks, n, size = ("a", "b"), 6, 4
    net, data = Net(tasks).double(), rows(n, tasks)
    data = (data[0].double(), {task: values.double() for task, values in data[1].items()})
    known = Discovery()
    truth = measure(pose(net.losses(*data)), "exact", discovery=known).gramian
    whole, products = [], []
    for batch in combinations(range(n), size):
        for half in combinations(batch, size // 2):
            other = [row for row in batch if row not in half]
            found = crossed(net, part(data, half), part(data, other), discovery=known)
            whole.append(found.full_data(size / n))
            products.append(found.products)
            assert torch.equal(found.products, found.products.T)
    torch.testing.assert_close(torch.stack(whole).mean(0), truth, rtol=1e-10, atol=1e-12)
    # Rows of one half are never in the other: alone, the products are too low.
    assert (torch.stack(products).mean(0).diagonal() < 0.9 * truth.diagonal()).all()


def test_with_all_rows_in_the_batch_it_is_the_batch_itself():
    net, data = Net("ab"), rows(8, "ab")
    found = crossed(net, part(data, range(4)), part(data, range(4, 8)))
    truth = measure(pose(net.losses(*data)), "exact", discovery=Discovery()).gramian
    torch.testing.assert_close(found.full_data(1.0), truth, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("statistic", ["tail", "exact"])
def test_nothing_is_left_behind(statistic):
    net, data = Net("ab", noisy=True), rows(16, "ab")
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(7)
    state = torch.get_rng_state()
    found = crossed(net, part(data, range(8)), part(data, range(8, 16)), statistic, module=net)
    assert found is not None
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in net.parameters())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_task_of_one_batch_only_is_left_out():
    net, data = Net("abc"), rows(8, "abc")
    known = {"discovery": Discovery(), "parameters": list(net.parameters())}
    found = cross_gramian(
        lambda: net.losses(*data, tasks="cab"),
        lambda: net.losses(*data, tasks="bc"),
        "tail",
        **known,
    )
    assert found.tasks == ("c", "b")
    assert found.products.shape == (2, 2)
    alone = cross_gramian(
        lambda: net.losses(*data, tasks="ab"),
        lambda: net.losses(*data, tasks="bc"),
        "tail",
        **known,
    )
    assert alone is None


def test_part_of_a_layer_is_the_same_part_in_both_batches():
    net, data = Net("ab", width=64), rows(8, "ab")
    halves = part(data, range(4)), part(data, range(4, 8))
    known = Discovery()
    few = [crossed(net, *halves, "tail", discovery=known, budget=0.1, turn=t) for t in range(2)]
    assert "units of the last layer" in few[0].source
    assert few[0].source == few[1].source
    assert not torch.equal(few[0].products, few[1].products)  # the next units
    swapped = crossed(net, *reversed(halves), "tail", discovery=known, budget=0.1, turn=0)
    torch.testing.assert_close(swapped.products, few[0].products)


def test_scaled_products_are_bounded_and_do_not_see_units():
    net, data = Net("ab"), rows(8, "ab")
    halves = part(data, range(4)), part(data, range(4, 8))
    found = crossed(net, *halves).scaled()
    assert (found.abs() <= 1 + 1e-6).all()

    def times(half, factors):
        return lambda: {t: loss * factors[t] for t, loss in net.losses(*half).items()}

    known = {"discovery": Discovery(), "parameters": list(net.parameters())}
    units = {"a": 1e6, "b": 1.0}
    other = cross_gramian(times(halves[0], units), times(halves[1], units), "exact", **known)
    torch.testing.assert_close(other.scaled(), found, rtol=1e-4, atol=1e-5)
    # The mean of half batches' squared norms is what a half batch turned round keeps.
    same, turned = {"a": 1.0, "b": 1.0}, {"a": -1.0, "b": -1.0}
    flipped = cross_gramian(times(halves[0], same), times(halves[1], turned), "exact", **known)
    torch.testing.assert_close(flipped.scaled(), -found)


def test_a_task_without_gradient_has_no_products():
    net, data = Net("abc"), rows(8, "abc")
    with torch.no_grad():
        net.heads["c"].weight.zero_()
    found = crossed(net, part(data, range(4)), part(data, range(4, 8))).scaled()
    assert found[2].isnan().all()
    assert found[:2, :2].isfinite().all()


def test_what_is_not_shared_is_refused_in_words():
    apart = nn.ModuleDict({task: nn.Linear(4, 1) for task in "ab"})
    x, y = rows(8, "ab")

    def losses():
        return {task: ((apart[task](x)[:, 0] - y[task]) ** 2).mean() for task in "ab"}

    with pytest.raises(UserError, match="share none that require a gradient"):
        cross_gramian(losses, losses, "tail", discovery=Discovery(), parameters=[])
    one, other = Net("ab"), Net("ab")
    with pytest.raises(UserError, match="do not share the same parameters"):
        cross_gramian(
            lambda: one.losses(x, y), lambda: other.losses(x, y), "tail",
            discovery=Discovery(), parameters=[],
        )  # fmt: skip
