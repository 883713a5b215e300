"""What this machine and environment can and cannot do, as a list of checks. Repairs nothing, prints nothing.

Everything is tried for real (imports, one sum on the GPU, one file beside the store), so it takes seconds.
"""

from __future__ import annotations

import netrc
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from thalweg.conf import CONF
from thalweg.runner.base.errors import first_line
from thalweg.runner.base.version import __version__
from thalweg.runner.machine import device, requirements

OLDEST_PYTHON = (3, 11)
OLDEST_DRIVER = {
    12: 525,
    13: 580,
}  # CUDA's major version -> the first Linux driver that runs it (NVIDIA's table)


@dataclass(frozen=True)
class Check:
    """One thing looked at. `ok` is None where nothing is wrong and something is worth knowing."""

    name: str
    ok: bool | None
    detail: str
    remedy: str | None = None


def examine(store: Path) -> list[Check]:
    """Every check, in the order in which a failure would explain the later ones. `store` need not exist."""
    looks: list[Callable[[], Check]] = [
        ourselves,
        python,
        packages,
        torch,
        torchvision,
        gpu,
        cores,
        compiler,
        wandb,
        configuration,
        lambda: store_folder(store),
    ]
    return [look() for look in looks]


def ourselves() -> Check:
    """Which thalweg this is, where several may be installed."""
    return Check("thalweg", True, f"{__version__} at {CONF.parent}")


def python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= OLDEST_PYTHON
    return Check("Python", ok, f"{found} at {sys.executable}", None if ok else "use Python 3.11 or later")


def packages() -> Check:
    """The installed versions against pyproject.toml in a clone, else against the distribution's metadata."""
    clone = CONF.parent
    try:
        in_clone = (clone / "pyproject.toml").is_file()
        wanted = requirements.from_pyproject(clone) if in_clone else requirements.from_metadata()
    except metadata.PackageNotFoundError:
        return Check("required packages", None, "unknown: thalweg has no metadata here", "install it with pip")
    problems = requirements.unmet(wanted)
    if problems:
        return Check("required packages", False, "; ".join(problems), "install these, or set up again in a clone")
    return Check("required packages", True, f"{len(wanted)} fit")


def torch() -> Check:
    return _imports("torch", "install torch again")


def torchvision() -> Check:
    """torchvision is built for one torch and imports beside no other."""
    check = _imports("torchvision", "install torch and torchvision together, from one index")
    if "torchvision::nms" not in check.detail:
        return check
    pair = f"torchvision {_version('torchvision')} was not built for torch {_version('torch')}"
    return Check(check.name, False, pair, check.remedy)


def gpu() -> Check:
    """Whether torch can use each GPU that is there."""
    return cuda(None)


def cuda(indices: Sequence[int] | None) -> Check:
    """Whether torch can use these GPUs (all of them for None), or why not. Touches no other."""
    try:
        import torch
    except Exception as error:
        return Check("GPU", False, f"torch cannot be imported: {first_line(error)}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if available:
        return _cuda_sum(range(torch.cuda.device_count()) if indices is None else indices)
    if device.nvidia_present():
        said = "; ".join(first_line(warning.message) for warning in caught)
        return _unusable(_version("torch"), torch.version.cuda, device.nvidia_driver(), said)
    if torch.backends.mps.is_available():
        return Check("GPU", None, "Apple GPU, untested", "engine.device=mps uses it; the CPU is used otherwise")
    return Check("GPU", None, "none, trials train on the CPU")


def _cuda_sum(indices: Sequence[int]) -> Check:
    """Whether each of these devices runs a kernel: a torch without code for an older one fails only here.

    A device is made the current one first: its properties would else be asked with a context on device 0.
    """
    import torch

    wanted, there = torch.version.cuda, torch.cuda.device_count()
    if absent := [index for index in indices if index >= there]:
        remedy = f"cuda:0 to cuda:{there - 1} are there" if there > 1 else "only cuda:0 is there"
        return Check("GPU", False, f"there is no cuda:{absent[0]}", remedy)
    names = []
    for index in indices:
        name = f"cuda:{index}"
        try:
            torch.cuda.set_device(index)
            name = torch.cuda.get_device_name(index)
            names.append(name)
            torch.ones(2, device=f"cuda:{index}").sum().item()
        except RuntimeError as error:
            problem = f"{name}: torch's CUDA {wanted} build cannot run on it: {first_line(error)}"
            return Check("GPU", False, problem, "install a torch built for this GPU, and set THALWEG_PYTHON")
    return Check("GPU", True, f"{', '.join(names)} (CUDA {wanted}, driver {device.nvidia_driver()})")


def _unusable(version: str, wanted: str | None, driver: str | None, said: str) -> Check:
    """An NVIDIA device is there and torch finds none: no CUDA in torch, no driver, or too old a driver."""
    there = f"an NVIDIA device is there (driver {driver or 'not loaded'})"
    if wanted is None:
        detail = f"{there}, but torch {version} is built without CUDA"
        return Check("GPU", False, detail, "install torch from the default index, torchvision with it")
    detail = f"{there}, but torch {version}, built for CUDA {wanted}, cannot use it{': ' * bool(said)}{said}"
    oldest = OLDEST_DRIVER.get(int(wanted.split(".")[0]))
    if driver and oldest and int(driver.split(".")[0]) >= oldest:
        remedy = "the driver is recent enough: look at nvidia-smi, and restart the machine or container"
    else:
        newer = f" {oldest} or later" if oldest else ""
        remedy = f"install NVIDIA driver{newer}, or a torch for an older CUDA and set THALWEG_PYTHON"
    return Check("GPU", False, detail, remedy)


def cores() -> Check:
    usable, there = device.usable_cores(), os.cpu_count() or 1
    return Check("CPU cores", True, f"{usable}" if usable == there else f"{usable} usable of {there}")


def compiler() -> Check:
    """A C++ compiler, which torch.compile calls."""
    found = next(filter(None, map(shutil.which, (os.environ.get("CXX") or "c++", "g++", "clang++"))), None)
    if found:
        return Check("C++ compiler", True, found)
    cost = "none: trials train without torch.compile, for long ones at up to half the speed"
    return Check("C++ compiler", None, cost, "install g++ or clang")


def wandb() -> Check:
    """Whether W&B imports, its mode, and whether (never which) key it would use."""
    if find_spec("wandb") is None:
        return Check("wandb", None, "none: no W&B runs are written", "install wandb, or turn it off with tracker=none")
    check = _imports("wandb", "install wandb, or turn it off with tracker=none")
    if not check.ok:
        return check
    mode = os.environ.get("WANDB_MODE") or "offline (the default; WANDB_MODE is not set)"
    key = "an API key is set" if _has_key() else "no API key, none is needed offline"
    return Check(check.name, True, f"{check.detail}, mode {mode}, {key}")


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        file = os.environ.get("NETRC") or Path.home() / ".netrc"
        return host is not None and host in netrc.netrc(str(file)).hosts
    except (OSError, RuntimeError, netrc.NetrcParseError):
        return False


def configuration() -> Check:
    file = CONF / "config.yaml"
    ok = file.is_file()
    return Check("configuration", ok, str(file), None if ok else "install thalweg again")


def store_folder(store: Path) -> Check:
    """Whether the store can be written where it is, or made where it would be. Leaves nothing behind."""
    store = store.absolute()
    if store.is_dir():
        return Check("store", False, f"{store} is a folder", "give a file with --store PATH")
    if store.exists() and not os.access(store, os.W_OK):
        return Check("store", False, f"{store} is read-only", "sweep with another --store PATH")
    folder = next(parent for parent in store.parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
    except OSError as error:
        return Check("store", False, f"{store}: {folder}: {error.strerror}", "sweep with another --store PATH")
    kind = device.network_file_system(store)
    if kind:
        remedy = "keep the store on a local disk with --store PATH: SQLite's locks cannot be trusted here"
        return Check("store", False, f"{store} is on a network file system ({kind})", remedy)
    return Check("store", True, f"{store}{'' if store.exists() else ' (made by the first sweep)'}")


def _imports(name: str, remedy: str) -> Check:
    """Import by name: the doctor looks at packages whose use belongs to other modules."""
    try:
        import_module(name)
    except Exception as error:
        return Check(name, False, f"{name} cannot be imported: {first_line(error)}", remedy)
    return Check(name, True, _version(name))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(version unknown)"
