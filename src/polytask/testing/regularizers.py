"""What every regularizer must do, as tests to inherit.

    class TestMine(RegularizerConformance):
        def make(self):
            return Mine(strength=0.7)

Run it with pytest. `make` builds a new term, several times in a test.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from polytask.architectures.single_task import SingleTask
from polytask.errors import UserError
from polytask.optimization.regularization import Regularizer

TASKS = ("wind", "rain", "sun")
"""Not in the order of their names, which is the order of what is learned."""
SHAPES: tuple[tuple[int, ...], ...] = ((4, 5), (3, 2, 2))
"""Of one network's weight: of a dense layer, and of a small kernel."""
TURNS = ([2, 0, 1], [1, 0, 2])
STEP = 0.4


@dataclass(frozen=True)
class _Task:
    name: str
    output_size: int = 2


class RegularizerConformance:
    """Inherit it in a test class and write `make`; pytest collects the rest.

    Attributes:
        never_negative: whether the term is 0 at least, for any weights.
        convex: whether it is a convex function of the weights, what it has learned held fixed.
        zero_of_equals: whether it is 0 for networks that are all the same; None is as its class
            says.
    """

    never_negative = True
    convex = True
    zero_of_equals: bool | None = None

    def make(self) -> Regularizer:
        """Answer a new term with a strength above 0; one that learns, with few steps between."""
        raise NotImplementedError("a conformance test class must define make(self)")

    def test_it_says_what_it_is(self) -> None:
        """A name to tell it by, a strength, the least dimensions of its weights."""
        term = self.make()
        assert term.name, "a term has a name"
        assert term.strength > 0
        assert term.least >= 1

    def test_a_finite_number_of_the_kind_of_the_weights(self) -> None:
        """A scalar in the dtype of the weights, for any weights; so is its gradient."""
        for shape in _shapes(self.make()):
            drawn = _drawn(3, *shape)
            for stack in (drawn, torch.zeros_like(drawn), drawn[:1].expand_as(drawn)):
                value = _learned(self, shape).penalty(stack, TASKS, "w")
                assert value.shape == ()
                assert value.dtype == stack.dtype
                assert bool(value.isfinite()), value
                assert not self.never_negative or float(value) >= 0, value
                found = _gradient(_learned(self, shape), stack)
                assert bool(found.isfinite().all()), "the gradient is not finite"

    def test_single_precision_is_near(self) -> None:
        """Weights in float32 give a float32 that is that of float64 to rounding."""
        for shape in _shapes(self.make()):
            exact = _learned(self, shape).penalty(_drawn(3, *shape), TASKS, "w")
            found = _learned(self, shape, dtype=torch.float32)
            value = found.penalty(_drawn(3, *shape).float(), TASKS, "w")
            assert value.dtype == torch.float32
            assert float(value) == pytest.approx(float(exact), rel=1e-3, abs=1e-5)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_it_stays_on_the_device_of_the_weights(self) -> None:
        """Prepared for weights on a device, the term and all it learns are there."""
        for shape in _shapes(self.make()):
            expected = _learned(self, shape).penalty(_drawn(3, *shape), TASKS, "w")
            term = _learned(self, shape, device="cuda")
            value = term.penalty(_drawn(3, *shape).cuda(), TASKS, "w")
            assert value.device.type == "cuda"
            assert all(buffer.device.type == "cuda" for buffer in term.buffers())
            assert float(value) == pytest.approx(float(expected), rel=1e-5)

    def test_networks_that_are_the_same(self) -> None:
        """A term that says so (`zero_of_equals`) is 0 for them, and no other is."""
        said = self.zero_of_equals
        expected = self.make().zero_of_equals if said is None else said
        for shape in _shapes(self.make()):
            stack = _drawn(1, *shape).expand(3, *shape)
            value = float(_learned(self, shape).penalty(stack, TASKS, "w"))
            assert (abs(value) < 1e-12) == expected, value

    def test_the_order_of_tasks_plays_no_part(self) -> None:
        """In what it is told and in what it is asked; steps are permuted with the tasks."""
        for shape in _shapes(self.make()):
            stack, term = _drawn(3, *shape), _learned(self, shape)
            expected = term.penalty(stack, TASKS, "w")
            for turn in TURNS:
                names = [TASKS[place] for place in turn]
                for other in (term, _learned(self, shape, turn)):
                    _close(other.penalty(stack[turn], names, "w"), expected)
                    if term.proximal:
                        found = other.prox(stack[turn], STEP, names)
                        _close(found, term.prox(stack, STEP, TASKS)[turn])

    def test_the_strength_is_a_factor(self) -> None:
        """Twice the strength, with the same learned, is twice the term; none is no term."""
        for shape in _shapes(self.make()):
            stack, term = _drawn(3, *shape), _learned(self, shape)
            once = term.penalty(stack, TASKS, "w")
            term.strength *= 2
            _close(term.penalty(stack, TASKS, "w"), 2 * once)
            term.strength = 0.0
            assert float(term.penalty(stack, TASKS, "w")) == 0
            if term.proximal:
                assert term.prox(stack, STEP, TASKS).equal(stack)

    def test_the_gradient_is_that_of_finite_differences(self) -> None:
        """In float64, where the term is smooth."""
        for shape in _shapes(self.make()):
            term, stack = _learned(self, shape), _drawn(3, *shape)
            found = _gradient(term, stack).flatten()
            for place in range(stack.numel()):
                moved = torch.zeros_like(stack).flatten()
                moved[place] = 1e-5
                ends = [
                    term.penalty(stack + sign * moved.view_as(stack), TASKS, "w")
                    for sign in (1, -1)
                ]
                slope = float(ends[0] - ends[1]) / 2e-5
                assert float(found[place]) == pytest.approx(slope, rel=1e-4, abs=1e-7)

    def test_convexity(self) -> None:
        """Between two points a convex term lies below the line through its ends."""
        if not self.convex:
            return
        for shape in _shapes(self.make()):
            term = _learned(self, shape)
            for seed in range(20):
                one, other = _drawn(3, *shape, seed=seed), _drawn(3, *shape, seed=seed + 100)
                ends = [float(term.penalty(end, TASKS, "w")) for end in (one, other)]
                middle = float(term.penalty(0.3 * one + 0.7 * other, TASKS, "w"))
                assert middle <= 0.3 * ends[0] + 0.7 * ends[1] + 1e-10

    def test_the_proximal_step_is_the_minimiser(self) -> None:
        """No point near or far has a lower penalty(x) + ||x - stack||^2 / (2 step).

        Of a convex term (stack - x) / step is a sub-gradient at x, which proves it; and steps
        from two points bring these no further apart.
        """
        for shape in _shapes(self.make()):
            term, stack = _learned(self, shape), _drawn(3, *shape)
            if not term.proximal:
                with pytest.raises(UserError, match="no proximal step"):
                    term.prox(stack, STEP, TASKS)
                continue
            given = stack.clone()
            found = term.prox(stack, STEP, TASKS)
            assert stack.equal(given), "the step changes the weights that it is given"
            lowest = float(term.penalty(found, TASKS, "w"))
            slope = (stack - found) / STEP
            reached = lowest + float((found - stack).square().sum()) / (2 * STEP)
            for there in _around(found, stack):
                value = float(term.penalty(there, TASKS, "w"))
                assert value + float((there - stack).square().sum()) / (2 * STEP) >= reached - 1e-11
                if self.convex:
                    assert value >= lowest + float((slope * (there - found)).sum()) - 1e-10
            if self.convex:
                other = _drawn(3, *shape, seed=9)
                apart = (term.prox(other, STEP, TASKS) - found).norm()
                assert float(apart) <= float((other - stack).norm()) + 1e-10
            _close(term.prox(stack, 1e-12, TASKS), stack, atol=1e-9)

    def test_a_lone_task_has_no_term(self) -> None:
        """It is not prepared for one, asks for nothing, tells nothing but a penalty of 0."""
        for shape in _shapes(self.make()):
            term, stack = self.make(), _drawn(1, *shape)
            assert float(term.penalty(stack, TASKS[:1], "w")) == 0
            assert term.diagnostics({"w": stack}, TASKS[:1]) == {"penalty": 0.0}
            if term.proximal:
                assert term.prox(stack, STEP, TASKS[:1]).equal(stack)

    def test_other_shapes_are_refused_in_words(self) -> None:
        """Networks that are not as many as tasks; weights of another size, where it minds."""
        for shape in _shapes(self.make()):
            term = _learned(self, shape)
            for wrong in (_drawn(2, *shape), _drawn(4, *shape), _drawn(1)[0]):
                with pytest.raises(UserError, match="networks along its first dimension"):
                    term.penalty(wrong, TASKS, "w")
                if term.proximal:
                    with pytest.raises(UserError, match="networks along its first dimension"):
                        term.prox(wrong, STEP, TASKS)
            larger = (*shape[:-1], shape[-1] + 1)
            try:
                value = term.penalty(_drawn(3, *larger), TASKS, "w")
            except UserError:
                continue
            assert bool(value.isfinite())

    def test_diagnostics_are_plain_and_change_nothing(self) -> None:
        """JSON without NaN, a penalty that is the sum over weights, words for every entry."""
        for shape in _shapes(self.make()):
            term = _learned(self, shape)
            stacks = {"w": _drawn(3, *shape), "v": _drawn(3, *shape, seed=2)}
            before = copy.deepcopy(term.state_dict())
            told = term.diagnostics(stacks, TASKS)
            assert json.loads(json.dumps(told, allow_nan=False)) == told
            total = sum(float(term.penalty(stack, TASKS, name)) for name, stack in stacks.items())
            assert math.isclose(told["penalty"], total, rel_tol=1e-9)
            assert set(told) - {"penalty"} <= set(term.tells), "an entry has no words in `tells`"
            after = term.state_dict()
            assert all(after[name].equal(value) for name, value in before.items())

    def test_a_saved_state_continues_identically(self) -> None:
        """Into a new term that was told the tasks in another order; also copied."""
        for shape in _shapes(self.make()):
            stack, term = _drawn(3, *shape), _learned(self, shape)
            state = copy.deepcopy(term.state_dict())
            (turn, *_) = TURNS
            names = [TASKS[place] for place in turn]
            loaded = self.make()
            loaded.prepare({"w": stack[turn], "v": stack[turn]}, names)
            loaded.load_state_dict(state)
            for other in (loaded, copy.deepcopy(term)):
                _close(other.penalty(stack, TASKS, "w"), term.penalty(stack, TASKS, "w"))
                assert other.due() == copy.deepcopy(term).due()
                again = copy.deepcopy(term)
                for one in (other, again):
                    one.update({"w": _drawn(3, *shape, seed=8)}, TASKS)
                _close(other.penalty(stack, TASKS, "w"), again.penalty(stack, TASKS, "w"))

    def test_fewer_tasks(self) -> None:
        """What it has learned of the tasks that stay is kept, down to one task."""
        for shape in _shapes(self.make()):
            stack, term = _drawn(3, *shape), _learned(self, shape)
            term.keep(("wind", "sun"))
            pair = stack[[0, 2]]
            assert bool(term.penalty(pair, ("wind", "sun"), "w").isfinite())
            _close(
                term.penalty(pair.flip(0), ("sun", "wind"), "w"),
                term.penalty(pair, ("wind", "sun"), "w"),
            )
            term.update({"w": pair}, ("wind", "sun"))
            json.dumps(term.diagnostics({"w": pair}, ("wind", "sun")), allow_nan=False)
            term.keep(("sun",))
            assert float(term.penalty(stack[2:], ("sun",), "w")) == 0

    def test_one_more_task(self) -> None:
        """Every buffer is taken over; without the new task the term is what it was."""
        for shape in _shapes(self.make()):
            stack, old = _drawn(3, *shape), ("wind", "sun")
            small, large = self.make(), self.make()
            for term, names in ((small, old), (large, TASKS)):
                term.prepare({"w": stack[[TASKS.index(name) for name in names]]}, names)
            small.update({"w": _drawn(2, *shape, seed=3)}, old)
            there = dict(large.named_buffers())
            same = {n for n, b in small.named_buffers() if n in there and there[n].shape == b.shape}
            for name in same:
                there[name].copy_(small.get_buffer(name))
            taken = set(large.grow(small, {"w": stack}, TASKS))
            left = {name for name, _ in small.named_buffers()} - same - taken
            assert not left, f"grow() says nothing of {', '.join(sorted(left))}"
            assert bool(large.penalty(stack, TASKS, "w").isfinite())
            large.keep(old)
            _close(large.penalty(stack[[0, 2]], old, "w"), small.penalty(stack[[0, 2]], old, "w"))

    def test_in_a_model(self) -> None:
        """Trained, saved, loaded, pruned, and given a task more; the old ones answer as before."""
        x = _drawn(6, 1, 3, 3).float()
        model = self._model(x)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        _train(model, optimizer, x)
        name = self.make().name
        assert set(model.regularization()) == {name}
        told = json.dumps(model.regularization(), allow_nan=False)
        again = self._model(x, seed=1)
        again.load_state_dict(model.state_dict())
        assert json.dumps(again.regularization(), allow_nan=False) == told
        _train(model.prune("wind", "sun"), None, x)
        before = model.eval()(x)
        model.add_task(_Task("hail"))
        after = model(x)
        assert isinstance(before, dict)
        assert isinstance(after, dict)
        assert all(after[task].equal(before[task]) for task in TASKS)
        _train(model, torch.optim.SGD(model.parameters(), lr=0.01), x)
        assert all(model.eval()(x)[task].equal(before[task]) for task in TASKS)
        assert set(model.regularization()) == {name}

    def _model(self, x: Tensor, seed: int = 0) -> SingleTask:
        """Networks with parameters of one, two and four dimensions."""
        torch.manual_seed(seed)
        layers = (nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4), nn.ReLU())
        tasks = [_Task(task) for task in TASKS]
        return SingleTask(nn.Sequential(*layers), tasks, example=x, regularize=[self.make()])


def _train(model: SingleTask, optimizer: torch.optim.Optimizer | None, x: Tensor) -> None:
    """A few steps, as the Trainer takes them; without an optimizer nothing moves."""
    model.train()
    for _ in range(3):
        outputs = model(x)
        assert isinstance(outputs, dict)
        losses = {task: output.square().mean() for task, output in outputs.items()}
        model.observe({task: float(loss.detach()) for task, loss in losses.items()})
        total = torch.stack([*losses.values(), *model.penalties().values()]).sum()
        if optimizer is not None:
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        model.after_step(0.01)


def _shapes(term: Regularizer) -> list[tuple[int, ...]]:
    """Weights that it reads."""
    read = [shape for shape in SHAPES if len(shape) >= term.least]
    assert read, f"no shape here has {term.least} dimensions"
    return read


def _drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _learned(
    suite: RegularizerConformance,
    shape: Sequence[int],
    turn: Sequence[int] = (0, 1, 2),
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> Regularizer:
    """A term that has learned from other weights than those it is asked about."""
    names = [TASKS[place] for place in turn]
    told = (_drawn(3, *shape, seed=5) + 0.5)[list(turn)].to(device=device, dtype=dtype)
    term = suite.make()
    term.prepare({"w": torch.zeros_like(told), "v": torch.zeros_like(told)}, names)
    term.observe({"wind": 0.2, "rain": 1.0, "sun": 3.0})
    term.update({"w": told, "v": 2 * told}, names)
    return term


def _gradient(term: Regularizer, at: Tensor) -> Tensor:
    leaf = at.clone().requires_grad_()
    (found,) = torch.autograd.grad(term.penalty(leaf, TASKS, "w"), leaf)
    return found


def _around(found: Tensor, stack: Tensor) -> Iterator[Tensor]:
    """Points at all distances from `found`, and some that steps might stop at."""
    yield from (stack, torch.zeros_like(stack), stack.mean(dim=0).expand_as(stack))
    yield from ((1 - share) * found + share * stack for share in (-0.1, 0.01, 0.5))
    for seed in range(120):
        yield found + 10.0 ** -(seed % 6) * _drawn(*stack.shape, seed=seed)


def _close(found: Tensor, expected: Tensor, atol: float = 1e-10) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=atol)
