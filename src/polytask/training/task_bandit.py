"""One helper at a time: a bandit learns which of them the main task improves along with."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from polytask.auxiliary.bandit import Bandit, Posterior
from polytask.errors import UserError, unknown
from polytask.files import write_text
from polytask.optimization.base import check_range, check_word
from polytask.training._watched import check_names, validation_score, watched
from polytask.training.callbacks import Callback

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer

log = logging.getLogger("polytask.training")
BY = "TaskBandit"
FILE = "bandit.json"


@dataclass(frozen=True)
class Round:
    """One round of the bandit."""

    epoch: int
    """Its last epoch."""
    arm: str
    """The helper that trained, or the main task when none did."""
    score: float | None
    """The main task's validation score after it, higher is better; None where undefined."""
    reward: float | None
    """0 or 1; None where nothing could be compared."""


class TaskBandit(Callback):
    """Trains one helper at a time along with the main task, and learns which of them pays.

    The first stage of AutoSeM (Guo, Pasunuru and Bansal 2019, https://arxiv.org/abs/1904.04153):
    every round a Beta-Bernoulli bandit draws a helper by Thompson sampling, see
    `polytask.auxiliary.Bandit`; the others are paused. The round is a success when the main task's
    validation score afterwards is at least that before. Updates and defaults are those of the
    published code (https://github.com/HanGuo97/AutoSeM, whose first stage alone is public).

    Where this departs from it: there the drawn task trains alone, the main task being one of the
    arms; here the main task always trains, and its arm stands for training without a helper. There
    the first round always succeeds; here it has nothing to be compared with and only sets the
    score to begin from.

    An arm's mean is the chance that the main task did not get worse while the helper trained. It
    falls for all of them as training converges, which is what the decay is for: compare arms with
    each other, and with the main task's arm, by their standard errors. With the default decay
    only about the last three rounds of an arm count; for a verdict over a whole training take
    decay=0, for a screen of many helpers many short rounds.

    Needs validation data; costs nothing else: a round has two tasks to train. In the trainer's
    `out`, if there is one, the record is `bandit.json`.

    Args:
        main: the task by whose primary metric rounds are judged; the only main one by default.
        helpers: the arms; every auxiliary task by default.
        alone: whether training without a helper is an arm too, under the main task's name.
        every: epochs a round.
        reward: what the score is compared with: 'previous' (at least the score after the round
            before), 'mean' (at least the mean of all rounds before) or 'best' (above the best).
        decay, prior: of the bandit.
        delta: once an arm is the best with probability above 1 - delta, or clearly apart, it
            stays for the rest of the training (see `Bandit.decided`; take a decay near 0); None
            for never.
        seed: of the draws; the trainer's by default.

    `bandit` has the posteriors, `rounds` what was done, `settled` the arm that was settled on.

    Raises:
        UserError: an argument that cannot be; no helper; no one main task; no validation data.

    >>> from polytask.training import TaskBandit
    >>> TaskBandit(main="landmarks", every=2).rounds
    []
    """

    def __init__(
        self,
        main: str | None = None,
        helpers: Sequence[str] | None = None,
        alone: bool = True,
        every: int = 1,
        reward: str = "previous",
        decay: float = 0.3,
        prior: tuple[float, float] = (1.0, 1.0),
        delta: float | None = None,
        seed: int | None = None,
    ) -> None:
        if not isinstance(every, int) or every < 1:
            raise UserError(f"every must be a whole number of at least 1, found {every!r}.")
        check_word("reward", reward, ("previous", "mean", "best"))
        if delta is not None and not 0 < delta < 1:
            raise UserError(f"delta must lie between 0 and 1, found {delta!r}.")
        check_range("seed", 0 if seed is None else seed, 0)
        Bandit(["any"], decay, prior)  # refuses a decay or a prior that cannot be
        self.main = main
        self.helpers = check_names(BY, helpers)
        self.alone = alone
        self.every = every
        self.reward = reward
        self.decay = decay
        self.prior = prior
        self.delta = delta
        self.seed = seed
        self.bandit: Bandit | None = None
        self._saved: dict[str, Any] | None = None
        self._judged = main or ""
        self._start()

    def _start(self) -> None:
        self.rounds: list[Round] = []
        self.settled: str | None = None
        self._arm = ""
        self._epochs = 0

    def posteriors(self) -> dict[str, Posterior]:
        """By arm, what is believed of its chance of success; empty before the first fit."""
        return {arm: self.bandit.posterior(arm) for arm in self.bandit.arms} if self.bandit else {}

    def record(self) -> dict[str, Any]:
        """Everything that was learned, as JSON."""
        chances = self.bandit.probability_best() if self.bandit else {}
        arms = {}
        for arm, known in self.posteriors().items():
            low, high = known.interval()
            arms[arm] = {
                "mean": known.mean,
                "standard_error": known.standard_error,
                "interval": [low, high],
                "pulls": known.pulls,
                "probability_best": chances[arm],
            }
        rounds = [asdict(round_) for round_ in self.rounds]
        return {"main": self._judged, "arms": arms, "rounds": rounds, "settled": self.settled}

    def changes(self) -> dict[str, Any]:
        """Its arguments."""
        names = ("main", "helpers", "alone", "every", "reward", "decay", "prior", "delta", "seed")
        return {name: getattr(self, name) for name in names}

    def state_dict(self) -> dict[str, Any]:
        """The bandit's counts, the rounds so far and where the running one stands."""
        return {
            "bandit": self.bandit.state_dict() if self.bandit else None,
            "rounds": [asdict(round_) for round_ in self.rounds],
            "settled": self.settled,
            "arm": self._arm,
            "epochs": self._epochs,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep a saved state until the training begins, which tells the arms."""
        self._saved = state

    def on_train_begin(self, trainer: Trainer) -> None:
        """Build the bandit and draw the first helper, or take up a saved round."""
        self._judged = self._main_task(trainer)
        self._names = watched(trainer, self.helpers, BY)
        if self._judged in self._names:
            raise UserError(
                f"{BY}: {self._judged!r} is the main task and cannot be a helper too. Take it "
                "out of helpers=."
            )
        arms = [*self._names, *([self._judged] if self.alone else [])]
        seed = trainer.settings.seed if self.seed is None else self.seed
        self.bandit = Bandit(arms, self.decay, self.prior, seed)
        self._start()
        saved, self._saved = self._saved, None
        if saved is not None:
            self.bandit.load_state_dict(saved["bandit"])
            self.rounds = [Round(**known) for known in saved["rounds"]]
            self.settled = saved["settled"]
            self._arm, self._epochs = saved["arm"], saved["epochs"]
        else:
            self._arm = self.bandit.draw()
        self._switch(trainer)

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, Any]) -> None:
        """At the end of a round, see whether it was a success, and draw the next helper."""
        assert self.bandit is not None
        self._epochs += 1
        if self._epochs < self.every or self.settled is not None:
            return
        self._epochs = 0
        score = validation_score(trainer.tasks[self._judged], metrics)
        reward = self._rewarded(score)
        if reward is not None:
            self.bandit.update(self._arm, reward)
        self.rounds.append(Round(epoch, self._arm, score, reward))
        if self.delta is not None:
            self.settled = self.bandit.decided(self.delta)
            if self.settled is not None:
                log.info("settled on training with %r after epoch %d", self.settled, epoch)
        self._arm = self.settled or self.bandit.draw()
        self._switch(trainer)
        if trainer.folder is not None:
            write_text(trainer.folder.path / FILE, json.dumps(self.record()) + "\n")

    def _rewarded(self, score: float | None) -> float | None:
        """1 for a success, 0 for none, None where there is nothing to compare."""
        before = [known.score for known in self.rounds if known.score is not None]
        if score is None or not before:
            return None
        if self.reward == "best":
            return float(score > max(before))
        return float(score >= (before[-1] if self.reward == "previous" else _mean(before)))

    def _switch(self, trainer: Trainer) -> None:
        """Pause all helpers but the drawn one."""
        trainer.pause(*(task for task in self._names if task != self._arm), by=BY)
        trainer.unpause(self._arm, by=BY)

    def _main_task(self, trainer: Trainer) -> str:
        """The task that rounds are judged by. Raises `UserError` when it is not clear."""
        if self.main is not None:
            if self.main not in trainer.tasks:
                raise unknown(f"main task of {BY}:", self.main, trainer.tasks)
            return self.main
        found = [name for name, task in trainer.tasks.items() if task.role == "main"]
        if len(found) != 1:
            raise UserError(
                f"{BY} judges its rounds by one main task, and there are {len(found)} "
                f"({', '.join(found) or 'none'}). Name it: main='NAME'."
            )
        return found[0]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
