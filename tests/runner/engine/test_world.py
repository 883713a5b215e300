"""Names of others' that a user's code may bind anew are watched, however deep in that code they stand."""

from __future__ import annotations

import importlib
import textwrap

import pytest
import torch

from thalweg.runner.engine.world import Look

COUNT = "torch.optim.lr_scheduler.calls_here = 1"
CALL = "setattr(torch.optim.lr_scheduler, 'calls_here', 1)"
WAYS = {
    "function": f"def count():\n    {COUNT}",
    "function within": f"def outer():\n    def count():\n        {COUNT}\n    return count",
    "lambda": f"def count():\n    return (lambda: {CALL})()",
    "comprehension": f"def count():\n    return [{CALL} for _ in 'a']",
    "generator": f"def count():\n    return sum({CALL} or 1 for _ in 'a')",
    "method": f"class Net:\n    def count(self):\n        {COUNT}",
    "static method": f"class Net:\n    @staticmethod\n    def count():\n        {COUNT}",
    "class method": f"class Net:\n    @classmethod\n    def count(cls):\n        {COUNT}",
    "property": f"class Net:\n    @property\n    def count(self):\n        {COUNT}",
    "decorated": f"class Net:\n    @torch.no_grad()\n    def count(self):\n        {COUNT}",
    "cached": f"@functools.lru_cache\ndef count():\n    {COUNT}",
    "partial": f"def of():\n    def count(n):\n        {COUNT}\n    return count\nhere = functools.partial(of(), 1)",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_module_is_watched_that_code_names_in_whatever_it_stands(way, tmp_path, monkeypatch):
    name = f"names_{way.replace(' ', '_')}"
    (tmp_path / f"{name}.py").write_text(f"import functools\nimport torch\n\n{textwrap.dedent(WAYS[way])}\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(name)
    look = Look.at((name,))
    monkeypatch.setattr(torch.optim.lr_scheduler, "calls_here", 1, raising=False)
    assert "torch.optim.lr_scheduler.calls_here" in [str(part.place) for part in look.rebound((name,))]
