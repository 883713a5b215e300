"""The `study:` section of a composed configuration: its types, and what is wrong with one.

Works on plain dicts; what the section means, together with the command line, is worked out in `blocks`.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.facts.observation import Metric
from thalweg.runner.study.keys import (
    SETTINGS_SECTIONS,
    TRIAL_SECTIONS,
    leaf_of,
    nearest,
    sections,
    shown,
)
from thalweg.runner.study.ranges import MAX_VALUES

GRID = "grid"
"""Name of the only block of a study that declares one grid."""

OF_A_GRID = ("axes", "zip", "sample", "exclude", "derive", "expect")
"""What a block says of its grid, and a study without blocks of its only one."""

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class ExpectSection:
    """`expect:` of a block: the slope of the question's valley and how far off it may be."""

    __pydantic_config__ = _STRICT
    slope: Annotated[float, Field(allow_inf_nan=False)]
    tolerance: Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class CouplingSection:
    """`analysis: {coupling: …}`: the two keys whose valley is asked for."""

    __pydantic_config__ = _STRICT
    lr: str
    wd: str


@dataclass(frozen=True, kw_only=True)
class WarmupSection:
    """`analysis: {warmup: …}`: the rate, and the warmup that may let it be larger."""

    __pydantic_config__ = _STRICT
    lr: str
    warmup: str


@dataclass(frozen=True, kw_only=True)
class SensitivitySection:
    """`analysis: {sensitivity: …}`: the rate whose choice may matter more or less."""

    __pydantic_config__ = _STRICT
    lr: str


@dataclass(frozen=True, kw_only=True)
class AnalysisSection:
    """`analysis:` of a study: one question or several, the first of them naming the axes of maps."""

    __pydantic_config__ = _STRICT
    coupling: CouplingSection | None = None
    warmup: WarmupSection | None = None
    sensitivity: SensitivitySection | None = None


@dataclass(frozen=True, kw_only=True)
class SampleSection:
    """`sample:` of a block: how many points of the axes that are ranges to draw from, such as `1e-4..1:log`."""

    __pydantic_config__ = _STRICT
    n: Annotated[int, Field(ge=1, le=MAX_VALUES)]
    method: Literal["sobol", "random", "tpe"] = "sobol"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    batch: Annotated[int, Field(ge=1, le=65_536)] | None = None  # of tpe: points asked for at once; 16


@dataclass(frozen=True, kw_only=True)
class StopSection:
    """`stop:` of a study: the rule by which trials stop early, and the shares of their steps at which they may."""

    __pydantic_config__ = _STRICT
    rule: Literal["median", "halving"]
    rungs: tuple[str, ...]
    eta: Annotated[float, Field(gt=1, le=1_000, allow_inf_nan=False)] | None = None  # of halving: one in how many; 2


@dataclass(frozen=True, kw_only=True)
class BlockSection:
    """One item of `blocks:`."""

    __pydantic_config__ = _STRICT
    name: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
    use: tuple[str, ...] = ()
    axes: dict[str, Any] = field(default_factory=dict)
    zip: dict[str, dict[str, Any]] = field(default_factory=dict)  # name -> axes that take their values together
    sample: SampleSection | None = None
    exclude: str | None = None
    derive: dict[str, str | float] = field(default_factory=dict)
    expect: ExpectSection | None = None


@dataclass(frozen=True, kw_only=True)
class StudySection:
    """The `study:` section of a composed configuration. One grid may stand here without `blocks:`."""

    __pydantic_config__ = _STRICT
    question: str = ""
    hypothesis: str = ""  # what is expected, in a sentence, written down before the run
    metric: Metric
    direction: Literal["min", "max"] | None = None  # None: a loss is best small, an accuracy or r2 large
    replicate: Annotated[dict[str, Any], Field(max_length=1)] = field(default_factory=dict)
    vars: tuple[str, ...] = ()
    blocks: tuple[BlockSection, ...] = ()
    axes: dict[str, Any] = field(default_factory=dict)
    zip: dict[str, dict[str, Any]] = field(default_factory=dict)
    sample: SampleSection | None = None
    exclude: str | None = None
    derive: dict[str, str | float] = field(default_factory=dict)
    expect: ExpectSection | None = None
    analysis: AnalysisSection | None = None
    stop: StopSection | None = None

    @property
    def best_is(self) -> Literal["min", "max"]:
        """Which end of the metric is best."""
        return self.direction or ("max" if self.metric.rpartition("/")[2] in ("accuracy", "r2") else "min")

    @property
    def grids(self) -> tuple[BlockSection, ...]:
        """The declared blocks; the one grid of a study without blocks."""
        return self.blocks or (BlockSection(name=GRID, **{key: getattr(self, key) for key in OF_A_GRID}),)


def read_section(plain: Mapping[str, Any]) -> StudySection:
    """Return the typed `study:` section. Raises ConfigError naming the key at fault."""
    if "study" in plain and isinstance(plain["study"], Mapping):
        raise ConfigError("the study file has no header", "its first line must be: # @package _global_")
    try:
        section = _adapter().validate_python(plain)
    except ValidationError as error:
        raise _sentence(error) from None
    if section.blocks and (own := [key for key in OF_A_GRID if getattr(section, key)]):
        raise ConfigError("study has blocks and a grid of its own", f"put {' and '.join(own)} into the blocks")
    names = [block.name for block in section.grids]
    if len(set(names)) < len(names):
        raise ConfigError(f"study.blocks has the name {max(names, key=names.count)!r} twice", "give each its own name")
    for var in section.vars:
        if not var.isidentifier() or keyword.iskeyword(var) or leaf_of(var):
            raise ConfigError(f"study.vars holds {var!r}; expected a new name of letters, digits and _")
    asks = section.analysis and any(getattr(section.analysis, each.name) for each in fields(AnalysisSection))
    if not asks and any(block.expect for block in section.grids):
        raise ConfigError("study has expect but no analysis", "add analysis: {coupling: {lr: optimizer.lr, wd: …}}")
    return section


@cache
def _adapter() -> TypeAdapter[StudySection]:
    return TypeAdapter(StudySection)


def _sentence(error: ValidationError) -> ConfigError:
    detail = error.errors(include_url=False, include_context=False)[0]
    key = "study" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
    last = str(detail["loc"][-1]) if detail["loc"] else ""
    if detail["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        if detail["loc"] == (last,) and last in {*sections(), *TRIAL_SECTIONS, *SETTINGS_SECTIONS}:
            hint = f"begin the file with the line # @package _global_, and set {last} beside study:, not inside it"
            return ConfigError(f"{last} is not a part of a study's section", hint)
        schema = _schema_at(detail["loc"][:-1])
        meant = nearest(last, [f.name for f in fields(schema)])
        hint = f"did you mean {meant}?" if meant else f"known here: {', '.join(f.name for f in fields(schema))}"
        return ConfigError(f"there is no key {key!r}", hint)
    if detail["type"] in ("missing", "missing_argument"):
        return ConfigError(f"{key} is missing")
    limit = "a number " if detail["type"].startswith(("greater_than", "less_than")) else ""
    expected = KINDS.get(detail["type"], detail["msg"].replace("Input should be ", f"expected {limit}"))
    forms = [WRITTEN[part] for part in detail["loc"] if part in WRITTEN]
    return ConfigError(f"{key} is {shown(detail['input'])}; {expected}", f"for example {forms[-1]}" if forms else None)


KINDS = {
    "dict_type": "expected a section with its keys",
    "dataclass_type": "expected a section with its keys",
    "tuple_type": "expected a list",
    "string_type": "expected a text",
    "too_long": "expected one key",
}
WRITTEN: dict[int | str, str] = {
    "axes": 'axes: {optimizer.lr: "0.1,0.2"}',
    "zip": 'zip: {pair: {optimizer.lr: "0.1,0.2", optimizer.weight_decay: "0.01,0.02"}}',
    "sample": "sample: {n: 60, method: sobol, seed: 0}",
    "exclude": "exclude: optimizer.lr > 0.5",
    "derive": "derive: {optimizer.weight_decay: 0.01 / optimizer.lr}",
    "replicate": "replicate: {seed: 0..2}",
    "vars": "vars: [lr_x_wd]",
    "use": "use: [optimizer=sgd, schedule=constant]",
    "blocks": 'blocks: [{name: grid, axes: {optimizer.lr: "0.1,0.2"}}]',
    "analysis": "analysis: {coupling: {lr: optimizer.lr, wd: optimizer.weight_decay}}",
    "expect": "expect: {slope: -1, tolerance: 0.2}",
    "stop": "stop: {rule: halving, rungs: [25%, 50%]}",
}
"""Key of a study's section -> how it is written."""


def _schema_at(loc: Sequence[int | str]) -> type[Any]:
    known: dict[str, type[Any]] = {
        "blocks": BlockSection,
        "sample": SampleSection,
        "expect": ExpectSection,
        "analysis": AnalysisSection,
        "coupling": CouplingSection,
        "warmup": WarmupSection,
        "sensitivity": SensitivitySection,
        "stop": StopSection,
    }
    names = [part for part in loc if part in known]
    return known[str(names[-1])] if names else StudySection
