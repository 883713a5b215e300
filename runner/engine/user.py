"""From a `_target_` to the class or function it names, and to what calling it gives.

The one place that imports a user's code. A name says little about what it leads to (`logging.os.system`), so every
step of the way must stay in a package that may be named, and what is called must be of the kind that is expected:
a torch.nn.Module or Dataset class, a plain function, or a classmethod. What is to be an argument of a model may be any
class of a declared package, or of torchvision's models.
"""

from __future__ import annotations

import difflib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.project.imports import homes, spec_in
from thalweg.runner.project.outline import Signature, refuse_call
from thalweg.runner.project.project import FILE, TRUSTED, Project, Role, check_name, here

CLASSES: dict[Role, type] = {"model": nn.Module, "part": nn.Module, "dataset": Dataset}
FUNCTIONS: dict[Role, tuple[str, ...]] = {
    "model": ("torchvision.models",),
    "part": ("torchvision.models",),
    "dataset": (),
    "loss": ("torch.nn.functional",),
    "metric": ("torch.nn.functional",),
}
"""Packages of others whose plain functions may be called, and for a part of a model any class; those of a declared
package always may."""


OURS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""The folder of thalweg."""
REFUSED = re.compile(r"unexpected keyword argument '(\w+)'")
"""What Python says of an argument that was handed on to what does not know it."""


def resolved(key: str, role: Role, path: str) -> Callable[..., Any]:
    """Return what `path` names. Raises ConfigError, having called nothing, for what `role` must not be."""
    found: Callable[..., Any] = _admitted(key, role, path, here())
    return found


def _admitted(key: str, role: Role, path: str, project: Project | None) -> Any:
    check_name(key, role, path, project)
    declared = project.code if project else ()
    found, home = _walked(key, path, project), (*declared, *TRUSTED[role])
    made_in = getattr(found, "__module__", None) or ""
    if not _inside(made_in, home):
        hint = f"name it where it is defined, and declare that package in {FILE}"
        raise ConfigError(f"{key} is {path}, which comes from {made_in or 'nowhere'}, a package not declared", hint)
    if isinstance(found, type) and role in CLASSES and issubclass(found, CLASSES[role]):
        return found
    if isinstance(found, type) and role == "part" and _inside(made_in, (*declared, *FUNCTIONS[role])):
        return found
    if isinstance(found, FunctionType) and _inside(made_in, (*declared, *FUNCTIONS[role])):
        return found
    owner = found.__self__ if isinstance(found, MethodType) and role in CLASSES else None
    if isinstance(owner, type) and _inside(owner.__module__, (*declared, *FUNCTIONS[role])):
        return found
    kinds = "a function"
    if role in CLASSES:
        kinds = f"a subclass of torch's {CLASSES[role].__name__}, a function or a classmethod"
    raise ConfigError(f"{key} is {path}, {_what(found)}; expected {kinds}")


def called(key: str, target: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Return what a target gives for keyword arguments. Raises ConfigError for arguments that do not fit, and for
    what it raises itself, with the user's file and line.
    """
    name = named(target)
    refuse_call(key.removesuffix("._target_"), name, takes(target), arguments)
    try:
        with users_error(f"{name} failed"):
            return target(**arguments)
    except ConfigError as error:
        refused = REFUSED.search(str(error.__cause__))
        if (
            refused
            and refused[1] in arguments
            and (close := difflib.get_close_matches(refused[1], takes(target).names))
        ):
            error.hint = f"did you mean {key.removesuffix('._target_')}.{close[0]}?"
        raise


def named(target: Callable[..., Any]) -> str:
    """A target by the whole path of where it is defined."""
    return f"{target.__module__}.{target.__qualname__}"


@contextmanager
def users_error(about: str) -> Iterator[None]:
    """Turn what a user's code raises, SystemExit too, into a ConfigError that names its file and line."""
    try:
        yield
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{about}: {said_by(error)}") from error


@cache
def takes(target: Callable[..., Any]) -> Signature:
    """What a target may, and must, be called with by name. One that does not say so may be called with anything."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except ValueError:  # written in C
        return Signature((), (), open=True)
    named = [each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    return Signature(
        names=tuple(each.name for each in named),
        required=tuple(each.name for each in named if each.default is each.empty),
        open=any(each.kind is each.VAR_KEYWORD for each in parameters) or _passes_on(target),
    )


def _passes_on(target: Callable[..., Any]) -> bool:
    """Whether a target is wrapped in what takes any argument, and may know more of them than it shows."""
    outer = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    shown = inspect.signature(outer, follow_wrapped=False).parameters.values() if hasattr(outer, "__wrapped__") else ()
    return any(each.kind is each.VAR_KEYWORD for each in shown)


def _walked(key: str, path: str, project: Project | None) -> Any:
    """Import the first name of a path and follow the others, never out of the packages that may be named."""
    root, *names = path.split(".")
    found: Any = _imported(key, root, project)
    for depth, name in enumerate(names, 1):
        at = ".".join([root, *names[:depth]])
        if isinstance(found, ModuleType):
            if not hasattr(found, name) and _is_submodule(found, name):
                _imported(key, at, project)
            if not hasattr(found, name):
                close = difflib.get_close_matches(name, dir(found), n=1)
                hint = f"did you mean {at.rpartition('.')[0]}.{close[0]}?" if close else None
                raise ConfigError(f"{key} is {path}, but {_file_of(found, project)} has no {name}", hint)
        if isinstance(found, type) and not hasattr(found, name):
            close = difflib.get_close_matches(name, vars(found), n=1)
            hint = f"did you mean {at.rpartition('.')[0]}.{close[0]}?" if close else None
            raise ConfigError(f"{key} is {path}, but the class {found.__name__} has no {name}", hint)
        found = getattr(found, name, None)
        if isinstance(found, ModuleType) and not _inside(found.__name__, (root,)):
            raise ConfigError(f"{key} is {path}, whose {at} is the module {found.__name__}, from elsewhere")
    return found


def _imported(key: str, name: str, project: Project | None) -> ModuleType:
    if "." not in name and name not in sys.modules and find_spec(name) is None:
        folder = project.folder if project else Path.cwd()
        raise ConfigError(f"{key} names the package {name}, which is not there", f"expected {name}.py in {folder}")
    with users_error(f"{name} cannot be imported"):
        module = import_module(name)
    ours = spec_in(project.folder, name) if project and name in project.code else None
    if ours and module.__spec__ and homes(module.__spec__) != homes(ours):  # another is fingerprinted
        seen = f"which Python has from {homes(module.__spec__)[0]} already; expected {_shown(homes(ours)[0])}"
        raise ConfigError(f"{key} names {name}, {seen}", "rename one of them")
    return module


def _is_submodule(package: ModuleType, name: str) -> bool:
    return hasattr(package, "__path__") and find_spec(f"{package.__name__}.{name}") is not None


def _inside(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _what(found: Any) -> str:
    kinds = {type: "another class", FunctionType: "a function", ModuleType: "a module"}
    return next((text for kind, text in kinds.items() if isinstance(found, kind)), f"a {type(found).__name__}")


def _file_of(module: ModuleType, project: Project | None) -> str:
    file = getattr(module, "__file__", None)
    return module.__name__ if file is None else _shown(file)


def place_of(error: BaseException) -> str:
    """The last line of the user's own in a traceback, as `nets.py, line 3: `; empty if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)}, line {error.lineno}: "
    return f"{own}: " if (own := _own_line(traceback.extract_tb(error.__traceback__))) else ""


def place_now() -> str:
    """The line of the user's own that is being run, as ` (nets.py, line 3)`; empty if there is none."""
    frames = traceback.extract_stack()
    ours = next((place for place, frame in enumerate(frames) if frame.filename.startswith(OURS + os.sep)), 0)
    return f" ({own})" if (own := _own_line(frames[ours:])) else ""


def _own_line(frames: Iterable[traceback.FrameSummary]) -> str:
    """The last of these frames that is the user's, or else nobody's of torch or us."""
    inside = [folder + os.sep for folder in (os.path.dirname(torch.__file__), OURS)]
    others = [frame for frame in frames if not frame.filename.startswith(("<", *inside)) and frame.lineno is not None]
    own = [frame for frame in others if os.path.abspath(frame.filename).startswith(os.getcwd() + os.sep)] or others
    return f"{_shown(own[-1].filename)}, line {own[-1].lineno}" if own else ""


def said_by(error: BaseException) -> str:
    """What an error of the user's code says, in one line: its file and line, its type and its own words."""
    said = " ".join(str(error).split())[:200]
    return f"{place_of(error)}{type(error).__name__}: {said}".rstrip(": ")


def _shown(file: str) -> str:
    """A path as a person in the current folder would write it."""
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative
