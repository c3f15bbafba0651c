"""What every task schedule must do, as tests to inherit.

    class TestMine(ScheduleConformance):
        def make(self):
            return Mine()

Run it with pytest. `make` builds a new schedule, several times in a test.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations

import pytest
import torch
from torch import Tensor

from polytask.optimization.scheduling import Schedule

SIZES: dict[str, int | None] = {"a": 10000, "b": 1000, "c": 100}
BATCHES = {"a": 40, "b": 4, "c": 1}
TASKS = tuple(SIZES)
EPOCHS = 5


class ScheduleConformance:
    """Inherit it in a test class and write `make`; pytest collects the rest.

    Attributes:
        never_zero: whether every task can be drawn in every step.
        equivariant: whether the order in which tasks are given plays no part in probabilities.
    """

    never_zero = True
    equivariant = True

    def make(self) -> Schedule:
        """Answer a new schedule, for tasks a, b and c with targets where it takes them."""
        raise NotImplementedError("a conformance test class must define make(self)")

    def test_probabilities_are_probabilities(self) -> None:
        """In every epoch, before and after it was told anything, for any set of tasks."""
        schedule = self.make()
        for epoch in range(1, EPOCHS + 1):
            for count in (1, 2, 3):
                for tasks in combinations(TASKS, count):
                    p = _probabilities(schedule, tasks, epoch)
                    assert p.shape == (count,), "one probability a task"
                    assert p.dtype == torch.float64
                    assert bool((p >= 0).all()), p
                    assert float(p.sum()) == pytest.approx(1, abs=1e-12)
                    assert not self.never_zero or bool((p > 0).all()), p
            _tell(schedule, epoch)

    def test_the_order_of_tasks_plays_no_part(self) -> None:
        """Permuting the tasks permutes the probabilities."""
        schedule = self.make()
        for epoch in range(1, 4):
            given = _probabilities(schedule, TASKS, epoch)
            turned = _probabilities(schedule, ("c", "a", "b"), epoch)
            if self.equivariant:
                torch.testing.assert_close(turned, given[[2, 0, 1]], rtol=1e-12, atol=0)
            _tell(schedule, epoch)

    def test_asking_changes_nothing(self) -> None:
        """Probabilities, orders and rates are the same however often they are asked for."""
        schedule = self.make()
        for epoch in range(1, 4):
            before = json.dumps(schedule.state_dict(), sort_keys=True)
            first = _everything(schedule, epoch)
            assert first == _everything(schedule, epoch)
            assert json.dumps(schedule.state_dict(), sort_keys=True) == before
            _tell(schedule, epoch)

    def test_two_alike_do_alike(self) -> None:
        """Every process that is told the same decides the same."""
        one, other = self.make(), self.make()
        for epoch in range(1, 4):
            assert _everything(one, epoch) == _everything(other, epoch)
            _tell(one, epoch)
            _tell(other, epoch)

    def test_an_order_has_the_length_of_the_epoch(self) -> None:
        """And holds places of tasks; it is a function of seed and epoch, and None for all or no."""
        schedule = self.make()
        for steps in (1, 7, 45, 200):
            order = schedule.order(TASKS, BATCHES, steps, 2, 5)
            assert order == self.make().order(TASKS, BATCHES, steps, 2, 5)
            if order is None:
                assert schedule.order(TASKS, BATCHES, steps, 3, 6) is None
                continue
            assert len(order) == steps
            assert set(order) <= {0, 1, 2}

    def test_rates_are_positive(self) -> None:
        """One for each task, in the order asked for."""
        schedule = self.make()
        for epoch in range(1, 4):
            rates = schedule.rates(TASKS)
            assert rates.shape == (3,)
            assert bool((rates > 0).all()), rates
            assert schedule.rates(("b",)).tolist() == [rates[1]]
            _tell(schedule, epoch)

    def test_a_saved_state_continues_identically(self) -> None:
        """Through JSON, into a fresh schedule; what it was told later does not touch the state."""
        first = self.make()
        for epoch in (1, 2):
            _tell(first, epoch)
        state = first.state_dict()
        text = json.dumps(state)
        second = self.make()
        second.load_state_dict(json.loads(text))
        for epoch in (3, 4, 5):
            assert _everything(first, epoch) == _everything(second, epoch)
            _tell(first, epoch)
            _tell(second, epoch)
        assert json.dumps(state) == text, "state_dict() gave out what it goes on with"

    def test_reset_forgets(self) -> None:
        """Afterwards it is as new."""
        schedule = self.make()
        for epoch in (1, 2, 3):
            _tell(schedule, epoch)
        schedule.reset()
        assert _everything(schedule, 1) == _everything(self.make(), 1)

    def test_tasks_may_be_absent_from_what_it_is_told(self) -> None:
        """Scores, losses and Gramians of some tasks; the others stay as they are, and may come."""
        schedule = self.make()
        for epoch, tasks in enumerate(("a", "bc", "abc", "b"), 1):
            _tell(schedule, epoch, tuple(tasks))
            p = _probabilities(schedule, TASKS, epoch)
            assert bool(p.isfinite().all())
            assert float(p.sum()) == pytest.approx(1, abs=1e-12)

    def test_settings_are_plain(self) -> None:
        """They name the schedule, and can be written down."""
        settings = self.make().settings()
        assert settings["schedule"] == type(self.make()).__qualname__
        assert json.loads(json.dumps(settings))["schedule"] == settings["schedule"]


def _probabilities(schedule: Schedule, tasks: Sequence[str], epoch: int) -> Tensor:
    return schedule.probabilities(tasks, SIZES, epoch, EPOCHS)


def _everything(schedule: Schedule, epoch: int) -> list[object]:
    """All that a schedule says in an epoch."""
    return [
        _probabilities(schedule, TASKS, epoch).tolist(),
        _probabilities(schedule, ("a", "c"), epoch).tolist(),
        schedule.order(TASKS, BATCHES, 45, epoch, 3),
        schedule.rates(TASKS).tolist(),
    ]


def _tell(schedule: Schedule, epoch: int, tasks: Sequence[str] = TASKS) -> None:
    """What a training tells in one epoch, which differs from epoch to epoch and task to task."""
    place = {task: TASKS.index(task) + 1 for task in tasks}
    for task in tasks:
        schedule.drawn(task)
    rows = torch.randn(3, 2, generator=torch.Generator().manual_seed(epoch), dtype=torch.float64)
    rows = rows[[place[task] - 1 for task in tasks]]
    schedule.observe(gramian=(tuple(tasks), rows @ rows.T))
    schedule.observe(
        scores={task: 1 - 0.5 / (epoch + i) for task, i in place.items()},
        losses={task: i / epoch + 0.1 * i for task, i in place.items()},
        epoch=epoch,
    )
