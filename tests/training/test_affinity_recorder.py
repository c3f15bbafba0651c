"""Recording look-aheads: the training stays the same, and the values are what steps would do."""

import copy
import json

import numpy as np
import pytest
import torch
from lookahead_cases import WAYS, Shared, plain_tasks, quadratics, watched
from real_tasks import digits
from recorded import Killed, Last, Restless, numbers, trained

from polytask.architectures import create_architecture
from polytask.errors import UserError
from polytask.tasks import Task
from polytask.training import AffinityRecorder, Callback, Trainer


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
    assert recorder._wanted(4800) == 480
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
