"""Losses combined into one by a small monotone network, kept and learned by task name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from polytask.optimization.learned import adam_step, in_first_units
from polytask.optimization.state import NamedState

STEPS = 4.0
"""The first sum of the losses, in units of s: how far a fresh hidden unit's input moves."""


@dataclass(frozen=True)
class Combiner:
    """h(L) = sum_t w_t L_t + s sum_j v_j softplus(sum_t u_jt L_t / s + b_j), with w, u, v >= 0.

    Without hidden units (H = 0) it is linear. Monotone: no loss can be lowered to make h larger.
    """

    weights: Tensor
    """w, shape [T]."""
    inputs: Tensor
    """u, shape [H, T]."""
    biases: Tensor
    """b, shape [H]."""
    outputs: Tensor
    """v, shape [H]."""
    unit: Tensor
    """s, a constant of the run that takes the losses' unit off; a scalar."""

    def __call__(self, losses: Tensor) -> Tensor:
        """h, a scalar with the graph of the losses, shape [T]."""
        height = torch.nn.functional.softplus(self._inside(losses))
        curved = self.unit.to(losses) * (self.outputs.to(losses) * height).sum()
        return (self.weights.to(losses) * losses).sum() + curved

    def slopes(self, losses: Tensor) -> Tensor:
        """dh / dL_t, shape [T]; never negative."""
        on = torch.sigmoid(self._inside(losses)) * self.outputs.to(losses)
        return self.weights.to(losses) + on @ self.inputs.to(losses)

    def _inside(self, losses: Tensor) -> Tensor:
        return self.inputs.to(losses) @ losses / self.unit.to(losses) + self.biases.to(losses)


def recall(
    state: NamedState, tasks: Sequence[str], losses: Tensor, hidden: int, initial: float
) -> Combiner:
    """The combiner of the present tasks, from the table; tasks seen first get their entries.

    It starts linear (v = 0); the hidden units turn on at different heights of the losses.
    """
    units = [str(j) for j in range(hidden)]
    first_weight = torch.tensor(initial, dtype=torch.float64)
    for j, unit in enumerate(units):
        start = torch.tensor(-STEPS * (j + 1) / (hidden + 1))
        state.table.setdefault(("bias", unit), start)
    total = losses.abs().sum()
    if hidden and not state.has("unit") and bool(total > 0) and bool(torch.isfinite(total)):
        state.table["unit", ""] = total / STEPS
    inputs = [state.entry(f"input{unit}", tasks, 1.0, losses) for unit in units]
    none = losses.new_zeros(0)
    return Combiner(
        weights=state.entry("weight", tasks, first_weight.clone, losses),
        inputs=torch.stack(inputs) if units else losses.new_zeros(0, len(tasks)),
        biases=state.entry("bias", units, 0.0, losses) if units else none,
        outputs=state.entry("output", units, 0.0, losses) if units else none,
        unit=state.table.get(("unit", ""), losses.new_ones(())).to(losses),
    )


def learn(
    state: NamedState,
    combiner: Combiner,
    tasks: Sequence[str],
    fixed: int | None,
    losses: Tensor,
    products: Tensor,
    lr: float,
    clip: float,
) -> None:
    """One Adam step on the entries, along the implicit gradient -d/dphi sum_t <p, g_t> dh/dL_t.

    Args:
        state: holds the entries.
        combiner: what `recall` gave for these tasks.
        tasks: the present tasks.
        fixed: row of the task whose w stays, if any.
        losses: shape [T].
        products: <p, g_t>, shape [T].
        lr: of Adam.
        clip: largest norm of the gradient in units of its first mean size; 0 for none.
    """
    words = ("weights", "inputs", "biases", "outputs")
    leaves = {word: getattr(combiner, word).detach().requires_grad_() for word in words}
    with torch.enable_grad():
        along = -(replace(combiner, **leaves).slopes(losses) @ products)
        weights, inputs, biases, outputs = torch.autograd.grad(
            along, list(leaves.values()), materialize_grads=True
        )
    free = [i for i in range(len(tasks)) if i != fixed]
    units = [str(j) for j in range(len(biases))]
    parts = [("weight", [tasks[i] for i in free], weights[free])]
    parts += [(f"input{unit}", list(tasks), row) for unit, row in zip(units, inputs, strict=True)]
    parts += [("bias", units, biases), ("output", units, outputs)]
    parts = [(name, keys, slope) for name, keys, slope in parts if keys]
    if not parts:
        return
    whole = in_first_units(state, "phi", torch.cat([slope for _, _, slope in parts]))
    size = float(whole.norm())
    if 0 < clip < size:
        whole = whole * (clip / size)
    sizes = [len(keys) for _, keys, _ in parts]
    for (name, keys, _), slope in zip(parts, whole.split(sizes), strict=True):
        adam_step(state, name, keys, slope, lr)
        if name != "bias":
            state.store(name, keys, state.entry(name, keys, 0.0, slope).clamp_min(0))
