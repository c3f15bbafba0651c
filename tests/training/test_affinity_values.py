"""Values of look-aheads: closed forms, loops by hand, and what noise does to them."""

import copy

import numpy as np
import pytest
import torch
from lookahead_cases import WAYS, Shared, plain_tasks, quadratics, watched
from real_tasks import digits
from recorded import Restless, numbers, trained

from polytask.architectures import create_architecture
from polytask.relationships import lookahead
from polytask.tasks import Task
from polytask.training import AffinityRecorder, Trainer


def test_exact_look_ahead_of_quadratic_losses_is_the_polynomial():
    x, targets = quadratics()
    recorder = AffinityRecorder(every=1, order="exact")
    model = Shared(5, list(targets))
    record, thetas = watched(recorder, model, plain_tasks(targets), ({"x": x}, targets), 40)
    hessian, lr = 2 * x.T @ x / 40, 0.02
    values = numbers(record["values"], 3)
    assert len(values) == 12
    for theta, found, losses in zip(thetas, values, record["losses"], strict=True):
        errors = {name: x @ theta - y for name, y in targets.items()}
        loss = torch.stack([error.square().mean() for error in errors.values()])
        slopes = torch.stack([2 * x.T @ error / 40 for error in errors.values()])
        # L_i(θ - lr g_j) = L_i - lr g_i g_j + lr² g_j H g_j / 2, and no more.
        bend = torch.einsum("jk,kl,jl->j", slopes, hessian, slopes)
        gains = lr * slopes @ slopes.T - lr**2 / 2 * bend
        np.testing.assert_allclose(found, (gains / loss[:, None]).numpy(), rtol=2e-5)
        np.testing.assert_allclose(losses, loss.numpy(), rtol=6e-6)
        assert found[0, 0] == found[0, 1] == found[1, 0] == found[1, 1]  # twins
        assert found[2, 0] == found[2, 1]


def test_first_order_with_all_rows_is_the_gradient_s_product():
    x, targets = quadratics(seed=1)
    recorder = AffinityRecorder(every=1, statistic="exact")
    model = Shared(5, list(targets))
    record, thetas = watched(recorder, model, plain_tasks(targets), ({"x": x}, targets), 40)
    for theta, found in zip(thetas, numbers(record["values"], 3), strict=True):
        errors = [x @ theta - y for y in targets.values()]
        loss = torch.stack([error.square().mean() for error in errors])
        slopes = torch.stack([2 * x.T @ error / 40 for error in errors])
        wanted = 0.02 * slopes @ slopes.T / loss[:, None]
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "momentum"])
def test_the_first_order_is_the_limit_of_the_exact_one(optimizer):
    x, targets = quadratics(seed=2)
    gaps = []
    for lr in (1e-1, 1e-2, 1e-3, 1e-4):
        found = []
        for options in ({"statistic": "exact"}, {"order": "exact"}):
            torch.manual_seed(0)
            model = Shared(5, list(targets))
            recorder = AffinityRecorder(every=5, **options)
            record, _ = watched(
                recorder, model, plain_tasks(targets), ({"x": x}, targets), 40,
                lr=lr, optimizer=optimizer,
            )  # fmt: skip
            found.append(numbers(record["values"], 3)[1] / lr)
        gaps.append(np.abs(found[0] - found[1]).max() / np.abs(found[0]).max())
    assert gaps[0] > gaps[1] > gaps[2] > gaps[3]
    if optimizer == "sgd":
        assert gaps[2] / gaps[3] == pytest.approx(10, rel=0.1)  # what is left is curvature times lr
    assert gaps[3] < 1e-3


def scaled(factor):
    return lambda output, target: factor * (output - target) ** 2


def test_a_loss_times_c_multiplies_its_column_and_leaves_its_row():
    # value[i][j] = lr g_i g_j / L_i. With c L_b: in the column of b g_j is c times as long; in its
    # row both g_i and L_i are, which cancels; on the diagonal the column's factor stays.
    x, targets = quadratics(seed=3)
    # The training itself must not differ, so the rate is as good as 0 and divided out.
    tables = []
    for factor in (1.0, 7.0):
        tasks = [*plain_tasks(["a", "twin"]), Task("b", "regression", loss_function=scaled(factor))]
        model = Shared(5, list(targets))
        for options in ({"statistic": "exact"}, {"order": "exact"}):
            recorder = AffinityRecorder(every=4, **options)
            record, _ = watched(recorder, model, tasks, ({"x": x}, targets), 40, lr=1e-9)
            tables.append(numbers(record["values"], 3).mean(0) * 1e9)
    factors = np.array([[1, 1, 7], [1, 1, 7], [1, 1, 7]])
    np.testing.assert_allclose(tables[2], tables[0] * factors, rtol=1e-5)
    np.testing.assert_allclose(tables[3], tables[1] * factors, rtol=1e-4)


class ByHand(AffinityRecorder):
    """Also takes the steps in copies of the model, with the plainest code there is."""

    def _measure(self, trainer, inputs, targets):
        table = []
        for j in trainer.tasks:
            state = torch.get_rng_state()
            before = self._losses_of(trainer, trainer.model, inputs, targets)
            ahead = copy.deepcopy(trainer.model)
            encoder = list(trainer.model.encoder.parameters())
            slopes = torch.autograd.grad(before[j], encoder)
            lr = trainer.optimizer.param_groups[0]["lr"]
            with torch.no_grad():
                for parameter, slope in zip(ahead.encoder.parameters(), slopes, strict=True):
                    parameter -= lr * slope
            torch.set_rng_state(state)  # the same dropout
            after = self._losses_of(trainer, ahead, inputs, targets)
            torch.set_rng_state(state)
            table.append([1 - (after[i] / before[i]).item() for i in trainer.tasks])
        self.truth = [*getattr(self, "truth", []), np.array(table).T]
        return super()._measure(trainer, inputs, targets)

    def _losses_of(self, trainer, model, inputs, targets):
        outputs = model(inputs)
        return {n: t.loss(outputs[n], targets[n]).value for n, t in trainer.tasks.items()}


def test_exact_look_ahead_of_a_network_is_the_loop_by_hand():
    real = digits(rows=300)
    for part in ("train", "val"):
        inputs, targets = getattr(real, part)
        double = {n: t.double() if t.is_floating_point() else t for n, t in targets.items()}
        setattr(real, part, ({"x": inputs["x"].double()}, double))
    recorder = ByHand(every=3, order="exact")
    trained(
        real, real.model(dropout=0.3).double(), recorder, optimizer="sgd", lr=0.05,
        scheduler="cosine", size=60,
    )  # fmt: skip
    values = numbers(recorder.record()["values"], 3)
    assert len(values) == 4
    np.testing.assert_allclose(values, recorder.truth, rtol=1e-5, atol=1e-12)
    assert np.abs(values[3]).max() < np.abs(values[0]).max()  # the rate of that very step


@pytest.mark.parametrize("evaluate", ["same", "other"])
def test_all_looks_at_a_step_see_the_same_numbers(evaluate):
    real = digits(rows=300)
    encoder = Restless(real.train[0]["x"].shape[1])
    model = create_architecture("hard_sharing", encoder, real.tasks)
    recorder = AffinityRecorder(every=4, order="exact", evaluate=evaluate)
    trained(real, model, recorder, optimizer=Still, lr=1.0)
    values = numbers(recorder.record()["values"], 3)
    assert len(values) == 3
    assert (values == 0).all()  # a step of no length changes nothing at all


class Still(torch.optim.SGD):
    """Moves nothing."""

    def __init__(self, parameters, lr, weight_decay):
        super().__init__(parameters, lr=0.0)


class Halves(AffinityRecorder):
    """Also multiplies whole gradients of both halves by Adam's own formula."""

    def _measure(self, trainer, inputs, targets):
        shared = list(trainer.model.encoder.parameters())
        states = [trainer.optimizer.state[p] for p in shared]
        if states[0]:
            roots = [(s["exp_avg_sq"] / (1 - 0.999 ** s["step"])).sqrt() for s in states]
            sizes = torch.cat([(3e-3 / (root + 1e-8)).flatten() for root in roots])
            rows, losses = [], []
            for half in self._halves(trainer, inputs, targets):
                found = half()
                losses.append(torch.stack(list(found.values())).detach())
                slopes = [torch.autograd.grad(v, shared, retain_graph=True) for v in found.values()]
                rows.append(torch.stack([torch.cat([s.flatten() for s in g]) for g in slopes]))
            one, other = rows
            moved = (one.abs() + other.abs()).sum(0) > 0
            sizes = torch.where(moved, sizes, 0.0)
            cross = (one * sizes) @ other.T
            whole = (one + other) / 2
            cross = (cross + cross.T) / 2
            share = self._fraction(targets)
            table = (1 - share) * cross + share * (whole * sizes) @ whole.T
            self.truth = [*getattr(self, "truth", []), table / torch.stack(losses).mean(0)[:, None]]
        return super()._measure(trainer, inputs, targets)


def test_first_order_under_adam_by_hand():
    real = digits(rows=300)
    recorder = Halves(every=5, statistic="exact")
    trained(real, None, recorder, size=60)
    values = numbers(recorder.record()["values"], 3)
    assert len(values) == 2
    for found, wanted in zip(values, recorder.truth, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-3, atol=1e-7)
    assert recorder.record()["optimizer"] == "Adam with its second moments"


def unrelated(seed, steps=64, rows=16, noise=2.0):
    """A stream of fresh rows: two tasks with nothing in common but the noise of their labels."""
    draw = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(steps):
        x = torch.randn(rows, 6, generator=draw, dtype=torch.float64)
        luck = noise * torch.randn(rows, generator=draw, dtype=torch.float64)
        batches.append(({"x": x}, {"a": x[:, 0] + luck, "b": x[:, 1] + luck}))
    return batches


def test_noise_of_shared_rows_enters_only_the_look_ahead_on_the_same_batch():
    z = {}
    for way, options in WAYS.items():
        recorder = AffinityRecorder(every=1, **options)
        trainer = Trainer(
            Shared(6, ["a", "b"]), plain_tasks("ab"), callbacks=[recorder], epochs=1,
            optimizer="sgd", lr=1e-4, device="cpu", progress=False,
        )  # fmt: skip
        trainer.fit(unrelated(seed=0))
        found = lookahead([recorder.record()])
        z[way] = found.values / found.standard_errors
        assert (z[way].diagonal() > 3).all()
    assert (z["exact, same"][[0, 1], [1, 0]] > 4).all()
    for way in ("first, exact", "exact, other"):
        assert (np.abs(z[way][[0, 1], [1, 0]]) < 2.5).all()


def with_noise(rows=1797):
    """The digits, and a fourth task: the digits' labels, shuffled."""
    real = digits(rows=rows)
    real.tasks["noise"] = Task("noise", "multiclass", classes=tuple(range(10)))
    draw = torch.Generator().manual_seed(3)
    for part in ("train", "val"):
        inputs, targets = getattr(real, part)
        order = torch.randperm(len(targets["digit"]), generator=draw)
        setattr(real, part, (inputs, targets | {"noise": targets["digit"][order]}))
    return real


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_shuffled_labels_are_no_companion(optimizer):
    real, tables = with_noise(), {}
    for way, options in WAYS.items():
        recorder = AffinityRecorder(every=4, **options)
        lr = {"sgd": 0.05, "adam": 1e-3}[optimizer]
        trained(real, None, recorder, epochs=15, lr=lr, optimizer=optimizer)
        tables[way] = lookahead([recorder.record()])
    for way in ("first, tail", "first, exact", "exact, other"):
        found = tables[way]
        own, column = found.values.diagonal()[:3], found.values[:3, 3]
        assert (own > 1.5 * found.standard_errors.diagonal()[:3]).all()
        assert (column < 2 * found.standard_errors[:3, 3]).all()  # no help
        assert (np.abs(column) < 0.2 * own).all()  # and, where it does harm, not much
    tail = tables["first, tail"]
    assert (np.abs(tail.values[:3, 3]) < 3 * tail.standard_errors[:3, 3]).all()
    # Nobody can learn it: that a step on it would lower its own loss is the batch's own noise.
    same, halves = tables["exact, same"], tables["first, exact"]
    assert same.values[3, 3] > 5 * halves.values[3, 3]
