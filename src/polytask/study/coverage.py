"""What the intervals of a study cover, in words."""

from __future__ import annotations

from polytask.study.statistics import VERDICT_SEEDS


def coverage(seeds: int, redrawn: bool, seen: str = "") -> list[str]:
    """Sentences on the intervals over so many paired seeds.

    Args:
        seeds: how many there are.
        redrawn: whether every seed draws its own test part.
        seen: then, a sentence on what was decided with rows that other seeds are judged on.
    """
    if seeds < 2:
        said = ["One seed gives no interval."]
    elif redrawn:
        said = [
            "Every seed draws its own split; 95 % paired t-intervals with the correction of "
            "Nadeau and Bengio for overlapping splits."
        ]
        said += [seen] if seen else []
    else:
        said = [
            "The test set is the same for all seeds: 95 % paired t-intervals cover initial weights "
            "and order of batches, not the choice of test rows."
        ]
    if seeds < VERDICT_SEEDS:
        said.append(f"Fewer than {VERDICT_SEEDS} seeds: leanings only.")
    return said
