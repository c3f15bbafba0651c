"""AdaShare: every task learns which stages of one encoder it runs and which it skips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._gumbel import Annealed, gumbel_softmax
from polytask.architectures._heads import as_new, build_heads
from polytask.architectures._init import draw_seed
from polytask.architectures._inputs import representation_width
from polytask.architectures._per_task import PerTask
from polytask.architectures._routes import FixedRoutes, Use, follow
from polytask.architectures._same_shape import keeps_shape
from polytask.architectures.stages import as_stages
from polytask.errors import UserError


class AdaShare(Architecture):
    """AdaShare: every task learns which stages of one encoder it runs and which it skips.

    X. Sun, R. Panda, R. Feris, K. Saenko, "AdaShare: Learning What To Share For Efficient Deep
    Multi-Task Learning", NeurIPS 2020, https://arxiv.org/abs/1911.12423. A stage F that keeps the
    shape of its features (a residual block, a transformer layer) can be skipped; task t computes

        h' = u F(h) + (1 - u) h,    u ~ policy(t, F)

    and all tasks run all other stages. Where no stage keeps the shape, this is hard sharing.
    For a residual block skipping is the identity, which it computes beside its branch anyway.

    **Policy**: two logits a task and stage, equal at first, in training sampled by Gumbel-softmax
    once a batch. The sample weighs F(h) and h softly, as the published settings have it; `hard`
    makes it 0 or 1 in the forward pass (straight-through), and a stage that no task draws has
    gradient 0 there. In evaluation the more probable choice is taken, and the stage is run where
    both are equal: deterministic, where the published code samples.

    **Temperature.** The paper's is `temperature` * `anneal` ** (steps // `anneal_every`), with
    5, 0.965 and 100 over 20000 steps. In a short training it stays high, and a network that has
    only learned to run every stage by half is evaluated running it or not. By default it falls
    geometrically to 0.1 in the first 80 % of the training, and in the rest the policies are
    settled: training runs what evaluation runs, without noise and without the terms below (digits,
    300 steps, two seeds: 84 and 86 % right, with the paper's schedule 69 and 46, by hard sharing 92
    and 89). The length comes from `plan_training`, which the Trainer calls; a loop of your own
    calls `model.plan_training(steps)`. Without it `anneal` is 0.965, and with a number the paper's
    schedule holds; then nothing settles. Settling is a deviation: the paper trains anew, see below.

    **Objective**, with a = P(task runs stage), over the stages under decision:

        sparsity * sum over tasks of the mean of -log(1 - a)
        sharing * sum over pairs of tasks and stages l = 0 ... L - 1 of (L - l) / L |a_i - a_j|

    The sharing term is the paper's: on probabilities, stronger in early stages; the published
    code takes |difference of raw logits| with (l + 1) / L, stronger in late ones. The sparsity
    term is the published code's (cross entropy to "skip", at least 0); the paper prints
    sum log a, which has no least value.

    **Curriculum**: for `warmup` steps all stages are run; then the last of the stages that can be
    skipped is decided, and every `curriculum` steps one more, towards the first. The paper warms
    up for 4000 of 20000 steps and takes one more stage in 3 epochs. By default a fifth of the
    planned steps are warm-up, and the stages begin evenly in the next two fifths; without a plan
    there is no warm-up, and one more stage every 100 steps. Policies outside of it get no gradient.

    Policy and weights learn from the same batches in the same step (the published code alternates
    between them), the policy at `policy_rate` times the learning rate.

    **Afterwards** `derive()` gives the network of the fixed policy; the paper trains it anew
    (`polytask.architectures.reinitialise`). In training skipping saves nothing.

    Traps: batch normalisation in a stage sees one stream of features a task, so its running mean
    is of all of them together; a stage must not change its input in place. There is no shared
    representation (`no_features`), but where no stage can be skipped.

    Cost of a training step: all stages up to the first under decision once, from there one pass
    a task; in evaluation, what the policies run, common beginnings once. Parameters: one encoder
    and two numbers a task and stage.

    Args:
        encoder: any module of several stages, see `as_stages`.
        tasks: tasks by name, or in a list.
        sparsity, sharing: strengths of the two terms.
        temperature: of the samples, at first.
        anneal, anneal_every: None falls within the planned training, see above; a number is the
            factor every so many optimizer steps.
        warmup: steps in which every stage is run; None is by the plan.
        curriculum: steps until one more stage is decided; 0 is all at once, None is by the plan.
        hard: whether samples are 0 or 1 in the forward pass.
        policy_rate: the learning rate of the policies, in multiples of the network's.
        head_hidden, heads, example: as in `HardSharing`. Without an example the declared widths
            say which stages keep the shape.

    Raises:
        UserError: an option out of its range; as `HardSharing`.

    """

    paper = "Sun et al. 2020"
    shares = "the whole encoder; every task learns which stages it skips"
    requires = "stages that keep the shape of their features; without any it is hard sharing"
    no_new_task = (
        "which stages tasks run is searched for in one training from its start to its end, and a "
        "second one would search for the old tasks again. Train all tasks anew, or use adapters."
    )
    no_features = (
        "from the first stage under decision on every task has features of its own, which shared "
        "stages read, so the features that form a cut are those of one task each"
    )

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        sparsity: float = 0.05,
        sharing: float = 0.05,
        temperature: float = 5.0,
        anneal: float | None = None,
        anneal_every: int = 100,
        warmup: int | None = None,
        curriculum: int | None = None,
        hard: bool = False,
        policy_rate: float = 10.0,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        for name, value in {
            "sparsity": sparsity,
            "sharing": sharing,
            "warmup": warmup,
            "curriculum": curriculum,
            "policy_rate": policy_rate,
        }.items():
            if value is not None and not value >= 0:
                raise UserError(f"{name} must be 0 or more, found {value!r}.")
        self.sparsity, self.sharing = sparsity, sharing
        self.warmup, self.curriculum = warmup, curriculum
        self.hard, self.policy_rate = hard, policy_rate
        self.clock = Annealed(temperature, anneal, anneal_every)
        self.encoder = as_stages(encoder)
        self.width = representation_width(self.encoder, example)
        keeps = keeps_shape(self.encoder, example)
        self.optional = tuple(number for number, keep in enumerate(keeps) if keep)
        policies = {task: _Policy(len(self.optional)) for task in self.outputs}
        self.policies = PerTask(
            {task: as_new(policy, encoder) for task, policy in policies.items() if self.optional}
        )
        self.heads = build_heads(
            self.outputs,
            self.width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=draw_seed(),
            channel_dim=self.encoder.channel_dim,
        )

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """Every task by a sample of its policy; settled and in evaluation by what is likelier."""
        sampling = self.training and not self.clock.settled
        uses = {task: self._sampled(task) if sampling else self._chosen(task) for task in tasks}
        read, context = follow(self.encoder, x, uses, self.width)
        outputs = {task: self.heads.answer(task, z, context) for task, z in read.items()}
        return outputs, None if self.optional else read[tasks[0]]

    @property
    def decided(self) -> tuple[int, ...]:
        """Numbers of the stages under decision at this step, from the last one on."""
        warmup, curriculum = self._curriculum()
        since = self.clock.steps - warmup
        if since < 0:
            return ()
        if not curriculum:
            return self.optional
        count = min(len(self.optional), 1 + since // curriculum)
        return self.optional[len(self.optional) - count :]

    def probabilities(self, task: str) -> Tensor:
        """P(the task runs it) of every stage that can be skipped, in their order."""
        self.select((task,))
        if not self.optional:
            return torch.zeros(0)
        probabilities: Tensor = self.policies[task]().softmax(dim=-1)[:, 0]
        return probabilities

    def routes(self) -> dict[str, tuple[int, ...]]:
        """Numbers of the stages that each task runs in evaluation, from 0."""
        chosen = {task: self._chosen(task) for task in self.task_names}
        return {
            task: tuple(n for n, use in enumerate(uses) if use) for task, uses in chosen.items()
        }

    def derive(self) -> FixedRoutes:
        """The network of the policies as they are now, in memory of its own.

        It answers as this model does in evaluation. Policies are gone, and so are stages that no
        task runs; `shared_parameters` tells which tasks run what is left.
        """
        derived = FixedRoutes(self.encoder, self.outputs, self.routes(), self.heads, self.width)
        return derived.train(self.training)

    def penalties(self) -> dict[str, Tensor]:
        """Sparsity and sharing of the policies, over the stages under decision; none if settled."""
        terms = super().penalties()
        count = len(self.decided)
        if not count or self.clock.settled:
            return terms
        every = len(self.optional)
        logits = torch.stack([self.policies[task]() for task in self.task_names])[
            :, every - count :
        ]
        if self.sparsity:
            skipped = logits.log_softmax(dim=-1)[..., 1]
            terms["sparsity"] = -self.sparsity * skipped.mean(dim=1).sum()
        pairs = list(combinations(range(len(logits)), 2))
        if self.sharing and pairs:
            left = torch.arange(count, 0, -1, device=logits.device) / every
            run = logits.softmax(dim=-1)[..., 0]
            gaps = torch.stack([(run[i] - run[j]).abs() for i, j in pairs])
            terms["sharing"] = self.sharing * (left * gaps).sum()
        return terms

    def plan_training(self, steps: int) -> None:
        """Spread warm-up, curriculum and temperature, where they are None, over so many steps."""
        self.clock.plan(steps)

    def after_step(self, lr: float) -> None:
        """Count the step: for the temperature, the warm-up and the curriculum."""
        self.clock.advance()

    def rate_factors(self) -> dict[str, float]:
        """The policies learn at a rate of their own."""
        names = (name for name, _ in self.named_parameters() if name.startswith("policies."))
        return dict.fromkeys(names, self.policy_rate)

    def _curriculum(self) -> tuple[int, int]:
        """Steps of warm-up, and until one more stage is decided: as given, or by the plan."""
        total, stages = self.clock.total, max(1, len(self.optional))
        warmup, curriculum = (0, 100) if total is None else (total // 5, 2 * total // (5 * stages))
        return (
            warmup if self.warmup is None else self.warmup,
            curriculum if self.curriculum is None else self.curriculum,
        )

    def _sampled(self, task: str) -> list[Use]:
        """For every stage: how far it is run by a new sample; those not yet decided wholly."""
        uses: list[Use] = [True] * len(self.encoder.stages)
        if self.decided:
            sample = gumbel_softmax(self.policies[task](), self.clock.temperature, self.hard)
            for stage, use in zip(self.optional, sample[:, 0].unbind(), strict=True):
                if stage in self.decided:
                    uses[stage] = use
        return uses

    def _chosen(self, task: str) -> list[Use]:
        """For every stage: whether it is run; a stage not yet decided is."""
        uses: list[Use] = [True] * len(self.encoder.stages)
        if self.decided:
            logits = self.policies[task]()
            for stage, runs in zip(
                self.optional, (logits[:, 0] >= logits[:, 1]).tolist(), strict=True
            ):
                uses[stage] = runs or stage not in self.decided
        return uses


class _Policy(nn.Module):
    """A task's logits of running and of skipping each stage, [stages, 2], 0 at first."""

    def __init__(self, stages: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(stages, 2))

    def forward(self) -> Tensor:
        """The logits."""
        return self.logits
