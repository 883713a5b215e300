"""The rooms are as their maps say: every room has one, and it names each module that lives there and no other."""

import ast
import re
from pathlib import Path

import pytest

RUNNER = Path(__file__).resolve().parents[2] / "runner"
ROOMS = sorted(path.parent for path in RUNNER.glob("*/__init__.py"))


def named(init):
    """The left column of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8")), clean=False) or ""
    columns = re.findall(r"^ *(\w[\w, ]*?)  +\S", docstring, re.MULTILINE)
    return [name for column in columns for name in column.split(", ")]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_rooms_map_names_what_lives_there(room):
    modules = {path.stem for path in room.glob("*.py")} - {"__init__"}
    assert sorted(named(room / "__init__.py")) == sorted(modules)


def test_the_runners_map_names_the_page_and_its_rooms_and_nothing_lies_loose():
    assert sorted(named(RUNNER / "__init__.py")) == sorted(["page", *(room.name for room in ROOMS)])
    assert sorted(path.name for path in RUNNER.glob("*.py")) == ["__init__.py", "page.py"]
