"""DSelect-k: a mixture of experts whose gates come to select k of them, by gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from polytask.architectures._base import TaskLike
from polytask.architectures._mixture import Mixture
from polytask.architectures._numbers import counted, within
from polytask.architectures._selectors import Selectors, selection_entropy, unreached
from polytask.errors import UserError


class DSelectK(Mixture):
    """DSelect-k: a mixture of experts whose gates come to select k of them, by gradient descent.

    H. Hazimeh et al., "DSelect-k: Differentiable Selection in the Mixture of Experts with
    Applications to Multi-Task Learning", NeurIPS 2021, https://arxiv.org/abs/2106.03760. A gate
    is a mixture of k selectors of one expert each:

        w = sum_s softmax(a)_s r(z_s),
        r(z)_i = product over bits b of S(z_b) where b is set in i, and of 1 - S(z_b) elsewhere,

    with the smooth step S of width gamma, which is exactly 0 and 1 outside of +-gamma/2. Once all
    its bits are decided a selector has weight 1 on one expert and no gradient any more: a gate has
    then at most k experts that are not exactly 0. z and a are parameters of a task (static), or,
    with `per_item`, linear in the features at the branching point, so that items of a task differ.

    The objective is, beside the tasks' losses and for the gate of EVERY task in the forward pass,

        entropy * sum_s H(r(z_s)),  and, unless the number of experts is a power of 2,
        sum_s (1 / sum_i r(z_s)_i - 1),

    the second so that no weight goes to codes that no expert has; until it is 0, the weights of a
    gate sum to less than 1. (A step so long that a selector decides on such a code at once leaves
    it without an expert for good: lower the learning rate.) Both are in `penalties()` by task,
    which the Trainer minimises; in a loop of one's own pass their sum as `penalty=`. Published
    code that calls backward inside of forward has no effect, as the trainer clears gradients, and
    takes the last task's gate alone. The authors' code sums both terms over the items of a batch,
    this takes the mean, so that they do not depend on the batch size; it adds the reciprocal
    without the -1, a constant; and lets the entropy's weight follow a schedule.

    Experts are as in `MMoE`, with the same cost: all are computed, also those that no gate has
    selected. `gate_usage` tells which are. With one expert there is no gate: hard sharing. The
    features are a cut: what every expert answers, and with `per_item` what gates read.

    Args:
        encoder: any module; of several stages to share the first ones (see `stages`).
        tasks: tasks by name, or in a list.
        experts: how many, at least 1.
        selected: selectors of every gate, k: from 1 to `experts`.
        gamma: width of the smooth step, above 0; in units of the logits z.
        entropy: weight of the entropy, at least 0; greater ones decide sooner. The paper tunes it.
        per_item: gates decide item by item.
        shared_stages: as in `MMoE`.
        fresh: False starts every expert from the weights of `encoder`, for a pretrained one.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name.
        example: one batch of inputs, for a dry run where widths are not declared.

    Raises:
        UserError: as `MMoE`; more selectors than experts, a gamma or an entropy that cannot be.

    """

    paper = "Hazimeh et al. 2021"
    shares = "all experts; each task comes to select a few of them"
    requires = "several stages, or experts are copies of the whole"

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        experts: int = 4,
        selected: int = 2,
        gamma: float = 1.0,
        entropy: float = 1e-2,
        per_item: bool = False,
        shared_stages: int | None = None,
        fresh: bool = True,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        if counted("selected", selected) > counted("experts", experts):
            raise UserError(
                f"selected must be at most the number of experts, {experts}, found {selected}. "
                "Lower it, or take more experts."
            )
        gamma, entropy = within("gamma", gamma, above=0), within("entropy", entropy, least=0)
        super().__init__(
            encoder,
            tasks,
            experts=experts,
            own=0,
            new_gate=lambda width, n: Selectors(n, selected, gamma, width if per_item else None),
            reads_features=per_item,
            shared_stages=shared_stages,
            fresh=fresh,
            head_hidden=head_hidden,
            heads=heads,
            example=example,
        )
        self.entropy = entropy

    def weigh(self, task: str, read: Tensor) -> Tensor:
        """Weights of the experts; in training the terms of this gate are noted."""
        weights, single = self.gates[task](read)
        if self.entropy:
            self.term(f"{task}: entropy of the gate", self.entropy * selection_entropy(single))
        if len(self.experts) & (len(self.experts) - 1):
            self.term(f"{task}: codes without an expert", unreached(single))
        chosen: Tensor = weights
        return chosen
