"""Students of real teachers on digits with few labels: exact ends, an oracle, what stays plain."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from taught_digits import few_labels, fit, same_weights, teacher, teachers, unlabelled
from torch import nn
from torch.nn import functional

from polytask.data import Batches
from polytask.errors import UserError
from polytask.optimization.distillation import label_share
from polytask.training import Callback, Distillation, Trainer
from polytask.training import _teaching as teaching


@pytest.fixture(scope="module")
def real():
    return few_labels()


@pytest.fixture(scope="module")
def taught(real):
    return teachers(real)


class Shares(Callback):
    """The share of the labels and the losses at every step."""

    def __init__(self) -> None:
        self.shares: list[float] = []
        self.losses: list[dict[str, float]] = []

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        assert trainer.forward.teaching is not None
        self.shares.append(trainer.forward.teaching.share("digit"))

    def on_batch_end(self, trainer: Trainer, batch_index: int, losses: dict[str, float]) -> None:
        self.losses.append(losses)


def test_pure_teachers_at_one_end_and_pure_labels_at_the_other(real, taught, monkeypatch):
    """Both ends of annealing, held through a whole training, bit for bit."""
    plain = fit(real, None)
    pure = fit(real, Distillation(taught, form="soft", weight=1.0))
    for share, wanted in ((0.0, pure), (1.0, plain)):
        monkeypatch.setattr(teaching, "label_share", lambda step, steps, share=share: share)
        annealed = fit(real, Distillation(taught))
        assert same_weights(annealed.model, wanted.model)
        ours, theirs = annealed.history.epochs, wanted.history.epochs
        assert [{**e, "seconds": 0} for e in ours] == [{**e, "seconds": 0} for e in theirs]
    assert not same_weights(plain.model, pure.model)


def test_the_share_follows_the_steps_and_the_first_step_is_the_teachers_alone(real, taught):
    seen = Shares()
    fit(real, Distillation(taught), callbacks=[seen], epochs=3)
    steps = 3 * len(real.batches())
    assert seen.shares == [label_share(step, steps) for step in range(steps)]
    assert (seen.shares[0], seen.shares[-1]) == (0.0, 1.0)
    pure = Shares()
    fit(real, Distillation(taught, form="soft", weight=1.0), callbacks=[pure], epochs=1)
    assert seen.losses[0] == pure.losses[0]


def test_a_training_by_hand_gives_the_same(real, taught):
    """The whole of annealing written out, for SGD and every kind of task there is here."""
    temperature = 2.0
    found = fit(
        real,
        Distillation(taught, temperature=temperature),
        model=real.model(),
        optimizer="sgd",
        lr=0.1,
        epochs=2,
        data=(real.batches(),),
    )
    model = real.model()
    batches, step = real.batches(), 0
    steps = 2 * len(batches)
    for epoch in (1, 2):
        batches.set_epoch(epoch)
        for inputs, targets in batches:
            share = step / (steps - 1)
            outputs, said = model(inputs), {}
            with torch.no_grad():
                for task in real.tasks:
                    said[task] = taught[task](inputs)[task]
            log_q = (outputs["digit"] / temperature).log_softmax(1)
            p = (said["digit"] / temperature).softmax(1)
            soft = {"digit": temperature**2 * (p * (p.log() - log_q)).sum(1).mean()}
            p = (said["odd"] / temperature).sigmoid()
            z = outputs["odd"] / temperature
            kl = p * (p.log() - functional.logsigmoid(z))
            kl = kl + (1 - p) * ((1 - p).log() - functional.logsigmoid(-z))
            soft["odd"] = temperature**2 * kl.mean()
            soft["ink"] = (outputs["ink"] - said["ink"]).square().mean()
            known = targets["digit"] >= 0
            hard = {"digit": functional.cross_entropy(outputs["digit"], targets["digit"])}
            odd = targets["odd"] >= 0
            hard["odd"] = functional.binary_cross_entropy_with_logits(
                outputs["odd"][odd, 0], targets["odd"][odd].float()
            )
            ink, task = ~targets["ink"].isnan(), real.tasks["ink"]
            y = (targets["ink"][ink] - task.mean) / task.std
            hard["ink"] = (outputs["ink"][ink, 0] - y).square().mean()
            parts = [(1 - share) * loss for loss in soft.values()]
            for name, there in (("digit", known), ("odd", odd), ("ink", ink)):
                if share and there.any():
                    parts.append(share * hard[name])
            model.zero_grad()
            sum(parts).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.1 * parameter.grad
            step += 1
    for name, value in model.state_dict().items():
        assert torch.allclose(value, found.model.state_dict()[name], atol=1e-4), name


def test_rows_without_labels_are_worth_having(real, taught):
    """Of ten rows nine have no label: students of teachers do far better than labels alone."""
    plain = fit(real, None, epochs=15)
    distilled = fit(real, Distillation(taught, form="soft", weight=1.0), epochs=15)
    without = fit(real, Distillation(taught, form="soft", weight=1.0, unlabelled=False), epochs=15)
    scores = [
        trainer.evaluate(real.batches("test"))["test/digit/accuracy"]
        for trainer in (plain, distilled, without)
    ]
    assert scores[1] > scores[0] + 0.1
    assert scores[1] > scores[2]


def test_validation_is_plain_and_the_balancer_sees_one_loss_a_task(real, taught):
    trainer = fit(real, Distillation(taught, form="soft"), method="pcgrad", epochs=1)
    record = trainer.history.epochs[0]
    last = fit(real, None, model=trainer.model, epochs=1, lr=1e-12).history.epochs[0]
    for task in real.tasks:
        assert record[f"val/{task}/loss"] == pytest.approx(last[f"val/{task}/loss"], rel=1e-4)
        assert record[f"examples/{task}"] == len(real.train[0]["x"])
        assert record[f"train/{task}/loss"] > 0


def test_a_task_without_a_teacher_learns_as_it_would(real, taught):
    seen = Shares()
    one = {"digit": taught["digit"]}
    trainer = fit(real, Distillation(one, form="soft"), callbacks=[seen], epochs=1)
    record = trainer.history.epochs[0]
    labels = int((~real.train[1]["ink"].isnan()).sum())
    assert record["examples/ink"] == labels
    assert record["examples/digit"] == len(real.train[0]["x"])


def test_absent_tasks_stay_absent_and_paused_ones_rest(real, taught):
    """A target that a batch does not have at all is not taught; one without labels is."""
    inputs, targets = real.train
    some = {name: target for name, target in targets.items() if name != "odd"}
    some["digit"] = unlabelled(some["digit"])
    trainer = Trainer(
        real.model(), real.tasks, distill=Distillation(taught, form="soft"), epochs=1,
        progress=False,
    )  # fmt: skip
    trainer.pause("ink")
    trainer.fit(Batches(inputs, some, 64))
    record = trainer.history.epochs[0]
    assert [record[f"examples/{task}"] for task in ("digit", "odd", "ink")] == [
        len(inputs["x"]),
        0,
        0,
    ]


def test_teachers_are_left_alone(real, taught):
    before = {name: network.state_dict() for name, network in taught.items()}
    kept = {n: {k: v.clone() for k, v in s.items()} for n, s in before.items()}
    modes = {name: network.train() and network.training for name, network in taught.items()}
    trainer = fit(real, Distillation(taught), epochs=1)
    assert modes == {name: network.training for name, network in taught.items()}
    for name, network in taught.items():
        assert all(p.requires_grad and p.grad is None for p in network.parameters())
        assert all(torch.equal(v, kept[name][k]) for k, v in network.state_dict().items())
    own = {id(p) for p in trainer.model.parameters()}
    learned = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    assert learned == own
    assert trainer.forward.teaching is None
    for network in trainer.teachers.networks:
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())


def test_the_student_itself_can_be_its_teacher(real):
    """Born again: the teacher is a copy of what the model was when the Trainer was made."""
    model = real.model()
    distill = Distillation(dict.fromkeys(real.tasks, model), form="soft", weight=1.0)
    seen = Shares()
    trainer = fit(real, distill, model=model, callbacks=[seen], epochs=1)
    assert len(trainer.teachers.networks) == 1  # one network, three tasks
    assert all(abs(loss) < 1e-6 for loss in seen.losses[0].values())


def test_an_ensemble_is_the_mean_of_its_probabilities(real):
    pair = [teacher(real, "digit", seed) for seed in (1, 2)]

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.networks = nn.ModuleList(pair)

        def forward(self, x: Any) -> torch.Tensor:
            return sum(n(x)["digit"].softmax(1) for n in self.networks).log()

    one = fit(real, Distillation({"digit": pair}, form="ensemble"), epochs=1)
    other = fit(real, Distillation({"digit": Mean()}, form="soft", weight=0.5), epochs=1)
    for name, value in one.model.state_dict().items():
        assert torch.allclose(value, other.model.state_dict()[name], atol=1e-5)


def test_cached_answers_are_the_same(real, taught):
    plain = fit(real, Distillation(taught), epochs=2)
    cached = fit(real, Distillation(taught, cache=True), epochs=2)
    for name, value in plain.model.state_dict().items():
        assert torch.allclose(value, cached.model.state_dict()[name], atol=1e-4)
    with pytest.raises(
        UserError, match=r"cache=True .* expected polytask.data.Batches, found list"
    ):
        fit(real, Distillation(taught, cache=True), data=(list(real.batches()),))


def test_methods_that_learn_from_validation_see_its_plain_losses(real, taught):
    """Auto-Lambda's validation losses are of labels: with labels of one task there is one."""
    found: list[set[str]] = []

    class Look(Callback):
        def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
            stepper = trainer._fit.stepper
            found.append(set(stepper._validation(stepper.held_out)()))

    inputs, targets = real.val
    few = {n: t if n == "digit" else unlabelled(t) for n, t in targets.items()}
    distill = Distillation(taught, form="soft")
    fit(
        real, distill, method="auto_lambda", epochs=1, callbacks=[Look()], select="main:digit",
        data=(real.batches(), Batches(inputs, few, 64)),
    )  # fmt: skip
    assert found
    assert all(names == {"digit"} for names in found)


def test_annealing_needs_to_know_how_long(real, taught):
    class Endless:
        def __iter__(self):
            return iter(real.batches())

    with pytest.raises(UserError, match=r"have no len\(\).*form='soft'"):
        fit(real, Distillation(taught), data=(Endless(),))
    fit(real, Distillation(taught, form="soft"), data=(Endless(),), epochs=1)
