from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from learned_cases import (
    DIGIT_TASKS,
    A,
    B,
    C,
    equal,
    halving,
    images,
    reloaded,
    table,
    tokens,
    trained,
    wines,
)
from real_inputs import DIGITS
from torch import Tensor, nn

from polytask.architectures import HardSharing, Staged, create_encoder
from polytask.architectures._gumbel import gumbel_softmax
from polytask.architectures._routes import FixedRoutes
from polytask.architectures.adashare import AdaShare
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made


def resnet() -> nn.Module:
    """Stem, a block that keeps the shape, one that halves it, two that keep it."""
    return create_encoder("resnet", DIGITS, width=4, blocks=(1, 3))


def built(*tasks: Any, encoder: Callable[[], nn.Module] = resnet, **options: Any) -> AdaShare:
    torch.manual_seed(options.pop("seed", 0))
    return AdaShare(encoder(), tasks or (A, B), **options)


def decide(model: AdaShare, **choices: tuple[int, ...]) -> AdaShare:
    """Set the policies: 1 runs a stage, 0 skips it."""
    with torch.no_grad():
        for task, runs in choices.items():
            sign = torch.tensor(runs) * 2.0 - 1
            model.policies[task].logits.copy_(50 * torch.stack([sign, -sign], dim=1))
    return model


OPTIONS: dict[str, tuple[Callable[[], nn.Module], Any, dict[str, Any]]] = {
    "all-at-once": (resnet, images(), {"curriculum": 0, "sparsity": 0.0}),
    "one-a-step": (table, wines(48), {"curriculum": 1, "temperature": 1.0, "sharing": 1.0}),
    "tokens": (tokens, images(), {"curriculum": 0}),
}


class TestOptions(ArchitectureConformance):
    @pytest.fixture(autouse=True, params=OPTIONS)
    def case(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param

    def make(self) -> Made:
        encoder, batch, options = OPTIONS[self.name]
        tasks = {task.name: task for task in (A, B, C)}
        return AdaShare(encoder(), tasks, **options), batch, tasks


class TestDerived(ArchitectureConformance):
    @pytest.fixture(autouse=True, params=["different", "alike"])
    def case(self, request: pytest.FixtureRequest) -> None:
        self.alike = request.param == "alike"

    def make(self) -> Made:
        tasks = {task.name: task for task in (A, B, C)}
        model = AdaShare(resnet(), tasks, curriculum=0)
        last = (0, 1, 0) if self.alike else (1, 0, 0)
        first = (0, 1, 0) if self.alike else (1, 1, 0)
        return decide(model, a=first, b=(0, 1, 0), c=last).derive(), images(), tasks


def test_stages_of_equal_shape_can_be_skipped() -> None:
    assert built().optional == (1, 3, 4)
    assert built(encoder=table).optional == (1, 2)
    assert built(encoder=tokens).optional == (1, 2)
    assert built(encoder=halving, example=images(2)).optional == ()
    with pytest.raises(UserError, match=r"\(24, 4, 8, 8\).*example="):
        built(encoder=halving)(images())


def test_where_nothing_can_be_skipped_it_is_hard_sharing() -> None:
    model = built(encoder=lambda: table(8, 6))
    torch.manual_seed(0)
    plain = HardSharing(table(8, 6), [A, B])
    outputs, z = model(wines(), return_features=True)
    assert equal(outputs, plain(wines()))
    assert z.shape == (16, 6)
    assert model.penalties() == {}
    assert [name for name, _ in model.named_parameters() if "polic" in name] == []


@pytest.mark.parametrize("when", ["warm-up", "evaluation"])
def test_at_first_every_stage_is_run(when: str) -> None:
    model = built(warmup=3, curriculum=0)
    torch.manual_seed(0)
    plain = HardSharing(resnet(), [A, B])
    if when == "evaluation":
        model.eval()
        model.clock.step.fill_(5)
    assert equal(model(images()), plain(images()))


def test_the_equation() -> None:
    """x' = u F(x) + (1 - u) x with the sample of each task."""
    model = built(A, curriculum=0, temperature=0.8)
    nn.init.normal_(model.policies["a"].logits)
    torch.manual_seed(4)
    output = model(images())["a"]
    torch.manual_seed(4)
    u = gumbel_softmax(model.policies["a"].logits, 0.8)[:, 0]
    assert (u > 0.01).all()
    assert (u < 0.99).all()
    h = model.encoder.stages[0](images())
    h = u[0] * model.encoder.stages[1](h) + (1 - u[0]) * h
    h = model.encoder.stages[2](h)
    for i, stage in ((1, 3), (2, 4)):
        h = u[i] * model.encoder.stages[stage](h) + (1 - u[i]) * h
    torch.testing.assert_close(output, model.heads.answer("a", h))


def test_a_hard_sample_that_skips_is_the_identity() -> None:
    model = decide(built(hard=True, curriculum=0), a=(1, 0, 1), b=(0, 0, 0))
    stages = model.encoder.stages
    outputs = model(images())
    b = stages[2](stages[0](images()))
    a = stages[4](stages[2](stages[1](stages[0](images()))))
    assert outputs["a"].equal(model.heads.answer("a", a))
    assert outputs["b"].equal(model.heads.answer("b", b))


def test_a_hard_sample_teaches_the_policy() -> None:
    model = built(A, hard=True, curriculum=0)
    model(images())["a"].square().sum().backward()
    gradient = model.policies["a"].logits.grad
    assert gradient.ne(0).all()
    torch.testing.assert_close(gradient.sum(dim=1), torch.zeros(3))


def test_evaluation_takes_the_more_probable_and_runs_no_more() -> None:
    model = decide(built(A, B, C, curriculum=0), a=(1, 0, 1), b=(1, 0, 0), c=(0, 0, 0)).eval()
    calls = [0] * 5
    for number, stage in enumerate(model.encoder.stages):
        stage.register_forward_hook(
            lambda *_, number=number: calls.__setitem__(number, calls[number] + 1)
        )
    model(images())
    # The stem for all; a and b go on together, c beside them; stage 3 for nobody.
    assert calls == [1, 1, 2, 0, 1]
    assert model.routes() == {"a": (0, 1, 2, 4), "b": (0, 1, 2), "c": (0, 2)}


def test_the_curriculum_begins_at_the_last_stage() -> None:
    model = built(warmup=2, curriculum=3)
    seen = []
    for _ in range(12):
        seen.append(model.decided)
        model.after_step(1e-3)
    assert seen == [()] * 2 + [(4,)] * 3 + [(3, 4)] * 3 + [(1, 3, 4)] * 4
    assert built(curriculum=0).decided == (1, 3, 4)


def test_by_plan_the_curriculum_fits_the_training() -> None:
    model = built()
    assert (model.decided, model.clock.temperature) == ((4,), 5.0)
    model.plan_training(60)
    seen = []
    for _ in range(60):
        seen.append(model.decided)
        model.after_step(1e-3)
    # A fifth of warm-up; the three stages begin 8 steps apart.
    assert seen == [()] * 12 + [(4,)] * 8 + [(3, 4)] * 8 + [(1, 3, 4)] * 32
    given = built(warmup=2, curriculum=3)
    given.plan_training(60)
    given.clock.step.fill_(5)
    assert given.decided == (3, 4)


def test_settled_policies_are_trained_as_they_are_evaluated() -> None:
    model = decide(built(), a=(1, 0, 1), b=(0, 1, 0))
    model.plan_training(10)
    model.clock.step.fill_(7)
    nn.init.normal_(model.policies["a"].logits)
    assert not equal(model(images()), model(images()))
    assert set(model.penalties()) == {"sparsity", "sharing"}
    model.after_step(1e-3)
    outputs = model(images())
    assert equal(outputs, model(images()))
    assert model.penalties() == {}
    sum(output.square().sum() for output in outputs.values()).backward()
    assert all(model.policies[task].logits.grad is None for task in "ab")
    assert equal(model.eval()(images()), outputs)
    other = built(seed=1)
    other.load_state_dict(model.state_dict())
    for copied in (other, copy.deepcopy(model)):
        assert equal(copied.train()(images()), outputs)


def test_with_a_number_nothing_settles() -> None:
    model = built(curriculum=0, anneal=0.965)
    model.plan_training(10)
    model.clock.step.fill_(9)
    assert model.clock.temperature == 5.0
    assert not equal(model(images()), model(images()))


def test_what_is_not_yet_decided_is_run_and_learns_nothing() -> None:
    model = decide(built(curriculum=5), a=(0, 0, 0), b=(0, 0, 0))
    assert model.eval().routes() == {"a": (0, 1, 2, 3), "b": (0, 1, 2, 3)}
    model = built(curriculum=5).train()
    loss = model(images())["a"].sum() + sum(model.penalties().values())
    loss.backward()
    rows = model.policies["a"].logits.grad.ne(0).any(dim=1)
    assert rows.tolist() == [False, False, True]


def test_the_terms() -> None:
    model = built(A, B, C, curriculum=0, sparsity=0.3, sharing=0.7)
    stream = torch.Generator().manual_seed(0)
    logits = {t: torch.randn(3, 2, generator=stream) for t in "abc"}
    with torch.no_grad():
        for task, values in logits.items():
            model.policies[task].logits.copy_(values)
    run = {t: v[:, 0].exp() / v.exp().sum(1) for t, v in logits.items()}
    for task, share in run.items():
        torch.testing.assert_close(model.probabilities(task), share)
    terms = model.penalties()
    sparsity = sum(-(1 - share).log().mean() for share in run.values())
    gaps = [(run[i] - run[j]).abs() for i, j in ("ab", "ac", "bc")]
    sharing = sum(gap[0] * 3 / 3 + gap[1] * 2 / 3 + gap[2] * 1 / 3 for gap in gaps)
    torch.testing.assert_close(terms["sparsity"], 0.3 * sparsity)
    torch.testing.assert_close(terms["sharing"], 0.7 * sharing)
    # With two of three stages under decision, the first has no part.
    model.curriculum = 1
    model.after_step(1e-3)
    sharing = sum(gap[1] * 2 / 3 + gap[2] * 1 / 3 for gap in gaps)
    torch.testing.assert_close(model.penalties()["sharing"], 0.7 * sharing)


def test_terms_that_are_not_there() -> None:
    assert set(built(sparsity=0.0).penalties()) == {"sharing"}
    assert set(built(sharing=0.0).penalties()) == {"sparsity"}
    assert set(built(A).penalties()) == {"sparsity"}
    assert built(warmup=1).penalties() == {}


def test_policies_learn_at_a_rate_of_their_own() -> None:
    assert built(policy_rate=7.0).rate_factors() == {
        "policies.a.logits": 7.0,
        "policies.b.logits": 7.0,
    }


def test_the_derived_network_answers_the_same() -> None:
    model = decide(built(A, B, C, curriculum=0), a=(1, 0, 1), b=(1, 0, 0), c=(0, 0, 0)).eval()
    derived = model.derive()
    assert isinstance(derived, FixedRoutes)
    assert equal(derived(images()), model(images()))
    users = derived.shared_parameters()
    assert users["encoder.stages.1.branch.0.weight"] == ("a", "b")
    assert users["encoder.stages.4.branch.0.weight"] == ("a",)
    assert not [name for name in users if "policies" in name or "stages.3." in name]
    pruned = derived.prune("b")
    assert equal(pruned(images()), {"b": model(images())["b"]})
    assert not [name for name, _ in pruned.named_parameters() if "stages.4." in name]
    with torch.no_grad():
        next(derived.parameters()).zero_()
    assert not equal(derived(images()), model(images()))


class Rows(nn.Module):
    """Reads an image as the vector of its means by row, with nothing to learn."""

    def forward(self, image: Tensor) -> Tensor:
        return image.mean(dim=(1, 2))


def test_a_task_that_skips_all_there_is_keeps_its_head() -> None:
    stages = [nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)]
    encoder = Staged(stages, Rows(), widths=(8, 8, 8), entrance_width=8)
    model = decide(built(encoder=lambda: encoder, curriculum=0), a=(1, 1, 0), b=(0, 1, 0)).eval()
    pruned = model.derive().prune("b")
    assert {name.split(".")[0] for name, _ in pruned.named_parameters()} == {"heads"}
    assert pruned(images())["b"].equal(model(images())["b"])
    assert pruned.prune("b")(images())["b"].equal(model(images())["b"])


def test_policies_and_steps_are_saved() -> None:
    model = decide(built(curriculum=1), a=(0, 0, 0), b=(0, 1, 0))
    for _ in range(2):
        model.after_step(1e-3)
    other = built(curriculum=1, seed=1)
    assert reloaded(model, other, images())
    assert other.decided == (1, 3, 4)
    assert other.routes() == model.routes()


def test_faulty_options() -> None:
    for options, message in [
        ({"sparsity": -0.1}, "sparsity must be 0 or more"),
        ({"sharing": float("nan")}, "sharing must be 0 or more"),
        ({"warmup": -1}, "warmup must be 0 or more"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"anneal": 2.0}, "anneal must be in"),
        ({"curriculum": -1}, "curriculum must be 0 or more"),
    ]:
        with pytest.raises(UserError, match=message):
            built(**options)


def test_it_learns_digits_and_to_skip() -> None:
    """Under strong sparsity nothing is run that need not be; without it, what helps is."""
    choices: dict[float, dict[str, Tensor]] = {}
    for sparsity in (0.0, 5.0):
        model = built(
            *DIGIT_TASKS, sparsity=sparsity, sharing=0.0, curriculum=0, anneal=0.9, anneal_every=5
        )
        losses = trained(model, epochs=4)
        assert losses[-1] < 0.9 * losses[0]
        assert model.clock.steps == 4 * 15
        choices[sparsity] = {task.name: model.probabilities(task.name) for task in DIGIT_TASKS}
        outputs = model.eval()(images())
        assert equal(model.derive()(images()), outputs)
    assert all((share < 0.3).all() for share in choices[5.0].values())
    assert all(choices[0.0][t].mean() > choices[5.0][t].mean() + 0.2 for t in choices[0.0])
