"""The command `thalweg`: makes sure that our packages are ours, then hands over to the command line."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def main() -> int:
    """Run the command line; what it returns is the exit status."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is usual:
            signal.signal(number, _leave)  # importing takes half a second, in which nothing can be lost
    from runner import place
    from runner.errors import SetupError

    try:
        place.check()
    except SetupError as error:
        print(f"thalweg: {error.message}; {error.hint}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    from runner.cli import main as command_line

    return command_line()


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once: an exception raised inside an import may be swallowed there, or printed as a traceback."""
    import os

    os.write(2, b"interrupted\n")
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
