"""What a mixture of data sets and its schedule are told by a training, and checked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polytask.data import Mixture
from polytask.errors import UserError, some, unknown
from polytask.metrics import Undefined
from polytask.optimization.base import Balancer
from polytask.optimization.loss_weighting.linear import Linear
from polytask.optimization.main_task._main import MainTask
from polytask.training._rules import finite
from polytask.training._watched import validation_score
from polytask.training.callbacks import Callback

if TYPE_CHECKING:
    from polytask.optimization.base import Step
    from polytask.training.trainer import Trainer


class ScheduleFeed(Callback):
    """Tells a `Mixture` who is paused, and its schedule how training goes.

    The Trainer adds it by itself when it trains on a mixture. Validation scores (turned so that
    higher is better) and mean training losses are told after every epoch, Gramians after every
    step that measured one; the learning rate of a step is multiplied with the schedule's.
    """

    def __init__(self, mixture: Mixture) -> None:
        self.mixture = mixture

    def on_train_begin(self, trainer: Trainer) -> None:
        """Say how many epochs there will be and what single-task training reached."""
        self.mixture.expect(trainer.settings.epochs)
        self.mixture.schedule.refer(trainer.settings.reference)

    def on_train_end(self, trainer: Trainer) -> None:
        """Pauses end with the fit."""
        self.mixture.leave_out(())

    def on_batch_wanted(self, trainer: Trainer, batch_index: int) -> None:
        """A paused task is not drawn."""
        self.mixture.leave_out(trainer.paused)

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        """Scale the learning rate of the step, where the schedule does."""
        assert trainer._fit is not None
        trainer._fit.stepper.rates.append(self.mixture.rate)

    def on_grad_computed(self, trainer: Trainer, step: Step) -> None:
        """Pass on the Gramian, where one was measured."""
        if step.gramian is not None and len(step.tasks) > 1:
            self.mixture.observe(gramian=(step.tasks, step.gramian))

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, Any]) -> None:
        """Pass on scores and losses; what is undefined is not told."""
        scores: dict[str, float] = {}
        if trainer._fit is not None and trainer._fit.val is not None:
            found = {name: validation_score(task, metrics) for name, task in trainer.tasks.items()}
            scores = {name: score for name, score in found.items() if score is not None}
        losses = {name: finite(metrics[f"train/{name}/loss"]) for name in trainer.tasks}
        known = {name: loss for name, loss in losses.items() if not isinstance(loss, Undefined)}
        self.mixture.observe(scores=scores, losses=known, epoch=epoch)


def feeds(trainer: Trainer, train: Any, val: Any) -> list[Callback]:
    """The callback that training on a mixture needs; none for other batches.

    Raises `UserError` when the mixture, its schedule, the tasks and the method do not fit together.
    """
    if not isinstance(train, Mixture):
        return []
    for task in train.tasks:
        if task not in trainer.tasks:
            raise unknown("task of a data set in the mixture:", task, trainer.tasks)
    if absent := [task for task in trainer.tasks if task not in train.tasks]:
        raise UserError(
            f"the mixture has no data set for {some(map(repr, absent))}; expected one for every "
            f"task of the Trainer, found {some(train.tasks)}. Add it, or leave the task out."
        )
    name, needs = type(train.schedule).__name__, train.schedule.needs
    if "scores" in needs and val is None:
        raise UserError(
            f"schedule {name} follows validation scores, and fit got no validation data; pass val, "
            "or use a schedule without that need."
        )
    gramians = trainer.balancer.statistic_kind == "gramian"
    if "gramian" in needs and not (gramians and train.several):
        raise UserError(
            f"schedule {name} follows Gramians, which are measured in steps of several tasks by a "
            f"method that reads them; found {type(trainer.balancer).__name__} and steps of "
            f"{'several data sets' if train.several else 'one data set'}. Set tasks_per_step to 2 "
            "or more, and use a method such as 'mgda' or 'pcgrad'."
        )
    _check_method(trainer.balancer, train)
    _check_marks(trainer, train)
    return [ScheduleFeed(train)]


def mixing_remarks(trainer: Trainer, train: Any) -> list[str]:
    """What should be known of a training on a mixture, when it has ended."""
    if not isinstance(train, Mixture):
        return []
    remarks = train.remarks()
    alone = all(len(source.tasks) == 1 for source in train.sources.values())
    if alone and not train.several and type(trainer.balancer) is not Linear:
        remarks.append(
            f"every step had one task, so {type(trainer.balancer).__name__} had nothing to "
            "balance; tasks_per_step=2 or more gives it steps of several."
        )
    return remarks


def _check_method(balancer: Balancer, train: Mixture) -> None:
    """Raise `UserError` for a method that would leave steps out, or take another main task."""
    row = getattr(balancer, "main", None)
    if isinstance(row, int) and not train.everything:
        raise UserError(
            f"{type(balancer).__name__} takes the task in row {row} of every step for the main "
            "one, and steps have different tasks here. Name it: main='NAME'."
        )
    main = balancer.required if isinstance(balancer, MainTask) else None
    with_main = [name for name, source in train.sources.items() if main in source.tasks]
    if main is not None and not train.everything and len(with_main) < len(train.sources):
        raise UserError(
            f"{type(balancer).__name__} takes no step without its main task {main!r}, and steps of "
            "the other data sets have none of it. Use tasks_per_step='all'."
        )


def _check_marks(trainer: Trainer, train: Mixture) -> None:
    """Raise `UserError` where a row without a label would look like one with the label -100."""
    if not train.several and train.world == 1:
        return
    for _, targets in train.peek():
        for task, target in targets.items():
            if trainer.tasks[task].kind == "regression" and not target.is_floating_point():
                raise UserError(
                    f"the targets of the regression task {task!r} are of type {target.dtype}, in "
                    "which a row of another data set cannot be marked as unlabelled; expected "
                    "floats. Convert them (target.float())."
                )
