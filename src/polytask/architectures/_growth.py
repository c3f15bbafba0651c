"""A task added to a model: the model of all tasks is built anew and takes over what was learned."""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, nn

from polytask.architectures._heads import as_new
from polytask.errors import UserError

if TYPE_CHECKING:
    from polytask.architectures._base import Architecture, TaskLike

Init = TypeVar("Init", bound=Callable[..., None])


class Recipe:
    """How a model was made: its arguments, and the state of torch's stream it was drawn from."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.arguments = {name: value for name, value in arguments.items() if name != "tasks"}
        self.stream = torch.get_rng_state()
        self.tasks: list[TaskLike] = []
        self.frozen: frozenset[str] = frozenset()
        self.like: tuple[torch.device, torch.dtype] | None = None
        encoder = arguments.get("encoder")
        if isinstance(encoder, nn.Module):
            named = list(encoder.named_parameters())
            self.frozen = frozenset(name for name, p in named if not p.requires_grad)
            first = next((p for _, p in named if p.is_floating_point()), None)
            self.like = None if first is None else (first.device, first.dtype)

    def encoder(self) -> nn.Module:
        """A copy of the encoder as it is now, where it was, and trainable in what was so."""
        encoder: nn.Module = copy.deepcopy(self.arguments["encoder"])
        if self.like is not None:
            now = next(p for p in encoder.parameters() if p.is_floating_point())
            if (now.device, now.dtype) != self.like:
                encoder.to(device=self.like[0], dtype=self.like[1])
        for name, parameter in encoder.named_parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_(name not in self.frozen)
        return encoder


@dataclass
class Kept:
    """What a model holds on to for the tasks that were there before the newest ones."""

    frozen: frozenset[str] = frozenset()
    """Parameters, by name, that do not learn any more."""
    still: frozenset[str] = frozenset()
    """Submodules, by name, that stay in eval mode."""
    rates: dict[str, float] = field(default_factory=dict)
    """Parameters, by name, whose learning rate is a multiple of what it would be."""


def noting(init: Init) -> Init:
    """A constructor that leaves the model's `recipe`, if it is the first one called."""

    @functools.wraps(init)
    def noted(self: Any, *args: Any, **options: Any) -> None:
        if "recipe" not in vars(self):
            vars(self)["recipe"] = _recipe(init, args, options)
        init(self, *args, **options)

    return cast(Init, noted)


def _recipe(init: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Recipe | None:
    """The recipe of a call; None for one that names no encoder and no tasks."""
    parameters = inspect.signature(init).parameters
    try:
        bound = inspect.signature(init).bind(None, *args, **options).arguments
    except TypeError:
        return None  # the call itself is about to say what is wrong
    arguments: dict[str, Any] = {}
    for name, value in list(bound.items())[1:]:
        if parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            return None
        arguments |= (
            value if parameters[name].kind is inspect.Parameter.VAR_KEYWORD else {name: value}
        )
    return Recipe(arguments) if {"encoder", "tasks"} <= set(arguments) else None


def grown(
    model: Architecture,
    task: TaskLike,
    head: nn.Module | None,
    seed: int | None,
    options: Mapping[str, Any],
) -> tuple[Architecture, dict[str, str], frozenset[str]]:
    """The model of all tasks with the old parameters in it, and what of it is old.

    The second answer has the new names of what has another name in it, by the old ones, the third
    the names in it of every parameter of the old tasks. `model` stays as it is. Raises `UserError`
    when the old tasks could not answer as before.
    """
    made = model.recipe
    called = type(model).__name__
    if model.no_new_task:
        raise UserError(f"{called} takes no further task: {model.no_new_task}")
    if made is None or not made.tasks:
        raise UserError(
            f"this {called} does not know how it was made, so no task can be added. Build it by "
            "its class or create_architecture, and load its weights into it."
        )
    twin = _twin(model, made, task, head, seed, options)
    as_new(twin, model)
    names = model.names_in(twin)
    before = {name: p for name, p, _ in _tensors(model)}
    resized = []
    for name, old, is_parameter in list(_tensors(model)):
        path, _, last = names.get(name, name).rpartition(".")
        try:
            home = twin.get_submodule(path)
            new = getattr(home, last)
        except AttributeError:
            new = None
        if isinstance(new, Tensor) and new.shape == old.shape:
            setattr(home, last, old)
        elif not is_parameter:
            resized.append(names.get(name, name))
        elif not isinstance(new, Tensor):
            raise not_as_before(model, name, "is not there with one more task")
    set_apart = twin.keep_apart(task.name, before)
    own = dict(twin.named_parameters(remove_duplicate=False))
    for name, old, is_parameter in _tensors(model):
        new_name = names.get(name, name)
        if is_parameter and own[new_name] is not old and new_name not in set_apart:
            said = f"of shape {tuple(old.shape)} is then {tuple(own[new_name].shape)}"
            raise not_as_before(model, name, said)
    twin.take_over(model, resized)
    kept = {names.get(name, name) for name, _, is_parameter in _tensors(model) if is_parameter}
    return twin, names, frozenset(kept | set(set_apart))


def settle(
    model: Architecture,
    twin: Architecture,
    names: Mapping[str, str],
    old: frozenset[str],
    freeze: bool,
    factor: float,
) -> None:
    """Make `model` be `twin`, whose old part is frozen, or learns at `factor` times the rate."""
    parameters = dict(twin.named_parameters(remove_duplicate=False))
    frozen = {names.get(name, name) for name in model.kept.frozen}
    if freeze:
        frozen |= {name for name in old if parameters[name].requires_grad}
    for name in frozen:
        parameters[name].requires_grad_(not freeze)
    rates = {} if freeze else {n: factor for n in old if parameters[n].requires_grad}
    known = old | {names.get(name, name) for name, _, _ in _tensors(model)}
    new = {name for name, _, _ in _tensors(twin)} - known
    still = frozenset(_unchanged(twin, new)) if freeze else frozenset()
    kept = Kept(frozenset(frozen) if freeze else frozenset(), still, rates)
    training = model.training
    vars(model).clear()
    vars(model).update(vars(twin))
    model.kept = kept
    model.train(training)


def check_factor(lr_factor: float) -> float:
    """The factor; raises `UserError` unless it is a number above 0 and at most 1."""
    number = isinstance(lr_factor, int | float) and not isinstance(lr_factor, bool)
    if not number or not math.isfinite(lr_factor) or not 0 < lr_factor <= 1:
        raise UserError(
            f"lr_factor must be a number above 0 and at most 1, found {lr_factor!r}. To leave what "
            "was learned as it is, pass freeze=True."
        )
    return float(lr_factor)


def _twin(
    model: Architecture,
    made: Recipe,
    task: TaskLike,
    head: nn.Module | None,
    seed: int | None,
    options: Mapping[str, Any],
) -> Architecture:
    """The model of all tasks, as its constructor makes it."""
    rest = {name: value for name, value in made.arguments.items() if name != "encoder"}
    heads = {t: h for t, h in (rest.pop("heads", None) or {}).items() if t in model.outputs}
    arguments = copy.deepcopy(rest | {"heads": heads} if heads else rest) | dict(options)
    if head is not None:
        arguments["heads"] = {**arguments.get("heads", {}), task.name: head}
    arguments |= model.options_with(task.name, arguments)
    tasks = [one for one in made.tasks if one.name in model.outputs]
    state = torch.get_rng_state()
    torch.set_rng_state(made.stream)
    if seed is not None:
        torch.default_generator.manual_seed(seed)
    try:
        twin: Architecture = type(model)(encoder=made.encoder(), tasks=[*tasks, task], **arguments)
    except TypeError as error:
        raise UserError(
            f"{type(model).__name__} cannot be built with these options for the new task: {error}."
        ) from error
    finally:
        torch.set_rng_state(state)
    if twin.recipe is not None:
        # Also of the next addition: the stream as it was at first.
        twin.recipe.stream = made.stream
    return twin


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor, bool]]:
    """Parameters and buffers by every name they have, and whether they are parameters."""
    for name, parameter in model.named_parameters(remove_duplicate=False):
        yield name, parameter, True
    for name, buffer in model.named_buffers(remove_duplicate=False):
        yield name, buffer, False


def _unchanged(model: nn.Module, new: Collection[str]) -> Iterator[str]:
    """Submodules, but for the model itself, in which nothing is new and something is old."""
    for name, part in model.named_modules():
        inside = [f"{name}.{tensor}" for tensor, _, _ in _tensors(part)]
        if name and inside and not any(tensor in new for tensor in inside):
            yield from (f"{name}.{below}" if below else name for below, _ in part.named_modules())


def not_as_before(model: nn.Module, name: str, how: str) -> UserError:
    """The error for a model in which old tasks would answer otherwise with one more."""
    return UserError(
        f"no task can be added to this {type(model).__name__}: {name!r} {how}, so the other tasks "
        "would not answer as before. Build the model with all tasks and train it anew, or choose "
        "an architecture whose tasks do not read each other, such as hard_sharing or adapters."
    )
