"""`relate`: from data to the groups of tasks that should share a network, and the proof."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask import registry
from polytask.report.words import listing
from polytask.study.opening import Opening, whole_numbers, without_none
from polytask.study.relations.budget import NETWORKS, check_budget, networks_at_most
from polytask.study.relations.settings import (
    AUTO,
    NEVER,
    Relation,
    all_main,
    check_alone,
    check_randoms,
    choose_branches,
    choose_estimators,
    no_main_task,
    ordered,
    read_affinity,
)
from polytask.study.result import StudyResult
from polytask.study.selection.settings import choose_one
from polytask.study.settings import DEFAULT_RATES, Choice, check_tasks, check_trainer_options

if TYPE_CHECKING:
    from polytask.data import Dataset

DEFAULT_ESTIMATORS = ("lookahead",)


def relate(
    data: Any,
    *,
    max_groups: int | None = None,
    estimators: Sequence[Any] | Mapping[str, Any] | str = DEFAULT_ESTIMATORS,
    affinity: Any = None,
    alone: float | str | None = AUTO,
    check: bool = True,
    randoms: int = 3,
    budget: float | None = None,
    budget_in: str = NETWORKS,
    branches: bool | str = False,
    method: Any = "linear",
    architecture: Any = "hard_sharing",
    targets: Any = None,
    drop: Sequence[str] = (),
    encoder: Any = None,
    seeds: int = 5,
    epochs: int = 20,
    batch_size: int = 256,
    lr: float | Sequence[float] = DEFAULT_RATES,
    split: str = "random",
    test: Any = None,
    test_fraction: float = 0.15,
    val_fraction: float = 0.15,
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
    """Which of these tasks should share a network, and does that beat all in one?

    **Measuring**, on seed 0 and at the middle learning rate: every estimator tells an `Affinity`,
    how much training with one task helps another. Most cost one ordinary training of all tasks
    (`lookahead`, `gradient_cosine`), or little more; `pairwise` trains every pair, which is what
    the others try to foresee, and tells in the results how far each of them agrees with it (rank
    correlation, with an interval from redrawing tasks) and what its groups are worth.

    **Groups**: `polytask.group_tasks` finds the best few groups for every estimator; those of the
    first one are the recommendation.

    **Check**, with seeds: the recommended groups, all tasks in one network, every task alone, and
    random divisions into as many groups. Every network gets the same search over learning rates
    (on seed 0), epochs and rates are chosen on validation, and a task is judged on test in the
    network that serves it. A network that stands in several arrangements is trained once.

    **Verdict**: whether the recommendation beats all in one, every task alone, and the mean of the
    random divisions, by Δm: the mean over tasks of the gain over training the task alone, in
    percent, positive = better. 95 % intervals, paired by seed, with Holm's correction over these
    comparisons; below five seeds a difference "leans" at most. Every task is judged, so auxiliary
    ones are treated as main ones. Affinities see training and validation rows of seed 0 only
    (`pairwise` those of all its seeds); where every seed draws its own test part, some of these
    rows are test rows of other seeds.

    Runs are carried out as by `polytask.compare`: processes of their own, in `out/runs`, and the
    same call goes on where it was cut off.

    Args:
        data: a `Dataset`, a DataFrame, a table's file, a registered name,
            `{name: {option: value}}`, or a folder written by `Dataset.save`.
        max_groups: how many networks there may be; by default 3, or with a budget as many as it
            pays for.
        estimators: names, or `{name: {argument: value}}`, the one that decides first
            (`polytask list estimators`).
        affinity: your own instead: an `Affinity`, a mapping, a DataFrame (rows are scored), or a
            file that `Affinity.save` wrote. Nothing is measured then, and `estimators` is not used.
        alone: what a task in a group of its own is worth, in the units of the affinities; "auto" is
            0 for estimators that tell gains and "never" for others and for given affinities;
            "never" (or None) forbids such groups.
        check: train the groups and what they are compared with.
        randoms: how many random divisions.
        budget: what the recommended networks may cost together, 1 or more: so many networks, or so
            many times one network for all tasks.
        budget_in: what that counts: "networks" (2.5 are two), "parameters", or "latency", the time
            of predicting one batch with every network, one after another. The last two are
            measured before anything is trained, on the network of all tasks and those of single
            ones; a group counts as an encoder and a head for each member. That is exact for the
            parameters of hard sharing, and else an estimate, which the check measures again.
        branches: also find a tree of branches from representations at every depth ("rsa" or "cka",
            which is measured where it is not among the estimators; True is the former), and check
            the branched network.
        method: how the tasks of a network are balanced: one name or `{name: {argument: value}}`.
        architecture: how the tasks of a network share, one name or `{name: {...}}`.
        targets, drop, encoder, seeds, epochs, batch_size, lr, split, test, test_fraction,
            val_fraction, statistic, workers, max_time, dry_run, progress, on_data, on_notes,
            command, trainer: as in `polytask.compare`.
        out: the study's folder; by default `runs/NAME-relate`.

    Returns:
        A `StudyResult`; its `affinities` are there by estimator. The same is in `out` as
        `results.json` (kind "relate"), `affinities/ESTIMATOR.json` (`Affinity.load`) and
        `report.html`.

    Raises:
        UserError: before anything is trained: an unknown word, fewer than two tasks, a method with
            a main task, affinities of other tasks, impossible data, or an `out` that holds a study
            of other data or is in use.

    Cost: the runs of the estimators, and for the check at most (T + 1 + (1 + randoms) * max_groups)
    * (len(lr) + seeds - 1) trainings for T tasks. `dry_run` says the number and the time.

    """
    # Words first: they cost milliseconds, and a typing error should not wait for the data.
    chosen_method = no_main_task(choose_one("method", method))
    chosen_architecture = choose_one("architecture", architecture)
    chosen = () if affinity is not None else choose_estimators(estimators)
    tree = choose_branches(branches, chosen)
    if tree is not None and tree not in [choice.name for choice in chosen]:
        chosen = (*chosen, Choice(registry.find("estimator", tree).name))
    given = read_affinity(affinity)
    worth, drawn = check_alone(alone), check_randoms(randoms)
    spend = check_budget(budget, budget_in)
    options = check_trainer_options(trainer, relate.__kwdefaults__ or (), "relate")
    whole_numbers(seeds=seeds, epochs=epochs, batch_size=batch_size)
    if max_groups is not None:
        whole_numbers(max_groups=max_groups)
    opening = Opening(
        data=data, targets=targets, drop=drop, split=split, test=test, test_fraction=test_fraction,
        val_fraction=val_fraction, methods=(chosen_method,), architectures=(chosen_architecture,),
        encoder=encoder, statistic=statistic, seeds=seeds, epochs=epochs, batch_size=batch_size,
        lr=lr, trainer=options, workers=workers, max_time=max_time, out=out, dry_run=dry_run,
    )  # fmt: skip

    from polytask.study import setup as common
    from polytask.study.relations import setup
    from polytask.study.relations.carry_out import RelationStudy, dry
    from polytask.study.relations.plan import RelationPlan

    with opening.processes() as pool:
        dataset = opening.read(on_data)
        check_tasks(dataset.tasks)
        helping = [name for name, task in dataset.tasks.items() if task.role != "main"]
        dataset = all_main(dataset)
        relation = Relation(
            opening.settings(dataset, common.task_facts(dataset)),
            estimators=chosen,
            max_groups=networks_at_most(max_groups, spend, budget_in, len(dataset.tasks)),
            alone=worth,
            check=bool(check),
            randoms=drawn,
            branches=tree,
            budget=spend,
            budget_in=budget_in,
        )
        plan = RelationPlan(relation, None if given is None else ordered(given, dataset.tasks))
        folder = opening.folder or Path("runs") / f"{dataset.name}-relate"
        known = opening.check(setup.check, plan, dataset, folder, on_notes)
        if helping:
            known["dataset"]["notes"].append(
                f"{listing(helping)}: auxiliary in the data, judged like the others here"
            )
        words = _arguments(opening, relation, affinity, folder)
        study = RelationStudy(
            plan, dataset, known, folder, words, opening.deadline, progress, command
        )
        return opening.run(study, pool, dry)


def _arguments(opening: Opening, relation: Relation, affinity: Any, out: Path) -> dict[str, Any]:
    """The resolved settings as arguments of `relate`, for `study.yaml`."""
    from polytask.study import setup
    from polytask.study.relations.carry_out import FOLDER
    from polytask.study.relations.measures import GIVEN

    given = None
    if affinity is not None:
        named = isinstance(affinity, str | Path)
        given = str(affinity) if named else str(out / FOLDER / f"{GIVEN}.json")
    return without_none(
        {
            "data": setup.plain_data(opening.data, out),
            "max_groups": relation.max_groups,
            "estimators": None if given else [choice.plain() for choice in relation.estimators],
            "affinity": given,
            "alone": NEVER if relation.alone is None else relation.alone,
            "check": relation.check,
            "randoms": relation.randoms,
            "budget": relation.budget,
            "budget_in": None if relation.budget is None else relation.budget_in,
            "branches": relation.branches,
            "method": relation.method.plain(),
            "architecture": relation.architecture.plain(),
            **opening.columns(relation.study.tasks),
            **opening.trainings(relation.study, out),
        }
    )
