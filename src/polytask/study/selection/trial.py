"""The trial of a screen: a training in which a bandit chooses who trains along, in short rounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from polytask.data import Batches, Dataset
from polytask.study.folder import read_json
from polytask.study.unit import EncoderMaker, build, make_trainer, prepare
from polytask.training import TaskBandit
from polytask.training.task_bandit import FILE


class Rounds:
    """Batches cut into pieces of `steps` of them, each an epoch to the Trainer: many short rounds.

    The pieces follow one another through the passes over the rows, which the batches shuffle as
    ever.
    """

    def __init__(self, batches: Batches, steps: int) -> None:
        self.batches = batches
        self.steps = steps
        self._round = 1

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        step = (self._round - 1) * self.steps
        end = step + self.steps
        while step < end:
            done, place = divmod(step, len(self.batches))
            where = {"seed": self.batches.seed, "epoch": done + 1, "position": place}
            self.batches.load_state_dict(where)
            for batch in islice(self.batches, end - step):
                step += 1
                yield batch

    def set_epoch(self, epoch: int) -> None:
        """Begin round `epoch`, from 1, with the next iteration."""
        self._round = epoch

    def fingerprint(self) -> str:
        """A hash of the rows and of how they are cut."""
        return f"{self.batches.fingerprint()} {self.steps}"


def trial(
    config: Mapping[str, Any],
    dataset: Dataset,
    folder: Path,
    make_encoder: EncoderMaker | None = None,
) -> dict[str, Any]:
    """Train for "epochs" passes in "rounds" rounds; the bandit's record is under "bandit".

    Nothing decays: the record is of the whole trial. A helper counts by whether the main task's
    validation score was at least as good after a round with it as before.
    """
    prepared = prepare(config, dataset)
    size = config["batch_size"]
    batches = prepared.batches("train", size, shuffle=True, seed=config["seed"])
    rounds = config["rounds"]
    steps = max(1, config["epochs"] * len(batches) // rounds)
    bandit = TaskBandit(main=config["main"], decay=0.0)
    trainer = make_trainer(
        config,
        prepared,
        build(config, prepared, make_encoder),
        epochs=rounds,
        lr=config["lr"],
        select=config["select"],
        callbacks=[bandit],
        out=folder,
        resume="finished",
        config={"unit": folder.name},
        patience=None,
        **config.get("how", {}),
    )
    trainer.fit(Rounds(batches, steps), prepared.judging("val", size))
    # From the file: a finished training that is only read again plays no rounds.
    return {"bandit": read_json(folder / FILE), "steps": steps}
