"""The first batches, tried before anything is written or learned.

A model that answers in another shape on validation, or a metric that cannot be called, would
otherwise be found after the first epoch, which may be hours away.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from polytask.data import Batches, InTurn, Mixture
from polytask.errors import NonFiniteError, UserError, count, foreign
from polytask.kernel.graph import Ownership
from polytask.kernel.measure import nothing_shared
from polytask.kernel.problem import Problem, pose
from polytask.optimization.base import Balancer
from polytask.training._forward import Forward, batches_on

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer

MISTAKES = (TypeError, AttributeError, NameError, ImportError)
"""What wrong code raises on any data; anything else may come from few rows alone."""


def try_out(trainer: Trainer, train: Any, val: Any) -> None:
    """Run the model, the losses and the metrics on the first batch of each, learning nothing.

    In evaluation mode, so only when there is validation data, where the
    model must answer so anyway. Batches that cannot be looked at without being used are left
    out, and a compiled model is not asked for gradients, which it would have to be compiled
    for. Random states stay as they are. Cost: two forward passes of one batch.

    Raises:
        UserError: a batch, an output, a loss or a metric that does not fit its task.
        NonFiniteError: the first training batch or the model's parameters are not finite.
    """
    for which, data in (("training", train), ("validation", val)):
        if isinstance(data, Sized) and len(data) == 0:
            raise UserError(
                f"the {which} data holds no batch; expected at least one. Give it rows"
                + (", or leave val out." if which == "validation" else ".")
            )
    if val is None:
        return
    forward, training = trainer.forward, trainer.model.training
    trainer.model.eval()
    try:
        with torch.no_grad(), random_kept(trainer.device):
            for which, data in (("training", train), ("validation", val)):
                graph = which == "training" and not compiled(trainer.model)
                for inputs, targets in batches_on(first_batch(data), trainer.device):
                    with torch.set_grad_enabled(graph):
                        outputs = _answer(forward, inputs, which, forward.absent(targets))
                        losses = forward.losses(outputs, targets).values
                        if graph and losses:
                            _check_graph(trainer.balancer, pose(losses))
                    if which == "training":
                        _check_finite(trainer, inputs, targets, losses)
                    else:
                        _measure(forward, outputs, targets)
    finally:
        trainer.model.train(training)


def first_batch(data: Any) -> list[Any]:
    """The first batch, or none where getting it would disturb the order or use it up."""
    if isinstance(data, Batches):
        rows = slice(data.batch_size)
        inputs, targets = (
            {name: tensor[rows] for name, tensor in named.items()}
            for named in (data.inputs, data.targets)
        )
        return [(inputs, targets)]
    if isinstance(data, Mixture | InTurn):
        return data.peek()
    if isinstance(data, list | tuple):
        return [data[0]]
    if isinstance(data, DataLoader) and not isinstance(data.dataset, IterableDataset):
        if data.batch_size is None or not isinstance(data.dataset, Sized):
            return []
        few = min(data.batch_size, len(data.dataset))
        return [data.collate_fn([data.dataset[row] for row in range(few)])]
    return []


def _answer(
    forward: Forward, inputs: Any, which: str, without: Collection[str]
) -> dict[str, Tensor]:
    """The model's outputs; its own exceptions become an error that says what it was given."""

    def explain(what: str) -> str:
        name = type(forward.model).__name__
        kept = {p.dtype for p in forward.model.parameters() if p.is_floating_point()}
        remedy = (
            "Keep its weights in float32, and use precision='bf16' for half precision."
            if kept & {torch.float16, torch.bfloat16}
            else "Give batches as its forward reads them, or correct the module."
        )
        return (
            f"the model {name} could not read the first {which} batch ({described(inputs)}): "
            f"{what}. {remedy}"
        )

    with foreign(explain):
        return forward(inputs, without=without)[0]


def _measure(
    forward: Forward, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]
) -> None:
    """Compute every metric once; what few rows alone may cause is left to the real scoring."""
    for name in filter(targets.__contains__, forward.tasks):
        for metric in forward.tasks[name].all_metrics:
            meter = metric.fresh(forward.tasks[name])
            try:
                meter.update(outputs[name].cpu(), targets[name].cpu())
                meter.compute()
            except NonFiniteError:
                continue
            except UserError as error:
                if error.__cause__ is None or isinstance(error.__cause__, MISTAKES):
                    raise


def _check_finite(
    trainer: Trainer, inputs: Any, targets: Mapping[str, Tensor], losses: Mapping[str, Tensor]
) -> None:
    """Say where it comes from when a first loss is not finite, as far as it can be seen."""
    bad = [name for name, loss in losses.items() if not bool(torch.isfinite(loss))]
    if not bad or trainer.balancer.non_finite == "skip_task":
        return
    head = f"the loss of task {bad[0]!r} is {float(losses[bad[0]])} before training:"
    for name, parameter in trainer.model.named_parameters():
        if bad_values := _unusable(parameter):
            raise NonFiniteError(
                f"{head} the model's parameter {name!r} has {bad_values}. Build the model anew, or "
                "load other weights."
            )
    for name, value in (inputs if isinstance(inputs, Mapping) else {"x": inputs}).items():
        if isinstance(value, Tensor) and (bad_values := _unusable(value)):
            raise NonFiniteError(
                f"{head} the input {name!r} of the first batch has {bad_values}. Fill or leave out "
                "what is missing, as polytask.data.Preprocessor does."
            )
    for name in bad:
        if infinite := int(torch.isinf(targets[name]).sum()):
            raise NonFiniteError(
                f"{head} its first batch has {count(infinite, 'infinite target')}. Mark what is "
                "missing as NaN."
            )


def _unusable(tensor: Tensor) -> str:
    """How many values are NaN or infinite, in words; '' when none is."""
    found = int((~torch.isfinite(tensor)).sum()) if tensor.is_floating_point() else 0
    return f"{count(found, 'value')} of {tensor.numel():,} NaN or infinite" if found else ""


def compiled(model: nn.Module) -> bool:
    """Whether a graph of the evaluation mode would have to be compiled for nothing."""
    # By name: importing torch's compiler takes seconds.
    return any(type(module).__name__ == "OptimizedModule" for module in model.modules())


def _check_graph(balancer: Balancer, problem: Problem) -> None:
    """Raise `UserError` when a method that reads gradients finds nothing that tasks share."""
    if balancer.statistic not in ("tail", "exact") or len(problem) < 2:
        return
    graph = Ownership(problem.losses)
    try:
        graph.refuse_opaque(None)
    except UserError:
        return  # the step knows whether features= make up for it
    if not graph.shared_parameters():
        nothing_shared(problem, balancer.statistic)


def described(inputs: Any) -> str:
    """The shapes and types of a batch of inputs, for a message."""
    if isinstance(inputs, Tensor):
        return f"{list(inputs.shape)} {str(inputs.dtype).removeprefix('torch.')}"
    if isinstance(inputs, Mapping):
        return ", ".join(f"{name}: {described(value)}" for name, value in inputs.items())
    return f"a {type(inputs).__name__}"


@contextmanager
def random_kept(device: torch.device) -> Iterator[None]:
    """Random states of Python, NumPy and torch as they were, afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
