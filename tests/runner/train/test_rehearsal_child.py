"""The child that builds a plan's models: it is given its time, may end as it likes, and prints nothing."""

import subprocess
import sys
import time

import pytest

from thalweg.runner.config import Request, declare
from thalweg.runner.study.study import expand
from thalweg.runner.train.rehearsal import MODELS, rehearsed

NETS = """\
import os, sys, time
from torch import nn

class Net(nn.Linear):
    def __init__(self, inputs, outputs, how="well"):
        print("hello")
        print("hello", file=sys.stderr)
        os.write(1, b"hello")
        if how == "slow":
            time.sleep(1000)
        if how == "leaves":
            os._exit(7)
        super().__init__(inputs, outputs)
    def forward(self, x):
        return super().forward(x.flatten(1))
"""


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    (tmp_path / "childnets.py").write_text(NETS)
    (tmp_path / "thalweg.yaml").write_text("code: [childnets]")
    monkeypatch.chdir(tmp_path)


def trials(*words):
    members = expand(declare(Request(("model=target", "model._target_=childnets.Net", *words))).study)
    return [member.trial for member in members]


@pytest.mark.long
def test_every_different_model_is_looked_at_once_and_a_process_that_ends_is_said(capfd):
    remarks = rehearsed(trials("+model.how=well,leaves,well2", "optimizer.lr=0.1,0.2"), every=False)
    assert [remark.wrong for remark in remarks] == [False, True]
    assert remarks[1].text == "building it ends the process, with code 7"
    assert "hello" not in "".join(capfd.readouterr())


def test_a_model_that_takes_too_long_is_said_and_left():
    started = time.monotonic()
    (only,) = rehearsed(trials("+model.how=slow"), every=False, seconds=0.2)
    assert time.monotonic() - started < 10
    assert (only.wrong, only.text) == (False, "not looked at: building it took more than 0.2 s")


def test_our_own_models_are_looked_at_only_when_asked_and_not_more_than_some(monkeypatch):
    ours = [member.trial for member in expand(declare(Request(("model=mlp",))).study)]
    asked = []

    def heard(configs, seconds):
        asked.append(len(configs))
        return []

    monkeypatch.setattr("thalweg.runner.train.rehearsal._heard", heard)
    assert rehearsed(ours, every=False) == []
    assert asked == []
    rehearsed(ours, every=True)
    (last,) = rehearsed(trials(f"+model.how={','.join(f'h{n}' for n in range(MODELS + 3))}"), every=False)
    assert asked == [1, MODELS]
    assert (last.wrong, last.text) == (False, "and 3 more are not looked at")


def test_who_has_models_rehearsed_imports_no_torch():
    code = (
        "import sys, thalweg.runner.train.rehearsal, thalweg.runner.cli.verbs_train; assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
