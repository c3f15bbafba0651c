"""Every registered schedule passes the suite that third parties inherit."""

import pytest

from polytask.optimization.scheduling import create_schedule, list_schedules
from polytask.testing.schedules import ScheduleConformance

TARGETS = {"targets": {"a": 0.9, "b": 0.95, "c": 1.0}}
OPTIONS = {
    "active": TARGETS,
    "ucb": TARGETS,
    "jean_explicit": TARGETS,
    "jean_implicit": TARGETS,
    "curriculum": {"order": ["b", "a", "c"]},
}
LEAVES_OUT = {"ucb", "curriculum"}


def suite(name, options):
    class Suite(ScheduleConformance):
        never_zero = name not in LEAVES_OUT

        def make(self):
            return create_schedule(name, **options)

    Suite.__name__ = Suite.__qualname__ = "Test_" + name
    return Suite


for _name in list_schedules():
    globals()["Test_" + _name] = suite(_name, OPTIONS.get(_name, {}))

Test_weights = suite("curriculum", {"weights": {"a": "max(0.1, 1 - epoch / 5)", "c": 2}})
Test_turns = suite("round_robin", {"turns": {"a": 3}})
Test_prioritised_by_targets = suite("task_prioritisation", TARGETS)


def test_every_schedule_has_a_suite():
    found = {key.removeprefix("Test_") for key in globals() if key.startswith("Test_")}
    assert found >= set(list_schedules())
    assert len(list_schedules()) == 16


@pytest.mark.parametrize("name", list_schedules())
def test_the_suite_can_fail(name):
    """A schedule that forgets to divide by the sum, or counts its askings, is found."""
    made = create_schedule(name, **OPTIONS.get(name, {}))

    class Broken(type(made)):
        def probabilities(self, *arguments, **words):
            self.remember("asked", "a", self.recall("asked", "a", 0) + 1)
            return 2 * super().probabilities(*arguments, **words)

    class Suite(ScheduleConformance):
        def make(self):
            return Broken(**OPTIONS.get(name, {}))

    with pytest.raises(AssertionError):
        Suite().test_probabilities_are_probabilities()
    with pytest.raises(AssertionError):
        Suite().test_asking_changes_nothing()
