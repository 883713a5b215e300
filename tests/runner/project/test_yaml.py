"""YAML that somebody else wrote: bombs and object tags are refused at once, cheaply, and run nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config import Request, declare
from thalweg.runner.project.project import here
from thalweg.runner.project.yaml import load, refuse_bombs

ROOT = Path(__file__).resolve().parents[3]

LAUGHS = "\n".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60))])
BOMBS = {
    "doubled aliases": LAUGHS,
    "an alias inside itself": "a: &a [*a]",
    "merged maps": "\n".join(
        ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{l: *a{i - 1}, r: *a{i - 1}}}" for i in range(1, 60))]
    ),
    "depth of lists": "a: " + "[" * 10_000 + "]" * 10_000,
    "depth of maps": "a: " + "{b: " * 10_000 + "1" + "}" * 10_000,
    "depth of blocks": "\n".join(" " * i + "a:" for i in range(600)),
    "depth of dashes": "- " * 10_000 + "1",
    "a little too deep": "[" * 101 + "]" * 101,
    "depth through aliases": "\n".join(["a0: &a0 {b: 1}", *(f"a{i}: &a{i} {{b: *a{i - 1}}}" for i in range(1, 120))]),
    "size": "a: " + "x" * 300_000,
    "many keys": "\n".join(f"k{i}: {i}" for i in range(120_000)),
}
TAGS = [
    "!!python/object/apply:os.system [touch canary]",
    "!!python/name:os.system",
    "!!python/object/new:os.system [ls]",
]


@pytest.fixture(params=[None, 8_000], ids=["as it is", "raised"])
def _limit(request):
    """Python's own limit, which torch raises where it compiles: no refusal rests on it."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(request.param or before)
    yield
    sys.setrecursionlimit(before)


def test_a_file_may_be_a_hundred_levels_deep(tmp_path):
    file = tmp_path / "deep.yaml"
    file.write_text("[" * 100 + "]" * 100)
    refuse_bombs(file)


@pytest.mark.usefixtures("_limit")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused(tmp_path, name):
    file = tmp_path / "bomb.yaml"
    file.write_text(BOMBS[name])
    with pytest.raises(ConfigError, match=r"bomb\.yaml is too large or too deeply nested"):
        refuse_bombs(file)


def test_all_of_them_together_cost_seconds_and_little_memory(tmp_path):
    for name, text in BOMBS.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    script = (
        "import resource, sys\nfrom pathlib import Path\nfrom thalweg.runner.base.errors import ConfigError\n"
        "from thalweg.runner.project.yaml import refuse_bombs\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (9, 9))\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))\n"
        "for file in Path(sys.argv[1]).iterdir():\n    try:\n        refuse_bombs(file)\n"
        "    except ConfigError:\n        print('refused')"
    )
    command = [sys.executable, "-P", "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT / "src")}, check=False)
    assert done.stdout.split() == ["refused"] * len(BOMBS), done.stderr


@pytest.mark.parametrize("tag", TAGS)
def test_an_object_tag_runs_nothing(tmp_path, monkeypatch, tag):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/evil.yaml").write_text(f"name: {tag}")
    with pytest.raises(ConfigError):
        load(tmp_path / "conf/model/evil.yaml")
    with pytest.raises(ConfigError):
        declare(Request(("model=evil",), config_dir="conf"))
    (tmp_path / "thalweg.yaml").write_text(f"study: {tag}")
    with pytest.raises(ConfigError):
        here()
    assert not (tmp_path / "canary").exists()


def test_a_bomb_anywhere_in_a_configuration_folder_is_refused_before_composing(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/bomb.yaml").write_text(LAUGHS)
    with pytest.raises(ConfigError, match=r"bomb\.yaml"):
        declare(Request((), config_dir=str(tmp_path)))


def test_a_configuration_folder_that_cannot_be_read_is_not_taken_for_empty(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    scandir = __import__("os").scandir

    def deny(path):
        if Path(path) == tmp_path / "model":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", deny)
    with pytest.raises(ConfigError, match=r"model cannot be read: Permission denied"):
        declare(Request((), config_dir=str(tmp_path)))
