"""What the page of a study of relationships says beside its numbers."""

from __future__ import annotations

from polytask.report.method_notes import INTERVALS
from polytask.report.numbers import fixed, number, plural
from polytask.report.relation_map import AffinityMap
from polytask.report.relation_results import Estimator, Relation
from polytask.report.relation_tree import Tree
from polytask.report.results import mapping
from polytask.report.words import phrases, redrawn

QUESTION = "which tasks belong together?"


def facts(relation: Relation) -> list[str]:
    """The study in a few short phrases."""
    counts = [plural(len(relation.results.tasks), "task")]
    most = number(relation.raw.get("max_groups"))
    budget = mapping(relation.raw.get("budget"))
    if budget:
        counts.append(f"a budget of {budget.get('words')}")
    elif most is not None:
        counts.append(f"at most {plural(round(most), 'network')}")
    counts.append(plural(len(relation.estimators), "estimator"))
    return phrases(relation.results, counts)


def map_sentences(estimator: Estimator, drawn: AffinityMap, tree: Tree | str) -> list[str]:
    """How to read the map."""
    said = [
        "A row is the task that is scored, a column the companion it is trained with; the table "
        "has a direction, so a row and its column may differ."
    ]
    if estimator.unit:
        said.append(f"A number is: {estimator.unit}.")
    if estimator.gains:
        said.append("Blue helps, orange hurts.")
    else:
        said.append(
            "The darker, the more affinity. With this estimator 0 does not mean “no help”, so "
            "numbers can be compared with each other only."
        )
    if drawn.noise:
        said.append("Hatched cells are within two standard errors of 0: no evidence either way.")
    if drawn.unknown:
        said.append("Crossed cells were not measured.")
    if any(drawn.letters):
        said.append(
            "Outlined: the affinities that the groups rest on, those of each task with the "
            "companions in the network that serves it. The letter at a row names that network."
        )
    if isinstance(tree, Tree):
        said.append("Tasks stand in the order of the tree's leaves.")
    return said


TREE = (
    "A tree from the same numbers. The distance of two tasks is the largest mean affinity of any "
    "pair minus the mean of their two affinities, each scored with the other; branches are as far "
    "apart as their pairs are on average (average linkage). Tasks that join far to the left belong "
    "together most. The tree knows no direction and no budget: the groups come from the table, not "
    "from the tree, and may cut across it."
)


def no_tree(why: str) -> str:
    """Why there is no tree."""
    return f"There is no tree of the tasks: {why}."


def alone_words(relation: Relation) -> str:
    """What a group of one was worth to the choice."""
    value = number(relation.raw.get("alone"))
    if value is None:
        return "Groups of one task were not allowed."
    return f"A task in a network of its own counted as {fixed(value, 4).rstrip('0').rstrip('.')}."


def budget_words(relation: Relation) -> str:
    """', within a budget of 2.5 times ..., at these costs', nothing where there was none."""
    budget = mapping(relation.raw.get("budget"))
    if not budget:
        return ""
    said = f", within a budget of {budget.get('words')},"
    network, heads = number(budget.get("network")), mapping(budget.get("tasks")).values()
    known = [value for value in map(number, heads) if value is not None]
    if network is None or not known:
        return said
    return (
        f"{said} where a group costs {fixed(network, 3)} and {fixed(min(known), 3)} to "
        f"{fixed(max(known), 3)} for each task in it (measured on one network for all tasks, "
        "which costs 1, and on those of single tasks),"
    )


def how_made(relation: Relation) -> list[tuple[str, str]]:
    """(term, explanation) pairs, in the order of the work."""
    results, raw = relation.results, relation.raw
    grid = results.section("config").get("lr")
    rates = f" ({', '.join(map(str, grid))})" if isinstance(grid, (list, tuple)) else ""
    measured = [
        (e.label, e.affinity.measured) for e in relation.estimators if e.affinity is not None
    ]
    said = [
        (f"Affinity: {label}", sentence[:1].upper() + sentence[1:].rstrip(".") + ".")
        for label, sentence in measured
        if sentence
    ]
    said.append(
        (
            "Groups",
            "In a group a task has the mean of its affinities with the others in it; groups may "
            "overlap, each task is served by the group where it has most, and the score is the "
            "mean of that over all tasks (Fifty et al. 2021). Of all groupings into at most "
            f"{raw.get('max_groups', 'so many')} networks{budget_words(relation)} the best was "
            "taken. "
            f"{alone_words(relation)}",
        )
    )
    if not relation.checked:
        return said
    return [
        *said,
        (
            "Check",
            "Every distinct group of tasks is one network, whatever number of arrangements it is "
            f"in; balanced by {raw.get('method', 'linear')}, sharing by "
            f"{raw.get('architecture', 'hard_sharing')}, a group of one being a network of its "
            "own. A task's score is that of the network that serves it. Random groups are as many "
            "as the recommended ones, of tasks drawn by lot.",
        ),
        (
            "Learning rate",
            f"Every network got the same search{rates}: run on the first seed, chosen on "
            "validation, kept for the others.",
        ),
        (
            "Selection",
            "Affinities, epochs and rates never saw the test rows of their seed; groups were "
            "chosen from the affinities alone. The test set was used once, to judge.",
        ),
        (
            "Gain",
            "Percent of the mean score of the task trained alone, paired by seed and signed so "
            "that positive is better; Δm is its mean over the tasks.",
        ),
        ("95 % interval", INTERVALS[redrawn(results)]),
        (
            "Words",
            "“Helps”, “hurts”, “better” and “worse” need at least 5 seeds and a p-value below "
            "0.05 after Holm's correction over the tasks, or over the comparisons; with fewer "
            "seeds the report says “leans” at most, and only where every seed has the same sign. "
            f"This study has {plural(len(results.seeds), 'seed')}.",
        ),
        (
            "Costs",
            "Step times were measured one after another in processes of their own. The step cost "
            "of an arrangement is the sum over its networks, as a multiple of one network for all "
            "tasks. What an estimator cost is told in ordinary trainings of all tasks.",
        ),
    ]
