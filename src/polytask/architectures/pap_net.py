"""PAP-Net, light: which places are alike, learned from all tasks and used by each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._checks import positive_ints
from polytask.architectures._distillation import Refine, axes_of, drawn, early_heads, own_parts
from polytask.architectures._heads import build_heads
from polytask.architectures._init import draw_seed
from polytask.architectures._inputs import channel_dim_of, representation_width
from polytask.architectures._layout import Context
from polytask.architectures._per_task import PerTask
from polytask.architectures._represent import represent
from polytask.architectures.stages import adapted
from polytask.errors import UserError


class PAPNet(Architecture):
    """PAP-Net, light: which places are alike, learned from all tasks and used by each.

    After Z. Zhang, Z. Cui, C. Xu, Y. Yan, N. Sebe, J. Yang, "Pattern-Affinitive Propagation
    across Depth, Surface Normal and Semantic Segmentation", CVPR 2019,
    https://arxiv.org/abs/1906.03525. From the representation z = f(x) of a shared encoder, over
    its P places:

        F_i = refine_i(z)                                   features of task i
        early answer of i = initial_i(F_i)                  learned with the task's own loss
        M_i = softmax(Q_i F_i (K_i F_i)^T / sqrt(width))    affinity, [P, P]; its rows sum to 1
        A_i = sum over j of a_ij M_j                        a_i = softmax: sums to 1 over tasks
        F_i <- beta A_i F_i + (1 - beta) F_i                `steps` times
        output of i = head_i(decode_i(F_i))

    Light, because the paper's affinities are of features of reduced size, its networks decode at
    several resolutions, and its losses have a further term on affinities of the labels: none of
    it is here. beta = 0 is the network without diffusion. The start has all a_ij equal.

    What to know of it:

    - **Memory grows with the square of the places**: P ** 2 numbers an item and task (16 x 16
      places: 65,536). Use it over a coarse map.
    - **One task needs all**, as in `PADNet`: M_j goes into every output. Early answers count in
      the loss likewise, and are not computed in evaluation.
    - Rows [N, C] have no places and nothing to be alike: then these are networks that share the
      encoder alone. Places are known by `example`, or else by tasks with labels at every place.
    - Padding of tokens is left out: no place takes anything from it.

    Cost of T tasks: one encoder pass, 2 T width P ** 2 + T ** 2 P ** 2 multiplications an item for
    affinities and as many again a step. Features are the list of the affinities and of the
    F_i of the tasks asked for.

    Args:
        encoder: any module that answers one tensor [N, d], [N, C, H, W] or tokens.
        tasks: tasks by name, or in a list.
        width: channels of every task's features.
        beta: how much of the mean over alike places is taken at every step, in [0, 1]; 0.5 is this
            library's choice.
        steps: how often.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name, for features of `width` channels.
        example: one batch of inputs, as the model will get it, for a dry run of the encoder.

    Raises:
        UserError: as `HardSharing`; a width or steps below 1, beta outside [0, 1].

    """

    paper = "Zhang 2019"
    shares = "the encoder, and which places are alike"
    requires = "maps [N, C, H, W] or tokens; best tasks with a label at every place"
    no_new_task = (
        "every task reads a mean of all tasks' affinities. Train all tasks anew, or use adapters "
        "or mtan, where tasks do not read each other."
    )

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        width: int = 32,
        beta: float = 0.5,
        steps: int = 1,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        (width,) = positive_ints("width", (width,), may_be_empty=False)
        (steps,) = positive_ints("steps", (steps,), may_be_empty=False)
        if isinstance(beta, bool) or not isinstance(beta, int | float) or not 0 <= beta <= 1:
            raise UserError(f"beta must be a number in [0, 1], found {beta!r}.")
        encoder = adapted(encoder)
        self.beta, self.steps = float(beta), steps
        self.width = representation_width(encoder, example)
        self.encoder = encoder
        self.sources = self.task_names
        dim, seed = channel_dim_of(encoder), draw_seed()
        self.channel_dim = dim
        axes = axes_of(encoder, example, [output.places for output in self.outputs.values()])

        def refine(name: str, before: int) -> Refine:
            return drawn(seed, name, encoder, Refine, before, width, dim, axes == 2)

        # In the order of `sources`, and not `PerTask`: with affinities they serve every task.
        self.refine = nn.ModuleList(refine(f"features/{t}", self.width) for t in self.sources)
        self.affinity: nn.ModuleList | None = None
        self.mix: PerTask | None = None
        if axes and beta:
            self.affinity = nn.ModuleList(
                drawn(seed, f"affinity/{t}", encoder, Affinity, width, dim) for t in self.sources
            )
            if len(self.sources) > 1:
                count = len(self.sources)
                mixes = {t: drawn(seed, "mix", encoder, Mix, count) for t in self.sources}
                self.mix = PerTask(mixes)
        self.decode = PerTask({t: refine(f"decode/{t}", width) for t in self.sources})
        self.initial = early_heads(self.outputs, width, encoder, seed, dim)
        self.heads = build_heads(
            self.outputs,
            width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=seed,
            channel_dim=dim,
        )

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """One encoder pass, the affinities of all tasks, then what is these tasks' own."""
        z, context = represent(self.encoder, x, self.width)
        read = tasks if self.affinity is None else self.sources
        features = {task: self.refine[self.sources.index(task)](z) for task in read}
        if self.affinity is None:
            return {t: self._answer(t, features[t], None, context) for t in tasks}, z
        pairs = zip(self.affinity, features.values(), strict=True)
        affinities = torch.stack([part(f, context) for part, f in pairs])
        # Nodes of their own: what goes on to the affinities does not run through them.
        own = {task: features[task].view_as(features[task]) for task in tasks}
        outputs = {t: self._answer(t, own[t], affinities, context) for t in tasks}
        return outputs, [affinities, *own.values()]

    def _answer(
        self, task: str, own: Tensor, affinities: Tensor | None, context: Context
    ) -> Tensor:
        """The early answer, the diffusion and the output of one task."""
        if self.training:
            self.supervise(task, self.initial[task](own, context))
        if affinities is not None:
            mixed = affinities[0] if self.mix is None else self.mix[task](affinities)
            own = diffused(own, mixed, self.beta, self.steps, self.channel_dim)
        return self.heads.answer(task, self.decode[task](own), context)

    def shared_parameters(self) -> dict[str, tuple[str, ...]]:
        """With affinities, the features of a task are used by all; without, by itself."""
        users = super().shared_parameters()
        if self.affinity is None:
            users |= own_parts(users, "refine", self.sources)
        return users


class Affinity(nn.Module):
    """How alike the places are for one task: [N, P, P], rows in (0, 1) that sum to 1."""

    def __init__(self, width: int, channel_dim: int) -> None:
        super().__init__()
        # Of keys, a bias would add the same to a whole row, which a softmax does not see.
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.channel_dim = channel_dim

    def forward(self, h: Tensor, context: Context) -> Tensor:
        """Affinities of the places of `h`, none to padding."""
        flat = flattened(h, self.channel_dim)
        scores = self.query(flat) @ self.key(flat).transpose(1, 2) / math.sqrt(flat.shape[-1])
        mask = context.get("mask")
        if mask is not None and mask.shape == flat.shape[:2]:
            # Not minus infinity: an item may be padding alone.
            scores = scores.masked_fill(~mask[:, None], torch.finfo(scores.dtype).min)
        return scores.softmax(dim=-1)


class Mix(nn.Module):
    """What one task makes of the affinities of all [T, ...]: a mean with learned weights."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(count))

    def forward(self, affinities: Tensor) -> Tensor:
        """Their weighted mean."""
        shares = self.scores.softmax(0)
        return (shares[:, None, None, None] * affinities).sum(0)


def diffused(h: Tensor, affinity: Tensor, beta: float, steps: int, channel_dim: int) -> Tensor:
    """`h` after some steps towards the mean over alike places, in the layout it came in."""
    flat = flattened(h, channel_dim)
    for _ in range(steps):
        flat = beta * (affinity @ flat) + (1 - beta) * flat
    if channel_dim == 1:
        return flat.transpose(1, 2).unflatten(2, h.shape[2:])
    return flat.unflatten(1, h.shape[1:-1])


def flattened(h: Tensor, channel_dim: int) -> Tensor:
    """Features as [N, places, channels]."""
    return h.flatten(2).transpose(1, 2) if channel_dim == 1 else h.flatten(1, -2)
