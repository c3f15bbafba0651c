"""Deep multi-task representation learning: the weights of all tasks as one factorised tensor."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._factorised import FORMS, Factorised
from polytask.architectures._heads import as_new, build_heads
from polytask.architectures._init import copies, draw_seed
from polytask.architectures._inputs import representation_width
from polytask.architectures._layout import Context
from polytask.architectures._options import chosen_stages
from polytask.architectures._per_task import PerTask
from polytask.architectures._represent import leave
from polytask.architectures.stages import Staged, adapted, as_stages, begin, enter, run
from polytask.errors import UserError, unknown

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)


class DMTRL(Architecture):
    """Deep multi-task representation learning: the weights of all tasks as one factorised tensor.

    Y. Yang & T. Hospedales, "Deep Multi-task Representation Learning: A Tensor Factorisation
    Approach", ICLR 2017, https://arxiv.org/abs/1605.06391. Every task has its own network; the
    weights of a linear or convolutional layer in all of them form a tensor W [..., tasks], kept
    as factors:

        laf:    W = L S                              S[:, t] is task t's own
        tucker: W = C x_1 U_1 ... x_N U_N x_K U_K    the row U_K[t] is
        tt:     W[i_1, ..., i_N, t] = G_1[i_1] ... G_N[i_N] g[:, t]    the column g[:, t] is

    All other factors are shared by all tasks: how much they share, layer by layer, is learned.
    Factors come from singular value decompositions of the weights at the start, each cut at the
    least rank that leaves out at most `error` of their norm (so W as a whole is off by at most
    `error` times the root of the number of decompositions: 1, N + 1 and N). With `error` 0 the
    model starts as the networks it is made of, but for rounding. Then ranks stay as they are.

    Only the weights of `nn.Linear` and convolutions inside stages are factorised. Everything else
    is each task's own: biases, norms, other parameters, the entrance and exit of the encoder,
    and weights that are frozen, used by several modules, or computed from others. The attribute
    `factorised` names the weights, by stage.

    **What to start from.** The paper decomposes single-task networks that are trained already:
    pass them as `networks`. Weights drawn at random, as here without them, have no low rank among
    K tasks: below an error of about 1 / sqrt(K) nothing is cut there, and tasks are tied only in
    that they move the same factors. Networks that start all the same (`fresh=False`) have rank 1
    among tasks, and then can differ in a layer by a factor only. A state that is loaded brings
    its ranks.

    Published code and paper differ in the default error, 1 against 10 percent; here as in the
    paper. The code's Tucker and TT decompose kernels with their height and width as dimensions
    of their own, as here.

    Features: none, as every task has weights, and so features, of its own at every layer. A lone
    task has nothing to be factorised with: it is `HardSharing` of that task.

    Cost of a step: as many encoders as tasks, and for every task and layer the product of the
    factors. Parameters: for random weights more than those of the networks, by the bases (the
    squares of the sizes of a weight under "tucker").

    Args:
        encoder: any module, see `as_stages`; it is copied, never used.
        tasks: tasks by name, or in a list.
        form: "laf", "tucker" or "tt".
        error: share of the norm that a decomposition may leave out, in [0, 1).
        stages: the stages whose layers are factorised, from 1. None: all.
        networks: a trained encoder by task name, each built as `encoder`; copied, never used.
        fresh: whether networks are drawn apart, where none are given.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name.
        example: one batch of inputs, as the model will get it, for a dry run of the encoder.

    Raises:
        UserError: as `HardSharing`; options out of range; stages without such a layer; networks
            of other tasks, or that differ from the encoder in a parameter's shape.

    """

    paper = "Yang & Hospedales 2017"
    shares = "factors of every layer's weights"
    requires = "linear or convolutional layers inside stages"
    no_new_task = (
        "the weights of all tasks are factors of one tensor, which has a rank for as many as there "
        "are. Build a model of all tasks, with networks= trained alone, or soft_sharing."
    )
    no_features = (
        "every task has weights of its own at every layer, made of factors that all share, so the "
        "tasks' gradients meet at those factors and at no features"
    )

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        form: Literal["laf", "tucker", "tt"] = "tucker",
        error: float = 0.1,
        stages: Sequence[int] | None = None,
        networks: Mapping[str, nn.Module] | None = None,
        fresh: bool = True,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        if form not in FORMS:
            raise unknown("form", form, FORMS)
        if isinstance(error, bool) or not isinstance(error, int | float) or not 0 <= error < 1:
            raise UserError(
                f"error must be a number from 0 up and below 1, found {error!r}; 0 cuts nothing."
            )
        encoder = adapted(encoder)
        staged = as_stages(encoder)
        self.width = representation_width(staged, example)
        seed = draw_seed()
        if networks is None:
            made, self.copied = copies(encoder, self.task_names, seed, fresh=fresh)
        else:
            made, self.copied = _copied(networks, encoder, self.task_names), ()
        self.columns = PerTask({task: as_stages(made[task]) for task in self.task_names})
        chosen = chosen_stages(stages, len(staged.stages))
        self.factorised = layers_of(staged, chosen) if len(self.outputs) > 1 else ()
        if not self.factorised and len(self.outputs) > 1:
            raise UserError(
                "expected trainable linear or convolutional layers to factorise, found none in "
                f"stages {list(chosen)} of {type(encoder).__name__}. Choose other stages."
            )
        self.layers = nn.ModuleList()
        for _, name in self.factorised:
            weights = [self._taken(task, name) for task in self.task_names]
            stack = torch.stack(weights, dim=-1).double()
            self.layers.append(as_new(FORMS[form](stack, self.task_names, error), encoder))
        self.heads = build_heads(
            self.outputs,
            self.width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=seed,
            channel_dim=staged.channel_dim,
        )

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """The networks of these tasks, with the weights that the factors stand for."""
        outputs = {}
        for task in tasks:
            column = self._column(task)
            h, context = enter(column.entrance, begin(column, x))
            for number, stage in enumerate(column.stages, 1):
                h = _run_with(stage, self._weights(task, number), h, context)
            z = leave(column, h, context, self.width)
            outputs[task] = self.heads.answer(task, z, context)
        return outputs, None

    def ranks(self) -> dict[str, int]:
        """Rank among tasks by layer: 1 where weights differ by a factor, at most their number."""
        kept = next(iter(self.outputs))
        return {
            f"stages.{name}": len(layer.rows[kept]())
            for (_, name), layer in zip(self.factorised, self._factors(), strict=True)
        }

    def _factors(self) -> list[Factorised]:
        return [layer for layer in self.layers if isinstance(layer, Factorised)]

    def _column(self, task: str) -> Staged:
        column = self.columns[task]
        assert isinstance(column, Staged)
        return column

    def _taken(self, task: str, name: str) -> Tensor:
        """The weight of a task's network, which loses it."""
        owner, _, last = f"stages.{name}".rpartition(".")
        module = self._column(task).get_submodule(owner)
        weight: Tensor = module.get_parameter(last).detach()
        setattr(module, last, None)
        return weight

    def _weights(self, task: str, number: int) -> dict[str, Tensor]:
        """The factorised weights of a stage, by their names in it."""
        return {
            name.partition(".")[2]: layer(task)
            for (stage, name), layer in zip(self.factorised, self._factors(), strict=True)
            if stage == number
        }


def layers_of(encoder: Staged, stages: Sequence[int]) -> tuple[tuple[int, str], ...]:
    """The weights to factorise: the number of the stage, and the name in `encoder.stages`."""
    parameters = encoder.named_parameters(remove_duplicate=False)
    uses = Counter(id(parameter) for _, parameter in parameters)
    found = []
    for number in stages:
        for path, layer in encoder.stages[number - 1].named_modules():
            weight = layer._parameters.get("weight") if isinstance(layer, LAYERS) else None
            if weight is not None and weight.requires_grad and uses[id(weight)] == 1:
                found.append((number, ".".join([str(number - 1), *filter(None, [path]), "weight"])))
    return tuple(found)


def _run_with(stage: nn.Module, weights: dict[str, Tensor], h: Tensor, context: Context) -> Tensor:
    """`stages.run`, with these weights in place of the missing ones."""
    if not weights:
        return run(stage, h, context)
    reads = (h, context) if getattr(stage, "takes_context", False) else (h,)
    after: Tensor = functional_call(stage, weights, reads, tie_weights=False)
    return after


def _copied(
    networks: Mapping[str, nn.Module], encoder: nn.Module, tasks: Sequence[str]
) -> dict[str, nn.Module]:
    """Copies of the given networks; raises `UserError` unless they fit tasks and encoder."""
    for task in networks:
        if task not in tasks:
            raise unknown("task in networks:", task, tasks)
    own: dict[str, nn.Module] = {}
    shapes = {name: tuple(p.shape) for name, p in encoder.named_parameters()}
    for task in tasks:
        network = networks.get(task)
        if not isinstance(network, nn.Module):
            raise UserError(
                f"networks must hold a trained encoder for every task, found {network!r} for "
                f"{task!r}. Add it, or leave networks out to draw all of them."
            )
        own[task] = copy.deepcopy(adapted(network))
        found = {name: tuple(p.shape) for name, p in own[task].named_parameters()}
        if found != shapes:
            odd = next(n for n in [*shapes, *found] if found.get(n) != shapes.get(n))
            raise UserError(
                f"networks[{task!r}] must have the parameters of the encoder: expected {odd!r} of "
                f"shape {shapes.get(odd)}, found {found.get(odd)}. Build all of them alike."
            )
    return own
