"""Times this tool against what a person would write by hand, side by side in one run.

    scripts/bench                          every part
    scripts/bench steps optimizer          some: coupling, end-to-end, workers, steps, optimizer
    scripts/bench all --write              put the tables into docs/benchmarks.md
    scripts/bench all --smoke              a quick look at whether everything works; its times mean nothing

Each part prints its figures beside the goals. Run it on a quiet machine: about 25 minutes on two cores. Ray Tune is a
side of `end-to-end` where `ray.tune` can be imported, `pip install 'ray[tune]'` or a folder that has it on PYTHONPATH:
7 minutes more.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "src")]

from benchmarks.parts import PARTS, Effort, environment  # noqa: E402
from benchmarks.table import write  # noqa: E402


def main() -> None:
    """Measure the parts asked for and print, or write, their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["all"], help=f"all, or some of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, one round")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    unknown = set(options.parts) - {"all", *PARTS}
    if unknown or options.rounds < 1 or (options.smoke and options.write):
        parser.error(
            f"unknown part {unknown.pop()}" if unknown else "--rounds is at least 1, and --smoke never written"
        )
    names = list(PARTS) if "all" in options.parts else options.parts
    effort = Effort(rounds=1 if options.smoke else options.rounds, smoke=options.smoke)
    for name in names:
        print(f"{name}:", file=sys.stderr)
        began, measured_with = time.monotonic(), environment()
        text = PARTS[name](effort).text(measured_with)
        print(text)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        if options.write:  # at once: a later part that fails loses nothing
            write(ROOT / "docs" / "benchmarks.md", {name: text}, list(PARTS))


if __name__ == "__main__":
    main()
