"""A user's class or function: what may be imported and called, how it is called, and what its mistakes look like."""

import sys
from typing import Any

import numpy as np
import pytest
import torch

from thalweg.data.splits import Splits
from thalweg.models.extent import Extent
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.own import own_data, own_model, own_splits
from thalweg.runner.engine.user import resolved
from thalweg.runner.study.target import DatasetTarget, ModelTarget

IMAGES = Extent((3, 32, 32), 10)
ROWS = Extent((4,), 3)

NETS = """\
import functools, os, random, subprocess
import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset
from torch.hub import load
import helpers_elsewhere
from helpers_elsewhere import Foreign

canary = []

class Net(nn.Module):
    def __init__(self, inputs, outputs, width=4, *, name="x"):
        super().__init__()
        self.width, self.name = width, name
        self.a, self.b = nn.Linear(inputs, width), nn.Linear(width, outputs)
    def forward(self, x):
        return self.b(torch.relu(self.a(x)))

class Plain:
    def __init__(self):
        canary.append(1)

class Empty(nn.Module):
    pass

class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(3, dtype=torch.int64), requires_grad=False)

class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.LazyLinear(3)

class Raises(nn.Module):
    def __init__(self, how="raise"):
        super().__init__()
        if how == "raise":
            raise RuntimeError("no such thing")
        raise SystemExit(7)

class Random(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([random.random(), np.random.rand(), float(torch.rand(()))]))

def make(inputs, depth=1):
    return nn.Sequential(*(nn.Linear(inputs, inputs) for _ in range(depth)))

def number():
    return 3

small = functools.partial(Net, width=2)
anonymous = lambda inputs: nn.Linear(inputs, 2)

class Pairs(Dataset):
    def __init__(self, n=10):
        self.n = n
    def __len__(self):
        return self.n
    def __getitem__(self, i):
        return torch.full((2,), float(i)), i % 2

def rows(n=20, wrong=None):
    x = np.random.rand(n, 3)
    y = np.arange(n) % 2
    if wrong == "nan":
        x[5, 1] = np.nan
    if wrong == "label":
        y[7] = -1
    return x, y
"""


@pytest.fixture(scope="module", autouse=True)
def _project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mein Projekt ü")
    (folder / "usernets.py").write_text(NETS, encoding="utf-8")
    (folder / "helpers_elsewhere.py").write_text("from torch import nn\nclass Foreign(nn.Module): pass\nimport os\n")
    (folder / "userwrong").mkdir()
    (folder / "userwrong/__init__.py").write_text("")
    (folder / "userwrong/syntax.py").write_text("a = 1\nclass Net(:\n")
    (folder / "userwrong/imports.py").write_text("a = 1\nimport not_there_at_all\n")
    (folder / "userwrong/leaves.py").write_text("\n\nraise SystemExit(3)\n")
    (folder / "thalweg.yaml").write_text("code: [usernets, userwrong, not_made_yet]")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder / "nowhere"))
        sys.path.insert(0, str(folder))  # helpers_elsewhere stands for an installed package that nobody declared
        yield
        sys.path.remove(str(folder))


def refusal(role, path):
    with pytest.raises(ConfigError) as caught:
        resolved(f"{role}._target_", role, path)
    return f"{caught.value.message} | {caught.value.hint}"


def model(path, extent=ROWS, **arguments):
    torch.manual_seed(0)
    return own_model(ModelTarget(_target_=path, arguments=tuple(arguments.items())), extent)


def broken(path, **arguments):
    with pytest.raises(ConfigError) as caught:
        model(path, **arguments)
    assert "\n" not in caught.value.message
    return f"{caught.value.message} | {caught.value.hint}"


# --- what may be named


@pytest.mark.parametrize("role", ["model", "dataset", "loss", "metric"])
@pytest.mark.parametrize(
    "path",
    ["os.system", "builtins.eval", "subprocess.Popen", "logging.os.system", "functools.partial", "torch.load",
     "torch.hub.load", "numpy.load", "joblib.load", "torch.utils.collect_env.run",
     "usernets.os.system", "usernets.subprocess.Popen", "usernets.subprocess.os.system",
     "usernets.functools.partial", "usernets.torch.load",
     "usernets.np.load", "usernets.load",
     "usernets.helpers_elsewhere.os.system", "usernets.Foreign", "usernets.helpers_elsewhere.Foreign",
     "torch.nn.modules.module.torch.hub.load", "torch.nn.modules.module.warnings.warn",
     "torch.nn.functional.torch.load",
     "torchvision.models._api.sys.exit", "torchvision.datasets.utils.download_url",
     "thalweg.models.build.build_model", "thalweg.data.load.load_splits",
     "thalweg.models.build.torch.load", "thalweg.runner.cli.main", "models.mlp.MLP", "data.load.load_splits",
     "usernets.Plain", "usernets.small", "usernets.canary", "usernets.canary.append",
     "usernets.Net.__init__.__globals__", "usernets.Net.__subclasses__"],
)  # fmt: skip
def test_what_is_unsafe_is_refused_before_any_call(role, path):
    assert path in refusal(role, path)


def test_no_refusal_called_anything():
    import usernets  # type: ignore[import-not-found]

    assert usernets.canary == []


@pytest.mark.parametrize(
    ("role", "path"),
    [("model", "torch.nn.Linear"), ("model", "torch.nn.modules.linear.Linear"),
     ("model", "torchvision.models.resnet18"),
     ("model", "torchvision.models.VisionTransformer"), ("model", "usernets.Net"),
     ("model", "usernets.make"), ("model", "usernets.anonymous"), ("dataset", "usernets.Pairs"),
     ("dataset", "usernets.rows"), ("dataset", "torchvision.datasets.FakeData"), ("loss", "usernets.number"),
     ("loss", "torch.nn.functional.cross_entropy"), ("metric", "usernets.number"),
     ("part", "torchvision.models.resnet18"), ("part", "torchvision.models.convnext.CNBlockConfig")],
)  # fmt: skip
def test_what_is_safe_is_found(role, path):
    assert callable(resolved(f"{role}._target_", role, path))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("usernets.Ned", "usernets.py has no Ned | did you mean usernets.Net?"),
        ("not_made_yet.Net", "the package not_made_yet, which is not there | expected not_made_yet.py in "),
        ("userwrong.syntax.Net", "userwrong/syntax.py, line 2: SyntaxError"),
        ("userwrong.imports.Net", "userwrong/imports.py, line 2: ModuleNotFoundError: No module named"),
        ("userwrong.leaves.Net", "userwrong/leaves.py, line 3: SystemExit: 3"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence_with_file_and_line(path, said):
    sentence = refusal("model", path)
    assert "\n" not in sentence
    for part in said.split(" | "):
        assert part in sentence


# --- how a model is called


def test_a_model_is_given_the_sizes_of_its_data_unless_the_yaml_has_them():
    assert model("usernets.Net").a.weight.shape == (4, 4)
    assert model("usernets.Net", outputs=7, width=5).b.weight.shape == (7, 5)
    assert model("torch.nn.Linear").weight.shape == (3, 4)
    assert model("torchvision.models.resnet18", IMAGES).fc.out_features == 10
    assert model("torchvision.models.resnet18", IMAGES, num_classes=4).fc.out_features == 4
    vit = model(
        "torchvision.models.VisionTransformer", IMAGES, patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8
    )
    assert (vit.image_size, vit.heads.head.out_features) == (32, 10)


def test_initial_weights_follow_the_seed_whatever_generator_they_are_drawn_from():
    first, second = model("usernets.Random").w, model("usernets.Random").w
    assert torch.equal(first, second)
    torch.manual_seed(1)
    other = own_model(ModelTarget(_target_="usernets.Random", arguments=()), ROWS).w
    assert not (first == other).any()


@pytest.mark.parametrize(
    ("path", "arguments", "said"),
    [
        ("usernets.Net", {"widht": 3}, "usernets.Net has no argument widht | did you mean model.width?"),
        ("usernets.make", {"dept": 3}, "did you mean model.depth?"),
        ("torchvision.models.VisionTransformer", {}, "needs the arguments patch_size, | write model.patch_size"),
        ("usernets.Empty", {}, "usernets.Empty has no parameters, so there is nothing to train"),
        ("usernets.Whole", {}, "has the parameter w of int64 | register it as a buffer"),
        ("usernets.Lazy", {}, "leaves the shape of a.weight open"),
        ("usernets.number", {}, "usernets.number returns int; expected a torch.nn.Module"),
        ("usernets.Raises", {}, "usernets.Raises failed: usernets.py, line 41: RuntimeError: no such thing"),
        ("usernets.Raises", {"how": "exit"}, "line 42: SystemExit: 7"),
        ("usernets.Net", {"width": "wide"}, "usernets.py, line 16: TypeError"),
    ],
)  # fmt: skip
def test_a_mistake_of_a_model_is_one_sentence_with_key_file_and_fix(path, arguments, said):
    sentence = broken(path, **arguments)
    for part in said.split(" | "):
        assert part in sentence


# --- data of one's own


def splits(path, **given) -> Splits:
    plain: dict[str, Any] = {"kind": "classes", "train_size": None, "validation": 0.2, "test": 0.2, "label_noise": 0.0}
    plain |= {"split_seed": 0, "augment": [], "files": [], "fingerprint": None, "_target_": path, **given}
    ours: dict[str, Any] = {key: plain.pop(key) for key in list(plain) if key in DatasetTarget.__dataclass_fields__}
    return own_splits(DatasetTarget(**{**ours, "augment": (), "files": ()}, arguments=tuple(plain.items())))


def test_a_function_of_arrays_is_split_by_our_seed():
    made = splits("usernets.rows", n=50)
    assert [len(part.y) for part in (made.train, made.validation, made.test)] == [30, 10, 10]
    assert (made.outputs, made.features) == (2, (3,))
    other = splits("usernets.rows", n=50, split_seed=1)
    assert (made.test.x != other.test.x).any()
    both = [
        np.sort(np.concatenate([part.x for part in (s.train, s.validation, s.test)]), axis=0) for s in (made, other)
    ]
    assert (both[0] == both[1]).all()


def test_data_that_draws_random_numbers_is_the_same_in_every_process():
    first = splits("usernets.rows", n=50)
    own_data.cache_clear()
    torch.rand(3)
    assert (splits("usernets.rows", n=50).train.x == first.train.x).all()


def test_a_torch_dataset_becomes_arrays_and_subset_and_noise_apply():
    whole, part = (
        splits("usernets.Pairs", n=100),
        splits("usernets.Pairs", n=100, train_size=20, label_noise=0.5),
    )
    assert (part.train.x == whole.train.x[:20]).all()
    assert (part.test.y == whole.test.y).all()
    assert 0 < (part.train.y != whole.train.y[:20]).sum() < 20


def test_pictures_become_channels_first_between_0_and_1():
    made = splits("torchvision.datasets.FakeData", size=10, image_size=(3, 4, 5), num_classes=10)
    assert made.features == (3, 4, 5)
    assert 0 <= made.train.x.min() < 0.1 < 0.9 < made.train.x.max() <= 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"wrong": "nan"}, "x holds NaN or infinity in 1 rows, row 5 first"),
        ({"wrong": "label"}, "y holds -1 in row 7; expected classes as integers from 0"),
        ({"train_size": 100}, "dataset.train_size is 100, but of 20 examples 12 are for training"),
        ({"kind": "tokens"}, "tokens"),
        ({"kind": "values", "label_noise": 0.1}, "dataset.label_noise is 0.1, but targets of kind values"),
        ({"size": 3}, "dataset.size is given, but usernets.rows has no argument size"),
    ],
)
def test_what_no_task_can_be_trained_on_is_one_sentence(given, said):
    with pytest.raises(ConfigError, match=said):
        splits("usernets.rows", **given)
