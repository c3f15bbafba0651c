"""A paused task takes no part in training, as if it had no label, and is evaluated all the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from real_tasks import Real, diabetes, digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import polytask
from polytask.architectures import create_architecture
from polytask.data import Batches
from polytask.errors import UserError
from polytask.metrics import Undefined
from polytask.training import Callback, History, Trainer
from polytask.training._resume import STATE

OPTIONS: dict[str, Any] = {"lr": 3e-3, "progress": False, "device": "cpu"}


class At(Callback):
    """Pauses, or lets go, before numbered steps; remembers who took part in every step."""

    def __init__(self, pause: dict[int, str], unpause: dict[int, str] | None = None) -> None:
        self.plan, self.back = pause, unpause or {}
        self.batches, self.stop_after = 0, None
        self.present: list[tuple[str, ...]] = []

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        if self.batches in self.plan:
            trainer.pause(self.plan[self.batches])
        if self.batches in self.back:
            trainer.unpause(self.back[self.batches])
        self.batches += 1

    def on_grad_computed(self, trainer: Trainer, step: Any) -> None:
        self.present.append(step.tasks)

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.batches = state["batches"]


def records(history: History) -> list[dict[str, Any]]:
    """The history without times and pauses."""
    return [
        {k: v for k, v in r.items() if k != "seconds" and not k.startswith("paused/")}
        for r in history.epochs
    ]


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def unlabelled(real: Real, part: str = "train") -> Batches:
    """Batches without the target "sex"."""
    inputs, targets = getattr(real, part)
    rest = {name: target for name, target in targets.items() if name != "sex"}
    return Batches(inputs, rest, 64, shuffle=part == "train", seed=0)


@pytest.mark.parametrize("method", polytask.list_methods())
def test_paused_is_absent_for_every_method(method: str) -> None:
    """The same bits as of a training whose batches have no target of the task."""
    real, ends = diabetes(missing=0.0), []
    for paused in (True, False):
        arguments = {"generator": torch.Generator().manual_seed(0)}
        try:
            balancer = polytask.create_method(method, **arguments)
        except (UserError, TypeError):
            balancer = polytask.create_method(method)
        trainer = Trainer(
            real.model(), real.tasks, method=balancer, epochs=2, reference=REFERENCE, **OPTIONS
        )
        if paused:
            trainer.pause("sex")
        train = real.batches() if paused else unlabelled(real)
        # What a method learns from held-out data, it learns without the paused task.
        learns = not paused and "validation" in balancer.needs
        trainer.fit(train, unlabelled(real, "val") if learns else real.batches("val"))
        ends.append(trainer)
    one, other = ends
    assert same_weights(one.model, other.model)
    if "validation" in balancer.needs:
        return
    for mine, theirs in zip(records(one.history), records(other.history), strict=True):
        assert mine.pop("train/sex/loss") == Undefined("the task was paused")
        assert theirs.pop("train/sex/loss") == Undefined("no labelled item")
        assert mine == theirs
        assert isinstance(mine["val/sex/auroc"], float)
    assert one.history.series("paused/sex") == [1.0, 1.0]
    assert "paused/progress" not in one.history.epochs[0]
    assert "paused/sex" not in other.history.epochs[0]


REFERENCE = {"progress": 70.0, "pressure": 13.0, "sex": 0.5}


def test_the_head_of_a_paused_task_rests_and_comes_back() -> None:
    real = digits(rows=300)
    trainer = Trainer(real.model(), real.tasks, epochs=1, weight_decay=0.1, **OPTIONS)
    trainer.pause("ink")
    before = {n: p.clone() for n, p in trainer.model.named_parameters()}
    trainer.fit(real.batches(), real.batches("val"))
    moved = {n for n, p in trainer.model.named_parameters() if not torch.equal(p, before[n])}
    assert moved
    assert not any("ink" in name for name in moved)
    assert trainer.paused == {"ink"}
    trainer.unpause("ink")
    trainer.fit(real.batches(), real.batches("val"))
    after = dict(trainer.model.named_parameters())
    assert all(not torch.equal(after[n], before[n]) for n in before if "ink" in n)


@pytest.mark.parametrize("name", ["hard_sharing", "mmoe", "cross_stitch", "single_task"])
def test_what_only_a_paused_task_needs_is_not_computed(name: str) -> None:
    real = digits(rows=300)
    encoder = nn.Sequential(nn.Linear(64, 16), nn.ReLU())
    encoder.output_size = 16
    example = real.train[0]["x"][:8]
    model = create_architecture(name, encoder, real.tasks, example=example)
    asked = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: asked.append((module.training, kwargs.get("tasks"))),
        with_kwargs=True,
    )
    trainer = Trainer(model, real.tasks, epochs=1, **OPTIONS)
    trainer.pause("ink")
    trainer.fit(real.batches(), real.batches("val"))
    assert {tuple(tasks) for training, tasks in asked if training} == {("digit", "odd")}
    assert {tasks for training, tasks in asked if not training} == {None}


class Own(nn.Module):
    """A module of the user's, which knows nothing of `tasks=`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(64, 16), nn.ReLU())
        self.heads = nn.ModuleDict({n: nn.Linear(16, w) for n, w in WIDTHS.items()})

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        z = self.trunk(x["x"])
        return {name: head(z) for name, head in self.heads.items()}


WIDTHS = {"digit": 10, "odd": 1, "ink": 1}


def test_a_module_of_ones_own() -> None:
    real = digits(rows=300)
    trainer = Trainer(Own(), real.tasks, epochs=1, method="pcgrad", **OPTIONS)
    trainer.pause("odd")
    before = trainer.model.heads["odd"].weight.clone()
    history = trainer.fit(real.batches(), real.batches("val"))
    assert torch.equal(trainer.model.heads["odd"].weight, before)
    assert isinstance(history.epochs[0]["val/odd/auroc"], float)


def test_shares_of_an_epoch() -> None:
    real = digits(rows=300)  # 180 rows: 3 batches an epoch
    plan = At({1: "ink", 4: "odd"}, {3: "ink", 6: "odd"})
    trainer = Trainer(real.model(), real.tasks, epochs=3, callbacks=[plan], **OPTIONS)
    history = trainer.fit(real.batches(), real.batches("val"))
    assert history.series("paused/ink") == [pytest.approx(2 / 3), None, None]
    assert history.series("paused/odd") == [None, pytest.approx(2 / 3), None]
    assert history.series("examples/ink")[1:] == [180, 180]
    assert 0 < history.epochs[0]["examples/ink"] < 180
    assert isinstance(history.epochs[0]["train/ink/loss"], float)
    names = ("digit", "odd", "ink")
    assert plan.present == [
        names,
        names[:2],
        names[:2],
        names,
        *[("digit", "ink")] * 2,
        *[names] * 3,
    ]


@pytest.mark.parametrize(
    ("method", "accumulate", "pause", "expected"),
    [
        # Asked for before the second of three batches; the step that is under way ends first.
        ("linear", 3, 1, [3, 3, 3, 2, 2, 2]),
        ("linear", 2, 1, [3, 3, 2, 2, 2, 2]),
        ("modo", 1, 1, [3, 2]),
        ("modo", 1, 3, [3, 2]),
    ],
)
def test_a_step_of_several_batches_is_of_one_piece(
    method: str, accumulate: int, pause: int, expected: list[int]
) -> None:
    real = digits(rows=600)  # 360 rows: 6 batches
    plan = At({pause: "ink"})
    options = {**OPTIONS, "method": method, "accumulate": accumulate}
    Trainer(real.model(), real.tasks, epochs=1, callbacks=[plan], **options).fit(real.batches())
    assert [len(tasks) for tasks in plan.present] == expected


@pytest.mark.parametrize(
    "options",
    [{}, {"accumulate": 2}, {"method": "modo"}, {"method": "auto_lambda"}, {"method": "famo"}],
    ids=lambda options: " ".join(map(str, options.values())),
)
def test_pauses_survive_a_kill(tmp_path: Path, options: dict[str, Any]) -> None:
    class Cut(BaseException):
        pass

    class Cutting(At):
        def on_batch_end(self, trainer: Trainer, batch_index: int, losses: dict) -> None:
            if self.batches == self.stop_after:
                raise Cut

    def fit(out: Path, stop_after: int | None) -> Trainer:
        real = digits(missing=0.2, rows=600)
        plan = Cutting({2: "ink", 8: "odd"}, {14: "ink", 16: "odd"})
        plan.stop_after = stop_after
        settings = {**OPTIONS, "epochs": 3, "checkpoint_every": 0, **options}
        model = real.model(dropout=0.2)
        trainer = Trainer(model, real.tasks, out=out, callbacks=[plan], **settings)
        if stop_after is None:
            trainer.fit(real.batches(), real.batches("val"))
        else:
            with pytest.raises(Cut):
                trainer.fit(real.batches(), real.batches("val"))
        return trainer

    whole = fit(tmp_path / "whole", None)
    for stop in (5, 11):
        fit(tmp_path / "cut", stop)
        assert (tmp_path / "cut" / STATE).exists()
    ended = fit(tmp_path / "cut", None)
    assert same_weights(whole.model, ended.model)
    drop = {"seconds"}
    for mine, theirs in zip(whole.history.epochs, ended.history.epochs, strict=True):
        assert {k: v for k, v in mine.items() if k not in drop} == {
            k: v for k, v in theirs.items() if k not in drop
        }
    assert whole.history.epochs[0]["paused/ink"] > 0
    assert ended.paused == set()


def test_what_callbacks_pause_ends_with_the_fit(tmp_path: Path) -> None:
    """Also when it is interrupted: the next `fit` of the same trainer goes on with it."""

    class Interrupted(At):
        def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict) -> None:
            self.seen = trainer.paused
            if epoch == 2 and self.stop_after:
                self.stop_after = None
                raise KeyboardInterrupt

    real = digits(rows=300)
    plan = Interrupted({1: "ink"})
    plan.stop_after = 1
    options = {**OPTIONS, "epochs": 3, "checkpoint_every": 0, "out": tmp_path}
    trainer = Trainer(real.model(), real.tasks, callbacks=[plan], **options)
    trainer.pause("digit")
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(real.batches(), real.batches("val"))
    assert trainer.paused == {"digit"}
    history = trainer.fit(real.batches(), real.batches("val"))
    assert "resumed" in history.taken_up
    assert plan.seen == {"digit", "ink"}
    assert trainer.paused == {"digit"}


def test_a_finished_training_with_another_pause_is_not_taken(tmp_path: Path) -> None:
    real = digits(rows=300)

    def fit(*paused: str) -> Trainer:
        options = {**OPTIONS, "epochs": 1, "out": tmp_path, "resume": "finished"}
        trainer = Trainer(real.model(), real.tasks, **options)
        trainer.pause(*paused)
        trainer.fit(real.batches(), real.batches("val"))
        return trainer

    assert not fit("ink").history.taken_up
    assert fit("ink").history.taken_up
    assert not fit().history.taken_up
    assert not fit("odd").history.taken_up


def test_who_paused_a_task_lets_it_go() -> None:
    real = digits(rows=300)
    trainer = Trainer(real.model(), real.tasks, **OPTIONS)
    trainer.pause("ink")
    trainer.pause("ink", "odd", by="another")
    trainer.unpause("ink", "odd", by="another")
    assert trainer.paused == {"ink"}
    trainer.unpause("ink", by="nobody")
    assert trainer.paused == {"ink"}
    trainer.unpause("ink")
    assert trainer.paused == frozenset()


def test_what_cannot_be_paused() -> None:
    real = digits(rows=300)
    trainer = Trainer(real.model(), real.tasks, **OPTIONS)
    with pytest.raises(UserError, match="unknown task to pause: 'inc'; did you mean 'ink'"):
        trainer.pause("inc")
    with pytest.raises(UserError, match="unknown task"):
        trainer.unpause("inc")
    with pytest.raises(UserError, match="no main task in training"):
        trainer.pause("digit", "odd")
    trainer.pause("digit")
    with pytest.raises(UserError, match="at least one of digit, odd"):
        trainer.pause("odd", by="another")
    assert trainer.paused == {"digit"}


def test_the_last_of_auxiliary_tasks_cannot_be_paused() -> None:
    real = digits(rows=300)
    helpers = {n: replace(t, role="auxiliary") for n, t in real.tasks.items()}
    trainer = Trainer(real.model(), helpers, select="main:digit", **OPTIONS)
    trainer.pause("digit", "odd")
    with pytest.raises(UserError, match="no task in training"):
        trainer.pause("ink")


def test_a_main_task_known_by_its_row() -> None:
    real = digits(rows=300)
    gcs = polytask.create_method("gcs", main=1)
    trainer = Trainer(real.model(), real.tasks, method=gcs, **OPTIONS)
    trainer.pause("ink")
    with pytest.raises(UserError, match="Name it: main='NAME'"):
        trainer.pause("digit")
    named = polytask.create_method("gcs", main="odd")
    trainer = Trainer(real.model(), real.tasks, method=named, **OPTIONS)
    trainer.pause("digit")
    with pytest.raises(UserError, match="no main task in training"):
        trainer.pause("odd")
    trainer.unpause("digit")
    with pytest.raises(UserError, match="GCS takes no step without its main task"):
        trainer.pause("odd")


def test_batches_with_paused_labels_alone_are_skipped() -> None:
    real = digits(rows=300)
    inputs, targets = real.train
    odd = targets["odd"].clone()
    batches = [
        ({"x": inputs["x"][:64]}, {"ink": targets["ink"][:64]}),
        ({"x": inputs["x"][64:]}, {"odd": odd[64:], "ink": targets["ink"][64:]}),
    ]
    trainer = Trainer(real.model(), real.tasks, epochs=1, **OPTIONS)
    trainer.pause("ink")
    history = trainer.fit(batches)
    assert trainer.state.skipped == 1
    assert trainer.state.step == 1
    assert history.epochs[0]["paused/ink"] == 1.0
    with pytest.raises(UserError, match=r"a label of any task \(digit, odd\)"):
        trainer.fit(batches[:1])


def test_a_loader() -> None:
    """Batches without a known order or state, as a DataLoader gives them."""
    real = diabetes(missing=0.0)
    names = list(real.train[1])
    rows = TensorDataset(real.train[0]["x"], *real.train[1].values())

    def collate(items: list[Any]) -> Any:
        x, *targets = (torch.stack(column) for column in zip(*items, strict=True))
        return {"x": x}, dict(zip(names, targets, strict=True))

    loader = DataLoader(rows, 64, shuffle=True, collate_fn=collate)
    trainer = Trainer(real.model(), real.tasks, epochs=1, **OPTIONS)
    trainer.pause("sex")
    history = trainer.fit(loader, real.batches("val"))
    assert history.epochs[0]["paused/sex"] == 1.0
