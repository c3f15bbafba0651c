"""`pareto`: from data to a front of trade-offs between its tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.errors import UserError, unknown
from polytask.study.fronts.points import choose_method
from polytask.study.fronts.points import points as made_points
from polytask.study.opening import Opening, whole_numbers, without_none
from polytask.study.result import StudyResult
from polytask.study.selection.settings import choose_one
from polytask.study.settings import DEFAULT_RATES, Choice, Settings, check_trainer_options

if TYPE_CHECKING:
    from polytask.data import Dataset

MOST_POINTS = 200
PREFERENCE = "preference"
"""The `select` by which every point chooses its epoch as its preference asks."""


def pareto(
    data: Any,
    *,
    method: Any = "epo",
    points: int = 5,
    reference: Mapping[str, float] | None = None,
    targets: Any = None,
    drop: Sequence[str] = (),
    architecture: Any = "hard_sharing",
    encoder: Any = None,
    seeds: int = 5,
    epochs: int = 20,
    batch_size: int = 256,
    lr: float | Sequence[float] = DEFAULT_RATES,
    split: str = "random",
    test: Any = None,
    test_fraction: float = 0.15,
    val_fraction: float = 0.15,
    select: str = PREFERENCE,
    statistic: str | None = None,
    workers: int | None = None,
    max_time: float | None = None,
    out: str | Path | None = None,
    dry_run: bool = False,
    progress: bool = True,
    on_data: Callable[[Dataset], None] | None = None,
    on_notes: Callable[[list[str]], None] | None = None,
    command: str | None = None,
    **trainer: Any,
) -> StudyResult:
    """Which trade-offs between the tasks are there, and what does each cost the others?

    Trains one model a preference, `points` of them spread over the simplex (equal angles for two
    tasks, the inner points of a regular lattice with at least as many for more), and every task
    alone. The middle preference is searched over the learning rates on seed 0, and all points take
    its rate; then all run all seeds, paired by seed, split and initial weights.

    **Front**: the points that no other beats on validation; their scores are shown on test beside
    the ideal, what single-task networks reach. **Hypervolume**: what the front covers on test, as a
    share of the box from a stated reference to the ideal; per seed. **Steering**: for every task,
    its gain where it counts most minus that where it counts least, with a 95 % interval and Holm's
    correction over the tasks; below five seeds it "leans" at most. Every task is judged, so
    auxiliary ones are treated as main ones.

    Runs are carried out as by `polytask.compare`: processes of their own, in `out/runs`, and the
    same call goes on where it was cut off.

    Args:
        data: a `Dataset`, a DataFrame, a table's file, a registered name,
            `{name: {option: value}}`, or a folder written by `Dataset.save`.
        method: what goes to a preference, one name or `{name: {argument: value}}`: `epo`
            (preference times loss equal), `pareto_mtl` (a cone a point), `stch` (smooth Tchebycheff
            of preference times loss, mu 0.1) or `linear` (weighted sum: no point of a front that is
            bent in).
        points: how many preferences, at least.
        reference: task name to the score from which the hypervolume is measured, worse than the
            single-task one; to compare fronts of several studies. By default the worst of the
            points, a tenth of its distance to the best worse.
        architecture: how tasks share, one name or `{name: {...}}`.
        select: how the epoch of a point is chosen on validation. "preference": by what the point
            asks for, the least sum (linear) or the least maximum (epo, pareto_mtl, stch: the
            weighted Chebyshev distance) of preference times loss, losses as the method gets them.
            Any rule of `polytask.compare` is the same one at every point, which does not know its
            preference. Learning rates are compared, and single-task networks choose their epochs,
            by the tasks' metrics (mean_gain) under "preference".
        targets, drop, encoder, seeds, epochs, batch_size, lr, split, test, test_fraction,
            val_fraction, statistic, workers, max_time, dry_run, progress, on_data, on_notes,
            command, trainer: as in `polytask.compare`.
        out: the study's folder; by default `runs/NAME-pareto`.

    Returns:
        A `StudyResult`; the same is in `out` as `results.json` (kind "pareto") and `report.html`.

    Raises:
        UserError: before anything is trained: an unknown word, a method without preferences, fewer
            than two tasks, impossible data, or an `out` that holds a study of other data or is in
            use.

    Cost: (points + T) * seeds + (1 + T) * (len(lr) - 1) trainings for T tasks.

    """
    # Words first: they cost milliseconds, and a typing error should not wait for the data.
    chosen_method = choose_method(method)
    chosen_architecture = choose_one("architecture", architecture)
    options = check_trainer_options(trainer, pareto.__kwdefaults__ or (), "pareto")
    whole_numbers(points=points, seeds=seeds, epochs=epochs, batch_size=batch_size)
    if points > MOST_POINTS:
        raise UserError(f"points: expected at most {MOST_POINTS}, found {points}.")
    corner = check_reference(reference)
    opening = Opening(
        data=data, targets=targets, drop=drop, split=split, test=test, test_fraction=test_fraction,
        val_fraction=val_fraction, methods=(chosen_method,), architectures=(chosen_architecture,),
        encoder=encoder, statistic=statistic, seeds=seeds, epochs=epochs, batch_size=batch_size,
        lr=lr, trainer=options, workers=workers, max_time=max_time, out=out, dry_run=dry_run,
    )  # fmt: skip

    from polytask.study import setup
    from polytask.study.fronts.carry_out import ParetoStudy, dry
    from polytask.study.fronts.plan import ParetoPlan
    from polytask.study.relations.settings import all_main

    with opening.processes() as pool:
        dataset = opening.read(on_data)
        check_tasks(dataset.tasks)
        dataset = all_main(dataset)
        if corner is not None:
            known_tasks(corner, dataset.tasks)
        told = made_points(chosen_method, list(dataset.tasks), points)
        own = select == PREFERENCE
        settings = opening.settings(
            dataset,
            setup.task_facts(dataset),
            methods=(told[0].choice,),
            select="mean_gain" if own else select,
        )
        plan = ParetoPlan(settings, told, own)
        folder = opening.folder or Path("runs") / f"{dataset.name}-pareto"
        known = opening.check(setup.check, plan, dataset, folder, on_notes)
        words = _arguments(opening, settings, chosen_method, points, corner, folder)
        words["select"] = select
        study = ParetoStudy(
            plan, dataset, known, folder, words, opening.deadline, progress, command,
            reference=corner,
        )  # fmt: skip
        return opening.run(study, pool, dry)


def check_reference(reference: Any) -> dict[str, float] | None:
    """The reference as numbers by task. Raises `UserError` for anything else."""
    if reference is None:
        return None
    if not isinstance(reference, Mapping) or not all(
        isinstance(v, int | float) and math.isfinite(v) for v in reference.values()
    ):
        raise UserError(
            "reference: expected a score for every task, as in {price: 0.5, size: 0.7}, found "
            f"{reference!r}."
        )
    return {str(task): float(score) for task, score in reference.items()}


def check_tasks(tasks: Iterable[str]) -> None:
    """Raise `UserError` unless there are two tasks."""
    names = list(tasks)
    if len(names) < 2:
        raise UserError(
            f"a trade-off needs at least two tasks, found {len(names)} ({', '.join(names)}). Give "
            "data with more targets."
        )


def known_tasks(reference: Mapping[str, float], tasks: Iterable[str]) -> None:
    """Raise `UserError` unless the reference names exactly the tasks."""
    names = list(tasks)
    for task in reference:
        if task not in names:
            raise unknown("task in reference:", task, names)
    absent = [task for task in names if task not in reference]
    if absent:
        raise UserError(f"reference: it has no score for {', '.join(absent)}; give every task one.")


def _arguments(
    opening: Opening,
    settings: Settings,
    method: Choice,
    points: int,
    reference: dict[str, float] | None,
    out: Path,
) -> dict[str, Any]:
    """The resolved settings as arguments of `pareto`, for `study.yaml`."""
    from polytask.study import setup

    return without_none(
        {
            "data": setup.plain_data(opening.data, out),
            "method": method.plain(),
            "points": points,
            "reference": reference,
            **opening.columns(settings.tasks),
            "architecture": settings.architectures[0].plain(),
            **opening.trainings(settings, out, settings.select),
        }
    )
