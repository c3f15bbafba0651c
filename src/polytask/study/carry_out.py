"""Carrying out a study whose settings are known: probes, runs, analysis, report."""

from __future__ import annotations

import shlex
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from polytask.errors import PolytaskError, UserError, some
from polytask.files import clear_leftovers, make_folder
from polytask.study import setup
from polytask.study.analysis import analyse
from polytask.study.executor import Here, Processes
from polytask.study.facts import fingerprints
from polytask.study.folder import Outcome, finished, read_json, write_json
from polytask.study.forecast import forecast
from polytask.study.joined import Joined, all_stored
from polytask.study.plan import Plan, Unit
from polytask.study.progress import Progress
from polytask.study.result import StudyResult

if TYPE_CHECKING:
    from polytask.data import Dataset
    from polytask.study.settings import Settings

INPUTS = ("numeric", "categorical")
MARK = "fingerprint.json"


class Planned(Protocol):
    """A plan of some kind of study."""

    settings: Settings


P = TypeVar("P", bound=Planned)


@dataclass
class Runs(ABC, Generic[P]):
    """A study whose settings are known and checked: its folder, its runs, its conclusion.

    Subclasses say which runs there are and what they show.
    """

    plan: P
    dataset: Dataset
    facts: dict[str, Any]
    out: Path
    arguments: dict[str, Any]
    deadline: float
    progress: bool
    command: str | None = None

    @abstractmethod
    def total(self) -> int:
        """Runs when none fails, probes included."""

    @abstractmethod
    def done(self, ended: Mapping[str, Outcome]) -> int:
        """How many of these the folder holds already."""

    @abstractmethod
    def carry_out(self, pool: Processes | Here, ended: dict[str, Outcome], shown: Progress) -> None:
        """Carry out what is missing; outcomes are added to `ended`."""

    @abstractmethod
    def analysis(self, ended: Mapping[str, Outcome]) -> dict[str, Any]:
        """What `results.json` holds besides its heading; "verdict" and "complete" at least."""

    def run(self, pool: Processes | Here) -> StudyResult:
        """Run what is missing, then analyse."""
        self._open()
        ended = finished(self.out)
        total = self.total()
        try:
            with Progress(total, min(self.done(ended), total), bar=self.progress) as shown:
                self.carry_out(pool, ended, shown)
        except KeyboardInterrupt as stop:
            self._conclude(ended)
            kept = sum("error" not in o for o in ended.values())
            stop.add_note(
                f"{kept} runs are finished and kept in {self.out}; the same command goes on from "
                "there"
            )
            raise
        except PolytaskError as error:
            kept = sum("error" not in o for o in ended.values())
            raise type(error)(
                f"{error} {kept} runs are finished and kept in {self.out}; then the same command "
                "goes on from there."
            ) from error
        return self._conclude(ended)

    def _open(self) -> None:
        """Make the folder, or see that it is one of this data set.

        What marks it as a study's comes before its data: a kill in between leaves a folder that
        the same command takes up.
        """
        content = mark(self.plan.settings, self.dataset)
        refuse_other_data(self.out, content)
        clear_leftovers(make_folder(self.out))
        clear_leftovers(self.out / "data")
        if not (self.out / MARK).exists():
            write_json(self.out / MARK, content)
        files = plugin_files(self.plan.settings)
        note = f"Needs the flag: {shlex.join(['--plugins', *files])}" if files else ""
        setup.write_yaml(self.out / "study.yaml", self.arguments, note)
        if not all_stored(self.out / "data"):
            setup.save(self.dataset, self.out)

    def _conclude(self, ended: dict[str, Outcome]) -> StudyResult:
        """Analyse and write down what there is."""
        results = setup.heading(self.plan.settings, self.arguments)
        if files := plugin_files(self.plan.settings):
            results["plugins"] = files
        if self.command:
            results["command"] = self.command
        results |= self.analysis(ended)
        write_json(self.out / "results.json", results)
        report = setup.write_report(results, self.out / "report.html")
        return StudyResult(
            results, self.out, report, results["verdict"]["sentence"], results["complete"]
        )


class Study(Runs[Plan]):
    """A comparison."""

    def total(self) -> int:
        """Runs when none fails, probes included."""
        return self.plan.total + len(self.plan.probes())

    def done(self, ended: Mapping[str, Outcome]) -> int:
        """How many of these the folder holds already."""
        mine = {unit.hash for unit in self.plan.probes() + self.plan.boosting()}
        return sum(h in mine or o["kind"] == "train" for h, o in ended.items())

    def carry_out(self, pool: Processes | Here, ended: dict[str, Outcome], shown: Progress) -> None:
        """Measure costs one after another, then train."""
        probes = self.plan.probes()
        common: dict[str, Any] = {"deadline": self.deadline, "watch": shown.ended}
        shown.say("measuring costs")
        pool.run(
            lambda known: [unit for unit in probes if unit.hash not in known],
            self.out,
            ended,
            workers=1,
            **common,
        )
        shown.say("training")
        pool.run(self.plan.startable, self.out, ended, **common)

    def analysis(self, ended: Mapping[str, Outcome]) -> dict[str, Any]:
        """What `results.json` holds besides its heading."""
        return analyse(self.plan, self.facts, ended)


def plugin_files(settings: Settings) -> list[str]:
    """The files of the user's own that the command has to be given."""
    return list(dict.fromkeys(found["file"] for found in settings.plugins))


def mark(settings: Settings, dataset: Dataset) -> dict[str, Any]:
    """What tells a study's data from others, for `fingerprint.json`."""
    return {
        "data": settings.fingerprint,
        "name": settings.name,
        "rows": dataset.n,
        "columns": sum(len(names) for names in map(dataset.columns.get, INPUTS) if names),
        "targets": setup.plain_targets((), settings.tasks),
        **({"sets": fingerprints(dataset)} if isinstance(dataset, Joined) else {}),
    }


def refuse_other_data(out: Path, content: dict[str, Any]) -> None:
    """Raise `UserError` when the folder holds a study of other data than those of `content`."""
    before = read_json(out / MARK)
    if before is not None and before.get("data") != content["data"]:
        raise UserError(
            f"{out} holds a study of other data: {_described(before)}; this is "
            f"{_described(content)}{_changed(before, content)}. Use another out, or the data and "
            "targets of before."
        )


def _changed(before: dict[str, Any], content: dict[str, Any]) -> str:
    """Which of several data sets are other ones, where the same were named before."""
    known, now = before.get("sets") or {}, content.get("sets") or {}
    other = [repr(name) for name, found in now.items() if known.get(name) not in (None, found)]
    return f" (the rows of {some(other, 80)} have changed)" if other else ""


def _described(mark: dict[str, Any]) -> str:
    """What data a study is of, in words that show the difference."""
    targets = mark.get("targets") or []
    shown = ", ".join(targets[:6]) + (", ..." if len(targets) > 6 else "")
    parts = [str(mark.get("name")), f"{mark.get('rows')} rows"]
    parts += [f"{mark['columns']} input columns"] if mark.get("columns") else []
    return ", ".join([*parts, f"targets {shown}"] if shown else parts)


def measured(
    probes: Sequence[Unit], dataset: Dataset, pool: Processes | Here
) -> tuple[dict[str, Outcome], int]:
    """What cost probes show in a temporary folder, and how many bytes the data have there."""
    ended: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="polytask-") as temporary:
        setup.save(dataset, Path(temporary))
        pool.run(
            lambda known: [unit for unit in probes if unit.hash not in known],
            Path(temporary),
            ended,
            workers=1,
        )
        files = (Path(temporary) / "data").rglob("*")
        size = sum(file.stat().st_size for file in files if file.is_file())
    return ended, size


def dry(plan: Plan, dataset: Dataset, pool: Processes | Here, folder: Path) -> StudyResult:
    """Probe in a temporary folder and say what the study would take."""
    ended, size = measured(plan.probes(), dataset, pool)
    found = forecast(plan, dataset, ended, pool.workers, size)
    return StudyResult({"schema": 1, "plan": found}, folder, None, found["sentence"])
