from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch

from polytask.architectures._gumbel import Annealed, gumbel_softmax, mixed
from polytask.errors import UserError


def test_samples_go_one_hot_as_the_temperature_goes_to_zero() -> None:
    torch.manual_seed(0)
    logits = torch.randn(500, 4)
    for temperature, least in [(1e-3, 0.99), (0.1, 0.7)]:
        sample = gumbel_softmax(logits, temperature)
        torch.testing.assert_close(sample.sum(dim=1), torch.ones(500))
        assert (sample.max(dim=1).values > 0.9).float().mean() > least
    flat = gumbel_softmax(logits, 1e4)
    torch.testing.assert_close(flat, torch.full_like(flat, 0.25), atol=1e-3, rtol=0)


def test_choices_have_the_probabilities_of_the_logits() -> None:
    torch.manual_seed(1)
    logits = torch.tensor([0.5, -1.0, 2.0])
    draws = 20000
    for hard in (False, True):
        chosen = gumbel_softmax(logits.expand(draws, 3), 0.7, hard).argmax(dim=1)
        share = torch.bincount(chosen, minlength=3) / draws
        # Four standard errors of a share.
        torch.testing.assert_close(share, logits.softmax(0), atol=4 * 0.5 / draws**0.5, rtol=0)


def test_a_hard_sample_is_zero_or_one_with_the_soft_gradient() -> None:
    gradients = []
    for hard in (False, True):
        torch.manual_seed(2)
        logits = torch.zeros(300, 2, requires_grad=True)
        sample = gumbel_softmax(logits, 2.0, hard)
        if hard:
            assert set(sample.flatten().tolist()) == {0.0, 1.0}
        sample[:, 0].sum().backward()
        gradients.append(logits.grad)
    assert gradients[0] is not None
    assert gradients[0].ne(0).all()
    assert gradients[0].equal(gradients[1])


def test_samples_are_not_drawn_in_half_precision() -> None:
    sample = gumbel_softmax(torch.zeros(4, 2, dtype=torch.bfloat16), 1.0)
    assert sample.dtype == torch.float32


def test_a_mixture() -> None:
    parts = [torch.ones(2, 3), torch.full((2, 3), 10.0)]
    assert mixed(torch.tensor([0.25, 0.5]), parts).eq(5.25).all()
    assert mixed(torch.ones(1), parts[:1]).equal(parts[0])
    half = [part.bfloat16() for part in parts]
    assert mixed(torch.tensor([0.25, 0.5]), half).dtype == torch.bfloat16


def test_the_temperature_follows_the_steps() -> None:
    clock = Annealed(5.0, 0.965, 100)
    seen = []
    for _ in range(250):
        seen.append(clock.temperature)
        clock.advance()
    assert seen == [5.0] * 100 + [5.0 * 0.965] * 100 + [5.0 * 0.965**2] * 50
    again = Annealed(5.0, 0.965, 100)
    again.load_state_dict(clock.state_dict())
    assert (again.steps, again.temperature) == (250, 5.0 * 0.965**2)
    # Never 0, by which samples are divided.
    clock.step.fill_(10**6)
    assert clock.temperature == 0.01
    assert Annealed(0.001, 0.5, 1).temperature == 0.001


def test_faulty_schedules() -> None:
    for given, message in [
        ((0.0, 0.9, 10), "temperature must be above 0"),
        ((1.0, 0.0, 10), r"anneal must be in \(0, 1\]"),
        ((1.0, 1.1, 10), r"anneal must be in \(0, 1\]"),
        ((1.0, 0.9, 0), "anneal_every must be at least 1"),
    ]:
        with pytest.raises(UserError, match=message):
            Annealed(*given)


def falling(start: float = 5.0, rate: float | None = None, steps: int | None = None) -> Annealed:
    clock = Annealed(start, rate, 100)
    if steps is not None:
        clock.plan(steps)
    return clock


def test_by_plan_the_temperature_falls_within_the_training() -> None:
    clock = falling(steps=100)
    seen = []
    for _ in range(100):
        seen.append((clock.temperature, clock.settled))
        clock.advance()
    assert seen[0] == (5.0, False)
    assert seen[40][0] == pytest.approx((5.0 * 0.1) ** 0.5)
    falls = [later / now for (now, _), (later, _) in pairwise(seen[:80])]
    assert falls == pytest.approx([0.02 ** (1 / 80)] * 79)
    assert [settled for _, settled in seen] == [False] * 80 + [True] * 20
    assert {temperature for temperature, _ in seen[80:]} == {0.1}


def test_without_a_plan_and_with_a_rate_the_length_plays_no_part() -> None:
    for clock in (falling(), falling(rate=0.965), falling(rate=0.965, steps=100)):
        clock.step.fill_(250)
        assert clock.temperature == 5.0 * 0.965**2
        assert not clock.settled
    assert falling(steps=100).total == 100
    assert falling().total is None


def test_a_plan_of_one_step_and_a_start_below_the_end() -> None:
    clock = falling(steps=1)
    assert (clock.temperature, clock.settled) == (5.0, False)
    clock.advance()
    assert (clock.temperature, clock.settled) == (0.1, True)
    clock = falling(start=0.05, steps=10)
    clock.step.fill_(4)
    assert clock.temperature == 0.05


def test_what_is_settled_stays_so() -> None:
    clock = falling(steps=100)
    clock.step.fill_(79)
    clock.plan(200)
    assert not clock.settled
    clock.step.fill_(160)
    clock.plan(1000)
    assert clock.settled
    assert clock.total == 200


def test_a_plan_is_saved_and_copied() -> None:
    clock = falling(steps=100)
    clock.step.fill_(90)
    loaded = falling()
    loaded.load_state_dict(clock.state_dict())
    for other in (loaded, copy.deepcopy(clock)):
        assert (other.total, other.steps, other.settled) == (100, 90, True)


@pytest.mark.parametrize("steps", [0, -3, 2.5, True])
def test_faulty_plans(steps: Any) -> None:
    with pytest.raises(UserError, match="steps"):
        falling(steps=steps)
