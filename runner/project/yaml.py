"""Reading YAML files without composing them: their first comment line, whether they are bombs, their content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from thalweg.runner.base.errors import ConfigError

_MAX_NODES = 100_000
_MAX_BYTES = 256_000


def first_comment(file: Path) -> str:
    """Return the first comment line that is not a Hydra header; empty if there is none."""
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            text = line.strip()
            if text and not text.startswith("#"):
                return ""
            if text.lstrip("# ") and not text.lstrip("# ").startswith("@package"):
                return text.lstrip("# ")
    return ""


def load(file: Path) -> Any:
    """Return the content of a file as plain values. Raises ConfigError for what cannot be read, and for bombs."""
    refuse_bombs(file)
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:  # an object tag: no value of ours
        reason = " ".join(str(error).split())
        raise ConfigError(f"{file} cannot be read as YAML: {reason[:150]}") from error


def refuse_bombs(file: Path) -> None:
    """Raise ConfigError for a file that is too large, too deep, or grows without bound through its aliases."""
    too_large = ConfigError(f"{file} is too large or too deeply nested for a configuration file")
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise too_large
        tree = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        if tree is not None and _expanded(tree, {}) > _MAX_NODES:
            raise too_large
    except RecursionError:
        raise too_large from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{file} cannot be read as YAML: {reason[:150]}") from error


def _expanded(node: yaml.Node, sizes: dict[int, float]) -> float:
    """Return the number of nodes once every alias is written out; infinite for an alias inside itself."""
    if id(node) not in sizes:
        sizes[id(node)] = float("inf")
        if isinstance(node, yaml.MappingNode):
            inner = sum(_expanded(key, sizes) + _expanded(value, sizes) for key, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            inner = sum(_expanded(item, sizes) for item in node.value)
        else:
            inner = 0
        sizes[id(node)] = 1 + inner
    return sizes[id(node)]
