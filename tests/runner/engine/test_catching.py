"""Which functions go on where torch raises, read from the bytecode of the Python that runs the tests."""

from __future__ import annotations

import builtins
import itertools
import random
import textwrap
from contextlib import nullcontext

import pytest
import torch
from torch.linalg import LinAlgError

from thalweg.runner.engine.catching import Handling

LONG = "\n".join(f"    a.b{i} = a.c{i}(x, {i}) + a.d * a.e[{i}]" for i in range(60))
"""A handler whose end is more than 256 words of code away."""
GO_ON = {
    "by its name": "try:\n    f()\nexcept RuntimeError:\n    pass",
    "by its parent's": "try:\n    f()\nexcept Exception as error:\n    x = str(error)",
    "by another name": "try:\n    f()\nexcept NotPositive:\n    pass",
    "by a module's": "try:\n    f()\nexcept torch.linalg.LinAlgError:\n    pass",
    "a row that is not there": "try:\n    f()\nexcept LookupError:\n    pass",
    "one of two": "try:\n    f()\nexcept (KeyError, RuntimeError):\n    pass",
    "the first of many": "try:\n    f()\nexcept (RuntimeError, A, A, A, A, A, A, A, A):\n    pass",
    "a tuple with a name": "try:\n    f()\nexcept SOME:\n    pass",
    "tuples in tuples": "try:\n    f()\nexcept (A, SOME):\n    pass",
    "what an argument says": "try:\n    f()\nexcept x:\n    pass",
    "what a function says": "try:\n    f()\nexcept a(KeyError):\n    pass",
    "what a place says": "try:\n    f()\nexcept SOME[0]:\n    pass",
    "the second of two": "try:\n    f()\nexcept (RuntimeError if x else KeyError):\n    pass",
    "the first of two": "try:\n    f()\nexcept (KeyError if x else RuntimeError):\n    pass",
    "a name of nothing": "try:\n    f()\nexcept Nothing:\n    pass",
    "all": "try:\n    f()\nexcept:\n    pass",
    "of a group": "try:\n    f()\nexcept* RuntimeError:\n    pass",
    "leaving a finally": "try:\n    f()\nfinally:\n    return 3",
    "leaving a finally by a loop": "while x:\n    try:\n        f()\n    finally:\n        break",
    "after another": "try:\n    f()\nexcept KeyError:\n    pass\nexcept RuntimeError:\n    pass",
    "after a long one": f"try:\n    f()\nexcept KeyError:\n{LONG}\nexcept RuntimeError:\n    pass",
    "at times": "try:\n    f()\nexcept RuntimeError as error:\n    if x:\n        raise\n    return None",
    "after a loop": "try:\n    f()\nexcept RuntimeError:\n    for each in x:\n        a(each)",
    "after a comprehension": "try:\n    f()\nexcept RuntimeError:\n    x = [a(each) for each in x if each]",
    "in a comprehension": "try:\n    x = [f(each) for each in x]\nexcept RuntimeError:\n    x = []",
    "in a loop": "for each in x:\n    try:\n        f()\n    except RuntimeError:\n        continue",
    "within another's": "try:\n    a()\nexcept A:\n    try:\n        f()\n    except RuntimeError:\n        pass",
    "around a finally": "try:\n    try:\n        f()\n    finally:\n        a()\nexcept RuntimeError:\n    pass",
    "by a case": "try:\n    f()\nexcept RuntimeError as error:\n    match error.args:\n        case [str()]:\n"
    "            raise\n        case {'a': 1}:\n            pass",
    "in a generator": "try:\n    yield f()\nexcept RuntimeError:\n    pass",
}
DO_NOT = {
    "another": "try:\n    f()\nexcept ValueError:\n    pass",
    "others": "try:\n    f()\nexcept (KeyError, TypeError, A, A, A, A, A, A):\n    pass",
    "another of a module": "try:\n    f()\nexcept torch.OutOfMemoryError:\n    pass",
    "another by a name": "try:\n    f()\nexcept OTHERS:\n    pass",
    "in other words": "try:\n    f()\nexcept Exception as error:\n    raise KeyError(f'{error} {x!r}') from error",
    "in one of some": "try:\n    f()\nexcept Exception:\n    if x and a or f is None:\n        raise\n    raise A",
    "again": "try:\n    f()\nexcept:\n    raise",
    "again after a comprehension": "try:\n    f()\nexcept:\n    x = {a: [b for b in a] for a in x}\n    raise",
    "again after a loop": "try:\n    f()\nexcept Exception:\n    while x:\n        a()\n    raise",
    "again after another": "try:\n    f()\nexcept:\n    try:\n        a()\n    except A:\n        pass\n    raise",
    "again within a with": "try:\n    f()\nexcept Exception:\n    with a:\n        raise",
    "again after a with": "try:\n    f()\nexcept Exception:\n    with a:\n        pass\n    raise KeyError",
    "again by each case": "try:\n    f()\nexcept Exception as error:\n    match error.args:\n        case [1, x]:\n"
    "            raise\n        case _:\n            raise KeyError",
    "a finally": "try:\n    f()\nfinally:\n    a()",
    "a with": "with a as b, f(b):\n    return f()",
    "another's long handler": f"try:\n    f()\nexcept ValueError:\n{LONG}\nexcept KeyError:\n    pass",
    "a comprehension": "x = {a(b): [c for c in b] for b in x}\nreturn x",
    "in a function within": "def inner():\n    try:\n        f()\n    except RuntimeError:\n        pass\nreturn inner",
    "a generator's finally": "try:\n    yield from f()\nfinally:\n    yield a()",
    "a generator": "x = yield f()\nyield from x",
}
SCOPE = {
    "torch": torch,
    "NotPositive": LinAlgError,
    "SOME": (KeyError, (RuntimeError,)),
    "OTHERS": (KeyError, (ValueError,)),
    "A": KeyError,
}


def made(body, arguments="x=None, a=None, f=None", **scope):
    scope = {**SCOPE, **scope}
    exec(f"def made({arguments}):\n{textwrap.indent(body, '    ')}", scope)
    return scope["made"]


def judged(function):
    return Handling.of(function.__code__, {**vars(builtins), **function.__globals__})


@pytest.mark.parametrize("way", GO_ON)
def test_a_function_that_goes_on_where_torch_raises_is_known_by_its_code(way):
    assert judged(made(GO_ON[way])).stops


@pytest.mark.parametrize("way", DO_NOT)
def test_a_function_that_only_raises_is_not_held_to_go_on(way):
    assert not judged(made(DO_NOT[way])).stops


@pytest.mark.parametrize(
    ("body", "may"),
    [
        ("return kind is RuntimeError", True),
        ("return True", True),
        ("x.close()\nreturn x.leave(kind)", True),
        ("return x or None", True),
        ("if x:\n    return 1\nreturn None", True),
        ("x.close()", False),
        ("return False", False),
        ("if x:\n    return None\nreturn False", False),
        ("try:\n    x.close()\nfinally:\n    x = None", False),
    ],
)
def test_what_leaves_a_with_is_known_to_swallow_errors_or_not(body, may):
    assert Handling.by(made(body, "x, kind=None")).stops == may


SIMPLE = ("f()", "f()", "g()", "raise", "raise KeyError", "raise A", "return g()", "x = [g() for _ in 'ab' if c()]")
NAMES = ("RuntimeError", "KeyError", "A", "(A, KeyError)", "Exception as e", "")
FORMS = (
    "if c():\n{0}\nelse:\n{1}",
    "while c():\n{0}\n    break",
    "with nullcontext():\n{0}",
    "try:\n{0}\nexcept {name}:\n{1}",
    "try:\n{0}\nexcept {name}:\n{1}",
    "try:\n{0}\nexcept A:\n{1}\nexcept {name}:\n{2}",
    "try:\n{0}\nexcept {name}:\n{1}\nelse:\n{2}\nfinally:\n{3}",
    "try:\n{0}\nfinally:\n{1}",
    "for _ in 'ab':\n    try:\n    {0}\n    finally:\n        break",
)


def block(draw, depth):
    """Some lines of Python, indented, in which `f` raises and `c` says which way to go."""
    lines = []
    for _ in range(draw.choice((1, 1, 2))):
        form = draw.choice(FORMS if depth and draw.random() < 0.8 else SIMPLE)
        inner = [block(draw, depth - 1) if f"{{{place}}}" in form else "" for place in range(4)]
        if "for _" in form:
            inner[0] = textwrap.indent(inner[0], "    ").removeprefix("    ")
        lines.append(form.format(*inner, name=draw.choice(NAMES)))
    return textwrap.indent("\n".join(lines), "    ")


@pytest.mark.parametrize("seed", range(2))
def test_no_function_goes_on_where_torch_raises_that_is_not_known_to(seed):
    """Whatever is nested in what: each is run along the 16 ways through its conditions."""
    draw, went_on = random.Random(seed), 0
    raised: list[bool] = []
    asked: list[bool] = []

    def f():
        raised.append(True)
        raise RuntimeError

    for _ in range(300):
        body = textwrap.dedent(block(draw, 3))
        function = made(body, "", f=f, g=bool, c=asked.pop, A=ValueError, nullcontext=nullcontext)
        does = judged(function)
        known = does.stops or (does.turns and does.others)
        for bits in itertools.product((False, True), repeat=4):
            asked[:] = bits * 8
            raised.clear()
            try:
                function()
            except Exception:
                continue
            went_on += bool(raised)
            assert known or not raised, body
    assert went_on > 150
