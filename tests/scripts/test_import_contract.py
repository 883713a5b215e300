"""The import contract of pyproject.toml holds, and it is no decoration: each kind of breach breaks it."""

from copy import deepcopy
from types import SimpleNamespace

import pytest

pytest.importorskip("importlinter", reason="NOT RUN: import-linter is not installed")
from importlinter import configuration
from importlinter.application import use_cases
from importlinter.application.app_config import settings
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract
from importlinter.domain.contract import registry

configuration.configure()
registry.register(ForbiddenContract, "forbidden")
registry.register(LayersContract, "layers")


@pytest.fixture(scope="module")
def contract():
    return use_cases.read_user_options()


@pytest.fixture(scope="module")
def whole(contract):
    """The report on the code as it is, with the graph of its imports, which is built once."""
    return use_cases.create_report(contract, cache_dir=None)


@pytest.fixture
def broken(contract, whole, monkeypatch):
    """Names of the contracts that a graph breaks, by a change of what is there."""

    def check(change):
        graph = deepcopy(whole.graph)
        change(graph)
        monkeypatch.setattr(settings, "GRAPH_BUILDER", SimpleNamespace(build=lambda **options: graph))
        report = use_cases.create_report(contract, cache_dir=None)
        return [each.name for each, check in report.get_contracts_and_checks() if not check.kept]

    return check


def test_the_contract_holds(whole):
    assert [each.name for each, check in whole.get_contracts_and_checks() if not check.kept] == []
    assert len([*whole.get_contracts_and_checks()]) >= 16


@pytest.mark.parametrize(
    ("module", "imported", "name"),
    [
        ("runner.planning.plan", "torch", "The door of torch"),
        ("__main__", "rich", "The door of rich"),
        ("runner.planning.plan", "sqlite3", "The door of sqlite3"),
        ("runner.study.study", "hydra", "The door of hydra"),
        ("runner.page", "wandb", "The door of wandb"),
        ("models.schema", "thalweg.runner.study.trial", "Schemas know nothing of ours"),
        ("optim.rule", "thalweg.runner.study.trial", "do not know the runner"),
        ("runner.analysis.answers", "torch", "An analysis is given a tidy table"),
        ("runner.decide.moves", "thalweg.runner.store", "An analysis is given a tidy table"),
        ("runner.study.trial", "thalweg.runner.planning.plan", "none imports one that stands above it"),
        ("runner.facts.row", "thalweg.runner.project.code", "none imports one that stands above it"),
        ("runner.train.driver", "thalweg.runner.page", "none imports one that stands above it"),
        ("optim.rule", "thalweg.data.schema", "do not know the runner"),
        ("runner.machine.device", "numpy", "needs only the standard library"),
        ("runner.facts.row", "thalweg.runner.engine", "never training code"),
        ("runner.report.html", "thalweg.runner.store", "A report is given rows"),
    ],
)
def test_a_breach_is_found(broken, module, imported, name):
    def breach(graph):
        graph.add_import(importer=f"thalweg.{module}", imported=imported, line_number=1, line_contents="")

    assert [each for each in broken(breach) if name in each]


@pytest.mark.parametrize("module", ["runner.loose", "runner.attic"])
def test_a_module_without_a_room_is_found(broken, module):
    assert broken(lambda graph: graph.add_module(f"thalweg.{module}")) == [
        "The rooms: none imports one that stands above it"
    ]
