"""The command `thalweg`: from here, Ctrl-C is one line, and then the command line takes over."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def main() -> int:
    """Run the command line; what it returns is the exit status."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is usual:
            signal.signal(number, _leave)  # importing takes half a second, in which nothing can be lost
    try:
        from thalweg.runner.cli import main as command_line
    except ModuleNotFoundError as error:
        if error.name != "thalweg.runner":
            raise
        print(f"thalweg: {NO_LINKS}", file=sys.stderr)  # noqa: T201
        return 2
    return command_line()


NO_LINKS = (
    "src/thalweg/runner is not a link to ../../runner: this checkout has no symbolic links; "
    "git config core.symlinks true, then git checkout -- src; or pip install . without -e"
)


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once: an exception raised inside an import may be swallowed there, or printed as a traceback."""
    import os

    os.write(2, b"interrupted\n")
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
