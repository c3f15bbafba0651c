"""Learning to branch: every stage has several copies, and each chooses which it reads."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._branching import expected_copies
from polytask.architectures._gumbel import Annealed, gumbel_softmax, mixed
from polytask.architectures._heads import as_new, build_heads
from polytask.architectures._init import draw_seed, fresh_copy
from polytask.architectures._inputs import check_representation, representation_width, unwrapped
from polytask.architectures._layout import Context
from polytask.architectures._per_task import PerTask
from polytask.architectures._routes import known
from polytask.architectures._tree import Partition, TreeNetwork, stage_costs
from polytask.architectures.stages import as_stages, enter, run
from polytask.errors import UserError


class LearningToBranch(Architecture):
    """Learning to branch: every stage has several copies, and each chooses which it reads.

    P. Guo, C.-Y. Lee, D. Ulbricht, "Learning to Branch for Multi-Task Learning", ICML 2020,
    https://arxiv.org/abs/2006.01895, with the expected cost of D. Bruggemann, M. Kanakis,
    S. Georgoulis, L. Van Gool, "Automated Search for Resource-Efficient Branched Multi-Task
    Networks", BMVC 2020, https://arxiv.org/abs/2008.10292. Every stage has K candidates. Candidate
    j of stage l + 1 has a logit for every candidate i of stage l, its possible parents, and reads

        sum_i p_ij h_i,    p_j ~ Gumbel-softmax(logits_j / temperature)

    and so does every task among the candidates of the last stage. All logits are 0 at first.
    Candidates of the first stage read the entrance, which all share. The sample is drawn once a
    batch and is soft, as in the second paper's code: while the temperature is high a reader mixes
    all parents, and it comes to read one as it falls. `hard` makes the sample one-hot in the
    forward pass (straight-through); candidates that no one draws then have gradient 0.

    **Temperature.** By default it falls geometrically from `temperature` to 0.1 in the first 80 %
    of the training; in the rest the tree is settled: the most probable parents are read in
    training too, without noise, and logits rest. The length comes from `plan_training`, which the
    Trainer calls; a loop of your own calls `model.plan_training(steps)`. Without it, and with a
    number as `anneal`, the temperature is `temperature` * `anneal` ** (steps // `anneal_every`)
    and nothing settles; `anneal` is then 0.965 by default. Those numbers, published for AdaShare,
    are made for tens of thousands of steps: after 300 the temperature is still 4.5, and a network
    that has only learned to read mixtures of all candidates is evaluated on one path (digits of
    scikit-learn, two seeds: 37 and 62 % right, its own mixtures 98 %, hard sharing 96 %). The code
    of the second paper lets it fall by the length of the training too, linearly from 5 to 0.1.
    Both papers train the tree anew, see below; settling is a deviation, so that one training gives
    a network that is used as it was trained.

    **Rate.** Logits learn at `choice_rate` times the learning rate, without weight decay. At the
    same rate 300 steps of Adam at 0.001 move them by 0.3 at most, the noise has a standard
    deviation of 1.3, and the choice is a lottery to the end. The second paper's code takes 10
    times, for thousands of steps; 100 decides within hundreds (same digits, 300 steps, three
    seeds: 94 to 96 % right at 10 times, 97 to 98 % at 100), and in 1500 steps both do as well.

    In evaluation the most probable parent is read, the first of equal ones: each task has one
    path, so the tasks form a tree, and nothing is random. A published library draws noise in
    evaluation too, so that two evaluations differ, and sums all parents while it warms up, which
    multiplies features by their number; neither is done here, and there is no warm-up.

    **Expected cost.** With `cost` above 0, `cost` times the size of the tree in encoders, on
    average over trees drawn from the softmax of the logits, joins the objective. It is the exact
    mean over all choices, not a sample; a stage counts once for every candidate in use.

    **Afterwards** `derive()` gives the network of the tree, and `tree` what `Branched` takes as
    its `tree`; the paper trains it anew.

    Traps: between training and evaluation lies the step from mixtures to a choice. Until the
    temperature is low, scores on validation are poor and say little, so early stopping needs
    patience, and the normalisation statistics of batch normalisation are those of mixtures. A
    training that ends before the plan does has the same trouble. All candidates are in use until
    the tree is settled, whatever the tasks asked for; so every task uses all of them, and a pruned
    model keeps them: derive first. A stage must not change its input in place. What is settled
    stays so, in later trainings of the same model too.

    Cost of a training step: K encoder passes; settled, and in evaluation, the size of the tree.
    Parameters: K encoders, and K * K numbers a stage.

    Args:
        encoder: any module, see `as_stages`; best of several stages.
        tasks: tasks by name, or in a list.
        candidates: K, at most 8; None is as many as tasks, at most 4. With fewer than tasks, not
            all of them can be alone.
        cost: strength of the expected cost, per encoder.
        costs: what a copy of each stage costs, in any unit (measured time, say); None is its
            parameters.
        temperature: of the samples, at first.
        anneal, anneal_every: None falls within the planned training, see above; a number is the
            factor every so many optimizer steps.
        choice_rate: the learning rate of the logits, in multiples of the network's.
        hard: whether samples are one-hot in the forward pass.
        fresh: False starts every candidate from the weights of `encoder`, for a pretrained one;
            otherwise the first does and the others are drawn anew. Equal candidates leave the
            logits without gradient until the noise has made them differ.
        head_hidden, heads, example: as in `HardSharing`.

    Raises:
        UserError: an option out of its range; as `HardSharing`.

    """

    paper = "Guo et al. 2020"
    shares = "in training all candidates of every stage; then a learned tree"
    requires = "several stages to part at; one stage is shared or not"
    no_new_task = (
        "the tree is searched for in one training from its start to its end, and a second one "
        "would search for the old tasks again. Build branched with tree= the one found, whose "
        "weights are drawn anew, and add the task there."
    )

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        candidates: int | None = None,
        cost: float = 0.0,
        costs: Sequence[float] | None = None,
        temperature: float = 5.0,
        anneal: float | None = None,
        anneal_every: int = 100,
        choice_rate: float = 100.0,
        hard: bool = False,
        fresh: bool = True,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        count = min(len(self.outputs), 4) if candidates is None else candidates
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 8:
            raise UserError(f"candidates must be a whole number from 1 to 8, found {count!r}.")
        if not cost >= 0:
            raise UserError(f"cost must be 0 or more, found {cost!r}.")
        if not choice_rate >= 0:
            raise UserError(f"choice_rate must be 0 or more, found {choice_rate!r}.")
        staged = as_stages(encoder)
        self.cost, self.hard, self.choice_rate = cost, hard, choice_rate
        self.costs = stage_costs(staged, costs, with_entrance=False)
        self.clock = Annealed(temperature, anneal, anneal_every)
        self.width = representation_width(staged, example)
        self.channel_dim, self.takes_dict = staged.channel_dim, staged.takes_dict
        seed = draw_seed()
        drawn = [
            fresh_copy(encoder, seed, f"candidate/{i}") if fresh else (copy.deepcopy(encoder), ())
            for i in range(1, count)
        ]
        self.copied = drawn[0][1] if drawn else ()
        grown = [staged, *(as_stages(one) for one, _ in drawn)]
        self.entrance = staged.entrance
        self.stages = nn.ModuleList(
            nn.ModuleList(one.stages[i] for one in grown) for i in range(len(staged.stages))
        )
        self.exits = nn.ModuleList(one.exit for one in grown)
        several = count > 1
        self.parents = nn.ModuleList(
            as_new(_Choice(count, count), encoder) for _ in range(len(self.stages) - 1) if several
        )
        self.leaves = PerTask(
            {task: as_new(_Choice(1, count), encoder) for task in self.outputs if several}
        )
        self.heads = build_heads(
            self.outputs,
            self.width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=seed,
            channel_dim=self.channel_dim,
        )

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """Mixtures of all candidates until the tree is settled; then these tasks' paths."""
        h, context = enter(self.entrance, x if self.takes_dict else unwrapped(x))
        if self.training and not self.clock.settled:
            ends, read = self._mixed(h, context, tasks)
        else:
            ends, read = self._chosen(h, context, tasks)
        outputs = {task: self.heads.answer(task, z, context) for task, z in read.items()}
        return outputs, ends[0] if len(ends) == 1 else ends

    def paths(self) -> dict[str, tuple[int, ...]]:
        """The candidate of every stage that each task reads in evaluation, by number."""
        several = len(self.leaves) > 0
        parents = [_logits(choice).argmax(dim=1).tolist() for choice in self.parents]
        found = {}
        for task in self.task_names:
            path = [int(_logits(self.leaves[task]).argmax()) if several else 0]
            for stage in reversed(range(len(self.stages) - 1)):
                path.insert(0, parents[stage][path[0]] if several else 0)
            found[task] = tuple(path)
        return found

    def candidates(self, stage: int) -> list[nn.Module]:
        """The copies of a stage."""
        copies = self.stages[stage]
        assert isinstance(copies, nn.ModuleList)
        return list(copies)

    @property
    def tree(self) -> tuple[Partition, ...]:
        """The groups of tasks that share a candidate, at every stage; names in order."""
        paths = self.paths()
        levels = []
        for stage in range(len(self.stages)):
            numbers = {path[stage] for path in paths.values()}
            groups = (sorted(t for t in paths if paths[t][stage] == n) for n in numbers)
            levels.append(tuple(sorted(map(tuple, groups))))
        return tuple(levels)

    def derive(self) -> TreeNetwork:
        """The branched network of the tree as it is now, in memory of its own.

        It answers as this model does in evaluation. Candidates on no path are gone;
        `shared_parameters` tells which tasks share what is left.
        """
        paths, tree = self.paths(), self.tree
        parts: list[list[nn.Module]] = [[copy.deepcopy(self.entrance)]]
        for stage, groups in enumerate(tree):
            candidates = self.candidates(stage)
            parts.append([copy.deepcopy(candidates[paths[g[0]][stage]]) for g in groups])
        parts.append([copy.deepcopy(self.exits[paths[g[0]][-1]]) for g in tree[-1]])
        derived = TreeNetwork(self.stages, known(self.outputs))
        together = (tuple(sorted(self.task_names)),)
        derived.plant(
            (together, *tree, tree[-1]),
            parts,
            copy.deepcopy(self.heads),
            self.width,
            channel_dim=self.channel_dim,
            takes_dict=self.takes_dict,
        )
        return derived.train(self.training)

    def expected_cost(self) -> Tensor:
        """Mean size of a tree drawn from the softmax of the logits, in encoders; a scalar.

        Without the entrance, of which there is one.
        """
        if not len(self.leaves):
            return torch.ones(())
        leaves = torch.cat([_logits(self.leaves[task]) for task in self.task_names])
        choices = [*map(_logits, self.parents), leaves]
        wide = torch.promote_types(leaves.dtype, torch.float32)
        copies = expected_copies([logits.to(wide).softmax(dim=1) for logits in choices])
        costs = torch.tensor(self.costs, device=copies.device, dtype=copies.dtype)
        return (costs * copies).sum() / costs.sum()

    def penalties(self) -> dict[str, Tensor]:
        """The expected cost, where it is asked for and there is still a choice."""
        terms = super().penalties()
        if self.cost and len(self.leaves) and not self.clock.settled:
            terms["cost"] = self.cost * self.expected_cost()
        return terms

    def plan_training(self, steps: int) -> None:
        """Let the temperature reach its end after 80 % of so many steps, then settle the tree."""
        self.clock.plan(steps)

    def after_step(self, lr: float) -> None:
        """Count the step, for the temperature."""
        self.clock.advance()

    def rate_factors(self) -> dict[str, float]:
        """The logits learn at a rate of their own."""
        names = (n for n, _ in self.named_parameters() if n.startswith(("parents.", "leaves.")))
        return dict.fromkeys(names, self.choice_rate)

    def _mixed(
        self, h: Tensor, context: Context, tasks: Sequence[str]
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """What all candidates of the last stage answer, and every task's mixture of them."""
        read = [h] * len(self.exits)
        for stage in range(len(self.stages)):
            if stage and len(self.parents):
                weights = self._sample(self.parents[stage - 1])
                read = [mixed(row, read) for row in weights]
            pairs = zip(self.candidates(stage), read, strict=True)
            read = [run(part, own, context) for part, own in pairs]
        ends = [self._end(number, last, context) for number, last in enumerate(read)]
        if not len(self.leaves):
            return ends, dict.fromkeys(tasks, ends[0])
        return ends, {task: mixed(self._sample(self.leaves[task])[0], ends) for task in tasks}

    def _chosen(
        self, h: Tensor, context: Context, tasks: Sequence[str]
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """What the candidates at the end of the tasks' paths answer, and which a task reads."""
        paths = {task: path for task, path in self.paths().items() if task in tasks}
        read: dict[int, Tensor] = {}
        for stage in range(len(self.stages)):
            candidates = self.candidates(stage)
            before, read = read, {}
            for path in paths.values():
                if path[stage] not in read:
                    parent = before[path[stage - 1]] if stage else h
                    read[path[stage]] = run(candidates[path[stage]], parent, context)
        ends = {number: self._end(number, last, context) for number, last in read.items()}
        return list(ends.values()), {task: ends[path[-1]] for task, path in paths.items()}

    def _end(self, number: int, h: Tensor, context: Context) -> Tensor:
        """The representation behind a candidate of the last stage, checked."""
        z = run(self.exits[number], h, context)
        check_representation(self, z, self.width)
        return z

    def _sample(self, choice: nn.Module) -> Tensor:
        """Weights of the parents for every reader, [readers, candidates]."""
        return gumbel_softmax(_logits(choice), self.clock.temperature, self.hard)


class _Choice(nn.Module):
    """Logits of the candidates for some readers, [readers, candidates], 0 at first."""

    def __init__(self, readers: int, candidates: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(readers, candidates))


def _logits(choice: nn.Module) -> Tensor:
    assert isinstance(choice, _Choice)
    return choice.logits
