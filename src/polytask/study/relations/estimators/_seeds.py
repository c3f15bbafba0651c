"""One table of affinities from those of several seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polytask.relationships import Affinity

SEEDS = 3
"""Seeds from which their spread says more than nothing."""


def over_seeds(tables: Sequence[Affinity]) -> Affinity:
    """The mean of one table a seed; undefined where it is for one of them.

    Its errors are those of the rows; from three seeds on that of the seeds' spread, where it is
    larger.
    """
    if len(tables) == 1:
        return tables[0]
    count = len(tables)
    values = np.stack([table.values for table in tables])
    given = [table.standard_errors for table in tables]
    errors = np.stack([np.full_like(values[0], np.nan) if e is None else e for e in given])
    error = np.sqrt((errors**2).sum(0)) / count
    if count >= SEEDS:
        error = np.fmax(error, values.std(0, ddof=1) / np.sqrt(count))
    measured = f"{tables[0].measured}, mean of {count} seeds"
    return Affinity(tables[0].tasks, values.mean(0), error, measured)
