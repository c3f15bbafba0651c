"""Write `which_method.md`: from what a reader has to the methods that suit it, chosen by rule.

`python docs/make_which_method.py` after adding or changing a method; a test compares the page.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from method_facts import LEARNED_UNIT, PROBLEMS, UNITS, Facts, all_facts

PAGE = Path(__file__).with_name("which_method.md")
ROOT = PAGE.parents[1]
COSTS = ROOT / "benchmarks" / "results" / "step_cost.md"

Rule = Callable[[Facts], bool]


@dataclass(frozen=True)
class Answer:
    """Methods chosen by a rule, and the rule in words."""

    words: str
    rule: Rule

    def names(self) -> list[str]:
        """Who satisfies the rule, by name."""
        return [facts.name for facts in all_facts() if self.rule(facts)]

    def line(self) -> str:
        """A list item: the rule, then the names with their sections, or those left out."""
        chosen, every = self.names(), [facts.name for facts in all_facts()]
        rest = [name for name in every if name not in chosen]
        most = len(rest) < len(chosen)
        links = ", ".join(f"[`{name}`](methods.md#{name})" for name in (rest if most else chosen))
        if most:
            return f"- *{self.words}*: all but {links}." if rest else f"- *{self.words}*: all."
        return f"- *{self.words}*: {links or 'none'}."


@dataclass(frozen=True)
class Question:
    """A reader's situation, what to know about it, and the methods for it."""

    title: str
    text: str
    answers: tuple[Answer, ...] = ()

    def section(self) -> str:
        """The Markdown of it."""
        lines = [answer.line() for answer in self.answers]
        return f"## {self.title}\n\n{self.text.strip()}\n" + "".join(f"\n{x}" for x in lines) + "\n"


HEAD = """# Which method when

Where a method is named below, a rule named it: one about what the method's class declares, or about
what it did when it was tried on a small network ([all of it](methods.md)). Methods that you
register yourself are not on this page. Made by `python docs/make_which_method.py`.

## Before any method

1. **Equal weights with a tuned learning rate** are the standard to beat, and they are hard to beat.
   Re-evaluations with equal tuning for all found most elaborate methods level with them
   ([Kurin et al. 2022](https://arxiv.org/abs/2201.04122),
   [Xin et al. 2022](https://arxiv.org/abs/2209.11379)). So did our own demonstration,
   three tasks on the Adult census and five seeds ([README](../README.md)):

{quote}

2. **Random weights** (`rlw`) are the litmus test: what does not beat new random weights at every
   step ([Lin et al. 2022](https://arxiv.org/abs/2111.10603)) does not balance, whatever its theory.
3. **Ask first whether the tasks should share a network at all.** No balancing makes up for tasks
   that do not belong together, and separate networks are one of the answers.

`polytask compare` runs all three in every study. If you want one method without looking further:
`linear`, losses brought to about the same size, and the time saved spent on the learning rate. What
follows helps to choose two or three more to try.
"""

QUESTIONS = (
    Question(
        "The losses have different units, or sizes far apart",
        f"""
A loss in squared metres drowns one in nats. Scale the targets, or let the method see to it. Each
was tried with one loss multiplied by {" and by ".join(f"{unit:g}" for unit in UNITS)}, those that
learn with {LEARNED_UNIT:g}. More of them stop caring when made with `transform="log"`, which
balances log L in place of L (losses must then stay positive).
""",
        (
            Answer("the direction stays from the first step", lambda f: f.units == "yes"),
            Answer("it does so once the weights are learned", lambda f: f.units == "learned"),
            Answer(
                'it stays with `transform="log"`',
                lambda f: f.units == "no" and f.units_with_log,
            ),
        ),
    ),
    Question(
        "Some tasks have few labels, or batches are small and gradients noisy",
        """
Missing labels need no method of their own: a task without a label in a batch is left out of that
step, by every method here. But the geometry of noisy gradients is mostly noise: on Adult a decision
taken on another batch of 256 rows agreed less with the first than one taken on the last layers
alone ([measured, column "noise"](../benchmarks/results/statistics.md)). So read no gradients,
average what is read (`smooth=0.9`), or take independent batches.
""",
        (
            Answer("reads loss values only", lambda f: f.kind == "losses"),
            Answer("takes `smooth=`", lambda f: f.smooths),
            Answer("multiplies gradients of independent batches", lambda f: f.kind == "cross"),
        ),
    ),
    Question(
        "There are many tasks",
        """
What counts is whether the network is walked once a step or once a task. Methods that read gradients
do so on the last shared layers within a budget, by default. In units of one step on the plain sum,
two CPU cores, 40 tasks with light heads:

{many}

The budget gives up some agreement with the exact decision
([measured](../benchmarks/results/statistics.md)).
""",
        (
            Answer(
                "one forward and one backward pass of the network, however many tasks",
                lambda f: (f.forward, f.backward) == (1, 1) and not f.per_task,
            ),
            Answer(
                "more of them, but no more with more tasks",
                lambda f: (f.forward, f.backward) != (1, 1) and not f.per_task,
            ),
            Answer("a backward pass a task", lambda f: f.per_task),
        ),
    ),
    Question(
        "Each task has a heavy head (a decoder)",
        """
Whoever reads gradients walks the heads a second time. With one convolutional decoder a task a step
took {heavy} times as long with 8 tasks and {heavier} times with 40; without reading gradients,
{light} and {lighter} times ([measured](../benchmarks/results/step_cost.md#heavy-heads)).
""",
        (Answer("heads are walked once", lambda f: f.head_backward == 1),),
    ),
    Question(
        "One task matters, the others are there to help it",
        f"""
Say so with `select="main:TASK"`, so that the epoch is chosen by that task, and give helpers the
role auxiliary, so that no verdict is about them. `linear(weights=...)` with two or three weights
for the helpers is again the standard to beat. "Never against" was seen in {len(PROBLEMS)} problems
in which tasks conflict.
""",
        (
            Answer("made for a main task", lambda f: f.group == "main_task"),
            Answer("never against the main task", lambda f: f.never_against_main),
            Answer(
                "learns weights from held-out data",
                lambda f: "validation" in f.needs,
            ),
        ),
    ),
    Question(
        "No task may be sacrificed",
        f"""
These never chose a direction that goes uphill for any task, in {len(PROBLEMS)} problems of 2 to 8
conflicting tasks, some with fewer parameters than tasks. It holds to first order, for this batch,
and on the parameters that were read: with `statistic="exact"` on all that are shared. It is no
promise about the test score.
""",
        (Answer("never against a task", lambda f: f.never_against),),
    ),
    Question(
        "Only one line of the training loop can change",
        """
`balancer.backward(losses)` in place of `loss.backward()`. Other methods need a closure, held-out
data, several batches or a word at the end of an epoch; the error at the first call shows the lines
to add, and the Trainer, the estimator and the command add them by themselves.
""",
        (Answer("needs nothing beside the losses", lambda f: not f.needs),),
    ),
    Question(
        "Memory is tight",
        """
Peak memory of a step beyond what was held before it, four transformer layers, 40 tasks
([measured](../benchmarks/results/step_cost.md#transformer)):
{peaks}.
A method that needs the whole Jacobian holds a gradient a task.
""",
        (
            Answer("holds the Jacobian", lambda f: f.kind == "jacobian"),
            Answer("a second forward pass or more", lambda f: f.forward > 1),
        ),
    ),
    Question(
        "The model goes through torch.compile, or training runs on several devices",
        """
A model that is compiled as a whole hides which parameters the tasks share. Methods that need not
know take it as it is. For the others compile the encoder and each head on their own and pass
`features=`; where that is needed the error says so. One training runs in one process on one device;
a study uses several processes, a run in each.
""",
        (
            Answer(
                "takes a model compiled as a whole",
                lambda f: f.kind == "losses" and f.method.default_heads == "weighted",
            ),
        ),
    ),
    Question(
        "Every run should be the same",
        """
All of them repeat bit for bit under the same seed ([how far that goes](determinism.md)). Some draw
random numbers: from torch's generator, or from one of their own, `generator=`, which is saved with
the state.
""",
        (
            Answer("random", lambda f: f.random),
            Answer(
                "keeps something from step to step: save `balancer.state_dict()` too",
                lambda f: f.learns,
            ),
        ),
    ),
)

TAIL = """## Find out on your own data

```
polytask compare --data yours.csv --targets price:regression sold:binary \\
  --methods uncertainty pcgrad --seeds 5 --out runs/yours
```

Give every method the same search over learning rates, choose on validation, judge once on test,
repeat with five seeds, and look at the difference with its interval rather than at the rank:
`compare` does all of that, at equal epochs and at equal measured cost. "No difference that can be
told from noise" is a frequent answer and a good one: keep `linear`.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD.format(quote=_indented(_verdict())), *(q.section() for q in QUESTIONS), TAIL]
    text = "\n".join(parts)
    for word, value in _numbers().items():
        text = text.replace("{" + word + "}", value)
    return text


def _verdict() -> str:
    """What the README says that the demonstration found."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^(> No evidence.*?)\n\n", readme, flags=re.MULTILINE | re.DOTALL)
    assert found is not None, "README.md no longer quotes the demonstration's verdict"
    return found[1]


def _indented(text: str) -> str:
    return "\n".join(f"   {line}" for line in text.splitlines())


def _numbers() -> dict[str, str]:
    """The measured costs that the page quotes."""
    read, steps = costs(), ("losses (rlw)", "features", "tail (budget)", "exact")
    nets = ("mlp", "cnn", "transformer")
    shown = {"losses (rlw)": "loss values", "tail (budget)": "the default, on a budget"}
    lines = ["| network | " + " | ".join(shown.get(s, f"`{s}`") for s in steps) + " |"]
    lines += ["|" + "---|" * (len(steps) + 1)]
    lines += [
        f"| {net} | " + " | ".join(read[net, 40, step][0] for step in steps) + " |" for net in nets
    ]
    reading, not_reading = "tail (budget)", "losses (rlw)"
    peaks = (("the plain sum", "plain sum"), ("the default", reading), ("`exact`", "exact"))
    return {
        "many": "\n".join(lines),
        "heavy": read["heavy heads", 8, reading][0],
        "heavier": read["heavy heads", 40, reading][0],
        "light": read["heavy heads", 8, not_reading][0],
        "lighter": read["heavy heads", 40, not_reading][0],
        "peaks": ", ".join(f"{word} {read['transformer', 40, s][1]} MiB" for word, s in peaks),
    }


def costs() -> dict[tuple[str, int, str], tuple[str, str]]:
    """(network, tasks, step) -> (times a plain step, peak MiB), from the committed table."""
    found: dict[tuple[str, int, str], tuple[str, str]] = {}
    net, tasks = "", 0
    for line in COSTS.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            net = line[3:].strip()
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 4 and cells[3].isdigit():
            tasks = int(cells[0] or tasks)
            found[net, tasks, cells[1]] = (cells[2].partition(" ")[0], cells[3])
    return found


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.name}")
