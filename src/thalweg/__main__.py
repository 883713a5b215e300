"""The command `thalweg`: from here, Ctrl-C is one line, and then the command line takes over."""

from __future__ import annotations

import gc
import signal
import sys

TYPE_CHECKING = False  # as in typing, which takes 10 ms to import: no signal is ours in that time
if TYPE_CHECKING:
    from types import FrameType


def main() -> int:
    """Run the command line; what it returns is the exit status."""
    gc.set_threshold(50_000, 50, 50)  # looking for garbage, which rows are not, took a quarter of 20,000 trials' sweep
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is usual:
            signal.signal(number, _leave)  # importing takes half a second, in which nothing can be lost
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))  # held back by scripts/thalweg
    try:
        from thalweg.runner.cli import main as command_line
    except ModuleNotFoundError as error:
        if error.name not in {f"thalweg.{name}" for name in FOLDERS}:
            raise
        print(f"thalweg: {no_link(error.name.partition('.')[2])}", file=sys.stderr)  # noqa: T201
        return 2
    return command_line()


FOLDERS = ("conf", "data", "models", "optim", "runner")


def no_link(name: str) -> str:
    """What is wrong where src/thalweg/ does not lead to one of our folders, and what to do."""
    return (
        f"src/thalweg/{name} is not a link to ../../{name}: git wrote no symbolic links here, or an archive held none; "
        "in a clone: git config core.symlinks true, then: git checkout -- src; elsewhere: pip install ."
    )


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once: an exception raised inside an import may be swallowed there, or printed as a traceback."""
    import os

    os.write(2, b"interrupted\n")
    os._exit(128 + number)


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder, in which only what a project declares may be found
    sys.exit(main())
