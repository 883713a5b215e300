"""Characters as tokens: files of the user's, or the running Python's standard library. Knows no model.

The files are put in an order drawn by split_seed and joined; the text is cut into windows of `context` characters, of
which the first validate, the next test, and those after train. What a character is followed by is its target.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.data.arrange import ORDER, order, with_noise
from thalweg.data.files import found, read_bytes, refuse_changed, stdlib_files
from thalweg.data.schema import StdlibConfig, TextConfig
from thalweg.data.splits import Split, Splits
from thalweg.data.walk import files_under
from thalweg.runner.base.errors import ConfigError

OTHERS = "\ufffd"
"""Stands for all characters whose token is 0."""


def stdlib(config: StdlibConfig) -> Splits:
    """Return the splits of the standard library's source text."""
    refuse_changed(config)
    root, files = stdlib_files()
    return _windows(files, config, f"the standard library in {root}")


def text(config: TextConfig) -> Splits:
    """Return the splits of the user's text."""
    refuse_changed(config)
    return _windows(files_under(found(config.path)), config, config.path)


def read_as(config: StdlibConfig | TextConfig, file: Path) -> tuple[NDArray[np.uint8 | np.int32], str]:
    """Return another text in the tokens of a dataset's, and the characters of these; U+FFFD is any of the others.

    Raises ConfigError for what is no text, and where the dataset's own has changed.
    """
    refuse_changed(config)
    files = files_under(found(config.path)) if isinstance(config, TextConfig) else stdlib_files()[1]
    frequent = _frequent(np.concatenate([_characters(each) for each in files]), config.characters)
    known = OTHERS + "".join(map(chr, frequent.tolist()))
    return _numbered(_characters(file), frequent, config.characters), known.ljust(config.characters, OTHERS)


def _windows(files: list[Path], config: StdlibConfig | TextConfig, where: str) -> Splits:
    tokens = _tokens(files, config)
    places = config.context
    windows = max(0, len(tokens) - 1) // places
    needed = config.train_size + config.validation_size + config.test_size
    if len(tokens) <= places:
        raise ConfigError(
            f"{where} has {len(tokens):,} characters, no window of dataset.context={places} and one to predict",
            "give it more text, or lower dataset.context",
        )
    if windows < needed:
        raise ConfigError(
            f"{where} has {windows:,} windows of {places} characters; dataset.train_size, validation_size and "
            f"test_size ask for {needed:,}",
            "lower one of them, or dataset.context",
        )
    x = tokens[: windows * places].reshape(windows, places)
    y = tokens[1 : windows * places + 1].reshape(windows, places)
    held = config.validation_size, config.validation_size + config.test_size
    train = slice(held[1], held[1] + config.train_size)
    y_train = y[train]
    if config.label_noise:  # of all that could train, so that a smaller training set is the beginning of a larger one
        trainable = y[held[1] :].ravel().astype(np.int64)
        noisy = with_noise(trainable, config.characters, config.label_noise, config.split_seed)
        y_train = noisy.astype(y.dtype).reshape(-1, places)[: config.train_size]
    return Splits(
        train=Split(x[train], y_train),
        validation=Split(x[: held[0]], y[: held[0]]),
        test=Split(x[held[0] : held[1]], y[held[0] : held[1]]),
        kind=config.kind,
        outputs=config.characters,
    )


def _tokens(files: list[Path], config: StdlibConfig | TextConfig) -> NDArray[np.uint8 | np.int32]:
    """The whole text in tokens."""
    read = [_characters(file) for file in files]
    placed = [read[place] for place in order(config.split_seed, ORDER, len(read))]
    codes = np.concatenate([np.empty(0, np.uint32), *placed])
    return _numbered(codes, _frequent(codes, config.characters), config.characters)


def _frequent(codes: NDArray[np.uint32], characters: int) -> NDArray[np.intp]:
    """The code points whose tokens are 1, 2, …: the most frequent ones, all but one of `characters` at most."""
    counts = np.bincount(codes, minlength=1)
    ranked = np.lexsort((np.arange(len(counts)), -counts))[: characters - 1]
    return ranked[counts[ranked] > 0]


def _numbered(codes: NDArray[np.uint32], frequent: NDArray[np.intp], characters: int) -> NDArray[np.uint8 | np.int32]:
    """Tokens of code points: 0 of all that are not frequent."""
    largest = max(int(each.max(initial=0)) for each in (codes, frequent))
    number = np.zeros(largest + 1, np.uint8 if characters <= 256 else np.int32)
    number[frequent] = np.arange(1, len(frequent) + 1)
    tokens: NDArray[Any] = number[codes]
    return tokens


def _characters(file: Path) -> NDArray[np.uint32]:
    """The code points of a file in UTF-8; bytes that are none become U+FFFD. Raises ConfigError for what is no text."""
    content = read_bytes(file).decode("utf-8", errors="replace")
    if "\0" in content:
        raise ConfigError(f"{file} is not text in UTF-8: it holds a NUL", "remove it, or save it as UTF-8")
    return np.frombuffer(content.encode("utf-32-le"), "<u4")
