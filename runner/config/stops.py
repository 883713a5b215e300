"""`stop:` of a study: the rule that stops trials early, and what of it cannot be meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg.optim.duration import unit_of
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config.section import StudySection
from thalweg.runner.config.words import Word
from thalweg.runner.study.stop import Stop

EXAMPLE = "{rule: halving, rungs: [25%, 50%]}"
KEYS = ("rule", "rungs", "eta")
ETA = 2.0


def stop_of(section: StudySection) -> Stop | None:
    """Return a study's rule; None where it has none. Raises ConfigError for one that cannot be kept."""
    said = section.stop
    if said is None:
        return None
    if said.rule == "median" and said.eta is not None:
        text = f"study.stop.eta is {said.eta:g}, but median has none"
        raise ConfigError(text, "leave it out, or write rule: halving")
    rungs = tuple(map(_share, said.rungs))
    if not rungs or list(rungs) != sorted(set(rungs)):
        text = f"study.stop.rungs is {', '.join(said.rungs) or 'empty'}; expected ascending shares of a trial's steps"
        raise ConfigError(text, "e.g. rungs: [25%, 50%]")
    asked = section.analysis
    if asked and (asked.warmup or asked.sensitivity):
        kind = "warmup" if asked.warmup else "sensitivity"
        text = f"study.stop stops what trains badly, which is what the study's question of {kind} is about"
        raise ConfigError(text, "leave stop out, or ask of a study without it")
    if not section.metric.startswith("val/"):
        text = f"study.stop judges by study.metric, and {section.metric} is not measured while trials train"
        raise ConfigError(text, "judge by the validation split, as study.metric=val/loss does, or leave stop out")
    if any(block.sample and block.sample.method == "tpe" for block in section.grids):
        text = "study.stop compares all points of a sample, and tpe asks for its next points by results"
        raise ConfigError(text, "sample by random or sobol, or leave stop out")
    return Stop(said.rule, rungs, ETA if said.eta is None else said.eta)


def _share(text: str) -> float:
    try:
        share = float(text.strip().removesuffix("%")) / 100
    except ValueError:
        share = 0.0
    if unit_of(text.strip()) != "%" or not 0 < share < 1:
        text = f"study.stop.rungs has {text!r}; expected a share of a trial's steps, above 0% and below 100%"
        raise ConfigError(text, "e.g. rungs: [25%, 50%]")
    return share


def with_typed(plain: dict[str, Any], words: Mapping[str, Word]) -> dict[str, Any]:
    """Return the `study:` section with what was typed of its rule: `study.stop=null`, or some of its keys."""
    if not words:
        return plain
    if "" in words:
        if words[""].value is not None:
            raise ConfigError(f"{words[''].text} is not a rule; expected null", f"write 'study.stop={EXAMPLE}'")
        plain = {**plain, "stop": None}
    typed = {
        key: list(word.items or ()) if word.is_sweep else [word.value] if key == "rungs" else word.value
        for key, word in words.items()
        if key
    }
    if "rungs" in typed:
        typed["rungs"] = typed["rungs"][0] if isinstance(typed["rungs"][0], list) else typed["rungs"]
    return {**plain, "stop": {**(plain.get("stop") or {}), **typed}} if typed else plain
