"""Every error a user can meet, as one small tree.

Each carries one sentence (what was wrong, the value seen, what was expected) and optionally a hint (what to do
next). The command line prints both and leaves with the class's exit code; a traceback is shown only when asked
for. Divergence is an outcome of a trial, not an error, and does not appear here.

    ThalwegError            1  internal: something here is broken
    ├── ConfigError         2  a key, value, group, range or study that cannot mean anything; nothing was started
    ├── UsageError          2  a verb asked for something it does not do
    ├── SetupError          2  the environment cannot do what was asked (device, package)
    ├── StoreError          5  the store cannot be opened, read or written, or is not ours
    ├── UnverifiedError     3  what was asked for may not be what the stored results are of, and nobody can know here
    └── MismatchError       6  it is not what the stored results are of
"""

from __future__ import annotations

import re

ENFORCED = re.compile(r"\[enforce fail at [^]]*\]( err == 0\.)? ")
"""What torch puts before its sentence when a check in its C++ fails, as when memory runs out."""


class ThalwegError(Exception):
    """A failure with one sentence for the user, and what to do next."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class ConfigError(ThalwegError):
    """A key, value, group, range or study that cannot mean anything. Raised before anything starts."""

    exit_code = 2


class UsageError(ThalwegError):
    """A verb was asked for something it does not do."""

    exit_code = 2


class SetupError(ThalwegError):
    """The environment cannot do what was asked: a device, a package, a clash of names."""

    exit_code = 2


class StoreError(ThalwegError):
    """The store cannot be opened, read or written, or is not ours."""

    exit_code = 5


class UnverifiedError(ThalwegError):
    """What was asked for may not be what the stored results are of, and nobody can know here."""

    exit_code = 3


class MismatchError(ThalwegError):
    """What came out is not what the stored results are of."""

    exit_code = 6


def sentence_of(error: BaseException) -> str:
    """What an error says in one sentence: ours their own, others as something that is broken here."""
    if isinstance(error, ThalwegError):
        return error.message
    lines = str(error).strip().splitlines() or ["no message"]
    return f"internal: {type(error).__name__}: {lines[0]}"


def first_line(error: object) -> str:
    """The first line of what an error says that says something; the name of its type where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def last_line(text: str) -> str:
    """The last line of a traceback or message that says something, without the place in torch's own source."""
    lines = [line for line in text.splitlines() if line.strip()]
    return ENFORCED.sub("", lines[-1].strip()) if lines else "no message"
