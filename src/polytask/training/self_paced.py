"""Self-paced learning: easy examples of easy tasks first, all of them in the end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from polytask.data import Batches
from polytask.errors import UserError
from polytask.training._forward import Labels, batches_on
from polytask.training._pace import PacedLabels, paced_weights, row_losses
from polytask.training.callbacks import Callback
from polytask.training.representation import at_rest, drawn

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer

PACE = "{}/pace"
"""Where weights travel, among the targets, so that they stay with their rows."""
SHARE = 0.1
"""`sparsity` where none is given: this part of what the easiest task has to gain."""


class SelfPaced(Callback):
    """Self-paced multi-task learning: weights on tasks and examples together, by their losses.

    C. Li, J. Yan, F. Wei, W. Dong, Q. Liu and H. Zha, "Self-Paced Multi-Task Learning", AAAI 2017,
    https://arxiv.org/abs/1604.01474. Over the weights w in [0, 1] of all examples j of all tasks t,
    and over the network, minimise

        sum_t [ mean_j w_tj L_tj  -  threshold * mean_j w_tj  +  sparsity * rms_j w_tj ]

    in turn: before every epoch the weights from the losses of the network as it is (in evaluation
    mode, in closed form), then the network for an epoch with the weights fixed. The second term
    lets an example in whose loss is below the threshold, the easier the more; the third, the norm
    of a task's weights, leaves the whole task out while its examples together gain too little.
    Then the threshold grows, until everything takes part with weight 1 and training is the usual
    one. A balancer sees the first term as the loss of the task.

    The objective is the paper's as recalled, its weights follow from the optimality conditions. The
    paper adds up examples and norms; here each task's part is divided by its n_t labelled rows, and
    its norm multiplied with their root, so that `sparsity` is a loss, as `threshold` is, and no
    task is left out for being small. The paper fits linear models to the end before each new set of
    weights. How threshold and sparsity begin and grow is not the paper's, which we could not read:
    half of the examples, and the factor 1.3, are those of M. P. Kumar, B. Packer, D. Koller,
    "Self-Paced Learning for Latent Variable Models", NeurIPS 2010.

    One threshold serves all tasks, so their losses should be of one size: standardise the targets
    of regressions, as `Task.fitted` does. The loss of a row with several outputs, labels or places
    is their mean. A task of which nothing in a batch takes part is absent from it, as one without
    labels. Training losses in the history are those with weights; validation stays as it is. The
    history has `taking_part/<task>`, the labelled rows with a weight above 0. Where nothing at all
    would take part, the threshold grows at once until something does.

    Needs `Batches`, whose rows are known, and neither a distillation nor PopArt beside it. Cost: a
    forward pass of all training rows an epoch, and one number a row and task.

    Args:
        threshold: of the first weights, above 0; by default the median loss of all examples then.
        growth: what the threshold is multiplied with every epoch, above 1.
        sparsity: of the first weights, a loss; 0 weighs examples alone, by 0 or 1. By default a
            tenth of what the easiest task has to gain, the root mean square of how far its
            examples lie below the threshold.
        sparsity_growth: its own factor, above 0 and at most `growth`: were it larger, tasks
            would leave as training goes on. 1 leaves the growing threshold to let tasks in.
        warmup: epochs with all weights 1 to begin with: the losses of a network that has learned
            nothing say nothing.

    `weights` has those of every training row by task (0 without a label), `paces` lists (epoch,
    threshold, sparsity).

    Raises:
        UserError: an argument that cannot be; other batches; a distillation or PopArt; a median
            loss that is not above 0.

    >>> from polytask.training import SelfPaced
    >>> SelfPaced(growth=2.0).paces
    []
    """

    def __init__(
        self,
        threshold: float | None = None,
        growth: float = 1.3,
        sparsity: float | None = None,
        sparsity_growth: float = 1.0,
        warmup: int = 1,
    ) -> None:
        if threshold is not None:
            _check("threshold", threshold, threshold > 0, "above 0")
        if sparsity is not None:
            _check("sparsity", sparsity, sparsity >= 0, "of at least 0")
        _check("growth", growth, growth > 1, "above 1")
        within = 0 < sparsity_growth <= growth
        _check("sparsity_growth", sparsity_growth, within, "above 0 and at most growth")
        if not isinstance(warmup, int) or isinstance(warmup, bool) or warmup < 0:
            raise UserError(f"warmup must be a whole number of at least 0, found {warmup!r}.")
        self.threshold = threshold
        self.growth = growth
        self.sparsity = sparsity
        self.sparsity_growth = sparsity_growth
        self.warmup = warmup
        self._resumed = False
        self._start()

    def _start(self) -> None:
        self.weights: dict[str, Tensor] = {}
        self.paces: list[tuple[int, float, float]] = []
        self._epoch = 0

    def changes(self) -> dict[str, Any]:
        """Its arguments."""
        names = ("threshold", "growth", "sparsity", "sparsity_growth", "warmup")
        return {name: getattr(self, name) for name in names}

    def state_dict(self) -> dict[str, Any]:
        """The weights of the running epoch, and the pace so far."""
        return {"weights": self.weights, "paces": self.paces, "epoch": self._epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with saved weights."""
        self.weights = dict(state["weights"])
        self.paces = [(epoch, threshold, own) for epoch, threshold, own in state["paces"]]
        self._epoch = state["epoch"]
        self._resumed = True

    def on_train_begin(self, trainer: Trainer) -> None:
        """Put a weight beside every target; a training that is not resumed starts anew."""
        assert trainer._fit is not None
        train = trainer._fit.train
        if not isinstance(train, Batches):
            raise UserError(
                "SelfPaced has a weight for every training row, so it must know the rows: expected "
                f"polytask.data.Batches, found {type(train).__name__}. Use them."
            )
        if trainer.forward.teaching is not None:
            raise UserError(
                "SelfPaced and a distillation both replace the losses of the tasks; expected one "
                "of them. Leave out distill=, or SelfPaced."
            )
        if trainer.popart is not None:
            raise UserError(
                "SelfPaced compares losses from epoch to epoch, and popart rescales them; "
                "expected one of them. Standardise targets with Task.fitted instead of popart."
            )
        if not self._resumed:
            self._start()
            for name, target in train.targets.items():
                if name in trainer.tasks:
                    known = trainer.tasks[name].labelled(target).reshape(train.n, -1).any(1)
                    self.weights[name] = known.float().cpu()
        self._resumed = False
        own = {PACE.format(name): weights for name, weights in self.weights.items()}
        words = ("batch_size", "shuffle", "seed", "drop_last")
        how = {word: getattr(train, word) for word in words}
        self._plain = train
        trainer._fit.train = Batches(train.inputs, {**train.targets, **own}, **how)
        trainer.forward.teaching = self

    def on_train_end(self, trainer: Trainer) -> None:
        """Leave batches and losses as they were."""
        assert trainer._fit is not None
        trainer._fit.train = self._plain
        trainer.forward.teaching = None

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Weigh all examples anew, but for an epoch that is taken up in its middle."""
        if epoch <= self._epoch:
            return
        self._epoch = epoch
        if epoch > self.warmup:
            self._weigh(self._losses(trainer))

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, Any]) -> None:
        """Note in the history how many examples took part."""
        for name, weights in self.weights.items():
            metrics[f"taking_part/{name}"] = int((weights > 0).sum())
        if trainer.folder is not None:
            trainer.folder.record(trainer.history)

    def lesson(
        self, inputs: Any, targets: Mapping[str, Tensor], tasks: Iterable[str], features: Any
    ) -> Labels:
        """The losses of a batch with the weights that came with it."""
        return PacedLabels({name: targets[PACE.format(name)] for name in tasks if name in targets})

    def _losses(self, trainer: Trainer) -> dict[str, Tensor]:
        """The loss of every training row by task, NaN without a label."""
        found: dict[str, list[Tensor]] = {name: [] for name in self.weights}
        with at_rest(trainer.model):
            for inputs, targets in batches_on(drawn(self._plain, None), trainer.device):
                outputs, _ = trainer.forward(inputs, without=trainer.forward.absent(targets))
                for name, losses in found.items():
                    own = row_losses(trainer.tasks[name], outputs[name], targets[name])
                    losses.append(own.cpu())
        return {name: torch.cat(losses) for name, losses in found.items()}

    def _weigh(self, losses: Mapping[str, Tensor]) -> None:
        """The weights of the next epoch, at the pace that it is time for."""
        known = {name: row[~row.isnan()] for name, row in losses.items()}
        pooled = torch.cat(list(known.values()))
        if not bool(pooled.isfinite().any()):
            return  # the step will say so, and where
        threshold, sparsity = self._pace(known, pooled)
        while True:
            found = {
                name: paced_weights(row, threshold, sparsity * math.sqrt(len(row)))
                for name, row in known.items()
            }
            if any(bool((weights > 0).any()) for weights in found.values()):
                break
            threshold, sparsity = threshold * self.growth, sparsity * self.sparsity_growth
        self.paces.append((self._epoch, threshold, sparsity))
        for name, weights in found.items():
            # In place: the training batches hold the same tensor.
            self.weights[name][~losses[name].isnan()] = weights.float()

    def _pace(self, known: Mapping[str, Tensor], pooled: Tensor) -> tuple[float, float]:
        """Threshold and sparsity: as they begin, or one step on from the epoch before."""
        if self.paces:
            _, threshold, sparsity = self.paces[-1]
            return threshold * self.growth, sparsity * self.sparsity_growth
        threshold = float(pooled.median()) if self.threshold is None else self.threshold
        if not threshold > 0:
            raise UserError(
                f"SelfPaced: the median loss of all examples is {threshold:g}; expected one above "
                "0, as it is multiplied to grow. Give a threshold."
            )
        if self.sparsity is not None:
            return threshold, self.sparsity
        gains = [
            float((threshold - row).clamp(min=0).square().mean().sqrt())
            for row in known.values()
            if len(row)
        ]
        return threshold, SHARE * max(gains)


def _check(name: str, value: Any, right: bool, wanted: str) -> None:
    """Raise `UserError` unless a value is a finite number as wanted."""
    if not right or not math.isfinite(value):
        raise UserError(f"{name} must be a number {wanted}, found {value!r}.")
