"""Measures the published numbers anew, and writes them where they are published.

    scripts/publish                 # into results/published.sqlite: 6,144 training runs
    scripts/publish FILE.sqlite     # what that store has is not trained again

Between `<!-- published: NAME -->` and `<!-- /published -->` a page holds what a function here returns; README also
quotes a table as it is printed. What changed, `git diff` shows. Sentences beside the tables are read by a person.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from thalweg.runner import page
from thalweg.runner.analysis import Coupling, Warmup
from thalweg.runner.analysis.answers import Finding
from thalweg.runner.show.numbers import rate, short
from thalweg.runner.store import Store
from thalweg.runner.terminal.answer import show_answer
from thalweg.runner.view import StudyView

ROOT = Path(__file__).resolve().parents[1]
COUPLINGS = {"digits": "coupling", "signals": "coupling_mnist1d"}
"""The data's name in the table -> the study."""
QUOTED = re.compile(r"^panel +slope \[95%\].*?(?=\n(?:report: |```))", re.DOTALL | re.MULTILINE)
"""What README quotes of `show coupling`."""


def main() -> None:
    """Train what the store lacks, and write every table."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "results" / "published.sqlite"
    for study in (*COUPLINGS.values(), "warmup"):
        command = (sys.executable, "-P", "-m", "thalweg", "sweep", study, "--store", str(path), "tracker=none")
        subprocess.run(command, check=True)
    with Store.open(path) as store:
        views = {data: page.view(store, study) for data, study in COUPLINGS.items()}
        studies = ROOT / "docs" / "studies.md"
        put(studies, "coupling", coupling_table(views))
        put(studies, "warmup", warmup_table(page.view(store, "warmup").answers))
        readme = ROOT / "README.md"
        text = readme.read_text(encoding="utf-8")
        readme.write_text(QUOTED.sub(lambda _: printed(views["digits"]), text), encoding="utf-8")
    subprocess.run((sys.executable, "-P", str(ROOT / "scripts" / "picture.py"), str(path)), check=True)


def put(file: Path, name: str, table: str) -> None:
    """Write a table between its marks."""
    begin, end = f"<!-- published: {name} -->\n", "<!-- /published -->"
    before, found, rest = file.read_text(encoding="utf-8").partition(begin)
    if not found or end not in rest:
        raise SystemExit(f"{file.name} has no {begin.strip()} … {end}")
    file.write_text(f"{before}{begin}{table}{end}{rest.partition(end)[2]}", encoding="utf-8")


def coupling_table(views: dict[str, StudyView]) -> str:
    """Slope, interval and the rows that count, panel by panel, a column for each data."""
    found = {
        data: {each.panel: each for each in view.answers if isinstance(each, Coupling)} for data, view in views.items()
    }
    panels = list(next(iter(found.values())))
    return markdown(
        ["panel", *found], [[panel, *(_slope(of_data.get(panel)) for of_data in found.values())] for panel in panels]
    )


def _slope(found: Coupling | None) -> str:
    slope = found.slope if found else None
    if found is None or slope is None or slope.estimate is None:
        return "not identified"
    interval = "" if slope.low is None or slope.high is None else f" [{_two(slope.low)}, {_two(slope.high)}]"
    return f"{_two(slope.estimate)}{interval}, {len(found.kept)} of {len(found.rows)}"


def _two(value: float) -> str:
    """Two digits, and no -0.00."""
    return f"{round(value, 2) + 0.0:.2f}"


def warmup_table(answers: Sequence[object]) -> str:
    """What each length of warmup allows, a line for each panel and question."""
    found = [each for each in answers if isinstance(each, Warmup)]
    lengths = [short(level.warmup) for level in found[0].levels]
    rows = []
    for each in found:
        data = each.panel.partition(",")[0]
        rows += [
            [f"{data}: spike-free learning rate", *(_bound(level.spike_free) for level in each.levels)],
            [f"{data}: learning rate that trains", *(_bound(level.trainable) for level in each.levels)],
            [f"{data}: best training loss", *(_loss(level.best) for level in each.levels)],
        ]
    return markdown(["warmup", *lengths], rows)


def _bound(found: Finding) -> str:
    return "—" if found.estimate is None else f"{found.side}{rate(found.estimate)}"


def _loss(found: Finding) -> str:
    return "—" if found.estimate is None else short(found.estimate, 2)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [f"| {' | '.join(line)} |\n" for line in (head, *rows)]
    return "".join([lines[0], "|---" * len(head) + "|\n", *lines[1:]])


def printed(view: StudyView) -> str:
    """What `thalweg show` prints of a study from its table on, at 80 columns and without trailing blanks."""
    console = Console(file=io.StringIO(), width=80, markup=False, emoji=False, highlight=False)
    show_answer(console, view)
    assert isinstance(console.file, io.StringIO)
    text = "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())
    return text[text.index("panel  ") :]


if __name__ == "__main__":
    main()
