"""One fit from its first epoch to the chosen weights."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from polytask import __version__
from polytask.architectures import Architecture
from polytask.data._digest import digest
from polytask.errors import UserError
from polytask.files import locked
from polytask.metrics import Undefined
from polytask.optimization.base import Balancer
from polytask.training._environment import environment
from polytask.training._epoch import Epoch
from polytask.training._held_out import HeldOut
from polytask.training._identity import identity
from polytask.training._interrupt import Interrupt
from polytask.training._loop import LoopState, Stepper, Totals
from polytask.training._optim import make_optimizer, make_scheduler
from polytask.training._random import set_random_state
from polytask.training._rescaling import Rescaling
from polytask.training._resume import Saver, restore
from polytask.training._rules import Newest, Rule, Score, Scores
from polytask.training._scale_watch import ScaleWatch, scale_remarks
from polytask.training._scores import Scored, reference_scores, score
from polytask.training._teaching import Teaching
from polytask.training._trial import try_out
from polytask.training._weights import Weights, put, snapshot
from polytask.training.callbacks import Callback, Callbacks
from polytask.training.checkpoints import Keeper, Selector
from polytask.training.history import History
from polytask.training.scheduling import feeds, mixing_remarks
from polytask.training.selection import make_rule

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer

LEAVING_SECONDS = 10.0
"""How long a process that was killed may take to give its folder back."""
log = logging.getLogger("polytask.training")


class Fit:
    """The loop of `Trainer.fit`. What moves is in `state`, `history` and `selector`."""

    def __init__(
        self,
        trainer: Trainer,
        train: Any,
        val: Any,
        batches: int | None,
        callbacks: Iterable[Callback],
    ) -> None:
        settings = trainer.settings
        self.trainer, self.settings = trainer, settings
        self.train, self.val = train, val
        try_out(trainer, train, val)
        self.callbacks = Callbacks([*callbacks, *feeds(trainer, train, val), ScaleWatch()])
        self.state = LoopState()
        self.teaching = self._teaching()
        self.rescaling = self._rescaling()
        self.mark: dict[str, Any] = {}
        self.interrupt = Interrupt(wanted=False)
        self.kept: dict[str, Weights] = {}
        self.history = History()
        self.selector = Selector(self._rule(), {"best": None, **settings.checkpoints})
        check_batches(trainer.balancer, batches)
        self.held_out = self._held_out()
        self.stepper = self._make_stepper(batches)
        folder = trainer.folder
        self.keeper = Keeper(folder.path / "candidates" if folder is not None else None)
        self.saver = Saver(folder.path, settings.checkpoint_every) if folder is not None else None

    @property
    def selection(self) -> tuple[str, float] | None:
        """The rule's word and its value for the newest epoch, where there is one."""
        value = self.selector.value if self.val is not None and self.selector.epochs else None
        return None if value is None else (self.selector.rule.word, value)

    def run(self) -> None:
        """Train from the start or from a saved state, settle the checkpoints, load the chosen.

        A training that has ended before, and is asked for as such, is only read.
        """
        trainer = self.trainer
        with self._alone(), trainer.pauses.kept(), self._taught(), self._rescaled():
            saved = None
            if self.saver is not None:
                who = identity(trainer, self.train, self.val)
                start = digest(snapshot(trainer.model))
                self.mark = {"polytask": __version__, "identity": who, "start": start}
                if trainer.resume == "finished" and self._read_finished():
                    return
                saved = self.saver.read(who) if trainer.resume else None
                self._open_folder(anew=saved is None)
            if saved is not None:
                restore(self, saved)
                self.history.taken_up = f"resumed after {self.state.where_done()}"
                log.info("%s", self.history.taken_up)
            self.callbacks.tell("on_train_begin", trainer)
            with Interrupt(wanted=self.saver is not None) as self.interrupt:
                self._train(saved)
                self._finish()
            self.callbacks.tell("on_train_end", trainer)

    def _train(self, saved: dict[str, Any] | None) -> None:
        """The epochs that are still to come, the first of them perhaps in the middle."""
        if saved is not None and saved["running"] is not None:
            self._run_epoch(saved)
        elif saved is not None:
            set_random_state(saved["random"], self.trainer.device, self.train)
        while self.state.epoch < self.settings.epochs and not self.trainer.should_stop:
            self._run_epoch(None)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the only process in the run folder. A killed one may take a moment to be gone."""
        if self.trainer.folder is None:
            yield
            return
        with locked(self.trainer.folder.path, "the Trainer", wait=LEAVING_SECONDS):
            yield

    def _teaching(self) -> Teaching | None:
        """The distillation, where the trainer has teachers; it may add to the training batches."""
        if self.trainer.distill is None:
            return None
        teaching = Teaching(self, self.train)
        self.train = teaching.cached(self.train)
        self.callbacks = Callbacks([*self.callbacks, teaching])
        return teaching

    @contextlib.contextmanager
    def _taught(self) -> Iterator[None]:
        """Let the teachers take part, until the end of the fit."""
        self.trainer.forward.teaching = self.teaching
        try:
            yield
        finally:
            self.trainer.forward.teaching = None

    def _rescaling(self) -> Rescaling | None:
        """Normalised targets, where the trainer has popart."""
        if self.trainer.popart is None:
            return None
        rescaling = Rescaling(self, self.train)
        self.callbacks = Callbacks([*self.callbacks, rescaling])
        return rescaling

    @contextlib.contextmanager
    def _rescaled(self) -> Iterator[None]:
        """Let losses be of normalised targets, until the end of the fit."""
        if self.rescaling is None:
            yield
            return
        self.trainer.forward.rescaling = self.rescaling
        self.rescaling.begin()
        try:
            yield
        finally:
            self.rescaling.end()
            self.trainer.forward.rescaling = None

    def _open_folder(self, anew: bool) -> None:
        """Write what the run is; remove what an earlier one left when it is begun anew."""
        trainer = self.trainer
        assert trainer.folder is not None
        assert self.saver is not None
        if anew:
            self.saver.forget()
            self.keeper.clear()
        resolved = self.settings.resolved(trainer.tasks, trainer.balancer, trainer.device)
        config = {"polytask": __version__, **trainer.config, **resolved}
        if trainer.distill is not None:
            config["distill"] = trainer.distill.describe()
        if trainer.popart is not None:
            config["popart"] = trainer.popart.describe()
        trainer.folder.start(config, environment(trainer.device), anew=anew)

    def _read_finished(self) -> bool:
        """Whether this very training has ended in the folder; its results are then taken."""
        folder = self.trainer.folder
        assert folder is not None
        found = folder.finished(self.mark)
        if found is None:
            return False
        self.history = found
        last = found.epochs[-1]
        self.state = LoopState(last["epoch"], 0, last["step"], last["skipped"])
        put(self.trainer.model, folder.load("best"), "the finished training")
        self._tidy()
        found.taken_up = f"already trained with these settings: taken from {folder.path}"
        log.info("%s", found.taken_up)
        return True

    def _rule(self) -> Rule:
        if self.val is None:
            return Newest()
        tasks, settings = self.trainer.tasks, self.settings
        reference: dict[str, Score] = {}
        if settings.select == "mean_gain":
            main = {name: task for name, task in tasks.items() if task.role == "main"}
            reference = reference_scores(main, settings.reference, self.train, self.val)
        return make_rule(settings.select, tasks, reference)

    def _make_stepper(self, batches: int | None) -> Stepper:
        settings, trainer = self.settings, self.trainer
        optimizer = make_optimizer(
            settings.optimizer, trainer.model, settings.lr, settings.weight_decay
        )
        steps = None
        if batches is not None:
            # A method that reads several batches for a step leaves an incomplete group out.
            several = trainer.balancer.batches
            an_epoch = batches // several if several > 1 else -(-batches // settings.accumulate)
            steps = settings.epochs * an_epoch
            if isinstance(trainer.model, Architecture):
                trainer.model.plan_training(steps)
        if self.teaching is not None:
            self.teaching.begin(optimizer, steps)
        scheduler = make_scheduler(settings.scheduler, optimizer, steps, settings.warmup)
        return Stepper(
            trainer.forward,
            trainer.balancer,
            optimizer,
            scheduler,
            trainer.precision,
            settings.clip_norm,
            self.held_out,
        )

    def _held_out(self) -> HeldOut | None:
        """Validation batches without end, for methods that learn from them."""
        balancer = self.trainer.balancer
        accumulate = self.settings.accumulate
        balancer.calls_per_step = accumulate
        if balancer.batches > 1 and accumulate > 1:
            raise UserError(
                f"{type(balancer).__name__} reads {balancer.batches} batches for one step; set "
                f"accumulate to 1, found {accumulate}."
            )
        if "validation" not in balancer.needs:
            return None
        if self.val is None:
            raise UserError(
                f"{type(balancer).__name__} learns from held-out data, and fit got none; pass "
                "val, or choose a method without that need."
            )
        return HeldOut(self.val, self.trainer.device)

    def _run_epoch(self, saved: dict[str, Any] | None) -> None:
        """One epoch: train, score, judge. `saved` is a state in the middle of it, if any."""
        state, trainer = self.state, self.trainer
        if saved is None:
            state.epoch, state.batch = state.epoch + 1, 0
        epoch = Epoch(self, saved)
        self.callbacks.tell("on_epoch_begin", trainer, state.epoch)
        epoch.train()
        scored = None
        if self.val is not None:
            scored = score(trainer.forward, self.val, trainer.device)
        record = self._judge(epoch.totals, scored)
        record["seconds"] = epoch.seconds
        self.history.epochs.append(record)
        if trainer.folder is not None:
            trainer.folder.record(self.history)
        self.callbacks.tell("on_epoch_end", trainer, state.epoch, record)
        self.save_if_due(lambda: None)

    def save_if_due(self, running: Callable[[], dict[str, Any] | None]) -> None:
        """Save the state when it is time to, and when Ctrl-C was pressed: then end.

        `running` tells what the running epoch has added up to; None between two epochs.
        """
        if self.saver is None:
            return
        if self.saver.due() or self.interrupt.asked:
            self.saver.save(self, running())
        if self.interrupt.asked:
            stop = KeyboardInterrupt()
            if self.saver.path.exists():
                stop.add_note(
                    f"the state after {self.state.where_done()} is in {self.saver.path.parent}, "
                    "and the same call goes on from there"
                )
            raise stop

    def _judge(self, totals: Totals, scored: Scored | None) -> dict[str, Any]:
        """Value the epoch, keep its weights if they may be wanted; the epoch's record."""
        state, trainer, selector = self.state, self.trainer, self.selector
        record: dict[str, Any] = {
            "epoch": state.epoch,
            "step": state.step,
            "seconds": 0.0,
            "lr": float(self.stepper.optimizer.param_groups[0]["lr"]),
            "skipped": state.skipped,
            **totals.record(trainer.tasks),
        }
        if self.rescaling is not None:
            record |= self.rescaling.record()
        primary: dict[str, Score] = {}
        if scored is not None:
            record |= scored.flat("val")
            primary = {n: scored.metrics[n][t.primary.name] for n, t in trainer.tasks.items()}
        selector.add(Scores(state.epoch, primary, scored.losses if scored else {}))
        if scored is not None:
            record[f"select/{selector.rule.word}"] = selector.rule.values(selector.epochs)[-1]
        needed = selector.needed()
        if state.epoch in needed:
            weights = snapshot(trainer.model)
            kept = weights if self.rescaling is None else self.rescaling.folded(weights)
            self.keeper.keep(state.epoch, kept)
        self.keeper.drop_except(needed)
        known = {n: value for n, value in primary.items() if not isinstance(value, Undefined)}
        trainer.balancer.observe(epoch=state.epoch, scores=known or None)
        patience = self.settings.patience
        if patience is not None and state.epoch - selector.chosen()["best"] >= patience:
            self.history.stopped_early = state.epoch < self.settings.epochs
            trainer.should_stop = True
        return record

    def _finish(self) -> None:
        """Settle the checkpoints, load the chosen one, and say what there is to say."""
        trainer, history, state = self.trainer, self.history, self.state
        history.chosen = {**self.selector.chosen(), "last": state.epoch}
        history.remarks = [*self.selector.remarks, *mixing_remarks(trainer, self.train)]
        history.remarks += scale_remarks(self.callbacks)
        if self.rescaling is not None:
            self.rescaling.end()  # the chosen weights are those of ordinary layers
            history.remarks += self.rescaling.remarks()
        if state.skipped:
            wanted = self.stepper.required
            kind = f"label of {wanted}, the main task," if wanted else "label"
            history.remarks.append(f"{state.skipped} batches had no {kind} and were skipped.")
        if history.stopped_early:
            history.remarks.append(
                f"ended after epoch {state.epoch} of {self.settings.epochs}: no better epoch by "
                f"{self.selector.rule.word!r} for {self.settings.patience} epochs."
            )
        files: dict[str, str] = {}
        for name, epoch in history.chosen.items():
            weights = snapshot(trainer.model) if name == "last" else self.keeper.get(epoch)
            if trainer.folder is not None:
                files[name] = trainer.folder.save(name, weights)
            else:
                self.kept[name] = weights
        put(trainer.model, self.keeper.get(history.chosen["best"]), "the best epoch")
        if trainer.folder is not None:
            trainer.folder.finish(history, files, self.mark)
        self._tidy()

    def _tidy(self) -> None:
        """Now that the results are whole, what led to them may go."""
        if self.saver is not None:
            self.saver.forget()
        self.keeper.close()


def check_batches(balancer: Balancer, batches: int | None) -> None:
    """Raise `UserError` when an epoch is too short for a single step of the method."""
    if batches is not None and batches < balancer.batches > 1:
        raise UserError(
            f"{type(balancer).__name__} reads {balancer.batches} batches for one step, and an "
            f"epoch has {batches}: it would never step. Use a smaller batch_size."
        )
