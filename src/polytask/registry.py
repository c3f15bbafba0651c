"""What exists, by name, without importing any of it.

A method, an architecture, an encoder, a data set, a construction of helper tasks, a task schedule,
a regularizer or an estimator of affinities is one file in its folder. The folder is read with
`ast`, so listing names, summaries and arguments costs milliseconds and never imports torch. The
file's name is the entry's name; its entry is the public class or function whose name equals the
file's name when case and underscores are ignored (`nash_mtl.py` holds `NashMTL`), or the only
public definition. A literal `aliases = (...)` in the class body adds names. Third parties register
through the entry-point groups `polytask.methods`, `polytask.architectures`, `polytask.encoders`,
`polytask.datasets`, `polytask.auxiliaries`, `polytask.schedules`, `polytask.regularizers` and
`polytask.estimators`, and for one process by `polytask.register_architecture`.
"""

from __future__ import annotations

import ast
import fnmatch
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from polytask.errors import UserError, unknown

ROOT = Path(__file__).parent
FOLDERS = {
    "method": ("optimization/loss_weighting", "optimization/gradients", "optimization/main_task"),
    "architecture": ("architectures",),
    "encoder": ("architectures/encoders",),
    "dataset": ("data/sets",),
    "auxiliary": ("auxiliary/construction",),
    "estimator": ("study/relations/estimators",),
    "schedule": ("optimization/scheduling",),
    "regularizer": ("optimization/regularization",),
}
# An `__init__` that ends in `**options` also takes what the base class of its kind takes.
BASES = {"method": ("optimization/base.py", "Balancer")}


@dataclass(frozen=True)
class Entry:
    """One registered thing: where it is and what its file says about it."""

    name: str
    module: str
    attribute: str
    summary: str = ""
    group: str = ""
    aliases: tuple[str, ...] = ()
    arguments: dict[str, str] = field(default_factory=dict)
    """Keyword arguments of the entry with their defaults, as source text ('' when required)."""
    annotations: dict[str, str] = field(default_factory=dict)
    """Their types, as source text; only of the entry's own arguments, not of its base class."""
    constants: dict[str, Any] = field(default_factory=dict)
    """Literal class attributes (what a method needs, the year of its paper, ...)."""
    thing: Any = None
    """The class itself, of what was registered in this process."""
    file: str = ""
    """The file of such a class, where it has one."""

    def load(self) -> Any:
        """The class or function; its module is imported when it is not yet at hand."""
        if self.thing is not None:
            return self.thing
        return getattr(importlib.import_module(self.module), self.attribute)


def squash(name: str) -> str:
    """Case and underscores ignored: `NashMTL` and `nash_mtl` are one name."""
    return name.replace("_", "").replace("-", "").lower()


@cache
def entries(kind: str) -> dict[str, Entry]:
    """All entries of a kind (a key of `FOLDERS`), by name."""
    found: dict[str, Entry] = {}
    for folder in FOLDERS[kind]:
        for file in sorted((ROOT / folder).glob("*.py")):
            if not file.stem.startswith("_") and (entry := _read(file, folder, kind)):
                found[entry.name] = entry
    plural = "auxiliaries" if kind == "auxiliary" else f"{kind}s"
    for point in entry_points(group=f"polytask.{plural}"):
        module, _, attribute = point.value.partition(":")
        found.setdefault(point.name, Entry(point.name, module, attribute, group="third party"))
    return found


def names(kind: str, pattern: str = "*") -> list[str]:
    """Sorted names of a kind that match a shell pattern (`*grad*`)."""
    return sorted(name for name in entries(kind) if fnmatch.fnmatchcase(name, pattern))


def find(kind: str, name: str) -> Entry:
    """The entry called `name`, by name, alias or class name. Raises `UserError` if none is."""
    for entry in entries(kind).values():
        if squash(str(name)) in {squash(entry.name), *map(squash, entry.aliases)}:
            return entry
    raise unknown(kind, name, entries(kind))


def create(kind: str, name: str, /, **arguments: Any) -> Any:
    """Build the entry called `name`; an argument it does not take is an error with a suggestion."""
    entry = find(kind, name)
    check_arguments(kind, entry, arguments)
    return entry.load()(**arguments)


def check_arguments(kind: str, entry: Entry, arguments: dict[str, Any]) -> None:
    """Raise `UserError` for a word that `entry` does not take, or a value of another type."""
    if not entry.arguments and entry.group == "third party":
        return
    for word, value in arguments.items():
        if word not in entry.arguments:
            raise unknown(f"argument of {kind} {entry.name}:", word, entry.arguments)
        check_type(f"{kind} {entry.name}: {word}", entry, word, value)


TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "bool": ("true or false", (bool,)),
    "int": ("a whole number", (Integral,)),
    "float": ("a number", (Real,)),
    "str": ("a word", (str,)),
    "Sequence": ("a list such as [256,128]", (list, tuple, range)),
    "Mapping": ("a mapping such as {price: 2}", (Mapping,)),
    "None": ("none", (type(None),)),
}
"""What the annotations of arguments that text can hold are called, and what fits them."""


def check_type(where: str, entry: Entry, word: str, value: Any) -> None:
    """Raise `UserError` when `value` cannot be the argument `word`; `where` names it.

    Goes by the annotation as far as it names plain types, else by the default.
    """
    default = entry.arguments.get(word, "")
    if word in entry.annotations:
        parts = [part.strip() for part in entry.annotations[word].split(" | ")]
    else:
        parts = [_type_of(default)]
    names = [part.partition("[")[0] for part in parts]
    if not all(name in TYPES or name == "Literal" for name in names):
        return
    choices = [
        choice
        for part in parts
        if part.startswith("Literal[")
        for choice in ast.literal_eval(part.removeprefix("Literal"))
    ]
    plain = [part for part in parts if not part.startswith("Literal[")]
    if any(_fits(value, part) for part in plain) or value in choices:
        return
    if choices and isinstance(value, str):
        raise unknown(f"value of {where}:", value, choices)
    said = [TYPES[part.partition("[")[0]][0] for part in plain]
    wanted = " or ".join([*said, *map(repr, choices)])
    shown = f" (default {default})" if default else ""
    raise UserError(f"{where} should be {wanted}{shown}, found {value!r}")


def _fits(value: Any, part: str) -> bool:
    """Whether a value is of a type such as `int`, `Sequence[int]` or `Mapping[str, float]`."""
    name, _, inside = part.rstrip("]").partition("[")
    if isinstance(value, bool) or name == "bool":
        # True is a whole number to Python; here 1 may stand for true, but not the other way.
        return name == "bool" and value in (0, 1)
    if not isinstance(value, TYPES[name][1]):
        return False
    inside = inside.rpartition(", ")[2]
    held: Any = value.values() if isinstance(value, Mapping) else value
    return inside not in TYPES or all(_fits(each, inside) for each in held)


def _type_of(default: str) -> str:
    """The name of a type that the default of an argument suggests; '' when it says nothing."""
    try:
        example = ast.literal_eval(default)
    except (ValueError, SyntaxError):
        return ""
    kinds = {bool: "bool", int: "int", float: "float", str: "str", tuple: "Sequence"}
    return kinds.get(type(example), "")


def _read(file: Path, folder: str, kind: str) -> Entry | None:
    """Read one file's entry from its syntax tree."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    public = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    ]
    same = [node for node in public if squash(node.name) == squash(file.stem)]
    chosen = same or (public if len(public) == 1 else [])
    if not chosen:
        return None
    node = chosen[0]
    constants = _constants(node) if isinstance(node, ast.ClassDef) else {}
    documented = ast.get_docstring(node) or ast.get_docstring(tree) or ""
    return Entry(
        name=file.stem,
        module="polytask." + folder.replace("/", ".") + "." + file.stem,
        attribute=node.name,
        summary=documented.strip().split("\n")[0].rstrip("."),
        group=folder.rsplit("/", 1)[-1],
        aliases=tuple(constants.get("aliases", ())),
        arguments=(_base_arguments(kind) if _takes_options(node) else {}) | _arguments(node),
        annotations=_annotations(node),
        constants=constants,
    )


def _constants(node: ast.ClassDef) -> dict[str, Any]:
    """Class attributes whose value is a literal."""
    out: dict[str, Any] = {}
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets: list[ast.expr] = [statement.target]
        elif isinstance(statement, ast.Assign):
            targets = statement.targets
        else:
            continue
        assert statement.value is not None
        try:
            value = ast.literal_eval(statement.value)
        except ValueError:
            continue
        out.update({target.id: value for target in targets if isinstance(target, ast.Name)})
    return out


def _signature(node: ast.ClassDef | ast.FunctionDef) -> ast.FunctionDef | None:
    """The function whose arguments the caller passes: the `__init__` of a class."""
    if isinstance(node, ast.FunctionDef):
        return node
    inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    return inits[0] if inits else None


def _takes_options(node: ast.ClassDef | ast.FunctionDef) -> bool:
    """Whether what the base class takes can be passed too."""
    function = _signature(node)
    return function.args.kwarg is not None if function else isinstance(node, ast.ClassDef)


@cache
def _base_arguments(kind: str) -> dict[str, str]:
    """Arguments of the base class of a kind; none when the kind has no base class."""
    if kind not in BASES:
        return {}
    file, name = BASES[kind]
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    node = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    return _arguments(node)


def _arguments(node: ast.ClassDef | ast.FunctionDef) -> dict[str, str]:
    """Named arguments of a function, or of a class's `__init__`, with defaults as text."""
    function = _signature(node)
    if function is None:
        return {}
    spec = function.args
    positional = spec.posonlyargs + spec.args
    gap = len(positional) - len(spec.defaults)
    padded: list[ast.expr | None] = [None] * gap + list(spec.defaults)
    out = {arg.arg: default for arg, default in zip(positional, padded, strict=True)}
    out.update(dict(zip((a.arg for a in spec.kwonlyargs), spec.kw_defaults, strict=True)))
    out.pop("self", None)
    return {name: ast.unparse(default) if default else "" for name, default in out.items()}


def _annotations(node: ast.ClassDef | ast.FunctionDef) -> dict[str, str]:
    """Types of the named arguments of a function, or of a class's `__init__`."""
    function = _signature(node)
    if function is None:
        return {}
    spec = function.args
    every = (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)
    return {arg.arg: ast.unparse(arg.annotation) for arg in every if arg.annotation}
