"""Write `methods.md`: one section a method, from its own docstring and declarations.

`python docs/make_methods.py` after adding or changing a method; a test compares the page.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

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
(`polytask.testing.methods.BalancerConformance`). This page is made from the methods' docstrings.
"""


def page() -> str:
    """The whole page."""
    entries = registry.entries("method")
    parts = [HEAD, _table(entries)]
    for group, title in GROUPS.items():
        parts.append(f"## {title}\n")
        parts += [_section(e) for _, e in sorted(entries.items()) if e.group == group]
    return "\n".join(parts)


def _table(entries: dict[str, registry.Entry]) -> str:
    lines = ["| method | reads | heads | also needs | source |", "|---|---|---|---|---|"]
    for name, entry in sorted(entries.items()):
        method = _load(entry)
        link = re.search(r"https://[^\s,)>]+", inspect.getdoc(method) or "")
        lines.append(
            f"| [`{name}`](#{name}) | {READS[method.statistic_kind]} | {method.default_heads} | "
            f"{', '.join(method.needs) or '-'} | {link.group().rstrip('.;') if link else '-'} |"
        )
    return "\n".join(lines) + "\n"


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
