"""A `_target_`: a class or function of the user's, by its dotted path, and the arguments it is called with.

Names only. What may be named is in `thalweg.runner.project.project`; nothing here imports what a path names.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any

from pydantic import Field, StrictInt

from thalweg.data.schema import Augmentation, Kind, Noise, Seed
from thalweg.optim.schema import introduced
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.study.fingerprint import fingerprint, fingerprint_before, forget, named_by, words_taken

KEY = "_target_"
PARTIAL = "_partial_"
"""Beside a `_target_` among a model's arguments: true gives the model the target itself, to call when it likes."""

SECTIONS = ("model", "dataset")
"""The sections that may be a target, with arguments of their own choosing."""

Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
_PATH = r"^[^\W\d]\w*(\.[^\W\d]\w*)+$"
Path = Annotated[str, Field(pattern=_PATH)]
_ARGUMENT = re.compile(r"[^\W\d_]\w*")
_INNER = re.compile(r"_target_|_partial_|(?!_\w*_$)[^\W\d]\w*")
_HOLDS = "arguments are numbers, texts, true, false, null and lists of these"
_DEEP = 10
"""How deeply lists and sections may be nested."""


@dataclass(frozen=True)
class Section:
    """A section among a model's arguments; what its `_target_` gives for the others, where it has one.

    With `_partial_` the target itself, with the others given.
    """

    arguments: tuple[tuple[str, Any], ...] = field(metadata={"spread": True})


@dataclass(frozen=True, kw_only=True)
class ModelTarget:
    """A torch.nn.Module class, or a function that returns a module. Its arguments are structure.

    output: which part of what the module returns is trained, by name or place; None where it returns a tensor. It is
    an argument like the others where the target has one of that name.
    """

    _target_: Path
    output: str | StrictInt | None = introduced(None)
    arguments: tuple[tuple[str, Any], ...] = field(metadata={"spread": True})

    @property
    def name(self) -> str:
        """What it is called where models are listed."""
        return self._target_


@dataclass(frozen=True, kw_only=True)
class DatasetTarget:
    """A torch Dataset class, or a function that returns (x, y); what is not named here is an argument of it.

    `fingerprint` is of the files that its text arguments and `files` name: other data, other trials.
    """

    _target_: Path
    kind: Kind
    train_size: Annotated[int, Field(ge=1)] | None
    validation: Share
    test: Share
    label_noise: Noise
    split_seed: Seed
    augment: tuple[Augmentation, ...]
    files: tuple[str, ...]
    fingerprint: str | None
    arguments: tuple[tuple[str, Any], ...] = field(metadata={"spread": True})

    @property
    def name(self) -> str:
        """What it is called where datasets are listed."""
        return self._target_


TARGETS: dict[str, type] = {"model": ModelTarget, "dataset": DatasetTarget}


def is_target(section: Any) -> bool:
    """Whether a section, plain or typed, is a target rather than one of our options."""
    return KEY in section if isinstance(section, Mapping) else isinstance(section, ModelTarget | DatasetTarget)


def may_be_argument(key: str) -> bool:
    """Whether a dotted key is spelled like an argument of a target: `model.width`, or within one: `model.config.width`.

    Of datasets, only the former.
    """
    section, _, names = key.partition(".")
    first, *inner = names.split(".")
    spelled = section in SECTIONS and _ARGUMENT.fullmatch(first) is not None and first not in ("name", "arguments")
    return spelled and (not inner or section == "model") and all(_INNER.fullmatch(name) for name in inner)


def is_argument(key: str, config: Mapping[str, Any]) -> bool:
    """Whether a dotted key is an argument in a composed configuration: its section is a target, its name not ours."""
    section, _, name = key.partition(".")
    return may_be_argument(key) and is_target(config.get(section)) and name not in _ours(section)


def gathered(section: str, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plain section with its target's arguments gathered under `arguments`, sorted by name.

    A dataset's files are fingerprinted. Raises ConfigError, naming the key, for what no argument can be.
    """
    if "name" in plain:
        hint = f"choose {section}=target, or a file of your own, {section}/NAME.yaml, that begins with _target_"
        raise ConfigError(f"{section} has {KEY} {plain[KEY]!r} beside the keys of {section}={plain['name']}", hint)
    if plain[KEY] in (None, "???"):
        raise ConfigError(f"{section}.{KEY} is missing", f"write {section}.{KEY}=package.Class")
    ours = {name for name in _ours(section) if (section, name) != ("model", "output") or _picks(plain.get(name))}
    arguments = []
    for name, value in sorted(plain.items()):
        if name in ours:
            continue
        if not may_be_argument(f"{section}.{name}"):
            raise ConfigError(f"{section}.{name} cannot be an argument", "its name must begin with a letter")
        arguments.append((name, _frozen(f"{section}.{name}", value, nested=section == "model")))
    made = {**{name: plain[name] for name in ours if name in plain}, "arguments": tuple(arguments)}
    if section == "dataset" and made.get("fingerprint") is None:
        made["fingerprint"] = fingerprint(named_by(_said(made.get("files")), dict(arguments)))
    return made


def _picks(output: Any) -> bool:
    """Whether a value may name a part of a model's outputs; another can only be an argument."""
    return output is None or type(output) in (int, str)


def _said(files: Any) -> list[str]:
    """The texts of `files`, which is not checked yet."""
    return [file for file in files if isinstance(file, str)] if isinstance(files, list | tuple) else []


def before(target: DatasetTarget) -> DatasetTarget | None:
    """Return a target as version 0.1.0 would have declared it on the files that are there, if that is another."""
    then = fingerprint_before(target.files, dict(target.arguments))
    return replace(target, fingerprint=then) if then not in (None, target.fingerprint) else None


def notes(target: DatasetTarget) -> tuple[str, ...]:
    """Return what is worth knowing of what a target names, in sentences."""
    return tuple(
        f"dataset.{key}={text} is taken for a word, though {text} is there; if it is read, so that its content should "
        f"count, write dataset.files=[{key}]"
        for key, text in words_taken(target.files, dict(target.arguments))
    )


def refuse_changed(target: DatasetTarget) -> None:
    """Raise ConfigError if the files of a dataset are not those that its trial was declared on."""
    if target.fingerprint is None:
        return
    forget()
    now = fingerprint(named_by(target.files, dict(target.arguments)))
    if target.fingerprint not in (now, fingerprint_before(target.files, dict(target.arguments))):
        said = f"the trial was declared on {target.fingerprint}, there is {now} now"
        raise ConfigError(f"the files of dataset={target.name} have changed: {said}", "sweep the study again")


def given_arguments(section: str, plain: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the arguments that a plain section gives its target."""
    return tuple(name for name in plain if name not in _ours(section))


def targets_in(key: str, value: Any) -> Iterator[tuple[str, str, tuple[str, ...] | None]]:
    """Yield the key, path and argument names of each target within the plain arguments of another, the outer first.

    No names of one whose call is left to the model: it may give more.
    """
    if isinstance(value, Mapping):
        if KEY in value:
            names = tuple(str(name) for name in value if name not in (KEY, PARTIAL))
            yield f"{key}.{KEY}", str(value[KEY]), None if value.get(PARTIAL) else names
        for name, inner in value.items():
            yield from targets_in(f"{key}.{name}", inner)
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from targets_in(f"{key}[{place}]", inner)


def no_argument(key: str, config: Mapping[str, Any]) -> ConfigError:
    """The refusal of a value for an argument that the target's YAML does not have."""
    section, _, name = key.partition(".")
    close = difflib.get_close_matches(name, list(_names(config[section])), n=1)
    added = f"+{key}=… adds an argument"
    hint = f"did you mean {section}.{close[0]}? {added}" if close else added
    return ConfigError(f"{key} is not in the YAML of {config[section][KEY]}", hint)


def _names(plain: Mapping[Any, Any]) -> Iterator[str]:
    for name, value in plain.items():
        yield str(name)
        if isinstance(value, Mapping):
            yield from (f"{name}.{inner}" for inner in _names(value))


def _ours(section: str) -> set[str]:
    return {f.name for f in fields(TARGETS[section])} - {"arguments"}


def fitted(key: str, value: Any, written: Any) -> Any:
    """Return an argument's value in the type that its YAML gives it, so that 0 and 0.0 are one trial.

    `written` is the value in the YAML; where that is null, anything fits. A coordinate gives a list as its JSON
    text. Raises ConfigError for another type.
    """
    if isinstance(value, str) and value.startswith("[") and not isinstance(written, str):
        value = json.loads(value)
    if value is None or written is None or type(value) is type(written):
        return value
    if isinstance(written, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(written) is int and isinstance(value, float) and value.is_integer():
        return int(value)
    kinds = {bool: "true or false", int: "an integer", float: "a number", str: "text", dict: "a section"}
    expected = kinds.get(type(written), "a list")
    hint = f"write {float(written)} there if it may be a fraction" if type(written) is int else None
    raise ConfigError(f"{key} is {value!r}; expected {expected}, as its YAML has {written!r}", hint)


def _frozen(key: str, value: Any, nested: bool, depth: int = 0) -> Any:
    if isinstance(value, list | tuple) and depth < _DEEP:
        return tuple(_frozen(f"{key}[{place}]", item, nested, depth + 1) for place, item in enumerate(value))
    if isinstance(value, Mapping) and nested and depth < _DEEP:
        for name in value:
            if not isinstance(name, str) or not _INNER.fullmatch(name):
                raise ConfigError(f"{key} has the name {str(name)[:60]!r}; expected letters, digits and _")
        if KEY in value and not (isinstance(value[KEY], str) and re.fullmatch(_PATH, value[KEY])):
            expected = "a class or function by its whole path, such as package.Class"
            raise ConfigError(f"{key}.{KEY} is {str(value[KEY])[:60]}; expected {expected}")
        if PARTIAL in value and not (KEY in value and isinstance(value[PARTIAL], bool)):
            raise ConfigError(f"{key}.{PARTIAL} is {value[PARTIAL]}; expected true or false, beside a {KEY}")
        inner = ((name, _frozen(f"{key}.{name}", value[name], nested, depth + 1)) for name in sorted(value))
        return Section(tuple(inner))
    if value is None or isinstance(value, bool | int | float | str):
        if isinstance(value, float) and value - value != 0:
            raise ConfigError(f"{key} is {value}; expected a finite number")
        return value
    what = "a section" if isinstance(value, Mapping) else f"a {type(value).__name__}"
    raise ConfigError(f"{key} is {what}; {_HOLDS}", "give its parts names of their own")
