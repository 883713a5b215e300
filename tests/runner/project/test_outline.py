"""A target that is certainly not there, or not called like this, is refused by `plan`: nothing is imported for it."""

import pytest

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config import Request, declare

SMALL = """\
raise AssertionError("imported")
from functools import partial
from .elsewhere import Other

class Net(Module):
    def __init__(self, inputs, outputs, width, *, depth=1):
        ...

class Open(Net):
    def __init__(self, width, **rest):
        ...

class Inherited(Net):
    pass

@decorated
class Decorated:
    def __init__(self, width):
        ...

def make(num_classes, size, act="relu"):
    ...

made = partial(Net, width=3)
"""


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets/__init__.py").write_text("from nets.small import Net")
    (tmp_path / "nets/small.py").write_text(SMALL)
    (tmp_path / "star.py").write_text("from nets.small import *")
    (tmp_path / "broken.py").write_text("class (")
    (tmp_path / "thalweg.yaml").write_text("code: [nets, star, broken, installed]")
    monkeypatch.chdir(tmp_path)


def plan(path, *words):
    declare(Request(("model=target", f"model._target_={path}", *words)))


@pytest.mark.long
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nets.small.Net", ["+model.width=3"]),
        ("nets.small.Net", ["+model.width=3", "+model.depth=1,2", "+model.outputs=2"]),
        ("nets.small.Open", ["+model.width=3", "+model.anything=3"]),
        ("nets.small.make", ["+model.size=3"]),
        ("nets.small.make", ["+model.size={_target_: nets.small.Net, _partial_: true}"]),
        ("nets.small.Inherited", ["+model.anything=3"]),  # not read: what it inherits may be anybody's
        ("nets.small.Decorated", []),
        ("nets.small.Other", []),
        ("nets.small.made", []),
        ("nets.Net", ["+model.anything=3"]),
        ("star.Whatever", []),
        ("broken.Net", []),
        ("installed.Net", []),
    ],
)
def test_what_may_be_right_is_left_to_who_imports_it(path, words):
    plan(path, *words)


@pytest.mark.parametrize(
    ("path", "words", "said"),
    [
        ("nets.small.Ned", [], "nets/small.py has no Ned | did you mean nets.small.Net?"),
        ("nets.small.nothing_like_it", [], "nets/small.py has no nothing_like_it"),
        (
            "nets.small.Net",
            [],
            "nets.small.Net needs the argument width, which model does not give | write model.width",
        ),
        ("nets.small.Net", ["+model.widht=3,4"], "model.widht is given | did you mean model.width?"),
        ("nets.small.Open", ["+model.anything=3"], "needs the argument width"),
        ("nets.small.make", ["+model.size=3", "+model.actt=tanh"], "did you mean model.act?"),
        ("nets.small.Net,nets.small.Ned", ["+model.width=3"], "has no Ned"),
        (
            "nets.small.Net",
            ["+model.widht=3", "+model.dept=3"],
            "model.widht is given, but nets.small.Net has no argument widht; model.dept is given | "
            "; nets.small.Net needs the argument width | did you mean model.width? did you mean model.depth? write",
        ),
        ("nets.small.Net", ["+model.width={_target_: nets.small.Ned}"], "model.width._target_ is nets.small.Ned, but"),
        (
            "nets.small.Net",
            ["+model.width=[{_target_: nets.small.make, sise: 3}]"],
            "model.width[0].sise is given | did you mean model.width[0].size?",
        ),
    ],
)
def test_what_is_certainly_wrong_is_one_sentence_with_file_key_and_fix(path, words, said):
    with pytest.raises(ConfigError) as caught:
        plan(path, *words)
    for part in said.split(" | "):
        assert part in f"{caught.value.message} | {caught.value.hint}"
