"""What the schemas say about each configuration key, and the check of a composed configuration against them.

Works on plain dicts; knows neither Hydra nor studies; how durations become steps is known by `durations`. Every refusal
is one sentence with the dotted key, the value seen and what was expected.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from thalweg.data.schema import FORMS, MODELS_LOSS
from thalweg.models.schema import MODELS
from thalweg.optim.schema import OPTIMIZERS, Groups, ParameterGroup
from thalweg.runner.base.canonical import canonical_json
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.study.durations import DURATIONS, EPOCH, is_duration, steps_from_durations
from thalweg.runner.study.groups import FIELDS, OWN, OWN_FIELDS, SECTION, field_of, in_groups, with_defaults
from thalweg.runner.study.settings import Settings
from thalweg.runner.study.start import EXPECTED as START
from thalweg.runner.study.start import declared as declared_init
from thalweg.runner.study.target import KEY, SECTIONS, TARGETS, ModelTarget, gathered, is_target, may_be_argument
from thalweg.runner.study.trial import NOT_CONFIGURED, OPTION, TrialConfig

TRIAL_SECTIONS = tuple(f.name for f in fields(TrialConfig))
SETTINGS_SECTIONS = tuple(f.name for f in fields(Settings))
EPOCHS = ("epochs", "epoch", "n_epochs", "num_epochs", "max_epochs", "num_train_epochs")
ALIASES = {
    "lr": "optimizer.lr",
    "learning_rate": "optimizer.lr",
    "wd": "optimizer.weight_decay",
    "l2": "optimizer.weight_decay",
    "bs": "budget.batch_size",
    **dict.fromkeys(EPOCHS, "budget.steps"),
}
"""What people type -> the key they mean. Only ever suggested, never taken."""

_WANDB = "up to 128 characters without / \\ # ? % :"
SAID = {
    "engine.device": "auto, cpu, cuda, mps, or several such as cuda:0,cuda:1",
    "model.output": "the name or the place of what is trained in what the model returns, such as logits or 0, or null",
    "init.weights": START,
    "tracker.project": f"a name for W&B, {_WANDB}",
    "tracker.entity": f"a name for W&B, {_WANDB}, or null",
}
"""What is expected of keys whose type does not say it in a person's words."""

Kind = Literal["int", "float", "bool", "text", "list", "any"]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Leaf:
    """A key that holds a value: `option` is the variant of its group that has it, None outside of such groups."""

    key: str
    kind: Kind
    expected: str
    option: str | None

    @property
    def is_number(self) -> bool:
        """Whether ranges and arithmetic mean something here."""
        return self.kind in ("int", "float")


@cache
def leaves() -> dict[str, tuple[Leaf, ...]]:
    """Return every configuration key and what each option of its group says about it."""
    index: dict[str, tuple[Leaf, ...]] = {}
    for schema in (TrialConfig, Settings):
        for leaf in _leaves_of(schema, "", None):
            index[leaf.key] = (*index.get(leaf.key, ()), leaf)
    return index


@cache
def _group_leaves() -> dict[str, tuple[Leaf, ...]]:
    """Field -> what it holds in any parameter group, and what each optimizer of a group's own says about it."""
    index: dict[str, tuple[Leaf, ...]] = {OWN: (Leaf(OWN, "text", f"{_one_of(OPTIMIZERS)} or null", None),)}
    for leaf in _leaves_of(ParameterGroup, "", None):
        index[leaf.key] = (*index.get(leaf.key, ()), leaf)
    return index


@cache
def sections() -> dict[str, dict[str | None, frozenset[str]]]:
    """Return section -> option -> names of its keys; the option is None where a section has no variants."""
    index: dict[str, dict[str | None, frozenset[str]]] = {}
    for key, variants in leaves().items():
        section, _, name = key.partition(".")
        for leaf in variants if name else ():
            options = index.setdefault(section, {})
            options[leaf.option] = options.get(leaf.option, frozenset()) | {name}
    return index


@cache
def leaf_of(key: str, option: str | None = None) -> Leaf | None:
    """Return what a key holds, under that option of its group if given; None for an unknown key.

    A key that no schema has may be an argument of a target: whether it is one, the composed section says.
    """
    if (name := field_of(key)) is not None:
        known = _group_leaves()[name]
        return replace(next((leaf for leaf in known if leaf.option == option), known[0]), key=key)
    variants = leaves().get(key, ())
    if not variants and may_be_argument(key):
        return Leaf(key, "any", "a number, text, true, false, null or a list of these", KEY)
    return next((leaf for leaf in variants if leaf.option == option), variants[0] if variants else None)


def beside_numbers(key: str, item: Any) -> bool:
    """Whether a key that holds numbers takes an item that is none: a duration, or null where an option of it does."""
    if item is None:
        return any(" or null" in leaf.expected for leaf in leaves().get(key, ()))
    return isinstance(item, str) and is_duration(key, item)


def is_setting(key: str) -> bool:
    """Whether a key or group says how trials are run rather than what they are."""
    return re.split(r"[./]", key)[0] in SETTINGS_SECTIONS


def nearest(key: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that somebody probably meant by `key`: an alias, a leaf name, a close spelling."""
    known = [name for name in names if not name.endswith(".name")]
    section, _, last = key.rpartition(".")
    if ALIASES.get(key) in known or ALIASES.get(last) in known:
        return ALIASES.get(key) or ALIASES.get(last)
    if other_case := [name for name in known if name.lower() == key.lower()]:
        return other_case[0]
    by_leaf = {name.rpartition(".")[2]: name for name in reversed(known)}
    if last in by_leaf:
        return by_leaf[last]
    if section in sections():
        ours = {name: whole for name, whole in by_leaf.items() if whole.startswith(f"{section}.")}
        close = difflib.get_close_matches(last, ours, n=1)
        return ours[close[0]] if close else None
    if close := difflib.get_close_matches(key, known, n=1, cutoff=0.7):
        return close[0]
    close = difflib.get_close_matches(last, by_leaf, n=1, cutoff=0.78)
    return by_leaf[close[0]] if close else None


def unknown_key(key: str, names: Iterable[str] = (), typed: str = "") -> ConfigError:
    """Return the refusal of a key that does not exist, naming the nearest of ours and of `names`. typed: its values."""
    if variants := leaves().get(key):
        options = ("target" if leaf.option == KEY else leaf.option for leaf in variants)
        owners = " or ".join(f"{key.partition('.')[0]}={option}" for option in options)
        return ConfigError(f"{key} belongs to {owners}, which was not chosen here", f"choose {owners}, or leave it out")
    if in_groups(key):
        return _unknown_of_groups(key)
    section = key.partition(".")[0]
    if key in sections():
        return ConfigError(f"{key} is a section, not a value", f"its keys: {', '.join(sorted(_keys_under(key)))}")
    meant = nearest(key, [*leaves(), *names])
    if key.rpartition(".")[2] in EPOCHS and meant in (None, "budget.steps"):
        lengths = typed.split(",") if typed.replace(",", "").isdigit() else ["20"]
        steps = ",".join(f"{length}ep" for length in lengths)
        return ConfigError(f"there is no key {key!r}; the length is in steps or epochs", f"write budget.steps={steps}")
    if meant:
        return ConfigError(f"there is no key {key!r}", f"did you mean {meant}?")
    listed = _keys_under(section) or {*sections(), *(k for k in leaves() if "." not in k)}
    return ConfigError(f"there is no key {key!r}", f"known here: {', '.join(sorted(listed))}")


def _unknown_of_groups(key: str) -> ConfigError:
    _, name, *rest = [*key.split("."), ""]
    known = f"its keys: {', '.join(FIELDS)}"
    if rest[:1] == [OWN] and name.isidentifier() and len(rest) == 3:
        close = difflib.get_close_matches(rest[1], OWN_FIELDS, n=1)
        hint = f"did you mean {SECTION}.{name}.{OWN}.{close[0]}?" if close else f"its keys: {', '.join(OWN_FIELDS)}"
        return ConfigError(f"there is no key {key!r}", hint)
    if not name.isidentifier() or len(rest) > 2:
        example = "groups.head.match='head.*'"
        return ConfigError(f"there is no key {key!r}; a group's name is letters, digits and _", f"write {example}")
    if len(rest) == 1:
        return ConfigError(f"{key} is a parameter group, not a value", known)
    if field_of(key) is not None:
        said = f"{key} is of a parameter group that is not declared here"
        return ConfigError(said, f"say which parameters it holds: {SECTION}.{name}.match='{name}.*'")
    meant = ALIASES.get(rest[0], "").rpartition(".")[2]
    close = [meant] if meant in FIELDS else difflib.get_close_matches(rest[0], FIELDS, n=1)
    return ConfigError(f"there is no key {key!r}", f"did you mean {SECTION}.{name}.{close[0]}?" if close else known)


def refuse_unknown_keys(config: Mapping[str, Any]) -> None:
    """Raise ConfigError for a key of a composed configuration that no schema has, and for a true/false number."""
    for key, value in flatten(config):
        section, _, name = key.partition(".")
        options = sections().get(section)
        if section == SECTION and isinstance(config[SECTION], Mapping):
            if key != SECTION and field_of(key) is None:
                raise unknown_key(key)
        elif section == SECTION:
            raise ConfigError(f"{SECTION} is {shown(value)}; expected parameter groups by name")
        elif options and isinstance(config[section], Mapping):
            option = option_of(config[section]) if None not in options else None
            if option == KEY and name not in options[KEY]:
                continue
            if option not in options:
                raise ConfigError(f"{section}.name is {option!r}; expected {_one_of(str(o) for o in options)}")
            if name not in options[option]:
                ours = [f"{section}.{n}" for n in options[option]]
                raise (
                    unknown_key(key)
                    if not nearest(key, ours)
                    else ConfigError(
                        f"there is no key {key!r} in {section}={option}",
                        f"did you mean {nearest(key, ours)}?",
                    )
                )
        elif options:
            raise ConfigError(f"{section} is {shown(value)}; expected a section with its keys")
        elif key not in leaves():
            is_value = section in leaves()
            raise ConfigError(f"{section} is a section here; expected a value") if is_value else unknown_key(key)
        leaf = leaf_of(key)
        if leaf and leaf.is_number and isinstance(value, bool):
            raise wrong_value(leaf, value)


def option_of(section: Mapping[str, Any]) -> Any:
    """The option that a composed section is of; that of a target is `_target_`."""
    return KEY if is_target(section) else section.get("name")


def trial_config(plain: dict[str, Any]) -> TrialConfig:
    """Return the typed configuration of one trial. Durations in `plain` become steps, in place."""
    config = check_types(plain)
    _refuse_unlike(config)
    if config.task.loss == MODELS_LOSS and not isinstance(config.model, ModelTarget):
        said = f"task.loss is {MODELS_LOSS}, but model={config.model.name} returns no loss"
        raise ConfigError(said, "write task.loss=auto, or take a model of your own: model=target")
    if config.task.loss != "auto" and config.task.label_smoothing:
        hint = "smooth them in the loss itself, or write task.label_smoothing=0"
        raise ConfigError(
            f"task.label_smoothing is {config.task.label_smoothing}, which {config.task.loss} lacks", hint
        )
    if by_adamw := [name for name, group in config.groups.named if group.adamw and config.optimizer.name != "muon"]:
        key, optimizer = f"{SECTION}.{by_adamw[0]}.adamw", config.optimizer.name
        said = f"{key} is true, but optimizer={optimizer} orthogonalises no matrices"
        raise ConfigError(said, f"choose optimizer=muon, or write {key}=false")
    _refuse_scale(config)
    size, parts_of_it = config.budget.batch_size, config.budget.accumulate
    if size % parts_of_it:
        fitting = [str(each) for each in range(1, size + 1) if size % each == 0]
        raise ConfigError(
            f"budget.accumulate is {parts_of_it}, which does not divide budget.batch_size, {size}",
            f"take one of {', '.join(fitting[:12])}; batch_size counts all examples of a step",
        )
    parts = {
        key: getattr(config.schedule, key.partition(".")[2], 0) for key in DURATIONS if key.startswith("schedule.")
    }
    if sum(parts.values()) > config.budget.steps:
        raise ConfigError(
            f"{' + '.join(key for key, steps in parts.items() if steps)} is {sum(parts.values())} steps; "
            f"expected at most budget.steps, {config.budget.steps}"
        )
    return config


def _refuse_scale(config: TrialConfig) -> None:
    """Refuse half precision whose gradients would vanish, and a scale that begins too small."""
    scaling = config.scaling
    if scaling.name == "none":
        if config.precision == "fp16":
            said = "precision=fp16 without a scale loses gradients below 6e-8"
            raise ConfigError(said, "add scaling=dynamic, or write precision=bf16")
    elif scaling.start < scaling.floor:
        said = f"scaling.start is {scaling.start:g}, below scaling.floor, {scaling.floor:g}"
        raise ConfigError(said, "a trial diverges where its scale falls below the floor: lower that")


READ_APART = frozenset({"optimizer", "sam", "clip", "average", "divergence", "seed"})
"""Sections that no check and no duration reads together with another."""


def checked_section(section: str, plain: Any) -> Any:
    """Return one of READ_APART in its type. Raises ConfigError for a value it cannot have, without its key."""
    try:
        return _adapter(_sections_of_trials()[section]).validate_python(plain)
    except ValidationError as error:
        raise ConfigError(f"{section} holds a wrong value: {error.error_count()}") from None


@cache
def _sections_of_trials() -> dict[str, Any]:
    return get_type_hints(TrialConfig, include_extras=True)


def _refuse_unlike(config: TrialConfig) -> None:
    """Refuse a model and a dataset that cannot meet; what a user's own class reads is found out when it is built."""
    reads, form = getattr(config.model, "reads", None), getattr(config.dataset, "form", None)
    if reads is None or form is None or form in reads:
        return
    others = [name for name, model in MODELS.items() if form in model.reads]
    raise ConfigError(
        f"model={config.model.name} cannot read dataset={config.dataset.name}, whose examples are {FORMS[form]}",
        f"choose another: model={' or model='.join(others)}",
    )


def check_types(plain: dict[str, Any]) -> TrialConfig:
    """Like `trial_config`, but for one value at a time: how the values agree with each other is not looked at."""
    steps_from_durations(plain)
    targets = {name: gathered(name, plain[name]) for name in SECTIONS if is_target(plain.get(name))}
    config = _checked(TrialConfig, {**plain, **targets, SECTION: _groups(plain.get(SECTION, {}))})
    dataset: Any = config.dataset
    if not is_target(dataset) and getattr(dataset, "fingerprint", "") is None:
        from thalweg.data.check import declared  # here, as it imports numpy

        dataset = declared(dataset)  # what is in the files is part of a trial's id
    return replace(config, dataset=dataset, init=declared_init(config.init))


def _groups(plain: Mapping[str, Any]) -> Groups:
    return Groups(named=tuple((name, _group(name, plain[name])) for name in sorted(plain)))


def _group(name: str, plain: Any) -> ParameterGroup:
    if not isinstance(plain, Mapping):
        raise ConfigError(f"{SECTION}.{name} is {shown(plain)}; expected a section", f"its keys: {', '.join(FIELDS)}")
    for key in plain:
        if field_of(f"{SECTION}.{name}.{key}") is None:
            raise unknown_key(f"{SECTION}.{name}.{key}")
    if plain.get("match") in (None, ""):
        example = f"write {SECTION}.{name}.match='{name}.*'"
        raise ConfigError(f"{SECTION}.{name} does not say which parameters it holds", example)
    _refuse_own(f"{SECTION}.{name}", plain)
    return _checked(ParameterGroup, with_defaults(plain), f"{SECTION}.{name}.")


def _refuse_own(group: str, plain: Mapping[str, Any]) -> None:
    """Refuse an optimizer of a group's own that is none, or has keys of another."""
    own = plain.get(OWN)
    if own is None:
        return
    if isinstance(own, str) and own in OPTIMIZERS:
        hint = f"to compare optimizers of a group write two blocks: use: [{group}.{OWN}={own}]"
        raise ConfigError(f"{group}.{OWN} cannot be an axis", hint)
    name = own.get("name") if isinstance(own, Mapping) else own
    schema = OPTIMIZERS.get(name) if isinstance(name, str) else None
    if schema is None:
        raise ConfigError(f"{group}.{OWN} is {shown(name)}; expected {_one_of(OPTIMIZERS)}", f"write {group}.{OWN}=sgd")
    known = [f.name for f in fields(schema)]
    if unknown := [key for key in own if key not in known]:
        said = f"there is no key '{group}.{OWN}.{unknown[0]}' with {group}.{OWN}={own['name']}"
        raise ConfigError(said, f"its keys: {', '.join(known[1:])}")
    if plain.get("adamw"):
        raise ConfigError(f"{group} has an optimizer of its own, and adamw, which is of Muon's matrices", "keep one")


def settings_of(config: Mapping[str, Any]) -> Settings:
    """Return the typed settings of a composed configuration."""
    return _checked(Settings, {name: config[name] for name in SETTINGS_SECTIONS if name in config})


def coerced(key: str, value: Any) -> Any:
    """Return an axis value in the type of its key, so that 1 and 1.0 are one coordinate; others as they are."""
    leaf = leaf_of(key)
    if leaf is None or isinstance(value, bool):
        return value
    if isinstance(value, list | tuple):
        return canonical_json(value)
    if leaf.kind == "float" and isinstance(value, int) and abs(value) < 2**1000:
        return float(value)
    if leaf.kind == "int" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and value of every leaf; an empty section counts as a leaf."""
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def shown(value: Any) -> str:
    """Return a value as it is quoted in a message, as one would type it, cut at 60 characters."""
    text = repr(value) if isinstance(value, str) else str(value)
    if value is None or isinstance(value, bool):
        text = "null" if value is None else text.lower()
    return text if len(text) <= 60 else f"{text[:57]}..."


def wrong_value(leaf: Leaf, value: Any) -> ConfigError:
    """Return the refusal of a value that a key cannot hold."""
    hint = f"for several values write {leaf.key}=0.1,0.3" if leaf.is_number and isinstance(value, list) else None
    return ConfigError(f"{leaf.key} is {shown(value)}; expected {leaf.expected}", hint)


@cache
def _adapter(schema: Any) -> TypeAdapter[Any]:
    return TypeAdapter(schema)


def _checked(schema: type[_T], plain: Mapping[str, Any], above: str = "") -> _T:
    try:
        checked: _T = _adapter(cast("Any", schema)).validate_python(plain)
    except ValidationError as error:
        raise _sentence(error, above) from None
    return checked


def _sentence(error: ValidationError, above: str) -> ConfigError:
    details = error.errors(include_url=False, include_context=False)
    detail = min(details, key=lambda d: is_duration(_place(d["loc"])[0], str(d["input"])))
    key, option = _place(detail["loc"])
    key = f"{above}{key}"
    leaf = leaf_of(key, option)
    if detail["type"] == "missing" or detail["type"] == "union_tag_not_found":
        return ConfigError(f"{key} is missing; expected {leaf.expected if leaf else 'a section with its keys'}")
    if leaf is None:
        return ConfigError(f"{key} is {shown(detail['input'])}; expected a section with its keys")
    return wrong_value(leaf, detail["input"])


def _place(loc: tuple[int | str, ...]) -> tuple[str, str | None]:
    """Return the key that pydantic's path leads to, and the option that the path names on its way."""
    parts = [str(part) for part in loc if part != OPTION]
    option = parts.pop(1) if len(parts) > 1 and parts[1] in sections().get(parts[0], {}) else None
    return ".".join(parts[:2]), option


def _keys_under(section: str) -> set[str]:
    return {f"{section}.{name}" for names in sections().get(section, {}).values() for name in names}


def _leaves_of(schema: Any, prefix: str, option: str | None) -> Iterator[Leaf]:
    hints = get_type_hints(schema, include_extras=True)
    for f in fields(schema):
        if f.name in NOT_CONFIGURED:
            continue
        key, hint = f"{prefix}{f.name}", hints[f.name]
        if variants := variants_of(hint):
            for option, variant in variants:
                yield from _leaves_of(variant, f"{key}.", option)
        elif not f.metadata.get("spread"):
            yield Leaf(key, _kind(hint), _expected(key, hint), option)


def variants_of(hint: Any) -> list[tuple[str | None, Any]]:
    """Return the dataclasses that a field may hold, each after its option's name; None where it is no option."""
    variants = _variants(hint)
    named = []
    for variant in variants:
        name = get_type_hints(variant).get("name")
        union = len(variants) > 1 or (get_origin(name) is Literal and len(get_args(name)) == 1)
        named.append((KEY if variant in TARGETS.values() else get_args(name)[0] if union else None, variant))
    return named


def _variants(hint: Any) -> list[Any]:
    """The dataclasses that a field may hold, nested unions laid flat."""
    bare = _bare(hint)
    if get_origin(bare) in (Union, UnionType):
        return [variant for part in get_args(bare) for variant in _variants(part)]
    return [bare] if is_dataclass(bare) else []


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _inner(hint: Any) -> tuple[Any, bool]:
    """Split `X | None` into X and whether None was there."""
    if get_origin(hint) in (Union, UnionType):
        parts = [t for t in get_args(hint) if t is not type(None)]
        return parts[0], len(parts) < len(get_args(hint))
    return hint, False


def _kind(hint: Any) -> Kind:
    bare = _bare(_inner(hint)[0])
    if get_origin(bare) is tuple:
        return "list"
    kinds: dict[Any, Kind] = {int: "int", float: "float", bool: "bool"}
    return kinds.get(bare, "text")


def _expected(key: str, hint: Any) -> str:
    if key in SAID:
        return SAID[key]
    inner, optional = _inner(hint)
    bare = _bare(inner)
    if key.endswith(f".{KEY}"):
        return "a class or function by its whole path, such as package.Class"
    if get_origin(bare) is Literal:
        text = _one_of(str(option) for option in get_args(bare))
    elif get_origin(bare) is tuple:
        text = f"a list of {_expected('', get_args(bare)[0]).replace('an integer', 'integers')}"
    else:
        words = {int: "an integer", float: "a number", bool: "true or false"}
        text = f"{words.get(bare, 'text')}{_bounds(inner)}"
    more = {(): "", EPOCH: ", or epochs such as 10ep"}.get(
        DURATIONS.get(key, ()), ", epochs (2ep) or a share of the run (5%)"
    )
    return f"{text}{' or null' if optional else ''}{more}"


def _bounds(hint: Any) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        f"{signs[name]} {_bound(getattr(rule, name))}"
        for meta in get_args(hint)[1:]
        for rule in getattr(meta, "metadata", [])
        for name in signs
        if getattr(rule, name, None) is not None
    ]
    return f" {' and '.join(limits)}" if limits else ""


def _bound(limit: float) -> str:
    power = int(limit).bit_length() - 1
    return f"2^{power}" if limit == 2**power > 2**53 else str(limit)


def _one_of(options: Iterable[str]) -> str:
    names = list(options)
    return f"one of {', '.join(names)}" if len(names) > 1 else names[0]
