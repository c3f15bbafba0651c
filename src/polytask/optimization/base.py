"""The base class of every balancer: one method to write, `decide`."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from polytask.errors import NonFiniteError, UserError
from polytask.kernel.measure import Discovery, measure
from polytask.kernel.penalty import Gradients, add_gradients, penalty_gradients
from polytask.kernel.problem import Features, Losses, Problem, Shared
from polytask.kernel.shift import Closure
from polytask.kernel.statistic import Statistic
from polytask.kernel.step import Given, Settings, Step, take_step
from polytask.optimization.audit import agreement
from polytask.optimization.needs import missing
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
        statistic: for methods that read gradients: 'tail', 'features' or 'exact'.
        depth: how many shared layers, counted from the heads, 'tail' reads. By default 2, or
            as much as `budget` allows.
        budget: when `depth` is not given, what reading the tail may cost on top of a step, in
            ordinary steps: fewer layers are read, or part of the last one's units.
        transform: 'log' balances log L_t in place of L_t, which removes the losses' units.
        groups: 'joint' decides once over everything that two tasks share; 'separate' decides
            for each set of parameters over exactly the tasks that use it, at the cost of one
            backward pass a set (methods that read the Gramian only).
        refresh_every: decide every so many steps and keep the weights in between.
        smooth: in [0, 1), the running mean of the Gramian keeps this share of its past;
            mini-batch noise is often larger than the differences between methods.
        audit_every: every so many steps also measure the exact Gramian and report in
            `step.audit` how far the decision agrees; 0 for never.
        non_finite: 'raise' on a loss or gradient that is not finite, or 'skip_task' to leave
            that task out of the step.
        generator: the source of randomness of a random method; torch's global one by default.
    """

    # The first four may also be set by an instance, before `super().__init__`: what a method needs
    # can depend on its options. Lists that read no instance show the class's.
    statistic_kind: Literal["losses", "row", "gains", "gramian", "cross", "jacobian"] = "losses"
    needs: tuple[str, ...] = ()
    """Any of closure, validation, batches, after_step, epoch, scores."""
    batches: int = 1
    """How many batches one step reads (with 'batches' among the needs)."""
    inner_lr: float = 0.01
    """For kind 'gains': the length of a virtual step."""
    default_heads: ClassVar[Heads] = "weighted"
    default_statistic: ClassVar[str] = "tail"
    default_transform: ClassVar[str] = "none"
    aliases: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        heads: Heads | None = None,
        scale: Literal["paper", "sum"] = "paper",
        statistic: str | None = None,
        depth: int | None = None,
        budget: float = 0.2,
        transform: Literal["none", "log"] | None = None,
        groups: Literal["joint", "separate"] = "joint",
        refresh_every: int = 1,
        smooth: float = 0.0,
        audit_every: int = 0,
        non_finite: Literal["raise", "skip_task"] = "raise",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_word("heads", heads, ("plain", "weighted", None))
        check_word("scale", scale, ("paper", "sum"))
        check_word("transform", transform, ("none", "log", None))
        check_word("groups", groups, ("joint", "separate"))
        check_word("non_finite", non_finite, ("raise", "skip_task"))
        self._check_statistic(statistic)
        reads_gradients = self.statistic_kind == "gramian"
        if groups == "separate" and not reads_gradients:
            raise UserError(
                "groups='separate' needs a method that reads the Gramian, found "
                f"{type(self).__name__}."
            )
        if self.statistic_kind == "jacobian" and (
            heads == "weighted" or smooth or refresh_every > 1
        ):
            raise UserError(
                f"{type(self).__name__} gives a direction and no weights, so heads='weighted', "
                "smooth and refresh_every have no meaning for it; leave them out."
            )
        check_range("depth", 2 if depth is None else depth, 1)
        check_range("budget", budget, 0)
        check_range("refresh_every", refresh_every, 1)
        check_range("audit_every", audit_every, 0)
        if not 0 <= smooth < 1:
            raise UserError(f"smooth must be at least 0 and below 1, found {smooth}.")
        self.heads: Heads = heads or self.default_heads
        self.scale = scale
        own = self.statistic_kind if self.statistic_kind in ("losses", "row", "gains") else None
        self.statistic = own or statistic or self.default_statistic
        self.depth = 2 if depth is None else depth
        self.budget = budget if depth is None else None
        self.transform = transform or self.default_transform
        self.groups = groups
        self.refresh_every = refresh_every
        self.smooth = smooth
        self.audit_every = audit_every
        self.non_finite = non_finite
        self.generator = generator
        self.discovery = Discovery()
        self.calls_per_step = 1
        """Calls of `backward` before one optimizer step (gradient accumulation)."""
        self._since_step = 0

    def decide(self, statistic: Statistic) -> Tensor:
        """The weights of the present tasks, shape [T], from what is known of the step.

        Methods of kind 'jacobian' give a direction instead, with the Jacobian's columns.
        """
        raise NotImplementedError

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """Sum of this method's weights, in its paper's scale, when all gradients are equal."""
        return float(len(tasks))

    def row_vector(
        self,
        problem: Problem,
        parameters: Sequence[Tensor],
        closure: Closure | None,
        validation: Closure | None,
    ) -> Sequence[Tensor] | None:
        """For kind 'row': the vector whose products with every gradient are wanted.

        None in a step that does without them; the statistic's row is None then.
        """
        raise NotImplementedError

    def judge(
        self, problem: Problem, closure: Closure | None, validation: Closure | None
    ) -> Tensor | None:
        """For kind 'gains': the number that virtual steps should lower; None where not known.

        It is called without a graph, before any virtual step and during each of them.
        """
        raise NotImplementedError

    def backward(
        self,
        losses: Losses | Sequence[Losses],
        *,
        shared: Shared = None,
        features: Features = None,
        statistic: str | None = None,
        heads: Heads | None = None,
        counts: Mapping[str, int] | None = None,
        scaler: Any = None,
        closure: Closure | None = None,
        validation: Closure | None = None,
        penalty: Tensor | None = None,
    ) -> Step:
        """Weigh the tasks and run one backward pass; gradients are added to `.grad`.

        The graph is freed, as by `Tensor.backward`: whatever else goes through it comes before,
        with retain_graph=True. Hooks on parameters fire once, with the final gradient; those on
        activations also once a task where gradients are measured beyond them.

        Args:
            losses: task name to scalar loss, raw (not scaled, not weighted), or to a list of
                losses of that task, which are summed and balanced as one. A task without
                labels in this batch is left out. For methods that read several batches, the
                list of their dicts; the last one is stepped on.
            shared: the shared module or its parameters; found in the graph when left out.
            features: the shared representation of this forward pass (a tensor or the list of
                tensors that form a cut); spares a walk of the graph.
            statistic: overrides the balancer's statistic for this step.
            heads: overrides 'plain' or 'weighted' for this step.
            counts: labelled items a task; a task with count 0 is absent.
            scaler: a `torch.amp.GradScaler`; decisions do not depend on its scale.
            closure: recomputes the losses on the same batch, for methods that look ahead; those
                on the first batch, for methods that read several.
            validation: computes losses on held-out data, for methods that need them; on the same
                batch, however often it is called in one step.
            penalty: a scalar to minimise beside the losses, as it is: it is never weighed, and no
                statistic sees it. Its own backward pass comes on top. An architecture's terms
                are `sum(model.penalties().values())`.

        Raises:
            UserError: losses that are no dict of scalars with a graph, nothing shared, or a
                need of the method that was not supplied.
            NonFiniteError: a loss or a gradient is not finite (policy 'raise'); no gradient
                has been accumulated then.
        """
        batches: list[Any] = list(losses) if isinstance(losses, list | tuple) else [losses]
        self._check_needs(batches, closure, validation)
        if statistic is not None:
            self._check_statistic(statistic)
        last: Any = batches[-1] if batches else {}
        reuse = self._kept(last, counts)
        settings = Settings(
            kind="losses" if reuse is not None else self.statistic_kind,
            statistic=statistic or self.statistic,
            heads=heads or self.heads,
            depth=self.depth,
            budget=self.budget,
            turn=self._turn(),
            non_finite=self.non_finite,
            transform=self.transform,  # type: ignore[arg-type]
            groups="joint" if reuse is not None else self.groups,
        )
        given = Given(
            losses=last,
            earlier=batches[:-1],
            shared=shared,
            features=features,
            counts=counts,
            scaler=scaler,
            closure=closure,
            vector=lambda problem, where: self.row_vector(problem, where, closure, validation),
            judge=lambda problem: self.judge(problem, closure, validation),
            length=self.inner_lr,
        )
        beside = [] if penalty is None else penalty_gradients(penalty, scaler)
        beside += self.gradients_beside(given, settings)
        audited = self.audit_every > 0 and (self._count("calls") + 1) % self.audit_every == 0
        step = take_step(
            given,
            (lambda known: reuse) if reuse is not None else self._full_decision,
            settings,
            self.discovery,
            generator=self.generator,
            audit=self._audit if audited and self.statistic_kind == "gramian" else None,
        )
        add_gradients(beside)
        self.after_backward(given, step)
        return step

    def gradients_beside(self, given: Given, settings: Settings) -> Gradients:
        """Gradients of what the method minimises beside the losses, to be added to `.grad`.

        Called before the step, whose graph it must keep; they are times the scaler's scale, as by
        `penalty_gradients`.
        """
        return []

    def after_backward(self, given: Given, step: Step) -> None:
        """Called with what the caller gave and what was done; look-ahead methods use it."""

    def after_step(self) -> None:
        """To call after the optimizer's step; methods that compare before and after use it."""
        self._since_step = 0

    def observe(
        self, *, scores: Mapping[str, float] | None = None, epoch: int | None = None
    ) -> None:
        """Told the validation scores and the epoch; methods that follow them use it."""

    def weights(self, gramian: Tensor, losses: Tensor | None = None) -> Tensor:
        """The weights for a Gramian [T, T] (and losses [T]), in its dtype and on its device.

        The tasks are named '0', '1', ... Only for methods that decide from a Gramian.
        """
        if self.statistic_kind != "gramian":
            raise UserError(f"{type(self).__name__} does not decide from a Gramian alone.")
        square = gramian.detach().double().cpu()
        if square.ndim != 2 or square.shape[0] != square.shape[1]:
            raise UserError(
                f"expected a square Gramian, [T, T], found shape {tuple(gramian.shape)}. Pass "
                "J @ J.T, or call combine(J)."
            )
        if not bool(square.isfinite().all()):
            raise NonFiniteError(
                "the Gramian holds values that are NaN or infinite; expected numbers, as no "
                "weights follow from such. Look at the gradients it was made of."
            )
        names = tuple(str(i) for i in range(len(square)))
        values = torch.ones(len(square)) if losses is None else losses.detach().cpu()
        known = Statistic(names, values.double(), square, generator=self.generator, source="given")
        return self._scaled(known, self.decide(known)).to(gramian)

    def combine(self, jacobian: Tensor) -> Tensor:
        """The direction for a Jacobian [T, n], shape [n]: Jᵀw, or the method's own direction."""
        if self.statistic_kind != "jacobian":
            return jacobian.T @ self.weights(jacobian @ jacobian.T)
        names = tuple(str(i) for i in range(len(jacobian)))
        known = Statistic(
            names,
            torch.ones(len(jacobian), dtype=torch.float64),
            jacobian=jacobian,
            generator=self.generator,
            source="given",
        )
        return self._scaled(known, self.decide(known))

    def _full_decision(self, statistic: Statistic) -> Tensor:
        """Smooth, decide, scale, and keep the weights when they are to be used again."""
        key = json.dumps(statistic.tasks)
        if self.smooth and statistic.gramian is not None:
            held = self.table.get(("running_gramian", key), statistic.gramian)
            running = torch.lerp(statistic.gramian, held, self.smooth)
            self.table["running_gramian", key] = running
            statistic = Statistic(**{**vars(statistic), "gramian": running})
        weights = self._scaled(statistic, self.decide(statistic))
        if self.refresh_every > 1:
            self.table["kept_weights", key] = weights.detach().clone()
            self.table["kept_age", key] = torch.tensor(1)
        return weights

    def _turn(self) -> int:
        """A count of steps that read the tail within a budget."""
        return self._count("turn") if self.statistic == "tail" and self.budget is not None else 0

    def _count(self, name: str) -> int:
        """How often this was asked before; part of the saved state."""
        count = int(self.table.get((name, ""), torch.tensor(0)))
        self.table[name, ""] = torch.tensor(count + 1)
        return count

    def _kept(self, losses: Losses, counts: Mapping[str, int] | None) -> Tensor | None:
        """The weights kept from an earlier step, when they are still to be used."""
        if self.refresh_every == 1:
            return None
        present = [t for t in losses if counts is None or counts.get(t, 1) > 0]
        key = json.dumps(present)
        age = self.table.get(("kept_age", key))
        if age is None or int(age) >= self.refresh_every:
            return None
        self.table["kept_age", key] = age + 1
        return self.table["kept_weights", key]

    def _scaled(self, statistic: Statistic, answer: Tensor) -> Tensor:
        if self.scale == "sum":
            return answer * (len(statistic) / self.sum_on_equal(statistic.tasks))
        return answer

    def _audit(
        self, problem: Problem, answer: Tensor, named: list[Tensor] | None
    ) -> dict[str, float]:
        """Decide again from the exact Gramian, on a copy, and compare."""
        exact = measure(problem, "exact", discovery=self.discovery, shared=named).gramian.cpu()
        known = Statistic(problem.tasks, problem.values.cpu(), exact, generator=self.generator)
        twin = copy.copy(self)
        twin.table = dict(self.table)
        if self.generator is not None:
            twin.generator = torch.Generator().set_state(self.generator.get_state())
            known = Statistic(**{**vars(known), "generator": twin.generator})
        return agreement(exact, answer, twin.decide(known))

    def _check_statistic(self, statistic: str | None) -> None:
        kind = self.statistic_kind
        if statistic is None or statistic == kind:
            return
        check_word("statistic", statistic, ("features", "tail", "exact", "losses", "row"))
        name = type(self).__name__
        reads = {"losses": "loss values", "row": "one row", "gains": "gains of virtual steps"}
        if kind in reads:
            raise UserError(
                f"{name} reads {reads[kind]} only, so "
                f"statistic={statistic!r} has no meaning for it; leave statistic out."
            )
        if statistic in ("losses", "row"):
            raise UserError(
                f"{name} reads gradients; statistic must be 'tail', 'features' or 'exact', found "
                f"{statistic!r}."
            )

    def _check_needs(
        self, batches: Sequence[Losses], closure: Closure | None, validation: Closure | None
    ) -> None:
        name = type(self).__name__
        if "closure" in self.needs and closure is None:
            raise missing(name, "closure" if self.batches == 1 else "closure of the first")
        if "validation" in self.needs and validation is None:
            raise missing(name, "validation")
        if len(batches) != self.batches:
            if self.batches > 1:
                raise missing(f"{name} (n = {self.batches})", "batches")
            raise UserError(f"{name} reads one batch a step; pass its losses as one dict.")
        if "after_step" in self.needs and self._since_step >= self.calls_per_step:
            raise missing(name, "after_step")
        self._since_step += 1

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


def check_range(name: str, value: float, least: float) -> None:
    """Raise `UserError` unless `value` is at least `least`."""
    if not value >= least:
        raise UserError(f"{name} must be at least {least}, found {value}.")
