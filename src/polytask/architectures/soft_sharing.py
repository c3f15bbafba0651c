"""Soft parameter sharing: one network a task, whose weights a term holds together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from polytask.architectures._base import TaskLike
from polytask.architectures._heads import as_new
from polytask.architectures._options import chosen_stages, number
from polytask.architectures._soft_terms import (
    nuclear_norm,
    shrunk,
    spread,
    towards_mean,
    tucker_norm,
)
from polytask.architectures._tensor_normal import TensorNormal
from polytask.architectures.single_task import SingleTask
from polytask.architectures.stages import as_stages
from polytask.errors import UserError, unknown

TERMS = ("l2", "trace_norm", "tucker", "mrn")
PROXIMAL = ("l2", "trace_norm")
MODES = {"task": (0,), "all": (0, 1, 2)}


class SoftSharing(SingleTask):
    """Soft parameter sharing: one network a task, whose weights a term holds together.

    Every task has its own copy of the encoder, as in `SingleTask`; nothing is shared but a term
    of the weights, added to the tasks' losses. For the weight W_i of network i, and each weight
    by itself:

    "l2": strength/2 sum over pairs ||W_i - W_j||^2 = strength/2 K sum_i ||W_i - mean||^2, as L.
    Duong et al., "Low Resource Dependency Parsing: Cross-lingual Parameter Sharing in a Neural
    Network Parser", ACL 2015, https://aclanthology.org/P15-2139, for two languages. All
    parameters are tied, biases and norms too. A strength without bound is hard sharing.

    "trace_norm": strength times the nuclear norm of the K weights as the columns of a matrix;
    "tucker": strength times the mean of the nuclear norms of all unfoldings of the tensor they
    make (the paper sums them with weights; here all weigh the same, and 1 together). Y. Yang &
    T. Hospedales, "Trace Norm Regularised Deep Multi-Task Learning", ICLR workshop 2017,
    https://arxiv.org/abs/1606.04038. Weights of two and more dimensions are tied.

    "mrn": strength/2 vec(W)^T (S_task x S_outputs x S_inputs)^-1 vec(W), of the same weights, the
    positions of a kernel counted with its inputs. M. Long et al., "Learning Multiple Tasks with
    Multilinear Relationship Networks", NeurIPS 2017, https://arxiv.org/abs/1506.02117.
    Covariances start as the identity (then it is a ridge) and are estimated from the weights
    every `every` steps, each given the others (flip-flop). Each is scaled to mean variance 1, and
    `epsilon` is added to the diagonal before that is restored. The paper estimates all three; its
    published code the task covariance alone, as `covariance="task"` does here. That code adds
    1e-5 and, in its inverse, leaves what is below .1 as it is, so that directions in which tasks
    hardly differ are hardly penalised, against the prior; here it is the plain inverse with an
    `epsilon` of .1. It also caps the trace at 3000 where it is fixed here.

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
        head_hidden, heads, example: as in `SingleTask`.

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
    ) -> None:
        super().__init__(encoder, tasks, head_hidden, heads, example, fresh)
        _check_options(term, prox, covariance, every)
        epsilon = number("epsilon", epsilon, zero=False, hint="0.1 is a good one")
        self.strength = number("strength", strength, zero=True, hint="0 is no term")
        self.kind, self.prox, self.every = term, prox, every
        first = self.encoders[self.task_names[0]]
        self.tied = tied_parameters(first, stages, least=1 if term == "l2" else 2)
        several = len(self.outputs) > 1
        self.priors = nn.ModuleList()
        self.steps: Tensor
        if term == "mrn" and several:
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
            for stack in self._stacks():
                prior = TensorNormal(stack.flatten(2).shape, MODES[covariance], epsilon)
                self.priors.append(as_new(prior, encoder))

    def penalties(self) -> dict[str, Tensor]:
        """The term, by its name, unless it is taken by proximal steps."""
        noted = super().penalties()
        if self.prox or not self.strength or len(self.outputs) < 2:
            return noted
        values = [
            self._value(stack, number)
            for number, stack in enumerate(self._stacks())
            if stack.requires_grad
        ]
        if not values:
            return noted
        return noted | {self.kind: self.strength * torch.stack(values).sum()}

    @torch.no_grad()
    def after_step(self, lr: float) -> None:
        """The proximal step, or the next estimate of the covariances when it is due."""
        if self.prox and self.strength and len(self.outputs) > 1:
            threshold = lr * self.strength
            for parameters in self._tied():
                stack = torch.stack(parameters)
                if self.kind == "l2":
                    nearer = towards_mean(stack, threshold)
                else:
                    nearer = shrunk(stack.flatten(1), threshold).view_as(stack)
                for parameter, value in zip(parameters, nearer, strict=True):
                    if parameter.requires_grad:
                        parameter.copy_(value)
        if len(self.priors):
            self.steps += 1
            if int(self.steps) % self.every == 0:
                for prior, stack in zip(self.priors, self._stacks(), strict=True):
                    assert isinstance(prior, TensorNormal)
                    prior.update(stack.flatten(2))

    def correlations(self) -> dict[str, Tensor]:
        """For "mrn", how the networks are related: [tasks, tasks] for every tied weight, by name.

        Raises `UserError` for the other terms, and for a lone task.
        """
        if not len(self.priors):
            raise UserError(
                f"correlations belong to the term 'mrn' of two tasks or more, found {self.kind!r} "
                f"of {len(self.outputs)}. Build the model with term='mrn'."
            )
        found = {}
        for name, prior in zip(self.tied, self.priors, strict=True):
            assert isinstance(prior, TensorNormal)
            covariance = prior.covariance(0)
            deviations = covariance.diagonal().sqrt()
            found[name] = covariance / deviations / deviations[:, None]
        return found

    def prune(self, *tasks: str) -> Self:
        """As of every architecture; covariances are those of the tasks that stay."""
        pruned = super().prune(*tasks)
        if len(pruned.outputs) < 2:
            pruned.priors = nn.ModuleList()
        for prior in pruned.priors:
            assert isinstance(prior, TensorNormal)
            prior.keep_tasks([self.task_names.index(task) for task in pruned.outputs])
        return pruned

    def _value(self, stack: Tensor, number: int) -> Tensor:
        """The term of one weight [tasks, ...], for a strength of 1."""
        if self.kind == "l2":
            return spread(stack) / 2
        if self.kind == "trace_norm":
            return nuclear_norm(stack.flatten(1))
        if self.kind == "tucker":
            return tucker_norm(stack)
        value: Tensor = self.priors[number](stack.flatten(2)) / 2
        return value

    def _tied(self) -> Iterator[list[Tensor]]:
        """Every tied parameter, of all networks."""
        networks = [dict(self.encoders[task].named_parameters()) for task in self.outputs]
        for name in self.tied:
            yield [network[name] for network in networks]

    def _stacks(self) -> Iterator[Tensor]:
        for parameters in self._tied():
            yield torch.stack(parameters)


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


def _check_options(term: str, prox: bool, covariance: str, every: int) -> None:
    """Raise `UserError` for options that do not exist or do not go together."""
    if term not in TERMS:
        raise unknown("term", term, TERMS)
    if covariance not in MODES:
        raise unknown("covariance", covariance, MODES)
    if type(every) is not int or every < 1:
        raise UserError(f"every must be a whole number of steps above 0, found {every!r}.")
    if prox and term not in PROXIMAL:
        raise UserError(
            f"the term {term!r} has no proximal step in closed form, found prox=True. Leave it "
            f"out, or choose one of {', '.join(PROXIMAL)}."
        )
