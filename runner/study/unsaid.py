"""What a stored configuration leaves unsaid: keys that its version did not have, each with what lacking it means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, cast, get_type_hints

from thalweg.runner.base.canonical import canonical_json, introductory
from thalweg.runner.study.keys import option_of, variants_of
from thalweg.runner.study.trial import TrialConfig


def completed(name: str, section: Any) -> Any:
    """Return a section of a stored configuration with the keys that it lacks, in the order of their names."""
    if not isinstance(section, Mapping):
        return section
    options = _within().get(name, {})
    unsaid = options.get(None if None in options else option_of(section), {})
    return section if unsaid.keys() <= section.keys() else dict(sorted({**unsaid, **section}.items()))


@cache
def sections_unsaid() -> Mapping[str, Any]:
    """Return section -> what a configuration without it means."""
    return cast(Mapping[str, Any], json.loads(canonical_json(introductory(TrialConfig))))


@cache
def _within() -> Mapping[str, Mapping[str | None, Mapping[str, Any]]]:
    """Section -> option, None where it has none -> key -> what a section without it means."""
    hints = get_type_hints(TrialConfig, include_extras=True)
    return {
        name: {option: introductory(schema) for option, schema in variants_of(hint)} for name, hint in hints.items()
    }
