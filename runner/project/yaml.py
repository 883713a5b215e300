"""Reading YAML files without composing them: their text, their first comment line, whether they are bombs.

What their values mean is in `values`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml  # type: ignore[import-untyped]

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.base.regular import open_regular
from thalweg.runner.project.values import DEEPEST, Loader, plain

_MAX_NODES = 100_000
_MAX_BYTES = 256_000
_WIDE = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def first_comment(file: Path) -> str:
    """Return the first comment line that is not a Hydra header; empty if there is none."""
    with open_regular(file) as opened:
        start = opened.read(_MAX_BYTES).decode("utf-8-sig", errors="replace")
    for line in start.splitlines():
        text = line.strip()
        if text and not text.startswith("#"):
            return ""
        if text.lstrip("# ") and not text.lstrip("# ").startswith("@package"):
            return text.lstrip("# ")
    return ""


def load(file: Path) -> Any:
    """Return the content of a file as plain values, None where it holds nothing.

    Raises ConfigError for what cannot be read, for bombs, and for what could be read in two ways.
    """
    return parse(text_of(file), file)


def text_of(file: Path) -> str:
    """Return the text of a file, without the mark of its encoding. Raises ConfigError for what is not UTF-8."""
    try:
        with open_regular(file) as opened:
            raw = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    if len(raw) > _MAX_BYTES:
        raise _too_large(file)
    try:
        if raw.startswith(_WIDE):
            raise UnicodeError
        return raw.decode("utf-8-sig")
    except UnicodeError:
        raise ConfigError(f"{file} is not UTF-8 text", "save it as UTF-8 in your editor") from None


def parse(text: str, file: Path, changes: bool = False) -> Any:
    """Like `load`, for a text that was read. changes: its values are laid over those of other files."""
    with _parsed(text, file) as (loader, tree):
        return plain(loader, tree, file, changes)


def line_of(file: Path, key: str) -> int | None:
    """Return the line of a file that sets a dotted key, be it inside the section that the file is for."""
    with _parsed(text_of(file), file) as (_, tree):
        for path, line in _lines(tree, ""):
            if key == path or key.endswith(f".{path}"):
                return line
    return None


def line_naming(file: Path, option: str) -> int | None:
    """Return the first line below `defaults:` that holds the name of an option."""
    lines = text_of(file).splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("defaults")), len(lines))
    named = re.compile(rf"(?<![\w-]){re.escape(option)}(?![\w-])")
    return next((i + 1 for i in range(start, len(lines)) if named.search(lines[i])), None)


def _lines(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, int]]:
    for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
        yield f"{prefix}{name.value}", name.start_mark.line + 1
        yield from _lines(value, f"{prefix}{name.value}.")


def refuse_bombs(file: Path) -> None:
    """Raise ConfigError for a file that is too large, too deep, or grows without bound through its aliases."""
    with _parsed(text_of(file), file):
        pass


@contextmanager
def _parsed(text: str, file: Path) -> Iterator[tuple[Loader, yaml.Node | None]]:
    """A loader and the nodes of its text; what either raises becomes one sentence with the place."""
    try:
        loader = Loader(text)
        tree = loader.get_single_node()
        if tree is not None and _expanded(tree, {}).nodes > _MAX_NODES:
            raise _too_large(file)
        yield loader, tree
    except RecursionError:
        raise _too_large(file) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        said = [getattr(error, name, None) for name in ("context", "problem")]
        reason = " ".join(" ".join(part for part in said if part).split() or str(error).split())
        raise ConfigError(f"{file} cannot be read as YAML: {where}{reason[:150]}") from error


def _too_large(file: Path) -> ConfigError:
    return ConfigError(f"{file} is too large or too deeply nested for a configuration file")


class _Size(NamedTuple):
    """Of a node, once every alias is written out: nodes, infinitely many for an alias inside itself; and levels."""

    nodes: float
    levels: int


def _expanded(node: yaml.Node, sizes: dict[int, _Size]) -> _Size:
    """Return how large a node is. Raises RecursionError beyond DEEPEST."""
    if id(node) not in sizes:
        sizes[id(node)] = _Size(float("inf"), 0)
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        else:
            parts = node.value if isinstance(node, yaml.SequenceNode) else []
        inner = [_expanded(part, sizes) for part in parts]
        levels = 1 + max((each.levels for each in inner), default=0)
        if levels > DEEPEST:
            raise RecursionError
        sizes[id(node)] = _Size(1 + sum(each.nodes for each in inner), levels)
    return sizes[id(node)]
