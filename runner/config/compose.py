"""Composition: Hydra's compose API over our configuration tree and the user's, into plain nested dicts.

Composes once per combination of group choices; values are applied afterwards, as Hydra does. Knows no studies.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from thalweg.conf import CONF
from thalweg.optim.schema import OPTIMIZERS
from thalweg.runner.base.canonical import Scalar
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config.words import one_sentence, override_text, plain
from thalweg.runner.project.yaml import refuse_bombs
from thalweg.runner.study.groups import OWN, SECTION, field_of, with_defaults
from thalweg.runner.study.keys import TRIAL_SECTIONS, flatten, leaf_of, unknown_key
from thalweg.runner.study.ranges import as_number
from thalweg.runner.study.study import Base
from thalweg.runner.study.target import SECTIONS, fitted, is_argument, is_target, may_be_argument, no_argument

if TYPE_CHECKING:
    from omegaconf import DictConfig

DEFAULT_NAME = "config"


@dataclass(frozen=True)
class Composition:
    """A composed configuration: the node of each section, the study's declaration, the option chosen in each group."""

    node: DictConfig
    study: dict[str, Any]
    choices: Mapping[str, str]
    sources: tuple[str, ...]
    files: tuple[Path, ...] = ()  # what it was read from

    @cached_property
    def unresolved(self) -> dict[str, Any]:
        """The sections as plain dicts, interpolations as text."""
        return _plain(self.node, resolve=False, files=self.files)

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """The sections as plain dicts, interpolations resolved."""
        return _plain(self.node, resolve=True, files=self.files)

    def base(self) -> Base:
        """Return the trial part as a Base; plain dicts if it holds no interpolation (about 100 times as fast)."""
        if any("${" in str(value) for _, value in flatten(self.unresolved)):
            return Base(self.choices, lambda updates: _at_interpolated(self.node, updates, self.files))
        trial = {name: self.unresolved[name] for name in TRIAL_SECTIONS if name in self.unresolved}
        return Base(
            self.choices,
            lambda updates: _at_plain(trial, updates),
            lambda section, updates: _at_plain({section: trial[section]}, updates)[section],
        )


@dataclass
class Composer:
    """A context within which Hydra is initialised on our tree, then the user's; its global state ends with it."""

    config_dir: str | None = None
    config_name: str | None = None
    _cache: dict[tuple[str, ...], Composition] = field(default_factory=dict)
    _files: list[Path] = field(default_factory=list)
    _entered: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Composer:
        check_folders(self.config_dir, self.config_name)
        with one_sentence("the configuration folder cannot be opened"):
            from hydra import initialize_config_dir

            from thalweg.runner.config.source import strict_files

            name = f"{self.config_name or DEFAULT_NAME}.yaml"  # Hydra wants it in the folder it starts from
            first, *self._others = sorted(roots(self.config_dir), key=lambda root: not (root / name).is_file())
            self._files = self._entered.enter_context(strict_files())
            start = initialize_config_dir(str(first.resolve()), job_name="thalweg", version_base="1.3")
            self._entered.enter_context(start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered.close()

    def compose(self, choices: Sequence[str], values: Sequence[str] = ()) -> Composition:
        """Compose group choices, then apply value overrides. Raises ConfigError, naming the key at fault."""
        key = tuple(choices)
        if key not in self._cache:
            self._cache[key] = self._composed(key)
        found = self._cache[key]
        if values:
            node = copy.deepcopy(found.node)
            for value in values:
                _apply(node, value)
                if value.lstrip("+").startswith(f"{SECTION}."):
                    _fill_groups(node)
            _fill_groups(node)
            found = replace(found, node=node)
        _refuse_resolvers(found.unresolved)
        return found

    def _composed(self, choices: tuple[str, ...]) -> Composition:
        from hydra import compose
        from omegaconf import OmegaConf, open_dict

        from thalweg.runner.config.source import placed

        self._files.clear()
        words = list(choices)
        if self._others:
            words.append(override_text("", "hydra.searchpath", [f"file://{root.resolve()}" for root in self._others]))
        with placed(self._files), one_sentence("the configuration cannot be composed"):
            node = compose(self.config_name or DEFAULT_NAME, words, return_hydra_config=True)
            runtime = node.hydra.runtime
            chosen = {g: str(o) for g, o in runtime.choices.items() if o and not g.startswith("hydra/")}
            sources = tuple(s.path for s in runtime.config_sources if s.path and s.provider != "hydra")
            with open_dict(node):
                del node["hydra"]
                declared = node.pop("study", None)
                _fill_target(node)
                _fill_groups(node)
            unresolved = OmegaConf.to_container(declared, resolve=False) if declared is not None else {}
            _refuse_resolvers({"study": unresolved})
            study: Any = unresolved
            if "${" in str(unresolved):
                with open_dict(node):
                    node["study"] = declared
                    study = OmegaConf.to_container(node, resolve=True)["study"]  # type: ignore[call-overload, index]
                    del node["study"]
        if not isinstance(study, dict):
            raise ConfigError(f"study is {study!r}; expected a section with its keys")
        return Composition(node, study, chosen, sources, tuple(self._files))


def _fill_target(node: DictConfig) -> None:
    """Put the defaults of our own keys under those of sections that are targets."""
    from omegaconf import OmegaConf

    for section in SECTIONS:
        if node.get(section) is not None and is_target(node[section]):
            ours = OmegaConf.load(CONF / section / "target.yaml")
            node[section] = OmegaConf.merge(ours, node[section])


def _fill_groups(node: DictConfig) -> None:
    """Give each parameter group all its keys, so that any of them can be an axis."""
    from omegaconf import DictConfig, open_dict

    groups = node.get(SECTION)
    for name in groups if isinstance(groups, DictConfig) else ():
        if isinstance(groups[name], DictConfig):
            with open_dict(groups):
                groups[name] = with_defaults(groups[name])
                groups[name][OWN] = _filled(groups[name][OWN])


def _filled(own: Any) -> Any:
    """An optimizer of a group's own with our defaults under what is said of it; what is none of ours stays as it is."""
    from omegaconf import DictConfig, OmegaConf

    said = own if isinstance(own, DictConfig) else {"name": own}
    ours = CONF / "optimizer" / f"{said.get('name')}.yaml"
    return OmegaConf.merge(OmegaConf.load(ours), said) if ours.name in _OPTIMIZERS else own


_OPTIMIZERS = {f"{name}.yaml" for name in OPTIMIZERS}


def check_folders(config_dir: str | None, config_name: str | None) -> None:
    """Refuse a --config-dir or --config-name that is not there, hides one of our options, or is a bomb."""
    if config_dir is not None:
        folder = Path(config_dir)
        if not folder.is_dir():
            raise ConfigError(
                f"--config-dir {config_dir!r} is not a folder", "name a folder that holds groups, e.g. model/"
            )
        for file in _yaml_files(folder):
            refuse_bombs(file)
            if (CONF / file.relative_to(folder)).exists():
                name = file.relative_to(folder)
                raise ConfigError(f"{file} would be hidden by our own conf/{name}", "give the file another name")
    if config_name is not None and not any((r / f"{config_name}.yaml").is_file() for r in roots(config_dir)):
        raise ConfigError(f"--config-name {config_name!r} names no file", f"ours is {DEFAULT_NAME!r}")


def _yaml_files(folder: Path) -> list[Path]:
    """Every YAML file of a folder. Raises ConfigError for a part of it that cannot be read, and so might be empty."""

    def refuse(error: OSError) -> None:
        raise ConfigError(f"{error.filename} cannot be read: {error.strerror}", "let yourself read it: chmod u+rx")

    found = os.walk(folder, onerror=refuse)
    return sorted(Path(inside, name) for inside, _, names in found for name in names if name.endswith(".yaml"))


def roots(config_dir: str | None) -> list[Path]:
    """Return the folders that are searched for options, in order."""
    return [CONF, *([Path(config_dir)] if config_dir is not None else [])]


def options(config_dir: str | None) -> dict[str, dict[str, Path]]:
    """Return group -> option -> its file, found by looking; Hydra is not needed."""
    found: dict[str, dict[str, Path]] = {}
    for root in roots(config_dir):
        for file in sorted(root.rglob("*.yaml")):
            relative = file.relative_to(root)
            if relative.parts[0] != "hydra" and len(relative.parts) > 1 and file.is_file():
                found.setdefault(relative.parent.as_posix(), {})[relative.stem] = file
    return dict(sorted(found.items()))


def _plain(node: DictConfig, resolve: bool, files: Sequence[Path]) -> dict[str, Any]:
    from omegaconf import OmegaConf

    from thalweg.runner.config.source import placed

    with placed(files), one_sentence("the configuration cannot be resolved"):
        return OmegaConf.to_container(node, resolve=resolve)  # type: ignore[return-value]


def _apply(node: DictConfig, text: str) -> None:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import DictConfig, OmegaConf

    with one_sentence(f"{text[:60]!r} cannot be applied"):
        word = OverridesParser.create().parse_override(text)
        if field_of(word.key_or_group) and not (word.is_delete() or word.is_add()):
            word = OverridesParser.create().parse_override(f"++{text.lstrip('+')}")  # groups are made by naming them
        key, adds = word.key_or_group, word.is_add() or word.is_force_add()
        written = OmegaConf.select(node, key, throw_on_resolution_failure=False)
        section, (above, _, name) = key.partition(".")[0], key.rpartition(".")
        inside = OmegaConf.select(node, above) if above else None
        has = written is not None or (isinstance(inside, DictConfig) and name in inside.keys())  # noqa: SIM118 (null, ???)
        if not has and not adds and may_be_argument(key) and is_target(node.get(section)):
            raise no_argument(key, node)
        if not has and not adds and leaf_of(key):
            raise unknown_key(key)
        if written is not None and word.is_add():
            raise ConfigError(f"{key} is already there", f"write {text.lstrip('+')}")
        ConfigLoaderImpl._apply_overrides_to_config([word], node)
        own, leaf = is_argument(key, node), leaf_of(key)
        if not word.is_delete() and (own or (leaf and leaf.is_number)):
            value = plain(word._value)
            if isinstance(word._value, str) and not isinstance(written, str):
                value = as_number(value)
            value = fitted(key, value, plain_value(written)) if own else value
            OmegaConf.update(node, key, value, merge=False)


def _at_plain(trial: Mapping[str, Any], updates: Mapping[str, Scalar]) -> dict[str, Any]:
    config = {name: _copied(value) for name, value in trial.items()}
    for key, value in updates.items():
        *path, last = key.split(".")
        node = config
        for name in path:
            node = node[name]
        node[last] = fitted(key, value, node.get(last)) if is_argument(key, config) else decoded(key, value)
    return config


def _at_interpolated(node: DictConfig, updates: Mapping[str, Scalar], files: Sequence[Path] = ()) -> dict[str, Any]:
    from omegaconf import OmegaConf

    with one_sentence("the configuration cannot be resolved"):
        changed = copy.deepcopy(node)
        for key, value in updates.items():
            own = is_argument(key, changed)
            written = plain_value(OmegaConf.select(changed, key)) if own else None
            new = fitted(key, value, written) if own else decoded(key, value)
            OmegaConf.update(changed, key, new, merge=False)
        config = _plain(changed, resolve=True, files=files)
    return {name: config[name] for name in TRIAL_SECTIONS if name in config}


def decoded(key: str, value: Scalar) -> Any:
    """Return the value a coordinate stands for: a key that holds a list is given as its JSON text."""
    leaf = leaf_of(key)
    return json.loads(value) if leaf and leaf.kind == "list" and isinstance(value, str) else value


def plain_value(value: Any) -> Any:
    """A value of a node as Python has it."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _copied(value: Any) -> Any:
    """A copy of dicts in dicts and of the lists in them; calls for what holds others alone, as there is one a trial."""
    if isinstance(value, dict):
        return {name: _copied(inner) if isinstance(inner, dict | list) else inner for name, inner in value.items()}
    return list(value) if isinstance(value, list) else value


def _refuse_resolvers(config: Mapping[str, Any]) -> None:
    """Refuse `${oc.env:HOME}` and its kin: what a trial is must not depend on where it is declared."""
    for key, value in flatten(config):
        text = str(value)
        if "${" in text and ":" in text.partition("${")[2]:
            raise ConfigError(
                f"{key} is {text[:60]!r}, which calls a resolver; expected a value or a reference to another key",
                "write the value itself: a trial must not depend on the environment",
            )
