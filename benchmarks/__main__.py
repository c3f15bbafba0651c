"""`python -m benchmarks [NAME ...]`: run the programs and print where their tables are."""

from __future__ import annotations

import runpy
import sys

PROGRAMS = {
    "step_cost": "benchmarks.step_cost.run",
    "solvers": "benchmarks.step_cost.solvers",
    "statistics": "benchmarks.statistics.run",
    "architectures": "benchmarks.architectures.run",
    "distillation": "benchmarks.distillation.bam",
    "missing_labels": "benchmarks.missing_labels.run",
    "schedules": "benchmarks.schedules.run",
    "arml": "benchmarks.auxiliary.arml",
    "hydalearn": "benchmarks.auxiliary.hydalearn",
    "selection": "benchmarks.auxiliary.selection",
    "sxl": "benchmarks.auxiliary.sxl",
    "grouping": "benchmarks.relationships.grouping",
    "affinity_cost": "benchmarks.relationships.cost",
    "estimators": "benchmarks.relationships.estimators",
    "scales": "benchmarks.scales.run",
}


def main() -> None:
    """Run the named programs, or all of them, one after the other."""
    chosen = sys.argv[1:] or list(PROGRAMS)
    unknown = [name for name in chosen if name not in PROGRAMS]
    if unknown:
        sys.exit(f"unknown benchmark {', '.join(unknown)}; known: {', '.join(PROGRAMS)}")
    sys.argv = sys.argv[:1]
    for name in chosen:
        runpy.run_module(PROGRAMS[name], run_name="__main__")


if __name__ == "__main__":
    main()
