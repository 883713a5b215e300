"""A step's gradient from its batch in parts, one after another: their mean. Knows no way of taking a part's gradient.

Of a mean over examples it is the whole batch's gradient, with a part held at a time. BatchNorm's statistics move once a
part. Shapes: K trials, P parameters of a trial, B examples of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from thalweg.data.fields import fields, remade
from thalweg.runner.engine.inputs import Feed
from thalweg.runner.engine.state import State
from thalweg.runner.engine.step import Gradient
from thalweg.runner.engine.streams import stream_key


def accumulated(gradient: Gradient, parts: int, shared: bool) -> Gradient:
    """The gradient that takes a batch in so many equal parts. shared: whether all lanes see one batch, `[B, …]`.

    That of a module of its own takes them itself.
    """
    if parts == 1:
        return gradient

    def mean(state: State, feed: Feed) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        first, *others = parts_of(feed, parts, shared)
        losses, grad_KP, buffers = gradient(state, first)
        losses = losses.clone()
        for part in others:
            more, more_KP, buffers = gradient(replace(state, buffers=buffers), part)
            losses += more
            grad_KP += more_KP
        return losses.div_(parts), grad_KP.div_(parts), buffers

    return mean


def parts_of(feed: Feed, parts: int, shared: bool) -> Iterator[Feed]:
    """What each part of a step is fed; the first draws the random numbers that the whole would."""
    if parts == 1:
        yield feed
        return
    (x, y), dim = feed.batch, 0 if shared else 1
    chunks = {name: each.chunk(parts, dim) for name, each in fields(x).items()}
    for number, targets in enumerate(y.chunk(parts, dim)):
        key = feed.key if feed.key is None or number == 0 else stream_key(feed.key, "part", number)
        inputs = remade(x, {name: each[number] for name, each in chunks.items()})
        yield replace(feed, batch=(inputs, targets), key=key)
