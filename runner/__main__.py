"""The command `thalweg`: makes sure that our packages are ours, then hands over to the command line."""

from __future__ import annotations

import sys

from runner import place
from runner.errors import SetupError


def main() -> int:
    """Run the command line; what it returns is the exit status."""
    try:
        place.check()
    except SetupError as error:
        print(f"thalweg: {error.message}; {error.hint}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    from runner.cli import main as command_line

    return command_line()


if __name__ == "__main__":
    sys.exit(main())
