"""thalweg.yaml: what it may say, what its packages may be called, and which targets it lets in."""

import subprocess
import sys
from pathlib import Path

import pytest

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.cli.options import store_path
from thalweg.runner.config import Request, declare, groups
from thalweg.runner.project.project import TRUSTED, check_name, here

ROOT = Path(__file__).resolve().parents[3]

UNSAFE = [
    "os.system", "builtins.eval", "subprocess.Popen", "logging.os.system", "functools.partial", "torch.load",
    "torch.hub.load", "numpy.load", "joblib.load", "torch.utils.collect_env.run",
    "thalweg.runner.cli.main", "thalweg.optim.AdamW", "runner.cli.main", "torchx.nn.Linear", "torch.nnx.Linear",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "mit Leerzeichen und Ümläuten"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("THALWEG_STORE", raising=False)
    return folder


def write(folder, text):
    (folder / "thalweg.yaml").write_text(text, encoding="utf-8")


def refusal(folder, text):
    write(folder, text)
    with pytest.raises(ConfigError) as caught:
        here()
    return f"{caught.value.message} | {caught.value.hint}"


def test_without_the_file_nothing_is_picked_up(folder):
    (folder / "conf/model").mkdir(parents=True)
    (folder / "conf/model/mine.yaml").write_text("_target_: nets.Net")
    (folder / "nets.py").write_text("raise SystemExit")
    assert here() is None
    assert "mine" not in dict(groups()["model"])
    assert store_path(None) == Path("results/thalweg.sqlite")
    with pytest.raises(ConfigError, match=r"model._target_ is nets.Net; expected a model from"):
        declare(Request(("model=target", "model._target_=nets.Net")))


def test_the_file_names_configuration_code_store_and_study(folder):
    (folder / "conf/model").mkdir(parents=True)
    (folder / "conf/model/mine.yaml").write_text("_target_: nets.Net")
    write(folder, "{config: conf, code: nets, store: there/my.sqlite, study: first}")
    project = here()
    assert (project.code, project.study) == (("nets",), "first")
    assert "mine" in dict(groups()["model"])
    assert store_path(None) == Path("there/my.sqlite")
    assert store_path("given.sqlite") == Path("given.sqlite")
    assert declare(Request(("model=mine",))).base_config["model"]["_target_"] == "nets.Net"


def test_an_edited_file_is_read_again(folder):
    write(folder, "study: a")
    assert here().study == "a"
    write(folder, "study: longer")
    assert here().study == "longer"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cod: [nets]", "the key 'cod', which means nothing there | did you mean code?"),
        ("- a", "thalweg.yaml is list; expected keys"),
        ("store: 3", "store is 3; expected text"),
        ("config: nowhere", "config: nowhere, which is not a folder"),
        ("code: {a: 1}", "expected names of packages"),
        ("code: [nets.py]", "'nets.py'; expected the name of a package or module, without .py"),
        ("code: [../x]", "'../x'"),
        ("code: [os]", "code names os, which is not yours"),
        ("code: [torch]", "code names torch, which is not yours"),
        ("code: [thalweg]", "code names thalweg, which is not yours"),
        ("code: [", "thalweg.yaml cannot be read as YAML"),
        ("code: !!python/object/apply:os.system [ls]", "thalweg.yaml cannot be read as YAML"),
        ("a: &a [1]\nb: &b [*a, *a]", "the key 'a'"),
    ],
)
def test_what_the_file_cannot_say_is_refused_in_one_sentence(folder, text, said):
    sentence = refusal(folder, text)
    for part in said.split(" | "):
        assert part in sentence


@pytest.mark.parametrize("path", UNSAFE)
@pytest.mark.parametrize("role", TRUSTED)
def test_an_unsafe_target_is_refused_by_its_name(folder, path, role):
    write(folder, "code: [nets]")
    with pytest.raises(ConfigError, match="expected a"):
        check_name("model._target_", role, path, here())


@pytest.mark.long
@pytest.mark.parametrize("path", UNSAFE)
@pytest.mark.parametrize("key", ["model=target model._target_", "dataset=target dataset._target_", "task.loss"])
def test_an_unsafe_target_is_refused_before_anything_starts(folder, key, path):
    with pytest.raises(ConfigError, match=f"is {path}; expected a"):
        declare(Request((*f"{key}={path}".split(),)))


def test_an_unsafe_target_is_refused_as_a_value_of_an_axis(folder):
    with pytest.raises(ConfigError, match=r"os\.system"):
        declare(Request(("model=target", "model._target_=torch.nn.Linear,os.system")))


def test_a_near_miss_of_a_declared_package_is_named(folder):
    write(folder, "code: [nets]")
    with pytest.raises(ConfigError) as caught:
        declare(Request(("model=target", "model._target_=net.Small")))
    assert caught.value.hint == "did you mean nets.Small?"


def test_a_bare_name_of_our_folders_is_the_users_once_declared(folder):
    write(folder, "code: [nets]")
    with pytest.raises(ConfigError) as caught:
        check_name("model._target_", "model", "models.mlp.MLP", here())
    assert caught.value.hint == "thalweg.yaml declares your own: code: [nets, models]"
    write(folder, "code: [models]")
    check_name("model._target_", "model", "models.mlp.MLP", here())


def test_declared_code_is_importable_and_the_folder_is_not_on_the_path(folder):
    write(folder, "code: [declared]")
    (folder / "declared.py").write_text("from thalweg.models import MLP")
    (folder / "other.py").write_text("")
    script = (
        "import sys, os\nfrom thalweg.runner.project.project import here\nhere()\nimport declared\n"
        "assert os.getcwd() not in sys.path and '' not in sys.path\n"
        "try:\n    import other\nexcept ImportError:\n    print('right')"
    )
    command = [sys.executable, "-P", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT / "src")}, check=False)
    assert done.stdout == "right\n", done.stderr
