"""Where our five packages live, and that it is they who are imported.

conf, runner, optim, data and models are ordinary names: with PYTHONPATH=. a user's own `models/` would be
found before ours. So these five names are looked up beside this package first, in every process that imports
`runner`, spawned workers too. A user's package of such a name cannot be imported beside ours; `rivals` names
it. The packages that a user's project declares are looked up in its folder, and only they: the folder itself is
never on sys.path. Standard library only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType

from runner.errors import SetupError

NAMES = ("conf", "runner", "optim", "data", "models")
HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class _BesideUs:
    """A meta path finder that answers for the five names only."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [HOME]) if name in NAMES else None


def pin() -> None:
    """Look the five names up beside this package before sys.path is searched."""
    if _BesideUs not in sys.meta_path:
        sys.meta_path.insert(0, _BesideUs)


class _Admitted:
    """A meta path finder that answers for the names that a project declares."""

    def __init__(self, folder: str, names: frozenset[str]) -> None:
        self.folder, self.names = folder, names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a declared name that lies in the folder; None leaves it to sys.path."""
        return PathFinder.find_spec(name, [self.folder]) if name in self.names else None


def admit(folder: str | os.PathLike[str], names: Iterable[str]) -> None:
    """Let packages and modules of these names be imported from `folder`, in place of those admitted before."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Admitted)]
    sys.meta_path.insert(sys.meta_path.index(_BesideUs) + 1, _Admitted(os.fspath(folder), frozenset(names)))


def check() -> None:
    """Raise SetupError unless all five packages come from one folder."""
    for name in NAMES:
        spec = find_spec(name)
        found = os.path.dirname(spec.origin) if spec and spec.origin else None
        expected = os.path.join(HOME, name)
        if found is None:
            raise SetupError(f"thalweg's package {name} is missing: {expected}", "install thalweg again")
        if os.path.realpath(found) != os.path.realpath(expected):
            raise SetupError(
                f"thalweg's package {name} clashes with another of that name: found {found}, wanted {expected}",
                f"rename {found}, or take {os.path.dirname(found)} off PYTHONPATH",
            )


def rivals() -> dict[str, str]:
    """Packages on sys.path with one of the five names that are not ours: name -> folder. They stay unused."""
    elsewhere = [entry for entry in sys.path if os.path.realpath(entry) != os.path.realpath(HOME)]
    specs = {name: PathFinder.find_spec(name, elsewhere) for name in NAMES}
    return {name: os.path.dirname(spec.origin) for name, spec in specs.items() if spec and spec.origin}
