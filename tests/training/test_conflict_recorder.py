"""Recording conflict: the training stays the same, and the cosines are those of the full data."""

import json

import numpy as np
import pytest
import torch
from real_tasks import diabetes, digits
from recorded import Killed, Last, Restless, trained
from torch import nn

from polytask.architectures import create_architecture
from polytask.data import Batches
from polytask.errors import UserError
from polytask.kernel.measure import Discovery, measure
from polytask.kernel.problem import pose
from polytask.relationships import estimate
from polytask.tasks import Task
from polytask.training import Callback, ConflictRecorder, Trainer


@pytest.mark.parametrize("method", ["linear", "pcgrad", "modo"])
@pytest.mark.parametrize("statistic", ["tail", "exact"])
def test_training_is_the_same_bit_for_bit(method, statistic):
    real = digits(missing=0.2, rows=300)
    ends = []
    for recorder in (None, ConflictRecorder(every=2, statistic=statistic)):
        encoder = Restless(real.train[0]["x"].shape[1])
        model = create_architecture("hard_sharing", encoder, real.tasks)
        after = Last()
        callbacks = [after] if recorder is None else [recorder, after]
        several = 1 if method == "modo" else 2
        trainer = trained(real, model, *callbacks, method=method, size=32, accumulate=several)
        plain = [{k: v for k, v in e.items() if k != "seconds"} for e in trainer.history.epochs]
        ends.append((model.state_dict(), plain, after.states))
    record = recorder.record()
    assert len(record["products"]) == 12
    assert not record["skipped"]
    for name, value in ends[0][0].items():
        assert torch.equal(value, ends[1][0][name]), name
    assert ends[0][1] == ends[1][1]
    for one, other in zip(ends[0][2], ends[1][2], strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


class WithTruth(ConflictRecorder):
    """Also measures the gradients of all training rows at every recorded step."""

    def __init__(self, data):
        super().__init__(samples=40, statistic="exact")
        self.data, self.truth = data, []

    def _measure(self, trainer, inputs, targets):
        found = super()._measure(trainer, inputs, targets)
        outputs, _ = trainer.forward(self.data[0])
        losses = trainer.forward.losses(outputs, self.data[1]).values
        gramian = measure(pose(losses), "exact", discovery=Discovery()).gramian
        self.truth.append(gramian / found.norms()[:, None] / found.norms()[None, :])
        return found


def test_cosines_are_those_of_the_full_data():
    real = digits(rows=1797)
    records, truths = [], []
    for seed in range(3):
        recorder = WithTruth(real.train)
        trained(real, real.model(seed=seed), recorder, epochs=12, lr=1e-3, size=128, seed=seed)
        records.append(recorder.record())
        truths += recorder.truth
    found = estimate(records)
    mean = torch.stack(truths).mean(0)
    lengths = mean.diagonal().sqrt()
    truth = (mean / lengths[:, None] / lengths[None, :]).numpy()
    # How far this path's cosines are from its own truth is known from blocks alone.
    blocks = estimate(records[:2])
    assert not found.reasons
    assert (np.abs(found.cosine - truth) < 3.5 * blocks.standard_error + 1e-9).all()
    assert blocks.standard_error.max() < 0.05
    assert np.abs(truth[np.triu_indices(3, 1)]).max() > 0.08  # there is something to be found


class OneOutput(nn.Module):
    """All tasks read the same output."""

    def __init__(self, columns, names):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(columns, 16), nn.Tanh(), nn.Linear(16, 1))
        self.names = names

    def forward(self, inputs):
        y = self.layers(inputs["x"])
        return dict.fromkeys(self.names, y[:, 0] if y.dim() > 1 else y)


def opposed():
    """Diabetes' progression, and the same turned round."""
    real = diabetes(missing=0.0)
    task = Task("up", "regression")
    other = Task("down", "regression")
    targets = [{"up": p[1]["progress"], "down": -p[1]["progress"]} for p in (real.train, real.val)]
    tasks = {t.name: t.fitted(targets[0][t.name].numpy()) for t in (task, other)}
    return tasks, (real.train[0], targets[0]), (real.val[0], targets[1])


def test_a_target_turned_round_fights_over_one_output_and_agrees_under_a_head_of_its_own():
    tasks, train, val = opposed()
    columns = train[0]["x"].shape[1]
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(columns, 16), nn.Tanh())
    encoder.output_size = 16
    cosines = []
    for model in (
        OneOutput(columns, list(tasks)),
        create_architecture("hard_sharing", encoder, tasks),
    ):
        recorder = ConflictRecorder()
        trainer = Trainer(
            model, tasks, epochs=20, lr=1e-2, callbacks=[recorder], progress=False, device="cpu",
            batch_size=64, select="loss",
        )  # fmt: skip
        trainer.fit(train, val)
        found = estimate([recorder.record()])
        assert abs(found.cosine[0, 1]) > found.null[0, 1]
        cosines.append(found.cosine[0, 1])
    assert cosines[0] < -0.9
    assert cosines[1] > 0.3


def test_a_task_with_few_labels_gives_samples_where_both_halves_have_some():
    real = digits(rows=600)
    odd = real.train[1]["odd"]
    rare = torch.where(torch.arange(len(odd)) % 40 == 0, odd, torch.nan)
    recorder = ConflictRecorder()
    real.train = (real.train[0], real.train[1] | {"odd": rare})
    trained(real, None, recorder, epochs=10, size=64)
    record = recorder.record()
    row = record["tasks"].index("odd")
    has = [norms[row] is not None for norms in record["norms"]]
    assert 0 < sum(has) < len(has) == 60
    found = estimate([record])
    others = [i for i in range(3) if i != row]
    assert found.counts[row, row] == found.counts[row, others[0]] == sum(has)
    assert found.counts[others[0], others[1]] == 60


def causes(real, model=None, size=64, tasks=None, **options):
    recorder = ConflictRecorder(**options)
    trainer = Trainer(
        model or real.model(), tasks or real.tasks, epochs=1, callbacks=[recorder],
        progress=False, device="cpu",
    )  # fmt: skip
    data = real.batches(size=size) if isinstance(size, int) else size
    trainer.fit(data)
    record = recorder.record()
    assert not record["products"]
    json.dumps(record, allow_nan=False)
    return record["skipped"]


def test_what_cannot_be_measured_is_passed_over_with_its_cause():
    real = digits(rows=100)
    columns = real.train[0]["x"].shape[1]
    alone = {"odd": real.tasks["odd"]}
    encoder = nn.Sequential(nn.Linear(columns, 8), nn.ReLU())
    encoder.output_size = 8
    single = create_architecture("hard_sharing", encoder, alone)
    assert causes(real, single, tasks=alone) == {"a single task has none to be compared with": 1}
    assert list(causes(real, size=3)) == ["a batch had fewer than 4 rows"]
    apart = create_architecture("single_task", encoder, real.tasks)
    (cause,) = causes(real, apart)
    assert "share none that require a gradient" in cause

    class Rigid(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = real.model()

        def forward(self, inputs):
            if len(inputs["x"]) != 30:
                raise RuntimeError("this model takes 30 rows")
            return self.model(inputs)

    (cause,) = causes(real, Rigid(), size=30)
    assert cause == "RuntimeError: this model takes 30 rows"
    rest = {name: value[:60] for name, value in real.train[1].items()}
    whole = [({"x": real.train[0]["x"][:60], "name": "a batch"}, rest)]

    class Reads(Rigid):
        def forward(self, inputs):
            return self.model({"x": inputs["x"]})

    (cause,) = causes(real, Reads(), size=whole)
    assert cause == "a batch of 60 rows cannot be cut: it holds str"
    empty = [(real.train[0], {n: v for n, v in real.train[1].items() if n == "odd"})]
    (cause,) = causes(real, size=empty)
    assert cause == "no two tasks had labels, and a gradient, in both halves of the batch"


class Steps(ConflictRecorder):
    """Which batches were recorded."""

    def _measure(self, trainer, inputs, targets):
        self.at = [*getattr(self, "at", []), self._seen - 1]
        return super()._measure(trainer, inputs, targets)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, list(range(24))),  # all 24 of a short training
        ({"samples": 6}, [2, 6, 10, 14, 18, 22]),
        ({"samples": 5}, [2, 7, 12, 16, 21]),
        ({"every": 10}, [0, 10, 20]),
    ],
)
def test_recordings_are_spread_over_the_training(options, steps):
    recorder = Steps(**options)
    trained(digits(rows=300), None, recorder, size=32)
    assert recorder.at == steps


def test_batches_without_a_length_are_recorded_now_and_then():
    real = digits(rows=600)

    class Stream:
        def __iter__(self):
            return iter(real.batches(size=16))

    recorder = Steps()
    trainer = Trainer(
        real.model(), real.tasks, epochs=2, callbacks=[recorder], progress=False, device="cpu"
    )
    trainer.fit(Stream())
    assert recorder.at == [0, 20, 40]
    assert len(recorder.record()["products"]) == 3


def test_a_fit_starts_anew_and_a_saved_state_goes_on():
    real = digits(rows=300)
    recorder = ConflictRecorder(samples=6)
    trained(real, None, recorder)
    first = recorder.record()
    trained(real, None, recorder)
    assert recorder.record() == first

    class Halfway(Callback):
        def on_epoch_end(self, trainer, epoch, metrics):
            if epoch == 2:
                self.state = json.loads(json.dumps(source.state_dict(), allow_nan=False))

    source, halfway = ConflictRecorder(samples=6), Halfway()
    trained(real, None, source, halfway)
    other = ConflictRecorder(samples=6)
    other.load_state_dict(halfway.state)
    assert len(other.record()["products"]) == 3
    trained(real, None, other, epochs=2)  # goes on counting where the state was
    assert other.record()["products"][:3] == first["products"][:3]


def test_a_resumed_training_ends_with_the_same_record(tmp_path):
    real = digits(rows=300, missing=0.2)
    whole = ConflictRecorder(samples=10)
    trained(real, None, whole, size=32, out=tmp_path / "whole")
    options = {"size": 32, "out": tmp_path / "part", "checkpoint_every": 0}
    with pytest.raises(SystemExit):
        trained(real, None, ConflictRecorder(samples=10), Killed(), **options)
    again = ConflictRecorder(samples=10)
    trained(real, None, again, Callback(), **options)
    assert again.record() == whole.record()
    files = [json.loads((tmp_path / n / "conflict.json").read_text()) for n in ("whole", "part")]
    assert files[0] == files[1] == whole.record()
    # A training that is only read again records nothing; its record is still there.
    idle = ConflictRecorder(samples=10)
    trained(real, None, idle, Callback(), **options, resume="finished")
    assert idle.record()["products"] == []
    assert json.loads((tmp_path / "part" / "conflict.json").read_text()) == whole.record()


def test_inputs_may_be_nested_and_batches_a_loader_s():
    real = digits(rows=200)
    x, y = real.train[0]["x"], real.train[1]

    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = real.model()

        def forward(self, inputs):
            (x, scale), extra = inputs
            assert len(x) == len(extra["again"])
            return self.model({"x": x * scale[:, None]})

    rows = [
        (((x[i], torch.ones(())), {"again": x[i]}), {n: v[i] for n, v in y.items()})
        for i in range(100)
    ]
    loader = torch.utils.data.DataLoader(rows, batch_size=20)
    recorder = ConflictRecorder()
    trainer = Trainer(Nested(), real.tasks, epochs=1, callbacks=[recorder], progress=False)
    trainer.fit(loader)
    assert len(recorder.record()["products"]) == 5
    assert recorder._fraction(next(iter(loader))[1]) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be a whole number above 0, found 0"),
        ({"samples": 1.5}, "samples must be a whole number"),
        ({"statistic": "tial"}, "did you mean 'tail'"),
    ],
)
def test_arguments_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        ConflictRecorder(**options)


def test_full_batches_have_no_noise():
    real = digits(rows=200)
    train = Batches(*real.train, batch_size=len(real.train[0]["x"]))
    recorder = WithTruth(real.train)
    trainer = Trainer(
        real.model(), real.tasks, epochs=12, callbacks=[recorder], progress=False, device="cpu"
    )
    trainer.fit(train)
    products = torch.tensor(recorder.record()["products"])
    truth = torch.stack(recorder.truth)[:, *torch.triu_indices(3, 3)]
    torch.testing.assert_close(products.double(), truth, rtol=1e-3, atol=1e-4)
