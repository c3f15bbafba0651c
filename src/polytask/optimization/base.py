"""The base class of every balancer: one method to write, `decide`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.measure import Discovery
from polytask.kernel.problem import Features, Shared
from polytask.kernel.statistic import Statistic
from polytask.kernel.step import Step, take_step
from polytask.optimization.state import NamedState

Heads = Literal["plain", "weighted"]


class Balancer(NamedState):
    """Decides, step by step, how much each task's gradient counts.

    Replace `loss.backward()` by `balancer.backward({"a": loss_a, "b": loss_b})`: afterwards the
    `.grad` of every parameter is set as by one backward pass. A subclass says what it needs in
    `statistic_kind` and implements `decide`. State, if any, is kept by task name with
    `self.entry(...)` and travels in `state_dict`.

    Args:
        heads: 'plain' (each head learns from its own unweighted loss) or 'weighted' (the
            weights act on heads too); by default as in the method's paper.
        scale: 'paper' keeps the method's own scale; 'sum' multiplies by a constant so that
            identical gradients get weights that sum to the number of tasks.
        statistic: for methods that read gradients: 'tail' (default), 'features' or 'exact'.
        depth: how many shared layers, counted from the heads, 'tail' reads.
        non_finite: 'raise' on a loss or gradient that is not finite, or 'skip_task' to leave
            that task out of the step.
        generator: the source of randomness of a random method; torch's global one by default.
    """

    statistic_kind: ClassVar[Literal["losses", "gramian", "jacobian"]] = "losses"
    default_heads: ClassVar[Heads] = "weighted"
    needs: ClassVar[tuple[str, ...]] = ()
    aliases: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        heads: Heads | None = None,
        scale: Literal["paper", "sum"] = "paper",
        statistic: str | None = None,
        depth: int = 2,
        non_finite: Literal["raise", "skip_task"] = "raise",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_word("heads", heads, ("plain", "weighted", None))
        check_word("scale", scale, ("paper", "sum"))
        check_word("statistic", statistic, ("features", "tail", "exact", "losses", None))
        check_word("non_finite", non_finite, ("raise", "skip_task"))
        if statistic not in (None, "losses") and self.statistic_kind == "losses":
            raise UserError(
                f"{type(self).__name__} reads loss values only, so statistic={statistic!r} has "
                "no meaning for it; leave statistic out."
            )
        if statistic == "losses" and self.statistic_kind != "losses":
            raise UserError(
                f"{type(self).__name__} reads gradients; statistic must be 'tail', 'features' "
                "or 'exact', found 'losses'."
            )
        if depth < 1:
            raise UserError(f"depth must be at least 1 layer, found {depth}.")
        self.heads: Heads = heads or self.default_heads
        self.scale = scale
        self.statistic = statistic or ("losses" if self.statistic_kind == "losses" else "tail")
        self.depth = depth
        self.non_finite = non_finite
        self.generator = generator
        self.discovery = Discovery()

    def decide(self, statistic: Statistic) -> Tensor:
        """The weights of the present tasks, shape [T], from what is known of the step."""
        raise NotImplementedError

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """Sum of this method's weights, in its paper's scale, when all gradients are equal."""
        return float(len(tasks))

    def backward(
        self,
        losses: Mapping[str, Tensor],
        *,
        shared: Shared = None,
        features: Features = None,
        statistic: str | None = None,
        heads: Heads | None = None,
        counts: Mapping[str, int] | None = None,
        scaler: Any = None,
        closure: Callable[[], Mapping[str, Tensor]] | None = None,
        validation: Callable[[], Mapping[str, Tensor]] | None = None,
    ) -> Step:
        """Weigh the tasks and run one backward pass; gradients are added to `.grad`.

        Args:
            losses: task name to scalar loss, raw (not scaled, not weighted). A task without
                labels in this batch is left out.
            shared: the shared module or its parameters; found in the graph when left out.
            features: the shared representation of this forward pass (a tensor or the list of
                tensors that form a cut); spares a walk of the graph.
            statistic: overrides the balancer's statistic for this step.
            heads: overrides 'plain' or 'weighted' for this step.
            counts: labelled items a task; a task with count 0 is absent.
            scaler: a `torch.amp.GradScaler`; decisions do not depend on its scale.
            closure: recomputes the losses on the same batch, for methods that look ahead.
            validation: computes losses on held-out data, for methods that need them.

        Raises:
            UserError: losses that are no dict of scalars with a graph, or nothing shared.
            NonFiniteError: a loss or a gradient is not finite (policy 'raise'); no gradient
                has been accumulated then.
        """
        return take_step(
            losses,
            self._scaled_decision,
            statistic=statistic or self.statistic,
            heads=heads or self.heads,
            discovery=self.discovery,
            depth=self.depth,
            shared=shared,
            features=features,
            counts=counts,
            scaler=scaler,
            non_finite=self.non_finite,
            generator=self.generator,
        )

    def after_step(self) -> None:
        """Called after the optimizer's step; methods that compare before and after use it."""

    def observe(
        self, *, scores: Mapping[str, float] | None = None, epoch: int | None = None
    ) -> None:
        """Told the validation scores and the epoch; methods that follow them use it."""

    def weights(self, gramian: Tensor, losses: Tensor | None = None) -> Tensor:
        """The weights for a Gramian [T, T] (and losses [T]), in its dtype and on its device.

        The tasks are named '0', '1', ... Only for methods that read gradients.
        """
        if self.statistic_kind != "gramian":
            raise UserError(f"{type(self).__name__} does not decide from a Gramian alone.")
        square = gramian.detach().double().cpu()
        if square.ndim != 2 or square.shape[0] != square.shape[1]:
            raise UserError(f"a Gramian is square, found shape {tuple(gramian.shape)}.")
        names = tuple(str(i) for i in range(len(square)))
        values = torch.ones(len(square)) if losses is None else losses.detach().double().cpu()
        known = Statistic(names, values, gramian=square, generator=self.generator, source="given")
        return self._scaled_decision(known).to(gramian)

    def combine(self, jacobian: Tensor) -> Tensor:
        """The direction Jᵀw for a Jacobian [T, n], shape [n]."""
        return jacobian.T @ self.weights(jacobian @ jacobian.T)

    def _scaled_decision(self, statistic: Statistic) -> Tensor:
        weights = self.decide(statistic)
        if self.scale == "sum":
            weights = weights * (len(statistic) / self.sum_on_equal(statistic.tasks))
        return weights

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.generator is not None:
            destination[f"{prefix}generator"] = self.generator.get_state()

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any, **keywords: Any
    ) -> None:
        state = state_dict.get(f"{prefix}generator")
        if state is not None:
            self.generator = self.generator or torch.Generator()
            self.generator.set_state(state.cpu())
        rest = {key: value for key, value in state_dict.items() if key != f"{prefix}generator"}
        super()._load_from_state_dict(rest, prefix, *arguments, **keywords)

    def extra_repr(self) -> str:
        """What `print(balancer)` shows."""
        return f"heads={self.heads}, scale={self.scale}, statistic={self.statistic}"


def check_word(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Raise `UserError` unless `value` is one of the allowed words."""
    if value not in allowed:
        words = ", ".join(repr(word) for word in allowed if word is not None)
        raise UserError(f"{name} must be one of {words}; found {value!r}.")
