"""Files that are no files: a pipe, a device or a link to one is refused at once, wherever one may be named."""

import os

import pytest

from thalweg.runner.base.errors import ThalwegError
from thalweg.runner.base.regular import open_regular
from thalweg.runner.config import Request, declare, groups
from thalweg.runner.project.project import here
from thalweg.runner.store import Store


def linked_pipe(path):
    os.mkfifo(f"{path}.pipe")
    path.symlink_to(f"{path}.pipe")


KINDS = {
    "pipe": (os.mkfifo, "a named pipe"),
    "link to a pipe": (linked_pipe, "a named pipe"),
    "link to zeros": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "link to a terminal": (lambda path: path.symlink_to("/dev/tty"), "device"),
    "link to nothing": (lambda path: path.symlink_to("/nowhere/at/all"), "No such file"),
    "folder": (lambda path: path.mkdir(), "a folder"),
}


@pytest.fixture(params=KINDS)
def made(request):
    make, said = KINDS[request.param]
    return make, said


def refused(said, action):
    with pytest.raises(ThalwegError) as raised:
        action()
    assert said in raised.value.message
    assert raised.value.exit_code in (2, 5)


@pytest.mark.parametrize("kind", ["pipe", "link to zeros"])
@pytest.mark.parametrize("name", ["study/x.yaml", "model/x.yaml", "config.yaml", "deep/er/x.yaml"])
def test_a_configuration_file_is_a_file(tmp_path, kind, name):
    make, said = KINDS[kind]
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    make(tmp_path / name)
    refused(said, lambda: declare(Request((), str(tmp_path))))
    refused(said, lambda: groups(str(tmp_path)))


def test_the_file_of_a_project_is_a_file(tmp_path, monkeypatch, made):
    make, said = made
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "thalweg.yaml")
    if said != "device":  # a machine without a terminal says so in words of its own
        refused(said, here)


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "link to zeros", "folder"])
def test_a_store_is_a_file(tmp_path, kind):
    make, said = KINDS[kind]
    make(tmp_path / "store.sqlite")
    refused(said, lambda: Store.open_if_present(tmp_path / "store.sqlite"))
    refused(said, lambda: Store.open(tmp_path / "store.sqlite", "write"))


def test_a_store_is_not_written_to_a_device():
    refused("a device", lambda: Store.open("/dev/null", "write"))
    refused("a device", lambda: Store.open_if_present("/dev/null"))


def test_a_folder_that_was_removed_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    refused("the current folder was removed", here)
    refused("the current folder was removed", lambda: declare(Request(())))


def test_a_file_is_opened_as_ever(tmp_path):
    (tmp_path / "a").write_bytes(b"ab")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with open_regular(tmp_path / "b") as file:
        assert file.read() == b"ab"
