"""A training on a mixture that is killed goes on and ends with the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mixed_real import TARGETS, fit, halves, mixture, result

from polytask.data import Mixture
from polytask.errors import UserError
from polytask.training import Callback, StopAndGo, Trainer


class Cut(BaseException):
    """Stands for a kill: nothing in the library may catch it."""


class CutAfter(Callback):
    """Ends the process's work after so many batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cut


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        ({"active": TARGETS}, {}),
        ({"ucb": TARGETS}, {"method": "uncertainty"}),
        ({"jean_implicit": TARGETS}, {"accumulate": 2}),
        ("least_progress", {"scheduler": "cosine", "warmup": 0.1}),
        ("shuffled_union", {"callbacks": "pauses"}),
    ],
    ids=str,
)
def test_a_kill_in_mid_epoch_changes_no_bit(tmp_path: Path, schedule: Any, options: Any) -> None:
    settings = dict(options)
    pauses = settings.pop("callbacks", None)

    def also() -> list[Callback]:
        return [StopAndGo(tasks=["odd"], patience=1, stop=1.0)] if pauses else []

    whole = fit(mixture(schedule), tmp_path / "whole", *also(), **settings)
    for cut in (9, 15, 3):  # in the first epoch, in the second, soon after
        with pytest.raises(Cut):
            fit(mixture(schedule), tmp_path / "cut", *also(), CutAfter(cut), **settings)
    ended = fit(mixture(schedule), tmp_path / "cut", *also(), **settings)
    assert "resumed" in ended.history.taken_up
    assert result(ended) == result(whole)


def test_a_kill_with_gramians_changes_no_bit(tmp_path: Path) -> None:
    def make() -> Mixture:
        return mixture("most_conflict", tasks_per_step=2, steps_per_epoch=8)

    mixed = make()
    whole = fit(mixed, tmp_path / "whole", method="mgda")
    assert mixed.schedule.memory["cosine"]
    for cut in (5, 8):
        with pytest.raises(Cut):
            fit(make(), tmp_path / "cut", CutAfter(cut), method="mgda")
    assert result(fit(make(), tmp_path / "cut", method="mgda")) == result(whole)


def test_a_kill_between_two_epochs_changes_no_bit(tmp_path: Path) -> None:
    class CutAtEnd(Callback):
        def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
            if epoch == 2:
                raise Cut

    whole = fit(mixture({"active": TARGETS}), tmp_path / "whole")
    with pytest.raises(Cut):
        fit(mixture({"active": TARGETS}), tmp_path / "cut", CutAtEnd())
    assert result(fit(mixture({"active": TARGETS}), tmp_path / "cut")) == result(whole)


def test_resuming_with_changed_data_says_whose(tmp_path: Path) -> None:
    with pytest.raises(Cut):
        fit(mixture("uniform"), tmp_path, CutAfter(9))
    train, _ = halves()
    x, y = train["odd"]
    changed = {**train, "odd": (x, {"odd": 1 - y["odd"]})}
    with pytest.raises(UserError, match=r"other training data \(those of 'odd'\)"):
        fit(Mixture(changed, "uniform", batch_size=50), tmp_path)
    fewer = {**train, "digit": tuple({k: v[:-50] for k, v in d.items()} for d in train["digit"])}
    with pytest.raises(UserError, match=r"other training data \(those of 'digit'\)"):
        fit(Mixture(fewer, "uniform", batch_size=50), tmp_path)
    # Mixed otherwise, it is another training, which begins anew.
    assert not fit(mixture("proportional"), tmp_path).history.taken_up
