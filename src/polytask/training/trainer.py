"""The trainer: one network, several tasks, one balancer, and a checkpoint chosen on validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polytask.data import Batches
from polytask.errors import UserError
from polytask.optimization.base import Balancer
from polytask.tasks import Task
from polytask.training._device import find_device, seeded
from polytask.training._fit import Fit
from polytask.training._forward import Forward, batches_on
from polytask.training._loop import LoopState
from polytask.training._optim import OptimizerMaker, SchedulerMaker, trainable
from polytask.training._pauses import Pauses
from polytask.training._precision import Precision
from polytask.training._progress import make_progress
from polytask.training._rules import Score
from polytask.training._scores import check_repeatable, score
from polytask.training._settings import Settings, by_name
from polytask.training._teachers import Teachers
from polytask.training._weights import put
from polytask.training.callbacks import Callback, Callbacks
from polytask.training.distillation import Distillation
from polytask.training.history import History
from polytask.training.method import build_method
from polytask.training.popart import PopArt, read_popart
from polytask.training.run_folder import RunFolder
from polytask.training.selection import Select


class Trainer:
    """Trains a model on several tasks and keeps the epoch that a rule chooses on validation.

    Args:
        model: any module that returns outputs by task name; with a `return_features` argument
            in its `forward`, `(outputs, features)`. It is moved to the device.
        tasks: the tasks, by name or in a list.
        method: name of a balancer, or a balancer. One made by name is told the tasks' kinds
            where its arguments ask for them.
        optimizer: "adam", "adamw", "momentum" (SGD with 0.9), "rmsprop", "sgd", or a callable
            `(parameters, lr=, weight_decay=) -> Optimizer`.
        scheduler: None, "cosine", or a callable `(optimizer, steps) -> scheduler`; stepped once
            per optimizer step. `warmup` is the fraction of all steps with a rising rate.
        batch_size: used when `fit` is given tensors rather than batches.
        accumulate: batches per optimizer step, averaged by rows; the balancer decides on every
            batch from its raw losses. The last window of an epoch may be shorter. With missing
            labels this is not quite the step of one big batch (see `_optim.Window`).
        clip_norm: the greatest global norm of the gradients, or None.
        precision: "no", "bf16", or "fp16" (CUDA only, with a gradient scaler).
        patience: end after so many epochs without a new best one by the rule.
        select: the rule, "mean_gain", "mean_rank", "main:NAME" or "loss", or one with weights by
            task, {"weighted_loss": {...}} or {"worst_loss": {...}}; see
            `polytask.training.selection`. Without validation data the last epoch is taken.
        reference: validation scores that `mean_gain` measures from, by task (single-task scores,
            usually); by default those of the best constant prediction.
        checkpoints: further checkpoints, name to the last epoch they may come from, as in
            `{"equal_time": 5}`.
        callbacks: called in order, see `Callback`.
        distill: teachers to learn from, see `Distillation`. Validation stays as it is.
        popart: normalise regression targets while training: True, options such as
            `{"beta": 0.001}`, or a `PopArt`.
        device: "auto", "cpu", "cuda", "cuda:N", ...
        seed: of everything random in `fit` (the model is built by then); the caller's random
            states are untouched. On one CPU the same seed gives the same bits.
        out: folder for `config.yaml`, `environment.json`, `metrics.jsonl`, the weights and
            `run.json`; one process at a time may train in it.
        resume: with `out`, go on from the state that a killed or interrupted `fit` left there, if
            its settings and data were the same: on one CPU the result has the same bits as
            without the kill. "finished" also takes the results of a `fit` that had ended,
            instead of repeating it. False begins anew.
        checkpoint_every: with `out`, seconds between two saved states (0: after every step);
            longer when writing one takes more than a twentieth of that.
        progress: show a bar when stderr is a terminal; log lines otherwise.
        config: further settings to write into `config.yaml`.

    Raises:
        UserError: a setting, task or model that cannot be, before anything is trained.
    """

    def __init__(
        self,
        model: nn.Module,
        tasks: Mapping[str, Task] | Iterable[Task],
        *,
        method: str | Balancer = "linear",
        optimizer: str | OptimizerMaker = "adam",
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        epochs: int = 20,
        batch_size: int = 256,
        scheduler: str | SchedulerMaker | None = None,
        warmup: float = 0.0,
        accumulate: int = 1,
        clip_norm: float | None = None,
        precision: str = "no",
        patience: int | None = None,
        select: Select = "mean_gain",
        reference: Mapping[str, float] | None = None,
        checkpoints: Mapping[str, int] | None = None,
        callbacks: Iterable[Callback] = (),
        distill: Distillation | None = None,
        popart: PopArt | Mapping[str, Any] | bool | None = None,
        device: str = "auto",
        seed: int = 0,
        out: Path | str | None = None,
        resume: bool | str = True,
        checkpoint_every: float = 30.0,
        progress: bool = True,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.tasks = by_name(tasks)
        self.settings = Settings(
            method=method,
            optimizer=optimizer,
            lr=lr,
            weight_decay=weight_decay,
            epochs=epochs,
            batch_size=batch_size,
            scheduler=scheduler,
            warmup=warmup,
            accumulate=accumulate,
            clip_norm=clip_norm,
            precision=precision,
            patience=patience,
            select=select,
            reference=dict(reference or {}),
            checkpoints=dict(checkpoints or {}),
            device=str(device),
            seed=seed,
            checkpoint_every=checkpoint_every,
        )
        if resume not in (True, False, "finished"):
            raise UserError(f"resume must be True, False or 'finished', found {resume!r}.")
        self.resume = resume
        self.settings.check(self.tasks)
        if not isinstance(model, nn.Module):
            found, remedy = f"a {type(model).__name__}", "Wrap it in an nn.Module."
            if isinstance(model, type):
                found, remedy = f"the class {model.__name__}", "Build it first."
            raise UserError(f"the model must be a torch module, found {found}. {remedy}")
        trainable(model.parameters())
        self.callbacks = Callbacks(callbacks)
        self.progress = progress
        self.config = dict(config or {})
        self.device = find_device(self.settings.device)
        self.model = model.to(self.device)
        self.balancer = build_method(method, self.tasks)
        self.balancer.to(self.device)
        self.precision = Precision(precision, self.device)
        self.forward = Forward(self.model, self.tasks, self.precision)
        self.distill = distill
        self.popart = read_popart(popart)
        if self.popart is not None:
            self.popart.check(self.tasks, precision)
        self.teachers = _teachers(self)
        self.folder = RunFolder(out) if out is not None else None
        self.pauses = Pauses(self.tasks, self.balancer)
        self.should_stop = False
        self.batch: tuple[Any, Mapping[str, Tensor]] | None = None
        """Inputs and targets of the running batch, on the device; for callbacks."""
        self._fit: Fit | None = None

    @property
    def history(self) -> History:
        """The record of the newest fit; empty before the first."""
        return self._fit.history if self._fit else History()

    @property
    def state(self) -> LoopState:
        """Where the newest fit stands: epoch, batch and optimizer step."""
        return self._fit.state if self._fit else LoopState()

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """The optimizer of the newest fit; None before the first."""
        return self._fit.stepper.optimizer if self._fit else None

    @property
    def selection(self) -> tuple[str, float] | None:
        """The rule's word and its value for the newest epoch, where there is one."""
        return self._fit.selection if self._fit else None

    @property
    def paused(self) -> frozenset[str]:
        """The tasks that take no part in training now."""
        return self.pauses.tasks

    @property
    def target_scales(self) -> dict[str, tuple[list[float], list[float]]]:
        """Mean and standard deviation that PopArt has found, by task: a number an output, in the
        unit of the target. Empty without it, and before the first fit.
        """
        found = self._fit.rescaling if self._fit else None
        return {n: scale.in_target_units() for n, scale in found.scales.items()} if found else {}

    def pause(self, *tasks: str, by: str = "user") -> None:
        """Leave these tasks out of training from the next step on, until `unpause`.

        A paused task is absent: its loss is not computed, the balancer does not see it, and
        what serves it alone rests (with our architectures its head is not even computed). It is
        evaluated all the same. Pauses before `fit` stay; those that callbacks make, at any
        moment, end with the fit. A step of several batches ends with the tasks that it began
        with. The history has `paused/<task>`, and a saved state remembers who is paused.

        Args:
            tasks: their names; one that is paused already stays so.
            by: who pauses it. A task goes on when all who paused it have let it go.

        Raises:
            UserError: an unknown task, the last active one, the last active main task where
                there is one, or one that the method needs to find its main task.
        """
        self.pauses.add(tasks, by)

    def unpause(self, *tasks: str, by: str = "user") -> None:
        """Let these tasks take part again, as far as `by` paused them.

        Raises `UserError` for an unknown task.
        """
        self.pauses.remove(tasks, by)

    def fit(self, train: Any, val: Any = None) -> History:
        """Train from the model's present weights; afterwards it holds the chosen ones.

        `train` and `val` are `Batches`, or anything that can be iterated again and again into
        pairs `(inputs, targets)`, or one pair of dictionaries of tensors, which is cut into
        batches here. A task may be missing from a batch, and a label from a task. Tasks with data
        sets of their own are trained on a `polytask.data.Mixture` and validated on an `InTurn`.

        Ctrl-C ends after the running step, with its state saved when there is an `out`; a second
        one ends at once.

        Raises:
            UserError: batches or validation scores that cannot be used, an `out` that another
                process trains in, cannot be written to, or holds an unfinished training on
                other data.
            NonFiniteError: a loss or gradient is not finite; nothing was updated by that batch.
        """
        train = self._as_batches(train, "training", shuffle=True)
        if val is not None:
            val = self._as_batches(val, "validation", shuffle=False)
        elif self.settings.patience is not None:
            raise UserError("patience needs validation data: pass val= to fit, or leave it out.")
        batches = len(train) if isinstance(train, Sized) else None
        self.should_stop = False
        with (
            seeded(self.settings.seed, self.device),
            make_progress(self.progress, self.settings.epochs, batches) as progress,
        ):
            self._fit = Fit(self, train, val, batches, [*self.callbacks, progress])
            self._fit.run()
        return self.history

    def evaluate(self, batches: Any, prefix: str = "test") -> dict[str, Score]:
        """Every metric of every task, `{"test/depth/rmse": value or Undefined, ...}`.

        Metrics are in original units; `test/<task>/loss` is the mean loss over labelled items.
        """
        batches = self._as_batches(batches, prefix, shuffle=False)
        return score(self.forward, batches, self.device).flat(prefix)

    def outputs(self, batches: Any) -> dict[str, Tensor]:
        """Raw outputs of the model by task for all rows, float32 on the CPU, in their order.

        `Task.predict` and `Task.probabilities` read them. Targets may be an empty dictionary.
        """
        batches = self._as_batches(batches, "prediction", shuffle=False)
        parts: dict[str, list[Tensor]] = {name: [] for name in self.tasks}
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                for inputs, _ in batches_on(batches, self.device):
                    for name, output in self.forward(inputs)[0].items():
                        parts[name].append(output.cpu())
        finally:
            self.model.train(training)
        if not any(parts.values()):
            raise UserError("there is nothing to predict: the batches are empty.")
        return {name: torch.cat(part) for name, part in parts.items()}

    def predict(self, batches: Any) -> dict[str, Tensor]:
        """Predictions by task for all rows: target units, class codes, or 0/1 labels."""
        outputs = self.outputs(batches)
        return {name: task.predict(outputs[name]) for name, task in self.tasks.items()}

    def load_checkpoint(self, name: str = "best") -> None:
        """Put the weights of a checkpoint into the model: "best", "last", or one of yours.

        Reads the run folder when there is one (of an earlier process, too). Raises `UserError`
        when there is no such checkpoint, or it belongs to another model.
        """
        if self.folder is not None:
            weights = self.folder.load(name)
        else:
            kept = self._fit.kept if self._fit else {}
            if name not in kept:
                known = ", ".join(kept) or "none, as nothing has been trained"
                raise UserError(f"no checkpoint {name!r}; there are: {known}.")
            weights = kept[name]
        put(self.model, weights, f"the checkpoint {name!r}")

    def _as_batches(self, data: Any, which: str, shuffle: bool) -> Any:
        """Batches as they are, or built from one pair of dictionaries of tensors."""
        if isinstance(data, tuple) and len(data) == 2 and all(isinstance(d, Mapping) for d in data):
            size, seed = self.settings.batch_size, self.settings.seed
            return Batches(dict(data[0]), dict(data[1]), size, shuffle=shuffle, seed=seed)
        check_repeatable(data, which)
        return data


def _teachers(trainer: Trainer) -> Teachers | None:
    """The frozen copies of the teachers, if any. Raises `UserError` for those that do not fit."""
    given = trainer.distill
    if given is None:
        return None
    if not isinstance(given, Distillation):
        raise UserError(
            f"distill must be a polytask.training.Distillation, found {type(given).__name__}. "
            "Write distill=Distillation({'TASK': network})."
        )
    return Teachers(given, trainer.model, trainer.tasks, trainer.precision)
