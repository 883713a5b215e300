"""What a project declares can be imported from its folder, in every process; the folder itself is never on sys.path.

Names that are not declared are looked up as ever. Standard library only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class _Declared:
    """A meta path finder that answers for the names that a project declares."""

    def __init__(self, folder: str, names: frozenset[str]) -> None:
        self.folder, self.names = folder, names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a declared name that lies in the folder; None leaves it to sys.path.

        A plain folder of that name (conf/ with YAML, data/ with tables) does not hide a package from elsewhere.
        """
        if name not in self.names:
            return None
        spec = PathFinder.find_spec(name, [self.folder])
        plain = spec is not None and spec.loader is None
        return None if plain and PathFinder.find_spec(name) else spec


def admit(folder: str | os.PathLike[str], names: Iterable[str]) -> None:
    """Let packages and modules of these names be imported from `folder`, in place of those admitted before."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Declared)]
    sys.meta_path.insert(0, _Declared(os.fspath(folder), frozenset(names)))
