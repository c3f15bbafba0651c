"""Code of the user's own in a file: imported on request, and found again by other processes.

Only two things make polytask import such a file: `polytask ... --plugins FILE`, and a run of a
study whose configuration names it, with the hash that it had when the study began. YAML never
does.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import CodeType
from typing import Any

from polytask import registry
from polytask.errors import UserError, foreign, nearest
from polytask.files import sha256

PREFIX = "polytask_plugin_"
"""Of the names that files get as modules, so that none hides a module of that name."""
DIGITS = 16
HASH = "__polytask_hash__"


def load(file: str | Path) -> None:
    """Import a Python file for what it registers; a file that is as it was is left alone.

    Raises `UserError` when there is no such file, when it raises, and when it registers nothing.
    """
    path = _checked(Path(file).expanduser())
    digest = sha256(path)[:DIGITS]
    place = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"{PREFIX}{re.sub(r'[^A-Za-z0-9]+', '_', path.stem)}_{place}"
    if getattr(sys.modules.get(name), HASH, None) == digest and _registered_by(name):
        return
    loader = _AsItIs(name, str(path))
    module = module_from_spec(ModuleSpec(name, loader, origin=str(path)))
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        with foreign(
            lambda what: f"the plugin {path} raised {what}. Run it by hand: python {path}"
        ):
            loader.exec_module(module)
        if not _registered_by(name):
            raise UserError(
                f"the plugin {path} registers nothing; expected a class in it with "
                "@polytask.register_architecture above."
            )
    except BaseException:
        del sys.modules[name]
        for entry in _registered_by(name):
            del registry.entries("architecture")[entry.name]
        raise
    setattr(module, HASH, digest)


def _registered_by(module: str) -> list[registry.Entry]:
    """What a module has registered."""
    return [e for e in registry.entries("architecture").values() if e.module == module]


class _AsItIs(SourceFileLoader):
    """Compiles what the file holds now: byte code beside it could be of an older version."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def source(entry: registry.Entry) -> str:
    """What tells one version of a registered class from another; "" of the library's own.

    The hash of its file, or, of a class in a script or a notebook, of its own lines.
    """
    if entry.thing is None:
        return ""
    file = _file(entry)
    if file is not None:
        return sha256(file)[:DIGITS]
    try:
        text = inspect.getsource(entry.thing)
    except (OSError, TypeError):
        text = f"{entry.module}.{entry.attribute}"
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def origin(entry: registry.Entry) -> dict[str, str] | None:
    """Where another process finds the class: `{"file", "module", "source"}`.

    None for what it has anyway, and for a class of a running script or notebook, which it cannot
    import without running all of that: see `here_only`.
    """
    file = _file(entry)
    if file is None:
        return None
    module = "" if entry.module.startswith(PREFIX) else entry.module
    return {"file": str(file), "module": module, "source": source(entry)}


def here_only(entry: registry.Entry) -> bool:
    """Whether no other process can import what is registered."""
    return entry.thing is not None and _file(entry) is None


def bring(found: Mapping[str, Any]) -> None:
    """Import what `origin` described. Raises `UserError` when the file is not what it was."""
    path = Path(found["file"])
    if not path.is_file() or sha256(path)[:DIGITS] != found["source"]:
        raise UserError(
            f"{path} was changed or removed after the study began; expected the file as it was. "
            "Give the same command again: what the change concerns is run anew."
        )
    if found["module"]:
        with foreign(lambda what: f"importing {found['module']} ({path}) raised {what}."):
            importlib.import_module(found["module"])
    else:
        load(path)


def _file(entry: registry.Entry) -> Path | None:
    """The file from which a registered class can be imported."""
    if entry.thing is None or entry.module == "__main__" or not entry.file:
        return None
    return Path(entry.file)


def _checked(path: Path) -> Path:
    """The absolute path of a Python file; `UserError` for anything else."""
    if path.is_file() and path.suffix == ".py":
        return path.resolve()
    if path.is_file():
        raise UserError(f"a plugin is a Python file (.py), found {str(path)!r}.")
    beside = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
    close = nearest(path.name, beside)
    hint = f"; did you mean {str(path.with_name(close))!r}?" if close else "."
    what = "it is a folder" if path.is_dir() else "there is no such file"
    raise UserError(f"expected a Python file as plugin, found {str(path)!r}: {what}{hint}")
