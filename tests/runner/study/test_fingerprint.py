"""Which arguments of a `_target_` name files, and a fingerprint of these that depends on nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.study import fingerprint as module
from thalweg.runner.study.fingerprint import fingerprint, fingerprint_before, forget, named_by, words_taken


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("data/a.csv", "train/x", "word", "more.txt", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    forget()
    return tmp_path


FILES = ["data/a.csv", "data/", "./word", "more.txt", "data"]
WORDS = ["train", "word", "data", "", ".", "..", "nothing", "no/such.file", "v1.0", "a\0b", "x" * 5000, "~"]


@pytest.mark.parametrize("text", FILES[:4])
@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: (text,), lambda text: (1, (text, "relu"))])
def test_a_text_with_a_separator_or_a_suffix_names_what_is_there(text: str, wrap) -> None:
    assert named_by((), {"path": wrap(text)}) == (text,)


@pytest.mark.parametrize("text", WORDS)
def test_a_bare_word_names_nothing_whatever_lies_in_the_current_folder(text: str) -> None:
    assert named_by((), {"split": text}) == ()


def test_an_id_does_not_depend_on_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = {"path": str(tmp_path / "data/a.csv"), "split": "train", "mode": "word"}
    one = fingerprint(named_by((), arguments))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert fingerprint(named_by((), arguments)) == one


def test_a_key_among_files_makes_its_argument_a_file(tmp_path: Path) -> None:
    assert named_by(("split", "more.txt"), {"split": "train"}) == ("train", "more.txt")
    assert named_by(("word",), {"word": "train"}) == ("train", "word")  # both an argument and there
    with pytest.raises(ConfigError, match=r"dataset\.files names 'gone'; nothing is there"):
        named_by(("split",), {"split": "gone"})


def test_a_word_that_might_be_a_path_is_told() -> None:
    arguments = {"split": "train", "path": "data/a.csv", "other": "nothing", "root": ("data", 3)}
    assert words_taken((), arguments) == (("split", "train"), ("root", "data"))
    assert words_taken(("root",), arguments) == (("split", "train"),)
    assert words_taken(("train", "data"), arguments) == ()


def test_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert named_by((), {"path": "~/more.txt"}) == ("~/more.txt",)
    assert fingerprint(("~/more.txt",)) == fingerprint((str(tmp_path / "more.txt"),))


def test_names_count_from_what_was_named_and_contents_by_bytes(tmp_path: Path) -> None:
    one = fingerprint(("data/",))
    assert fingerprint((str(tmp_path / "data"),)) == fingerprint(("./data",)) == one
    os.rename("data", "moved")
    assert fingerprint(("moved",)) == one
    os.rename("moved/a.csv", "moved/b.csv")
    forget()
    renamed = fingerprint(("moved",))
    (tmp_path / "moved/b.csv").write_text("other")
    forget()
    assert len({one, renamed, fingerprint(("moved",))}) == 3


def test_which_path_holds_what_is_told_apart(tmp_path: Path) -> None:
    assert fingerprint(("data", "train")) != fingerprint(("train", "data"))
    assert fingerprint(()) is None


def test_what_a_link_leads_to_counts(tmp_path: Path) -> None:
    (tmp_path / "data/linked").symlink_to(tmp_path / "train")
    before = fingerprint(("data",))
    (tmp_path / "train/x").write_text("other")
    forget()
    assert fingerprint(("data",)) != before


def test_a_folder_is_walked_once_until_a_study_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    walks = []
    walked = module.walked

    def counted(root):
        walks.append(root)
        return walked(root)

    monkeypatch.setattr(module, "walked", counted)
    assert len({fingerprint(("data",)) for _ in range(100)}) == len(walks) == 1
    forget()
    fingerprint(("data",))
    assert len(walks) == 2


def of_version_0_1_0(*paths: str) -> str:
    """The fingerprint as it was computed then."""
    import hashlib

    made = hashlib.sha256(b"thalweg.files.v1")
    for path in sorted(set(paths)):
        inside = (
            sorted(file for file in Path(path).rglob("*") if file.is_file()) if Path(path).is_dir() else [Path(path)]
        )
        for file in inside:
            made.update(f"\n{file.as_posix()}\n{hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    return made.hexdigest()[:16]


def test_the_fingerprint_of_before_is_known() -> None:
    arguments = {"path": "data/a.csv", "split": "train", "n": 3}
    assert fingerprint_before(("more.txt",), arguments) == of_version_0_1_0("data/a.csv", "train", "more.txt")
    assert fingerprint_before((), {"n": 3}) is None


def test_the_fingerprint_of_before_is_unknown_where_it_saw_less_than_there_is(tmp_path: Path) -> None:
    (tmp_path / "data/linked").symlink_to(tmp_path / "train")
    assert fingerprint_before((), {"path": "data/"}) is None


def test_a_word_whose_folder_cannot_be_walked_is_nobodys_business(tmp_path: Path) -> None:
    (tmp_path / "train/gone").symlink_to(tmp_path / "nowhere")
    arguments = {"path": "data/a.csv", "split": "train"}
    assert fingerprint(named_by((), arguments)) is not None
    assert fingerprint_before((), arguments) is None
