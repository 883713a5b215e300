"""From what was typed after a verb to the study it declares.

Hydra is imported when a configuration is composed, not before: listing groups or importing this module costs
nothing. What the words mean is in `words`, how they compose in `compose`, what a study declares in `section` and
`blocks`; which keys exist, and of what type, in `thalweg.runner.study.keys`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any

from thalweg.data.schema import MEASURES, UNNAMED_LOSSES
from thalweg.models.extent import FILLED
from thalweg.runner.base.canonical import as_dict, canonical_json, tagged_hash
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config.blocks import Overrides, build
from thalweg.runner.config.compose import Composer, Composition, check_folders, options
from thalweg.runner.config.section import read_section
from thalweg.runner.config.stops import with_typed
from thalweg.runner.config.values import check_option, read_number
from thalweg.runner.config.words import ZIP_EXAMPLE, Word, flattened, override_text, parse_word
from thalweg.runner.project.outline import refuse_wrong
from thalweg.runner.project.project import Project, Role, check_name, here
from thalweg.runner.project.yaml import first_comment
from thalweg.runner.study.groups import in_groups
from thalweg.runner.study.keys import (
    flatten,
    is_setting,
    leaf_of,
    sections,
    settings_of,
    trial_config,
    unknown_key,
)
from thalweg.runner.study.settings import Settings
from thalweg.runner.study.study import Axis, Base, Block, Study, grids, updates_at
from thalweg.runner.study.target import KEY, SECTIONS, given_arguments, is_target, may_be_argument, targets_in

NAME = re.compile(r"(?![-.])[A-Za-z0-9_.-]{1,64}")
"""What a study may be called."""
_NAME_EXPECTED = "up to 64 of A-Z a-z 0-9 _ . - and neither - nor . in front"

TAKEN = {"batch_loss", *(name for usual in MEASURES.values() for name in usual)}
"""Names of what is measured in any case, at the end and in training."""
ROLES: dict[str, Role] = {"model._target_": "model", "dataset._target_": "dataset", "task.loss": "loss"}
"""The keys that name a class or function of the user's."""

_EXCLUDE = "study.exclude="
_STUDY_KEYS = ("name", "question", "metric", "direction")


@dataclass(frozen=True)
class Request:
    """What follows the verb: Hydra's override grammar, a bare word being a study; and the flags of folders."""

    words: tuple[str, ...]
    config_dir: str | None = None
    config_name: str | None = None

    @property
    def places(self) -> list[str]:
        """The flags of folders, as they are typed."""
        flags = {"--config-dir": self.config_dir, "--config-name": self.config_name}
        return [word for flag, value in flags.items() if value is not None for word in (flag, value)]


@dataclass(frozen=True)
class Declaration:
    """A study, and how to run it."""

    study: Study
    settings: Settings

    @property
    def base_config(self) -> dict[str, Any]:
        """The plain configuration of the first block at its defaults."""
        return self.study.blocks[0].bases[0].at({})


@dataclass
class _Typed:
    """The words of a request, sorted by what they are about."""

    study: str | None = None
    about: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, Word] = field(default_factory=dict)
    values: dict[str, Word] = field(default_factory=dict)
    axes: dict[str, Word] = field(default_factory=dict)
    zips: dict[str, Word] = field(default_factory=dict)
    sample: dict[str, Any] = field(default_factory=dict)
    stop: dict[str, Word] = field(default_factory=dict)
    exclude: str | None = None

    @property
    def choice_texts(self) -> list[str]:
        study = [f"study={self.study}"] if self.study else []
        return study + [word.text for word in self.choices.values()]


def declare(request: Request) -> Declaration:
    """Return what a request declares. Raises ConfigError for what cannot mean anything; nothing is started."""
    project, places = here(), request.places
    request = _located(request, project)
    groups = _groups(request)
    words, study_name = _words(request, groups)
    with Composer(request.config_dir, request.config_name) as composer:
        typed, plain = _typed(words, study_name, groups, composer)
        about = {key: value for key, value in typed.about.items() if key != "name"}
        section = read_section({**with_typed(_sampling(plain, typed.sample), typed.stop), **about})
        made: list[Composition] = []

        def compose(choices: Sequence[str], values: Sequence[str]) -> tuple[Base, Mapping[str, Any]]:
            made.append(composer.compose([*_Typed(study=study_name).choice_texts, *choices], values))
            return made[-1].base(), made[-1].unresolved

        overrides = Overrides(typed.choices, typed.values, typed.axes, typed.zips, typed.exclude)
        study = build(study_name or "", section, groups, overrides, compose)
        settings = settings_of(made[0].resolved)
        _check_names(study, settings, project)
        added = any(not is_setting(key) for key in overrides.keys) or typed.sample or overrides.exclude is not None
        changed = study_name is None or bool(added)
        named = replace(study, name=_name(typed, study), overridden=changed)
        return Declaration(replace(named, document=_document(named, request, places)), settings)


def groups(config_dir: str | None = None) -> dict[str, list[tuple[str, str]]]:
    """Return group -> (option, the first comment line of its file), without importing Hydra."""
    config_dir = _located(Request((), config_dir), here()).config_dir
    check_folders(config_dir, None)
    return {
        group: [(option, first_comment(file)) for option, file in sorted(found.items())]
        for group, found in options(config_dir).items()
    }


def job(request: Request, resolve: bool = False) -> str:
    """Return the composed configuration as YAML, without the sweeps of a request (Hydra's --cfg job)."""
    from omegaconf import OmegaConf

    found = _composed(request)
    tree = {**(found.resolved if resolve else found.unresolved), "study": found.study}
    return OmegaConf.to_yaml(OmegaConf.create(tree))


def info(request: Request) -> str:
    """Return where configuration is looked for and which option of each group was chosen (Hydra's --info)."""
    request = _located(request, here())
    found = _composed(request)
    lines = ["Search path:", *(f"  {source}" for source in found.sources)]
    lines += ["Chosen:", *(f"  {group}: {option}" for group, option in sorted(found.choices.items()))]
    lines += ["Options:", *(f"  {group}: {', '.join(found)}" for group, found in _groups(request).items())]
    return "\n".join(lines) + "\n"


def _composed(request: Request) -> Composition:
    declare(request)  # refuses what is wrong, with its own sentences
    request = _located(request, here())
    found = _groups(request)
    words, study_name = _words(request, found)
    with Composer(request.config_dir, request.config_name) as composer:
        typed, _ = _typed(words, study_name, found, composer)
        return composer.compose(typed.choice_texts, [word.text for word in typed.values.values()])


def _located(request: Request, project: Project | None) -> Request:
    """The request with the project's configuration folder, unless it names one."""
    if project is None or project.config is None or request.config_dir is not None:
        return request
    return replace(request, config_dir=str(project.folder / project.config))


def _check_names(study: Study, settings: Settings, project: Project | None) -> None:
    """Refuse a target from a package that nobody declared. What is left is imported by the worker, not here."""
    names = [metric.rpartition(".")[2] for metric in settings.evaluation.metrics]
    for metric, name in zip(settings.evaluation.metrics, names, strict=True):
        check_name("evaluation.metrics", "metric", metric, project)
        if names.count(name) > 1 or name in TAKEN or name in settings.evaluation.scalars:
            raise ConfigError(f"evaluation.metrics has {metric}, but {name} is measured already", "rename it")
    for block in study.blocks:
        swept = {axis.key: axis.values for axis in block.axes}
        composed = [dict(flatten(base.at({}))) for base in block.bases]
        for key, role in ROLES.items():
            for path in swept.get(key) or dict.fromkeys(config[key] for config in composed if key in config):
                if key != "task.loss" or path not in UNNAMED_LOSSES:
                    check_name(key, role, str(path), project)
        for base in block.bases:
            for key, path, _ in _parts(base.at({})["model"]):
                for named in swept.get(key, (path,)):
                    check_name(key, "part", str(named), project)
        if project is not None:
            _refuse_wrong_calls(block, project)


def _parts(model: Mapping[str, Any]) -> Iterator[tuple[str, str, tuple[str, ...] | None]]:
    """The targets within the arguments of a model that is one."""
    for name, value in model.items() if is_target(model) else ():
        yield from targets_in(f"model.{name}", value)


def _refuse_wrong_calls(block: Block, project: Project) -> None:
    """Refuse a target of the project's whose source says that it is not there, or takes other arguments."""
    swept = {axis.key: axis.values for axis in block.axes}
    for base, section in product(block.bases, SECTIONS):
        plain, key = base.at({})[section], f"{section}.{KEY}"
        if is_target(plain):
            filled = FILLED if section == "model" else ()
            for path in swept.get(key, (plain[KEY],)):
                refuse_wrong(key, str(path), given_arguments(section, plain), filled, project)
            for key, path, given in _parts(plain) if section == "model" else ():
                if given is not None:
                    for named in swept.get(key, (path,)):
                        refuse_wrong(key, str(named), given, FILLED, project)


def _groups(request: Request) -> dict[str, list[str]]:
    check_folders(request.config_dir, request.config_name)
    return {group: sorted(found) for group, found in options(request.config_dir).items()}


def _words(request: Request, groups: Mapping[str, list[str]]) -> tuple[list[Word], str | None]:
    """Split a request into its overrides and the name of its study file."""
    words: list[Word] = []
    studies: list[str] = []
    for text in request.words:
        if text in ("-m", "--multirun"):
            continue
        if text.startswith(_EXCLUDE):
            words.append(Word(text, "", "study.exclude", value=_unquoted(text.removeprefix(_EXCLUDE))))
        elif re.match(r"[~+=]|[^=]*=", text):
            word = parse_word(text)
            if word.key == "study" and word.prefix in ("", "+", "++") and not isinstance(word.value, dict):
                if word.is_sweep:
                    raise ConfigError(f"{text} names several studies", "name one study at a time")
                studies += [str(word.value)] if word.value not in (None, "") else []
            else:
                words += flattened(word)
        else:
            studies.append(text)
    if len(studies) > 1:
        raise ConfigError(
            f"two studies are named, {studies[0]!r} and {studies[1]!r}", "name one; overrides are key=value"
        )
    for study in studies:
        if not NAME.fullmatch(study):
            raise ConfigError(f"{study[:80]!r} cannot name a study; expected {_NAME_EXPECTED}")
        check_option("study", study, groups)
    return words, studies[0] if studies else None


def _unquoted(text: str) -> str:
    """A condition as it is meant where it was put in quotes, past a shell or Hydra's grammar."""
    quoted = re.fullmatch(r"""\s*(?:'([^']*)'|"([^"]*)")\s*""", text)
    return next(part for part in quoted.groups() if part is not None) if quoted else text


def _typed(
    words: Sequence[Word], study: str | None, groups: Mapping[str, list[str]], composer: Composer
) -> tuple[_Typed, dict[str, Any]]:
    """Sort the words, and return the plain `study:` section beside them; its vars are keys too."""
    typed = _Typed(study)
    if study is None:
        _sort(words, typed, groups, ())
        return typed, composer.compose(typed.choice_texts).study
    plain = composer.compose(typed.choice_texts).study
    declared = plain.get("vars")
    _sort(words, typed, groups, [str(name) for name in declared] if isinstance(declared, list) else [])
    return typed, plain


def _sort(words: Sequence[Word], typed: _Typed, groups: Mapping[str, list[str]], free: Sequence[str]) -> None:
    """Check each word, and file it under what it is about; the last one of a key counts."""
    for word in words:
        earlier = [known.pop(word.key, None) for known in (typed.choices, typed.values, typed.axes)]
        if word.prefix == "" and any(each and each.prefix == "+" for each in earlier):
            word = replace(word, prefix="+", text=f"+{word.text}")  # what is added is still to be added
        if word.zipped:
            typed.zips[_zip_name(word, [*groups, *free])] = word
        elif word.key.startswith("study.sample."):
            typed.sample[word.key.removeprefix("study.sample.")] = (
                word.value if not word.is_sweep else list(word.items or ())
            )
        elif word.key == "study.stop" or word.key.startswith("study.stop."):
            typed.stop[word.key.removeprefix("study.stop").lstrip(".")] = word
        elif word.key == "study.exclude":
            typed.exclude = str(word.value)
        elif word.key.split(".")[0] == "study":
            typed.about.update(_about(word))
        elif word.key in groups or "/" in word.key or word.package is not None:
            _sort_choice(word, typed, groups)
        elif word.key in free:
            items = word.items if word.items is not None else () if word.value in ("", []) else (word.value,)
            typed.axes[word.key] = replace(word, items=items)
        else:
            _sort_value(word, typed, [*groups, *free])


def _sampling(plain: dict[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """The `study:` section with what was typed of its samples: of the blocks that have one, or of all if none has."""

    def over(said: Any) -> Any:
        return {**said, "sample": {**(said.get("sample") or {}), **typed}}

    blocks = plain.get("blocks")
    if not typed or not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        return over(plain) if typed else plain
    some = any(block.get("sample") for block in blocks)
    return {**plain, "blocks": [over(block) if block.get("sample") or not some else block for block in blocks]}


def _zip_name(word: Word, names: Sequence[str]) -> str:
    if not word.key.isidentifier() or word.key in names or leaf_of(word.key) or word.key in sections():
        tail = word.typed if len(word.typed) < 60 else ZIP_EXAMPLE
        expected = "expected a new name of letters, digits and _"
        raise ConfigError(f"{word.key} cannot name a zip; {expected}", f"write both={tail}")
    return word.key


def _about(word: Word) -> dict[str, Any]:
    name = word.key.partition(".")[2]
    if name not in _STUDY_KEYS or word.is_sweep or word.prefix == "~":
        keys = ", ".join((*_STUDY_KEYS, "exclude", "sample.n", "stop"))
        hint = f"override the axes by their own keys; of the study itself: {keys}"
        raise ConfigError(f"{word.text} cannot be set on the command line", hint)
    as_typed = name in ("name", "question") and not isinstance(word.value, str | None)
    return {name: word.typed.strip() if as_typed else word.value}


def _sort_choice(word: Word, typed: _Typed, groups: Mapping[str, list[str]]) -> None:
    if word.key not in groups:
        raise unknown_key(word.key, groups, word.text.partition("=")[2])
    if word.prefix == "~" or word.package is not None:
        typed.choices[word.key] = word
    elif word.is_sweep:
        if is_setting(word.key):
            raise ConfigError(f"{word.text} gives several values to a setting", f"choose one {word.key}")
        typed.axes[word.key] = word
    else:
        if word.value is not None:
            check_option(word.key, word.value, groups)
        typed.choices[word.key] = word


def _sort_value(word: Word, typed: _Typed, names: Sequence[str]) -> None:
    leaf = leaf_of(word.key)
    section = word.key.split(".")[0]
    if leaf is None and not (word.prefix == "~" and (section in sections() or in_groups(word.key))):
        raise unknown_key(word.key, names, word.text.partition("=")[2])
    if leaf and word.key.endswith(".name") and not in_groups(word.key):
        raise ConfigError(f"{word.key} is set by its group", f"write {section}=OPTION")
    if leaf is None or word.prefix == "~":
        typed.values[word.key] = word
        return
    word = read_number(word)
    if is_setting(word.key) and leaf.kind == "list" and word.items is not None:
        word = replace(
            word, items=None, value=list(word.items), text=override_text(word.prefix, word.key, list(word.items))
        )
    if not word.is_sweep:
        typed.values[word.key] = word
    elif is_setting(word.key):
        raise ConfigError(f"{word.text} gives several values to a setting", f"give {word.key} one value")
    elif word.prefix == "+" and not may_be_argument(word.key):
        raise ConfigError(f"{word.key} is already there", f"write {word.text[1:]}")
    else:
        typed.axes[word.key] = word


def _name(typed: _Typed, study: Study) -> str:
    given = typed.about.get("name")
    if typed.study is not None:
        if given is not None:
            raise ConfigError(
                f"study.name={given} cannot rename {typed.study}", "it names a sweep without a study file"
            )
        return typed.study
    if given is None:
        return f"adhoc-{tagged_hash('thalweg.adhoc.v1', [_content(block) for block in study.blocks])[:6]}"
    return as_study_name(str(given))


def as_study_name(name: str) -> str:
    """Return a study's name. Raises ConfigError for one that no study can have."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"study.name is {name[:80]!r}; expected {_NAME_EXPECTED}")
    return name


def _content(block: Block) -> dict[str, Any]:
    """Return what a block without a file declares, whatever the order of words and values."""
    axes = {
        axis.key: sorted(axis.values, key=lambda v: (v is None, isinstance(v, str), 0 if v is None else v))
        for axis in (*block.group_axes, *block.axes)
    }
    first = {axis.key: axes[axis.key][0] for axis in block.axes}
    at = [(base, first) for base in block.bases]
    cut: dict[str, Any] = {}
    if block.bundles or block.exclude:
        at = [(base, cell) for base, cells in grids(block) if (cell := next(cells, None)) is not None]
        points = [dict(zip(each.keys, point, strict=True)) for each in block.bundles for point in each.points]
        cut = {"points": sorted(map(canonical_json, points)), "exclude": block.exclude}
    trials = [as_dict(trial_config(base.at(updates_at(block, base, point)[0]))) for base, point in at]
    return {"axes": axes, "trials": sorted(canonical_json(trial) for trial in trials), **cut}


def _document(study: Study, request: Request, places: Sequence[str]) -> dict[str, Any]:
    return {
        "question": study.question,
        "hypothesis": study.hypothesis,
        "metric": study.metric,
        "direction": study.direction,
        "replicate": study.replicate,
        "vars": list(study.vars),
        "blocks": [_described(block) for block in study.blocks],
        "analysis": {analysis.kind: analysis.keys for analysis in study.analyses} or None,
        "overrides": list(request.words),
        "places": list(places),
        **({"stop": asdict(study.stop)} if study.stop else {}),
    }


def _described(block: Block) -> dict[str, Any]:
    def axes(of: Sequence[Axis]) -> list[dict[str, Any]]:
        return [{"key": axis.key, "text": axis.text, "values": list(axis.values)} for axis in of]

    return {
        "name": block.name,
        "choices": [dict(base.choices) for base in block.bases],
        "group_axes": axes(block.group_axes),
        "axes": axes(block.axes),
        "zip": {each.name: list(each.keys) for each in block.bundles},
        "sample": block.sample and asdict(block.sample),
        "exclude": block.exclude,
        "derive": dict(block.derive),
        "expect": block.expect and {"slope": block.expect.slope, "tolerance": block.expect.tolerance},
    }
