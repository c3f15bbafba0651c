"""Soft parameter sharing: one network a task, whose weights a term holds together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from polytask.architectures._base import TaskLike
from polytask.architectures._options import chosen_stages, number
from polytask.architectures.single_task import SingleTask
from polytask.architectures.stages import as_stages
from polytask.errors import UserError, unknown
from polytask.optimization.regularization import Regularizer, Terms, create_regularizers
from polytask.optimization.regularization.l2 import L2
from polytask.optimization.regularization.mrn import MRN
from polytask.optimization.regularization.trace_norm import TraceNorm
from polytask.optimization.regularization.tucker import Tucker

TERMS = ("l2", "trace_norm", "tucker", "mrn")
PROXIMAL: dict[str, type[L2 | TraceNorm]] = {"l2": L2, "trace_norm": TraceNorm}


class SoftSharing(SingleTask):
    """Soft parameter sharing: one network a task, whose weights a term holds together.

    Every task has its own copy of the encoder, as in `SingleTask`; nothing is shared but a term
    of the weights, added to the tasks' losses, for each weight by itself: the regularizer of that
    name in `polytask.optimization.regularization`, which says more.

    "l2": strength/2 sum over pairs ||W_i - W_j||^2. L. Duong et al., "Low Resource Dependency
    Parsing: Cross-lingual Parameter Sharing in a Neural Network Parser", ACL 2015,
    https://aclanthology.org/P15-2139. All parameters are tied, biases and norms too. A strength
    without bound is hard sharing.

    "trace_norm": strength times the nuclear norm of the K weights as the columns of a matrix;
    "tucker": strength times the mean of the nuclear norms of all unfoldings of the tensor they
    make. Y. Yang & T. Hospedales, "Trace Norm Regularised Deep Multi-Task Learning", ICLR workshop
    2017, https://arxiv.org/abs/1606.04038. Weights of two and more dimensions are tied.

    "mrn": strength/2 vec(W)^T (S_task x S_outputs x S_inputs)^-1 vec(W), of the same weights. M.
    Long et al., "Learning Multiple Tasks with Multilinear Relationship Networks", NeurIPS 2017,
    https://arxiv.org/abs/1506.02117.

    `regularize` takes more terms, of these and other kinds, each with a strength of its own; with
    `strength` 0 they are the only ones.

    **How they start.** From the weights of `encoder`, all the same: units of networks drawn apart
    do not correspond, and tying them pulls all to a mean that is close to 0. `fresh=True` draws
    them apart as `SingleTask` does.

    **Balancing.** No output of a task depends on another's network, so tasks share no parameter
    and there are no features: methods that read gradients are refused. Methods that weigh losses
    work; the term is never weighed.

    Traps: by gradients, "l2" diverges where lr * strength * tasks is above 2, and nuclear norms
    never reach a low rank; `prox=True` takes the proximal step after each optimizer step instead,
    with threshold lr * strength: (for "l2": differences from the mean are divided by 1 + lr *
    strength * tasks; for "trace_norm": singular values shrink by the threshold). It is meant for
    SGD; with Adam the optimizer's own steps are of another scale. Running statistics of batch
    norms are not tied. A lone task has no term.

    Cost of a step: as many encoders as tasks; of a nuclear norm, one singular value decomposition
    a weight, and dimension of it for "tucker"; of "all" covariances, matrices as large as inputs
    squared. Parameters: as many encoders as tasks.

    Args:
        encoder: any module, see `as_stages`; it is copied, never used.
        tasks: tasks by name, or in a list.
        term: see above.
        strength: weight of the term; 0 is `SingleTask`.
        stages: the stages whose weights are tied, from 1. None: the whole encoder.
        prox: the proximal step in place of the gradient; "l2" and "trace_norm" have one.
        covariance: which covariances "mrn" estimates: "task", or "all" three.
        every: steps between two estimates of them.
        epsilon: least variance along any direction in units of the mean, about; above 0.
        fresh: whether networks are drawn apart.
        head_hidden, heads, example, regularize: as in `SingleTask`.

    Raises:
        UserError: as `SingleTask`; options out of range, a term that ties no weight, or one
            without a proximal step.

    """

    paper = "Duong 2015; Yang & Hospedales 2017; Long 2017"
    shares = "nothing but a term that holds the networks' weights together"

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        term: Literal["l2", "trace_norm", "tucker", "mrn"] = "l2",
        strength: float = 1e-2,
        stages: Sequence[int] | None = None,
        prox: bool = False,
        covariance: Literal["task", "all"] = "task",
        every: int = 100,
        epsilon: float = 0.1,
        fresh: bool = False,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
        regularize: Terms = (),
    ) -> None:
        super().__init__(encoder, tasks, head_hidden, heads, example, fresh)
        made = _made(term, strength, prox, covariance, every, epsilon)
        self.kind = term
        first = self.encoders[self.task_names[0]]
        self.tied = tied_parameters(first, stages, least=made.least)
        self.reached = tied_parameters(first, stages, least=0)
        own = [made] if made.strength else []
        self.tie([*own, *create_regularizers(regularize)], encoder)

    def parallel_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Those of the encoders, in the chosen stages."""
        found = super().parallel_parameters()
        return {name: found[name] for name in self.reached if name in found}

    @property
    def priors(self) -> nn.ModuleList:
        """For "mrn", the prior of every tied weight; empty for other terms and a lone task."""
        prior = self._mrn()
        return nn.ModuleList() if prior is None else prior.priors

    @property
    def steps(self) -> Tensor:
        """For "mrn", the optimizer steps so far."""
        prior = self._mrn()
        return torch.zeros((), dtype=torch.int64) if prior is None else prior.steps

    def correlations(self) -> dict[str, Tensor]:
        """For "mrn", how the networks are related: [tasks, tasks] for every tied weight, by name.

        Raises `UserError` for the other terms, and for a lone task.
        """
        prior = self._mrn()
        if prior is None or not prior.weights:
            raise UserError(
                f"correlations belong to the term 'mrn' of two tasks or more, found {self.kind!r} "
                f"of {len(self.outputs)}. Build the model with term='mrn'."
            )
        return {weight: prior.correlations(weight, self.task_names) for weight in prior.weights}

    def _mrn(self) -> MRN | None:
        return next((one for one in self.regularizers if isinstance(one, MRN)), None)


def tied_parameters(
    encoder: nn.Module, stages: Sequence[int] | None, least: int
) -> tuple[str, ...]:
    """Names of the trainable parameters of these stages that have `least` dimensions or more.

    All of the encoder's for None. Raises `UserError` when there are none.
    """
    staged = as_stages(encoder)
    chosen: list[nn.Module] = [encoder]
    if stages is not None:
        chosen = [staged.stages[n - 1] for n in chosen_stages(stages, len(staged.stages))]
    wanted = {id(parameter) for part in chosen for parameter in part.parameters()}
    names = tuple(
        name
        for name, p in encoder.named_parameters()
        if id(p) in wanted and p.requires_grad and p.is_floating_point() and p.dim() >= least
    )
    if not names:
        raise UserError(
            f"expected weights to tie, with {least} or more dimensions, found none in "
            f"{'the encoder' if stages is None else f'its stages {list(stages)}'}. Choose other "
            "stages, or term='l2', which ties all parameters."
        )
    return names


def _made(
    term: str, strength: float, prox: bool, covariance: str, every: int, epsilon: float
) -> Regularizer:
    """The term. Raises `UserError` for options that do not exist or do not go together."""
    if term not in TERMS:
        raise unknown("term", term, TERMS)
    strength = number("strength", strength, zero=True, hint="0 is no term")
    # Its options are checked whatever the term.
    prior = MRN(strength, covariance, every, epsilon)  # type: ignore[arg-type]
    if term in PROXIMAL:
        return PROXIMAL[term](strength, prox)
    if prox:
        raise UserError(
            f"the term {term!r} has no proximal step in closed form, found prox=True. Leave it "
            f"out, or choose one of {', '.join(PROXIMAL)}."
        )
    return prior if term == "mrn" else Tucker(strength)
