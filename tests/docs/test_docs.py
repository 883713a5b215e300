"""The documents say what is true now: commands parse, examples work, references are fresh, links lead somewhere."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest

from thalweg.runner.config import Request, declare
from thalweg.runner.study.study import expand

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def registered() -> list[str]:
    """Every verb that the program has."""
    from thalweg.runner.cli.app import app

    return [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]


TAKES_VALUE = ("--config-dir", "--config-name", "--store", "--moves", "--panel", "--log", "--shard", "--init-from")


OF_THE_TUTORIAL = re.findall(r"`conf/study/(\w+)\.yaml`", (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8"))
"""Its own studies: tests/acceptance/test_tutorial.py follows it."""


def commands() -> list[tuple[str, str]]:
    """(page, command) for each thalweg command shown in a console block or in backticks."""
    shown = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = re.findall(r"^\$ (?:scripts/)?(thalweg [^#\n]*)", text, re.MULTILINE)
        lines += re.findall(r"`(?:scripts/)?(thalweg [^`]+)`", text)
        shown += [(page.name, line.strip()) for line in lines]
    return shown


def words_of(command: str) -> list[str]:
    words, rest = [], shlex.split(command)[2:]
    while rest:
        word = rest.pop(0)
        if word in TAKES_VALUE:
            rest.pop(0)
        elif not word.startswith("--"):
            words.append(word)
    return words


@pytest.mark.long
@pytest.mark.parametrize(("page", "command"), commands())
def test_every_command_in_the_documents_can_be_typed(
    page: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "body.safetensors").write_bytes(b"weights that a study of docs/model.md starts from")
    verb = shlex.split(command)[1]
    assert verb in (*registered(), "--help", "VERB"), command
    words = words_of(command)
    if verb in ("plan", "sweep", "run") and not {"STUDY", "VERB", *OF_THE_TUTORIAL} & set(words):
        folder = example(tmp_path) if "--config-dir" in command else None
        assert declare(Request(tuple(words), folder)).study.size > 0


def example(tmp_path: Path) -> str:
    """The studies of docs/study.md and docs/model.md, saved where the pages say."""
    (tmp_path / "my" / "study").mkdir(parents=True)
    for page in ("study.md", "model.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        ((name, study),) = re.findall(r"[Ss]ave this as `my/(study/\w+\.yaml)`.*?```yaml\n(.*?)```", text, re.DOTALL)
        (tmp_path / "my" / name).write_text(study, encoding="utf-8")
    return str(tmp_path / "my")


def test_the_study_in_ten_lines_works(tmp_path: Path) -> None:
    declaration = declare(Request(("depth",), example(tmp_path)))
    assert declaration.study.question
    assert len(expand(declaration.study)) == 4 * 4 * 3


def test_the_other_examples_of_the_study_page_are_whole(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    for number, block in enumerate(re.findall(r"```yaml\n(study:.*?)```", text, re.DOTALL)):
        file = tmp_path / "study" / f"number{number}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"# @package _global_\n{block}", encoding="utf-8")
        assert expand(declare(Request((f"number{number}",), str(tmp_path))).study)


def test_the_configuration_reference_is_fresh() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "config_page.py"))["page"]()
    assert (ROOT / "docs" / "config.md").read_text(encoding="utf-8") == made, "run scripts/reference"


def test_every_verb_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [verb for verb in registered() if f"thalweg {verb}" not in readme] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", text).strip().lower().replace(" ", "-") for text in headings]


def test_the_version_stands_in_one_place() -> None:
    from thalweg.runner.base.version import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert __version__ not in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def names_of_ours() -> list[tuple[str, str]]:
    """(page, path or dotted name) for what the documents call ours: `runner/store`, `thalweg.optim`, imports."""
    shown = []
    for page in PAGES:
        if page.name == "CHANGELOG.md":  # it names what was
            continue
        text = page.read_text(encoding="utf-8")
        paths = re.findall(r"`((?:runner|optim|models|data|scripts|src|tests)/[\w/.]*)`", text)
        dotted = re.findall(r"\bthalweg\.(?:runner|optim|models|data|conf)\b(?:\.[a-z_]\w*)*", text)
        bare = re.findall(r"^\s*(?:from|import) ((?:runner|optim|models|data|conf)\b[\w.]*)", text, re.MULTILINE)
        shown += [(page.name, name) for name in dict.fromkeys([*paths, *dotted, *bare]) if "NAME" not in name]
    return shown


@pytest.mark.parametrize(("page", "name"), names_of_ours())
def test_what_the_documents_name_is_there(page: str, name: str) -> None:
    path = ROOT / name if "/" in name else ROOT / "src" / name.replace(".", "/")
    assert path.exists() or path.with_suffix(".py").exists()
