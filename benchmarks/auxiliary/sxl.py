"""Do Moran helper tasks improve spatial prediction and generation, and beat interpolation?

`python -m benchmarks.auxiliary.sxl [houses] [elevation] [generation]` runs these parts, all of
them when none is named, and writes `benchmarks/results/auxiliary_sxl.md` from every part that has
been run. Scores are kept in `runs/auxiliary_sxl` seed by seed: what is finished is not repeated.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.auxiliary import sxl_elevation, sxl_houses
from benchmarks.tables import keep, markdown
from polytask.study.statistics import holm, paired_interval, spread

OUT = Path("runs/auxiliary_sxl")
SEEDS = 5
SPLITS = ("random", "spatial")
UNITS = ("tile", "common")
INTRODUCTION = """# Moran helper tasks (SXL)

Made by `python -m benchmarks.auxiliary.sxl`. Mean ± standard deviation over 5 seeds; smaller is
better except where said. A network with a helper has its weight λ chosen on validation from 0.01,
0.1 and 1; one without has as many tries, from different first weights, chosen likewise. Below
each table: the difference of two rows of one seed, its 95 % interval, and p after Holm's
correction within the table; 'no difference shown' means p of at least 0.05.
"""


@dataclass(frozen=True)
class Part:
    """One table: its text, what it measures, and the pairs of rows to compare."""

    text: str
    columns: tuple[str, ...]
    run: Callable[[int], Iterable[tuple[str, Any]]]
    pairs: tuple[tuple[str, str], ...]
    """(first, second): is the first smaller? In the first column."""


def _houses(split: str) -> Part:
    where = {
        "random": "Test houses are drawn at random, so most have training houses next door.",
        "spatial": "Test houses lie in squares of the map of their own (`split='spatial'`).",
    }[split]
    rows = sxl_houses.ROWS
    return Part(
        f"## Houses, {split} split\n\nLog sale price in Lucas County: {rows['train']} training, "
        f"{rows['val']} validation and {rows['test']} test houses, drawn anew for each seed. "
        f"{where} The helper `local_moran` is made of the training prices (8 nearest training "
        "neighbours). Interpolation sees places and training prices; its settings are chosen on "
        "validation.",
        ("RMSE",),
        lambda seed: sxl_houses.houses(seed, split),
        (
            ("MLP on places + Moran", "MLP on places"),
            ("MLP on places and house + Moran", "MLP on places and house"),
            ("MLP on places + Moran", "ordinary kriging"),
            ("MLP on places + Moran", "inverse distances"),
            ("MLP on places and house + Moran", "ordinary kriging"),
        ),
    )


def _elevation(unit: str) -> Part:
    scaled = {
        "tile": "divided by their own deviation (the median tile's where a tile is flatter)",
        "common": "divided by one deviation for all tiles",
    }[unit]

    def run(seed: int) -> Iterable[tuple[str, Any]]:
        if seed == 0:
            yield from sxl_elevation.interpolated()
        yield from sxl_elevation.filled_in(seed, unit)

    rows = sxl_elevation.ROWS
    return Part(
        f"## Elevation, 8 x 8 to 32 x 32, unit: {unit}\n\nTiles of the Earth that are all land; "
        f"every {sxl_elevation.SCALE}th row and column is known. {rows['train']} training and "
        f"{rows['val']} validation tiles drawn for each seed, all 335 test tiles of other "
        "longitudes. The networks are the published ones for four times the size. Tiles enter "
        f"less the mean of their known cells, {scaled}. Both units are shown: which one to take "
        "was not settled before test errors had been seen, and the answers differ.",
        ("RMSE in metres",),
        run,
        (
            ("CNN + Moran", "CNN"),
            ("CNN + Moran at 3 levels", "CNN"),
            ("CNN", "bicubic on the grid"),
            ("CNN + Moran", "bicubic on the grid"),
            ("CNN + Moran at 3 levels", "bicubic on the grid"),
        ),
    )


PARTS: dict[str, dict[str, Part]] = {
    "houses": {f"houses_{split}": _houses(split) for split in SPLITS},
    "elevation": {f"elevation_{unit}": _elevation(unit) for unit in UNITS},
    "generation": {
        "generation": Part(
            "## Elevation, generated\n\n32 x 32 fields of elevation, each brought to [-1, 1]: a "
            f"small convolutional GAN (width {sxl_elevation.GAN['width']}, "
            f"{sxl_elevation.EPOCHS} epochs on all training tiles), λ = 0.1 as in the published "
            "example. Judged against the 335 test tiles: MMD² (unbiased, RBF kernel of median "
            "width) and the error of a 1-nearest-neighbour classifier that tells them from real "
            "ones (larger is better, at most 0.5). A short training on a small network: what it "
            "compares is the speed at which the variants improve.",
            ("MMD²", "1-NN error"),
            sxl_elevation.generated,
            tuple((name, "GAN") for name in list(sxl_elevation.VARIANTS)[1:]),
        )
    },
}


def main() -> None:
    """Run the parts that are named and write the tables of all that have been run."""
    chosen = sys.argv[1:] or list(PARTS)
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        sys.exit(f"unknown part {', '.join(unknown)}; known: {', '.join(PARTS)}")
    for name in chosen:
        for table, part in PARTS[name].items():
            for seed in range(SEEDS):
                _scores(table, part, seed)
    tables = [
        _section(part, found)
        for parts in PARTS.values()
        for table, part in parts.items()
        if (found := [s for seed in range(SEEDS) if (s := _read(table, seed)) is not None])
    ]
    keep("auxiliary_sxl", "\n".join([INTRODUCTION, *tables]))


def _scores(table: str, part: Part, seed: int) -> None:
    """Scores by row of one seed, computed unless they are on disk."""
    if _read(table, seed) is not None:
        return
    found = {}
    for row, score in part.run(seed):
        print(f"{table}, seed {seed}: {row} {score}", flush=True)
        found[row] = list(score) if isinstance(score, tuple) else score
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{table}_{seed}.json").write_text(json.dumps(found), encoding="utf-8")


def _read(table: str, seed: int) -> dict[str, Any] | None:
    file = OUT / f"{table}_{seed}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def _section(part: Part, found: Sequence[Mapping[str, Any]]) -> str:
    """Text, table, comparisons and failures."""
    names = list(dict.fromkeys(name for seed in found for name in seed))
    rows, failures = [], []
    for name in names:
        rows.append([name, *(_cell(_values(found, name, i)) for i in range(len(part.columns)))])
        wrong = [s[name] for s in found if isinstance(s.get(name), str)]
        failures += [f"- {name} failed on {len(wrong)} seeds: {wrong[0]}"] if wrong else []
    compared = []
    for first, second in part.pairs:
        ours, theirs = _values(found, first), _values(found, second)
        # What needs no seed was scored once.
        theirs = theirs * len(ours) if len(theirs) == 1 else theirs
        if len(ours) == len(theirs):
            gap = paired_interval([a - b for a, b in zip(ours, theirs, strict=True)])
            compared.append((first, second, gap))
    adjusted = holm([gap.p for _, _, gap in compared])
    lines = [
        f"- {first} less {second}: {_difference(gap)}, {_verdict(gap.mean, p)}"
        for (first, second, gap), p in zip(compared, adjusted, strict=True)
    ]
    table = markdown(["method", *part.columns], rows)
    return "\n\n".join([part.text, table, "\n".join(lines + failures)]) + "\n"


def _values(found: Iterable[Mapping[str, Any]], name: str, column: int = 0) -> list[float]:
    scores = [seed[name] for seed in found if not isinstance(seed.get(name, ""), str)]
    return [score[column] if isinstance(score, list) else score for score in scores]


def _cell(values: Sequence[float]) -> str:
    mean, deviation = spread(values)
    if mean is None:
        return "failed"
    digits = max(0, 3 - math.floor(math.log10(max(abs(mean), 1e-3))))
    once = f"{mean:.{digits}f}"
    return once if deviation is None else f"{once} ± {deviation:.{digits}f}"


def _difference(gap: Any) -> str:
    if gap.low is None:
        return f"{gap.mean:+.4g} (one seed)"
    return f"{gap.mean:+.4g} ({gap.low:+.4g} to {gap.high:+.4g})"


def _verdict(mean: float | None, p: float | None) -> str:
    if mean is None or p is None or p >= 0.05:
        return "no difference shown" + ("" if p is None else f" (p = {p:.2g})")
    return f"{'better' if mean < 0 else 'worse'} (p = {p:.2g})"


if __name__ == "__main__":
    main()
