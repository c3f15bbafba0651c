"""Cascaded tasks: low ones at shallow stages, whose predicted labels the later ones read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Self

from torch import Tensor, nn

from polytask.architectures._anchor import Anchor
from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._heads import Heads, as_new, build_heads
from polytask.architectures._init import draw_seed
from polytask.architectures._inputs import check_representation, representation_width
from polytask.architectures._labels import LabelEmbedding, added, reading
from polytask.architectures._layout import Context
from polytask.architectures._numbers import counted, within
from polytask.architectures._per_task import module_key
from polytask.architectures._represent import leave
from polytask.architectures._reversal import scaled_gradient
from polytask.architectures.stages import as_stages, begin, enter, run, stage_widths
from polytask.errors import UserError, unknown


class Cascaded(Architecture):
    """Cascaded tasks: low ones at shallow stages, whose predicted labels the later ones read.

    K. Hashimoto, C. Xiong, Y. Tsuruoka, R. Socher, "A Joint Many-Task Model: Growing a Neural
    Network for Multiple NLP Tasks", EMNLP 2017, https://aclanthology.org/D17-1206; V. Sanh et
    al., "A Hierarchical Multi-task Approach" (HMTL), AAAI 2019,
    https://arxiv.org/abs/1811.06031. Task i of T in `order` (counted from 1) reads the encoder
    after stage ceil(i S / T) of S, and the features then go on as

        h + sum_j p(label j) e_j,

    with the task's probabilities p and an embedding e_j of each label (eq. 4 of the paper): the
    later tasks know what the earlier ones answered, token by token or for the item. Binary and
    multilabel outputs are read by sigmoid, numbers as they are (a linear map). Tasks at the
    same stage cascade too, as do all with an encoder of one stage.

    **Successive regularisation**: delta * ||theta - theta'||^2 is minimised too, theta being what
    two tasks or more use (encoder, label embeddings, heads whose answers are read on) and theta'
    an earlier value, so that one task does not undo what another learned. In the paper each
    epoch trains the tasks in turn, and theta' is from the end of the task before. **Here a step
    trains all tasks**, so theta' is of some steps ago: it is taken anew after every `every` steps
    (and at the start: build the model on weights loaded before). So the term slows the shared
    part down; it is 0 right after theta' is taken. It costs a copy of the shared parameters.

    Where this departs from the papers: labels are added to the features, since a stage of any
    encoder reads a fixed width, which is concatenating them with the label's map tied; embeddings
    start at 0, so that untrained and pretrained encoders start as multi-depth heads; each stage
    reads the one before, without a shortcut from the words; HMTL passes features on, not labels.

    **A task's loss reaches the heads of all earlier ones** through their labels, and a task is
    answered only after all before it: `prune` keeps their heads. `detach_labels` stops these
    gradients (as zeros: later tasks still count as users of those heads). The order is a choice
    of the user's; the default is that of the tasks. Early mistakes are passed on: the paper
    trains low tasks first. Cost of a step: one encoder pass, and the exit once a task that
    reads the last stage.

    Args:
        encoder: any module, best one of several stages (see `stages`).
        tasks: tasks by name, or in a list. Their `kind`, if they have one, says how outputs are
            read; without it several outputs are classes, a single one is a number.
        order: names of all tasks, low ones first; None is the order of the tasks.
        delta: weight of the successive regularisation, 0.01 as in the paper; 0 leaves it out.
        every: optimizer steps between two earlier values.
        detach_labels: no gradient from a later task through an earlier one's label.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name, each for the width at its stage.
        example: one batch of inputs, for a dry run where widths of stages are not declared.

    Raises:
        UserError: as `HardSharing`; an order that is not of all tasks; delta below 0.

    """

    paper = "Hashimoto 2017; Sanh 2019"
    shares = "the stages up to the lower task's; later tasks read earlier answers"
    requires = "several stages; with one, tasks differ by the labels they read"
    no_new_task = (
        "at which stage a task reads follows from the number of tasks, and later ones read the "
        "labels of earlier ones. multi_depth has depths of one's own and takes one more."
    )
    no_features = (
        "a task's answer is read by the later ones, so the only features on every path are the "
        "answers themselves, where no two tasks meet"
    )

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        order: Sequence[str] | None = None,
        delta: float = 0.01,
        every: int = 100,
        detach_labels: bool = False,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        listed = list(tasks.values()) if isinstance(tasks, Mapping) else list(tasks)
        super().__init__(encoder, tasks if isinstance(tasks, Mapping) else listed)
        self.order = _order(order, self.task_names)
        self.delta = within("delta", delta, least=0)
        self.every = counted("every", every)
        self.detach_labels = detach_labels
        self.encoder = as_stages(encoder)
        stages, count = len(self.encoder.stages), len(self.order)
        # -(-a // b) is a / b rounded up, in whole numbers.
        self.depths = {task: -(-(i + 1) * stages // count) for i, task in enumerate(self.order)}
        after = stage_widths(self.encoder, example)
        self.width = representation_width(self.encoder, example)
        self.widths = {
            task: self.width if depth == stages else after[depth - 1]
            for task, depth in self.depths.items()
        }
        built = build_heads(
            self.outputs,
            self.widths,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=draw_seed(),
            channel_dim=self.encoder.channel_dim,
        )
        self.heads = _Chain({task: built[task] for task in self.task_names})
        kinds = {task.name: getattr(task, "kind", None) for task in listed}
        labels: dict[str, nn.Module] = {}
        for task in self.order[:-1]:
            output = self.outputs[task]
            read = reading(kinds[task], output.size)
            made = LabelEmbedding(output, after[self.depths[task] - 1], read)
            labels[task] = as_new(made, encoder)
        self.labels = _Chain(labels)
        self.anchor = Anchor(self._anchored()) if self.delta and self._anchored() else None

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """Task by task in their order, up to the last of these."""
        last = max(self.order.index(task) for task in tasks)
        h, context = enter(self.encoder.entrance, begin(self.encoder, x))
        depth = 0
        answers: dict[str, Tensor] = {}
        for task in self.order[: last + 1]:
            for stage in self.encoder.stages[depth : self.depths[task]]:
                h = run(stage, h, context)
            depth = self.depths[task]
            answers[task] = self.heads.answer(task, self._read(task, h, context), context)
            if task != self.order[last]:
                known = answers[task]
                known = scaled_gradient(known, 0.0) if self.detach_labels else known
                h = added(h, self.labels[task](known), self.encoder.channel_dim, context)
        return {task: answers[task] for task in tasks}, None

    def _read(self, task: str, h: Tensor, context: Context) -> Tensor:
        """What a task's head reads: after the last stage, through the exit."""
        if self.depths[task] == len(self.encoder.stages):
            return leave(self.encoder, h, context, self.width)
        check_representation(self.encoder, h, self.widths[task])
        return h

    def shared_parameters(self) -> dict[str, tuple[str, ...]]:
        """A stage is used by the tasks from its depth on, a head by its task and all later."""
        users = super().shared_parameters()
        own = self.task_names
        stages = len(self.encoder.stages)
        parts = {f"encoder.stages.{i}.": i + 1 for i in range(stages)} | {"encoder.exit.": stages}
        for part, depth in parts.items():
            deep = tuple(task for task in own if self.depths[task] >= depth)
            users.update({name: deep for name in users if name.startswith(part)})
        for place, task in enumerate(self.order):
            later = tuple(other for other in own if self.order.index(other) > place)
            itself = tuple(other for other in own if other == task or other in later)
            for part, who in (("heads", itself), ("labels", later)):
                prefix = f"{part}.{module_key(task)}."
                users.update({name: who for name in users if name.startswith(prefix)})
        return users

    def penalties(self) -> dict[str, Tensor]:
        """The successive regularisation, beside what the base class has."""
        terms = super().penalties()
        if self.anchor is not None:
            terms["successive"] = self.delta * self.anchor.distance(dict(self.named_parameters()))
        return terms

    def after_step(self, lr: float) -> None:
        """Count the step, and take the shared parameters as they are now when it is time."""
        if self.anchor is not None:
            self.anchor.count_step(dict(self.named_parameters()), self.every)

    def prune(self, *tasks: str) -> Self:
        """As the base class does; heads of earlier tasks stay, as their labels are read."""
        pruned = super().prune(*tasks)
        if pruned.anchor is not None and not pruned.anchor.keep(pruned._anchored()):
            pruned.anchor = None
        return pruned

    def _anchored(self) -> dict[str, nn.Parameter]:
        """The trained parameters that two tasks or more use, by name."""
        parameters = dict(self.named_parameters())
        return {
            name: parameters[name]
            for name, users in self.shared_parameters().items()
            if len(users) > 1 and parameters[name].requires_grad
        }


class _Chain(Heads):
    """Modules by task which later tasks use too: pruning leaves those that are needed."""

    def keep(self, tasks: Collection[str]) -> None:
        """Forget the modules that pruning has emptied, whatever the tasks."""
        for key in [key for key, module in self._modules.items() if module is None]:
            del self._modules[key]


def _order(given: Sequence[str] | None, tasks: tuple[str, ...]) -> tuple[str, ...]:
    """The tasks in order; raises `UserError` unless each is named once."""
    if given is None:
        return tasks
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise UserError(
            f"order must be a list of all tasks ({', '.join(tasks)}), low ones first; found "
            f"{given!r}."
        )
    for task in given:
        if task not in tasks:
            raise unknown("task in order:", task, tasks)
    if len(given) != len(tasks) or len(set(given)) != len(tasks):
        raise UserError(
            f"order must name each of {len(tasks)} tasks once ({', '.join(tasks)}), found "
            f"{', '.join(given)}."
        )
    return tuple(given)
