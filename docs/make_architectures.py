"""Write `architectures.md`: one section an architecture, from its docstring and declarations.

`python docs/make_architectures.py` after adding or changing an architecture; a test compares the
page. Parameters and operations are counted, on the digits that scikit-learn brings.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from textwrap import fill
from typing import Any

from polytask import registry
from polytask.architectures import Architecture
from polytask.data import load_dataset
from polytask.study.sizes import COUNTED, sizes

PAGE = Path(__file__).with_name("architectures.md")
DATA = "digits"
GIVEN = ("encoder", "tasks", "heads", "example", "head_hidden")
"""Arguments that every architecture has; the page tells them once."""
HEAD = """# Architectures

An architecture takes an encoder and tasks, and decides what the tasks share:
`polytask.create_architecture("mmoe", encoder, tasks, experts=4)`; in a config
`architectures: [hard_sharing, {mmoe: {experts: 4}}]`, on the command line
`--architectures hard_sharing mmoe:experts=4`. The model answers one output per task;
`model(x, tasks=("depth",))` computes only what that task needs, and `model.prune("depth")` is a
copy without the rest. Every one works on every encoder: any `torch.nn.Module`, an encoder of
stages (`polytask.architectures.Staged`), a model of transformers, timm or torch-geometric; what
one asks beyond that stands under *needs*. All take `head_hidden` (widths of hidden layers of every
default head), `heads` (modules of your own by task) and `example` (one batch of inputs, to find
widths that the encoder does not declare).

`model.add_task(task)` adds a task to a trained model. By default all that was there is frozen, and
the other tasks answer the same to the bit while the new one learns on what they have learned:
neither a parameter of theirs moves nor the running statistics of a batch norm. With `freeze=False`
it goes on learning, at `lr_factor` (0.1) times the rate. The weights load into a model that was
built with all tasks. [examples/add_task.py](../examples/add_task.py) does it. In `cross_stitch`
and `sluice` the old columns take nothing of the new one at first, in `multi_depth` the new task
reads as deep as the deepest, in `task_routing` the masks of the old tasks stay. An architecture
whose tasks read each other, or whose layout follows from all of them, refuses (*no new task*).

`single_task`, `soft_sharing`, `cross_stitch`, `nddr` and `sluice` hold one network a task and take
`regularize`, terms of the networks' weights: `l2`, `trace_norm`, `tucker`, `tensor_train`,
`block_sparse`, `cluster`, `mrn`, `amtl`, `decorrelation`, each as a name or with options, as in
`regularize: [l2, {trace_norm: {strength: 0.1}}]` or `regularize: {l2: {strength: 1}, mrn: {}}`;
several are added up (`polytask list regularizers`). In a study `single_task` is what all is judged
against and takes none; write `soft_sharing: {strength: 0, regularize: ...}` there.
`model.regularization()` tells what they find (ranks, correlations of tasks, clusters, who gives to
whom); the report of `polytask compare` shows it, as means over seeds. `add_task` keeps what they
have learned. One of your own passes
`polytask.testing.regularizers.RegularizerConformance`.

One suite tests what each must hold: gradients reach exactly what is declared as shared, some
tasks are computed as all are, pruning and adding change no bit, evaluation is deterministic, state
is saved (`polytask.testing.architectures.ArchitectureConformance`). Yours can be
[one file](own_architecture.md). This page is made from the architectures' docstrings;
`polytask list architectures --data NAME` counts the same for your data.
"""
LEGEND = (
    "*Parameters*, *operations*: of the network, and of a training step an item, as multiples of "
    "hard sharing's, with default options on {tasks} tasks of the {data} and the encoder "
    "`{encoder}`; {counted} are counted. *Features*: whether there is a representation that "
    '`statistic="features"` can read. Methods that read the last shared layers, or all of them, '
    "work wherever parameters are shared."
)


def page() -> str:
    """The whole page."""
    entries = registry.entries("architecture")
    names = [name for name in sorted(entries) if entries[name].group == "architectures"]
    dataset = load_dataset(DATA)
    found = sizes(dataset, names)
    legend = LEGEND.format(tasks=len(dataset.tasks), data=DATA, encoder="resnet", counted=COUNTED)
    table = _table([_row(entries[name], found[name]) for name in names])
    parts = [HEAD, table, fill(legend, 100) + "\n"]
    errors = {name: found[name]["error"] for name in names}
    parts += [f"`{name}` is not counted: {why}\n" for name, why in errors.items() if why]
    return "\n".join([*parts, *(_section(entries[name]) for name in names)])


def _table(rows: list[tuple[str, ...]]) -> str:
    columns = ("architecture", "source", "shares", "needs", "parameters", "operations", "features")
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _row(entry: registry.Entry, size: dict[str, Any]) -> tuple[str, ...]:
    said = {w: entry.constants.get(w) or "-" for w in ("paper", "shares", "requires")}
    ratios = [size["parameters_ratio"], size["flops_ratio"]]
    counted = ["-" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
    features = "-" if entry.constants.get("no_features") or said["shares"] == "nothing" else "yes"
    return (f"[`{entry.name}`](#{entry.name})", *said.values(), *counted, features)


def _section(entry: registry.Entry) -> str:
    architecture = _load(entry)
    parameters = inspect.signature(architecture).parameters.values()
    own = [p.replace(annotation=p.empty) for p in parameters if p.name not in GIVEN]
    arguments = ", ".join(["encoder", "tasks", *map(str, own)])
    text = _escaped(inspect.getdoc(architecture) or "")
    prose, *sections = re.split(r"\n(Args|Raises|Attributes):\n", text)
    body = [f"### {entry.name}", f"`polytask.{architecture.__name__}({arguments})`", prose.strip()]
    if reason := architecture.no_features:
        body.append(f"No features: {reason.rstrip('.')}.")
    if reason := architecture.no_new_task:
        body.append(f"No new task: {reason}")
    for title, listed in zip(sections[::2], sections[1::2], strict=True):
        skip = GIVEN if title == "Args" else ()
        if items := _items(listed, skip):
            body.append(("" if title == "Args" else f"{title}:\n\n") + items)
    return "\n\n".join(body) + "\n"


def _escaped(text: str) -> str:
    """Asterisks that would turn type slanted, outside of formulas, which stand indented.

    Two of them are bold type, and one between spaces is left alone anyway.
    """
    lone = r"(?<![*\s])\*(?!\*)|(?<!\*)\*(?![*\s])"
    lines = text.split("\n")
    return "\n".join(
        line if line.startswith("    ") else re.sub(lone, r"\*", line) for line in lines
    )


def _items(listed: str, skip: tuple[str, ...]) -> str:
    """The entries of a section of a docstring as a list, without those to skip."""
    entries = re.split(r"^    (?=[\w, ]+: )", listed.strip("\n"), flags=re.MULTILINE)
    kept = [e for e in entries if e.strip() and e.partition(":")[0] not in skip]
    lines = [re.sub(r"^([\w, ]+): ", r"- `\1`: ", entry.rstrip()) for entry in kept]
    return re.sub(r"^ {8}", "  ", "\n".join(lines), flags=re.MULTILINE)


def _load(entry: registry.Entry) -> type[Architecture]:
    loaded = entry.load()
    assert issubclass(loaded, Architecture)
    return loaded


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.name}")
