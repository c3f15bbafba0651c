"""PopArt in a training: targets of any unit are learned alike, and all else is as without it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from torch import Tensor, nn

from polytask import Task, Trainer
from polytask.architectures import create_architecture
from polytask.data import Batches, Mixture
from polytask.errors import UserError
from polytask.training import Callback, Distillation, PopArt
from polytask.training.run_folder import RunFolder

SHARING = ("hard_sharing", "single_task", "cross_stitch", "mmoe")
TARGETS = ("progression", "sugar", "pressure")


@cache
def patients() -> tuple[Tensor, dict[str, Tensor]]:
    """442 patients of scikit-learn's diabetes data: three numbers in their own units, and sex."""
    x, y = load_diabetes(return_X_y=True, scaled=False)
    table = torch.tensor(x, dtype=torch.float32)
    inputs = (table - table.mean(0)) / table.std(0)
    kept = [0, 2, 4, 5, 6, 7, 8]
    return inputs[:, kept], {
        "progression": torch.tensor(y, dtype=torch.float32),
        "sugar": table[:, 9],
        "pressure": table[:, 3],
        "sex": table[:, 1].long() - 1,
    }


def tasks_of(names: tuple[str, ...] = TARGETS, fitted: bool = False) -> list[Task]:
    tasks = [Task(n, "binary" if n == "sex" else "regression") for n in names]
    rows = {name: target[:300] for name, target in patients()[1].items()}
    return [task.fitted(rows[task.name]) for task in tasks] if fitted else tasks


def network(tasks: list[Task], sharing: str = "hard_sharing", **options: Any) -> nn.Module:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(7, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
    return create_architecture(sharing, encoder, tasks, example=patients()[0][:2], **options)


def data(
    rows: slice, names: tuple[str, ...] = TARGETS, factors: dict[str, float] | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    x, targets = patients()
    many = {n: targets[n][rows] * (factors or {}).get(n, 1) for n in names}
    return {"x": x[rows]}, many


def trainer_of(
    tasks: list[Task], model: nn.Module | None = None, popart: Any = True, **options: Any
) -> Trainer:
    how = {"epochs": 3, "batch_size": 50, "lr": 3e-3, "device": "cpu", "progress": False} | options
    return Trainer(network(tasks) if model is None else model, tasks, popart=popart, **how)


TRAIN, VAL = slice(0, 300), slice(300, 442)


class Watch(Callback):
    """Notes the outputs before and after the statistics of every batch were taken up."""

    def __init__(self) -> None:
        self.before: list[dict[str, Tensor]] = []
        self.moved: list[float] = []

    def _answers(self, trainer: Trainer) -> dict[str, Tensor]:
        trainer.model.eval()
        with torch.no_grad():
            found = trainer.forward({"x": patients()[0]})[0]
        trainer.model.train()
        return found

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        """Called before the scales are moved, as they come last."""
        self.before.append(self._answers(trainer))

    def on_grad_computed(self, trainer: Trainer, step: Any) -> None:
        """After the forward pass and before the optimizer: only the scales have moved."""
        after, before = self._answers(trainer), self.before[-1]
        largest = max(float((after[n] - before[n]).abs().max()) for n in after)
        # Float32 cannot keep more than the digits of what is added up: the mean of the target.
        means = [abs(mean) for (mean,), _ in trainer.target_scales.values()]
        size = max(*(float(before[n].abs().max()) for n in after), *means)
        self.moved.append(largest / size)


@pytest.mark.parametrize("sharing", SHARING)
def test_outputs_stay_as_they_are_while_layers_are_rewritten(sharing: str) -> None:
    tasks, watch = tasks_of(), Watch()
    trainer = trainer_of(tasks, network(tasks, sharing), callbacks=[watch])
    trainer.fit(data(TRAIN))
    first, *later = watch.moved
    assert first > 0.5  # the untrained layers answer in units of sigma from then on
    assert max(later) < 2e-6
    assert len(later) == 17


def test_from_unit_scales_outputs_stay_as_they_are_from_the_first_batch_on() -> None:
    watch = Watch()
    trainer = trainer_of(tasks_of(), popart=PopArt(start="unit", beta=0.01), callbacks=[watch])
    trainer.fit(data(TRAIN))
    assert max(watch.moved) < 2e-6


@pytest.mark.parametrize(
    ("sharing", "method"),
    [*((sharing, "linear") for sharing in SHARING), ("hard_sharing", "pcgrad"), ("mmoe", "pcgrad")],
)
def test_of_whole_data_it_is_training_on_standardised_targets(sharing: str, method: str) -> None:
    # Every batch has all rows, so mu and sigma are those of `Task.fitted` from the first step on.
    found = []
    for fitted in (False, True):
        tasks = tasks_of(fitted=fitted)
        trainer = trainer_of(
            tasks,
            network(tasks, sharing),
            popart=not fitted,
            method=method,
            batch_size=300,
            epochs=15,
            optimizer="momentum",
        )
        history = trainer.fit(data(TRAIN))
        found.append((trainer.predict(data(VAL)), history))
    (popart, one), (standard, other) = found
    for name in TARGETS:
        assert torch.allclose(popart[name], standard[name], rtol=1e-4, atol=1e-3)
        losses = [fit.series(f"train/{name}/loss") for fit in (one, other)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("method", ["linear", "pcgrad", "uncertainty"])
def test_the_unit_of_a_target_changes_nothing_but_the_unit_of_the_output(method: str) -> None:
    # Of a power of 2, no bit changes.
    found = []
    for factor in (1.0, 1024.0):
        factors = {"sugar": factor}
        trainer = trainer_of(tasks_of(), method=method)
        history = trainer.fit(data(TRAIN, factors=factors), data(VAL, factors=factors))
        found.append((trainer.predict(data(VAL)), history))
    (plain, one), (loud, other) = found
    for name in TARGETS:
        assert one.series(f"train/{name}/loss") == other.series(f"train/{name}/loss")
        assert torch.equal(loud[name], plain[name] * (1024 if name == "sugar" else 1))
        rmse = other.series(f"val/{name}/rmse"), one.series(f"val/{name}/rmse")
        ratio = 1024 if name == "sugar" else 1
        assert rmse[0] == pytest.approx([ratio * value for value in rmse[1]], rel=1e-6)


def test_a_target_a_thousand_times_as_large_gives_the_same_losses() -> None:
    for popart in (True, {"beta": 1.0}):
        found = [
            trainer_of(tasks_of(), popart=popart).fit(data(TRAIN, factors={"pressure": factor}))
            for factor in (1.0, 1000.0)
        ]
        one, other = (fit.series("train/pressure/loss") for fit in found)
        assert one == pytest.approx(other, rel=1e-3)


def test_raw_targets_are_learned_as_well_as_standardised_ones() -> None:
    scores = {}
    for word, popart, fitted in (("popart", True, False), ("fitted", None, True), ("raw", None, 0)):
        trainer = trainer_of(tasks_of(fitted=bool(fitted)), popart=popart, epochs=15, lr=1e-2)
        factors = {} if fitted else {"pressure": 1000.0}
        trainer.fit(data(TRAIN, factors=factors))
        tested = trainer.evaluate(data(VAL, factors=factors))
        scores[word] = {n: float(tested[f"test/{n}/rmse"]) for n in ("progression", "sugar")}
    for name, score in scores["popart"].items():
        assert score == pytest.approx(scores["fitted"][name], rel=0.05)
        assert score < 0.8 * scores["raw"][name]


def test_the_statistics_are_those_of_the_labels_of_each_task() -> None:
    inputs, targets = data(TRAIN)
    holes = dict(targets)
    draw = torch.Generator().manual_seed(0)
    gone = torch.rand(300, generator=draw) < 0.4
    holes["sugar"] = torch.where(gone, torch.nan, targets["sugar"])
    one, other = trainer_of(tasks_of(), batch_size=300), trainer_of(tasks_of(), batch_size=300)
    one.fit((inputs, targets))
    other.fit((inputs, holes))
    for name in ("progression", "pressure"):
        assert one.target_scales[name] == other.target_scales[name]
    kept = targets["sugar"][~gone].double()
    (mean,), (std,) = other.target_scales["sugar"]
    assert mean == pytest.approx(float(kept.mean()), rel=1e-9)
    assert std == pytest.approx(float(kept.std(correction=0)), rel=1e-9)
    assert other.history.series("popart/sugar/std")[-1] == std


def test_other_tasks_are_left_alone() -> None:
    tasks = tasks_of((*TARGETS, "sex"))
    trainer = trainer_of(tasks)
    trainer.fit(data(TRAIN, (*TARGETS, "sex")), data(VAL, (*TARGETS, "sex")))
    assert set(trainer.target_scales) == set(TARGETS)
    some = trainer_of(tasks, popart={"tasks": ["sugar"]})
    some.fit(data(TRAIN, (*TARGETS, "sex")))
    assert set(some.target_scales) == {"sugar"}


def test_a_head_that_does_not_learn_is_left_alone() -> None:
    tasks = tasks_of()
    model = network(tasks)
    frozen = model.heads["sugar"].requires_grad_(False)
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    trainer = trainer_of(tasks, model)
    trainer.fit(data(TRAIN))
    assert set(trainer.target_scales) == {"progression", "pressure"}
    assert all(torch.equal(v, before[n]) for n, v in model.heads["sugar"].state_dict().items())


def test_checkpoints_are_of_an_ordinary_network(tmp_path: Path) -> None:
    tasks = tasks_of()
    trainer = trainer_of(tasks, out=tmp_path, checkpoints={"early": 1}, epochs=4)
    history = trainer.fit(data(TRAIN), data(VAL))
    wanted = trainer.predict(data(VAL))
    best = history.epochs[history.chosen["best"] - 1]
    again = trainer_of(tasks, popart=None)
    for name, epoch in history.chosen.items():
        again.model.load_state_dict(RunFolder(tmp_path).load(name))
        tested = again.evaluate(data(VAL), "val")
        for task in TARGETS:
            known = history.epochs[epoch - 1][f"val/{task}/rmse"]
            assert float(tested[f"val/{task}/rmse"]) == pytest.approx(known, rel=1e-5)
    again.model.load_state_dict(RunFolder(tmp_path).load("best"))
    assert all(torch.equal(again.predict(data(VAL))[n], wanted[n]) for n in TARGETS)
    assert best["val/sugar/rmse"] < 30
    assert not any(module._forward_hooks for module in trainer.model.modules())


def test_another_fit_goes_on_where_the_last_one_ended() -> None:
    watch = Watch()
    trainer = trainer_of(tasks_of(), callbacks=[watch])
    trainer.fit(data(TRAIN))
    ended = trainer.predict(data(VAL))
    scales = trainer.target_scales
    trainer.fit(data(VAL))
    begun = watch.before[18]
    for name in TARGETS:
        assert torch.allclose(begun[name][VAL].squeeze(1), ended[name], rtol=1e-5)
        for now, then in zip(trainer.target_scales[name], scales[name], strict=True):
            assert now == pytest.approx(then, rel=0.1)
            assert now != then
    assert max(watch.moved[1:]) < 2e-6


class Cut(BaseException):
    """Stands for a kill."""


class CutAfter(Callback):
    """Ends the work after so many batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cut


@pytest.mark.parametrize(("cut", "accumulate"), [(6, 1), (9, 1), (5, 2), (9, 2)])
def test_a_killed_training_goes_on_to_the_bit(cut: int, accumulate: int, tmp_path: Path) -> None:
    def fitted(out: Path | None, callbacks: tuple[Callback, ...] = ()) -> Trainer:
        options = {"accumulate": accumulate, "out": out, "checkpoint_every": 0}
        trainer = trainer_of(tasks_of(), callbacks=callbacks, **options)
        train = Batches(*data(TRAIN), 50, shuffle=True, seed=0)
        trainer.fit(train, data(VAL))
        return trainer

    whole = fitted(None)
    with pytest.raises(Cut):
        fitted(tmp_path, (CutAfter(cut),))
    resumed = fitted(tmp_path)
    assert "resumed" in (resumed.history.taken_up or "")
    assert resumed.target_scales == whole.target_scales
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])
    for one, other in zip(whole.history.epochs, resumed.history.epochs, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_a_state_of_other_options_is_not_taken_up(tmp_path: Path) -> None:
    with pytest.raises(Cut):
        trainer_of(
            tasks_of(), out=tmp_path, checkpoint_every=0, callbacks=[CutAfter(9)]
        ).fit(data(TRAIN))  # fmt: skip
    other = trainer_of(tasks_of(), out=tmp_path, popart={"beta": 0.5})
    other.fit(data(TRAIN))
    assert not other.history.taken_up


def test_a_fit_that_fails_leaves_an_ordinary_network() -> None:
    trainer = trainer_of(tasks_of(), callbacks=[CutAfter(8)])
    with pytest.raises(Cut):
        trainer.fit(data(TRAIN))
    assert not any(module._forward_hooks for module in trainer.model.modules())
    sugar = trainer.predict(data(VAL))["sugar"]
    assert 60 < float(sugar.mean()) < 120


def test_steps_of_several_data_sets_and_batches() -> None:
    x, targets = patients()
    sets = {n: Batches({"x": x[TRAIN]}, {n: targets[n][TRAIN]}, 30, seed=1) for n in TARGETS}
    trainer = trainer_of(tasks_of(), method="pcgrad", accumulate=2)
    trainer.fit(Mixture(sets, tasks_per_step="all", seed=0))
    for name in TARGETS:
        (mean,), (std,) = trainer.target_scales[name]
        assert mean == pytest.approx(float(targets[name][TRAIN].mean()), rel=0.1)
        assert std == pytest.approx(float(targets[name][TRAIN].std()), rel=0.2)


def test_a_label_at_every_place_is_one_target_each() -> None:
    pictures = torch.tensor(load_digits().images[:120], dtype=torch.float32)
    ink = 1000 * pictures
    both = torch.stack([pictures, -7 * pictures], dim=1)
    tasks = [
        Task("ink", "regression", places=(8, 8)),
        Task("both", "regression", size=2, places=(8, 8)),
        Task("sum", "regression"),
    ]
    torch.manual_seed(0)
    # Half as fine as the labels: the heads answer on a coarser map, which is resized.
    encoder = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU())
    x = pictures[:, None]
    model = create_architecture("hard_sharing", encoder, tasks, example=x[:2])
    targets = {"ink": ink, "both": both, "sum": pictures.sum((1, 2))}
    trainer = trainer_of(tasks, model, batch_size=60, epochs=8, lr=2e-2)
    trainer.fit(({"x": x}, targets))
    means, stds = trainer.target_scales["both"]
    assert means == pytest.approx([float(both[:, i].mean()) for i in (0, 1)], rel=0.01)
    assert stds == pytest.approx([float(both[:, i].std()) for i in (0, 1)], rel=0.01)
    (mean,), _ = trainer.target_scales["ink"]
    assert mean == pytest.approx(float(ink.mean()), rel=0.01)
    predicted = trainer.predict(({"x": x}, {}))
    for name, target in (("ink", ink), ("both", both)):
        error, spread = predicted[name] - target, target - target.mean((0, -1, -2), keepdim=True)
        assert float(error.square().mean()) < 0.85 * float(spread.square().mean())


def test_a_network_of_ones_own_names_its_layers() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(7, 8)
            self.out = nn.ModuleList([nn.Linear(8, 1), nn.Linear(8, 1)])

        def forward(self, x: Any) -> dict[str, Tensor]:
            z = self.body(x["x"]).relu()
            return {"sugar": self.out[0](z), "pressure": self.out[1](z)}

    tasks = tasks_of(("sugar", "pressure"))
    with pytest.raises(UserError, match=r"model\.heads"):
        trainer_of(tasks, Own()).fit(data(TRAIN, ("sugar", "pressure")))
    wrong = {"layers": {"sugar": "out.1", "pressure": "out.0"}}
    with pytest.raises(UserError, match="not the answer of its last linear layer"):
        trainer_of(tasks, Own(), popart=wrong).fit(data(TRAIN, ("sugar", "pressure")))
    same = {"layers": {"sugar": "out.0", "pressure": "out.0"}}
    with pytest.raises(UserError, match="the same last layer"):
        trainer_of(tasks, Own(), popart=same).fit(data(TRAIN, ("sugar", "pressure")))
    none = {"layers": {"sugar": "out.7", "pressure": "out.1"}}
    with pytest.raises(UserError, match=r"no module 'out\.7'"):
        trainer_of(tasks, Own(), popart=none).fit(data(TRAIN, ("sugar", "pressure")))
    right = {"layers": {"sugar": "out.0", "pressure": "out.1"}}
    trainer = trainer_of(tasks, Own(), popart=right)
    trainer.fit(data(TRAIN, ("sugar", "pressure")))
    assert set(trainer.target_scales) == {"sugar", "pressure"}


class Bent(nn.Module):
    """A head whose last part is linear, but whose output is not its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(16, 1)

    def forward(self, z: Tensor) -> Tensor:
        output: Tensor = self.last(z).exp()
        return output


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (nn.Sequential(nn.Linear(16, 1), nn.Softplus()), "found Softplus"),
        (nn.Linear(16, 1, bias=False), "has no bias"),
        (Bent(), "not the answer of its last linear layer"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(16, 1)), "has no weight of its own"),
    ],
)
def test_a_head_that_does_not_end_in_a_linear_layer_is_refused(
    head: nn.Module, said: str, tmp_path: Path
) -> None:
    tasks = tasks_of()
    model = network(tasks, heads={"sugar": head})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = trainer_of(tasks, model, out=tmp_path)
    with pytest.raises(UserError, match=said):
        trainer.fit(data(TRAIN))
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    assert not (tmp_path / "config.yaml").exists()
    trainer_of(tasks, model, popart={"tasks": ["pressure"]}).fit(data(TRAIN))


@pytest.mark.parametrize(
    ("popart", "said"),
    [
        ({"beta": 0}, "beta must be above 0"),
        ({"beta": 1.5}, "at most 1"),
        ({"betta": 0.1}, "did you mean 'beta'"),
        ({"start": "batched"}, "did you mean 'batch'"),
        ({"least": 2.0, "most": 1.0}, "0 < least < most"),
        ({"tasks": "sugar"}, "must be a list"),
        ({"tasks": ["sugr"]}, "did you mean 'sugar'"),
        ({"tasks": ["sex"]}, "'sex' is binary"),
        ({"layers": "out"}, "by task"),
        (3e-4, "expected|must be True"),
    ],
)
def test_options_that_cannot_be_are_refused(popart: Any, said: str) -> None:
    tasks = tasks_of((*TARGETS, "sex"))
    with pytest.raises(UserError, match=said):
        trainer_of(tasks, popart=popart)


def test_half_precision_would_round_outputs_in_the_unit_of_a_target() -> None:
    with pytest.raises(UserError, match="precision='no'"):
        trainer_of(tasks_of(), precision="bf16")


def test_without_a_regression_there_is_nothing_to_normalise() -> None:
    with pytest.raises(UserError, match=r"there is none: sex \(binary\)"):
        trainer_of(tasks_of(("sex",)))
    assert trainer_of(tasks_of(("sex",)), popart=False).popart is None


def test_teachers_and_popart_do_not_mix() -> None:
    tasks = tasks_of()
    distill = Distillation({"sugar": network(tasks)}, form="soft")
    with pytest.raises(UserError, match="its teachers give one of their own"):
        trainer_of(tasks, distill=distill).fit(data(TRAIN))


def test_a_spread_outside_of_the_bounds_is_remarked() -> None:
    trainer = trainer_of(tasks_of())
    trainer.fit(data(TRAIN, factors={"sugar": 1e-6}))
    (remark,) = [said for said in trainer.history.remarks if "popart" in said]
    assert "'sugar' is below 0.0001" in remark
    assert "popart={'least': X}" in remark
