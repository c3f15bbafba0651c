"""The Trainer on data sets of their own for each task."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mixed_real import TARGETS, TASKS, fit, halves, mixture, network, result, validation
from torch import Tensor, nn

import polytask
from polytask.data import InTurn, Mixture, Parts
from polytask.errors import UserError
from polytask.tasks import Task
from polytask.training import Callback, StopAndGo, Trainer


class Drawn(Callback):
    """The tasks of every batch."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, ...]] = []

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        assert trainer.batch is not None
        self.tasks.append(tuple(trainer.batch[1]))


def test_it_learns_both_tasks_and_tells_what_was_seen() -> None:
    trainer = fit(mixture({"temperature": {"alpha": 0.1}}), epochs=12)
    last = trainer.history.epochs[-1]
    assert last["val/digit/accuracy"] > 0.85
    assert last["val/odd/accuracy"] > 0.6
    epochs = trainer.history.epochs
    batches = [r["examples/digit"] / 50 + r["examples/odd"] / 10 for r in epochs]
    assert batches == [21.0] * 12  # 20 batches of the one and 1 of the other are one pass
    assert trainer.history.remarks == []


def test_two_fits_of_one_mixture_are_alike() -> None:
    mixed = mixture({"active": TARGETS})
    assert result(fit(mixed)) == result(fit(mixed))


def test_heads_without_a_target_in_the_batch_are_not_computed() -> None:
    calls = {"digit": 0, "odd": 0}
    model = network()
    for task in calls:
        model.heads[task].register_forward_hook(
            lambda module, args, output, task=task: calls.__setitem__(task, calls[task] + 1)
        )
    mixed = mixture("uniform")
    Trainer(model, TASKS, epochs=1, progress=False, select="loss").fit(mixed)
    assert calls == mixed.drawn
    assert min(calls.values()) > 0


def test_paused_tasks_are_not_drawn_and_nothing_is_skipped() -> None:
    class PauseOdd(Callback):
        def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
            (trainer.unpause if epoch == 2 else trainer.pause)("odd")

    drawn = Drawn()
    trainer = fit(mixture("uniform"), None, PauseOdd(), drawn)
    by_epoch = [set(drawn.tasks[i * 21 : (i + 1) * 21]) for i in range(3)]
    assert by_epoch == [{("digit",)}, {("digit",), ("odd",)}, {("digit",)}]
    assert trainer.history.epochs[-1]["skipped"] == 0
    assert trainer.history.remarks == []


def test_a_stopped_task_is_drawn_when_it_is_its_turn() -> None:
    drawn = Drawn()
    # It is stopped after the second epoch, as nothing is an improvement to this rule.
    rule = StopAndGo(tasks=["odd"], stop=100.0, patience=1, gap=3, go=100.0)
    trainer = fit(mixture("round_robin"), None, rule, drawn)
    assert rule.stopped == {"odd"}
    stopped = drawn.tasks[42:]
    steps = [i for i, tasks in enumerate(stopped) if tasks == ("odd",)]
    assert steps
    assert all((42 + i) % 3 == 0 for i in steps)
    assert trainer.history.epochs[-1]["skipped"] == 0


def test_rates_scale_single_steps() -> None:
    class Rates(Callback):
        def __init__(self) -> None:
            self.moved: dict[float, list[float]] = {}

        def on_grad_computed(self, trainer: Trainer, step: Any) -> None:
            bias = trainer.model.encoder[0].bias
            self.before, self.gradient = bias.detach().clone(), bias.grad.clone()

        def on_batch_end(self, trainer: Trainer, batch_index: int, losses: Any) -> None:
            change = self.before - trainer.model.encoder[0].bias.detach()
            share = float(change.norm() / self.gradient.norm()) / 0.1
            (task,) = trainer.batch[1]
            self.moved.setdefault((trainer.state.epoch, task), []).append(share)

    seen = Rates()
    # Sizes that differ little, so that both tasks are drawn.
    schedule = {"jean_implicit": {**TARGETS, "temperature": 1e6, "gamma": 0.4, "beta": 0.01}}
    trainer = fit(mixture(schedule), None, seen, optimizer="sgd", lr=0.1, epochs=2)
    for task in TASKS:
        assert seen.moved[1, task] == pytest.approx([1.0] * len(seen.moved[1, task]), rel=1e-3)
    found = {round(x, 2) for task in TASKS for x in seen.moved[2, task]}
    assert found == {0.6, 1.4}
    assert [r["lr"] for r in trainer.history.epochs] == [0.1, 0.1]


def test_targets_are_single_task_scores_when_not_given() -> None:
    reference = {"digit": 0.95, "odd": 0.9}
    given = fit(mixture({"active": TARGETS}))
    referred = fit(mixture("active"), reference=reference)
    assert result(referred) == result(given)
    with pytest.raises(UserError, match="targets="):
        fit(mixture("active"))


def test_starved_tasks_are_in_the_remarks() -> None:
    sources, _ = halves(small=2)
    trainer = fit(Mixture(sources, "proportional", batch_size=5))
    (remark,) = trainer.history.remarks
    assert "'odd', which has 2 rows, was starved" in remark


def test_a_method_with_nothing_to_balance_is_told() -> None:
    assert "had nothing to balance" in fit(mixture("uniform"), method="mgda").history.remarks[0]
    assert fit(mixture(tasks_per_step="all"), method="mgda").history.remarks == []


def test_each_step_of_all_tasks_is_balanced_as_one() -> None:
    class Weights(Callback):
        def on_grad_computed(self, trainer: Trainer, step: Any) -> None:
            assert step.tasks == ("digit", "odd")

    record = fit(mixture(tasks_per_step="all"), None, Weights(), method="mgda").history.epochs[0]
    assert record["weight/digit"] + record["weight/odd"] == pytest.approx(1, abs=1e-5)
    assert record["examples/digit"] == 1000
    assert record["examples/odd"] == 20 * 10


class TwoEyes(nn.Module):
    """Reads "x" of 64 numbers or "left" of 32, with a trunk for both."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.ModuleDict({"x": nn.Linear(64, 16), "left": nn.Linear(32, 16)})
        self.trunk = nn.Sequential(nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
        self.heads = nn.ModuleDict({"digit": nn.Linear(16, 10), "odd": nn.Linear(16, 1)})

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        (name,) = inputs
        z = self.trunk(self.first[name](inputs[name]))
        return {task: head(z) for task, head in self.heads.items()}


def two_eyes(part: int, small: int = 10) -> dict[str, Any]:
    found = halves(small=small)[part]
    inputs, targets = found["odd"]
    return {**found, "odd": ({"left": inputs["x"][:, :32]}, targets)}


@pytest.mark.parametrize("method", ["linear", "mgda", "pcgrad", "hydalearn", "modo"])
def test_data_sets_with_other_inputs_share_a_step(method: str) -> None:
    torch.manual_seed(0)
    words = {"main": "digit"} if method == "hydalearn" else {}
    balancer = polytask.create_method(method, **words)
    trainer = Trainer(TwoEyes(), TASKS, method=balancer, epochs=2, lr=1e-2, progress=False)
    mixed = Mixture(two_eyes(0), tasks_per_step="all", batch_size=50)
    assert isinstance(next(iter(mixed)), Parts)
    history = trainer.fit(mixed, InTurn(two_eyes(1)))
    assert history.epochs[-1]["val/digit/accuracy"] > 0.25
    assert set(history.epochs[0]) >= {"examples/digit", "examples/odd"}


def test_parts_give_the_gradients_of_both_losses() -> None:
    class Keep(Callback):
        def on_grad_computed(self, trainer: Trainer, step: Any) -> None:
            self.step, self.batch = step, trainer.batch
            named = trainer.model.named_parameters()
            self.gradients = {name: p.grad.clone() for name, p in named}
            trainer.should_stop = True

    torch.manual_seed(0)
    model, keep = TwoEyes(), Keep()
    mixed = Mixture(two_eyes(0), tasks_per_step="all", steps_per_epoch=1, batch_size=50)
    trainer = Trainer(model, TASKS, lr=1e-12, epochs=1, progress=False, callbacks=[keep])
    trainer.fit(mixed, InTurn(two_eyes(1)))
    model.zero_grad()
    parts, targets = keep.batch
    assert {name: len(target) for name, target in targets.items()} == {"digit": 50, "odd": 10}
    losses = [
        TASKS[task].loss(model(inputs)[task], target).value
        for inputs, labels in parts
        for task, target in labels.items()
    ]
    torch.stack(losses).sum().backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(keep.gradients[name], p.grad, rtol=1e-5, atol=1e-7)
    features = polytask.create_method("mgda", statistic="features")
    trainer = Trainer(TwoEyes(), TASKS, method=features, progress=False)
    with pytest.raises(UserError, match="has one for each"):
        trainer.fit(mixed, InTurn(two_eyes(1)))


def test_what_does_not_fit_together_is_refused() -> None:
    train, _ = halves()
    digit = TASKS["digit"]

    def trainer(tasks: Any = TASKS, method: Any = "linear") -> Trainer:
        return Trainer(network(), tasks, method=method, progress=False)

    with pytest.raises(UserError, match="'odd'"):
        trainer({"digit": digit}).fit(mixture())
    with pytest.raises(UserError, match="no data set for 'odd'"):
        trainer().fit(Mixture({"digit": train["digit"]}))
    with pytest.raises(UserError, match="follows validation scores"):
        trainer().fit(mixture({"active": TARGETS}))
    for method, draws in (("mgda", 1), ("linear", 2)):
        with pytest.raises(UserError, match="follows Gramians"):
            trainer(method=method).fit(mixture("most_conflict", tasks_per_step=draws))
    helped = {"digit": digit, "odd": Task("odd", "binary", role="auxiliary")}
    with pytest.raises(UserError, match="tasks_per_step='all'"):
        trainer(helped, "hydalearn").fit(mixture(), validation())
    with pytest.raises(UserError, match="Name it"):
        trainer(helped, polytask.create_method("arml", main=0)).fit(mixture(), validation())
    numbers = {**TASKS, "digit": Task("digit", "regression")}
    with pytest.raises(UserError, match="cannot be marked"):
        trainer(numbers).fit(mixture(tasks_per_step="all"))


def test_labels_outside_the_classes_are_refused_by_name() -> None:
    train, _ = halves()
    x, y = train["odd"]
    wrong = {**train, "odd": (x, {"odd": y["odd"] + 1})}
    trainer = Trainer(network(), TASKS, progress=False)
    with pytest.raises(UserError, match="task 'odd': expected class codes 0 to 1"):
        trainer.fit(Mixture(wrong, "uniform"), validation())
