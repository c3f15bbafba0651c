"""CosReg: the term's own gradient against closed forms, differences and special cases."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

import polytask
from polytask.errors import NonFiniteError, UserError
from polytask.optimization.gradients.cosreg import squared_cosines
from polytask.testing.methods import small_batch, small_net


def exact_net():
    net, batch = small_net().double(), [x.double() for x in small_batch()]
    return net, lambda: net.losses(*batch)


def step_on(net, losses, balancer, **given):
    net.zero_grad()
    balancer.backward(losses, **given)
    return [None if p.grad is None else p.grad.clone() for p in net.parameters()]


def cosines_of(losses, layers):
    """By the definition, pair by pair, without a graph."""
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(x, layers, retain_graph=True)])
        for x in losses
    ]
    cosine = torch.nn.functional.cosine_similarity
    pairs = [(i, j) for i in range(len(rows)) for j in range(i)]
    return sum(float(cosine(rows[i], rows[j], dim=0)) ** 2 for i, j in pairs)


def differences(net, objective, width=1e-6):
    """The gradient of an objective by central differences in every parameter."""
    found = []
    for parameter in net.parameters():
        flat, slopes = parameter.data.view(-1), []
        for i in range(len(flat)):
            held, ends = float(flat[i]), []
            for way in (width, -width):
                flat[i] = held + way
                ends.append(objective())
            flat[i] = held
            slopes.append((ends[0] - ends[1]) / (2 * width))
        found.append(torch.tensor(slopes, dtype=torch.float64).view_as(parameter))
    return found


def equal(one, other, **tolerance):
    for mine, theirs in zip(one, other, strict=True):
        if mine is None or theirs is None:
            assert mine is theirs
        else:
            torch.testing.assert_close(mine, theirs, **tolerance)


EXACT = {"rtol": 0, "atol": 0}


def test_two_bowls_in_closed_form():
    """g are (1, 0) and (1, 1): the squared cosine is 1/2, its slope (1/2, 1/2)."""
    w = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    centres = {"a": [-1.0, 0.0], "b": [-1.0, -1.0]}
    losses = {
        task: (w - torch.tensor(centre, dtype=torch.float64)).square().sum() / 2
        for task, centre in centres.items()
    }
    step = polytask.CosReg(strength=3.0).backward(losses)
    expected = torch.tensor([2 + 3 / 2, 1 + 3 / 2], dtype=torch.float64)
    torch.testing.assert_close(w.grad, expected)
    assert [float(x) for x in step.weights.values()] == [1, 1]
    torch.testing.assert_close(step.gramian, torch.tensor([[1.0, 1], [1, 2]]).double())


@pytest.mark.parametrize("tasks", ["ab", "abc"])
@pytest.mark.parametrize("depth", [1, 2])
def test_equals_differences_of_the_objective_in_every_parameter(tasks, depth):
    net, losses = exact_net()
    layers = [p for layer in net.trunk[2 if depth == 1 else 0 :: 2] for p in layer.parameters()]
    weights = {"a": 2.0, "c": 0.5}

    def present():
        return {task: x for task, x in losses().items() if task in tasks}

    def objective():
        here = present()
        plain = sum(weights.get(task, 1.0) * float(x.detach()) for task, x in here.items())
        return plain + 0.7 * cosines_of(here.values(), layers)

    expected = differences(net, objective)
    balancer = polytask.CosReg(0.7, weights, depth=depth)
    for _ in range(2):
        found = step_on(net, present(), balancer)
        for mine, slope in zip(found, expected, strict=True):
            mine = torch.zeros_like(slope) if mine is None else mine  # an absent task's head
            torch.testing.assert_close(mine, slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("statistic", ["features", "exact"])
def test_other_gradients(statistic):
    net, batch = small_net().double(), [x.double() for x in small_batch()]

    def made():
        h = net.trunk(batch[0])
        heads = enumerate(net.heads.items())
        return h, {t: (f(h)[:, 0] - batch[1][:, i]).square().mean() for i, (t, f) in heads}

    def objective():
        h, losses = made()
        layers = [h] if statistic == "features" else list(net.trunk.parameters())
        return float(sum(losses.values()).detach()) + cosines_of(losses.values(), layers)

    expected = differences(net, objective)
    h, losses = made()
    options = {"features": h} if statistic == "features" else {}
    found = step_on(net, losses, polytask.CosReg(1.0, statistic=statistic), **options)
    equal(found, expected, rtol=1e-6, atol=1e-8)


def test_gradients_at_right_angles_are_left_as_they_are():
    layer, x = nn.Linear(3, 2).double(), torch.randn(5, 3, dtype=torch.float64)

    def losses():
        z = layer(x)
        return {"a": z[:, 0].square().mean(), "b": (z[:, 1] - 1).square().mean()}

    plain = step_on(layer, losses(), polytask.Linear())
    found = step_on(layer, losses(), polytask.CosReg(strength=100.0))
    equal(found, plain, rtol=1e-12, atol=1e-12)


def test_without_strength_it_is_linear_bit_for_bit():
    net, batch = small_net(), small_batch()
    weights = {"b": 0.3}
    plain = step_on(net, net.losses(*batch), polytask.Linear(weights))
    found = step_on(net, net.losses(*batch), polytask.CosReg(0.0, weights))
    equal(found, plain, **EXACT)


def multiplied(losses, task, factor):
    return {t: factor * x if t == task else x for t, x in losses.items()}


def own_part(losses, net, **options):
    """What the term adds to the plain step."""
    found = step_on(net, losses(), polytask.CosReg(1.0, **options))
    plain = step_on(net, losses(), polytask.Linear(transform=options.get("transform")))
    return [mine - theirs for mine, theirs in zip(found, plain, strict=True)]


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_term_has_no_unit(factor):
    net, losses = exact_net()
    plain = own_part(losses, net)
    scaled = own_part(lambda: multiplied(losses(), "b", factor), net)
    size = max(float(p.abs().max()) for p in plain)
    assert size > 1e-3
    equal(scaled, plain, rtol=1e-5, atol=1e-8 * size + 1e-10 * factor)
    equal(own_part(losses, net, transform="log"), plain, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("size", [1e-35, 0.0])
def test_a_task_without_a_gradient_has_cosine_zero(size):
    net, losses = exact_net()

    def two():
        return {t: x for t, x in losses().items() if t in "ab"}

    three = step_on(net, multiplied(losses(), "c", size), polytask.CosReg(1.0))
    pair = step_on(net, two(), polytask.CosReg(1.0))
    equal(three[:6], pair[:6], rtol=1e-9, atol=1e-12)
    rows = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    value = squared_cosines(rows)
    value.backward()
    assert float(value.detach()) == 0
    assert torch.equal(rows.grad, torch.zeros_like(rows))


def test_long_and_short_rows_of_float32():
    rows = torch.tensor([[1e25, 0], [1e-25, 1e-25], [0, 1]])
    assert float(squared_cosines(rows)) == pytest.approx(1.0)


def test_absent_tasks_and_a_single_one():
    net, losses = exact_net()
    balancer = polytask.CosReg(1.0)
    two = {t: x for t, x in losses().items() if t != "b"}
    expected = step_on(net, two, polytask.CosReg(1.0))
    step_on(net, losses(), balancer)
    found = step_on(net, losses(), balancer, counts={"a": 4, "b": 0, "c": 4})
    equal(found, expected, rtol=1e-12, atol=1e-14)
    alone = step_on(net, {"a": losses()["a"]}, balancer)
    equal(alone, step_on(net, {"a": losses()["a"]}, polytask.Linear()), **EXACT)


def test_what_the_caller_gives_changes_nothing():
    """Several losses of a task, the shared module, the representation, a scaler, a penalty."""
    net, losses = exact_net()
    expected = step_on(net, losses(), polytask.CosReg(1.0))
    near = {"rtol": 1e-9, "atol": 1e-12}
    split = {t: [0.25 * x, 0.75 * x] for t, x in losses().items()}
    equal(step_on(net, split, polytask.CosReg(1.0)), expected, **near)
    equal(step_on(net, losses(), polytask.CosReg(1.0), shared=net.trunk), expected, **near)
    batch = [x.double() for x in small_batch()]
    h = net.trunk(batch[0])
    heads = enumerate(net.heads.items())
    cut = {t: (f(h)[:, 0] - batch[1][:, i]).square().mean() for i, (t, f) in heads}
    equal(step_on(net, cut, polytask.CosReg(1.0), features=h), expected, **near)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaled = step_on(net, losses(), polytask.CosReg(1.0), scaler=scaler)
    equal([g / 1024 for g in scaled], expected, **near)
    term = 3 * net.trunk[0].weight.sum()
    penalised = step_on(net, losses(), polytask.CosReg(1.0), penalty=term)
    equal([penalised[0] - 3, *penalised[1:]], expected, **near)


def test_gradients_are_added_and_the_term_is_part_of_every_step():
    net, losses = exact_net()
    expected = step_on(net, losses(), polytask.CosReg(1.0))
    balancer = polytask.CosReg(1.0, refresh_every=3)
    for count in (1, 2, 3, 4):
        balancer.backward(losses())
        grads = [p.grad / (count + 1) for p in net.parameters()]
        equal(grads, expected, rtol=1e-12, atol=1e-14)


def test_state_goes_into_a_fresh_one():
    net, losses = exact_net()
    first = polytask.CosReg(1.0, refresh_every=2)
    step_on(net, losses(), first)
    second = polytask.CosReg(1.0, refresh_every=2)
    second.load_state_dict(first.state_dict())
    equal(step_on(net, losses(), second), step_on(net, losses(), first), **EXACT)
    assert list(second.state_dict()) == list(first.state_dict())


def test_another_model_with_the_same_balancer():
    balancer = polytask.CosReg(1.0)
    for _ in range(2):
        net, losses = exact_net()
        found = step_on(net, losses(), balancer)
        equal(found, step_on(net, losses(), polytask.CosReg(1.0)), **EXACT)


def broken(losses):
    """A finite loss with a gradient that is not."""
    return {**losses, "b": losses["b"] + (losses["b"] * 0).sqrt()}


def test_a_gradient_that_is_not_finite():
    net, losses = exact_net()
    with pytest.raises(NonFiniteError, match="gradient of task 'b'"):
        polytask.CosReg(1.0).backward(broken(losses()))
    assert all(p.grad is None for p in net.parameters())
    found = step_on(net, broken(losses()), polytask.CosReg(1.0, non_finite="skip_task"))
    others = {t: x for t, x in losses().items() if t != "b"}
    equal(found, step_on(net, others, polytask.CosReg(1.0)), rtol=1e-12, atol=1e-14)
    scaler = torch.amp.GradScaler("cpu")
    spoilt = step_on(net, broken(losses()), polytask.CosReg(1.0), scaler=scaler)
    assert not all(bool(g.isfinite().all()) for g in spoilt)  # the scaler sees it, and skips


def test_where_a_second_derivative_ends_on_the_way():
    """A convolution's bias below a max-pool: the term has no gradient by it, the loss has."""
    torch.manual_seed(0)
    trunk, x = nn.Linear(4, 8), torch.randn(6, 4)
    heads = nn.ModuleList(
        nn.Sequential(nn.Unflatten(1, (1, 8)), nn.Conv1d(1, 2, 3), nn.MaxPool1d(2), nn.Flatten())
        for _ in range(2)
    )
    h = trunk(x)
    polytask.CosReg(1.0).backward({"a": heads[0](h).mean(), "b": heads[1](h)[:, 1].mean()})
    assert all(bool(p.grad.isfinite().all()) for p in heads.parameters())


def test_gradients_that_depend_on_nothing_have_no_term():
    layer, x = nn.Linear(4, 2, bias=False), torch.ones(3, 4)
    polytask.CosReg(5.0).backward({"a": layer(x)[:, 0].sum(), "b": layer(x).sum()})
    torch.testing.assert_close(layer.weight.grad, torch.tensor([[6.0] * 4, [3.0] * 4]))


class TestErrors:
    @staticmethod
    def attention(project):
        torch.manual_seed(0)
        q = nn.Linear(8, 8)(torch.randn(2, 1, 5, 8))
        z = scaled_dot_product_attention(q, q, q)
        z = nn.Linear(8, 8)(z) if project else z
        return {t: nn.Linear(8, 1)(z).square().mean() for t in "ab"}

    def test_what_cannot_be_differentiated_twice(self):
        with pytest.raises(UserError, match=r"no second derivative.*sdpa_kernel"):
            polytask.CosReg().backward(self.attention(project=False))

    def test_below_the_layers_that_are_read_it_may_be(self):
        polytask.CosReg().backward(self.attention(project=True))

    def test_an_operation_of_ones_own(self):
        layer = nn.Linear(4, 8)

        class Once(torch.autograd.Function):
            @staticmethod
            def forward(context, x):
                return 2 * x

            @staticmethod
            @torch.autograd.function.once_differentiable
            def backward(context, gradient):
                return 2 * gradient

        h = layer(torch.ones(2, 4))
        losses = {t: Once.apply(nn.Linear(8, 1)(h)).square().mean() for t in "ab"}
        with pytest.raises(UserError, match="no second derivative"):
            polytask.CosReg().backward(losses)
        assert layer.weight.grad is None

    def test_nothing_shared(self):
        losses = {t: nn.Linear(2, 1)(torch.ones(3, 2)).mean() for t in "ab"}
        with pytest.raises(UserError, match="at least two tasks use"):
            polytask.CosReg().backward(losses)

    @pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
    def test_strength(self, strength):
        with pytest.raises(UserError, match="at least 0"):
            polytask.CosReg(strength)

    @pytest.mark.parametrize("options", [{"smooth": 0.5}, {"audit_every": 3}])
    def test_options_without_a_meaning(self, options):
        with pytest.raises(UserError, match="no meaning"):
            polytask.CosReg(**options)


def learn_digits(method, seed):
    """Trains two tasks; mean squared cosine of the last epoch, and accuracies on test rows."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, digit = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    targets = {"digit": digit, "odd": digit % 2}
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
    heads = nn.ModuleDict({"digit": nn.Linear(32, 10), "odd": nn.Linear(32, 2)})
    optimizer = torch.optim.Adam([*trunk.parameters(), *heads.parameters()], lr=3e-3)
    last = list(trunk[2].parameters())
    for _ in range(12):
        seen = []
        for rows in torch.randperm(1200).split(100):
            h = trunk(x[rows])
            losses = {t: cross_entropy(heads[t](h), y[rows]) for t, y in targets.items()}
            seen.append(cosines_of(losses.values(), last))
            optimizer.zero_grad()
            method.backward(losses)
            optimizer.step()
    with torch.no_grad():
        h = trunk(x[1200:])
        right = [(heads[t](h).argmax(1) == y[1200:]).float().mean() for t, y in targets.items()]
    return sum(seen) / len(seen), [float(share) for share in right]


def test_learns_digits_with_gradients_nearer_to_right_angles():
    for seed in range(2):
        plain, _ = learn_digits(polytask.Linear(), seed)
        found, right = learn_digits(polytask.CosReg(strength=1.0), seed)
        assert found < plain / 2
        assert right[0] > 0.8
        assert right[1] > 0.85
