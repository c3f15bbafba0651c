"""What groups may cost together: so many networks, or so many times one network for all tasks.

Parameters and the time of a prediction are told in multiples of the network of all tasks, which is
measured before anything is trained, as are the networks of single tasks: a group then costs an
encoder, and a head for each member, such that these networks come out as they were measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polytask.errors import UserError, unknown

if TYPE_CHECKING:
    from polytask.study.plan import Contender, Outcomes
    from polytask.study.relations.plan import RelationPlan

NETWORKS, PARAMETERS, LATENCY = "networks", "parameters", "latency"
UNITS = (NETWORKS, PARAMETERS, LATENCY)
MEASURED = {PARAMETERS: "parameters", LATENCY: "inference_seconds"}
"""What a cost probe calls them."""
WORDS = {PARAMETERS: "the parameters of one network for all tasks",
         LATENCY: "the time one network for all tasks takes to predict"}  # fmt: skip
USUAL = 3
"""Networks at most where nothing is said."""


@dataclass(frozen=True)
class Prices:
    """What a group costs: a network, and something for each of its tasks."""

    network: float = 1.0
    tasks: Mapping[str, float] | None = None


def check_budget(budget: Any, budget_in: Any) -> float | None:
    """The budget. Raises `UserError` unless a number of at least 1 in a known unit."""
    if budget_in not in UNITS:
        raise unknown("unit in budget_in:", budget_in, UNITS)
    if budget is None:
        if budget_in != NETWORKS:
            raise UserError(
                f"budget_in={budget_in!r} says what a budget counts, and there is no budget. "
                "Say budget=2."
            )
        return None
    number = isinstance(budget, int | float) and not isinstance(budget, bool)
    if not number or not 1 <= budget < float("inf"):
        raise UserError(
            "budget: expected a number of at least 1, what one network for all tasks costs and "
            f"the least that serves them; found {budget!r}."
        )
    return float(budget)


def networks_at_most(max_groups: int | None, budget: float | None, unit: str, tasks: int) -> int:
    """How many groups there may be; the budget alone decides where only that was given."""
    if max_groups is None:
        max_groups = USUAL if budget is None else tasks
    if budget is not None and unit == NETWORKS:
        return min(max_groups, int(budget))
    return max_groups


def priced_networks(plan: RelationPlan) -> list[Contender]:
    """The networks whose costs tell those of every group; none for a budget of networks."""
    relation = plan.relation
    if relation.budget is None or relation.budget_in == NETWORKS:
        return []
    return [*(plan.contender([task]) for task in plan.tasks), plan.everyone]


def prices(plan: RelationPlan, outcomes: Outcomes) -> Prices | None:
    """What groups cost, None while that is not measured.

    Raises `UserError` when it could not be.
    """
    measured = []
    for contender in priced_networks(plan):
        ended = outcomes.get(plan.probe(contender).hash)
        if ended is None:
            return None
        value = ended.get(MEASURED[plan.relation.budget_in])
        if not value:
            why = ended.get("error", "its cost probe does not tell")
            raise UserError(f"what {contender.id} costs is not known: {why}")
        measured.append(float(value))
    if not measured:
        return Prices()
    *alone, together = measured
    network, heads = split(alone, together)
    return Prices(network, dict(zip(plan.tasks, heads, strict=True)))


def split(alone: list[float], together: float) -> tuple[float, list[float]]:
    """An encoder and heads, in networks of all tasks: together they cost 1.

    With shared encoder e and heads h a task alone costs e + h, all together e + the sum of heads;
    so e is (the sum of those alone - together) / (T - 1). Exact for parameters of hard sharing.
    Where less is saved by sharing than nothing, there is no encoder to share and a group costs
    the sum of its tasks.

    >>> split([6.0, 6.0], 8.0)
    (0.5, [0.25, 0.25])
    """
    if len(alone) < 2 or together >= sum(alone):
        return 0.0, [value / sum(alone) for value in alone]
    encoder = (sum(alone) - together) / (len(alone) - 1)
    heads = [max(value - encoder, 0.0) / together for value in alone]
    return max(1.0 - sum(heads), 0.0), heads


def budget_words(unit: str, limit: float) -> str:
    """'2.5 networks', '2.5 times the parameters of one network for all tasks'."""
    if unit == NETWORKS:
        return f"{limit:g} network{'' if limit == 1 else 's'}"
    return f"{limit:g} times {WORDS[unit]}"


def facts(plan: RelationPlan, outcomes: Outcomes) -> dict[str, Any] | None:
    """The "budget" of `results.json`: limit, unit, words, and what groups were taken to cost."""
    relation = plan.relation
    if relation.budget is None:
        return None
    found: dict[str, Any] = {
        "limit": relation.budget,
        "in": relation.budget_in,
        "words": budget_words(relation.budget_in, relation.budget),
    }
    try:
        known = prices(plan, outcomes)
    except UserError as error:
        return found | {"undefined": str(error)}
    if known is None:
        return found | {"undefined": "costs have not been measured"}
    return found | {"network": known.network, "tasks": dict(known.tasks or {})}
