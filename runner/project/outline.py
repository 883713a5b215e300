"""What a user's source says about a class or function, without importing it: whether it is there, and its arguments.

Says only what is certain: where a name is made in a way that reading does not follow, nothing is said, and whoever
imports it finds out.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.project.project import Project
from thalweg.runner.study.target import KEY

Callable = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Signature:
    """Arguments that a call may give by name; which of them it must; whether it may give any others."""

    names: tuple[str, ...]
    required: tuple[str, ...]
    open: bool


def refuse_wrong(key: str, path: str, given: Collection[str], filled: Collection[str], project: Project) -> None:
    """Raise ConfigError for a target of the project's that is certainly not there, or not called like this.

    given: names of the arguments that the YAML gives. filled: those that are given from the data if it does not.
    """
    signature = _signature(key, path, project)
    if signature is None:
        return
    refuse_call(key.removesuffix(f".{KEY}"), path, signature, given, filled)


def refuse_call(
    section: str, path: str, signature: Signature, given: Collection[str], filled: Collection[str] = ()
) -> None:
    """Raise ConfigError, naming all at once, for arguments that `path` has not and for those that it lacks.

    section: the key under which the arguments stand. given, filled: as of `refuse_wrong`.
    """
    wrong = [name for name in given if name not in signature.names and not signature.open]
    missing = [name for name in signature.required if name not in given and name not in filled]
    said, hints = [], []
    for name in wrong:
        said.append(f"{section}.{name} is given, but {path} has no argument {name}")
        close = difflib.get_close_matches(name, signature.names, n=1)
        hints += [f"did you mean {section}.{close[0]}?"] if close else []
    if wrong and not hints:
        hints.append(f"it has: {', '.join(signature.names) or 'none'}")
    if missing:
        several = "arguments" if len(missing) > 1 else "argument"
        said.append(f"{path} needs the {several} {_listed(missing)}, which {section} does not give")
        keys = [f"{section}.{name}" for name in missing]
        typed = " ".join(f"+{each}=…" for each in keys)
        hints.append(f"write {_listed(keys)}, in the YAML that has {section}.{KEY}, or type {typed}")
    if said:
        raise ConfigError("; ".join(said), " ".join(hints))


def _listed(names: Sequence[str]) -> str:
    """a, b and c."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _signature(key: str, path: str, project: Project) -> Signature | None:
    module, *names = path.split(".")
    file = project.file_of(module)
    while file is not None and len(names) > 1 and file.name == "__init__.py":
        inside = (file.parent / names[0] / "__init__.py", file.parent / f"{names[0]}.py")
        below = next((each for each in inside if each.is_file()), None)
        if below is None:
            return None
        file, module, names = below, f"{module}.{names[0]}", names[1:]
    if file is None or len(names) != 1:
        return None
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):  # who imports it says so, with the line
        return None
    return _found(key, path, names[0], tree, file.relative_to(project.folder))


def _found(key: str, path: str, name: str, tree: ast.Module, file: Path) -> Signature | None:
    for node in tree.body:
        if isinstance(node, ast.ClassDef | Callable) and node.name == name:
            return None if node.decorator_list else _arguments(node)
    bound = _bound(tree)
    if name in bound or bound & {"*", "__getattr__"}:
        return None
    close = difflib.get_close_matches(name, bound, n=1)
    hint = f"did you mean {path.rpartition('.')[0]}.{close[0]}?" if close else None
    raise ConfigError(f"{key} is {path}, but {file} has no {name}", hint)


def _bound(tree: ast.Module) -> set[str]:
    """Every name that a module may bind, anywhere in it."""
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef | Callable)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imports = [
        alias for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
    ]
    return names | {alias.asname or alias.name.partition(".")[0] for alias in imports}


def _arguments(node: ast.ClassDef | Callable) -> Signature | None:
    """The signature of a function, or of a class that has its own __init__ and no metaclass."""
    if isinstance(node, ast.ClassDef):
        if node.keywords:
            return None
        made = [each for each in node.body if isinstance(each, Callable) and each.name in ("__init__", "__new__")]
        if len(made) != 1 or made[0].decorator_list:
            return None
        return _of(made[0].args, skipped=1)
    return _of(node.args)


def _of(args: ast.arguments, skipped: int = 0) -> Signature | None:
    if args.posonlyargs:
        return None
    plain = [each.arg for each in args.args]
    needed = plain[: len(plain) - len(args.defaults)]
    only = [each.arg for each in args.kwonlyargs]
    needed_only = [name for name, default in zip(only, args.kw_defaults, strict=True) if default is None]
    names, required = (*plain[skipped:], *only), (*needed[skipped:], *needed_only)
    return Signature(names, required, args.kwarg is not None)
