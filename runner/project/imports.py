"""What a project declares can be imported from its folder, in every process; the folder itself is never on sys.path.

Names that are not declared are looked up as ever. Standard library only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from itertools import islice
from types import ModuleType

LOOKED_AT = 10_000


class _Declared:
    """A meta path finder that answers for the names that a project declares."""

    def __init__(self, folder: str, names: frozenset[str]) -> None:
        self.folder, self.names = folder, names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a declared name that lies in the folder; None leaves it to whoever else finds it."""
        return spec_in(self.folder, name) if name in self.names else None


def spec_in(folder: str | os.PathLike[str], name: str) -> ModuleSpec | None:
    """The spec of a package or module that lies in a folder.

    A folder of that name without Python in it is none: conf/ with YAML, data/ with tables.
    """
    spec = PathFinder.find_spec(name, [os.fspath(folder)])
    plain = spec is not None and spec.loader is None  # no __init__.py
    return None if plain and not _holds_python(os.path.join(folder, name)) else spec


def homes(spec: ModuleSpec) -> list[str]:
    """Where a spec leads to: a file, or the folders of a package without one."""
    return [
        os.path.realpath(each) for each in ([spec.origin] if spec.origin else spec.submodule_search_locations or [])
    ]


def _holds_python(folder: str) -> bool:
    """Whether a source is among the first files of a folder: it may hold millions of pictures."""
    names = (name for _, _, files in os.walk(folder) for name in files)
    return any(name.endswith(".py") for name in islice(names, LOOKED_AT))


def admit(folder: str | os.PathLike[str], names: Iterable[str]) -> None:
    """Let packages and modules of these names be imported from `folder`, in place of those admitted before."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Declared)]
    sys.meta_path.insert(0, _Declared(os.fspath(folder), frozenset(names)))
