"""Words of Hydra's override grammar, read by Hydra's own parser into plain values.

Knows the grammar, and of schemas only which keys hold text. Ranges stay texts here; only Hydra's own `range()` is
turned into exact points.
"""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.study.keys import leaf_of
from thalweg.runner.study.ranges import FORMS, as_number, check_count, half_open, looks_like_range, parse_range

if TYPE_CHECKING:
    from hydra.core.override_parser.overrides_parser import OverridesParser

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_/.-]*|\$\{[^}]*\}")
_RESERVED = ("true", "false", "null", "none", "inf", "nan")
"""Texts that need no quotes to stay what they are, and words among them that do."""

_ZIP = re.compile(r"([^\s=]+)=\s*zip\((.*)\)\s*")
_BEGINS = re.compile(r"\s*[^\s'\"(\[{=]+=")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_SMALL = re.compile(r"(?<!\w)(?:\d[\d_]*(?:\.\d*)?|\.\d+)[eE]-\d+(?!\w)")
ZIP_EXAMPLE = "zip(optimizer.lr=choice(0.1,0.2),budget.batch_size=choice(32,64))"

_MAX_LENGTH = 20_000
_MAX_DEPTH = 20

HYDRA_EQUIVALENTS = {
    "searchpath": "use --config-dir DIR",
    "launcher": "use launcher.workers=N",
    "sweeper": "write ranges and lists on the keys themselves, e.g. optimizer.lr=1e-4..1:2/dec",
    "run": "use --store PATH",
    "sweep": "use --store PATH",
    "output_subdir": "use --store PATH",
    "job": "use study.name=NAME",
    "mode": "thalweg plan and thalweg sweep take single values and sweeps",
}
"""The part of hydra.* after the dot -> what does the same here."""


@dataclass(frozen=True)
class Word:
    """One override as typed. `items` are the values of a sweep; `value` is that of a word without one.

    prefix: "", "+", "++" or "~". shuffled: the values of a sweep come in an order of their own. glob: a filter of
    option names, for groups. quoted: the places among the items, 0 for the value, of what is text, whatever it says.
    zipped: the axes of `NAME=zip(KEY=choice(1,2),OTHER=choice(3,4))`, which take their values together.
    """

    text: str
    prefix: str
    key: str
    package: str | None = None
    value: Any = None
    items: tuple[Any, ...] | None = None
    shuffled: bool = False
    glob: Callable[[list[str]], list[str]] | None = None
    quoted: frozenset[int] = frozenset()
    zipped: tuple[Word, ...] = ()

    @property
    def is_sweep(self) -> bool:
        """Whether the word gives a list of values, be it of one or of none."""
        return self.items is not None or self.glob is not None

    @property
    def typed(self) -> str:
        """The part after the equals sign, as typed."""
        return self.text.partition("=")[2]

    def in_order(self, values: Sequence[Any]) -> list[Any]:
        """Return the values in the order that was asked for; a shuffle is the same one every time."""
        values = list(values)
        if self.shuffled:
            random.Random(0).shuffle(values)
        return values


@contextmanager
def one_sentence(about: str, hint: str | None = None) -> Iterator[None]:
    """Turn whatever Hydra, OmegaConf, antlr or YAML raise into a ConfigError of one sentence."""
    try:
        yield
    except ConfigError:
        raise
    except RecursionError as error:
        raise ConfigError(f"{about} is nested too deeply", hint) from error
    except Exception as error:
        raise ConfigError(f"{about}: {_first_sentence(error)}", hint) from error


def parse_word(text: str) -> Word:
    """Read one override. Raises ConfigError for what the grammar does not hold, and for hydra.* overrides."""
    _refuse_garbage(text)
    for item in text.partition("=")[2].split(","):
        if "^" in item and looks_like_range(item):
            parse_range(item)  # 2^-8: a lexer error to Hydra, a near miss here
    if zipped := _ZIP.fullmatch(text):
        return Word(text, "", zipped[1], zipped=tuple(_zipped(text, zipped[1], zipped[2])))
    try:
        with one_sentence(f"{text[:60]!r} cannot be read", "an override is key=value, e.g. optimizer.lr=0.1,0.3"):
            override = _parser().parse_override(text)
    except ConfigError as error:
        if text.endswith(","):
            hint = "write values without spaces between them, e.g. optimizer.lr=0.1,0.3"
            raise ConfigError(f"{text[:60]!r} cannot be read: it ends with a comma", hint) from error.__cause__
        raise ConfigError(error.message, _in_quotes(text) or error.hint) from error.__cause__
    with one_sentence(f"{text[:60]!r} cannot be read"):
        prefix = {"CHANGE": "", "ADD": "+", "FORCE_ADD": "++", "DEL": "~"}[override.type.name]
        word = Word(text, prefix, override.key_or_group, override.package)
        if override.is_hydra_override() or word.key == "hydra":
            part = re.split(r"[./]", f"{word.key}.")[1]
            hint = HYDRA_EQUIVALENTS.get(part, "leave it out: thalweg configures logging, folders and launching itself")
            raise ConfigError(f"{word.key} is Hydra's own setting, which thalweg does not take", hint)
        return _with_value(word, override._value)


def _zipped(text: str, name: str, inside: str) -> Iterator[Word]:
    """The axes within `NAME=zip(…)`; a value without a key belongs to the axis before it."""
    parts: list[str] = []
    for piece in _at_top_level(inside):
        if parts and not _BEGINS.match(piece):
            parts[-1] += f",{piece}"
        else:
            parts.append(piece.strip())
    for part in parts:
        if not _BEGINS.match(part) or _ZIP.fullmatch(part):
            raise ConfigError(f"{text[:60]!r} holds {part[:40]!r}; expected an axis", f"write {name}={ZIP_EXAMPLE}")
        word = parse_word(part)
        yield word if word.is_sweep else replace(word, items=() if word.value in ("", []) else (word.value,))


def _at_top_level(text: str) -> list[str]:
    """Split at the commas that stand in no bracket and no quotes."""
    pieces, depth, quote = [""], 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        depth += 0 if quote else (char in "([{") - (char in ")]}")
        if char == "," and not depth and not quote:
            pieces.append("")
        else:
            pieces[-1] += char
    return pieces


def flattened(word: Word) -> list[Word]:
    """Split `budget={steps: 10}` into one word a key; other words stay as they are."""
    if not isinstance(word.value, Mapping) or not word.value:
        return [word]
    parts = []
    for name, value in word.value.items():
        key = f"{word.key}.{name}"
        parts += flattened(replace(word, key=key, value=value, text=f"{word.prefix}{key}={_spelled(value)}"))
    return parts


def override_text(prefix: str, key: str, value: Any) -> str:
    """Return an override that Hydra reads back as exactly this value."""
    return f"{prefix}{key}={_spelled(value)}"


def axis_word(key: str, declared: Any) -> Word:
    """Read an axis declared in YAML: a text in the grammar of the command line, a list, or one value."""
    if isinstance(declared, str):
        text = f"{key}={declared}"
        word = parse_word(text)
        return word if word.is_sweep else replace(word, items=() if word.value == "" else (word.value,))
    items = tuple(declared) if isinstance(declared, list) else (declared,)
    return Word(f"{key}={','.join(_spelled(item) for item in items)}", "", key, items=items)


def plain(value: Any, inside: bool = False) -> Any:
    """Return a value of the grammar as Python has it. Inside a list or dict, a text without quotes may be a number.

    Elsewhere whoever knows the key says whether it is one.
    """
    from hydra.core.override_parser.types import QuotedString

    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [plain(item, inside=True) for item in value]
    if isinstance(value, dict):
        return {plain(key): plain(item, inside=True) for key, item in value.items()}
    if value == "None":
        raise ConfigError("None is text here, not Python's", "write null, or 'None' in quotes")
    return as_number(value) if inside else value


def _with_value(word: Word, value: Any) -> Word:
    from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, QuotedString, RangeSweep

    if isinstance(value, IntervalSweep):
        ends = [str(end) for end in (value.start, value.end)]
        return replace(word, items=(f"{'..'.join(ends)}:{'log' if 'log' in value.tags else 'lin'}",))
    if isinstance(value, Glob):
        return replace(word, glob=value.filter)
    if isinstance(value, ChoiceSweep):
        items = tuple(plain(item) for item in value.list)
        if any(isinstance(item, ChoiceSweep | RangeSweep | IntervalSweep | Glob) for item in items):
            raise ConfigError(f"{word.text} nests one sweep in another", "write one list of values and ranges")
        quoted = frozenset(i for i, item in enumerate(value.list) if isinstance(item, QuotedString))
        return replace(word, items=items, shuffled=value.shuffle, quoted=quoted)
    if isinstance(value, RangeSweep):
        points = half_open(value.start or 0, value.stop or 0, value.step)
        check_count(word.key, points.count)
        return replace(word, items=(points,), shuffled=value.shuffle)
    quoted = frozenset({0} if isinstance(value, QuotedString) else ())
    return replace(word, value=plain(value), quoted=quoted)


@cache
def _parser() -> OverridesParser:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create()


def _in_quotes(text: str) -> str | None:
    """How to type a word whose value is a text with characters of the grammar in it; None where it can be no text."""
    from hydra.core.override_parser.types import Quote, QuotedString

    key, _, value = text.partition("=")
    leaf = leaf_of(key.lstrip("+"))
    if leaf is None or leaf.kind not in ("text", "any") or value[:1] in ("[", "{", "'", '"'):
        return None
    quoted = f"{key}={QuotedString(value, Quote.double).with_quotes()}"
    try:
        read = _parser().parse_override(quoted).value()
    except Exception:
        return None
    return f"put the text in quotes: {shlex.quote(quoted)}" if read == value else None


def _refuse_garbage(text: str) -> None:
    depth = deepest = 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    if len(text) > _MAX_LENGTH or deepest > _MAX_DEPTH:
        raise ConfigError(f"{text[:40]!r}… is too long or too deeply nested", f"write a range instead: {FORMS}")
    if not text.isprintable():
        raise ConfigError(f"{text[:60]!r} holds characters that cannot be printed", "remove them")
    for small in _SMALL.findall(_QUOTED.sub("", text.partition("=")[2])):
        if not float(small.replace("_", "")) and re.search("[1-9].*[eE]", small):
            raise ConfigError(f"{text[:60]!r} holds {small}, which is too small a number: it would be 0", "write 0")


def _spelled(value: Any) -> str:
    from hydra.core.override_parser.types import Override, Quote, QuotedString

    if isinstance(value, str) and (not _BARE.fullmatch(value) or value.lower() in _RESERVED):
        return QuotedString(value, Quote.single).with_quotes()
    if isinstance(value, list | tuple):
        return f"[{','.join(_spelled(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{k}:{_spelled(v)}' for k, v in value.items())}}}"
    return Override._get_value_element_as_str(value)


def _first_sentence(error: BaseException) -> str:
    """Return the first line that says something, of the innermost of our libraries' errors."""
    while not str(error).strip() and error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines()]
    said = [
        line
        for line in lines
        if line and set(line) != {"^"} and not line.startswith(("See ", "full_key", "object_type"))
    ]
    if len(said) > 1 and said[0].endswith("raised while composing config:"):
        said = [f"{said[0].partition(':')[0]}: {said[1]}"]
    text = re.sub(r" expecting [{'<].*", "", said[0] if said else type(error).__name__)
    key = getattr(error, "full_key", None)
    text = f"{key}: {text}" if key and key not in text else text
    return text if len(text) <= 200 else f"{text[:197]}..."
