"""What is said of a model before it trains: everything that would keep it from it, and nothing of one that is well."""

from dataclasses import replace

import pytest
import torch

from thalweg.runner.config import Request, declare
from thalweg.runner.engine import rehearsal
from thalweg.runner.study.study import expand
from thalweg.runner.study.target import ModelTarget

NETS = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features, num_classes, width=8):
        super().__init__()
        self.a, self.b = nn.Linear(in_features, width), nn.Linear(width, num_classes)
        self.on = self.a.weight.device.type
        made.append(self.on)
    def forward(self, x):
        return self.b(self.a(x.flatten(1)))

made = []

class Asks(Net):
    def __init__(self, in_features, num_classes):
        super().__init__(in_features, num_classes)
        self.gain = float(torch.rand(()))

class Minds(Net):
    def __init__(self, in_features, num_classes):
        super().__init__(in_features, num_classes)
        if self.on != "cpu":
            raise ValueError("numbers, please")

class Raises(Net):
    def forward(self, x):
        raise ValueError("not today")

class Two(Net):
    def forward(self, x):
        return super().forward(x), x

class Trains(Two):
    def forward(self, x):
        return super().forward(x) if self.training else super().forward(x)[0]

class Graph(Net):
    def __init__(self, in_features, num_classes, hidden, heads):
        super().__init__(in_features, num_classes)
    def forward(self, x, edge_index):
        return super().forward(x)

class Narrow(nn.Linear):
    def __init__(self, width=30):
        super().__init__(width, 10)

class Colours(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Conv2d(3, num_classes, 8), nn.Flatten())

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(20, 10)
    def forward(self, x):
        return self.table(x.flatten(1)).mean(1)

class Swallows(Net):
    def __init__(self, in_features, num_classes, hidden=8, **kwargs):
        super().__init__(in_features, num_classes, hidden)

class Images(Net):
    def __init__(self, in_chans=3, n_classes=1000):
        super().__init__(in_chans, n_classes)
    def forward(self, x):
        return super().forward(x.mean((2, 3)))

def data():
    raise OSError("no such table")

class Flattened(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(192, num_classes))
"""


@pytest.fixture(scope="module", autouse=True)
def _project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rehearsed")
    (folder / "rehearsed.py").write_text(NETS)
    (folder / "thalweg.yaml").write_text("code: [rehearsed]")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


def said_of(name, *words):
    request = Request(("model=target", f"model._target_=rehearsed.{name}", *words))
    return list(rehearsal.remarks(expand(declare(request).study)[0].trial.config))


def test_nothing_is_wrong_with_a_model_that_trains_and_none_of_it_is_held_in_memory():
    state = torch.get_rng_state()
    (only,) = said_of("Net")
    assert (only.wrong, only.text) == (False, "given from the data: model.in_features=64 model.num_classes=10")
    import rehearsed  # type: ignore[import-not-found]

    assert set(rehearsed.made) == {"meta"}
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("Raises", (), "rehearsed.py, line 28: ValueError: not today"),
        ("Two", (), "returns a tuple of 0 [2, 10], 1 [2, 1, 8, 8] | expected one tensor | pick one: model.output=0"),
        ("Trains", (), "examples of shape [1, 8, 8] in training | pick one: model.output=0"),
        ("Narrow", (), "the model fails on examples of shape [1, 8, 8]"),
        ("Net", ("dataset=target", "dataset._target_=rehearsed.data"), "rehearsed.py, line 70: OSError: no such table"),
        ("Colours", (), "examples of shape [1, 8, 8] | but got 1 channels | dataset.channels=3 repeats the grey one"),
        ("Flattened", (), "mat1 and mat2 shapes cannot be multiplied | dataset.channels=3 repeats the grey one"),
        ("Words", (), 'torch.FloatTensor | what a dict holds stays whole: return {"input_ids": x}, y'),
        ("Net", ("+model.width=0.5",), "TypeError"),
    ],
)
def test_what_would_fail_is_said(name, words, said):
    wrong = [remark for remark in said_of(name, *words) if remark.wrong]
    assert len(wrong) == 1
    for part in said.split(" | "):
        assert part in wrong[0].text


def test_the_word_to_type_for_a_model_that_reads_colours_is_one():
    assert [remark.text for remark in said_of("Colours", "dataset.channels=3")] == [
        "given from the data: model.num_classes=10"
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_that_are_not_here_yet_have_their_channels(channels):
    (said,) = said_of("Images", "dataset=mnist", f"dataset.channels={channels}")
    assert f"model.in_chans={channels}" in said.text


def test_all_that_is_missing_is_said_at_once():
    config = expand(declare(Request(("model=target", "model._target_=rehearsed.Net"))).study)[0].trial.config
    # put together here, as an installed package's is: its source is not read when it is declared
    assert isinstance(config.model, ModelTarget)
    model = replace(config.model, _target_="rehearsed.Graph", arguments=(("hiden", 3),))
    texts = [remark.text for remark in rehearsal.remarks(replace(config, model=model))]
    assert len(texts) == 2
    for part in ("model.hiden is given", "did you mean model.hidden?", "needs the arguments hidden and heads",
                 "+model.hidden=… +model.heads=…"):  # fmt: skip
        assert part in texts[0]
    assert "is called with x, edge_index" in texts[1]


def test_a_name_that_is_swallowed_though_it_nearly_is_an_argument_is_said():
    texts = [remark.text for remark in said_of("Swallows", "+model.hiden=3", "+model.other=3")]
    assert texts[1:] == ["rehearsed.Swallows takes model.hiden, as any name; did you mean model.hidden?"]


def test_a_constructor_that_needs_numbers_is_said_and_not_refused():
    remarks = said_of("Asks")
    assert [remark.wrong for remark in remarks] == [False, False]
    assert "not looked at, as it cannot be built without its weights" in remarks[1].text


def test_what_fails_only_without_weights_is_tried_with_them():
    assert [remark.wrong for remark in said_of("Minds")] == [False]


@pytest.mark.parametrize(("dataset", "channels"), [("mnist", 1), ("cifar10", 3), ("cifar100", 3), ("fashion_mnist", 1)])
def test_data_that_would_be_downloaded_are_not(dataset, channels, monkeypatch, tmp_path):
    monkeypatch.setenv("THALWEG_DATA", str(tmp_path / "none"))
    classes = 100 if dataset == "cifar100" else 10
    sizes = f"model.in_chans={channels} model.n_classes={classes}"
    assert [remark.text for remark in said_of("Images", f"dataset={dataset}")] == [f"given from the data: {sizes}"]
    assert not (tmp_path / "none").exists()


def test_our_own_models_are_looked_at_too():
    config = expand(declare(Request(("model=cnn", "dataset=digits"))).study)[0].trial.config
    assert list(rehearsal.remarks(config)) == []


def test_what_is_wrong_about_names_and_outputs_is_found_without_weights():
    said_of("Net")
    import rehearsed

    rehearsed.made.clear()
    assert [remark.wrong for remark in said_of("Two")] == [False, True]
    assert set(rehearsed.made) == {"meta"}
