"""Write `methods.md`: one section a method, from its own docstring and declarations.

`python docs/make_methods.py` after adding or changing a method; a test compares the page.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from method_facts import LEARNED_UNIT, PROBLEMS, UNITS, Facts, all_facts

from polytask import registry
from polytask.optimization import Balancer

PAGE = Path(__file__).with_name("methods.md")
READS = {
    "losses": "losses",
    "row": "one row of the Gramian",
    "gramian": "Gramian",
    "cross": "Gramian of two batches",
    "jacobian": "Jacobian",
}
GROUPS = {
    "loss_weighting": "Weights from loss values",
    "gradients": "Weights or a direction from gradients",
    "main_task": "Helpers around a main task",
}
HEAD = """# Methods

Every method is a balancer: `polytask.create_method("pcgrad").backward(losses)` in place of
`loss.backward()`; in a config `methods: [pcgrad, {cagrad: {c: 0.4}}]`, on the command line
`--methods pcgrad cagrad:c=0.4`. All take the options of `polytask.Balancer` too: `heads`,
`scale`, `statistic`, `depth`, `budget`, `transform`, `groups`, `refresh_every`, `smooth`,
`audit_every`, `non_finite`, `generator`. One suite tests what each must hold: finite weights on
degenerate Gramians, no absolute scale, absent tasks, saved state, bfloat16, non-finite losses
(`polytask.testing.methods.BalancerConformance`). [Which method when](which_method.md) starts from
what you have. This page is made from the methods' docstrings and from trying each of them.
"""
LEGEND = f"""
*Passes*: forward and backward passes of the whole network in one step with three tasks, and
backward passes of one head, counted. *Units*: whether the direction stays as it is when one loss is
multiplied by {" or ".join(f"{unit:g}" for unit in UNITS)} from the first step, or by
{LEARNED_UNIT:g} once the weights are learned. *Against*: for whom the direction never went uphill,
in {len(PROBLEMS)} problems of 2 to 8 tasks that conflict, on the parameters it read. *Random*,
*state*: whether two generators give two steps, and whether a step depends on those before.
"""


def page() -> str:
    """The whole page."""
    entries = registry.entries("method")
    parts = [HEAD, _table(all_facts()) + LEGEND]
    for group, title in GROUPS.items():
        parts.append(f"## {title}\n")
        parts += [_section(e) for _, e in sorted(entries.items()) if e.group == group]
    return "\n".join(parts)


def _table(methods: tuple[Facts, ...]) -> str:
    columns = (
        "method", "reads", "heads", "also needs", "passes", "units", "against", "random", "state",
        "source",
    )  # fmt: skip
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_row(facts)) + " |" for facts in methods]
    return "\n".join(lines) + "\n"


def _row(facts: Facts) -> tuple[str, ...]:
    link = re.search(r"https://[^\s,)>]+", inspect.getdoc(facts.method) or "")
    return (
        f"[`{facts.name}`](#{facts.name})",
        READS[facts.kind],
        facts.method.default_heads,
        ", ".join(facts.needs) or "-",
        f"{facts.forward} + {facts.backward}, {facts.head_backward}",
        {"yes": "stays", "learned": "learns", "no": "-"}[facts.units],
        "no task" if facts.never_against else "not main" if facts.never_against_main else "-",
        "yes" if facts.random else "-",
        "yes" if facts.learns else "-",
        link.group().rstrip(".;") if link else "-",
    )


def _section(entry: registry.Entry) -> str:
    method = _load(entry)
    has_own = "__init__" in vars(method)  # else it takes the options of every balancer alone
    own = list(inspect.signature(method).parameters.values()) if has_own else []
    arguments = ", ".join(
        str(p.replace(annotation=inspect.Parameter.empty)) for p in own if p.name != "options"
    )
    text = (inspect.getdoc(method) or "").replace("*", r"\*")
    args = text.find("\nArgs:")
    prose, listed = (text, "") if args < 0 else (text[:args], text[args + 7 :])
    items = re.sub(r"^    (\w+): ", r"- `\1`: ", listed, flags=re.MULTILINE)
    items = re.sub(r"^ {8}", "  ", items, flags=re.MULTILINE).strip()
    names = ", ".join(f"`{alias}`" for alias in entry.aliases)
    also = f" (also {names})" if names else ""
    body = (
        f"### {entry.name}\n\n`polytask.{method.__name__}({arguments})`{also}\n\n{prose.strip()}\n"
    )
    return body + (f"\n{items}\n" if items else "")


def _load(entry: registry.Entry) -> type[Balancer]:
    loaded = entry.load()
    assert issubclass(loaded, Balancer)
    return loaded


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.name}")
