"""Holds tensor names to their shapes while tests run: `theta_KP` has two dimensions, and K is the same in a call.

Modules of ours that name shapes are read with a check after each assignment to such a name, and before the first line
of a function that takes some. What is not an array (None, a dict of arrays) is not looked at.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

SUFFIX = re.compile(r"[a-z0-9]_([A-Z][A-Z1-9]{0,3})$")
CHECKED = ("thalweg.runner.engine", "thalweg.runner.analysis", "thalweg.optim", "thalweg.models", "thalweg.data")


class WrongShape(AssertionError):  # noqa: N818
    """A name says another shape than its value has."""


def check(name: str, value: Any, sizes: dict[str, tuple[int, str]] | None = None) -> None:
    """Raise WrongShape unless an array has a dimension a letter, of the letter's size in `sizes`; a digit is a size."""
    letters, shape = SUFFIX.search(name)[1], getattr(value, "shape", None)
    if not isinstance(shape, tuple):
        return
    if len(shape) != len(letters):
        raise WrongShape(f"{name} has the shape {tuple(shape)}")
    for letter, size in zip(letters, shape, strict=True):
        if letter.isdigit() and size != int(letter):
            raise WrongShape(f"{name} has the shape {tuple(shape)}")
        if sizes is not None:
            known, first = sizes.setdefault(letter, (size, name))
            if known != size:
                raise WrongShape(f"{letter} is {known} in {first} and {size} in {name}")


class _Checks(ast.NodeTransformer):
    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        taken = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        names = [name for name in taken if SUFFIX.search(name)]
        if names:
            lines = ["__sizes__ = {}", *(f"__check_shape__({name!r}, {name}, __sizes__)" for name in names)]
            start = 1 if ast.get_docstring(node) is not None else 0
            node.body[start:start] = [_placed(line, node.body[-1]) for line in lines]
        return node

    def visit_Assign(self, node: ast.Assign) -> list[ast.stmt]:
        targets = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else node.targets
        return [node, *_after(node, targets)]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> list[ast.stmt]:
        return [node, *_after(node, [node.target] if node.value else [])]


def _after(node: ast.stmt, targets: Sequence[ast.expr]) -> list[ast.stmt]:
    names = [each.id for each in targets if isinstance(each, ast.Name) and SUFFIX.search(each.id)]
    return [_placed(f"__check_shape__({name!r}, {name})", node) for name in names]


def _placed(line: str, like: ast.stmt) -> ast.stmt:
    (made,) = ast.parse(line).body
    for node in ast.walk(made):
        ast.copy_location(node, like)
    return made


class Loader(SourceFileLoader):
    """Reads a module with its checks, and keeps no bytecode of it."""

    def path_stats(self, path: Any) -> Any:
        raise OSError

    def set_data(self, path: Any, data: Any, *, _mode: int = 0o666) -> None:
        return

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        tree = _Checks().visit(ast.parse(data, path))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True, optimize=_optimize)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__check_shape__"] = check
        super().exec_module(module)


class Finder(MetaPathFinder):
    """Finds the modules that are checked."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(CHECKED):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = Loader(fullname, spec.loader.path)
        return spec


def hold() -> None:
    """Check the modules that are imported from now on."""
    sys.meta_path.insert(0, Finder())
