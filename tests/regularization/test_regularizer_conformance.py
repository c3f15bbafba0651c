"""What every regularizer must do."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from scipy.optimize import minimize
from stacks import TASKS, drawn, gradient
from torch import Tensor

from polytask import registry
from polytask.errors import UserError
from polytask.optimization.regularization import (
    Regularizer,
    create_regularizer,
    list_regularizers,
)

NAMES = list_regularizers()
PROXIMAL = [name for name in NAMES if registry.find("regularizer", name).constants.get("proximal")]
DEGREE = {"l2": 2, "mrn": 2, "amtl": 2, "cluster": 2, "decorrelation": 0}  # all others 1
# What the term is for networks that are all the same; the others are not 0 then.
OF_EQUALS = {"l2": 0.0, "cluster": 0.0, "decorrelation": 3.0}


def made(
    name: str, stack: Tensor, tasks: tuple[str, ...] = TASKS, **options: object
) -> Regularizer:
    """A regularizer that has learned from other weights than those it is asked about."""
    term = create_regularizer(name, **{"strength": 0.7, **options})
    term.prepare({"w": stack}, tasks)
    others = drawn(3, 4, 5, seed=5) + 0.5
    others = others[[TASKS.index(task) for task in tasks]]
    term.observe({"wind": 0.2, "rain": 1.0, "sun": 3.0})
    term.update({"w": others}, tasks)
    return term


def test_names() -> None:
    assert len(NAMES) == 9
    assert {"l2", "trace_norm", "amtl"} <= set(NAMES)
    assert create_regularizer("TraceNorm").name == "trace_norm"
    for name in NAMES:
        entry = registry.find("regularizer", name)
        assert entry.summary
        assert entry.load().name == name
        assert entry.load().paper


@pytest.mark.parametrize("name", NAMES)
def test_a_finite_number_of_at_least_nothing(name: str) -> None:
    for stack in (drawn(3, 4, 5), torch.zeros(3, 4, 5).double(), drawn(4, 5).expand(3, 4, 5)):
        value = made(name, stack).penalty(stack, TASKS, "w")
        assert value.shape == ()
        assert value.isfinite()
        assert value >= 0
        assert gradient(lambda s, n=name: made(n, s).penalty(s, TASKS, "w"), stack).isfinite().all()


@pytest.mark.parametrize("name", sorted(OF_EQUALS))
def test_of_equal_networks(name: str) -> None:
    stack = drawn(4, 5).expand(3, 4, 5)
    value = made(name, stack, strength=1.0).penalty(stack, TASKS, "w")
    assert value.item() == pytest.approx(OF_EQUALS[name], abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_tasks_does_not_matter(name: str) -> None:
    stack, turn = drawn(3, 4, 5), [2, 0, 1]
    turned = tuple(TASKS[place] for place in turn)
    one, other = made(name, stack), made(name, stack[turn], turned)
    expected = one.penalty(stack, TASKS, "w")
    torch.testing.assert_close(one.penalty(stack[turn], turned, "w"), expected)
    torch.testing.assert_close(other.penalty(stack[turn], turned, "w"), expected)
    if name in PROXIMAL:
        torch.testing.assert_close(
            one.prox(stack[turn], 0.3, turned), one.prox(stack, 0.3, TASKS)[turn]
        )


@pytest.mark.parametrize("name", NAMES)
def test_scale(name: str) -> None:
    stack = drawn(3, 4, 5)
    term = made(name, stack)
    expected = 3.0 ** DEGREE.get(name, 1) * term.penalty(stack, TASKS, "w")
    torch.testing.assert_close(term.penalty(3 * stack, TASKS, "w"), expected)
    half = made(name, stack, strength=0.35)
    if name != "amtl":  # whose mixtures depend on the strength
        torch.testing.assert_close(
            2 * half.penalty(stack, TASKS, "w"), term.penalty(stack, TASKS, "w")
        )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 3, 2, 2)])
def test_gradients(name: str, shape: tuple[int, ...]) -> None:
    stack = drawn(*shape).requires_grad_()
    term = create_regularizer(name, strength=0.7)
    term.prepare({"w": stack}, TASKS)
    term.update({"w": drawn(*shape, seed=3)}, TASKS)
    assert torch.autograd.gradcheck(lambda s: term.penalty(s, TASKS, "w"), (stack,))


@pytest.mark.parametrize("name", PROXIMAL)
def test_the_proximal_step_is_the_minimiser(name: str) -> None:
    """By its definition: no point near or far is lower, and a solver finds none either."""
    stack = drawn(3, 2, 3)
    term = create_regularizer(name, strength=0.7)
    term.prepare({"w": stack}, TASKS)
    term.update({"w": drawn(3, 2, 3, seed=4)}, TASKS)

    def objective(x: Tensor) -> float:
        moved = (x - stack).square().sum() / (2 * 0.4)
        return float(term.penalty(x, TASKS, "w") + moved)

    found = term.prox(stack, 0.4, TASKS)
    lowest = objective(found)
    assert lowest < objective(stack)
    for seed in range(200):
        there = found + 10.0 ** -(seed % 6) * drawn(3, 2, 3, seed=seed)
        assert objective(there) >= lowest - 1e-12
    solved = minimize(
        lambda x: objective(torch.from_numpy(x).view_as(stack)),
        found.flatten().numpy() + 0.01,
        method="L-BFGS-B",
    )
    assert solved.fun >= lowest - 1e-9


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(PROXIMAL)))
def test_terms_without_a_proximal_step_say_so(name: str) -> None:
    with pytest.raises(UserError, match="no proximal step in closed form"):
        create_regularizer(name).prox(drawn(3, 4, 5), 0.1)


@pytest.mark.parametrize("name", NAMES)
def test_a_lone_task_or_no_strength_is_no_term(name: str) -> None:
    stack = drawn(1, 4, 5)
    term = create_regularizer(name)
    assert term.penalty(stack, TASKS[:1], "w").item() == 0
    assert term.diagnostics({"w": stack}, TASKS[:1]) == {"penalty": 0.0}
    none = create_regularizer(name, strength=0)
    assert none.penalty(drawn(3, 4, 5), TASKS, "w").item() == 0
    if name in PROXIMAL:
        assert term.prox(stack, 0.1).equal(stack)
        assert none.prox(drawn(3, 4, 5), 0.1).equal(drawn(3, 4, 5))


@pytest.mark.parametrize("name", NAMES)
def test_diagnostics_are_plain_and_change_nothing(name: str) -> None:
    stack = drawn(3, 4, 5)
    term = made(name, stack)
    before = copy.deepcopy(term.state_dict())
    told = term.diagnostics({"w": stack}, TASKS)
    assert json.loads(json.dumps(told)) == told
    assert told["penalty"] == pytest.approx(term.penalty(stack, TASKS, "w").item())
    assert len(told) > 1
    assert all(value.equal(before[key]) for key, value in term.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_state_round_trip(name: str) -> None:
    stack = drawn(3, 4, 5)
    term = made(name, stack)
    other = create_regularizer(name, strength=0.7)
    other.prepare({"w": stack}, TASKS)
    other.load_state_dict(term.state_dict())
    assert other.penalty(stack, TASKS, "w").equal(term.penalty(stack, TASKS, "w"))


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_is_near(name: str) -> None:
    stack = drawn(3, 4, 5)
    exact = made(name, stack).penalty(stack, TASKS, "w")
    found = made(name, stack.float()).penalty(stack.float(), TASKS, "w")
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(exact.item(), rel=1e-4)


def test_how_they_are_named() -> None:
    made_by = [
        create_regularizer("trace_norm", strength=0.3),
        create_regularizer({"trace_norm": {"strength": 0.3}}),
    ]
    assert [term.strength for term in made_by] == [0.3, 0.3]
    assert create_regularizer({"l2": None}).strength == 0.01
    assert create_regularizer(made_by[0]) is made_by[0]
    for wrong, said in (
        ("trace", "did you mean 'trace_norm'"),
        ({"l2": {"strenght": 1}}, "did you mean 'strength'"),
        ({"l2": {}, "tucker": {}}, "one name with its arguments"),
        ({}, "one name with its arguments"),
        ({"l2": 3}, "one name with its arguments"),
        (3, "a name, a mapping"),
        ({"l2": {"strength": -1}}, "strength must be a number of at least 0, found -1"),
    ):
        with pytest.raises(UserError, match=said):
            create_regularizer(wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="ready made"):
        create_regularizer(made_by[0], strength=1)
