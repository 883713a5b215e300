"""Checks what a sweep takes for granted: the model fits the data, learns, and the study is what was meant.

python -m pytest
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from nets import SmallNet
from points import spirals


def test_the_model_gives_one_logit_a_class():
    assert SmallNet(inputs=2, outputs=2, width=8)(torch.randn(5, 2)).shape == (5, 2)


def test_every_call_gives_the_same_data():
    first, second = spirals(50, turns=1.0, noise=0.1), spirals(50, turns=1.0, noise=0.1)
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()


def test_the_model_can_learn_the_data():
    torch.manual_seed(0)
    x, y = (torch.as_tensor(each) for each in spirals(200, turns=1.0, noise=0.0))
    net = SmallNet(inputs=2, outputs=2, width=32)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.03)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x.float()), y).backward()
        optimizer.step()
    assert (net(x.float()).argmax(1) == y).float().mean() > 0.95
