"""What a trial starts from in place of fresh weights: those of another trial or of a file, and a hash of what they are.

The hash is part of a trial's id: other bytes, other trials. Of a file it is the SHA-256 of its content; of a trial its
weight hash, which planning adds, as only a store knows it. Knows no format and no torch.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.base.regular import open_regular

SUFFIXES = (".safetensors", ".pt", ".pth")
TRIAL = re.compile(r"[0-9a-f]{1,64}")
EXPECTED = "a trial's id (in quotes if it is digits alone), a file that ends in .safetensors, .pt or .pth, or null"


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """Initial weights. partial: those whose name and shape fit are taken, the others are as the seed makes them."""

    weights: Annotated[str, Field(min_length=1, max_length=4096)] | None
    partial: bool
    fingerprint: str | None = None

    @property
    def trial(self) -> str | None:
        """The id of the trial, or its beginning, whose weights these are; None for a file's and for fresh ones."""
        return self.weights if self.weights and TRIAL.fullmatch(self.weights) else None


FRESH = InitConfig(weights=None, partial=False)


def declared(init: InitConfig) -> InitConfig:
    """Return it with the hash of the file that it names. Raises ConfigError for one that is not there, or none such."""
    if init.weights is None:
        return FRESH
    if init.trial or init.fingerprint:
        return init
    if Path(init.weights).suffix not in SUFFIXES:
        raise ConfigError(f"init.weights is {init.weights[:200]!r}; expected {EXPECTED}")
    return replace(init, fingerprint=_fingerprint(init.weights, _version(init.weights)))


def content_of(init: InitConfig, file: Path) -> bytes:
    """Return what is in the file that a trial was declared on. Raises ConfigError where it is another now."""
    content = _content(str(file))
    now = hashlib.sha256(content).hexdigest()
    if now != init.fingerprint:
        said = f"its SHA-256 was {str(init.fingerprint)[:16]}… when the trial was declared, and is {now[:16]}… now"
        raise ConfigError(f"init.weights={init.weights} has changed: {said}", "sweep the study again")
    return content


@lru_cache(maxsize=64)
def _fingerprint(path: str, version: tuple[int, ...]) -> str:
    """Of the file as it was last written: it is read once for all trials."""
    return hashlib.sha256(_content(path)).hexdigest()


def _version(path: str) -> tuple[int, ...]:
    try:
        found = Path(path).expanduser().stat()
    except (OSError, ValueError, RuntimeError):
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _content(path: str) -> bytes:
    try:
        with open_regular(Path(path).expanduser()) as file:
            return file.read()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, a home that is not known
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"init.weights is {path!r}, which cannot be read: {why}", "name a file that is there"
        ) from None
