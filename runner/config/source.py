"""How Hydra is made to read configuration files: strictly, as `runner/project/yaml.py` does, and through it alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from thalweg.conf import CONF
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.project.yaml import line_naming, line_of, parse, text_of
from thalweg.runner.study.keys import sections, shown

HEADER_CHARACTERS = 512
"""Where Hydra looks for `# @package`."""


@contextmanager
def strict_files() -> Iterator[list[Path]]:
    """While entered, Hydra reads files strictly. Yields the list of those that it reads, as it grows."""
    read: list[Path] = []

    class Strict(FileConfigSource):
        def load_config(self, config_path: str) -> ConfigResult:
            file = Path(self.path, self._normalize_file_name(config_path))
            read.append(file)
            text = text_of(file)
            header = self._get_header_dict(text[:HEADER_CHARACTERS])
            lays_over = header["package"] == "_global_"
            values = _keys(file, parse(text, file, changes=lays_over))
            if lays_over:
                _refuse_no_sections(file, values)
            config = OmegaConf.create(values)
            return ConfigResult(
                config=config, path=f"{self.scheme()}://{self.path}", provider=self.provider, header=header
            )

    Plugins.instance()  # registers Hydra's own, which would else take our place later
    types = SourcesRegistry.instance().types
    usual = types[Strict.scheme()]
    types[Strict.scheme()] = Strict
    try:
        yield read
    finally:
        types[Strict.scheme()] = usual


def _keys(file: Path, values: Any) -> dict[str, Any]:
    if values is None:
        raise ConfigError(f"{file} holds nothing; expected keys", "write key: value, or remove the file")
    if not isinstance(values, dict):
        kind = "list" if isinstance(values, list) else "value without a key"
        raise ConfigError(f"{file} holds a {kind}; expected keys", "write key: value")
    if "hydra" in values:
        where = f"{file}, line {line_of(file, 'hydra')}"
        raise ConfigError(f"{where}: hydra is Hydra's own section, which thalweg does not take", "leave it out")
    return values


def _refuse_no_sections(file: Path, values: Mapping[str, Any]) -> None:
    """Refuse a section in whose place something else stands: Hydra would not say which."""
    for section in sections().keys() & values.keys():
        value = values[section]
        if not isinstance(value, dict):
            where = f"{file}, line {line_of(file, section)}"
            choice = f"to choose an option: defaults: [override /{section}: {value}]"
            hint = choice if isinstance(value, str) else None
            raise ConfigError(f"{where}: {section} is {shown(value)}; expected a section with its keys", hint)


@contextmanager
def placed(files: Sequence[Path]) -> Iterator[None]:
    """Put the file and line at fault before a sentence that came of an error of Hydra's or OmegaConf's."""
    try:
        yield
    except ConfigError as error:
        if error.__cause__ is None or not (place := _place(error.__cause__, files)):
            raise
        raise ConfigError(f"{place}: {error.message}", error.hint) from error.__cause__


def _place(error: BaseException, files: Sequence[Path]) -> str | None:
    """Where the option that was not found is named, or the key that cannot be resolved is set."""
    option = getattr(error, "missing_cfg_file", None)
    key = getattr(error, "full_key", None) or getattr(error.__cause__, "full_key", None)
    for file in sorted(files, key=lambda file: file.is_relative_to(CONF)):  # yours first
        line = line_naming(file, option.rpartition("/")[2]) if option else line_of(file, key) if key else None
        if line is not None:
            return f"{file}, line {line}"
    return None
