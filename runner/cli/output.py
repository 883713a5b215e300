"""Where verbs write: data to stdout, all else to stderr, JSON without NaN."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from thalweg.runner.terminal.text import clean, console

SCHEMA_VERSION = 1


def out() -> Console:
    """The console of data."""
    return console(sys.stdout)


def err() -> Console:
    """The console of everything that is not data."""
    return console(sys.stderr)


def say(text: str) -> None:
    """Print one line on stderr, harmless whatever it quotes."""
    err().print(Text(clean(text)), soft_wrap=True)


def emit_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout. What is not finite becomes null."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **_finite(content)}, indent=1, allow_nan=False)
    sys.stdout.write(f"{text}\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
