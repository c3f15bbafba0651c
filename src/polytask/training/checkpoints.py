"""Keeps the weights of the epochs that may still be wanted, and no others."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from polytask.files import clear_leftovers, make_folder
from polytask.training._rules import Rule, Scores
from polytask.training._weights import Weights, load_weights, save_weights


class Selector:
    """Follows one rule over the epochs, once per checkpoint name.

    `limits` maps a checkpoint's name to the last epoch it may come from (None: no limit), so
    `{"best": None, "equal_time": 5}` also finds the best of the first five epochs.
    """

    def __init__(self, rule: Rule, limits: Mapping[str, int | None]) -> None:
        self.rule = rule
        self.limits = dict(limits)
        self.epochs: list[Scores] = []
        self.remarks: list[str] = []

    def add(self, scores: Scores) -> None:
        """Take in the next epoch. Raises `UserError` when no epoch so far has a value."""
        self.epochs.append(scores)
        for remark in self.rule.remarks(scores):
            if remark not in self.remarks:
                self.remarks.append(remark)
        if self.rule.best(self.epochs) is None:
            raise self.rule.nothing(scores)

    @property
    def value(self) -> float | None:
        """The newest epoch's value by the rule; None when it is undefined."""
        value = self.rule.values(self.epochs)[-1]
        return value if isinstance(value, float) else None

    def chosen(self) -> dict[str, int]:
        """Checkpoint name -> the epoch that wins it now."""
        found = {name: self.rule.best(self._within(limit)) for name, limit in self.limits.items()}
        return {name: epoch for name, epoch in found.items() if epoch is not None}

    def needed(self) -> set[int]:
        """Epochs whose weights can still become a checkpoint."""
        wanted = set(self.chosen().values())
        newest = self.epochs[-1].epoch if self.epochs else 0
        for limit in self.limits.values():
            if limit is None or newest < limit:
                wanted |= self.rule.alive(self._within(limit))
        return wanted

    def _within(self, limit: int | None) -> list[Scores]:
        return [scores for scores in self.epochs if limit is None or scores.epoch <= limit]


class Keeper:
    """Weights by epoch: in `folder` as safetensors when given, else in CPU memory.

    An epoch that the newest saved state of the training counts on (`protect`) stays until the
    next state is saved: whoever resumes from that state finds it.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._memory: dict[int, Weights] = {}
        self._known: set[int] = set()
        self._protected: set[int] = set()

    def take_up(self) -> None:
        """Go on with the files that an interrupted training left."""
        assert self.folder is not None
        for file in self.folder.glob("epoch-*.safetensors"):
            self._known.add(int(file.stem.removeprefix("epoch-")))

    def protect(self, needed: set[int]) -> None:
        """A state that needs these epochs has been saved; those of older states are free."""
        self._protected = set(needed)
        self.drop_except(needed)

    def keep(self, epoch: int, weights: Weights) -> None:
        """Store a copy of the weights of an epoch."""
        if self.folder:
            make_folder(self.folder)
            save_weights(self._path(epoch), weights)
        else:
            self._memory[epoch] = weights
        self._known.add(epoch)

    def drop_except(self, needed: set[int]) -> None:
        """Forget every epoch outside `needed`, but for the protected ones."""
        for epoch in self._known - needed - self._protected:
            self._memory.pop(epoch, None)
            if self.folder:
                self._path(epoch).unlink(missing_ok=True)
            self._known.discard(epoch)

    def get(self, epoch: int) -> Weights:
        """The weights of an epoch that is kept."""
        return load_weights(self._path(epoch)) if self.folder else self._memory[epoch]

    def clear(self) -> None:
        """Forget everything, files of earlier runs included."""
        self._memory.clear()
        self._known.clear()
        self._protected.clear()
        if self.folder and self.folder.exists():
            clear_leftovers(self.folder)
            for file in self.folder.glob("epoch-*.safetensors"):
                file.unlink()

    def close(self) -> None:
        """Forget everything and remove the folder, unless somebody else put files there."""
        self.clear()
        if self.folder:
            with contextlib.suppress(OSError):
                self.folder.rmdir()

    def _path(self, epoch: int) -> Path:
        assert self.folder is not None
        return self.folder / f"epoch-{epoch:05d}.safetensors"
