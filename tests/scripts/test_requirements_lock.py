"""requirements.lock: complete, hashed, free of addresses, and a matching pair of torch and torchvision."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from thalweg.runner.machine.requirements import from_pyproject, split, unmet

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PINS = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, re.MULTILINE))


def test_the_lock_names_no_address():
    assert not re.search(r"://|--(extra-)?index|--find-links", LOCK)


def test_every_pinned_package_has_a_hash():
    packages = re.split(r"^(?=[a-z0-9-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert [package.split()[0] for package in packages if "--hash=sha256:" not in package] == []


def test_the_lock_pins_every_declared_package():
    declared = {split(requirement)[0] for requirement in from_pyproject(ROOT, develop=True)}
    assert declared - PINS.keys() == set()


def test_torch_and_torchvision_are_a_pair():
    needs = map(Requirement, metadata.requires("torchvision"))
    wanted = next(need for need in needs if need.name == "torch")
    assert wanted.specifier.contains(metadata.version("torch"), prereleases=True)
    from torchvision.ops import nms  # its operators load only beside the torch they were built for

    assert nms is not None
    if metadata.version("torchvision").split("+")[0] != PINS["torchvision"]:
        pytest.skip(f"the lock's torchvision {PINS['torchvision']} is not installed here, its torch cannot be told")
    assert wanted.specifier.contains(PINS["torch"])
    assert metadata.version("torch").split("+")[0] == PINS["torch"]


def test_requirements_use_only_what_our_reader_understands():
    for requirement in from_pyproject(ROOT, develop=True):
        name, bounds = split(requirement)
        assert name + ",".join(operator + bound for operator, bound in bounds) == requirement


def test_the_build_backend_is_the_same_in_both_places():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["build-system"]["requires"][0] in project["dependency-groups"]["dev"]


@pytest.mark.parametrize(
    ("version", "fits"),
    [("2.11.0", True), ("2.11", True), ("2.11.0a0+git1", True), ("2.9.1", False), ("2.100", True), ("3.0.0", False)],
)
def test_versions_are_compared_by_number(monkeypatch, version, fits):
    monkeypatch.setattr(metadata, "version", lambda _: version)
    assert (unmet(["torch>=2.11,<3"]) == []) == fits
