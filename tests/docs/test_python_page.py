"""docs/python.md does what it says: its session runs, and prints what the page shows."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def shown(block, names):
    """Run a block as a notebook does, and return what it shows: what it prints, and its last expression."""
    tree = ast.parse(block)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) and "print(" not in block else None
    exec(compile(tree, "docs/python.md", "exec"), names)
    return None if last is None else repr(eval(compile(ast.Expression(last.value), "docs/python.md", "eval"), names))


@pytest.mark.long
def test_the_session_runs_and_shows_what_the_page_says(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCKS:
        said = re.findall(r"^# (.*)$", block, re.MULTILINE)
        value = shown(block, names)
        printed = capsys.readouterr().out.splitlines()
        if said:
            assert [*printed, *([value] if value is not None else [])] == said, block


@pytest.mark.long
def test_it_works_without_pandas_and_in_a_script_that_guards_nothing(tmp_path):
    """Worker processes are spawned: they must not run the script once more."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nsys.modules['pandas'] = None\nprint('began')\n"
        + "".join(BLOCKS[n] for n in (0, 1, 3, 4))
        + "print(thalweg.trials(store, 'rates')['outcome'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines() == ["began", str(["finished"] * 8)]
