"""The rules that choose an epoch, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from real_tasks import diabetes
from scipy.stats import rankdata

from polytask.errors import UserError
from polytask.metrics import Undefined
from polytask.tasks import Task
from polytask.training import Trainer, make_rule
from polytask.training._rules import Scores
from polytask.training._scores import reference_scores
from polytask.training.checkpoints import Keeper, Selector
from polytask.training.selection import relative_gain

ERROR = Task("error", "regression", metrics=("rmse",))
AREA = Task("area", "binary", metrics=("auroc",))
HELPER = Task("helper", "regression", role="auxiliary", metrics=("rmse",))
TASKS = {task.name: task for task in (ERROR, AREA, HELPER)}
GONE = Undefined("no labelled item")


def epochs(*rows: tuple) -> list[Scores]:
    """Scores of epochs 1, 2, ... from pairs (error, area)."""
    return [
        Scores(
            i + 1,
            {"error": row[0], "area": row[1], "helper": -100.0 * i},
            {"error": row[0], "area": row[1], "helper": -100.0 * i},
        )
        for i, row in enumerate(rows)
    ]


def test_mean_gain_closed_form() -> None:
    rule = make_rule("mean_gain", TASKS, {"error": 4.0, "area": 0.5})
    seen = epochs((3.0, 0.6), (2.0, 0.5), (5.0, 0.75))
    # (4-3)/4 and (.6-.5)/.5; (4-2)/4 and 0; (4-5)/4 and (.75-.5)/.5: the helper has no say.
    assert rule.values(seen) == pytest.approx([(0.25 + 0.2) / 2, (0.5 + 0) / 2, (-0.25 + 0.5) / 2])
    assert rule.best(seen) == 2
    assert rule.alive(seen) == {2}


def test_mean_gain_leaves_out_the_undefined_and_says_so() -> None:
    rule = make_rule("mean_gain", TASKS, {"error": 4.0, "area": Undefined("one class only")})
    seen = epochs((3.0, 0.6), (GONE, 0.9))
    first, second = rule.values(seen)
    assert first == pytest.approx(0.25)
    assert isinstance(second, Undefined)
    assert rule.best(seen) == 1
    assert "area" in rule.remarks(seen[0])[0]
    assert "one class only" in rule.remarks(seen[0])[0]
    assert any("no labelled item" in remark for remark in rule.remarks(seen[1]))


@pytest.mark.parametrize(
    ("score", "reference", "direction", "gain"),
    [
        (0.9, 0.6, "max", 0.5),
        (0.3, 0.6, "max", -0.5),
        (3.0, 4.0, "min", 0.25),
        (0.2, 0.0, "max", 2.0),  # guarded: at least 0.1 below
        (0.2, 0.01, "max", 1.9),
        (1e-9, 2e-9, "min", 0.5),  # errors have units, so no floor for them
        (0.25, 0.0, "min", -0.25),  # nothing to be relative to: the plain difference
        (-3.0, -2.0, "min", 0.5),
    ],
)
def test_relative_gain(score: float, reference: float, direction: str, gain: float) -> None:
    assert relative_gain(score, reference, direction) == pytest.approx(gain)


def test_main_task_minds_the_direction() -> None:
    seen = epochs((3.0, 0.6), (2.0, 0.5), (5.0, 0.75))
    assert make_rule("main:error", TASKS, {}).best(seen) == 2
    assert make_rule("main:area", TASKS, {}).best(seen) == 3
    assert make_rule("main:helper", TASKS, {}).best(seen) == 3


def test_loss_is_the_sum_over_main_tasks() -> None:
    seen = epochs((3.0, 0.6), (2.0, 1.7), (2.0, 1.5))
    rule = make_rule("loss", TASKS, {})
    assert rule.values(seen) == pytest.approx([-3.6, -3.7, -3.5])
    assert rule.best(seen) == 3


def test_the_earliest_of_equal_epochs_wins() -> None:
    seen = epochs((2.0, 0.5), (2.0, 0.5))
    for word in ("mean_gain", "mean_rank", "loss", "main:error"):
        rule = make_rule(word, TASKS, {"error": 4.0, "area": 0.5})
        assert rule.best(seen) == 1
        assert rule.alive(seen) == {1}


def table(rows: int, columns: int) -> st.SearchStrategy[list[list[int]]]:
    row = st.lists(st.integers(0, 4), min_size=columns, max_size=columns)
    return st.lists(row, min_size=1, max_size=rows)


def ranked(rows: np.ndarray) -> tuple[dict[str, Task], list[Scores]]:
    tasks = {f"t{j}": Task(f"t{j}", "binary", metrics=("auroc",)) for j in range(rows.shape[1])}
    seen = [
        Scores(i + 1, {f"t{j}": float(v) for j, v in enumerate(row)}, {})
        for i, row in enumerate(rows)
    ]
    return tasks, seen


@given(table(6, 3))
@settings(max_examples=60, deadline=None)
def test_mean_rank_equals_scipy(rows: list[list[int]]) -> None:
    scores = np.array(rows, float)
    tasks, seen = ranked(scores)
    expected = -np.mean([rankdata(-column) for column in scores.T], axis=0)
    rule = make_rule("mean_rank", tasks, {})
    np.testing.assert_allclose(np.array(rule.values(seen), float), expected)
    assert rule.best(seen) == int(np.argmax(expected)) + 1


@given(table(5, 3), table(5, 3))
@settings(max_examples=100, deadline=None)
def test_who_is_not_kept_never_wins(rows: list[list[int]], later: list[list[int]]) -> None:
    tasks, seen = ranked(np.array(rows + later, float))
    rule = make_rule("mean_rank", tasks, {})
    kept = rule.alive(seen[: len(rows)])
    winner = rule.best(seen)
    assert winner > len(rows) or winner in kept


@given(table(5, 3))
@settings(max_examples=60, deadline=None)
def test_who_is_kept_can_win(rows: list[list[int]]) -> None:
    tasks, seen = ranked(np.array(rows, float))
    rule = make_rule("mean_rank", tasks, {})
    for epoch in rule.alive(seen):
        # Many epochs that come just below the candidate in one task, and last in all others.
        own = np.array(rows[epoch - 1], float)
        added = [
            np.where(np.arange(3) == j, own[j] - 0.5, -1.0 - k) for j in range(3) for k in range(40)
        ]
        assert rule.best(ranked(np.vstack([np.array(rows, float), *added]))[1]) == epoch


def test_mean_rank_with_undefined_scores() -> None:
    rule = make_rule("mean_rank", TASKS, {})
    seen = epochs((3.0, 0.6), (2.0, GONE), (GONE, GONE))
    first, second, third = rule.values(seen)
    assert (first, second) == (-1.5, -1.0)  # ranks (2, 1) and (1, none)
    assert isinstance(third, Undefined)
    assert rule.alive(seen) == {1, 2}


def test_selector_follows_each_limit_and_keeps_what_may_win() -> None:
    rule = make_rule("mean_rank", TASKS, {})
    selector = Selector(rule, {"best": None, "short": 2})
    rows = epochs((3.0, 0.6), (2.0, 0.5), (1.0, 0.55), (0.5, 0.9))
    selector.add(rows[0])
    selector.add(rows[1])
    assert selector.needed() == {1, 2}
    assert selector.chosen() == {"best": 1, "short": 1}
    selector.add(rows[2])  # beats epoch 2 in both tasks, but not epoch 1
    assert selector.needed() == {1, 3}
    selector.add(rows[3])  # beats everything; "short" is settled and keeps its epoch
    assert selector.chosen() == {"best": 4, "short": 1}
    assert selector.needed() == {1, 4}


def test_nothing_defined_is_an_error_that_says_why() -> None:
    selector = Selector(make_rule("main:area", TASKS, {}), {"best": None})
    with pytest.raises(UserError, match=r"main:area.*epoch 1.*area: no labelled item"):
        selector.add(epochs((1.0, GONE))[0])


def test_a_number_that_is_not_finite_is_undefined() -> None:
    rule = make_rule("main:error", TASKS, {})
    assert rule.best(epochs((float("nan"), 0.5), (7.0, 0.5), (float("-inf"), 0.5))) == 2


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("mean_gian", "did you mean 'mean_gain'"),
        ("main:eror", "did you mean 'error'"),
        ("main:", "Known: area, error, helper"),
        ("main:NAME", "unknown task"),
    ],
)
def test_unknown_rules_name_the_nearest(word: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_rule(word, TASKS, {})


def test_only_auxiliary_tasks_have_no_mean() -> None:
    with pytest.raises(UserError, match="needs a main task"):
        make_rule("mean_rank", {"helper": HELPER}, {})
    assert make_rule("main:helper", {"helper": HELPER}, {}).best(epochs((1.0, 1.0))) == 1


def test_references_are_given_scores_or_the_best_constant() -> None:
    real = diabetes(missing=0.3)
    given_scores = {"sex": 0.7}
    found = reference_scores(real.tasks, given_scores, real.batches(), real.batches("val"))
    assert found["sex"] == 0.7
    train, val = real.train[1]["progress"], real.val[1]["progress"]
    mean = train[~train.isnan()].mean()
    known = val[~val.isnan()]
    assert found["progress"] == pytest.approx((known - mean).square().mean().sqrt().item())
    # The same from plain lists of batches, which have to be read for it.
    lists = list(real.batches(size=50)), list(real.batches("val", size=50))
    assert reference_scores(real.tasks, given_scores, *lists) == pytest.approx(found)


def test_keeper_holds_no_more_than_is_needed(tmp_path) -> None:
    for keeper in (Keeper(None), Keeper(tmp_path / "candidates")):
        for epoch in (1, 2, 3):
            keeper.keep(epoch, {"w": torch.full((3,), float(epoch))})
        keeper.drop_except({1, 3})
        assert torch.equal(keeper.get(3)["w"], torch.full((3,), 3.0))
        with pytest.raises((KeyError, FileNotFoundError)):
            keeper.get(2)
        if keeper.folder:
            assert len(list(keeper.folder.iterdir())) == 2
        keeper.close()
    assert not (tmp_path / "candidates").exists()


WEIGHTS = {"error": 0.25, "helper": 0.75}


def losses(*rows: tuple) -> list[Scores]:
    """Scores of epochs 1, 2, ... from losses (error, area, helper), with metrics that disagree."""
    names = ("error", "area", "helper")
    return [
        Scores(i + 1, dict.fromkeys(names, float(i)), dict(zip(names, row, strict=True)))
        for i, row in enumerate(rows)
    ]


def test_weighted_and_worst_losses_in_closed_form() -> None:
    seen = losses((4.0, 99.0, 0.4), (1.0, 0.0, 0.8), (2.0, 5.0, 0.5))
    total = make_rule({"weighted_loss": WEIGHTS}, TASKS, {})
    assert total.values(seen) == pytest.approx([-1.3, -0.85, -0.875])
    assert (total.best(seen), total.word) == (2, "weighted_loss")
    worst = make_rule({"worst_loss": WEIGHTS}, TASKS, {})
    assert worst.values(seen) == pytest.approx([-1.0, -0.6, -0.5])
    assert (worst.best(seen), worst.word) == (3, "worst_loss")
    # Weights count by their proportions alone.
    twice = make_rule({"worst_loss": {t: 2 * w for t, w in WEIGHTS.items()}}, TASKS, {})
    assert twice.values(seen) == pytest.approx([2 * v for v in worst.values(seen)])


def test_opposite_preferences_choose_other_epochs() -> None:
    """One task gets better while the other gets worse."""
    seen = losses(*((1.0 - 0.09 * i, 0.0, 0.1 + 0.09 * i) for i in range(10)))
    for kind in ("weighted_loss", "worst_loss"):
        chosen = [
            make_rule({kind: {"error": w, "helper": 1 - w}}, TASKS, {}).best(seen)
            for w in (0.9, 0.1)
        ]
        assert chosen[0] > chosen[1]


def test_a_preference_leaves_out_what_is_undefined_and_says_so() -> None:
    rule = make_rule({"worst_loss": WEIGHTS}, TASKS, {})
    seen = losses((GONE, 1.0, 2.0), (GONE, 1.0, GONE), (1.0, 1.0, float("nan")))
    values = rule.values(seen)
    assert values[0] == pytest.approx(-1.5)
    assert isinstance(values[1], Undefined)
    assert values[2] == pytest.approx(-0.25)
    assert any("the loss is undefined" in remark for remark in rule.remarks(seen[0]))
    assert "nothing to choose by" in str(rule.nothing(seen[1]))


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ({"best_loss": WEIGHTS}, "selection rule with weights 'best_loss'"),
        ({"worst_loss": {}}, "expected one rule with weights by task"),
        ({"worst_loss": 0.3}, "expected one rule with weights by task"),
        ({"worst_loss": WEIGHTS, "weighted_loss": WEIGHTS}, "expected one rule"),
        ({}, "expected one rule"),
        ({"worst_loss": {"eror": 1.0}}, "did you mean 'error'"),
        ({"worst_loss": {"error": 0.0}}, "weight of 'error' must be a number above 0"),
        ({"weighted_loss": {"error": float("inf")}}, "must be a number above 0"),
        ({"weighted_loss": {"error": True}}, "must be a number above 0"),
    ],
)
def test_rules_with_weights_that_cannot_be(select: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_rule(select, TASKS, {})  # type: ignore[arg-type]


def test_a_training_chooses_by_its_preference(tmp_path) -> None:
    real = diabetes()
    weights = {"progress": 0.2, "sex": 0.8}

    def fit():
        trainer = Trainer(
            real.model(), real.tasks, epochs=6, lr=2e-2, select={"worst_loss": weights},
            out=tmp_path, resume="finished", progress=False, device="cpu",
        )  # fmt: skip
        return trainer.fit(real.batches(), real.batches("val"))

    history = fit()
    worst = [
        max(weight * record[f"val/{name}/loss"] for name, weight in weights.items())
        for record in history.epochs
    ]
    assert history.best_epoch == 1 + worst.index(min(worst))
    assert history.series("select/worst_loss") == pytest.approx([-value for value in worst])
    assert "worst_loss:" in (tmp_path / "config.yaml").read_text()
    assert fit().taken_up.startswith("already trained")
