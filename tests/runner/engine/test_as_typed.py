"""Models of the shapes that public packages have are used as typed: parts, sizes, outputs; and what is said if not."""

import random
import sys

import numpy as np
import pytest
import torch

from thalweg.models.extent import MEANINGS, Extent
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.fitting import fills_of, misnamed
from thalweg.runner.engine.outputs import refuse_unlike
from thalweg.runner.engine.own import own_model
from thalweg.runner.engine.user import resolved
from thalweg.runner.study.target import ModelTarget, gathered

IMAGES, WIDE = Extent((3, 8, 8), 10), Extent((1, 8, 6), 10)
MAPS = Extent((3, 8, 8), 128, axes=(2, 8, 8))
ROWS = Extent((4,), 3)
TEXT = Extent((16,), 40, tokens=True, integers=True)

ZOO = """\
import functools, os, subprocess
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, fields
import torch
from torch import nn
import elsewhere
from elsewhere import Base

built = []

class PretrainedConfig:
    def __init__(self, num_labels=2, return_dict=True, **kwargs):
        self.num_labels, self.return_dict = num_labels, return_dict
        for name, value in kwargs.items():
            setattr(self, name, value)

class ViTConfig(PretrainedConfig):
    def __init__(self, hidden=768, image_size=224, num_channels=3, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.image_size, self.num_channels = hidden, image_size, num_channels

def passes_on(init):
    @functools.wraps(init)
    def wrapper(self, *args, **kwargs):
        self.num_labels = kwargs.pop("num_labels", 2)
        init(self, *args, **kwargs)
    return wrapper

class StrictConfig:
    @passes_on
    def __init__(self, hidden=768, vocab_size=30522, max_position_embeddings=512):
        self.hidden, self.vocab_size, self.max_position_embeddings = hidden, vocab_size, max_position_embeddings

class ModelOutput(OrderedDict):
    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name)

class ForImages(nn.Module):
    def __init__(self, config):
        super().__init__()
        assert isinstance(config, PretrainedConfig)
        self.stem = nn.Conv2d(config.num_channels, config.hidden, 2, 2)
        self.head = nn.Linear(config.hidden * (config.image_size // 2) ** 2, config.num_labels)
    @classmethod
    def from_config(cls, config, **kwargs):
        return cls(config, **kwargs)
    @staticmethod
    def build(config):
        return ForImages(config)
    def forward(self, pixel_values=None, labels=None):
        hidden = self.stem(pixel_values)
        return ModelOutput(logits=self.head(hidden.flatten(1)), hidden_states=(hidden,))

class ForText(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, config.hidden)
        self.places = nn.Parameter(torch.randn(config.max_position_embeddings, config.hidden))
        self.head = nn.Linear(config.hidden, config.vocab_size)
    def forward(self, input_ids):
        return {"logits": self.head(self.words(input_ids) + self.places[: input_ids.shape[1]])}

class ResNet(nn.Module):
    def __init__(self, width=8, num_classes=1000, in_chans=3, act=None):
        super().__init__()
        self.width, self.act = width, act
        self.stem, self.head = nn.Conv2d(in_chans, width, 3), nn.Linear(width, num_classes)
    def forward(self, x):
        return self.head(self.stem(x).mean((2, 3)))

class ViT(nn.Module):
    def __init__(self, patch_size=4, num_classes=1000, in_chans=3, img_size=224):
        super().__init__()
        height, width = img_size if isinstance(img_size, tuple) else (img_size, img_size)
        self.stem = nn.Conv2d(in_chans, 4, 2, 2)
        self.head = nn.Linear(4 * (height // 2) * (width // 2), num_classes)
    def forward(self, x):
        return self.head(self.stem(x).flatten(1))

def create_model(model_name, pretrained=False, **kwargs):
    built.append(kwargs)
    return {"resnet": ResNet, "vit": ViT}[model_name](**kwargs)

class Mlp(nn.Module):
    def __init__(self, d_in, d_out, width=8):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d_in, width), nn.ReLU(), nn.Linear(width, d_out))
    def forward(self, x):
        return self.net(x.flatten(1))

class Open(Mlp):
    def __init__(self, width=8, **kwargs):
        super().__init__(width=width, **kwargs)

class Defaults(nn.Module):
    '''Its defaults are good for rows of 4: out_channels is a width of its own.'''
    def __init__(self, input_dim=4, out_channels=16, n_classes=3):
        super().__init__()
        self.a, self.b = nn.Linear(input_dim, out_channels), nn.Linear(out_channels, n_classes)
    def forward(self, x):
        return self.b(self.a(x))

class Simple(nn.Module):
    def __init__(self, *, image_size, num_classes, channels=3):
        super().__init__()
        self.stem, self.head = nn.Conv2d(channels, 4, 3), nn.Linear(4, num_classes)
    def forward(self, x):
        return self.head(self.stem(x).mean((2, 3)))

class Volumes(nn.Module):
    def __init__(self, spatial_dims=3, n_input_channels=3, num_classes=400):
        super().__init__()
        self.stem = {2: nn.Conv2d, 3: nn.Conv3d}[spatial_dims](n_input_channels, 4, 3)
        self.head = nn.Linear(4, num_classes)
    def forward(self, x):
        return self.head(self.stem(x).flatten(2).mean(2))

def resnet18(pretrained=False, progress=True, **kwargs):
    return Volumes(**kwargs)

class Wide(nn.Module):
    def __init__(self, channels, num_classes):
        super().__init__()

class Blocks(nn.Module):
    '''Takes a tuple for several and anything else for one, as packages do.'''
    def __init__(self, d_in, d_out, sizes=(8,), act=None):
        super().__init__()
        self.first = nn.Linear(d_in, 8)
        sizes = sizes if isinstance(sizes, tuple) else (sizes,)
        self.rest = nn.ModuleList(nn.Linear(8, size) for size in sizes)
        self.act, self.head = act, nn.Linear(8, d_out)
    def forward(self, x):
        for layer in self.rest:
            x = layer(self.first(x) if x.shape[1] != 8 else x)
        return self.head(x)

class Draws(nn.Module):
    '''Draws its weights from numpy and Python, and does not fit with its defaults.'''
    def __init__(self, n_features=7, n_classes=7):
        super().__init__()
        import random
        import numpy as np
        self.w = nn.Parameter(torch.tensor(np.random.rand(n_features, n_classes), dtype=torch.float32))
        self.b = nn.Parameter(torch.rand(n_classes) + random.random())
    def forward(self, x):
        return x @ self.w + self.b

Pair = namedtuple("Pair", "logits aux")

@dataclass
class Made:
    logits: torch.Tensor
    loss: object = None

class Returns(nn.Module):
    def __init__(self, kind, outputs=3):
        super().__init__()
        self.kind, self.head = kind, nn.Linear(4, outputs)
    def forward(self, x):
        y = self.head(x)
        return {
            "tensor": y, "tuple": (y, x), "list": [x, y], "named": Pair(y, x), "dict": {"out": y, "aux": x},
            "data": Made(y), "model": ModelOutput(logits=y), "none": None, "text": "y",
            "training": (y, x) if self.training else y,
        }[self.kind]

class Own(nn.Module):
    '''Has an argument of its own that is called output.'''
    def __init__(self, inputs, outputs, output="plain"):
        super().__init__()
        self.output, self.head = output, nn.Linear(inputs, outputs)
    def forward(self, x):
        return self.head(x)

class Graph(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.line = nn.Linear(in_channels, out_channels)
    def forward(self, x, edge_index, edge_weight=None):
        return self.line(x)

class Wrapper(nn.Module):
    def __init__(self, num_tokens, max_seq_len, attn_layers, extra=None):
        super().__init__()
        self.words, self.layers = nn.Embedding(num_tokens, attn_layers.dim), attn_layers
        self.head, self.extra = nn.Linear(attn_layers.dim, num_tokens), extra
    def forward(self, x):
        return self.head(self.layers(self.words(x)))

class Decoder(nn.Module):
    def __init__(self, dim, in_features=5, blocks=()):
        super().__init__()
        self.dim, self.in_features, self.blocks = dim, in_features, nn.ModuleList(blocks)
        self.line = nn.Linear(dim, dim)
    def forward(self, x):
        return self.line(x)

def settings():
    return {}

class Inherits(Base):
    pass

class Process(subprocess.Popen):
    pass
"""


@pytest.fixture(scope="module", autouse=True)
def _project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    (folder / "zoo.py").write_text(ZOO, encoding="utf-8")
    (folder / "elsewhere.py").write_text(
        "from torch import nn\nclass Base(nn.Module):\n    @classmethod\n    def from_elsewhere(cls):\n"
        "        return 1\nclass Config:\n    pass\n"
    )
    (folder / "thalweg.yaml").write_text("code: [zoo]")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        sys.path.insert(0, str(folder))  # elsewhere stands for an installed package that nobody declared
        yield
        sys.path.remove(str(folder))


def target(path, **arguments):
    return ModelTarget(**gathered("model", {"_target_": path, **arguments}))


def model(path, extent=ROWS, **arguments):
    torch.manual_seed(0)
    return own_model(target(path, **arguments), extent)


def outputs(module, extent=ROWS):
    x = torch.zeros(2, *extent.inputs, dtype=torch.int64) if extent.integers else torch.zeros(2, *extent.inputs)
    return module.eval()(x)


def sentence(call, *arguments, **named):
    with pytest.raises(ConfigError) as caught:
        call(*arguments, **named)
    assert "\n" not in caught.value.message
    return f"{caught.value.message} | {caught.value.hint}"


# --- parts: what is an argument of a model may be made by a target of its own


CONFIG = {"_target_": "zoo.ViTConfig", "hidden": 4}


@pytest.mark.parametrize("path", ["zoo.ForImages", "zoo.ForImages.from_config", "zoo.ForImages.build"])
def test_a_model_is_made_of_a_config_object_that_gets_the_sizes_of_the_data(path):
    module = model(path, Extent((1, 8, 8), 10), config=CONFIG, output="logits")
    assert outputs(module, Extent((1, 8, 8), 10)).shape == (2, 10)
    assert module.stem.weight.shape == (4, 1, 2, 2)


def test_a_config_that_shows_fewer_arguments_than_it_takes_gets_them_too():
    module = model("zoo.ForText", TEXT, config={"_target_": "zoo.StrictConfig", "hidden": 4}, output="logits")
    assert outputs(module, TEXT).shape == (2, 16, 40)
    module = model("zoo.ForText", TEXT, config={"_target_": "zoo.StrictConfig", "hidden": 4, "num_labels": 5}, output=0)
    assert outputs(module, TEXT).shape == (2, 16, 40)


def test_parts_may_be_nested_and_lists_hold_them_and_a_section_without_a_target_is_a_dict():
    blocks = [{"_target_": "torch.nn.Linear", "in_features": 2, "out_features": n} for n in (3, 4)]
    layers = {"_target_": "zoo.Decoder", "dim": 6, "blocks": blocks}
    module = model("zoo.Wrapper", TEXT, attn_layers=layers, extra={"a": [1, {"b": None}]})
    assert [block.out_features for block in module.layers.blocks] == [3, 4]
    assert module.extra == {"a": [1, {"b": None}]}
    assert module.layers.in_features == 5  # a module within says nothing of the data
    assert outputs(module, TEXT).shape == (2, 16, 40)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("os.system", "expected a part from zoo, torch.nn, torchvision.models"),
        ("torch.load", "expected a part"),
        ("torchvision.datasets.FakeData", "expected a part"),
        ("zoo.os.system", "from elsewhere"),
        ("zoo.subprocess.Popen", "from elsewhere"),
        ("zoo.elsewhere.Config", "from elsewhere"),
        ("zoo.Base", "comes from elsewhere, a package not declared"),
        ("zoo.Inherits.from_elsewhere", "comes from elsewhere, a package not declared"),
        ("zoo.built", "a package not declared"),
        ("zoo.built.append", "a package not declared"),
        ("zoo.functools.partial", "from elsewhere"),
        ("torch.nn.functional.gelu", "a package not declared"),
        ("torch.nn.functional.relu", "expected a subclass of torch's Module, a function or a classmethod"),
        ("torch.nn.Embedding.from_pretrained", "expected a subclass"),
        ("torch.nn.Parameter", "expected a subclass"),
        ("torch.nn.modules.module.torch.hub.load", "comes from torch.hub, a package not declared"),
        ("zoo.ForImages.mro", "comes from nowhere"),
        ("zoo.ForImages.load_state_dict", "expected a subclass"),
        ("zoo.ForImages.from_confg", "the class ForImages has no from_confg | did you mean zoo.ForImages.from_config?"),
    ],
)
def test_an_unsafe_part_is_refused_before_anything_is_called(path, said):
    for role in ("part", "model") if not path.startswith(("os.", "torch.load", "torchvision")) else ("part",):
        assert said.replace("a part", f"a {role}") in sentence(resolved, "model.x._target_", role, path)
    arguments = {"config": CONFIG, "x": {"_target_": path}}
    assert sentence(model, "zoo.create_model", IMAGES, model_name="resnet", **arguments)


def test_a_part_may_be_what_torchvision_configures_its_models_by():
    stage = {"_target_": "torchvision.models.convnext.CNBlockConfig", "input_channels": 4, "out_channels": None}
    made = model("torchvision.models.ConvNeXt", IMAGES, block_setting=[{**stage, "num_layers": 2}])
    assert made(torch.zeros(2, *IMAGES.inputs)).shape == (2, 10)


def test_a_target_that_raises_with_lists_is_given_tuples_from_the_same_random_numbers():
    import zoo  # type: ignore[import-not-found]

    for _ in range(2):
        made = model("zoo.Blocks", sizes=[8, 8], act={"widths": [1, [2]]})
        assert made.act == {"widths": (1, (2,))}
        torch.manual_seed(0)
        plain = zoo.Blocks(4, 3, (8, 8)).state_dict()
        assert all(torch.equal(tensor, plain[name]) for name, tensor in made.state_dict().items())
    assert "zoo.Blocks failed" in sentence(model, "zoo.Blocks", sizes=["a"])


def test_what_the_outer_call_gives_must_be_a_module():
    assert "zoo.ViTConfig, another class; expected a subclass" in sentence(model, "zoo.ViTConfig")
    assert "zoo.settings returns dict; expected a torch.nn.Module" in sentence(model, "zoo.settings")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"_target_": "zoo.ViTConfig", "_args_": [1]}, "has the name '_args_'"),
        ({"_target_": "zoo.ViTConfig", "_partial_": 3}, "model.x._partial_ is 3; expected true or false"),
        ({"_target_": None}, "model.x._target_ is None; expected a class or function by its whole path"),
        ({"_target_": "eval"}, "model.x._target_ is eval; expected a class or function by its whole path"),
        ({"a": [{"_target_": 3}]}, "model.x.a[0]._target_ is 3; expected a class or function by its whole path"),
        ({"_partial_": True}, "model.x._partial_ is True; expected true or false, beside a _target_"),
        ({"_target_": "zoo.ViTConfig", 3: True}, "has the name '3'"),
        ({"a": {"b": {"c": float("inf")}}}, "model.x.a.b.c is inf; expected a finite number"),
        ({"a": [object()]}, r"model.x.a[0] is a object"),
    ],
)
def test_a_section_that_no_argument_can_be_is_refused(section, said):
    assert said in sentence(gathered, "model", {"_target_": "zoo.Mlp", "x": section})


def test_a_class_or_function_may_be_an_argument_to_be_called_later():
    act = {"_target_": "torch.nn.LeakyReLU", "_partial_": True, "negative_slope": 0.5}
    module = model("zoo.ResNet", IMAGES, act=act)
    assert module.act().negative_slope == 0.5
    later = {"_target_": "zoo.Mlp", "_partial_": True}
    assert model("zoo.ResNet", IMAGES, act=later).act(3, 4).net[0].in_features == 3
    assert "has no argument slope" in sentence(model, "zoo.ResNet", IMAGES, act={**act, "slope": 3})
    assert "expected a part" in sentence(model, "zoo.ResNet", IMAGES, act={**act, "_target_": "os.system"})
    assert misnamed(target("zoo.ResNet", act=later), IMAGES) == []


# --- sizes: filled in from the data, and never where a default would do


@pytest.mark.parametrize(
    ("path", "extent", "arguments", "filled"),
    [
        ("zoo.Mlp", ROWS, {}, {"d_in": 4, "d_out": 3}),
        ("zoo.Mlp", IMAGES, {"d_out": 10}, {"d_in": 192}),
        ("zoo.Open", ROWS, {}, {"d_in": 4, "d_out": 3}),
        ("zoo.ResNet", IMAGES, {}, {"num_classes": 10}),
        ("zoo.ResNet", WIDE, {}, {"num_classes": 10, "in_chans": 1}),
        ("zoo.ViT", IMAGES, {}, {"num_classes": 10, "in_chans": 3, "img_size": 8}),
        ("zoo.ViT", WIDE, {}, {"num_classes": 10, "in_chans": 1, "img_size": (8, 6)}),
        ("zoo.create_model", IMAGES, {"model_name": "resnet"}, {"num_classes": 10, "in_chans": 3}),
        ("zoo.create_model", WIDE, {"model_name": "vit"}, {"num_classes": 10, "in_chans": 1, "img_size": (8, 6)}),
        ("zoo.create_model", IMAGES, {"model_name": "resnet", "num_classes": 10}, {}),
        ("zoo.Defaults", ROWS, {}, {}),
        ("zoo.Defaults", Extent((5,), 3), {}, {"input_dim": 5, "n_classes": 3}),
        ("zoo.Defaults", Extent((5,), 3), {"input_dim": 5}, {}),
        ("zoo.Defaults", Extent((4,), 2), {"out_channels": 2}, {"input_dim": 4}),
        ("zoo.Simple", WIDE, {}, {"image_size": 6, "num_classes": 10, "channels": 1}),
        ("zoo.Simple", IMAGES, {}, {"image_size": 8, "num_classes": 10}),
        ("zoo.resnet18", WIDE, {}, {"num_classes": 10, "n_input_channels": 1, "spatial_dims": 2}),
        ("zoo.Graph", ROWS, {}, {"in_channels": 4, "out_channels": 3}),
        ("zoo.Graph", MAPS, {}, {"in_channels": 3, "out_channels": 2}),
        ("zoo.Mlp", MAPS, {}, {"d_in": 192, "d_out": 128}),
    ],
)
def test_a_model_is_given_the_sizes_it_lacks(path, extent, arguments, filled):
    chosen = target(path, **arguments)
    assert fills_of(chosen, extent)["model"] == filled
    if path != "zoo.Graph" and arguments != {"out_channels": 2}:
        assert outputs(own_model(chosen, extent), extent).shape == (2, extent.outputs)


def test_channels_without_a_default_may_be_a_width_and_is_not_filled_in():
    assert "needs the argument channels" in sentence(model, "zoo.Wide", IMAGES)


def test_finding_out_what_to_fill_in_moves_no_generator():
    chosen, before = target("zoo.Draws"), torch.get_rng_state()
    held = np.random.get_state(legacy=False)["state"]["key"], random.getstate()
    fills_of(chosen, ROWS)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state(legacy=False)["state"]["key"] == held[0]).all()
    assert random.getstate() == held[1]
    first, again = model("zoo.Draws"), model("zoo.Draws")
    assert torch.equal(first.w, again.w)
    assert torch.equal(first.b, again.b)


def test_no_name_has_two_meanings():
    names = [name for meaning in MEANINGS for name in (*meaning.names, *meaning.rare)]
    assert len(names) == len(set(names))


# --- outputs: which part is trained


@pytest.mark.parametrize(
    ("kind", "output"),
    [("tuple", 0), ("tuple", -2), ("list", 1), ("named", "logits"), ("named", 0), ("dict", "out"), ("dict", 0),
     ("data", "logits"), ("data", 0), ("model", "logits"), ("model", 0), ("tensor", None), ("tensor", "logits"),
     ("training", 0)],
)  # fmt: skip
def test_the_part_that_is_named_is_what_the_model_returns(kind, output):
    module = model("zoo.Returns", kind=kind, output=output)
    for training in (False, True):
        assert module.train(training)(torch.zeros(2, 4)).shape == (2, 3)
    assert [name for name, _ in module.named_parameters()] == ["head.weight", "head.bias"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "tuple",
            "a tuple of 0 [2, 3], 1 [2, 4] for 2 rows; expected one tensor of shape [2, 3] | pick one: model.output=0",
        ),
        ("list", "a list of 0 [2, 4], 1 [2, 3] | pick one: model.output=1"),
        ("named", "a Pair of logits [2, 3], aux [2, 4] | pick one: model.output=logits"),
        ("dict", "a dict of out [2, 3], aux [2, 4] | pick one: model.output=out"),
        ("data", "a Made of logits [2, 3], loss (NoneType) | pick one: model.output=logits"),
        ("model", "a ModelOutput of logits [2, 3] | pick one: model.output=logits"),
        ("none", "the model returns nothing | return a tensor"),
        ("text", "a str | return a tensor"),
    ],
)
def test_an_output_that_is_no_tensor_is_named_with_the_word_to_type(kind, said):
    got = sentence(refuse_unlike, outputs(model("zoo.Returns", kind=kind)), (2, 3), "2 rows")
    for part in said.split(" | "):
        assert part in got
    if "model.output=" in got:
        typed = got.rpartition("model.output=")[2]
        assert outputs(model("zoo.Returns", kind=kind, output=int(typed) if typed.isdigit() else typed)).shape == (2, 3)


def test_a_tensor_of_another_shape_is_refused_with_what_is_wrong_about_it():
    assert "outputs of shape [2, 5] for x; expected one tensor of shape [2, 3] | build it for 3 outputs" in (
        sentence(refuse_unlike, torch.zeros(2, 5), (2, 3), "x")
    )
    for shape in ((2, 1, 3), (3,), (1, 3)):
        assert "a row for each example" in sentence(refuse_unlike, torch.zeros(shape), (2, 3), "x")
    refuse_unlike(torch.zeros(2, 3), (2, 3), "x")


def test_values_may_be_returned_as_they_are_given_or_in_a_row():
    for fitting in ((2, 6), (2, 3, 2)):
        refuse_unlike(torch.zeros(fitting), (2, 6), "x", (3, 2))
    for shape in ((2, 2, 3), (2, 3, 2, 1)):
        assert "of shape [2, 6] or [2, 3, 2]" in sentence(refuse_unlike, torch.zeros(shape), (2, 6), "x", (3, 2))
    assert "pick one: model.output=map" in sentence(refuse_unlike, {"map": torch.zeros(2, 3, 2)}, (2, 6), "x", (3, 2))


def test_a_part_that_is_not_there_is_refused_with_the_nearest():
    said = sentence(outputs, model("zoo.Returns", kind="named", output="logit"))
    assert "model.output is logit, but the model returns a Pair of logits [2, 3], aux [2, 4]" in said
    assert "did you mean model.output=logits?" in said
    assert "did you mean model.output=0?" in sentence(outputs, model("zoo.Returns", kind="tuple", output=2))
    assert "leave out model.output" in sentence(outputs, model("zoo.Returns", kind="none", output=2))


def test_a_model_with_an_argument_called_output_is_given_it():
    assert model("zoo.Own").output == "plain"
    assert model("zoo.Own", output="other").output == "other"
    assert model("zoo.Own", output=[1, 2]).output == [1, 2]
    assert outputs(model("zoo.Own", output="other")).shape == (2, 3)


def test_a_model_that_wants_more_than_examples_is_refused_with_what_it_wants():
    said = sentence(model, "zoo.Graph")
    assert "zoo.Graph is called with x, edge_index, but an example of a dataset is one tensor, x" in said
    assert "give edge_index a default" in said


# --- what is wrong with the names, all at once


def test_everything_that_is_misnamed_is_said_at_once():
    wrong = target("zoo.Wrapper", atn_layers=3, attn_layers={"_target_": "zoo.Decoder", "dmi": 3}, max_seq_len=3)
    said = " | ".join(f"{error.message} ({error.hint})" for error in misnamed(wrong, ROWS))
    for part in (
        "model.atn_layers is given, but zoo.Wrapper has no argument atn_layers",
        "did you mean model.attn_layers?",
        "needs the argument num_tokens, which model does not give",
        "+model.num_tokens=…",
        "model.attn_layers.dmi is given, but zoo.Decoder has no argument dmi",
        "did you mean model.attn_layers.dim?",
        "+model.attn_layers.dim=…",
    ):
        assert part in said


def test_an_argument_that_was_handed_on_to_what_does_not_know_it_is_named():
    said = sentence(model, "zoo.create_model", IMAGES, model_name="resnet", pretraind=True)
    assert "unexpected keyword argument 'pretraind' | did you mean model.pretrained?" in said
