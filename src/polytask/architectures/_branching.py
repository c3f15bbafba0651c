"""How many copies of its stages a tree is expected to need when its branches are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def expected_copies(choices: Sequence[Tensor]) -> Tensor:
    """How many candidates of each stage are used on average, [stages], when choices are drawn.

    `choices[l]`, [readers, candidates], holds for every reader of stage l the probability of each
    candidate; its rows sum to 1. Readers of the last stage are the tasks, those of another the
    candidates of the next one. All choose independently; a candidate is used when a used one, or
    a task, has chosen it. Exact, by counting over the sets of candidates that may be in use:
    4 ** candidates numbers a stage. Gradients flow to the probabilities.
    """
    used: list[Tensor] = []
    in_use: Tensor | None = None  # probability of every set of readers; None: all of them
    for choice in reversed(choices):
        candidates = choice.shape[1]
        sets = _sets(candidates, choice)
        chosen_within = choice @ sets.T  # [readers, sets]: the reader's choice is in the set
        if in_use is None:
            inside = chosen_within.prod(dim=0)
        else:
            reader_in = _sets(len(choice), choice)[:, :, None] > 0
            each = torch.where(reader_in, chosen_within, torch.ones_like(chosen_within))
            inside = in_use @ each.prod(dim=1)
        # inside[S] = P(all candidates in use are in S): without k, that k is not in use.
        without = [2**candidates - 1 - 2**k for k in range(candidates)]
        used.append((1 - inside[without]).sum())
        in_use = _signs(sets) @ inside
    return torch.stack(used[::-1])


def _sets(count: int, like: Tensor) -> Tensor:
    """All sets of `count` things, [2 ** count, count], 1 for what is in the set."""
    numbers = torch.arange(2**count, device=like.device)
    bits = (numbers[:, None] >> torch.arange(count, device=like.device)) & 1
    return bits.to(like.dtype)


def _signs(sets: Tensor) -> Tensor:
    """From P(in use is within S) to P(in use is S), by inclusion and exclusion, [sets, sets]."""
    size = sets.sum(dim=1)
    subset = (sets[:, None] >= sets).all(dim=2)
    odd = (size[:, None] - size) % 2
    return torch.where(subset, 1 - 2 * odd, torch.zeros_like(odd))
