"""Which data sets of a mixture were starved: fewer than one batch in a hundred, or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from polytask.errors import some

LEAST = 0.01
"""The share of an epoch's batches below which a data set counts as starved."""


class Starved:
    """Epochs in which a data set hardly came, though it was not left out on purpose."""

    def __init__(self) -> None:
        self.epochs: dict[str, list[int]] = {}
        self.batches: dict[str, int] = {}
        """Of those epochs, together."""
        self._left_out: set[str] = set()

    def begin(self) -> None:
        """A new epoch."""
        self._left_out.clear()

    def rested(self, names: Iterable[str], active: Sequence[str]) -> None:
        """Told at every step which data sets may be drawn."""
        self._left_out.update(set(names).difference(active))

    def close(self, epoch: int, drawn: Mapping[str, int]) -> None:
        """The epoch has ended with so many batches of each."""
        total = sum(drawn.values())
        for name, batches in drawn.items():
            if name not in self._left_out and batches < LEAST * total:
                self.epochs.setdefault(name, []).append(epoch)
                self.batches[name] = self.batches.get(name, 0) + batches

    def remarks(self, rows: Mapping[str, int | None], schedule: str) -> list[str]:
        """One sentence for each starved data set."""
        found = []
        for name, epochs in self.epochs.items():
            batches = self.batches[name]
            seen = (
                f"{batches} of the batches were its" if batches else "none of the batches was its"
            )
            of = f", which has {rows[name]:,} rows," if rows.get(name) is not None else ""
            found.append(
                f"the data set of {name!r}{of} was starved: {seen} in "
                f"{'epoch' if len(epochs) == 1 else 'epochs'} {some(epochs, 40)} (less than 1 % "
                f"under schedule {schedule}). Draw small data sets more often, as 'temperature' "
                "with a small alpha does, or make epochs longer."
            )
        return found

    def state_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "epochs": {name: list(known) for name, known in self.epochs.items()},
            "batches": dict(self.batches),
            "left_out": sorted(self._left_out),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.epochs = {name: list(known) for name, known in state["epochs"].items()}
        self.batches = dict(state["batches"])
        self._left_out = set(state["left_out"])
