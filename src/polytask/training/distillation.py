"""Distillation: tasks learn from trained networks beside, or instead of, their labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from polytask.errors import UserError, unknown
from polytask.optimization.distillation.soft import KINDS, check_temperature
from polytask.tasks import Task

Teacher = nn.Module | str | Path
FORMS = ("annealed", "soft", "ensemble", "features")
WEIGHTS = {"soft": 0.9, "ensemble": 0.5, "features": 1.0}
"""What the teachers count where no weight is given; annealing has none, it follows the steps."""
PLACES = ("labelled", "all")


class Distillation:
    """What a training learns from teachers: pass it as `Trainer(..., distill=...)`.

    Every task with a teacher gets a distilled loss in place of its own, so that a balancer sees
    one loss a task as always. With L the loss on labels and S the mean of `soft_loss` over what
    is taught:

    - "annealed": lambda L + (1 - lambda) S, lambda from 0 at the first optimizer step to 1 at the
      last. BAM, K. Clark et al., ACL 2019, https://arxiv.org/abs/1907.04829, where students of
      single-task teachers match them or do better. Needs batches with a length.
    - "soft": (1 - weight) L + weight S. G. Hinton et al., 2015, https://arxiv.org/abs/1503.02531,
      who say only that the labels should weigh considerably less: weight is 0.9 by default.
    - "ensemble": the same with weight 0.5, for several teachers a task, whose probabilities are
      averaged. MT-DNN-KD, X. Liu et al., 2019, https://arxiv.org/abs/1904.09482.
    - "features": L + weight * D, D the squared distance between the student's shared features
      behind an adapter of the task and its teacher's, both normalised over channels. KD4MTL,
      W.-H. Li, H. Bilen, 2020, https://arxiv.org/abs/2007.06889, whose weights are 1, 1 and 2.
      Model and teachers must answer one shared representation (`return_features`), as hard
      sharing does. One teacher a task.

    S is the divergence of distributions at a temperature (multiclass, binary, multilabel), times
    its square; or the squared error to the teacher's standardised value (regression). Early
    answers of a model are taught as its last. Validation losses and scores stay plain, and so does
    what recorders of conflict or affinity measure. A task without a teacher learns from its
    labels alone; one that a batch has no target for is absent, as always. What is taught counts
    where labels are counted, as in `examples/TASK` of the history.

    Teachers are copied when the Trainer is made, frozen, in evaluation mode, without gradients;
    they are no part of the model, its parameters or its checkpoints. Cost: a forward pass of
    every teacher a step, and their memory; adapters in "features". Adapters are drawn by the
    seed, learned with the optimizer of the training and thrown away; the published code has an
    Adam of their own, with a rate of 0.1 beside 1e-4.

    Args:
        teachers: by task: a module, several, or the folder of an ended run of the `Trainer`. A
            module reads the batches of the training and returns outputs by task name, or one
            tensor: logits, or values standardised as the task's. A folder's weights are put into
            a copy of the model, whole or pruned to the task, whichever they fit.
        form: which loss, as above.
        temperature: of soft targets; 1, as in BAM, leaves probabilities as they are.
        weight: of the teachers, one number or one a task: above 0, and at most 1 but for
            "features". Tasks left out have the default of the form.
        unlabelled: teach rows without a label too, as teachers need none. With annealing they
            count less and less. False teaches what has a label.
        places: of tasks with a label at every place, "labelled" teaches those places of an item
            that have one (padding has none), and every place of an item without any; "all"
            teaches every place.
        cache: compute what teachers say once, before training, for every row; needs `Batches`.
            Memory: one tensor a task as large as its outputs, or its features. Batches of
            other rows may round otherwise, so results can differ in the last bits.
        adapter_lr: learning rate of the adapters; by default that of the training.

    Raises:
        UserError: an option that cannot be. The Trainer raises it for teachers that do not fit.

    >>> Distillation({"digit": nn.Linear(64, 10)}, form="soft", temperature=2.0).weight_of("digit")
    0.9
    """

    def __init__(
        self,
        teachers: Mapping[str, Teacher | Sequence[Teacher]],
        form: str = "annealed",
        temperature: float = 1.0,
        weight: float | Mapping[str, float] | None = None,
        unlabelled: bool = True,
        places: str = "labelled",
        cache: bool = False,
        adapter_lr: float | None = None,
    ) -> None:
        if form not in FORMS:
            raise unknown("form of distillation", form, FORMS)
        if places not in PLACES:
            raise unknown("places to teach:", places, PLACES)
        for word, value in (("unlabelled", unlabelled), ("cache", cache)):
            if not isinstance(value, bool):
                raise UserError(f"{word} must be True or False, found {value!r}.")
        if adapter_lr is not None and form != "features":
            raise UserError(f"adapter_lr belongs to form 'features', found form {form!r}.")
        if adapter_lr is not None and not _number(adapter_lr):
            raise UserError(f"adapter_lr must be a number above 0, found {adapter_lr!r}.")
        if not isinstance(teachers, Mapping) or not teachers:
            raise UserError(
                "teachers must be given by task, as in {'price': network}, found "
                f"{type(teachers).__name__ if teachers else 'none'}. Name the task of each."
            )
        self.teachers = {task: _listed(task, given) for task, given in teachers.items()}
        self.form = form
        self.temperature = float(check_temperature(temperature))
        self.weight = dict(weight) if isinstance(weight, Mapping) else weight
        self.unlabelled = unlabelled
        self.places = places
        self.cache = cache
        self.adapter_lr = adapter_lr
        self._check_weights()

    def weight_of(self, task: str) -> float:
        """What the teachers of a task count; 1 where annealing decides."""
        given = self.weight.get(task) if isinstance(self.weight, dict) else self.weight
        return WEIGHTS.get(self.form, 1.0) if given is None else float(given)

    def check(self, tasks: Mapping[str, Task]) -> None:
        """Raise `UserError` for a teacher, or a weight, of no task, or of one nobody can teach."""
        for name in self.teachers:
            if name not in tasks:
                raise unknown("task in teachers:", name, tasks)
        for name in self.weight if isinstance(self.weight, dict) else ():
            if name not in self.teachers:
                raise unknown("task in weight of the distillation:", name, self.teachers)
        for name in self.teachers:
            if self.form != "features" and tasks[name].kind not in KINDS:
                raise UserError(
                    f"the task {name!r} is {tasks[name].kind}: what its outputs mean is not known, "
                    f"so they cannot be taught; expected one of {', '.join(KINDS)}. Leave it out "
                    "of teachers, or use form='features'."
                )

    def describe(self) -> dict[str, Any]:
        """Its options as plain values, without the teachers."""
        words = ("form", "temperature", "weight", "unlabelled", "places", "cache", "adapter_lr")
        return {word: getattr(self, word) for word in words}

    def _check_weights(self) -> None:
        given = self.weight
        if given is not None and self.form == "annealed":
            raise UserError(
                "form 'annealed' takes no weight: the teachers' share goes from 1 to 0 with the "
                f"steps; found weight={given!r}. Leave it out, or use form='soft'."
            )
        most = math.inf if self.form == "features" else 1.0
        for value in given.values() if isinstance(given, dict) else [given]:
            if value is not None and not (_number(value) and value <= most):
                limit = "" if self.form == "features" else " and at most 1"
                raise UserError(f"weight must be a number above 0{limit}, found {value!r}.")
        if self.form == "features":
            for task, several in self.teachers.items():
                if len(several) > 1:
                    raise UserError(
                        f"form 'features' follows one teacher a task, found {len(several)} for "
                        f"{task!r}. Choose one, or average answers with form='ensemble'."
                    )


def _listed(task: str, given: Any) -> tuple[Teacher, ...]:
    """The teachers of one task."""
    alone = isinstance(given, nn.Module | str | Path)
    several = (given,) if alone else tuple(given) if isinstance(given, list | tuple) else ()
    right = all(isinstance(each, nn.Module | str | Path) for each in several)
    if not several or not right:
        found = "none" if given in ((), []) else repr(given)
        raise UserError(
            f"the teacher of {task!r} must be a module, a list of modules or the folder of a run; "
            f"found {found[:80]}. Build the network and load its weights first."
        )
    return several


def _number(value: Any) -> bool:
    """Whether a value is a finite number above 0."""
    right = isinstance(value, int | float) and not isinstance(value, bool)
    return right and math.isfinite(value) and value > 0
