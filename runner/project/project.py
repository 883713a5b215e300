"""The user's project: what `thalweg.yaml` in the current folder says, and which names a `_target_` may have.

Knows names and folders, and imports nothing they name. Without the file there is no project, and nothing is
picked up.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from thalweg.runner.base.errors import ConfigError, UsageError
from thalweg.runner.project.imports import admit

FILE = "thalweg.yaml"
KEYS = ("config", "code", "store", "study")

Role = Literal["model", "part", "dataset", "loss", "metric"]
TRUSTED: dict[Role, tuple[str, ...]] = {
    "model": ("torch.nn", "torchvision.models"),
    "part": ("torch.nn", "torchvision.models"),
    "dataset": ("torchvision.datasets",),
    "loss": ("torch.nn.functional",),
    "metric": ("torch.nn.functional",),
}
"""Where a target may come from besides the packages that a project declares."""

NOT_YOURS = ("torch", "torchvision", "thalweg")


@dataclass(frozen=True)
class Project:
    """folder: where thalweg.yaml lies. code: names of packages or modules; the others are as written, or None."""

    folder: Path
    config: str | None = None
    code: tuple[str, ...] = ()
    store: str | None = None
    study: str | None = None

    def file_of(self, name: str) -> Path | None:
        """Return the source of a declared package or module that lies in the project; None for an installed one."""
        found = (self.folder / name / "__init__.py", self.folder / f"{name}.py")
        return next((path for path in found if path.is_file()), None)


def here() -> Project | None:
    """Return the project of the current folder, whose code can be imported from now on; None without a file."""
    try:
        file = Path.cwd() / FILE
    except FileNotFoundError:
        raise UsageError("the current folder was removed", "cd to a folder that is there") from None
    if not os.path.lexists(file):
        return None
    project = _read(file, file.stat().st_mtime_ns if file.exists() else 0)
    admit(project.folder, project.code)
    return project


def check_name(key: str, role: Role, path: str, project: Project | None) -> None:
    """Raise ConfigError where a target is not from a package that its role may come from. Imports nothing."""
    declared = project.code if project else ()
    if any(path.startswith(f"{name}.") for name in (*declared, *TRUSTED[role])):
        return
    root = path.partition(".")[0]
    hint: str | None = f"{FILE} declares your own: code: [{', '.join([*declared, root])}]"
    if root in sys.stdlib_module_names or root in NOT_YOURS:
        hint = None
    elif close := difflib.get_close_matches(root, declared, n=1):
        hint = f"did you mean {close[0]}{path.removeprefix(root)}?"
    known = ", ".join((*declared, *TRUSTED[role]))
    raise ConfigError(f"{key} is {path}; expected a {role} from {known}, or a package that {FILE} declares", hint)


@lru_cache(maxsize=4)
def _read(file: Path, modified: int) -> Project:
    """modified: a file that was edited is read again."""
    from thalweg.runner.project.yaml import load  # spares those who are in no project the import

    plain = load(file)
    if plain is None:
        plain = {}
    if not isinstance(plain, Mapping):
        raise ConfigError(f"{FILE} is {type(plain).__name__}; expected keys", f"its keys: {', '.join(KEYS)}")
    for key in plain:
        if key not in KEYS:
            close = difflib.get_close_matches(str(key), KEYS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"its keys: {', '.join(KEYS)}"
            raise ConfigError(f"{FILE} has the key {str(key)[:60]!r}, which means nothing there", hint)
    texts = {key: _text(key, plain.get(key)) for key in ("config", "store", "study")}
    project = Project(folder=file.parent, code=_code(plain.get("code")), **texts)
    if project.config is not None and not (project.folder / project.config).is_dir():
        seen = f"{FILE} names config: {project.config}, which is not a folder here"
        raise ConfigError(seen, "make it, or leave it out")
    return project


def _text(key: str, value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and value):
        raise ConfigError(f"{FILE}: {key} is {value!r}; expected text")
    return value


def _code(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(names, list):
        raise ConfigError(f"{FILE}: code is {value!r}; expected names of packages or modules", "code: [mycode]")
    for name in names:
        if not isinstance(name, str) or not name.isidentifier():
            raise ConfigError(f"{FILE}: code holds {name!r}; expected the name of a package or module, without .py")
        if name in sys.stdlib_module_names or name in NOT_YOURS:
            raise ConfigError(f"{FILE}: code names {name}, which is not yours", "name your own packages or modules")
    return tuple(names)
