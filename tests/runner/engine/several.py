"""Data whose examples are several arrays, models that read them, and losses of more than one output: a user's code."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

TOKENS, LENGTH = 20, 6


def arrays(n=120):
    draws = np.random.default_rng(0)
    mask = np.arange(LENGTH) < draws.integers(2, LENGTH + 1, n)[:, None]
    ids = draws.integers(1, TOKENS, (n, LENGTH))
    return {"ids": ids, "mask": mask, "weight": draws.normal(size=n)}, (ids * mask).sum(1) % 3


def named(n=120):
    return arrays(n)


def placed(n=120):
    x, y = arrays(n)
    return tuple(x.values()), y


def listed(n=120):
    x, y = arrays(n)
    return [torch.as_tensor(each) for each in x.values()], torch.as_tensor(y)


def labelled(n=120):
    x, y = arrays(n)
    return {**x, "labels": y}


def spoiled(how):
    x, y = arrays()
    if how == "short":
        x["mask"] = x["mask"][:-1]
    if how == "words":
        x["ids"] = x["ids"].astype(str)
    if how == "nan":
        x["weight"][7] = np.nan
    if how == "nested":
        x["weight"] = {"a": x["weight"]}
    if how == "keys":
        x = {0: x["ids"]}
    if how == "empty":
        x = {}
    if how == "number":
        x["weight"] = 3.0
    return x, y


def forecasts(n=120):
    """Three values of each of two series after six of each: y has places and series."""
    draws = np.random.default_rng(0)
    x = draws.normal(size=(n, 9, 2)).cumsum(1)
    return {"past": x[:, :6]}, x[:, 6:]


class Items(Dataset):
    def __init__(self, how="named"):
        (self.x, self.y), self.how = arrays(), how

    def __len__(self):
        return len(self.y)

    def __getitem__(self, place):
        x = {name: torch.as_tensor(each[place]) for name, each in self.x.items()}
        if self.how == "labelled":
            return {**x, "labels": self.y[place]}
        if self.how == "placed":
            return tuple(each[None] if each.dim() == 0 else each for each in x.values()), self.y[place]
        if self.how == "ragged":
            return {**x, "ids": x["ids"][: 3 + place % 2]}, self.y[place]
        if self.how == "unlike" and place == 5:
            return {"ids": x["ids"]}, self.y[place]
        return x, self.y[place]


def tokens(n=90):
    draws = np.random.default_rng(1)
    text = draws.integers(0, 9, (n, LENGTH + 1))
    return {"input_ids": text[:, :-1], "attention_mask": np.ones((n, LENGTH), np.int64)}, text[:, 1:]


def vectors(n=90):
    draws = np.random.default_rng(2)
    left, right = draws.normal(size=(n, 4)), draws.normal(size=(n, 3))
    return (left, right), (left[:, :2] * right[:, :2]).sum(1)


class Net(nn.Module):
    def __init__(self, num_classes, width=8):
        super().__init__()
        self.embedding, self.out = nn.Embedding(TOKENS, width), nn.Linear(width, num_classes)

    def forward(self, ids, mask, weight):
        assert (ids.dtype, mask.dtype) == (torch.int64, torch.bool)
        hidden = (self.embedding(ids) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return self.out(torch.tanh(hidden)) * (1 + 0.1 * weight.reshape(-1, 1))


class Several(Net):
    """Returns more than one output, and its own loss where it is given labels."""

    def forward(self, ids, mask, weight, labels=None):
        logits = super().forward(ids, mask, weight)
        made = {"logits": logits, "energy": logits.square().mean(1)}
        if labels is not None:
            made["loss"] = functional.cross_entropy(logits, labels) + 0.01 * made["energy"].mean()
        return made


class Pair(Net):
    """As scripts for texts do: the loss beside the logits, no names."""

    def forward(self, ids, mask, weight, targets=None):
        logits = super().forward(ids, mask, weight)
        return logits, None if targets is None else functional.cross_entropy(logits, targets)


class Lossless(Net):
    def forward(self, ids, mask, weight, labels=None):
        return {"logits": super().forward(ids, mask, weight)}


class Unlabelled(Net):
    pass


class Renamed(Net):
    def forward(self, ids, masks, weight):
        return super().forward(ids, masks, weight)


class Needs(Net):
    def forward(self, ids, mask, weight, positions):
        return super().forward(ids, mask, weight)


class One(Net):
    def forward(self, ids):
        return self.out(self.embedding(ids).mean(1))


class Forecaster(nn.Module):
    """Returns values as they are given: places, then series."""

    def __init__(self):
        super().__init__()
        self.over_places, self.over_series = nn.Linear(6, 3), nn.Linear(2, 2)

    def forward(self, past):
        return self.over_series(torch.tanh(self.over_places(past.transpose(1, 2))).transpose(1, 2))


class Writer(nn.Module):
    def __init__(self, vocab_size, block_size):
        super().__init__()
        self.embedding, self.out = nn.Embedding(vocab_size, 8), nn.Linear(8, vocab_size)
        self.places = nn.Parameter(torch.zeros(block_size, 8))

    def forward(self, input_ids, attention_mask):
        return self.out((self.embedding(input_ids) + self.places) * attention_mask[..., None])


class Product(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.left, self.right = nn.Linear(4, 5), nn.Linear(3, 5)
        self.norm, self.out = nn.BatchNorm1d(5), nn.Linear(5, outputs)

    def forward(self, a, b):
        return self.out(self.norm(self.left(a) * self.right(b)))


def penalised(outputs, y, inputs):
    own = functional.cross_entropy(outputs["logits"], y, reduction="none")
    return (own * inputs["mask"].float().mean(1)).mean() + 0.01 * outputs["energy"].mean()


def energy(outputs, y, inputs):
    return outputs["energy"].mean()


def margin(outputs, y):
    return outputs.amax(1).mean()


def on_the_host(outputs, y):
    return functional.cross_entropy(outputs.cpu(), y.cpu())


def all_on_the_host(outputs, y, inputs):
    return on_the_host(outputs, y)


def hits(outputs, y, inputs):
    return torch.tensor(np.mean(outputs.cpu().numpy().argmax(1) == y.cpu().numpy()))
