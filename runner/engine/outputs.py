"""What a model returns, where that is not simply a tensor: its parts, which one is trained, and what to type for it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from torch import Tensor, nn

from thalweg.runner.base.errors import ConfigError

KEY = "model.output"


@dataclass(frozen=True)
class Pick:
    """A forward hook that puts one part in the place of what a module returns. A tensor stays: it has no parts.

    So a model may return a tensor in evaluation and several in training.
    """

    part: str | int

    def __call__(self, module: nn.Module, inputs: Any, outputs: Any) -> Any:
        if isinstance(outputs, Tensor):
            return outputs
        parts = parts_of(outputs)
        if isinstance(self.part, int) and -len(parts) <= self.part < len(parts):
            return list(parts.values())[self.part]
        if self.part in parts:
            return parts[self.part]
        close = difflib.get_close_matches(str(self.part), map(str, parts), n=1) or list(parts)[:1]
        hint = f"did you mean {KEY}={close[0]}?" if close else f"leave out {KEY}, and return a tensor"
        raise ConfigError(f"{KEY} is {self.part}, but the model returns {_described(outputs)}", hint)


def without_picks(module: nn.Module) -> nn.Module:
    """The module, made to return all that it does."""
    for key, hook in [*module._forward_hooks.items()]:
        if isinstance(hook, Pick):
            del module._forward_hooks[key]
    return module


def parts_of(outputs: Any) -> dict[str | int, Any]:
    """The parts of what a model returns, in order, by the words that pick them: names where they have such."""
    if isinstance(outputs, Mapping):
        return {str(name): value for name, value in outputs.items()}
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        return dict(zip(outputs._fields, outputs, strict=True))
    if isinstance(outputs, tuple | list):
        return dict(enumerate(outputs))
    if is_dataclass(outputs):
        return {each.name: getattr(outputs, each.name) for each in fields(outputs)}
    held = vars(outputs) if hasattr(outputs, "__dict__") else {}
    return {name: value for name, value in held.items() if isinstance(value, Tensor)}


def in_rows(outputs: Any, axes: tuple[int, ...]) -> Any:
    """Outputs `[B, *axes]` as the targets are held, a row an example; others as they are."""
    if axes and isinstance(outputs, Tensor) and tuple(outputs.shape[1:]) == axes:
        return outputs.flatten(1)
    return outputs


def refuse_unlike(outputs: Any, shape: tuple[int, ...], examples: str, axes: tuple[int, ...] = ()) -> None:
    """Raise ConfigError where outputs are not one tensor of this shape, with the part to pick if one is.

    axes: the shape of an example's outputs that does as well.
    """
    if isinstance(outputs, Tensor) and tuple(in_rows(outputs, axes).shape) == shape:
        return
    also = f" or {[shape[0], *axes]}" if axes else ""
    expected = f"expected one tensor of shape {list(shape)}{also}"
    if isinstance(outputs, Tensor):
        hint = f"build it for {shape[-1]} outputs: the classes, values or tokens of the dataset"
        if outputs.shape[-1:] == shape[-1:]:
            hint = "return a row for each example, and of a text one for each place"
        got = f"outputs of shape {list(outputs.shape)}"
        raise ConfigError(f"the model returns {got} for {examples}; {expected}", hint)
    raise ConfigError(
        f"the model returns {_described(outputs)} for {examples}; {expected}", _advice(outputs, shape, axes)
    )


def refuse_parts(outputs: Any) -> None:
    """Raise ConfigError where a model returns in training what is no tensor."""
    if not isinstance(outputs, Tensor):
        raise ConfigError(f"the model returns {_described(outputs)} in training; expected a tensor", _advice(outputs))


def _advice(outputs: Any, shape: tuple[int, ...] | None = None, axes: tuple[int, ...] = ()) -> str:
    parts = parts_of(outputs)
    tensors = {word: part for word, part in parts.items() if isinstance(part, Tensor)}
    fitting = [word for word, part in tensors.items() if shape is None or tuple(in_rows(part, axes).shape) == shape]
    if fitting:
        return f"pick one: {KEY}={fitting[0]}"
    if tensors:
        return f"{KEY}={next(iter(tensors))} picks a part, but none of them has this shape: build the model for it"
    return "return a tensor from its forward"


def _described(outputs: Any) -> str:
    parts = parts_of(outputs)
    listed = [f"{word} {_kind(part)}" for word, part in parts.items()]
    more = ["…"] if len(listed) > 8 else []
    what = f"a {type(outputs).__name__}" if outputs is not None else "nothing"
    return f"{what} of {', '.join(listed[:8] + more)}" if listed else what


def _kind(part: Any) -> str:
    return str(list(part.shape)) if isinstance(part, Tensor) else f"({type(part).__name__})"
