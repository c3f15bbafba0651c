"""How far tasks' gradients agree or fight, from recorded products of independent half batches.

The cosine of two gradients of one small batch says little: noise that no other batch repeats
makes both vectors long, so the cosine shrinks towards 0, and rows that both tasks share make the
noise itself agree. Products of two disjoint halves of a batch have neither fault: their mean is
the product of the full data's gradients, for a task with itself too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from polytask.errors import UserError, count
from polytask.relationships._sums import Array, Sums, Whole, read_steps
from polytask.relationships.affinity import Affinity

FEWEST = 8
"""Recorded steps that a pair of tasks needs."""
FEWEST_BLOCKS = 4
"""Blocks that these steps must lie in."""
FEWEST_SEEDS = 3
"""Seeds from which their spread says more than nothing."""
CLEAR = 2.0
"""Standard errors by which a task's squared gradient must exceed 0, or no cosine is formed."""
NORMAL = 1.959963984540054  # the 97.5 % quantile


@dataclass(frozen=True)
class Conflict:
    """Cosines of all pairs of T tasks; what is undefined is NaN and has its reason."""

    tasks: tuple[str, ...]
    statistic: str
    cosine: Array
    """[T, T], within [-1, 1]; 1 on the diagonal."""
    standard_error: Array
    """[T, T]; 0 on the diagonal."""
    null: Array
    """[T, T]: what 95 % of pairs with unrelated gradients, and this noise, would stay below."""
    groups: Whole
    """[T, T]: independent groups behind the error, blocks or seeds; freedom is one less."""
    counts: Whole
    """[T, T]: recorded steps that measured both tasks."""
    samples: int
    """Recorded steps of all seeds."""
    seeds: int
    blocks: int
    reasons: dict[tuple[int, int], str] = field(default_factory=dict)
    """Why an entry is undefined, by its place."""

    def to_dict(self) -> dict[str, Any]:
        """JSON: numbers, or `{"undefined": reason}`."""

        def table(values: Array | Whole) -> list[list[Any]]:
            return [
                [
                    {"undefined": self.reasons[i, j]} if (i, j) in self.reasons else value
                    for j, value in enumerate(row)
                ]
                for i, row in enumerate(values.tolist())
            ]

        return {
            "statistic": self.statistic,
            "tasks": list(self.tasks),
            "cosine": table(self.cosine),
            "standard_error": table(self.standard_error),
            "null": table(self.null),
            "groups": table(self.groups),
            "samples": self.samples,
            "seeds": self.seeds,
            "blocks": self.blocks,
        }

    def to_affinity(self) -> Affinity:
        """The cosines as a symmetric `Affinity`: 0 is unrelated, NaN undefined, 1 the diagonal."""
        return Affinity(
            self.tasks,
            self.cosine,
            self.standard_error,
            f"cosine of the full data's gradients ({self.statistic}), "
            f"{count(self.samples, 'step')} of {count(self.seeds, 'seed')}",
        )


def estimate(records: Sequence[Mapping[str, Any]]) -> Conflict:
    """Cosines between the full-data gradients of tasks, with their errors and null levels.

    With x_ij = G_ij / (n_i n_j) of every recorded step (G the full data's Gramian as two halves of
    the batch tell it, n the norms), the cosine is mean x_ij / sqrt(mean x_ii mean x_jj), over the
    steps that measured both tasks, of all seeds together. A ratio of means is not made smaller
    by the noise of batches, as a mean of cosines is. Dividing by the norms lets every step count
    alike, though gradients shrink in training. Norms also vary from step to step by chance; so
    that this does not shrink the cosine either, x_ii and x_jj are taken with the weight of x_ij:
    x_ii r and x_jj / r, where r is n_i / n_j over its usual value, that of the medians in a
    block (at most 4 or 1/4, lest one step with hardly any gradient count for all).

    **Standard error**: the delete-one-block jackknife for blocks of unequal size (Busing, Meijer
    and van der Leeden 1999, doi:10.1023/A:1008800423698). A block is a run of consecutive
    recorded steps of one seed, of which there are up to 15 a seed; none spans two seeds. What
    differs between the stages of a training is part of it. Networks of several seeds may differ
    by more than their blocks tell, since each has directions of its own in which its tasks meet:
    from three seeds on, the same jackknife with whole seeds for blocks is taken where it gives the
    larger error. With one or two, errors and levels are about those networks alone.

    The cosine plus or minus the error times the 97.5 % quantile of Student's t, with one degree
    of freedom less than the blocks (or seeds) behind it, `groups`, holds the truth in about 95 of
    100 cases.

    **Null level**: that quantile times the standard error of mean x_ij, from blocks or from seeds
    as above, over sqrt(mean x_ii mean x_jj). The cosine of an unrelated pair lies above it in one
    case of 20, and from three seeds on in fewer where seeds do not differ. The error is that of
    block sums about their mean. Flipping the signs of whole block sums at random tests the same
    hypothesis, but the signal of a pair that does agree would raise its own level (0.45 in place
    of 0.1 for a cosine of 0.9 in 15 blocks), and so hide from the reader what noise can do.

    **Undefined**: a pair measured in fewer than 8 steps or 4 blocks; a task whose mean x_ii is not
    2 standard errors above 0, because a cosine with noise says nothing; two tasks of which every
    product is exactly 0, because they share no parameter that was read. Where a task's gradient
    only just stands out, errors are large, and the cosine may err towards that of the noise.

    Args:
        records: what `polytask.training.ConflictRecorder.record` gave, one a seed: "tasks",
            "statistic", "products" (for each recorded step the upper triangle of x with its
            diagonal, row by row) and "norms" (the n_i), None where a task was not measured.

    Raises:
        UserError: no record, or records of different tasks or statistics.
    """
    if not records:
        raise UserError("records: expected at least one record of gradients, found none.")
    kinds = {(tuple(record["tasks"]), record["statistic"]) for record in records}
    if len(kinds) > 1:
        raise UserError(
            "records: expected the same tasks and statistic in all of them, found "
            f"{' and '.join(f'{statistic} of {list(tasks)}' for tasks, statistic in kinds)}."
        )
    tasks, statistic = next(iter(kinds))
    size = len(tasks)
    seeds = [read_steps(r["products"], r["norms"], size) for r in records if r["products"]]
    blocks = [block for seed in seeds for block in seed.blocks()]
    sums = Sums(blocks, size)
    by_seed = Sums(seeds, size) if len(seeds) >= FEWEST_SEEDS else sums
    cosine, within = sums.cosine()
    between = by_seed.cosine()[1]
    error = np.fmax(within, between)
    samples = sum(len(seed.cross) for seed in seeds)
    reasons = _reasons(sums, within, tasks, samples)
    cosine, null = np.clip(cosine, -1.0, 1.0), np.minimum(_level(sums, by_seed), 1.0)
    groups = np.where(between > within, by_seed.groups, sums.groups)
    np.fill_diagonal(groups, sums.groups.diagonal())
    for values, own in ((cosine, 1.0), (error, 0.0), (null, 0.0)):
        np.fill_diagonal(values, own)
        for place in reasons:
            values[place] = np.nan
    return Conflict(
        tasks=tasks,
        statistic=statistic,
        cosine=cosine,
        standard_error=error,
        null=null,
        groups=groups,
        counts=sums.counts.sum(0),
        samples=samples,
        seeds=len(seeds),
        blocks=len(blocks),
        reasons=reasons,
    )


def _level(sums: Sums, by_seed: Sums) -> Array:
    """The null level, from blocks or from seeds, whichever spread more."""
    within, between = sums.error_of(sums.cross), by_seed.error_of(by_seed.cross)
    wide = between > within
    freedom = np.where(wide, by_seed.groups, sums.groups) - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(_student(freedom) * np.where(wide, between, within) / sums.scale())


def _reasons(
    sums: Sums, error: Array, tasks: Sequence[str], samples: int
) -> dict[tuple[int, int], str]:
    """Why a pair has no cosine, by place."""
    counts, clear = sums.counts.sum(0), sums.clear(CLEAR)
    reasons = {}
    for i, j in np.ndindex(counts.shape):
        lost = [tasks[k] for k, fine in ((i, clear[i, j]), (j, clear[j, i])) if not fine]
        if counts[i, j] < FEWEST or sums.groups[i, j] < FEWEST_BLOCKS:
            reasons[i, j] = (
                f"measured in {counts[i, j]} of {samples} recorded steps (a step counts where both "
                f"halves of its batch have labels); {FEWEST} are needed, not all close together"
            )
        elif lost:
            named = " and ".join(map(repr, dict.fromkeys(lost)))
            reasons[i, j] = f"the gradient of {named} does not stand out from noise"
        elif i != j and not np.any(sums.cross[:, i, j]):
            reasons[i, j] = "the two tasks share no parameter that was read"
        elif not math.isfinite(error[i, j]):
            reasons[i, j] = "a few recorded steps decide it, so its error cannot be told"
    return reasons


def _student(freedom: Whole) -> Array:
    """The 97.5 % quantile of Student's t, within 0.2 % (Abramowitz and Stegun 26.7.5)."""
    z, n = NORMAL, np.maximum(freedom, 1).astype(np.float64)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    series = z + sum(term / n ** (k + 1) for k, term in enumerate(terms))
    # The series converges slowly where closed forms are at hand.
    return np.select([n == 1, n == 2], [12.706204736, 4.302652730], series)
