"""`compare`: from data to a verdict. The one public function of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.errors import UserError
from polytask.study.mixing import (
    check_followed,
    check_words,
    choose_schedules,
    names_several,
    refuse_of_one,
    refuse_of_several,
    usual_methods,
)
from polytask.study.opening import Opening, whole_numbers, without_none
from polytask.study.plan import Plan
from polytask.study.result import StudyResult
from polytask.study.settings import (
    ALONE,
    DEFAULT_METHODS,
    DEFAULT_RATES,
    Settings,
    check_tasks,
    check_trainer_options,
    choose_architectures,
    choose_auxiliary,
    choose_distill,
    choose_methods,
)

if TYPE_CHECKING:
    from polytask.data import Dataset


ROWS = 256
"""Rows a step, by default."""


def compare(
    data: Any,
    *,
    targets: Any = None,
    drop: Sequence[str] = (),
    methods: Sequence[Any] | str | None = None,
    architectures: Sequence[Any] | str = ("hard_sharing",),
    encoder: Any = None,
    auxiliary: Sequence[Any] | str = (),
    distill: Any = None,
    seeds: int = 5,
    epochs: int = 20,
    batch_size: int | Mapping[Any, int] = ROWS,
    schedules: Sequence[Any] | str | None = None,
    tasks_per_step: int | str | None = None,
    steps_per_epoch: int | None = None,
    lr: float | Sequence[float] = DEFAULT_RATES,
    split: str = "random",
    test: Any = None,
    test_fraction: float = 0.15,
    val_fraction: float = 0.15,
    select: str = "mean_gain",
    statistic: str | None = None,
    match_parameters: bool = False,
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
    """Should these tasks share a network, and how should they be balanced?

    Trains, for every task, a network of its own; then every method under every architecture;
    and, for a table, gradient boosting per target. Each gets the same search over learning
    rates (on seed 0) and the same seeds. Learning rate, epoch and the candidate that the
    verdict is about are chosen on validation; the test part is judged once.

    **A data set of its own for each task** (`data={"pos": ..., "gender, number": ...}`): networks
    that share draw every step from one data set (or several) by a schedule, and `schedules` are one
    more thing to compare. The network of one task is trained on the data set of that task alone:
    all its training rows, its own scales and codes of inputs, and as many optimizer steps as the
    networks that share take, pass after pass, with a look at validation after each. So a gain
    cannot come from longer training; and as the best epoch is kept, none is trained too long. Every
    data set is split by itself, and a task is judged on rows of its own. A row that stands for the
    same thing as one that another data set is judged on (the same group in a group split of tables,
    else the same inputs) is left out of training.

    Runs are processes of their own, `workers` at once with one thread each, in `out/runs`.
    Called again with the same `out`, finished runs are kept and only what is missing, what
    failed, or what other settings changed is run. No `if __name__ == "__main__":` is needed
    in a script: the processes never import it.

    Args:
        data: a `Dataset`, a DataFrame, a table's file (CSV, TSV, Parquet), a registered name,
            `{name: {option: value}}`, or a folder written by `Dataset.save`. Or one of these for
            each task, by its name or the names of several: `{"pos": "pos.csv", "gender, number":
            ...}`.
        targets: of a table, what to predict, as in `["price:regression", "sold:binary"]`; of a
            data set, the tasks to keep. `"rooms:regression:auxiliary"` trains along but is left
            out of Δm and of the verdict.
        drop: columns of a table that are neither inputs nor targets.
        methods: names, or `{name: {argument: value}}`; by default linear, rlw, uncertainty, pcgrad
            and mgda, and where every step has one task linear alone. `linear` and `rlw` always take
            part, the latter under hard sharing (or else the first architecture) alone, and not
            where every step has one task: there is nothing to balance then.
        architectures: the same; `single_task`, and hard sharing with `linear`, always take part.
            One of your own (`polytask.register_architecture`) is imported from its file by the
            runs; one that a running script or notebook defines makes all runs happen in this
            process, one after another.
        encoder: a name, `{name: {argument: value}}`, a callable `(spec) -> nn.Module`, or a
            module, which every run copies with its weights. By default `mlp` for tables,
            `resnet` for images and `transformer` for sequences of codes. A callable or a module
            cannot be described to other processes: such a study runs in this process, one run
            after another. So does a data set whose tasks have functions of their own.
        auxiliary: recipes of helper tasks made from the data (`polytask.list_auxiliaries()`), names
            or `{name: {argument: value}}`. Every network that shares trains them along; they are
            made from each seed's training part and are not judged, and the networks of single
            tasks do without.
        distill: try every method and architecture that is chosen once more, with the study's own
            networks of single tasks as teachers: `"single_task"`, or `{"from": "single_task"}` with
            options of `polytask.training.Distillation` beside it, such as form (annealed, soft,
            ensemble, features), temperature and weight. The teachers are those of the same seed
            at their chosen learning rate, so they have seen the same training rows; they are
            not trained again.
        seeds: how many: seed s draws the split and the initial weights, for all alike.
        epochs: passes over the training rows of every run.
        batch_size: rows a step; of several data sets, one number or one by data set.
        schedules: of several data sets, whose turn it is: names or `{name: {argument: value}}`
            (`polytask list schedules`); by default temperature with alpha .5. Every method and
            architecture that is chosen is tried with each; the baselines have the first. A schedule
            that follows Gramians is tried with the methods that measure them.
        tasks_per_step: of several data sets, how many a step draws from, or "all"; by default 1.
        steps_per_epoch: of several data sets, the length of an epoch; by default one pass over all.
        lr: the learning rates to search.
        split: random, stratified[:TASK], group:COLUMN, time:COLUMN or spatial[:X,Y][:SIDE].
        test: of a table, your own test table (file or DataFrame) instead of a drawn one.
        test_fraction: share of the rows that is judged on.
        val_fraction: share of the rows that is chosen by.
        select: how epochs are chosen: mean_gain, mean_rank, main:TASK or loss.
        statistic: what methods that read gradients measure: features, tail or exact.
        match_parameters: scale the encoder's widths so that every network has about as many
            parameters as hard sharing on the encoder given, the networks of single tasks
            together. Otherwise ways of sharing with parts of their own, and separate networks,
            have more, and size alone can win.
        workers: runs at once; by default the number of CPUs this process may use.
        max_time: seconds after which no run is started; the results are then incomplete.
        out: the study's folder; by default `runs/NAME`.
        dry_run: only measure the cost of steps and return the plan; `out` is not touched.
        progress: a bar on stderr if that is a terminal; log lines otherwise.
        on_data: called with the `Dataset` once it is read, before anything is checked or trained:
            its `notes` say what was inferred.
        on_notes: called with what the splits leave out (parts without a label of a task, classes
            that not every part has), one note each, once it is known, before anything is trained.
        command: the command line that asked for this; the report tells it to whoever wants to do
            the same again.
        trainer: further options of every `Trainer`: optimizer, weight_decay, scheduler,
            warmup, accumulate, clip_norm, precision, patience, device, checkpoint_every.

    Returns:
        A `StudyResult`; the same is in `out` as `results.json` and `report.html`.

    Raises:
        UserError: before anything is trained: an unknown word, impossible data, words of several
            data sets with one or of one with several (auxiliary, distill, test), or an `out` that
            holds a study of other data or is in use.

    Cost: (tasks + methods * architectures) * (len(lr) + seeds - 1) trainings; one network more
    where `hard_sharing` is not among the architectures; nearly twice the methods with `distill`;
    times the schedules where there are several.

    """
    # Words first: they cost milliseconds, and a typing error should not wait for the data.
    chosen_methods = choose_methods(DEFAULT_METHODS if methods is None else methods)
    chosen_architectures = choose_architectures(architectures)
    chosen_auxiliary = choose_auxiliary(auxiliary)
    distilled = choose_distill(distill)
    options = check_trainer_options(trainer, compare.__kwdefaults__ or ())
    whole_numbers(seeds=seeds, epochs=epochs)
    chosen_schedules = choose_schedules(schedules)
    several = names_several(data)
    if several:
        refuse_of_one(auxiliary=auxiliary or None, distill=distill, test=test)
    else:
        mixing = {"schedules": schedules, "tasks_per_step": tasks_per_step}
        refuse_of_several(**mixing, steps_per_epoch=steps_per_epoch)
    check_words(tasks_per_step, steps_per_epoch, batch_size, chosen_schedules, several=several)
    opening = Opening(
        data=data,
        targets=targets,
        drop=drop,
        split=split,
        test=test,
        test_fraction=test_fraction,
        val_fraction=val_fraction,
        methods=chosen_methods,
        architectures=chosen_architectures,
        encoder=encoder,
        statistic=statistic,
        seeds=seeds,
        epochs=epochs,
        batch_size=ROWS if isinstance(batch_size, Mapping) else batch_size,
        lr=lr,
        trainer=options,
        workers=workers,
        max_time=max_time,
        out=out,
        dry_run=dry_run,
        preload=("sklearn.ensemble",),
    )

    from polytask.study import setup
    from polytask.study.carry_out import Study, dry
    from polytask.study.data_sets import mix, open_joined

    with opening.processes() as pool:
        mixed = None
        dataset: Dataset
        if several:
            dataset = joined = open_joined(data, targets=targets, drop=drop, split=split)
            steps = (tasks_per_step or 1, steps_per_epoch)
            mixed = mix(joined, chosen_schedules, *steps, batch_size, ROWS)
            if methods is None:
                chosen_methods = choose_methods(usual_methods(mixed))
            check_followed(mixed, chosen_methods)
        else:
            dataset = opening.read()
        if on_data is not None:
            on_data(dataset)
        settings = opening.settings(
            dataset,
            setup.task_facts(dataset, chosen_auxiliary),
            methods=chosen_methods,
            select=select,
            boosting=setup.is_table(dataset),
            auxiliary=chosen_auxiliary,
            distill=distilled,
            mixed=mixed,
        )
        check_tasks(settings.tasks)
        if match_parameters:
            if opening.make_encoder is not None:
                raise UserError(
                    "match_parameters scales the widths of a registered encoder, and this one is "
                    "an object. Name an encoder (mlp, resnet, transformer), or leave it out."
                )
            settings = replace(settings, parameters=setup.shared_size(settings, dataset))
        plan = Plan(settings)
        folder = opening.folder or Path("runs") / dataset.name
        known = opening.check(setup.check, plan, dataset, folder, on_notes)
        arguments = _arguments(opening, settings, folder)
        study = Study(plan, dataset, known, folder, arguments, opening.deadline, progress, command)
        return opening.run(study, pool, dry)


def _arguments(opening: Opening, settings: Settings, out: Path) -> dict[str, Any]:
    """The resolved settings as arguments of `compare`, for `study.yaml`."""
    from polytask.study import setup

    mixed = settings.mixed
    # Saved data sets have their tasks, and are without the columns that were dropped.
    saved = mixed is not None and setup.is_object(opening.data)
    plain = {
        "data": setup.plain_data(opening.data, out),
        **({} if saved else opening.columns(settings.tasks)),
        "methods": [choice.plain() for choice in settings.methods],
        "architectures": [choice.plain() for choice in settings.architectures],
        "auxiliary": [choice.plain() for choice in settings.auxiliary] or None,
        "distill": None if settings.distill is None else {"from": ALONE, **settings.distill},
        "match_parameters": True if settings.parameters is not None else None,
        **opening.trainings(settings, out, settings.select),
    }
    if mixed is not None:
        plain |= {**mixed.plain(), "batch_size": mixed.batch_size}
    return without_none(plain)
