"""The command `thalweg`: its verbs, and the border where every error becomes a sentence and an exit code.

| how a verb ends                  | exit code |
|----------------------------------|-----------|
| it returns a code, or nothing    | that, or 0 |
| trials failed, or work is left   | 3: `sweep`, `refine`, `run`; `plan --exit-code` |
| trials cannot be verified here   | 3: `replay`, `audit`, `weights` |
| a trial did not come out again   | 6: `replay`, `audit`, `weights` |
| all is trained, but its answer, report or export failed | 4: what is stored is whole |
| a ThalwegError                   | its own: 2 usage or configuration, 5 store, 1 internal |
| anything else                    | 1 |
| Ctrl-C                           | 130 |
| SIGTERM                          | 143 |
| its terminal is closed (SIGHUP)  | 129 |
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import termios
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer
from typer.core import TyperGroup

from thalweg.runner.base.errors import ThalwegError, sentence_of
from thalweg.runner.base.signals import ASKING
from thalweg.runner.base.version import __version__
from thalweg.runner.cli import (
    verbs_about,
    verbs_analyze,
    verbs_check,
    verbs_cluster,
    verbs_decide,
    verbs_keep,
    verbs_model,
    verbs_read,
    verbs_report,
    verbs_store,
    verbs_tables,
    verbs_train,
)
from thalweg.runner.cli.options import take_info
from thalweg.runner.cli.output import say

INTERNAL, USAGE, INTERRUPTED = 1, 2, 130
PLANS = "thalweg plan says what would be trained, and trains nothing; refine asks before it trains"
UNWRITABLE = (errno.ENOSPC, errno.EBADF, errno.EIO, errno.EFBIG)

GREETING = """\
thalweg trains whole hyperparameter grids as one program, and says what they mean.

  thalweg sweep smoke       a first study: seconds
  thalweg sweep coupling    does doubling the learning rate call for half the weight decay?
  thalweg config            what there is to configure
  thalweg --help            all verbs"""


class _Verbs(TyperGroup):
    """Leaves it to `_guarded` to say that a verb was interrupted: Typer makes a bare exit code of it."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Abort from None


app = typer.Typer(
    name="thalweg",
    cls=_Verbs,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: thalweg sweep coupling",
)
for verbs in (
    verbs_train,
    verbs_read,
    verbs_analyze,
    verbs_report,
    verbs_decide,
    verbs_check,
    verbs_model,
    verbs_tables,
    verbs_store,
    verbs_keep,
    verbs_cluster,
    verbs_about,
):
    verbs.register(app)


@app.callback(invoke_without_command=True)
def _greet(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Declare which trials should exist; thalweg trains the missing ones and says what the results mean."""
    if version:
        print(f"thalweg {__version__}")  # noqa: T201
    elif context.invoked_subcommand is None:
        print(GREETING)  # noqa: T201


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit code. Nothing is raised, nothing is printed twice.

    What a signal interrupts may swallow it or stumble over it: whatever the command then ends with, it was
    interrupted. A second signal ends the process there and then, but for a closed terminal's, which come in numbers.
    """
    signals: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        if number == signal.SIGHUP:
            _drop_closed_streams()
        if len(signals) == 1:
            raise KeyboardInterrupt
        if number != signal.SIGHUP:
            _end_now(number)

    _prepare_streams()
    before = {number: signal.signal(number, interrupt) for number in _wanted_signals()}
    try:
        code = _guarded(list(sys.argv[1:] if arguments is None else arguments), signals)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 + signals[0] if signals and code == INTERRUPTED else code


def _wanted_signals() -> list[int]:
    """Those to handle: only the main thread may, and what `nohup` or a shell's `&` ignores stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [number for number in ASKING if signal.getsignal(number) is not signal.SIG_IGN]


def _drop_closed_streams() -> None:
    """Let what is said go nowhere where the terminal is gone: writing to it would end what is tidied up."""
    for standard in (1, 2):
        try:
            termios.tcgetattr(standard)
        except termios.error as error:
            if error.args[0] == errno.EIO:
                os.dup2(os.open(os.devnull, os.O_WRONLY), standard)


def _end_now(number: int) -> None:
    """Leave without tidying up: the store is whole at any moment, and workers end with their driver."""
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h")  # the cursor, which a progress bar hides
    os._exit(128 + number)


def _guarded(arguments: list[str], signals: Sequence[int] = ()) -> int:
    try:
        code = app(args=take_info(arguments), prog_name="thalweg", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):  # a sweep that is interrupted returns, and has said more
        say("interrupted")
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # the reader, `head` say, has what it wanted; Typer and rich exit then
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return INTERRUPTED if signals else 0
    except Exception as error:  # recorded: printed with the way to its traceback
        if signals:
            say("interrupted")
            return INTERRUPTED
        return _failed(error)
    return INTERRUPTED if signals else code if isinstance(code, int) else 0


def _failed(error: Exception) -> int:
    if isinstance(error, ThalwegError):
        return _fail(error.message, error.hint, error.exit_code, error)
    if isinstance(error, OSError) and error.filename is None and error.errno in UNWRITABLE:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the flush at exit fails again
        return _fail(f"standard output cannot be written: {error.strerror}", None, INTERNAL, error)
    return _unexpected(error)


def _unexpected(error: Exception) -> int:
    wrong_usage = getattr(error, "format_message", None)  # what Typer raises for options and verbs it does not know
    if wrong_usage is not None:
        verb = getattr(getattr(error, "ctx", None), "command_path", "thalweg")
        said = wrong_usage()
        hint = PLANS if said.startswith("No such option: --dry-run") else f"see: {verb} --help"
        return _fail(said, hint, USAGE, error)
    return _fail(sentence_of(error), "THALWEG_TRACEBACK=1 shows the traceback; please report it", INTERNAL, error)


def _fail(message: str, hint: str | None, code: int, error: BaseException) -> int:
    if os.environ.get("THALWEG_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    say(f"error: {message}")
    if hint:
        say(f"hint: {hint}")
    return code


def _prepare_streams() -> None:
    """Never fail on a character that the terminal's encoding lacks, nor on a stream that was closed (`>&-`).

    Something must be open as 0, 1 and 2, or the next files, the store among them, would get those numbers.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
