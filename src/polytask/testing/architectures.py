"""What every architecture must do, as tests to inherit.

    class TestMine(ArchitectureConformance):
        def make(self):
            encoder = create_encoder("mlp", spec)
            return Mine(encoder, tasks), batch, tasks

Run it with pytest. `make` is called with torch seeded, several times in a test.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._base import Architecture, TaskLike
from polytask.errors import UserError

NEW = "added.later"
"""A task that no suite has; names with dots are ordinary column names."""

Made = tuple[Architecture, Any, Mapping[str, TaskLike]]


class ArchitectureConformance:
    """Inherit it in a test class and write `make`; pytest collects the rest."""

    def make(self) -> Made:
        """Answer a new model, a batch of inputs (2 items at least) and its tasks by name."""
        raise NotImplementedError("a conformance test class must define make(self)")

    def test_outputs_have_the_shape_of_the_tasks(self) -> None:
        """[N, output_size, ...] per task, finite, in the order of the tasks."""
        model, batch, tasks = _made(self)
        outputs = model(batch)
        assert list(outputs) == list(tasks) == list(model.task_names), "tasks in another order"
        rows = _rows(batch)
        for name, output in outputs.items():
            assert output.shape[:2] == (rows, tasks[name].output_size), f"shape of {name}"
            assert output.is_floating_point(), f"type of {name}"
            assert output.isfinite().all(), f"{name} is not finite"

    def test_every_trainable_parameter_gets_a_gradient(self) -> None:
        """None is left out of the graph, none gets an all-zero gradient.

        A parameter that an identity initialisation keeps still at first (`silent_at_start`) is
        asked to move within a few steps.
        """
        model, batch, _ = _made(self)
        _objective(model, batch).backward()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and not _silent(model, name):
                assert parameter.grad is not None, f"no path from an output to {name}"
                assert parameter.grad.ne(0).any(), f"the gradient of {name} is zero"

    def test_every_trainable_parameter_moves(self) -> None:
        """Within a few steps; those that an identity initialisation keeps still at first too.

        A gradient above 0 is enough: a bias in front of a normalisation gets rounding errors.
        """
        model, batch, _ = _made(self)
        still = {name for name, p in model.named_parameters() if p.requires_grad}
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        for _ in range(4):
            optimizer.zero_grad()
            _objective(model, batch).backward()
            still -= {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            model.after_step(1e-3)
        for name, parameter in model.named_parameters():
            assert parameter.isfinite().all(), f"{name} is not finite after four steps"
        assert not still, f"these do not move: {', '.join(sorted(still))}"

    def test_a_task_gives_no_gradient_to_what_only_others_use(self) -> None:
        """Head i has no gradient from task j."""
        model, batch, tasks = _made(self)
        users = model.shared_parameters()
        for task in tasks:
            model.zero_grad(set_to_none=True)
            outputs = model(batch)
            _scalar(_answers(model, outputs, [task])).backward()
            for name, parameter in model.named_parameters():
                if task not in users[name]:
                    assert parameter.grad is None, f"{task} leaks a gradient to {name}"

    def test_declared_sharing_is_the_one_in_the_graph(self) -> None:
        """`shared_parameters` names the tasks whose output's gradient arrives, and no other."""
        _check_sharing(*_made(self))

    def test_some_tasks_are_computed_as_all_are(self) -> None:
        """`tasks=` changes no bit of what it computes, for none, each and every pair."""
        model, batch, tasks = _made(self, training=False)
        everything = model(batch)
        names = list(tasks)
        for wanted in [[], *([n] for n in names), *map(list, combinations(names, 2))]:
            # Asked for backwards: the order of the answer is the model's.
            outputs = model(batch, tasks=wanted[::-1])
            assert list(outputs) == wanted
            for name in wanted:
                assert outputs[name].equal(everything[name]), f"{name} among {wanted}"

    def test_nothing_is_computed_that_the_tasks_do_not_need(self) -> None:
        """No submodule runs whose parameters only other tasks use."""
        model, batch, tasks = _made(self)
        users = model.shared_parameters()
        for task in tasks:
            with _calls(model) as called:
                model(batch, tasks=(task,))
            assert called, "no submodule ran"
            for name, module in called.items():
                own = [
                    users[f"{name}.{parameter}" if name else parameter]
                    for parameter, _ in module.named_parameters(recurse=False)
                    if (f"{name}.{parameter}" if name else parameter) in users
                ]
                assert not own or any(task in who for who in own), f"{name} ran for {task}"

    def test_a_pruned_model_answers_the_same(self) -> None:
        """`prune` keeps what the task uses, bit for bit, in memory of its own."""
        model, batch, tasks = _made(self, training=False)
        everything = model(batch)
        users = model.shared_parameters()
        for task in tasks:
            pruned = model.prune(task)
            assert pruned.task_names == (task,)
            outputs = pruned(batch)
            assert list(outputs) == [task]
            assert outputs[task].equal(everything[task]), f"{task} changed by pruning"
            kept = {name for name, who in users.items() if task in who}
            assert {name for name, _ in pruned.named_parameters()} == kept, f"kept for {task}"
            with torch.no_grad():
                for value in pruned.state_dict().values():
                    value.zero_()
        assert _equal(model(batch), everything), "a pruned copy shares memory with the model"

    def test_features_are_a_cut(self) -> None:
        """Gradients reach shared parameters through the features alone; None means no sharing."""
        model, batch, _ = _made(self)
        outputs, features = model(batch, return_features=True)
        parameters = dict(model.named_parameters())
        shared = [
            parameters[name]
            for name, users in model.shared_parameters().items()
            if len(users) > 1 and parameters[name].requires_grad
        ]
        if features is None:
            # Nothing is shared, or the architecture says why there is no such representation.
            said = bool(model.no_features)
            assert said or not shared, "parameters are shared, but no features are returned"
            return
        cut = [features] if isinstance(features, Tensor) else list(features)
        loss = _scalar(_answers(model, outputs, outputs))
        at_cut = torch.autograd.grad(loss, cut, retain_graph=True)
        assert all(g.ne(0).any() for g in at_cut), "a feature that no output depends on"
        if not shared:
            return
        direct = torch.autograd.grad(loss, shared, retain_graph=True)
        through = torch.autograd.grad(cut, shared, grad_outputs=at_cut, allow_unused=True)
        for one, other in zip(direct, through, strict=True):
            assert other is not None, "a shared parameter lies behind the features"
            torch.testing.assert_close(one, other, msg="a path goes round the features")

    def test_state_dict_round_trip(self) -> None:
        """The state of one model makes another answer the same."""
        model, batch, _ = _made(self, training=False)
        other, _, _ = _made(self, seed=1, training=False)
        assert not _equal(model(batch), other(batch)), "the seed does not reach the weights"
        other.load_state_dict(copy.deepcopy(model.state_dict()))
        assert _equal(model(batch), other(batch)), "loading leaves something behind"

    def test_construction_follows_from_the_seed(self) -> None:
        """`torch.manual_seed` decides every weight."""
        first, second = _made(self)[0].state_dict(), _made(self)[0].state_dict()
        assert list(first) == list(second)
        for name, value in first.items():
            assert value.equal(second[name]), f"{name} differs under one seed"

    def test_evaluation_is_deterministic_and_leaves_no_trace(self) -> None:
        """In eval mode outputs do not depend on the stream, and no buffer moves."""
        model, batch, _ = _made(self, training=False)
        before = copy.deepcopy(model.state_dict())
        first = model(batch)
        torch.rand(3)
        assert _equal(first, model(batch)), "evaluation is random"
        assert _equal(before, model.state_dict()), "evaluation changes the model"

    def test_a_task_is_added_and_the_others_answer_the_same(self) -> None:
        """`add_task` with `freeze`: bit for bit before and after the new task has learned.

        Or it refuses, by `no_new_task` or because of how this model was built, and leaves the
        model as it was.
        """
        model, batch, tasks = _made(self, training=False)
        before, names = model(batch), list(model.state_dict())
        if not _added(model, tasks):
            assert list(model.state_dict()) == names, "a refused task left parts behind"
            assert _equal(model(batch), before), "a refused task changed the others"
            return
        assert model.task_names == (*tasks, NEW), "the new task comes last"
        outputs = model(batch)
        assert outputs[NEW].isfinite().all(), "the new task has no finite output"
        # Torch multiplies by a weight that needs no gradient in another way, so that is compared.
        before = _made(self, training=False)[0].requires_grad_(False)(batch)
        assert all(outputs[name].equal(before[name]) for name in tasks), "changed by the addition"
        learning = {name: p.clone() for name, p in model.named_parameters() if p.requires_grad}
        _learn(model.train(), batch)
        moved = [
            n for n, p in model.named_parameters() if n in learning and p.ne(learning[n]).any()
        ]
        assert moved, "the new task does not learn"
        outputs = model.eval()(batch)
        assert all(outputs[name].equal(before[name]) for name in tasks), "changed by the training"

    def test_a_model_with_an_added_task_is_one_of_all_tasks(self) -> None:
        """Its weights load into a model that was built with all, and it shares as that one does."""
        model, batch, tasks = _made(self, training=False)
        if not _added(model, tasks, freeze=False):
            return
        recipe = model.recipe
        assert recipe is not None, "a model to which a task was added knows how it was made"
        options = copy.deepcopy(recipe.arguments | {"encoder": recipe.encoder()})
        built = type(model)(**options, tasks=recipe.tasks).eval()
        assert built.shared_parameters() == model.shared_parameters(), "another sharing"
        built.load_state_dict(copy.deepcopy(model.state_dict()))
        assert _equal(built(batch), model(batch)), "loading leaves something behind"
        _check_sharing(model.train(), batch, model.task_names)

    def test_half_precision(self) -> None:
        """Under bfloat16 autocast every gradient is there and finite."""
        model, batch, _ = _made(self)
        with torch.autocast("cpu", torch.bfloat16):
            objective = _objective(model, batch)
        objective.backward()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, f"no gradient in {name} under bfloat16"
                assert parameter.grad.isfinite().all(), f"gradient of {name} under bfloat16"

    def test_an_unknown_task_is_refused_with_the_nearest(self) -> None:
        """`tasks=` and `prune` answer a misspelt name with the right one."""
        model, batch, tasks = _made(self)
        name = next(iter(tasks))
        for attempt in (lambda: model(batch, tasks=(name + "x",)), lambda: model.prune(name + "x")):
            try:
                attempt()
            except UserError as error:
                assert repr(name) in str(error), f"no suggestion in: {error}"  # noqa: PT017
            else:
                raise AssertionError("an unknown task was accepted")


def _made(suite: ArchitectureConformance, seed: int = 0, training: bool = True) -> Made:
    """What the suite makes under a seed; afterwards torch's stream is the same in every test."""
    torch.manual_seed(seed)
    model, batch, tasks = suite.make()
    torch.manual_seed(seed + 1000)
    return model.train(training), batch, tasks


@dataclass(frozen=True)
class _New:
    """The task that is added: two outputs, at every place where the first task has places."""

    name: str
    output_size: int
    places: tuple[int, ...]


def _added(model: Architecture, tasks: Iterable[str], freeze: bool = True) -> bool:
    """Add a task; whether the model takes one."""
    task = _New(NEW, 2, model.outputs[next(iter(tasks))].places)
    refused = ""
    try:
        model.add_task(task, freeze=freeze)
    except UserError as error:
        refused = str(error)
    if refused:
        assert model.no_new_task in refused, "it gives another reason than it says"
        return False
    assert not model.no_new_task, "it takes a task that it says it does not"
    return True


def _learn(model: Architecture, batch: Any) -> None:
    """Some steps of the new task alone, with all tasks computed."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        own = _answers(model, model(batch), [NEW])
        (_scalar(own) + sum(model.penalties().values())).backward()
        torch.nn.utils.clip_grad_norm_(learning, 10.0)
        optimizer.step()
        model.after_step(1e-2)


def _check_sharing(model: Architecture, batch: Any, tasks: Iterable[str]) -> None:
    """Assert that `shared_parameters` names the tasks whose gradient arrives, and no other."""
    declared = model.shared_parameters()
    parameters = dict(model.named_parameters())
    assert set(declared) == set(parameters), "every parameter is declared, and nothing else"
    trainable = {name: p for name, p in parameters.items() if p.requires_grad}
    outputs = model(batch)
    reached: dict[str, list[str]] = {name: [] for name in trainable}
    for task in tasks:
        gradients = torch.autograd.grad(
            _scalar(_answers(model, outputs, [task])),
            list(trainable.values()),
            retain_graph=True,
            allow_unused=True,
        )
        for name, gradient in zip(trainable, gradients, strict=True):
            if gradient is not None:
                reached[name].append(task)
    for name, users in reached.items():
        assert list(declared[name]) == users, f"users of {name}"


def _silent(model: Architecture, name: str) -> bool:
    """Whether the architecture says that this parameter gets no gradient in its first step."""
    return any(fnmatchcase(name, pattern) for pattern in model.silent_at_start)


def _objective(model: Architecture, batch: Any) -> Tensor:
    """A number that outputs, early answers and the model's own terms move."""
    outputs = model(batch)
    return _scalar(_answers(model, outputs, outputs)) + sum(model.penalties().values())


def _answers(
    model: Architecture, outputs: Mapping[str, Tensor], tasks: Iterable[str]
) -> list[Tensor]:
    """What the losses of these tasks are of: their outputs, and their early answers."""
    early = [answer for task in tasks for answer in model.intermediate.get(task, ())]
    return [*(outputs[task] for task in tasks), *early]


def _scalar(outputs: Any) -> Tensor:
    """A number every output element moves: random weights, since plain sums can cancel."""
    stream = torch.Generator().manual_seed(7)
    weighted = [
        (torch.randn(o.shape, generator=stream).to(o.device) * o.float()).sum() for o in outputs
    ]
    return torch.stack(weighted).sum()


def _equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return list(first) == list(second) and all(v.equal(second[k]) for k, v in first.items())


def _rows(batch: Any) -> int:
    """Number of items in a batch of tensors."""
    value = next(iter(batch.values())) if isinstance(batch, Mapping) else batch
    return len(value)


@contextmanager
def _calls(model: nn.Module) -> Iterator[dict[str, nn.Module]]:
    """The submodules that run inside, by name."""
    called: dict[str, nn.Module] = {}
    handles = [
        module.register_forward_pre_hook(lambda m, _, name=name: called.update({name: m}))
        for name, module in model.named_modules()
    ]
    try:
        yield called
    finally:
        for handle in handles:
            handle.remove()
