"""Recording look-aheads: the training stays the same, and the values are what steps would do."""

import copy
import json

import numpy as np
import pytest
import torch
from real_tasks import digits
from recorded import Killed, Last, Restless, numbers, trained
from torch import nn

from polytask.architectures import create_architecture
from polytask.data import Batches
from polytask.errors import UserError
from polytask.relationships import lookahead
from polytask.tasks import Task
from polytask.training import AffinityRecorder, Callback, Trainer

WAYS = {
    "first, tail": {},
    "first, exact": {"statistic": "exact"},
    "exact, same": {"order": "exact"},
    "exact, other": {"order": "exact", "evaluate": "other"},
}


class State(Callback):
    """The optimizer's state at the end of the last epoch."""

    def on_epoch_end(self, trainer, epoch, metrics):
        self.state = copy.deepcopy(trainer.optimizer.state_dict()["state"])


@pytest.mark.parametrize("method", ["linear", "modo"])
@pytest.mark.parametrize("way", WAYS)
def test_training_is_the_same_bit_for_bit(way, method):
    real = digits(missing=0.2, rows=300)
    ends = []
    for recorder in (None, AffinityRecorder(every=2, **WAYS[way])):
        model = create_architecture(
            "hard_sharing", Restless(real.train[0]["x"].shape[1]), real.tasks
        )
        last, state = Last(), State()
        callbacks = [last, state] if recorder is None else [recorder, last, state]
        several = 1 if method == "modo" else 2
        trainer = trained(real, model, *callbacks, method=method, size=32, accumulate=several)
        plain = [{k: v for k, v in e.items() if k != "seconds"} for e in trainer.history.epochs]
        ends.append((model.state_dict(), plain, last.states, state.state))
    record = recorder.record()
    early = {"second moments of Adam were of fewer than 3 steps": 5 if method == "modo" else 3}
    assert record["skipped"] == early
    assert len(record["values"]) == record["planned"] - sum(early.values())
    assert ends[0][1] == ends[1][1]
    assert ends[0][0].keys() == ends[1][0].keys()
    for name, value in ends[0][0].items():
        assert torch.equal(value, ends[1][0][name]), name
    for one, other in zip(ends[0][2], ends[1][2], strict=True):
        assert torch.equal(one, other)
    for place, moments in ends[0][3].items():
        for name, value in moments.items():
            assert torch.equal(value, ends[1][3][place][name]), name


class Shared(nn.Module):
    """Every task reads the same linear output of one parameter."""

    def __init__(self, columns, names):
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(columns, dtype=torch.float64))
        self.names = names

    def forward(self, inputs):
        return dict.fromkeys(self.names, inputs["x"] @ self.theta)


def quadratics(seed=0, rows=40, columns=5):
    """Inputs, and targets of three regressions: the second is the first, the third another."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=draw, dtype=torch.float64)
    first, other = torch.randn(2, rows, generator=draw, dtype=torch.float64)
    return x, {"a": first, "twin": first, "b": other}


def watched(recorder, model, tasks, data, size, **options):
    """A training with the parameter before every recorded step."""
    thetas = []

    class Watch(Callback):
        def on_batch_begin(self, trainer, batch_index):
            thetas.append(trainer.model.theta.detach().clone())

    settings = {"epochs": 12, "optimizer": "sgd", "lr": 0.02, "device": "cpu", "progress": False}
    trainer = Trainer(model, tasks, callbacks=[Watch(), recorder], **(settings | options))
    trainer.fit(Batches(*data, size))
    return recorder.record(), [thetas[step] for step in recorder.record()["steps"]]


def plain_tasks(names):
    return [Task(name, "regression") for name in names]


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


def test_a_task_with_few_labels_and_batches_of_one_task():
    real = digits(rows=600)
    odd = real.train[1]["odd"]
    rare = torch.where(torch.arange(len(odd)) % 40 == 0, odd, torch.nan)
    real.train = (real.train[0], real.train[1] | {"odd": rare})
    for options in ({}, {"order": "exact"}):
        recorder = AffinityRecorder(every=1, **options)
        trained(real, None, recorder, optimizer="sgd")
        values = numbers(recorder.record()["values"], 3)
        missing = np.isnan(values[:, 1, 1])
        assert 0 < missing.sum() < len(values)
        assert np.isnan(values[missing][:, 1]).all()
        assert np.isnan(values[missing][:, :, 1]).all()
        rest = values[:, [0, 2]][:, :, [0, 2]]
        assert np.isfinite(rest).all()
        alone = [(real.train[0], {n: v for n, v in real.train[1].items() if n == "digit"})]
        (cause,) = causes(real, alone, **options)
        assert cause.startswith("no two tasks had labels where they were needed")


def causes(real, batches, model=None, **options):
    recorder = AffinityRecorder(**options)
    trainer = Trainer(
        model or real.model(), real.tasks, epochs=1, callbacks=[recorder], progress=False,
        device="cpu", optimizer="sgd",
    )  # fmt: skip
    trainer.fit(batches)
    record = recorder.record()
    assert not record["values"]
    json.dumps(record, allow_nan=False)
    return record["skipped"]


@pytest.mark.parametrize("way", WAYS)
def test_what_cannot_be_measured_is_passed_over_with_its_cause(way):
    real = digits(rows=100)
    frozen = real.model()
    frozen.encoder.requires_grad_(False)
    (cause,) = causes(real, real.batches(size=30), frozen, **WAYS[way])
    assert "share none that require a gradient (is the encoder frozen" in cause
    if way != "exact, same":  # which needs no halves
        assert list(causes(real, real.batches(size=3), **WAYS[way])) == [
            "a batch had fewer than 4 rows"
        ]


def negative(output, target):
    return (output - target) ** 2 - 100.0


def vanishing(output, target):
    return 1e-12 * (output - target) ** 2 if float(target[0]) > 0 else (output - target) ** 2


@pytest.mark.parametrize("way", ["first, exact", "exact, same"])
def test_nothing_is_divided_by_a_loss_that_is_not_above_0_or_next_to_it(way):
    x, targets = quadratics()
    tasks = [*plain_tasks(["a", "twin"]), Task("b", "regression", loss_function=negative)]
    recorder = AffinityRecorder(every=1, **WAYS[way])
    record, _ = watched(recorder, Shared(5, list(targets)), tasks, ({"x": x}, targets), 40)
    values = numbers(record["values"], 3)
    assert np.isnan(values[:, 2]).all()
    assert np.isfinite(values[:, :2]).all()  # a companion it may be
    assert all(losses[2] < 0 for losses in record["losses"])
    pair = {name: targets[name] for name in ("a", "b")}
    recorder = AffinityRecorder(every=1, **WAYS[way])
    record, _ = watched(recorder, Shared(5, ["a", "b"]), tasks[::2], ({"x": x}, pair), 40)
    assert np.isfinite(numbers(record["values"], 2)[:, 0]).all()
    # A loss that all but vanishes at some steps: those alone are left out.
    tasks = [*plain_tasks(["a", "twin"]), Task("b", "regression", loss_function=vanishing)]
    sign = torch.where(torch.arange(40) < 20, -1.0, 1.0).double()
    recorder = AffinityRecorder(every=1, **WAYS[way])
    data = ({"x": x}, targets | {"b": sign})
    record, _ = watched(recorder, Shared(5, list(targets)), tasks, data, 20)
    left_out = np.isnan(numbers(record["values"], 3)[:, 2]).all(axis=1)
    assert left_out.tolist() == [False, True] * 12
    assert record["losses"][1][2] < 1e-11


@pytest.mark.parametrize("way", WAYS)
def test_bf16_and_accumulation(way):
    real = digits(rows=300)
    tables = []
    for precision in ("no", "bf16"):
        recorder = AffinityRecorder(every=4, **WAYS[way])
        trained(
            real,
            None,
            recorder,
            precision=precision,
            accumulate=2,
            optimizer="sgd",
            lr=0.1,
            size=30,
        )
        record = recorder.record()
        assert not record["skipped"]
        tables.append(numbers(record["values"], 3).mean(0))
    np.testing.assert_allclose(tables[0].diagonal(), tables[1].diagonal(), rtol=0.1)


def steps_of(recorder, real, **options):
    trained(real, None, recorder, optimizer="sgd", **options)
    return recorder.record()


def test_recordings_cost_a_quarter_by_count_and_are_at_least_ten():
    real = digits(rows=300)  # 180 rows to learn from
    many = {"size": 9, "epochs": 4}  # 80 steps
    assert steps_of(AffinityRecorder(), real, **many)["steps"] == list(range(4, 80, 8))
    assert steps_of(AffinityRecorder(samples=3), real, **many)["steps"] == [13, 40, 66]
    record = steps_of(AffinityRecorder(statistic="exact"), real, **many)
    assert (record["each"], record["planned"]) == (3.0, 10)
    record = steps_of(AffinityRecorder(order="exact"), real, **many)
    assert (record["each"], record["planned"], record["batches"]) == (4.0, 10, 80)
    record = steps_of(AffinityRecorder(every=30), real, **many)
    assert (record["steps"], record["planned"]) == ([0, 30, 60], 3)
    short = steps_of(AffinityRecorder(), real, size=60, epochs=2)
    assert short["steps"] == list(range(6))
    # Even of so few steps enough are left where Adam's first moments are passed over.
    recorder = AffinityRecorder()
    trained(real, None, recorder, size=36, epochs=4)
    assert (len(recorder.record()["values"]), recorder.record()["planned"]) == (9, 10)
    recorder = AffinityRecorder(samples=1000)
    recorder._tasks = tuple(map(str, range(40)))
    assert recorder._wanted(4800) == 600
    recorder.order = "exact"
    assert recorder._wanted(4800) == int(1200 / 41)


def test_batches_without_a_length_are_recorded_now_and_then():
    real = digits(rows=600)

    class Stream:
        def __iter__(self):
            return iter(real.batches(size=16))

    for options, steps in (({}, [0, 20, 40]), ({"every": 30}, [0, 30])):
        recorder = AffinityRecorder(**options)
        trainer = Trainer(
            real.model(), real.tasks, epochs=2, callbacks=[recorder], progress=False, device="cpu",
            optimizer="sgd",
        )  # fmt: skip
        trainer.fit(Stream())
        assert recorder.record()["steps"] == steps
        assert recorder.record()["planned"] is None
    recorder._tasks, recorder.every, recorder.order = tuple(map(str, range(9))), None, "exact"
    assert recorder._stride() == 40


def timeless(record):
    return {key: value for key, value in record.items() if key != "seconds"}


@pytest.mark.parametrize("way", ["first, tail", "exact, other"])
def test_a_resumed_training_ends_with_the_same_record(tmp_path, way):
    real = digits(rows=300, missing=0.2)
    whole = AffinityRecorder(every=2, **WAYS[way])
    trained(real, None, whole, size=32, out=tmp_path / "whole")
    options = {"size": 32, "out": tmp_path / "part", "checkpoint_every": 0}
    with pytest.raises(SystemExit):
        trained(real, None, AffinityRecorder(every=2, **WAYS[way]), Killed(), **options)
    again = AffinityRecorder(every=2, **WAYS[way])
    trained(real, None, again, Callback(), **options)
    assert timeless(again.record()) == timeless(whole.record())
    files = [json.loads((tmp_path / n / "affinity.json").read_text()) for n in ("whole", "part")]
    assert timeless(files[0]) == timeless(files[1]) == timeless(whole.record())
    assert len(files[0]["values"]) == 10
    # A fit starts anew.
    trained(real, None, whole, size=32)
    assert timeless(whole.record()) == timeless(again.record())


class Signs(torch.optim.Optimizer):
    def __init__(self, parameters, lr, weight_decay):
        super().__init__(parameters, {"lr": lr})

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.data.add_(parameter.grad.sign(), alpha=-group["lr"])


def test_an_optimizer_of_one_s_own_is_remarked_once():
    recorder = AffinityRecorder(every=3)
    trained(digits(rows=300), None, recorder, optimizer=Signs)
    (remark,) = recorder.record()["remarks"]
    assert remark.startswith("The steps of Signs were taken to be")
    assert recorder.record()["optimizer"] == "Signs"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be a whole number above 0, found 0"),
        ({"samples": 1.5}, "samples must be a whole number"),
        ({"statistic": "tial"}, "did you mean 'tail'"),
        ({"order": "second"}, "unknown order of the affinity 'second'"),
        ({"order": "exact", "evaluate": "others"}, "did you mean 'other'"),
        ({"evaluate": "other"}, "evaluate='other' is a choice of order='exact'"),
    ],
)
def test_arguments_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        AffinityRecorder(**options)
