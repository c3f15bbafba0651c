"""Runs against outcomes: what could start, what is left in words, what was spent."""

from polytask.study.coverage import coverage
from polytask.study.ledger import left, spent, waiting
from polytask.study.plan import Unit


def run(name: str, seed: int, lr: float = 1e-3) -> Unit:
    return Unit(name, {"name": name, "seed": seed, "lr": lr}, "data")


FIRST = run("first", 1)
SEARCH = [run("a", 0, 1e-3), run("b", 0, 3e-3)]
SEEDS = [run("c", 1), run("d", 2)]


def test_the_first_runs_come_before_the_rest_which_go_seed_by_seed() -> None:
    rest = [SEEDS[1], SEARCH[0], SEEDS[0], SEARCH[1]]
    names = [unit.id for unit in waiting([FIRST], rest, {})]
    assert names == ["first", "a", "b", "c", "d"]


def test_a_run_that_is_both_first_and_one_of_the_rest_is_there_once() -> None:
    assert waiting([SEARCH[1]], SEARCH, {}) == [SEARCH[1], SEARCH[0]]


def test_what_has_ended_does_not_wait_whether_it_failed_or_not() -> None:
    ended = {SEARCH[0].hash: {"seconds": 1.0}, SEARCH[1].hash: {"error": "broken"}}
    assert waiting([], [*SEARCH, *SEEDS], ended) == SEEDS


def test_the_search_is_left_before_any_seed() -> None:
    rates = [1e-3, 3e-3]
    assert left("net", SEARCH, rates, {}) == ["net: learning-rate search at 0.001, 0.003"]
    some = {SEARCH[0].hash: {}}
    assert left("net", SEARCH, rates, some) == ["net: learning-rate search at 0.003"]
    # A network that waits for others has no known runs at all.
    assert left("net", [], rates, {}) == ["net: learning-rate search at 0.001, 0.003"]


def test_then_the_seeds_are_left_and_at_last_nothing() -> None:
    every = [*SEARCH, *SEEDS]
    searched = {unit.hash: {} for unit in SEARCH}
    assert left("net", every, [1e-3, 3e-3], searched) == ["net: seeds 1, 2"]
    assert left("net", every, [1e-3, 3e-3], {unit.hash: {} for unit in every}) == []


def test_every_run_is_paid_once_and_only_when_it_has_ended() -> None:
    ended = {SEARCH[0].hash: {"seconds": 2.5}, SEARCH[1].hash: {"error": "broken"}}
    found = spent([*SEARCH, SEARCH[0], *SEEDS], ended)
    assert found == {"runs": 2, "seconds": 2.5}


def test_what_intervals_cover_depends_on_seeds_and_splits() -> None:
    assert coverage(1, True, "Seen.") == [
        "One seed gives no interval.",
        "Fewer than 5 seeds: leanings only.",
    ]
    redrawn = coverage(5, True, "Seen.")
    assert len(redrawn) == 2
    assert "Nadeau and Bengio" in redrawn[0]
    assert redrawn[1] == "Seen."
    fixed = coverage(5, False, "Seen.")
    assert len(fixed) == 1
    assert "The test set is the same for all seeds" in fixed[0]
    assert coverage(4, False)[-1] == "Fewer than 5 seeds: leanings only."
