"""How a model is called with the inputs of a batch, and what its own loss is among what it returns. Knows no trial."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from thalweg.data.fields import Inputs
from thalweg.data.schema import MODELS_LOSS
from thalweg.models.extent import Extent
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.outputs import parts_of

LABELS = ("labels", "targets", "target", "y")
"""What a model that takes the loss itself may call the targets that it is given."""


def arguments(x: Inputs[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a model is called with: inputs that have names by their names, others by their places."""
    if isinstance(x, dict):
        return (), x
    return (x if isinstance(x, tuple) else (x,)), {}


def called_with(module: Callable[..., Any], x: Inputs[Any], labels: Mapping[str, Any] | None = None) -> Any:
    """What a module makes of inputs, and of targets under the name that it has for them."""
    places, names = arguments(x)
    return module(*places, **names, **(labels or {}))


def label_of(name: str, forward: Callable[..., Any]) -> str:
    """What a forward calls the targets. Raises ConfigError for one that takes none."""
    taken = _parameters(forward)
    found = next((label for label in LABELS if label in {each.name for each in taken}), None)
    if found is None and not any(each.kind is each.VAR_KEYWORD for each in taken):
        said = (
            f"task.loss is {MODELS_LOSS}, but the forward of {name} takes no {', '.join(LABELS[:-1])} or {LABELS[-1]}"
        )
        raise ConfigError(said, "name a function: task.loss=package.function")
    return found or LABELS[0]


def loss_in(outputs: Any) -> Tensor:
    """The loss among what a model returns: what is called so, or else the only single number."""
    parts = parts_of(outputs)
    single = [part for part in parts.values() if isinstance(part, Tensor) and part.dim() == 0]
    found = parts.get("loss", single[0] if len(single) == 1 else None)
    if not isinstance(found, Tensor) or found.dim():
        seen = f"which returns {', '.join(map(str, parts)) or type(outputs).__name__}"
        raise ConfigError(f"task.loss is {MODELS_LOSS}, but there is no loss, a single number, in a model {seen}")
    return found


def refuse_inputs(name: str, forward: Callable[..., Any], extent: Extent) -> None:
    """Raise ConfigError for a forward that must be given other inputs than an example has."""
    parameters = _parameters(forward)
    if not parameters:
        return
    if not extent.fields:
        _refuse_more(name, parameters)
    elif isinstance(extent.fields[0].name, str):
        _refuse_names(name, parameters, [str(field.name) for field in extent.fields])
    else:
        _refuse_places(name, parameters, extent)


def _parameters(forward: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return [*inspect.signature(forward).parameters.values()]
    except ValueError:  # written in C: whoever calls it finds out
        return []


def _needed(parameters: list[inspect.Parameter]) -> list[str]:
    anything = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in anything]


def _refuse_more(name: str, parameters: list[inspect.Parameter]) -> None:
    places = [each for each in parameters if each.kind not in (each.KEYWORD_ONLY, each.VAR_KEYWORD)]
    if not places:
        raise ConfigError(f"{name} takes no examples", "give it a forward(x)")
    needed = _needed(parameters)
    if more := [each for each in needed if each != places[0].name]:
        raise ConfigError(
            f"{name} is called with {', '.join(needed)}, but an example of a dataset is one tensor, {places[0].name}",
            f"give {', '.join(more)} a default in its forward, or let the dataset give several inputs: a dict as x",
        )


def _refuse_names(name: str, parameters: list[inspect.Parameter], given: list[str]) -> None:
    taken = [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    if not any(each.kind is each.VAR_KEYWORD for each in parameters):
        for unknown in [each for each in given if each not in taken]:
            close = difflib.get_close_matches(unknown, taken, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it takes {', '.join(taken) or 'no names'}"
            raise ConfigError(f"an example has {unknown}, which the forward of {name} does not take", hint)
    if lacking := [each for each in _needed(parameters) if each not in given]:
        seen = f"the forward of {name} needs {', '.join(lacking)}, and an example has {', '.join(given)}"
        raise ConfigError(seen, "let the dataset give it, or give it a default")


def _refuse_places(name: str, parameters: list[inspect.Parameter], extent: Extent) -> None:
    try:
        inspect.Signature(parameters).bind(*extent.fields)
    except TypeError as error:
        seen = f"an example has {len(extent.fields)} inputs, and the forward of {name} cannot be called so: {error}"
        raise ConfigError(seen, "name the inputs: let the dataset give a dict as x") from None
