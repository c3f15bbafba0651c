"""Metrics of one task: accumulated in batches over labelled items, undefined rather than wrong.

A metric is a word of `list_metrics()` or a `Metric(name, direction, function)` of your own.
`Metric.fresh(task)` gives an accumulator whose `update(output, target)` takes a batch and whose
`compute()` answers a float in the target's own units, or an `Undefined` with its reason.
Any way of cutting the same items into batches gives the same answer.
Of several trade-offs between tasks: `non_dominated`, `hypervolume`, `igd`.
"""

from polytask.metrics._metric import Accumulator, Metric, Subject, find_metric, list_metrics
from polytask.metrics._undefined import Undefined
from polytask.metrics.front import hypervolume, igd, non_dominated

__all__ = [
    "Accumulator",
    "Metric",
    "Subject",
    "Undefined",
    "find_metric",
    "hypervolume",
    "igd",
    "list_metrics",
    "non_dominated",
]
