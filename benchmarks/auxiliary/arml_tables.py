"""The tables of the trial of ARML, and what they say of its claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.auxiliary.arml_data import SHUFFLED, Setting
from benchmarks.paired import Difference, compared, counted, said, written
from benchmarks.tables import markdown
from polytask.study.statistics import paired_interval, spread

UNIFORM, GRID = "equal weights", "grid search"
WITHOUT = f"equal, without {SHUFFLED}"
ARML = "arml, qp"
NEAR_ZERO = 0.1
"""Against 1 for the main task."""
Fits = dict[str, dict[str, Any]]
"""Of one seed: by method, the training that validation chose."""


def section(setting: Setting, seeds: Sequence[Fits]) -> str:
    """Everything about one data set."""
    others = "" if len(setting.batch) < 3 else f" and {setting.batch[2]} that a helper added"
    return "\n\n".join(
        [
            f"## {setting.name}",
            f"{len(seeds)} seeds; {setting.labelled} of {setting.pool} training rows have a label "
            f"of the main task ({setting.main}), {setting.val} rows for validation, {setting.test} "
            f"for the test. {setting.epochs} epochs of {setting.steps} batches of "
            f"{setting.batch[0]} labelled rows, {setting.batch[1]} unlabelled ones{others}; "
            f"encoder {_encoder(setting)}; rates {_listed(setting.rates)}. "
            f"Grid of {len(setting.constants())}: {_grid(setting)}.",
            _scores(setting, seeds),
            f"Mean weight over the training against the main task's, by seed, and in how many "
            f"seeds {SHUFFLED} has the least of all. Below: gradients of the batches on the way of "
            f"`{ARML}`, means over all steps.",
            _weights(setting, seeds),
            "\n".join(f"- {sentence}" for sentence in findings(setting, seeds)),
        ]
    )


def _scores(setting: Setting, seeds: Sequence[Fits]) -> str:
    """One line a method: test error and loss, differences from equal weights and the grid's."""
    against = {other: _against(seeds, other) for other in (UNIFORM, GRID)}
    rows = []
    for name in seeds[0]:
        mean, sd = spread([fits[name]["wrong"] for fits in seeds])
        loss, _ = spread([fits[name]["loss"] for fits in seeds])
        cells = [said(*found[name]) if name in found else "" for found in against.values()]
        rows.append([name, f"{mean:.2f} ± {sd or 0:.2f}", f"{loss:.3f}", *cells])
    header = ["method", setting.measure, "test loss", f"- {UNIFORM}", f"- {GRID}"]
    return markdown(header, rows)


def _weights(setting: Setting, seeds: Sequence[Fits]) -> str:
    """One line a method that weighs, and two of the geometry."""
    rows = []
    for name in seeds[0]:
        least = sum(_least(fits[name]["weights"]) == SHUFFLED for fits in seeds)
        cells = [f"{_mean(seeds, name, 'weights', helper):.2f}" for helper in setting.helpers]
        rows.append([name, *cells, f"{least} of {len(seeds)}"])
    for what, title, form in (
        ("cosine", "cosine with the main gradient", "+.2f"),
        ("length", "length, main = 1", ".2f"),
    ):
        cells = [f"{_mean(seeds, ARML, what, helper):{form}}" for helper in setting.helpers]
        rows.append([title, *cells, ""])
    return markdown(["method", *setting.helpers, f"{SHUFFLED} least"], rows)


def summary(every: Mapping[str, Sequence[Fits]]) -> str:
    """The three parts of the claim, each by data set."""
    beats, near, zero = [], [], []
    for name, seeds in every.items():
        uniform, grid = _against(seeds, UNIFORM), _against(seeds, GRID)
        beats.append(f"{name} {said(*uniform[ARML])}")
        near.append(f"{name} {said(*grid[ARML])} (the grid's gain: {said(*uniform[GRID])})")
        harm = f"equal weights without it: {said(*uniform[WITHOUT])}"
        zero.append(f"{name} {_fate(seeds, ARML)} ({harm})")
    return (
        "The claim, by data set:\n\n"
        f"- *Learned weights beat equal ones.* `{ARML}` against {UNIFORM}: {'; '.join(beats)}.\n"
        f"- *They come close to grid search.* `{ARML}` against it: {'; '.join(near)}.\n"
        f"- *Harmful helpers go to zero.* The weight of {SHUFFLED}: {'; '.join(zero)}."
    )


def findings(setting: Setting, seeds: Sequence[Fits]) -> list[str]:
    """What the numbers say, in sentences."""
    uniform, grid = _against(seeds, UNIFORM), _against(seeds, GRID)
    methods = [name for name in uniform if name != GRID]
    told = counted({name: uniform[name] for name in methods})
    forms = [name for name in methods if name.startswith("arml")]
    noise = [f"`{name}` {_fate(seeds, name)}" for name in forms]
    return [
        f"Against {UNIFORM}: {told}. Grid search: {said(*uniform[GRID])}.",
        *(
            f"`{name}`: {said(*uniform[name])} against {UNIFORM}, {said(*grid[name])} against "
            "grid search."
            for name in forms
        ),
        f"The weight of {SHUFFLED}, 1 with {UNIFORM}: {'; '.join(noise)}.",
        _mass(setting, seeds),
    ]


def _fate(seeds: Sequence[Fits], name: str) -> str:
    """What became of the weight of the helper that is noise, by its interval over the seeds."""
    found = paired_interval([fits[name]["weights"][SHUFFLED] for fits in seeds])
    if found.high is not None and found.high < NEAR_ZERO:
        fate = "goes to zero"
    elif found.high is not None and found.high < 1:
        fate = "goes down, not to zero"
    elif found.low is not None and found.low > 1:
        fate = "goes up"
    else:
        fate = "is not told apart from 1"
    least = sum(_least(fits[name]["weights"]) == SHUFFLED for fits in seeds)
    return f"{fate}, {written(found, '.2f')}, the least in {least} of {len(seeds)} seeds"


def _mass(setting: Setting, seeds: Sequence[Fits]) -> str:
    """Who holds the weight, and how its gradient lies."""

    def told(helper: str) -> str:
        weight, cosine, length = (
            _mean(seeds, ARML, word, helper) for word in ("weights", "cosine", "length")
        )
        return f"{helper} ({weight:.2f}; cosine {cosine:+.2f}, length {length:.2f})"

    order = sorted(setting.helpers, key=lambda helper: _mean(seeds, ARML, "weights", helper))
    nearest = max(setting.helpers, key=lambda helper: _mean(seeds, ARML, "cosine", helper))
    shortest = min(setting.helpers, key=lambda helper: _mean(seeds, ARML, "length", helper))
    named = [
        what
        for what, helper in (("nearest in direction", nearest), ("shortest", shortest))
        if helper == order[-1]
    ]
    which = f"the {' and the '.join(named)}" if named else "neither the nearest nor the shortest"
    return (
        f"The weights of `{ARML}` sum to {len(order)} whatever helps. The most is held by "
        f"{told(order[-1])}, whose gradient is {which}; the least by {told(order[0])}."
    )


def _against(seeds: Sequence[Fits], other: str) -> dict[str, Difference]:
    """Paired differences of the test error from that of another method."""
    return compared([{name: fit["wrong"] for name, fit in fits.items()} for fits in seeds], other)


def _mean(seeds: Sequence[Fits], name: str, what: str, helper: str) -> float:
    return sum(float(fits[name][what][helper]) for fits in seeds) / len(seeds)


def _least(weights: dict[str, float]) -> str | None:
    """The helper with the least weight, where it is one alone."""
    lowest = [name for name, weight in weights.items() if weight == min(weights.values())]
    return lowest[0] if len(lowest) == 1 else None


def _grid(setting: Setting) -> str:
    return ", ".join(
        f"{' and '.join(group)} in {{{_listed(tried)}}}" for group, tried in setting.grid
    )


def _encoder(setting: Setting) -> str:
    name, options = setting.encoder
    return " ".join([name, *(f"{word}={value}" for word, value in options.items())])


def _listed(values: Sequence[object]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
