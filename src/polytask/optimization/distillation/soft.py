"""Soft targets: what teachers answer, and how far a student's answer is from it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from polytask.errors import UserError, unknown

KINDS = ("binary", "multiclass", "multilabel", "regression")
"""Kinds of tasks whose outputs can be taught."""


def soft_targets(
    outputs: Sequence[Tensor], kind: str, temperature: float = 1.0, dim: int = 1
) -> Tensor:
    """What one teacher, or several together, say: probabilities, or values of a regression.

    Of several teachers it is the mean of their probabilities, as in MT-DNN-KD (X. Liu et al.,
    "Improving Multi-Task Deep Neural Networks via Knowledge Distillation", 2019,
    https://arxiv.org/abs/1904.09482), not of their logits; of a regression the mean of values.

    Args:
        outputs: raw outputs of each teacher, all of one shape: logits, with the classes of
            "multiclass" along `dim`; or standardised values.
        kind: one of `KINDS`. "binary" and "multilabel" read every element as a logit of its own.
        temperature: T, above 0; probabilities are those of the logits divided by T. A regression
            has none.
        dim: where the classes are.

    Returns:
        A tensor of their shape, without a graph.

    Raises:
        UserError: no output, another kind, shapes that differ, a temperature that cannot be.

    >>> soft_targets([torch.tensor([[0.0, 0.0]]), torch.tensor([[9.0, -9.0]])], "multiclass")
    tensor([[0.7500, 0.2500]])
    """
    _check(kind, temperature)
    shapes = {tuple(output.shape) for output in outputs}
    if len(shapes) != 1:
        found = ", ".join(map(str, sorted(shapes))) or "none"
        raise UserError(
            f"soft targets need the outputs of teachers, all of one shape; found {found}. Use "
            "teachers of the same task."
        )
    with torch.no_grad():
        said = [_said(output, kind, temperature, dim) for output in outputs]
        return said[0] if len(said) == 1 else torch.stack(said).mean(0)


def soft_loss(
    output: Tensor, soft: Tensor, kind: str, temperature: float = 1.0, dim: int = 1
) -> Tensor:
    """How far a student's outputs are from soft targets, for every element.

    G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015,
    https://arxiv.org/abs/1503.02531. With p the soft targets and q the student's probabilities
    at the same temperature T:

    - multiclass: T² KL(p || q), one value an item (or place);
    - binary, multilabel: T² KL of two Bernoulli distributions, one value a logit;
    - regression: squared error to the teacher's value, both in standardised units.

    Gradients of soft targets shrink as 1 / T², so the factor keeps their size beside that of a
    loss on labels when T changes. The paper writes the cross-entropy of p and q; the KL
    divergence is less by the entropy of p, which no student can change: gradients are the same,
    and a student that answers as its teacher has a loss of 0, which methods that read losses need.

    Args:
        output: the student's logits or standardised values.
        soft: `soft_targets` of the same temperature, of the shape of `output`.
        kind, temperature, dim: as of `soft_targets`.

    Returns:
        For "multiclass" the shape without `dim`; for others the shape of `output`.

    Raises:
        UserError: another kind, shapes that differ, a temperature that cannot be.

    >>> soft_loss(torch.tensor([[0.0]]), torch.tensor([[0.5]]), "binary", temperature=3.0)
    tensor([[0.]])
    """
    _check(kind, temperature)
    if output.shape != soft.shape:
        raise UserError(
            f"expected a soft target for every output of the student, found shapes "
            f"{list(output.shape)} and {list(soft.shape)}. Use a teacher of the same task."
        )
    soft = soft.to(output.dtype)
    if kind == "regression":
        return (output - soft).square()
    scaled = output / temperature
    if kind == "multiclass":
        student = functional.log_softmax(scaled, dim)
        return temperature**2 * (torch.xlogy(soft, soft) - soft * student).sum(dim)
    entropy = -torch.xlogy(soft, soft) - torch.xlogy(1 - soft, 1 - soft)
    cross = functional.binary_cross_entropy_with_logits(scaled, soft, reduction="none")
    return temperature**2 * (cross - entropy)


def _said(output: Tensor, kind: str, temperature: float, dim: int) -> Tensor:
    """Probabilities of one teacher, or its values."""
    output = output.detach()
    if kind == "regression":
        return output
    scaled = output / temperature
    return scaled.softmax(dim) if kind == "multiclass" else scaled.sigmoid()


def _check(kind: str, temperature: float) -> None:
    """Raise `UserError` for a kind that cannot be taught or a temperature that cannot be."""
    if kind not in KINDS:
        raise unknown("kind of task to teach", kind, KINDS)
    check_temperature(temperature)


def check_temperature(temperature: float) -> float:
    """The temperature, if it is a finite number above 0; else `UserError`."""
    fine = isinstance(temperature, int | float) and not isinstance(temperature, bool)
    if not fine or not math.isfinite(temperature) or temperature <= 0:
        raise UserError(
            f"temperature must be a number above 0, found {temperature!r}. 1 leaves the "
            "probabilities as they are; more makes them softer."
        )
    return temperature
