"""Code of the user's: which files a trial is made by, and what becomes of trials that earlier ones trained."""

import subprocess

import pytest

from thalweg.runner.config import Request, declare
from thalweg.runner.facts.row import Row
from thalweg.runner.planning.revision import revised, superseded
from thalweg.runner.project.code import code_of, commit_of, recorded, revision_of, to_record
from thalweg.runner.study.study import expand

FILES = {
    "nets/__init__.py": "from .small import Net\nimport torch, json\n",
    "nets/small.py": "from . import layers\nfrom nets.deep.inner import x\nclass Net:\n    import points.extra\n",
    "nets/layers.py": "",
    "nets/deep/__init__.py": "",
    "nets/deep/inner.py": "from ..cousin import y\nx = 1",
    "nets/cousin.py": "y = 2",
    "nets/unused.py": "",
    "points/__init__.py": "",
    "points/extra.py": "import undeclared\nfrom undeclared import *",
    "undeclared.py": "",
    "losses.py": "def hinge(outputs, y): ...\nNet = hinge",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "thalweg.yaml").write_text("code: [nets, points, losses, installed]")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def members(*words):
    return expand(declare(Request(("model=target", "model._target_=nets.Net", "seed=0,1", *words))).study)


def code(*words):
    return code_of(members(*words)[0].trial.config)


def test_the_files_of_a_trial_are_those_its_target_imports_however_it_does():
    made = {"nets/__init__.py", "nets/small.py", "nets/layers.py", "nets/deep/__init__.py", "nets/deep/inner.py"}
    made |= {"nets/cousin.py", "points/__init__.py", "points/extra.py"}
    assert set(code()) == made
    assert set(code("model._target_=nets.small.Net")) == made
    assert set(code("task.loss=losses.hinge")) == made | {"losses.py"}


@pytest.mark.parametrize(
    "word",
    [
        "+model.config={_target_: points.extra.Config}",
        "+model.config={a: [{_target_: points.extra.Config.from_dict}]}",
        "+model.blocks=[{_target_: points.extra.Block}]",
    ],
)
def test_the_files_of_the_parts_of_a_model_are_among_them(word):
    assert set(code("model._target_=losses.Net", word)) == {"losses.py", "points/__init__.py", "points/extra.py"}


def test_trials_without_code_of_the_users_have_none(folder):
    (config,) = {m.trial.config for m in expand(declare(Request(("seed=0",))).study)}
    assert code_of(config) == {}
    (folder / "thalweg.yaml").unlink()
    assert code_of(config) == {}


def test_any_edit_of_an_imported_file_shows_and_no_other(folder):
    before = code()
    (folder / "nets/unused.py").write_text("changed = 1")
    assert code() == before
    (folder / "nets/cousin.py").write_text("y = 3")
    assert {name for name, digest in code().items() if digest != before[name]} == {"nets/cousin.py"}
    (folder / "nets/cousin.py").write_text("y = 2")
    assert code() == before


def test_a_file_that_cannot_be_parsed_still_has_a_fingerprint(folder):
    (folder / "nets/__init__.py").write_text("class (")
    assert set(code()) == {"nets/__init__.py"}


def test_code_comes_back_from_among_the_versions_it_was_recorded_with():
    assert recorded({"torch": "2.13", **to_record(code())}) == code()


# --- trials whose code has changed


def test_a_trial_of_earlier_code_is_said_and_stays_until_it_is_rerun(folder):
    declared, before = members(), code()
    (folder / "nets/cousin.py").write_text("y = 4")
    trained = {declared[0].trial.id: before}
    said = revised(declared, lambda ids: trained, lambda ids: ())
    assert (said.members, said.replaced) == (declared, ())
    assert said.changed == {("nets/cousin.py",): 1}
    rerun = revised(declared, lambda ids: trained, lambda ids: (), rerun=True)
    assert rerun.members[1] == declared[1]
    assert rerun.members[0].trial.config.revision == revision_of(code())
    assert rerun.members[0].trial.id != declared[0].trial.id
    assert rerun.members[0].axes == declared[0].axes
    assert (rerun.changed, rerun.replaced) == ({}, (declared[0].trial.id,))


def test_a_rerun_trial_stands_in_while_the_code_is_its_own_and_no_longer(folder):
    declared, before = members(), code()
    trained = {m.trial.id: before for m in declared}
    (folder / "nets/cousin.py").write_text("y = 4")
    anew = {m.trial.id for m in revised(declared, lambda ids: trained, lambda ids: (), rerun=True).members}
    later = revised(declared, lambda ids: trained, lambda ids: anew & set(ids))
    assert {m.trial.id for m in later.members} == anew
    assert later.changed == {}
    (folder / "nets/cousin.py").write_text("y = 2")
    back = revised(declared, lambda ids: trained, lambda ids: anew & set(ids))
    assert back.members == declared
    rows = [
        Row(trial_id=m.trial.id, block=m.block, axes=m.axes, outcome=None, diverged_step=None, metrics={}, config=plain)
        for m in later.members
        for plain in [declared_plain(m)]
    ]
    assert set(superseded(rows, declared, back.members)) == anew
    assert superseded(rows, declared, later.members) == ()


def declared_plain(member):
    import json

    return json.loads(member.trial.config_json)


def test_trials_of_which_no_code_is_known_are_left_alone():
    declared = members()
    assert revised(declared, lambda ids: {}, lambda ids: ()).members == declared


def test_the_commit_is_recorded_and_is_no_code_that_is_compared(tmp_path):
    assert commit_of(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "a.py").write_text("1\n")
    for words in (["init", "-q"], ["add", "a.py"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    commit_of.cache_clear()
    found = commit_of(tmp_path)
    assert found is not None
    assert head.startswith(found)
    (tmp_path / "a.py").write_text("2\n")
    commit_of.cache_clear()
    assert commit_of(tmp_path) == f"{found}-dirty"
    assert recorded({"git": found, "torch": "2", "code a.py": "0f"}) == {"a.py": "0f"}
