"""Callbacks that switch helpers off and on: by constructed scores, and in real trainings."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from real_tasks import Real, digits
from sklearn.datasets import load_wine

from polytask.errors import UserError
from polytask.metrics import Undefined
from polytask.tasks import Task
from polytask.training import Callback, StopAndGo, TaskBandit, TaskEarlyStopping, Trainer
from polytask.training.stop_tasks import criterion

OPTIONS: dict[str, Any] = {"lr": 3e-3, "progress": False, "device": "cpu"}


class Memoriser:
    """Digits with a helper of random classes: it can only be learned by heart."""

    def __new__(cls, rows: int = 240) -> Real:
        real = digits(rows=rows)
        chance = torch.Generator().manual_seed(0)
        task = Task("noise", "multiclass", role="auxiliary", classes=tuple(range(4)))
        real.tasks["noise"] = task
        for part in (real.train, real.val, real.test):
            part[1]["noise"] = torch.randint(0, 4, (len(part[1]["digit"]),), generator=chance)
        return real


def wine() -> Real:
    """178 wines: the cultivar, and how much alcohol and which hue as helpers."""
    data = load_wine()
    columns = list(data.feature_names)
    helpers = ("alcohol", "hue")
    kept = [i for i, name in enumerate(columns) if name not in helpers]
    x = data.data[:, kept]
    order = np.random.default_rng(0).permutation(len(x))
    train, val = order[:100], order[100:]
    x = torch.tensor((x - x[train].mean(0)) / x[train].std(0), dtype=torch.float32)
    raw = {"kind": data.target, **{h: data.data[:, columns.index(h)] for h in helpers}}
    tasks = [Task("kind", "multiclass", classes=(0, 1, 2))]
    tasks += [Task(name, "regression", role="auxiliary") for name in helpers]
    encoded = {task.name: task.encode(raw[task.name]) for task in tasks}
    named = {task.name: task.fitted(encoded[task.name][train]) for task in tasks}
    parts = [
        ({"x": x[part]}, {name: torch.from_numpy(t[part]) for name, t in encoded.items()})
        for part in (train, val)
    ]
    return Real(named, parts[0], parts[1], parts[1])


def standing(real: Real | None = None, *, val: bool = True, **options: Any) -> Trainer:
    """A trainer that is told scores, in place of one that trains."""
    real = real or digits(rows=60)
    trainer = Trainer(real.model(), real.tasks, **{**OPTIONS, **options})
    trainer._fit = SimpleNamespace(val=object() if val else None, state=SimpleNamespace(step=0))
    return trainer


def told(callback: Callback, trainer: Trainer, scores: Sequence[Any], task: str = "ink") -> list:
    """Tell a callback the scores of epochs; whether the task is paused after each."""
    metric = trainer.tasks[task].primary.name
    callback.on_train_begin(trainer)
    seen = []
    for epoch, score in enumerate(scores, 1):
        callback.on_epoch_end(trainer, epoch, {f"val/{task}/{metric}": score})
        seen.append(task in trainer.paused)
    return seen


# Task-wise early stopping


def test_the_criterion_by_hand() -> None:
    # The last 4 of [9, 4, 3, 2, 2]: sum 11, median 2.5; k = 3: 7.5 / 3.5 times (3 - 2) / (2 * 2).
    value = criterion([9, 4, 3, 2, 2], 3.0, period=3, importance=2.0)
    assert value == pytest.approx(7.5 / 3.5 / 4)
    assert criterion([9, 4, 3], 3.0, period=3) is None


@pytest.mark.parametrize("period", [1, 2, 5, 8])
def test_the_criterion_of_flat_and_falling_losses(period: int) -> None:
    flat = criterion([0.7] * 20, 0.7 * 1.2, period)
    assert flat == pytest.approx(period * 0.2)
    halving = [2.0**-epoch for epoch in range(20)]
    assert criterion(halving, halving[-1] * 1.2, period) < 0.7 * flat or period == 1
    assert criterion(halving, halving[-1], period) == 0
    assert criterion(halving, halving[-1] * 0.9, period) < 0


def test_the_criterion_does_not_depend_on_units() -> None:
    errors, val = [3.0, 2.5, 2.4, 2.3, 2.0], 2.6
    for unit in (1e-9, 1e9):
        scaled = criterion([unit * e for e in errors], unit * val, 3)
        assert scaled == pytest.approx(criterion(errors, val, 3))


def test_the_criterion_where_it_has_no_value() -> None:
    assert criterion([10, 10, 10, 0, 0], 5.0, period=4) == 0  # the denominator is negative
    assert criterion([0.0] * 6, 0.5, period=3) == math.inf  # learned by heart
    assert criterion([0.0] * 6, 0.0, period=3) == 0
    assert criterion([-1.0] * 6, 0.5, period=3) is None


def test_early_stopping_of_constructed_losses() -> None:
    trainer, callback = standing(), TaskEarlyStopping(epsilon=1.0, period=2)
    callback.on_train_begin(trainer)
    train = [1.0, 0.6, 0.4, 0.3, 0.28, 0.28, 0.28, 0.1]
    val = [1.0, 0.7, 0.5, 0.4, 0.4, 0.5, 0.6, 0.1]
    for epoch, (e, v) in enumerate(zip(train, val, strict=True), 1):
        if epoch == 3:  # an epoch without a label does not count
            undefined = Undefined("no labelled item")
            record = {"train/ink/loss": undefined, "val/ink/loss": v}
            callback.on_epoch_end(trainer, 3, record)
        callback.on_epoch_end(trainer, epoch, {"train/ink/loss": e, "val/ink/loss": v})
    expected = [criterion(train[:n], val[n - 1], 2) for n in range(1, 7)]
    assert callback.values["ink"] == [*expected[:2], None, *expected[2:]]
    assert expected[-2] < 1 < expected[-1]
    assert callback.stopped == {"ink": 6}
    assert trainer.paused == {"ink"}
    again = TaskEarlyStopping(epsilon=1.0, period=2)
    again.load_state_dict(json.loads(json.dumps(callback.state_dict())))
    assert (again.stopped, again.values) == (callback.stopped, callback.values)


def test_an_important_task_trains_longer() -> None:
    ends = []
    for importance in (0.5, 1.0, {"ink": 4.0}, {"odd": 0.1}):
        trainer = standing()
        callback = TaskEarlyStopping(epsilon=1.0, period=2, importance=importance)
        callback.on_train_begin(trainer)
        for epoch in range(1, 40):
            record = {"train/ink/loss": 1.0, "val/ink/loss": 1 + 0.1 * epoch}
            callback.on_epoch_end(trainer, epoch, record)
        ends.append(callback.stopped["ink"])
    assert ends == [3, 6, 21, 6]


def test_early_stopping_of_a_helper_that_only_memorises() -> None:
    real = Memoriser()
    callback = TaskEarlyStopping(epsilon=1.0, period=4, tasks=["noise"])
    trainer = Trainer(
        real.model(width=64), real.tasks, epochs=20, callbacks=[callback], **{**OPTIONS, "lr": 1e-2}
    )
    history = trainer.fit(real.batches(), real.batches("val"))
    assert list(callback.stopped) == ["noise"]
    end = callback.stopped["noise"]
    assert 5 <= end < 18
    paused = history.series("paused/noise")
    assert paused == [None] * end + [1.0] * (20 - end)
    # It is evaluated to the end, and its head rests.
    assert all(isinstance(v, float) for v in history.series("val/noise/accuracy"))
    assert history.epochs[-1]["val/digit/accuracy"] > 0.8


# Stop and go


@pytest.mark.parametrize(("direction", "unit"), [("max", 1.0), ("max", 1e-3), ("min", 50.0)])
def test_stop_and_go_of_constructed_scores(direction: str, unit: float) -> None:
    # Improvements of 0.05 % count only once they have added up to 0.1 % of the best.
    rises = [0.5, 0.6, 0.7, 0.70035, 0.7008, 0.70085, 0.7009]
    falls = [0.698, 0.6972, 0.6973, 0.6974, 0.69745, 0.6975, 0.71, 0.711]
    expected = [False] * 5 + [False, True] + [True, False, False, False, True, True, True, True]
    scores = [*rises, *falls]
    if direction == "min":
        scores = [1 / score for score in scores]
    name = "digit" if direction == "max" else "ink"
    trainer = standing()
    callback = StopAndGo(gap=None, tasks=[name])
    assert told(callback, trainer, [unit * s for s in scores], name) == expected
    assert callback.switches == [(7, name, "stop"), (9, name, "go"), (12, name, "stop")]
    assert callback.stopped == {name}


def test_stop_and_go_as_published() -> None:
    """Against the published rule, where that looks at every epoch: bad ones never run out."""
    chance, trainer = np.random.default_rng(0), standing()
    for _ in range(50):
        trainer.unpause("digit", by="StopAndGo")
        scores = 0.8 + np.cumsum(chance.normal(0, 0.004, 40))
        mine = told(StopAndGo(gap=None, tasks=["digit"]), trainer, scores.tolist(), "digit")
        assert mine == published(scores.tolist())


def published(scores: list[float]) -> list[bool]:
    """The rule as a loop of its own: best, run of bad epochs, one epoch of rest after going on."""
    out, best, bad, rest, off = [], -math.inf, 0, 0, False
    for score in scores:
        better = score > best * (1.001 if best > 0 else 1)
        best, bad = (score, 0) if better else (best, bad + 1)
        if rest:
            rest, bad = rest - 1, 0
        if off and score < best * (1 - 0.005):
            off, bad, rest = False, 0, 1
        elif not off and bad > 1:
            off, bad = True, 0
        out.append(off)
    return out


def test_an_undefined_score_changes_nothing() -> None:
    undefined = Undefined("one class only")
    scores = [0.5, undefined, 0.5, undefined, undefined, 0.5, 0.5]
    seen = told(StopAndGo(gap=None, tasks=["digit"]), standing(), scores, "digit")
    assert seen == [False, False, False, False, False, True, True]
    assert told(StopAndGo(tasks=["digit"]), standing(), [0.0] * 3, "digit") == [False, False, True]


def test_a_stopped_task_takes_every_fourth_step() -> None:
    real = Memoriser()
    callback = StopAndGo(stop=10.0, patience=1, go=1e9, gap=4, cooldown=0, tasks=["noise"])
    trainer = Trainer(real.model(), real.tasks, epochs=4, callbacks=[callback], **OPTIONS)
    history = trainer.fit(real.batches(size=16), real.batches("val"))  # 9 batches an epoch
    assert callback.switches == [(2, "noise", "stop")]
    # Steps 18 to 26 and 27 to 35: the multiples of 4 take part.
    shares = history.series("paused/noise")
    assert shares == [None, None, pytest.approx(7 / 9), pytest.approx(7 / 9)]
    assert isinstance(history.epochs[-1]["train/noise/loss"], float)


def test_stop_and_go_with_checkpoints_and_patience(tmp_path: Path) -> None:
    real = wine()
    trainer = Trainer(
        real.model(),
        real.tasks,
        epochs=60,
        patience=12,
        select="main:kind",
        callbacks=[StopAndGo(gap=None, stop=0.01)],
        out=tmp_path,
        **{**OPTIONS, "lr": 1e-2},
    )
    history = trainer.fit(real.batches(size=16), real.batches("val"))
    callback = next(iter(trainer.callbacks))
    words = [word for _, _, word in callback.switches]
    assert {"stop", "go"} == set(words)
    # What was switched off rests in the epochs after, and in no other.
    for task in ("alcohol", "hue"):
        off = False
        for record in history.epochs:
            assert record.get(f"paused/{task}", 0) == float(off)
            for epoch, name, word in callback.switches:
                if (epoch, name) == (record["epoch"], task):
                    off = word == "stop"
    # Patience and the choice go by the main task as they do without pauses.
    assert history.stopped_early
    accuracy = history.series("val/kind/accuracy")
    assert history.best_epoch == 1 + accuracy.index(max(accuracy))
    assert len(history.epochs) == history.best_epoch + 12
    found = trainer.evaluate(real.batches("val"))["test/kind/accuracy"]
    assert found == pytest.approx(max(accuracy))
    # A further fit begins with all tasks.
    trainer.fit(real.batches(size=16), real.batches("val"))
    assert "paused/hue" not in trainer.history.epochs[0]


# The bandit


def test_rounds_of_constructed_scores() -> None:
    scores = [0.5, 0.6, 0.6, 0.55, 0.58, Undefined("none"), 0.57, 0.59]
    for reward, expected in (
        ("previous", [None, 1, 1, 0, 1, None, 0, 1]),
        ("best", [None, 1, 0, 0, 0, None, 0, 0]),
        ("mean", [None, 1, 1, 0, 1, None, 1, 1]),
    ):
        trainer = standing(wine())
        callback = TaskBandit(reward=reward, decay=0.0)
        callback.on_train_begin(trainer)
        drawn = []
        for epoch, score in enumerate(scores, 1):
            drawn.append(callback._arm)
            assert trainer.paused == {"alcohol", "hue"} - {drawn[-1]}
            callback.on_epoch_end(trainer, epoch, {"val/kind/accuracy": score})
        assert [known.reward for known in callback.rounds] == expected
        assert [known.arm for known in callback.rounds] == drawn
        for arm in ("alcohol", "hue", "kind"):
            rewards = [r.reward for r in callback.rounds if r.arm == arm and r.reward is not None]
            known = callback.posteriors()[arm]
            assert (known.alpha, known.pulls) == (1 + sum(rewards), len(rewards))


def test_a_metric_to_be_minimised_counts_the_other_way() -> None:
    trainer, callback = standing(wine()), TaskBandit(main="hue", helpers=["alcohol"])
    callback.on_train_begin(trainer)
    for epoch, score in enumerate([0.5, 0.4, 0.45], 1):
        callback.on_epoch_end(trainer, epoch, {"val/hue/rmse": score})
    assert [known.reward for known in callback.rounds] == [None, 1, 0]


def test_the_bandit_finds_the_helper_that_pays() -> None:
    """The main score rises in rounds of one helper and falls in all others."""
    trainer = standing(wine())
    callback = TaskBandit(decay=0.0, delta=0.05)
    callback.on_train_begin(trainer)
    score = 0.0
    for epoch in range(1, 60):
        score += 0.01 if callback._arm == "hue" else -0.01
        callback.on_epoch_end(trainer, epoch, {"val/kind/accuracy": score})
    assert callback.settled == "hue"
    assert trainer.paused == {"alcohol"}
    assert len(callback.rounds) < 59
    record = callback.record()
    assert record["arms"]["hue"]["probability_best"] > 0.95
    assert record["arms"]["hue"]["mean"] > record["arms"]["alcohol"]["mean"]
    assert json.loads(json.dumps(record))["settled"] == "hue"


def test_a_training_with_the_bandit(tmp_path: Path) -> None:
    real = wine()
    callback = TaskBandit(every=2)
    trainer = Trainer(
        real.model(), real.tasks, epochs=12, callbacks=[callback], out=tmp_path, **OPTIONS
    )
    history = trainer.fit(real.batches(size=16), real.batches("val"))
    assert [known.epoch for known in callback.rounds] == [2, 4, 6, 8, 10, 12]
    for known in callback.rounds:
        for record in history.epochs[known.epoch - 2 : known.epoch]:
            for helper in ("alcohol", "hue"):
                assert record.get(f"paused/{helper}", 0) == float(helper != known.arm)
        assert known.score == history.epochs[known.epoch - 1]["val/kind/accuracy"]
    assert json.loads((tmp_path / "bandit.json").read_text()) == json.loads(
        json.dumps(callback.record())
    )


# All of them


def makers() -> list[Any]:
    return [
        pytest.param(lambda: TaskEarlyStopping(epsilon=0.05, period=2), id="early stopping"),
        pytest.param(lambda: StopAndGo(stop=0.2, gap=3, patience=1), id="stop and go"),
        pytest.param(lambda: TaskBandit(main="digit", every=2), id="bandit"),
    ]


@pytest.mark.parametrize("make", makers())
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_cut_training_goes_on_with_the_same_bits(
    tmp_path: Path, make: Any, accumulate: int
) -> None:
    class Cut(BaseException):
        pass

    class Cutting(Callback):
        def __init__(self, batches: int) -> None:
            self.left = batches

        def on_batch_end(self, trainer: Trainer, batch_index: int, losses: dict) -> None:
            self.left -= 1
            if not self.left:
                raise Cut

    def fit(out: Path, cut: int = 0) -> tuple[Trainer, Callback]:
        real, callback = Memoriser(), make()
        trainer = Trainer(
            real.model(dropout=0.2),
            real.tasks,
            epochs=6,
            callbacks=[callback, Cutting(cut)],
            out=out,
            checkpoint_every=0,
            accumulate=accumulate,
            **{**OPTIONS, "lr": 2e-2},
        )
        if cut:
            with pytest.raises(Cut):
                trainer.fit(real.batches(size=32), real.batches("val"))
        else:
            trainer.fit(real.batches(size=32), real.batches("val"))
        return trainer, callback

    whole, one = fit(tmp_path / "whole")
    for cut in (13, 11):
        fit(tmp_path / "cut", cut)
    ended, other = fit(tmp_path / "cut")
    assert "resumed" in ended.history.taken_up
    assert one.state_dict() == other.state_dict()
    assert whole.paused == ended.paused
    for mine, theirs in zip(whole.history.epochs, ended.history.epochs, strict=True):
        assert mine | {"seconds": 0} == theirs | {"seconds": 0}
    state = ended.model.state_dict()
    assert all(torch.equal(value, state[n]) for n, value in whole.model.state_dict().items())
    assert any(key.startswith("paused/") for record in whole.history.epochs for key in record)


@pytest.mark.parametrize("make", makers())
def test_a_finished_training_without_it_is_not_taken(tmp_path: Path, make: Any) -> None:
    def fit(*callbacks: Callback) -> str:
        real = digits(rows=120)
        options = {**OPTIONS, "epochs": 1, "out": tmp_path, "resume": "finished"}
        trainer = Trainer(real.model(), real.tasks, callbacks=callbacks, **options)
        trainer.fit(real.batches(), real.batches("val"))
        return trainer.history.taken_up

    assert not fit()
    assert not fit(make())
    assert fit(make())
    assert not fit(make(), make())


@pytest.mark.parametrize("kind", [TaskEarlyStopping, StopAndGo, TaskBandit])
def test_what_is_refused_before_training(kind: Any) -> None:
    word = "helpers" if kind is TaskBandit else "tasks"
    main = {"main": "digit"} if kind is TaskBandit else {}
    with pytest.raises(UserError, match=r"list of task names, found the text 'ink'"):
        kind(**{word: "ink"})
    with pytest.raises(UserError, match="fit got no data; pass val"):
        kind(**main).on_train_begin(standing(val=False))
    with pytest.raises(UserError, match="did you mean 'ink'"):
        kind(**{word: ["inc"]}, **main).on_train_begin(standing())
    with pytest.raises(UserError, match="no main task in training"):
        kind(**{word: ["digit", "odd"]}, **main).on_train_begin(standing())
    real = digits(rows=60)
    del real.tasks["ink"]
    with pytest.raises(UserError, match="none of digit, odd is one"):
        kind(**main).on_train_begin(standing(real))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TaskEarlyStopping(epsilon=0), "epsilon must be above 0"),
        (lambda: TaskEarlyStopping(period=0), "period must be"),
        (lambda: TaskEarlyStopping(importance={"a": -1}), "importance must be above 0"),
        (lambda: StopAndGo(stop=-1), "stop must be"),
        (lambda: StopAndGo(go=0), "go must be"),
        (lambda: StopAndGo(patience=0), "patience must be"),
        (lambda: StopAndGo(gap=1), "gap must be a whole number of at least 2"),
        (lambda: TaskBandit(every=0), "every must be"),
        (lambda: TaskBandit(reward="first"), "reward must be one of"),
        (lambda: TaskBandit(delta=1.0), "delta must lie"),
        (lambda: TaskBandit(decay=1.0), "decay must be"),
    ],
)
def test_arguments_that_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_the_bandit_needs_one_main_task() -> None:
    with pytest.raises(UserError, match=r"there are 2 \(digit, odd\)"):
        TaskBandit().on_train_begin(standing())
    with pytest.raises(UserError, match="main task of TaskBandit"):
        TaskBandit(main="digits").on_train_begin(standing())
    with pytest.raises(UserError, match="cannot be a helper too"):
        TaskBandit(main="odd", helpers=["odd"]).on_train_begin(standing())
