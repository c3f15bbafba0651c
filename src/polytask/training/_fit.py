"""One fit from its first epoch to the chosen weights."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from polytask import __version__
from polytask.errors import UserError
from polytask.metrics import Undefined
from polytask.optimization.base import Balancer
from polytask.training._environment import environment
from polytask.training._forward import Batch, batches_on
from polytask.training._loop import LoopState, Stepper, Totals
from polytask.training._optim import make_optimizer, make_scheduler
from polytask.training._rules import Newest, Rule, Score, Scores
from polytask.training._scores import Scored, reference_scores, score
from polytask.training.callbacks import Callback, Callbacks
from polytask.training.checkpoints import Keeper, Selector, Weights, put, snapshot
from polytask.training.history import History
from polytask.training.selection import make_rule

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer


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
        self.callbacks = Callbacks(callbacks)
        self.state = LoopState()
        self.kept: dict[str, Weights] = {}
        self.history = History()
        self.selector = Selector(self._rule(), {"best": None, **settings.checkpoints})
        check_batches(trainer.balancer, batches)
        self.stepper = self._make_stepper(batches)
        folder = trainer.folder
        if folder is not None:
            resolved = settings.resolved(trainer.tasks, trainer.balancer, trainer.device)
            config = {"polytask": __version__, **trainer.config, **resolved}
            folder.start(config, environment(trainer.device))
        self.keeper = Keeper(folder.path / "candidates" if folder is not None else None)

    @property
    def selection(self) -> tuple[str, float] | None:
        """The rule's word and its value for the newest epoch, where there is one."""
        value = self.selector.value if self.val is not None and self.selector.epochs else None
        return None if value is None else (self.selector.rule.word, value)

    def run(self) -> None:
        """Train, then settle the checkpoints and load the chosen one."""
        self.callbacks.tell("on_train_begin", self.trainer)
        while self.state.epoch < self.settings.epochs and not self.trainer.should_stop:
            self._run_epoch()
        self._finish()
        self.callbacks.tell("on_train_end", self.trainer)

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
            settings.optimizer, trainer.model.parameters(), settings.lr, settings.weight_decay
        )
        steps = None
        if batches is not None:
            steps = settings.epochs * -(-batches // settings.accumulate)
        scheduler = make_scheduler(settings.scheduler, optimizer, steps, settings.warmup)
        return Stepper(
            trainer.forward,
            trainer.balancer,
            optimizer,
            scheduler,
            trainer.precision,
            settings.clip_norm,
            self._held_out(),
        )

    def _held_out(self) -> Iterator[Batch] | None:
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
        return _endless(self.val, self.trainer.device)

    def _run_epoch(self) -> None:
        state, began = self.state, time.perf_counter()
        state.epoch, state.batch = state.epoch + 1, 0
        self.callbacks.tell("on_epoch_begin", self.trainer, state.epoch)
        totals = self._train_epoch()
        scored = None
        if self.val is not None:
            scored = score(self.trainer.forward, self.val, self.trainer.device)
        record = self._judge(totals, scored)
        record["seconds"] = time.perf_counter() - began
        self.history.epochs.append(record)
        if self.trainer.folder is not None:
            self.trainer.folder.record(self.history)
        self.callbacks.tell("on_epoch_end", self.trainer, state.epoch, record)

    def _train_epoch(self) -> Totals:
        state, trainer, totals = self.state, self.trainer, Totals()
        skipped = state.skipped
        if hasattr(self.train, "set_epoch"):
            self.train.set_epoch(state.epoch)
        trainer.model.train()
        for inputs, targets in batches_on(self.train, trainer.device):
            trainer.batch = (inputs, targets)
            self.callbacks.tell("on_batch_begin", trainer, state.batch)
            losses, values, step = self.stepper.backward(inputs, targets, state)
            if not losses.values:
                state.skipped += 1
            elif step is not None:
                totals.add(values, losses.counts, step)
                self.callbacks.tell("on_grad_computed", trainer, step)
            if (state.batch + 1) % self.settings.accumulate == 0:
                self.stepper.update(state)
            self.callbacks.tell("on_batch_end", trainer, state.batch, values)
            state.batch += 1
        self.stepper.waiting.clear()  # an incomplete group of batches is not stepped on
        self.stepper.update(state)
        if state.skipped - skipped == state.batch:
            raise UserError(
                f"no batch of epoch {state.epoch} has a label of any task "
                f"({', '.join(trainer.tasks)}); {state.batch} batches were seen. "
                "Check the training data and the names of its targets."
            )
        return totals

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
        primary: dict[str, Score] = {}
        if scored is not None:
            record |= scored.flat("val")
            primary = {n: scored.metrics[n][t.primary.name] for n, t in trainer.tasks.items()}
        selector.add(Scores(state.epoch, primary, scored.losses if scored else {}))
        if scored is not None:
            record[f"select/{selector.rule.word}"] = selector.rule.values(selector.epochs)[-1]
        needed = selector.needed()
        if state.epoch in needed:
            self.keeper.keep(state.epoch, snapshot(trainer.model))
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
        for name, epoch in history.chosen.items():
            weights = snapshot(trainer.model) if name == "last" else self.keeper.get(epoch)
            if trainer.folder is not None:
                trainer.folder.save(name, weights)
            else:
                self.kept[name] = weights
        put(trainer.model, self.keeper.get(history.chosen["best"]), "the best epoch")
        self.keeper.close()
        history.remarks = list(self.selector.remarks)
        if state.skipped:
            history.remarks.append(f"{state.skipped} batches had no label and were skipped.")
        if history.stopped_early:
            history.remarks.append(
                f"ended after epoch {state.epoch} of {self.settings.epochs}: no better epoch by "
                f"{self.selector.rule.word!r} for {self.settings.patience} epochs."
            )


def check_batches(balancer: Balancer, batches: int | None) -> None:
    """Raise `UserError` when an epoch is too short for a single step of the method."""
    if batches is not None and batches < balancer.batches > 1:
        raise UserError(
            f"{type(balancer).__name__} reads {balancer.batches} batches for one step, and an "
            f"epoch has {batches}: it would never step. Use a smaller batch_size."
        )


def _endless(batches: Iterable[Any], device: Any) -> Iterator[Batch]:
    while True:
        yield from batches_on(batches, device)
