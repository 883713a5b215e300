"""Which source files of the user's a trial is made by, and fingerprints of them. Reads them, imports nothing.

Code is not part of a trial's id: it is recorded with each trial that is trained, and compared.
"""

from __future__ import annotations

import ast
import hashlib
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from thalweg.data.schema import UNNAMED_LOSSES
from thalweg.runner.base.canonical import as_dict, tagged_hash
from thalweg.runner.project.project import Project, here
from thalweg.runner.study.target import DatasetTarget, ModelTarget, targets_in
from thalweg.runner.study.trial import TrialConfig

PREFIX = "code "
"""What the names of files begin with where they are recorded beside the versions of packages."""

GIT = "git"
"""What the commit of the user's repository is called there."""

METRIC = "metric "
"""What the dotted paths of metrics begin with, where the code that measured is recorded there too."""

Code = dict[str, str]
"""A source file, from the project's folder -> 16 hex digits of its content."""


def code_of(config: TrialConfig) -> Code:
    """Return the files that the targets of a trial are made of: their own, and those of the project they import."""
    targets = [part for part in (config.model, config.dataset) if isinstance(part, ModelTarget | DatasetTarget)]
    paths = [path for target in targets for _, path, _ in targets_in("", as_dict(target))]
    paths += [config.task.loss] if config.task.loss not in UNNAMED_LOSSES else []
    project = here() if paths else None
    return _read(project, paths) if project else {}


def recorded(versions: Mapping[str, str]) -> Code:
    """Return the code that was recorded among the versions of a cohort."""
    return {name.removeprefix(PREFIX): digest for name, digest in versions.items() if name.startswith(PREFIX)}


def to_record(code: Code) -> dict[str, str]:
    """Return code as it is recorded among the versions of a cohort."""
    return {f"{PREFIX}{name}": digest for name, digest in code.items()}


def committed() -> dict[str, str]:
    """Return the commit of the folder that one is in as it is recorded there; nothing where there is none."""
    commit = commit_of(Path.cwd())
    return {GIT: commit} if commit else {}


@lru_cache(maxsize=8)
def commit_of(folder: Path) -> str | None:
    """Return the short name of the commit that a folder is at, with -dirty where its files differ; None without one.

    Asked once: what runs was imported then. A repository too large to look through in a second has none.
    """
    command = ["git", "--no-optional-locks", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.stdout.strip() or None if said.returncode == 0 else None


def measuring(metrics: Iterable[str]) -> dict[str, str]:
    """Return the code of some metrics of the user's as it is recorded: a metric's path -> 16 hex digits."""
    project = here()
    read = {path: _read(project, [path]) for path in metrics} if project else {}
    return {f"{METRIC}{path}": revision_of(code) for path, code in read.items() if code}


def measured_otherwise(recorded: Mapping[str, str], declared: Iterable[str] = ()) -> list[str]:
    """Return the metrics, of those whose code was recorded, that other code would measure now.

    Their functions were changed, or one of those `declared` has the name of one and is another. None outside a project.
    """
    project, names = here(), {path.rpartition(".")[2]: path for path in declared}
    paths = [name.removeprefix(METRIC) for name in recorded if name.startswith(METRIC)] if project else []
    now = measuring(paths)
    return [
        path
        for path in paths
        if names.get(path.rpartition(".")[2], path) != path or now.get(f"{METRIC}{path}") != recorded[f"{METRIC}{path}"]
    ]


def revision_of(code: Code) -> str:
    """Return 16 hex digits that stand for all the files together."""
    return tagged_hash("thalweg.code.v1", code)[:16]


def _read(project: Project, paths: list[str]) -> Code:
    waiting = [path for path in paths if path.partition(".")[0] in project.code]
    modules: set[str] = set()
    files: Code = {}
    while waiting:
        path = waiting.pop()
        for module in _modules_along(path):
            if module in modules or (file := _file_of(module, project)) is None:
                continue
            modules.add(module)
            status = file.stat()
            digest, imported = _source(file, module, status.st_size, status.st_mtime_ns)
            files[file.relative_to(project.folder).as_posix()] = digest
            waiting += [name for name in imported if name.partition(".")[0] in project.code]
    return dict(sorted(files.items()))


def _modules_along(path: str) -> Iterator[str]:
    """nets, nets.small and nets.small.Net of nets.small.Net: importing the last runs all that are modules."""
    parts = path.split(".")
    return (".".join(parts[: n + 1]) for n in range(len(parts)))


def _file_of(module: str, project: Project) -> Path | None:
    """The source of a module in the project's folder; None for what is no module there."""
    place = project.folder.joinpath(*module.split("."))
    candidates = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return next((file for file in candidates if file.is_file()), None)


@lru_cache(maxsize=1000)
def _source(file: Path, module: str, size: int, modified: int) -> tuple[str, tuple[str, ...]]:
    """A file's digest and the dotted paths that it imports; read again only when its size or time is another."""
    text = file.read_bytes()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # who imports it will say so
        tree = ast.Module([], [])
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found = [path for node in ast.walk(tree) for path in _imported(node, package)]
    return hashlib.sha256(text.replace(b"\r\n", b"\n")).hexdigest()[:16], tuple(dict.fromkeys(found))


def _imported(node: ast.AST, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - (node.level - 1)] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        return [f"{base}.{alias.name}" for alias in node.names]
    return []
