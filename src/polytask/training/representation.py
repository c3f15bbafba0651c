"""What a trained network makes of rows: its features at the end of every stage."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polytask.architectures import HardSharing, SingleTask, Staged, as_stages
from polytask.architectures._layout import Context, pooled
from polytask.architectures.stages import begin, enter, run
from polytask.data import Batches
from polytask.errors import UserError, unknown
from polytask.training._device import seeded
from polytask.training._forward import batches_on

Array = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Tensors = dict[str, Tensor]


def represent(
    model: nn.Module,
    batches: Batches | Iterable[Any],
    rows: int | None = 500,
    depth: int | None = None,
    task: str | None = None,
) -> dict[int, Array]:
    """Features of rows at the end of every stage of a network's encoder, one vector a row.

    What stages are, see `polytask.architectures.as_stages`; the last one is with the encoder's
    exit, so it is what heads read. Features of images are their mean over places, those of
    sequences and molecules over the tokens and atoms that are there, those of graphs over nodes.
    A network of another architecture, or any module whose `forward` takes `return_features`,
    gives the features that its tasks share as stage 0, those of several cuts side by side.

    The network is in eval mode meanwhile, without gradients, and left as it was; so are the
    random states. `Batches` are read in the order of their rows, and not moved on.

    Args:
        model: `HardSharing`, `SingleTask`, any other architecture, or a module as above.
        batches: `Batches`, of which rows are drawn evenly from the first to the last, or anything
            that iterates into pairs `(inputs, targets)`, of which the first rows are taken.
        rows: how many at most; None is all.
        depth: only this stage, from 0, or negative from the last; None is every stage.
        task: whose encoder, of a `SingleTask` of several.

    Returns:
        Stage -> float32 [n, width of the stage]; the same rows for every network.

    Raises:
        UserError: a network that shares nothing and no `task`, no such stage, no rows, or a
            number of rows below 1.
    """
    if rows is not None and (type(rows) is not int or rows < 1):
        raise UserError(f"rows must be a whole number of 1 or more, or None, found {rows!r}.")
    found: dict[int, list[Tensor]] = {}
    count = 0
    pairs = drawn(batches, rows) if isinstance(batches, Batches) else batches
    with at_rest(model) as device:
        for inputs, _ in batches_on(pairs, device):
            stages = _stages(model, inputs, task)
            if found and len(stages) != len(found):
                raise UserError("represent: the number of stages differs from batch to batch.")
            for stage, h in enumerate(stages):
                found.setdefault(stage, []).append(h.float().cpu())
            count += len(stages[0])
            if rows is not None and count >= rows:
                break
    if not count:
        raise UserError("represent: there are no rows in the batches; expected at least one.")
    if depth is not None:
        found = {_place(depth, len(found)): found[_place(depth, len(found))]}
    return {stage: torch.cat(parts)[:rows].numpy() for stage, parts in found.items()}


def encoder_of(model: nn.Module, task: str | None = None) -> nn.Module | None:
    """The encoder of a network that has one, of a task in a `SingleTask`; None for others.

    Raises `UserError` for a `SingleTask` of several tasks and no task, or an unknown one.
    """
    if isinstance(model, HardSharing):
        return model.encoder
    if not isinstance(model, SingleTask):
        return None
    if task is None and len(model.task_names) > 1:
        raise UserError(
            f"the network has one encoder a task ({', '.join(model.task_names)}); say whose: task=."
        )
    name = model.task_names[0] if task is None else task
    if name not in model.encoders:
        raise unknown("task", name, model.task_names)
    return model.encoders[name]


def through(encoder: Staged, inputs: Any) -> Iterator[tuple[Tensor, Context]]:
    """The features at the end of every stage, the last ones after the exit, and the context."""
    h, context = enter(encoder.entrance, begin(encoder, inputs))
    last = len(encoder.stages) - 1
    for place, stage in enumerate(encoder.stages):
        h = run(stage, h, context)
        yield (run(encoder.exit, h, context) if place == last else h), context


def drawn(batches: Batches, rows: int | None) -> Iterator[tuple[Tensors, Tensors]]:
    """Pieces of rows that lie evenly among all of them, at most so many rows."""
    count = batches.n if rows is None else min(rows, batches.n)
    places = torch.from_numpy(np.linspace(0, batches.n - 1, count).round().astype(np.int64))
    for piece in places.split(batches.batch_size):
        yield (
            {name: tensor[piece] for name, tensor in batches.inputs.items()},
            {name: tensor[piece] for name, tensor in batches.targets.items()},
        )


@contextmanager
def at_rest(model: nn.Module) -> Iterator[torch.device]:
    """Eval mode, no gradients, random states kept; gives the model's device."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    modes = [(module, module.training) for module in model.modules()]
    try:
        with seeded(0, device), torch.no_grad():
            model.eval()
            yield device
    finally:
        for module, training in modes:
            module.training = training


def _stages(model: nn.Module, inputs: Any, task: str | None) -> list[Tensor]:
    """One vector a row at the end of every stage."""
    encoder = encoder_of(model, task)
    if encoder is not None:
        staged = as_stages(encoder)
        return [pooled(h, staged.channel_dim, c) for h, c in through(staged, inputs)]
    if "return_features" not in inspect.signature(model.forward).parameters:
        raise UserError(
            f"represent: {type(model).__name__} does not say what its features are: expected one "
            "of polytask's architectures, or a module whose forward takes return_features=True and "
            "answers (outputs, features)."
        )
    features = model(inputs, return_features=True)[1]
    cut = [features] if isinstance(features, Tensor) else list(features or [])
    if not cut:
        raise UserError(
            f"represent: the tasks of {type(model).__name__} share no features. Use the networks "
            "of single tasks."
        )
    channels = int(getattr(model, "channel_dim", 1))
    return [torch.cat([pooled(h, channels) for h in cut], dim=1)]


def _place(depth: int, stages: int) -> int:
    if type(depth) is not int or not -stages <= depth < stages:
        raise UserError(
            f"depth must be a stage, from 0 to {stages - 1}, or negative from the end, "
            f"found {depth!r}."
        )
    return depth % stages
