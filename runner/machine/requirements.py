"""What thalweg needs installed, and which of it is missing or too old or too new.

Standard library only, because it also judges environments that hold nothing yet. Knows no installer.
"""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

OPTIONAL = ("wandb",)
"""What may be absent: all but its own part works without it, and says so (tracker=none asks for none)."""


def from_pyproject(folder: Path, develop: bool = False) -> list[str]:
    """The requirements in `folder`/pyproject.toml; `develop` adds the tools that check and test."""
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
    requirements: list[str] = project["project"]["dependencies"]
    return requirements + (project["dependency-groups"]["dev"] if develop else [])


def from_metadata() -> list[str]:
    """The requirements of the installed distribution. Raises PackageNotFoundError when there is none."""
    return metadata.requires("thalweg") or []


def unmet(requirements: list[str]) -> list[str]:
    """A line for each requirement that the running interpreter's packages do not meet."""
    return [problem for problem in map(_problem, requirements) if problem]


def _problem(requirement: str) -> str | None:
    name, bounds = split(requirement)
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return None if name in OPTIONAL else f"{name} is not installed, needed: {requirement}"
    if all(_holds(version, operator, bound) for operator, bound in bounds):
        return None
    return f"{name} {version} is installed, needed: {requirement}"


def split(requirement: str) -> tuple[str, list[tuple[str, str]]]:
    """`hydra-core>=1.3.2,<1.4` as its name and its bounds; only `>=` and `<` are understood."""
    name, bounds = re.fullmatch(r"([\w.-]+)((?:,?(?:>=|<)[\d.]+)*)", requirement).groups()  # type: ignore[union-attr]
    return name, re.findall(r"(>=|<)([\d.]+)", bounds)


def _holds(version: str, operator: str, bound: str) -> bool:
    return (_release(version) >= _release(bound)) == (operator == ">=")


def _release(version: str) -> tuple[int, ...]:
    """2.11.0a0+git as (2, 11): trailing zeros, pre-releases and local labels do not count."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    release = [int(number) for number in numbers.group().split(".")] if numbers else []
    while release and release[-1] == 0:
        release.pop()
    return tuple(release)
