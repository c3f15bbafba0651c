"""Methods that need more than the losses get it from the Trainer."""

import pytest
import torch
from real_tasks import diabetes

import polytask
from polytask.errors import UserError
from polytask.training import Trainer


def trained(method: str, *, val: bool = True, missing: float = 0.0, **options: object) -> Trainer:
    real = diabetes(missing)
    arguments = {"generator": torch.Generator().manual_seed(0)}
    trainer = Trainer(
        real.model(),
        real.tasks,
        method=polytask.create_method(method, **arguments),
        epochs=3,
        batch_size=64,
        lr=1e-2,
        progress=False,
        **options,
    )
    trainer.fit(real.batches(), real.batches("val") if val else None)
    return trainer


@pytest.mark.parametrize("method", ["famo", "modo", "auto_lambda", "dwa", "stch", "gradnorm"])
def test_a_method_with_needs_trains_like_any_other(method: str) -> None:
    history = trained(method).history
    for task in ("progress", "pressure", "sex"):
        losses = history.series(f"train/{task}/loss")
        assert losses[-1] < losses[0]
    weights = {t: history.series(f"weight/{t}") for t in ("progress", "pressure", "sex")}
    assert all(len(series) == 3 for series in weights.values())


def test_a_method_that_learns_moves_its_weights() -> None:
    for method in ("famo", "auto_lambda", "gradnorm"):
        history = trained(method).history
        assert len(set(history.series("weight/progress"))) > 1, method


def test_several_batches_make_one_step_of_three() -> None:
    trainer = trained("modo")
    batches = -(-len(diabetes(0.0).train[1]["sex"]) // 64)
    assert trainer.state.step == 3 * (batches // 3)
    assert trainer.state.skipped == 0


def test_look_ahead_with_accumulation() -> None:
    assert trained("famo", accumulate=2).state.step > 0
    with pytest.raises(UserError, match="reads 3 batches for one step; set accumulate to 1"):
        trained("modo", accumulate=2)


def test_held_out_data_is_asked_for_before_training() -> None:
    with pytest.raises(UserError, match="learns from held-out data, and fit got none"):
        trained("auto_lambda", val=False)


def test_an_epoch_too_short_for_one_step_is_refused() -> None:
    real = diabetes(0.0)
    trainer = Trainer(real.model(), real.tasks, method="modo", batch_size=256, progress=False)
    with pytest.raises(UserError, match=r"reads 3 batches .* an epoch has 2.* smaller batch_size"):
        trainer.fit(real.train)
