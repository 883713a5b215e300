"""What the surroundings say about W&B: WANDB_* variables, its settings file, an account. Imports no wandb.

An argument beats its variable and a variable beats our YAML's default; see docs/wandb.md.
"""

from __future__ import annotations

import configparser
import netrc
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from thalweg.runner.base.errors import SetupError
from thalweg.runner.study.settings import WANDB_NAME, TrackerSettings

Mode = Literal["offline", "online", "disabled"]
MODES: dict[str, Mode] = {
    "offline": "offline",
    "dryrun": "offline",
    "online": "online",
    "run": "online",
    "disabled": "disabled",
}
IDENTITY = (
    "WANDB_RUN_ID",
    "WANDB_NAME",
    "WANDB_RUN_NAME",
    "WANDB_RUN_GROUP",
    "WANDB_JOB_TYPE",
    "WANDB_TAGS",
    "WANDB_SWEEP_ID",
    "WANDB_RESUME",
    "WANDB_RESUME_FROM",
    "WANDB_FORK_FROM",
)
"""Variables that would give every trial's run one identity; cleared while writing, with one warning."""

UNDERSTOOD = (
    "WANDB_NOTES",
    "WANDB_USERNAME",
    "WANDB_USER_EMAIL",
    "WANDB_CONFIG_DIR",
    "WANDB_BASE_URL",
    "WANDB_ERROR_REPORTING",
)
"""Variables that the writing of files may see. Everything else, the API key first, is withheld from it."""


UNASKED = {"WANDB_ERROR_REPORTING": "false"}
"""Variables that keep wandb from sending what nobody asked for, unless the user set them: reports about itself.

They are sent in every mode, offline too, and a server that does not answer holds the end of the process for 38 s.
"""


@dataclass(frozen=True)
class Surroundings:
    """What the environment decides. `mode_given`: WANDB_MODE was set, so nobody is asked again."""

    mode: Mode
    mode_given: bool
    parent: Path  # the folder that holds wandb/, or what else `name` says
    project: str
    entity: str | None
    warnings: tuple[str, ...]
    name: str = "wandb"

    @property
    def folder(self) -> Path:
        """Where the run folders are."""
        return self.parent / self.name

    @property
    def uploads_forbidden(self) -> bool:
        """Whether WANDB_MODE says that nothing may leave this machine."""
        return self.mode_given and self.mode != "online"


def surroundings(
    environ: Mapping[str, str], settings: TrackerSettings, given: Collection[str], beside: Path
) -> Surroundings:
    """Read the environment. `given` names the tracker settings of the command line: they beat variables.

    Raises SetupError for a name that W&B would refuse.
    """
    if settings.name == "tensorboard":
        return Surroundings("offline", True, beside, settings.project, settings.entity, (), settings.name)
    mode = environ.get("WANDB_MODE", "")
    warnings = []
    if mode and mode not in MODES:
        warnings.append(f"WANDB_MODE={mode} is not offline, online or disabled; W&B files are written offline")
    if cleared := [name for name in IDENTITY if name in environ]:
        warnings.append(f"{', '.join(cleared)} ignored: every trial is a W&B run of its own")
    project, entity = settings.project, settings.entity
    if mode != "disabled" and "project" not in given:
        project = _name(environ, "WANDB_PROJECT") or project
    if mode != "disabled" and "entity" not in given:
        entity = _name(environ, "WANDB_ENTITY") or entity
    return Surroundings(
        mode=MODES.get(mode, "offline"),
        mode_given=bool(mode),
        parent=Path(environ.get("WANDB_DIR") or beside).expanduser(),
        project=project,
        entity=entity,
        warnings=tuple(warnings),
    )


def _name(environ: Mapping[str, str], variable: str) -> str | None:
    name = environ.get(variable)
    if name and not re.fullmatch(WANDB_NAME, name):
        raise SetupError(
            f"{variable} is {name[:60]!r}; expected up to 128 characters without / \\ # ? % :",
            f"set it to another name, or: unset {variable}",
        )
    return name


def has_account(environ: Mapping[str, str]) -> bool:
    """Whether W&B would find credentials: a variable, netrc or its settings file. Nobody is asked."""
    if environ.get("WANDB_API_KEY") or environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    return bool(_settings_file(environ).get("api_key")) or _netrc_knows(environ, urlsplit(server_of(environ)).netloc)


def server_of(environ: Mapping[str, str]) -> str:
    """Return the address of W&B's server."""
    return environ.get("WANDB_BASE_URL") or _settings_file(environ).get("base_url") or "https://api.wandb.ai"


def is_wanted(settings: TrackerSettings, environ: Mapping[str, str]) -> bool:
    """Whether a sweep writes runs: `wandb` does; `auto` where there is an account, or WANDB_MODE says what to do.

    For others they cost disk and seconds, and can be made from the store at any time.
    """
    if settings.name == "auto":
        return bool(environ.get("WANDB_MODE")) or has_account(environ)
    return settings.name != "none"


def say_nothing_unasked() -> None:
    """Keep wandb in this process from reporting about itself. For good: it asks when imported, started and ended."""
    for name, value in UNASKED.items():
        os.environ.setdefault(name, value)


@contextmanager
def quiet_environment(cache: Path) -> Iterator[None]:
    """Withhold every WANDB_* variable that is not understood, and keep W&B's cache out of the home folder."""
    before = {name: value for name, value in os.environ.items() if name.startswith("WANDB_")}
    for name in before:
        if name not in UNDERSTOOD:
            del os.environ[name]
    os.environ["WANDB_CACHE_DIR"] = str(cache)
    try:
        yield
    finally:
        del os.environ["WANDB_CACHE_DIR"]
        os.environ.update(before)


def upload_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for W&B's own `wandb sync`: account and server as they are, no identity, no mode."""
    return {**UNASKED, **{name: value for name, value in environ.items() if name not in (*IDENTITY, "WANDB_MODE")}}


def _settings_file(environ: Mapping[str, str]) -> Mapping[str, str]:
    folder = Path(environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb").expanduser()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(folder / "settings")
    except (OSError, configparser.Error, UnicodeDecodeError):
        return {}
    return parser["default"] if parser.has_section("default") else {}


def _netrc_knows(environ: Mapping[str, str], host: str) -> bool:
    try:
        given = environ.get("NETRC")
        found = netrc.netrc(Path(given).expanduser() if given else None).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return False
    return bool(found and found[2])
