"""PopArt in a running fit: statistics of targets, rewritten layers and normalised losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from polytask.errors import UserError
from polytask.tasks import Task
from polytask.training._forward import batches_on
from polytask.training._last_layer import check_layers, last_layer
from polytask.training._target_scale import TargetScale
from polytask.training._trial import compiled, first_batch, random_kept
from polytask.training._weights import Weights
from polytask.training.callbacks import Callback

if TYPE_CHECKING:
    from polytask.training._fit import Fit
    from polytask.training.trainer import Trainer


class Rescaling(Callback):
    """The scales of one fit. Between `begin` and `end`, layers answer in units of sigma.

    Raises `UserError` before anything is trained where a layer cannot be rewritten.
    """

    def __init__(self, fit: Fit, train: Any) -> None:
        trainer = fit.trainer
        assert trainer.popart is not None
        popart, model = trainer.popart, trainer.model
        if compiled(model):
            raise UserError(
                "popart rewrites layers while training, which a compiled model does not see. Pass "
                "the model as it was before torch.compile."
            )
        names = popart.names(trainer.tasks)
        found = {n: last_layer(model, trainer.tasks[n], popart.layers.get(n)) for n in names}
        self.fit = fit
        self.layers = {n: layer for n, layer in found.items() if layer.weight.requires_grad}
        self._check(trainer, train)
        before = trainer._fit.rescaling if trainer._fit else None
        known: dict[str, TargetScale] = before.scales if before else {}
        self.scales: dict[str, TargetScale] = {
            name: known.get(name) or TargetScale(trainer.tasks[name], popart, trainer.device)
            for name in self.layers
        }
        self._again = set(known)
        self._plain = {n: replace(trainer.tasks[n], mean=0.0, std=1.0) for n in self.layers}
        paths = {id(module): path for path, module in model.named_modules()}
        self._paths = {name: paths[id(layer)] for name, layer in self.layers.items()}
        self._waiting: list[Mapping[str, Tensor]] = []
        self._hooks: list[RemovableHandle] = []

    def begin(self) -> None:
        """Let the layers answer in units of sigma from now on."""
        for name, scale in self.scales.items():
            if name in self._again:
                scale.unfold(self.layers[name])
            self._hooks.append(self.layers[name].register_forward_hook(scale))

    @torch.no_grad()
    def end(self) -> None:
        """Make ordinary layers of them again, which answer the same."""
        if not self._hooks:
            return
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        for name, scale in self.scales.items():
            layer = self.layers[name]
            assert layer.bias is not None
            weight, bias = scale.fold(layer.weight, layer.bias)
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)

    def folded(self, weights: Weights) -> Weights:
        """Weights of the running fit as those of ordinary layers."""
        found = dict(weights)
        for name, scale in self.scales.items():
            weight, bias = (f"{self._paths[name]}.{word}" for word in ("weight", "bias"))
            found[weight], found[bias] = scale.fold(weights[weight], weights[bias])
        return found

    def turned(self, task: Task, output: Tensor, target: Tensor) -> tuple[Task, Tensor, Tensor]:
        """A task that takes its target as it is, with output and target in units of sigma."""
        scale = self.scales.get(task.name)
        if scale is None or not scale.fits(target):
            return task, output, target
        aim = scale.normalised(scale.standardised(target))
        return self._plain[task.name], scale.normalised(output), aim

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        """Take up the labels of a batch, at once or when the step that is under way is done."""
        assert trainer.batch is not None
        targets = trainer.batch[1]
        here = [n for n in self.scales if n in targets and n not in trainer.paused]
        self._waiting.append({name: targets[name] for name in here})
        self._take()

    def on_batch_end(self, trainer: Trainer, batch_index: int, losses: dict[str, float]) -> None:
        """Take up the labels of a step's other batches, before its state may be saved."""
        self._take()

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, Any]) -> None:
        """Take up the labels of a step that the epoch ended."""
        self._take()

    def state_dict(self) -> dict[str, Any]:
        """mu and sigma of every task."""
        return {name: scale.state_dict() for name, scale in self.scales.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with saved mu and sigma."""
        for name, scale in self.scales.items():
            scale.load_state_dict(state[name])

    def record(self) -> dict[str, float]:
        """mu and sigma in target units, of tasks with one output."""
        found: dict[str, float] = {}
        for name, scale in self.scales.items():
            if scale.size == 1:
                (mean,), (std,) = scale.in_target_units()
                found |= {f"popart/{name}/mean": mean, f"popart/{name}/std": std}
        return found

    def remarks(self) -> list[str]:
        """Which targets could not be brought to a spread of 1."""
        found = []
        for name, scale in self.scales.items():
            if side := scale.outside():
                bound = scale.least if side == "below" else scale.most
                found.append(
                    f"the spread of {name!r} is {side} {bound:g}, the bound of popart, so its "
                    "target was not brought to a spread of 1. Change the bound: "
                    f"popart={{'{'least' if side == 'below' else 'most'}': X}}."
                )
        return found

    def _take(self) -> None:
        """Move the scales, where no graph or gradient of the old ones is waiting."""
        if not self.fit.stepper.settled:
            return
        for targets in self._waiting:
            for name, target in targets.items():
                self.scales[name].observe(target, self.layers[name])
        self._waiting.clear()

    def _check(self, trainer: Trainer, train: Any) -> None:
        """Raise `UserError` for layers that cannot be rewritten, or targets that teachers give."""
        owner: dict[int, str] = {}
        for name, layer in self.layers.items():
            first = owner.setdefault(id(layer.weight), name)
            if first != name:
                raise UserError(
                    f"popart: tasks {first!r} and {name!r} have the same last layer. Give each a "
                    "layer of its own."
                )
        if trainer.distill is not None and trainer.distill.form != "features":
            taught = [name for name in self.layers if name in trainer.distill.teachers]
            if taught:
                raise UserError(
                    f"popart normalises the target of {taught[0]!r}, and its teachers give one of "
                    "their own. Use one of the two, or distill form 'features'."
                )
        with random_kept(trainer.device):
            for batch in batches_on(first_batch(train), trainer.device):
                check_layers(trainer.forward, self.layers, batch)
