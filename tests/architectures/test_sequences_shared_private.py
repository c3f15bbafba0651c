"""Shared-private networks: what heads read, the two terms, and who plays against whom."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from real_inputs import TABLE, Output, digits, first, wine
from sequence_cases import TASKS, lines, losses, text_model, trained
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError

from polytask import Trainer
from polytask.architectures import Architecture, create_architecture, create_encoder
from polytask.architectures._discriminator import Discriminator
from polytask.architectures._reversal import scaled_gradient
from polytask.architectures.shared_private import SharedPrivate
from polytask.errors import UserError
from polytask.tasks import Task
from polytask.testing.architectures import ArchitectureConformance, Made


def table_model(count: int = 2, seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    encoder = create_encoder("mlp", TABLE, hidden=(12, 6))
    tasks = [Output(name) for name in "abc"[:count]]
    return create_architecture("shared_private", encoder, tasks, **options)


def batch(rows: int = 30) -> dict[str, Tensor]:
    return first(wine()[0], rows)


def test_a_reversed_gradient_has_the_other_sign() -> None:
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def smooth(h: Tensor) -> Tensor:
        return (h.sin() * torch.arange(3)).sum()

    assert scaled_gradient(x, -1.0).equal(x)
    (plain,) = torch.autograd.grad(smooth(x), x)
    for factor in (-1.0, -0.3, 0.0, 2.0):
        (found,) = torch.autograd.grad(smooth(scaled_gradient(x, factor)), x)
        assert found.equal(plain * factor)
    # Numerical slopes are those of the identity: one reversal fails the check, two pass it.
    twice = torch.autograd.gradcheck(
        lambda h: smooth(scaled_gradient(scaled_gradient(h, -1.0), -1.0)), (x,)
    )
    assert twice
    with pytest.raises(GradcheckError):
        torch.autograd.gradcheck(lambda h: smooth(scaled_gradient(h, -1.0)), (x,))


def test_heads_read_both_side_by_side() -> None:
    model = table_model().eval()
    x = batch()
    s = model.encoder(x)
    for task in "ab":
        p = model.private[task](x)
        expected = model.heads[task].layers(torch.cat([s, p], dim=1))
        assert model(x)[task].equal(expected)
    assert model(x, return_features=True)[1].equal(s)


@pytest.mark.parametrize("normalise", [False, True])
def test_the_orthogonality_is_the_closed_form(normalise: bool) -> None:
    model = table_model(gamma=0.3, normalise=normalise)
    x = batch()
    model(x)
    found = model.penalties()
    assert list(found) == ["orthogonality"]
    s = model.encoder(x).detach().double().numpy()
    expected = 0.0
    for task in "ab":
        p = model.private[task](x).detach().double().numpy()
        rows = [s, p]
        if normalise:
            rows = [part - part.mean(0) for part in rows]
            rows = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in rows]
        overlap = sum(np.outer(a, b) for a, b in zip(*rows, strict=True)) / len(s)
        expected += 0.3 * np.square(overlap).sum()
    assert found["orthogonality"].item() == pytest.approx(expected, rel=1e-4)
    if normalise:
        assert expected <= 2 * 0.3


def test_terms_are_of_training_alone_and_of_what_was_computed() -> None:
    model = table_model(3)
    model(batch(), tasks=("b",))
    one = model.penalties()["orthogonality"]
    model(batch())
    assert 0 < one < model.penalties()["orthogonality"]
    model.eval()
    model(batch())
    assert not model.penalties()
    assert not table_model(gamma=0.0, adversarial=0.0).penalties()


class Pick(nn.Module):
    """Four of the columns."""

    output_size = 4

    def __init__(self, start: int = 0) -> None:
        super().__init__()
        self.start = start
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.start : self.start + 4] * self.scale


def test_features_that_no_linear_map_relates_do_not_overlap() -> None:
    x = torch.linalg.qr(batch()["numeric"][:, :8])[0]  # columns orthonormal over the 30 rows
    model = SharedPrivate(Pick(), [Output("a")], gamma=1.0, normalise=False, fresh=False)
    model(x)
    assert model.penalties()["orthogonality"].item() == pytest.approx(4 / 30**2, rel=1e-4)
    model.private["a"].start = 4
    model(x)
    assert model.penalties()["orthogonality"].item() == pytest.approx(0, abs=1e-9)


def test_private_encoders_start_by_themselves() -> None:
    def weights(model: Any, task: str) -> Tensor:
        return model.private[task].stages[0][0].weight

    alone, three = table_model(1), table_model(3)
    shared = three.encoder.stages[0][0].weight
    assert not weights(alone, "a").equal(shared)
    assert weights(alone, "a").equal(weights(three, "a")), "whatever its company"
    assert not weights(three, "a").equal(weights(three, "b"))
    same = table_model(2, fresh=False)
    assert weights(same, "a").equal(same.encoder.stages[0][0].weight)


class Columns(nn.Sequential):
    """An encoder of one's own: reads the numeric columns, and no input that it does not know."""

    output_size = 6

    def __init__(self) -> None:
        super().__init__(nn.Linear(11, 6), nn.Tanh())


def two_sets(rows: int = 40) -> dict[str, Tensor]:
    return {"numeric": wine()[0]["numeric"][:rows], "set": torch.arange(rows) % 2}


def with_origin(seed: int = 0, count: int = 2, **options: Any) -> Any:
    torch.manual_seed(seed)
    tasks = [Output(name) for name in "abc"[:count]]
    return SharedPrivate(Columns(), tasks, **{"origin": "set", **options})


def test_the_discriminator_learns_what_the_encoder_unlearns() -> None:
    model = with_origin(adversarial=0.5, gamma=0.0)
    x = two_sets()
    model(x)
    term = model.penalties()["adversary"]
    s = model.encoder(x["numeric"])
    plain = 0.5 * nn.functional.cross_entropy(model.discriminator(s), x["set"])
    assert term.item() == pytest.approx(plain.item(), rel=1e-5)
    for parameters, sign in ((model.discriminator, 1), (model.encoder, -1)):
        for parameter in parameters.parameters():
            (found,) = torch.autograd.grad(term, parameter, retain_graph=True)
            (expected,) = torch.autograd.grad(plain, parameter, retain_graph=True)
            torch.testing.assert_close(found, sign * expected)
    assert not any(
        p.grad is not None or torch.autograd.grad(term, p, allow_unused=True, retain_graph=True)[0]
        for p in model.private.parameters()
    )


def test_the_input_that_tells_is_hidden_from_encoders() -> None:
    model = with_origin().eval()
    x = two_sets()
    other = {**x, "set": 1 - x["set"]}
    without = {"numeric": x["numeric"]}
    for task, output in model(x).items():
        assert output.equal(model(other)[task])
        assert output.equal(model(without)[task]), "needed for learning alone"


def test_the_discriminator_belongs_to_no_task_and_goes() -> None:
    model = with_origin(gamma=0.0, count=3)
    users = model.shared_parameters()
    assert [users[f"discriminator.{name}"] for name in ("weight", "bias")] == [(), ()]
    pruned = model.prune("b")
    assert pruned.discriminator is None
    pruned.train()(two_sets())
    assert not pruned.penalties()
    assert model.discriminator is not None


def test_a_game_is_offered_only_where_there_is_something_to_tell() -> None:
    assert table_model().discriminator is None
    assert with_origin(adversarial=0.0).discriminator is None
    assert with_origin(count=1).discriminator is None
    assert with_origin(count=1, origins=4).discriminator.out_features == 4
    assert with_origin(count=3).discriminator.out_features == 3


def test_the_discriminator_is_brought_to_chance() -> None:
    """Half of the real digits are shown as negatives; the encoder hides which from its opponent."""
    inputs, targets = digits()
    image = inputs["image"].clone()
    sets = torch.arange(len(image)) % 2
    image[sets == 1] = 1 - image[sets == 1]
    task = Task("digit", "multiclass", classes=tuple(range(10)))

    def loss(adversarial: float) -> float:
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh())
        encoder.output_size = 16
        model = SharedPrivate(encoder, [task], 0.0, True, adversarial, "set", origins=2)
        trainer = Trainer(model, [task], lr=3e-3, epochs=8, batch_size=64, progress=False)
        trainer.fit(({"image": image, "set": sets}, {"digit": targets["digit"]}))
        return model.discriminator.loss(model.encoder(image), sets).item()

    assert loss(1e-3) < 0.1, "hardly played: it tells the two apart"
    assert loss(1.0) > 0.6, "at chance its loss is log 2 = 0.69"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": -1.0}, "gamma must be a finite number at least 0, found -1.0"),
        ({"adversarial": float("nan")}, "adversarial must be a finite number"),
        ({"origin": None, "origins": 3}, "origin names no input"),
        ({"origins": 1}, "at least 2, found 1"),
    ],
)
def test_it_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        with_origin(**options)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (None, "found none in the batch"),
        (torch.zeros(40, 1, dtype=torch.int64), r"found shape \(40, 1\)"),
        (torch.zeros(40), "of type torch.float32"),
        (torch.full((40,), 2), r"from 0 to 1; found 2 to 2"),
    ],
)
def test_it_refuses_sets_that_say_nothing(sets: Tensor | None, message: str) -> None:
    x = two_sets()
    x = {"numeric": x["numeric"]} if sets is None else {**x, "set": sets}
    with pytest.raises(UserError, match=message):
        with_origin()(x)


def test_it_learns_real_lines() -> None:
    trainer = trained(text_model("shared_private"), epochs=5)
    found = losses(trainer)
    assert found[-1] < 0.75 * found[0]


def test_saving_and_loading_keeps_everything() -> None:
    model, other = with_origin(), with_origin(seed=1)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    model.eval(), other.eval()
    x = two_sets()
    assert all(other(x)[t].equal(o) for t, o in model(x).items())
    assert other.discriminator.weight.equal(model.discriminator.weight)


def test_one_row_is_enough() -> None:
    for normalise in (False, True):
        model = table_model(gamma=1.0, normalise=normalise)
        model(batch(1))
        model.penalties()["orthogonality"].backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert gradients
        assert all(g.isfinite().all() for g in gradients)


class TestWithOrigin(ArchitectureConformance):
    """The adversary plays; private encoders start as the shared one."""

    @pytest.fixture(autouse=True, params=[1, 3])
    def case(self, request: pytest.FixtureRequest) -> None:
        self.count = request.param

    def make(self) -> Made:
        tasks = {name: Output(name, 2) for name in "abc"[: self.count]}
        model: Architecture = SharedPrivate(
            Columns(), tasks, adversarial=0.5, origin="set", origins=2, fresh=False
        )
        return model, two_sets(), tasks


class TestOnTokens(ArchitectureConformance):
    def make(self) -> Made:
        model = text_model("shared_private", torch.initial_seed(), gamma=1e-3, normalise=False)
        return model, lines(), {task.name: task for task in TASKS}


def test_a_discriminator_of_half_precision_features() -> None:
    made = Discriminator(6, 2)
    with torch.autocast("cpu", torch.bfloat16):
        loss = made.loss(torch.randn(5, 6).bfloat16(), torch.tensor([0, 1, 1, 0, 1]))
    assert loss.isfinite()
