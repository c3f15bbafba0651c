"""`select_auxiliaries`: from data and a main task to the helpers that are proven to help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.study.opening import Opening, whole_numbers, without_none
from polytask.study.plan import slug
from polytask.study.result import StudyResult
from polytask.study.selection.settings import (
    Selection,
    check_finalists,
    choose_one,
    known_candidates,
    known_main,
    with_roles,
)
from polytask.study.settings import DEFAULT_RATES, check_trainer_options, choose_auxiliary

if TYPE_CHECKING:
    from polytask.data import Dataset


def select_auxiliaries(
    data: Any,
    *,
    main: str,
    candidates: Sequence[str] | str | None = None,
    auxiliary: Sequence[Any] | str = (),
    targets: Any = None,
    drop: Sequence[str] = (),
    finalists: int = 3,
    rounds: int | None = None,
    method: Any = "linear",
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
    """Which helper tasks help my main task, how much, and how sure is that?

    **Screen** (two trainings, whatever the number of candidates; on seed 0, at the middle learning
    rate). One trains all tasks together with equal weights and records how far the gradient of
    each candidate agrees with that of the main task, with standard errors
    (`polytask.relationships.estimate`, on the last shared layers). In the other a bandit chooses,
    round by round, which helper trains along, by whether the main task then does at least as well
    on validation (`polytask.training.TaskBandit`, after AutoSeM, Guo et al. 2019,
    https://arxiv.org/abs/1904.04153; nothing decays here, so that the record is of the whole
    trial). A candidate whose rate of success is told from that of the best (the upper end of its
    95 % posterior interval lies below the best's mean) goes to the end; otherwise agreement ranks,
    and then the rate itself. Few rounds tell little, and what the bandit does not tell is left to
    agreement rather than to chance. Entropy or kurtosis of the labels is shown beside them and
    decides nothing. The first `finalists` go on. With no more candidates than that all go on,
    without a trial.

    **Proof**, with seeds: the main task alone (hard sharing's network with one head), the main
    task with each finalist, with all finalists, with all of them but one, and with all
    candidates. Each of these sets of helpers gets the same search over the learning rates (on
    seed 0); epochs and rates are chosen by the main task's primary metric on validation. Runs are
    paired by seed, split and initial weights.

    **Verdict**: what each finalist adds to the main task alone and to the other finalists, in
    percent of the main task's mean score alone, positive = better, with 95 % intervals
    (`polytask.study.statistics`) and Holm's correction over the finalists. The word on a helper
    ("helps", "hurts", "no evidence"; "leans ..." below five seeds) is about adding it alone. One
    set is recommended and judged once on test, against the main task alone and against all
    candidates: the smallest that validation does not tell from the best (within one standard
    error). Who goes on is decided on the training and validation rows of seed 0;
    where every seed draws its own test part, some of these rows are test rows of other seeds.

    Runs are carried out as by `polytask.compare`: processes of their own, in `out/runs`, and the
    same call goes on where it was cut off.

    Args:
        data: a `Dataset`, a DataFrame, a table's file, a registered name,
            `{name: {option: value}}`, or a folder written by `Dataset.save`.
        main: the task to help.
        candidates: the possible helpers; by default every other task, whatever its role.
        auxiliary: further candidates, constructed from the data: names or
            `{name: {argument: value}}`, as in `["rotation", {"quantised": {"of": "price"}}]`
            (`polytask.auxiliary.list_auxiliaries()`).
        targets: of a table, its target columns, the main one among them; of a data set, the tasks
            to keep. As in `polytask.compare`.
        drop: columns of a table that are neither inputs nor targets.
        finalists: how many candidates are proven.
        rounds: of the bandit's trial; by default 5 for every candidate, and at least 20. The trial
            is as long as any other training, so more rounds are shorter ones.
        method: how the tasks of a set are balanced: one name or `{name: {argument: value}}`. A
            method with a main task (`gcs`, `auto_lambda`, ...) is told which it is.
        architecture: how helpers share with the main task, one name or `{name: {...}}`.
        encoder, seeds, epochs, batch_size, lr, split, test, test_fraction, val_fraction, statistic,
            workers, max_time, dry_run, progress, on_data, on_notes, command, trainer: as in
            `polytask.compare`.
        out: the study's folder; by default `runs/NAME-MAIN`.

    Returns:
        A `StudyResult`; the same is in `out` as `results.json` (kind "auxiliary") and
        `report.html`.

    Raises:
        UserError: before anything is trained: an unknown word, a main task or a candidate that
            does not exist, no candidate at all, impossible data, or an `out` that holds a study
            of other data or is in use.

    Cost: sets * (len(lr) + seeds - 1) trainings, and 1 for the trial (1 more with a method other
    than `linear`). With f finalists of c candidates there are 2 f + 3 sets; fewer where sets
    coincide (f < 3, or f = c). `dry_run` says the number and the time.

    """
    # Words first: they cost milliseconds, and a typing error should not wait for the data.
    chosen_method, chosen_architecture = (
        choose_one("method", method),
        choose_one("architecture", architecture),
    )
    constructed = choose_auxiliary(auxiliary)
    words = select_auxiliaries.__kwdefaults__ or ()
    options = check_trainer_options(trainer, words, "select_auxiliaries")
    whole_numbers(seeds=seeds, epochs=epochs, batch_size=batch_size)
    if rounds is not None:
        whole_numbers(rounds=rounds)
    opening = Opening(
        data=data, targets=targets, drop=drop, split=split, test=test, test_fraction=test_fraction,
        val_fraction=val_fraction, methods=(chosen_method,), architectures=(chosen_architecture,),
        encoder=encoder, statistic=statistic, seeds=seeds, epochs=epochs, batch_size=batch_size,
        lr=lr, trainer=options, workers=workers, max_time=max_time, out=out, dry_run=dry_run,
    )  # fmt: skip
    last = check_finalists(finalists)

    from polytask.study import setup as common
    from polytask.study.selection import setup
    from polytask.study.selection.carry_out import SelectionStudy, dry
    from polytask.study.selection.plan import SelectionPlan

    with opening.processes() as pool:
        dataset = opening.read(on_data)
        known_main(main, dataset.tasks)
        facts = common.task_facts(dataset, constructed)
        made = [name for name, fact in facts.items() if fact.get("constructed")]
        helpers = known_candidates(candidates, main, dataset.tasks, made)
        recipes = setup.read_recipes(constructed, dataset)
        dataset = with_roles(dataset, main, helpers)
        facts |= common.task_facts(dataset)
        tasks = {name: facts[name] for name in (main, *helpers)}
        selection = Selection(
            opening.settings(dataset, tasks, select=f"main:{main}", auxiliary=constructed),
            main=main,
            finalists=last,
            rounds=rounds,
            recipes=recipes,
        )
        plan = SelectionPlan(selection)
        folder = opening.folder or Path("runs") / f"{dataset.name}-{slug(main)}"
        known = opening.check(setup.check, plan, dataset, folder, on_notes)
        resolved = _arguments(opening, selection, candidates, folder)
        study = SelectionStudy(
            plan, dataset, known, folder, resolved, opening.deadline, progress, command
        )
        return opening.run(study, pool, dry)


def _arguments(
    opening: Opening, selection: Selection, candidates: Sequence[str] | str | None, out: Path
) -> dict[str, Any]:
    """The resolved settings as arguments of `select_auxiliaries`, for `study.yaml`."""
    from polytask.study import setup

    s = selection.study
    own = {name: {**fact, "role": "main"} for name, fact in s.tasks.items()}
    return without_none(
        {
            "data": setup.plain_data(opening.data, out),
            "main": selection.main,
            "candidates": None if candidates is None else list(selection.candidates),
            "auxiliary": [choice.plain() for choice in s.auxiliary] or None,
            **opening.columns(own),
            "finalists": selection.finalists,
            "rounds": selection.rounds,
            "method": selection.method.plain(),
            "architecture": selection.architecture.plain(),
            **opening.trainings(s, out),
        }
    )
