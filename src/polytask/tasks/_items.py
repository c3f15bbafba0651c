"""From a batch to its labelled items: the one place where missing labels are taken out.

Missing is NaN in floating targets and -100 in integer ones (and -100 too in floating targets of a
classification task). In a regression target -100 is a number.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from polytask.errors import UserError

MISSING = -100
"""The code of a missing class, as in PyTorch's cross-entropy."""


def as_tensor(target: Tensor | np.ndarray) -> Tensor:
    """A target as a tensor; a read-only array (memory-mapped, say) is copied."""
    if isinstance(target, np.ndarray) and not target.flags.writeable:
        target = target.copy()
    return torch.as_tensor(target)


def present(kind: str, target: Tensor) -> Tensor:
    """Which elements of a target carry a label: bool, same shape."""
    if target.is_floating_point():
        mask = ~target.isnan()
        return mask if kind in ("regression", "custom") else mask & (target != MISSING)
    if kind == "regression" or target.dtype == torch.bool:
        return torch.ones_like(target, dtype=torch.bool)
    return target != MISSING


def labelled(kind: str, size: int, target: Tensor) -> Tensor:
    """Which items carry a label: bool `[N]`, or `[N, ...]` for a dense target.

    An item of several outputs or labels counts when at least one of them is there; so does a row
    of a custom target.
    """
    mask = present(kind, target)
    if kind == "custom":
        return mask.reshape(len(mask), -1).any(1)
    if mask.ndim > 1 and (size > 1 or kind == "multilabel" or mask.shape[1:] == (1,)):
        return mask.any(1)
    return mask


def upcast(output: Tensor) -> Tensor:
    """Half precision outputs in float32, others as they are."""
    return output.float() if output.dtype in (torch.float16, torch.bfloat16) else output


def check_output(name: str, width: int, output: Tensor) -> Tensor:
    """The output as `[N, width, ...]`, at least float32. Raises `UserError` when it is not."""
    if not output.is_floating_point():
        raise UserError(
            f"task {name!r}: expected a floating-point output of the model, found {output.dtype}. "
            "Return what comes before rounding or argmax."
        )
    if output.ndim == 1 and width == 1:
        output = output.unsqueeze(1)
    if output.ndim < 2 or output.shape[1] != width:
        raise UserError(
            f"task {name!r}: expected an output of shape [N, {width}] (or [N, {width}, ...] for a "
            f"dense target; channels come second), found {list(output.shape)}. Give its head "
            f"{width} output(s), and keep the rows."
        )
    return upcast(output)


def items(
    name: str, kind: str, width: int, output: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """The labelled items of a batch; dense targets give one item per position.

    Returns outputs `[n, width]` and targets: codes int64 `[n]` (binary, multiclass), or floats
    `[n, width]` with NaN for elements that are missing (regression, multilabel). A custom task
    keeps its rows as they are. Unlabelled outputs are not read: they get a gradient of exactly 0,
    whatever they hold. Raises `UserError` for shapes or codes that do not fit.
    """
    if kind == "custom":
        return _rows(name, output, target)
    output = check_output(name, width, output)
    vector = kind in ("regression", "multilabel")
    shape = list(output.shape) if vector else [len(output), *output.shape[2:]]
    given = list(target.shape)
    if given and given[0] != len(output):
        raise UserError(
            f"task {name!r}: found {len(output)} outputs and {given[0]} targets in a batch; "
            "expected one of each for every row. Keep the rows in the model, and inputs and "
            "targets of one batch together."
        )
    target = _reshape(target, shape, lonely=width == 1)
    if list(target.shape) != shape:
        onehot = kind == "multiclass" and given == list(output.shape)
        remedy = "Turn one-hot rows into codes: argmax(1)" if onehot else "Reshape or encode it"
        raise UserError(
            f"task {name!r} ({kind}): expected a target of shape {shape} for an output of shape "
            f"{list(output.shape)}, found {given}. {remedy}, as Task.encode does."
        )
    output = output.movedim(1, -1)
    if vector:
        mask = present(kind, target)
        target = torch.where(mask, target.to(output.dtype), torch.nan).movedim(1, -1)
        rows = mask.any(1)
        if kind == "multilabel":
            _check_codes(name, 2, target[~target.isnan()])
        return output[rows], target[rows]
    rows = present(kind, target)
    target = target[rows]
    _check_codes(name, max(width, 2), target)
    return output[rows], target.long()


def _reshape(target: Tensor, shape: list[int], *, lonely: bool) -> Tensor:
    """Add or drop the channel axis of a target with one channel; never broadcast."""
    if not lonely:
        return target
    if 0 < target.ndim == len(shape) - 1:
        return target.unsqueeze(1)
    if target.ndim == len(shape) + 1 and target.shape[1] == 1:
        return target.squeeze(1)
    return target


def _rows(name: str, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Labelled rows of a custom task."""
    if output.ndim == 0 or target.ndim == 0 or len(output) != len(target):
        raise UserError(
            f"task {name!r} (custom): expected output and target with as many rows, found shapes "
            f"{list(output.shape)} and {list(target.shape)}."
        )
    if len(target) == 0:
        return upcast(output), target
    mask = labelled("custom", 1, target)
    return upcast(output[mask]), target[mask]


def _check_codes(name: str, classes: int, codes: Tensor) -> None:
    """Refuse labels that no class has; a loss would take some of them in silence."""
    wrong = (codes < 0) | (codes >= classes)
    if codes.is_floating_point():
        wrong |= codes != codes.round()
    if bool(wrong.any()):
        raise UserError(
            f"task {name!r}: expected class codes 0 to {classes - 1} (or a missing label), found "
            f"{codes[wrong][0].item():g}. Encode raw labels with Task.encode, or give the task all "
            "its classes."
        )
