"""Shared-private: one encoder for all tasks, one more for each, kept apart by terms."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._discriminator import Discriminator, take_origin
from polytask.architectures._heads import as_new, build_heads
from polytask.architectures._init import draw_seed, fresh_copy, seeded
from polytask.architectures._inputs import channel_dim_of, representation_width
from polytask.architectures._layout import pooled
from polytask.architectures._numbers import within
from polytask.architectures._per_task import PerTask
from polytask.architectures._represent import represent
from polytask.architectures.stages import adapted
from polytask.errors import UserError


class SharedPrivate(Architecture):
    """Shared-private: one encoder for all tasks, one more for each, kept apart by terms.

    P. Liu, X. Qiu, X. Huang, "Adversarial Multi-task Learning for Text Classification", ACL 2017,
    https://aclanthology.org/P17-1001. With shared features s = f(x) and private p_t = f_t(x), the
    head of task t reads both, side by side: [s; p_t]. Two terms join the tasks' losses:

    - orthogonality (eq. 12): gamma * sum_t ||S^T P_t||_F^2, rows of S and P_t one item each. Here
      features are pooled to one vector an item, and S^T P_t is divided by the number of items:
      as printed, the term would grow with the square of the batch. **By default the columns are
      centred and every row scaled to length 1 first**, which the paper does not print but code
      that goes round does (after K. Bousmalis et al., "Domain Separation Networks", NeurIPS
      2016): then it is at most 1 a task. `normalise=False` takes features as they are; that term
      grows with their width and falls with their size, and at the paper's gamma it can drown
      the losses: on a transformer 64 wide with three tasks it began at 90, their losses at 2.
    - adversary (eq. 10): lambda * cross-entropy of a linear discriminator that tells from s which
      set an item comes from, behind a gradient reversal: it learns to tell, the shared encoder
      learns that it cannot, until the discriminator is at chance, log K.

    **The adversary needs to know where an item comes from.** In the paper every batch belongs to
    one task, each with a data set of its own. Where an item has labels of several tasks, s is one
    vector for them all, and there is nothing to tell: a discriminator of tasks says nothing. So
    it is there only with `origin`, the name of an input that holds each row's set, int64 [N] from
    0 to K - 1. That input is taken out before any encoder sees the batch, and may be missing in
    evaluation. Without `origin`, only the orthogonality acts. The encoders of this library refuse
    inputs that they would leave unread, so `origin` is for encoders of your own.

    At chance, that one discriminator is fooled, no more: a classifier trained on s afterwards often
    tells the sets apart all the same. Try one before calling s free of them.

    The discriminator belongs to no task: no output depends on it, and `prune` drops it. Features:
    s. Cost of a step: 1 + tasks encoder passes, and as many encoders of memory.

    Args:
        encoder: any module; used as it is for what is shared, with the weights it has. Private
            ones are copies, drawn anew from a stream of their own for the seed and task name;
            parts that cannot be are named in `copied`, and start as they are in `encoder`.
        tasks: tasks by name, or in a list.
        gamma: weight of the orthogonality, 0.01 as in the paper; 0 leaves it out.
        normalise: take the orthogonality of centred rows of length 1; False is the paper's form.
        adversarial: lambda, 0.05 as in the paper; 0 leaves the adversary out.
        origin: name of the input that says which set each row is from; None: no adversary.
        origins: K, how many sets there are; None is one a task, as in the paper.
        fresh: False starts private encoders from the weights of `encoder`, for a pretrained one:
            s and p_t are then the same at first, and only the terms and losses part them.
        head_hidden, heads, example: as in `HardSharing`; a head given reads twice the width.

    Raises:
        UserError: as `HardSharing`; weights below 0, `origins` without `origin` or below 2. In
            `forward`, when training: no such input, or one that is not int64 [N] from 0 to K - 1.

    """

    paper = "Liu, Qiu, Huang 2017"
    shares = "one encoder; every task has one more of its own"

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        gamma: float = 0.01,
        normalise: bool = True,
        adversarial: float = 0.05,
        origin: str | None = None,
        origins: int | None = None,
        fresh: bool = True,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        encoder = adapted(encoder)
        self.gamma = within("gamma", gamma, least=0)
        self.normalise = normalise
        self.adversarial = within("adversarial", adversarial, least=0)
        self.origin = origin
        sets = _sets(origin, origins, len(self.outputs))
        example, _ = take_origin(example, origin)
        self.width = representation_width(encoder, example)
        self.channel_dim = channel_dim_of(encoder)
        seed = draw_seed()
        self.encoder = encoder
        private, self.copied = _private(encoder, self.task_names, seed, fresh)
        self.private = PerTask(private)
        self.discriminator: Discriminator | None = None
        if origin is not None and adversarial and sets > 1:
            with seeded(seed, "discriminator"), torch.device("cpu"):
                made = Discriminator(self.width, sets)
            self.discriminator = as_new(made, encoder)
        self.heads = build_heads(
            self.outputs,
            2 * self.width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=seed,
            channel_dim=self.channel_dim,
        )

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """One pass of the shared encoder and one of each of these tasks' own."""
        x, sets = take_origin(x, self.origin)
        shared, context = represent(self.encoder, x, self.width)
        outputs, private = {}, []
        for task in tasks:
            own, its = represent(self.private[task], x, self.width)
            both = torch.cat([shared, own], dim=self.channel_dim)
            outputs[task] = self.heads.answer(task, both, context)
            private.append(pooled(own, self.channel_dim, its))
        if self.training:
            self._part(pooled(shared, self.channel_dim, context), private, sets)
        return outputs, shared

    def _part(self, s: Tensor, private: Sequence[Tensor], sets: Tensor | None) -> None:
        """The terms that keep apart what is shared, [N, C], and what is private."""
        if self.gamma:
            overlaps = torch.stack([_overlap(s, p, self.normalise) for p in private])
            self.term("orthogonality", self.gamma * overlaps.sum())
        if self.discriminator is not None:
            self.term("adversary", self.adversarial * self.discriminator.loss(s, sets))

    def shared_parameters(self) -> dict[str, tuple[str, ...]]:
        """The discriminator is used by no task's output."""
        users = super().shared_parameters()
        return {
            name: () if name.startswith("discriminator.") else who for name, who in users.items()
        }


def _overlap(s: Tensor, p: Tensor, normalise: bool) -> Tensor:
    """||S^T P / N||_F^2 of rows [N, C], in float32."""
    with torch.autocast(s.device.type, enabled=False):
        rows = [part.to(torch.promote_types(part.dtype, torch.float32)) for part in (s, p)]
        if normalise:
            rows = [normalize(part - part.mean(dim=0), eps=1e-6) for part in rows]
        return (rows[0].mT @ rows[1] / len(s)).square().sum()


def _private(
    encoder: nn.Module, tasks: Sequence[str], seed: int, fresh: bool
) -> tuple[dict[str, nn.Module], tuple[str, ...]]:
    """One more encoder a task, and the submodules that could not be drawn anew.

    Unlike in `copies`, a lone task's is drawn anew too: it stands beside the shared one.
    """
    made: dict[str, nn.Module] = {}
    copied: tuple[str, ...] = ()
    for task in tasks:
        if fresh:
            made[task], copied = fresh_copy(encoder, seed, f"private/{task}")
        else:
            made[task] = copy.deepcopy(encoder)
    return made, copied


def _sets(origin: str | None, origins: int | None, tasks: int) -> int:
    """How many sets items come from; raises `UserError` for a number that says nothing."""
    if origins is None:
        return tasks
    if origin is None:
        raise UserError(
            f"origins={origins!r} says how many sets the rows are from, but origin names no input "
            "that tells which. Pass origin='name of the input' too, or leave origins out."
        )
    if not isinstance(origins, int) or isinstance(origins, bool) or origins < 2:
        raise UserError(
            f"origins must be a whole number of at least 2, found {origins!r}: from one set alone "
            "there is nothing to tell. Leave origin out."
        )
    return origins
