"""Helper tasks that stop when they stagnate and go on when they get worse."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from polytask.errors import UserError
from polytask.training._watched import check_names, validation_score, watched
from polytask.training.callbacks import Callback

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer

log = logging.getLogger("polytask.training")
BY = "StopAndGo"


@dataclass
class Watch:
    """What is known of one task; scores are turned so that higher is better."""

    best: float | None = None
    bad: int = 0
    """Epochs in a row without a clear improvement of the best."""
    cooling: int = 0
    """Epochs to come that do not count as bad."""
    stopped: bool = False


class StopAndGo(Callback):
    """Dynamic stop-and-go: a helper rests while it stagnates, and goes on when it is forgotten.

    Lu, Goswami, Rohrbach, Parikh and Lee 2020, "12-in-1" (https://arxiv.org/abs/1912.02315), with
    the settings of the published code (https://github.com/facebookresearch/vilbert-multi-task):
    the rule is taken from there, and from the paper as recalled. With b the best validation score
    of a task, a score above b by more than `stop` |b| is an improvement; after `patience` epochs in
    a row without one the task is stopped, and when a score falls below b by more than `go` |b| it
    goes on. A stopped task still takes every `gap`-th optimizer step, so that it is not forgotten,
    unless gap is None. The best is moved by improvements alone, so small steps add up.

    Scores are the primary metrics, turned round where lower is better. The published code can
    switch on only in epochs in which the count of bad ones does not run out at the same time;
    here every epoch can. An epoch whose score is undefined changes nothing. Needs validation data;
    costs nothing else.

    Args:
        stop: least relative improvement.
        patience: epochs without one that stop a task.
        go: relative loss that lets it go on, above 0.
        gap: a stopped task takes part in every so many steps; None for none.
        cooldown: epochs after going on that do not count as bad.
        tasks: which may be stopped; every auxiliary one by default.

    `stopped` is the set of stopped tasks; `switches` lists (epoch, task, "stop" or "go").

    Raises:
        UserError: an argument that cannot be; no task that may be stopped; no validation data.

    >>> from polytask.training import StopAndGo
    >>> StopAndGo(gap=None).stopped
    set()
    """

    def __init__(
        self,
        stop: float = 0.001,
        patience: int = 2,
        go: float = 0.005,
        gap: int | None = 4,
        cooldown: int = 1,
        tasks: Sequence[str] | None = None,
    ) -> None:
        if not stop >= 0:
            raise UserError(f"stop must be at least 0, found {stop!r}.")
        if not go > 0:
            raise UserError(f"go must be above 0, found {go!r}.")
        for name, value, least in (
            ("patience", patience, 1),
            ("gap", 2 if gap is None else gap, 2),
            ("cooldown", cooldown, 0),
        ):
            if not isinstance(value, int) or value < least:
                raise UserError(
                    f"{name} must be a whole number of at least {least}, found {value!r}."
                )
        self.stop = stop
        self.patience = patience
        self.go = go
        self.gap = gap
        self.cooldown = cooldown
        self.tasks = check_names(BY, tasks)
        self._resumed = False
        self._start()

    def _start(self) -> None:
        self.switches: list[tuple[int, str, str]] = []
        self._watches: dict[str, Watch] = {}

    @property
    def stopped(self) -> set[str]:
        """The tasks that are stopped now."""
        return {task for task, watch in self._watches.items() if watch.stopped}

    def changes(self) -> dict[str, Any]:
        """Its arguments."""
        names = ("stop", "patience", "go", "gap", "cooldown", "tasks")
        return {name: getattr(self, name) for name in names}

    def state_dict(self) -> dict[str, Any]:
        """What is known of the tasks, and what was switched."""
        watches = {task: asdict(watch) for task, watch in self._watches.items()}
        return {"watches": watches, "switches": self.switches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self._watches = {task: Watch(**known) for task, known in state["watches"].items()}
        self.switches = [(epoch, task, word) for epoch, task, word in state["switches"]]
        self._resumed = True

    def on_train_begin(self, trainer: Trainer) -> None:
        """Check that the tasks can be stopped; a training that is not resumed starts anew."""
        if not self._resumed:
            self._start()
        self._resumed = False
        for task in watched(trainer, self.tasks, BY):
            self._watches.setdefault(task, Watch())

    def on_batch_wanted(self, trainer: Trainer, batch_index: int) -> None:
        """Let stopped tasks be drawn when it is their turn."""
        self.on_batch_begin(trainer, batch_index)

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        """Let stopped tasks take part when it is their turn."""
        if self.gap is None or not self.stopped:
            return
        # Counted in steps, which a step of several batches moves by one.
        if trainer.state.step % self.gap == 0:
            trainer.unpause(*self.stopped, by=BY)
        else:
            trainer.pause(*self.stopped, by=BY)

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, Any]) -> None:
        """Look at every task's score, and switch."""
        for task, watch in self._watches.items():
            score = validation_score(trainer.tasks[task], metrics)
            before = watch.stopped
            if score is not None:
                self._look(watch, score)
            if watch.stopped != before:
                word = "stop" if watch.stopped else "go"
                self.switches.append((epoch, task, word))
                log.info("task %r: %s after epoch %d", task, word, epoch)
        going = set(self._watches) - self.stopped
        trainer.unpause(*going, by=BY)
        trainer.pause(*self.stopped, by=BY)

    def _look(self, watch: Watch, score: float) -> None:
        """Take in one score and decide."""
        if watch.best is None or score > watch.best + self.stop * abs(watch.best):
            watch.best, watch.bad = score, 0
        else:
            watch.bad += 1
        if watch.cooling:
            watch.cooling -= 1
            watch.bad = 0
        if watch.stopped:
            if score < watch.best - self.go * abs(watch.best):
                watch.stopped, watch.bad, watch.cooling = False, 0, self.cooldown
        elif watch.bad >= self.patience:
            watch.stopped, watch.bad = True, 0
