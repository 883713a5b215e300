"""The doctor names what is wrong and what to do, from faked machines; it never shows a key and leaves no file."""

import sys
import warnings
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from thalweg.runner.machine import device, doctor, requirements


def folder(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return f"{root}/"


def fake_torch(cuda, available, names=(), warning=None, kernel_error=None):
    def is_available():
        if warning:
            warnings.warn(warning, stacklevel=1)
        return available

    def ones(*_, **__):
        if kernel_error:
            raise RuntimeError(kernel_error)
        return SimpleNamespace(sum=lambda: SimpleNamespace(item=lambda: 2.0))

    touched = []
    return SimpleNamespace(
        version=SimpleNamespace(cuda=cuda),
        cuda=SimpleNamespace(
            is_available=is_available,
            device_count=lambda: len(names),
            get_device_name=lambda index: names[index],
            set_device=lambda index: touched.append(index),
        ),
        touched=touched,
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: False)),
        ones=ones,
    )


@pytest.fixture
def machine(monkeypatch):
    def make(torch, driver=None, present=True):
        monkeypatch.setitem(sys.modules, "torch", torch)
        monkeypatch.setattr(device, "nvidia_present", lambda: present)
        monkeypatch.setattr(device, "nvidia_driver", lambda: driver)
        monkeypatch.setattr(doctor, "_version", lambda name: "2.15.0")

    return make


def test_a_driver_too_old_for_torch_is_named_with_the_one_needed(machine):
    machine(fake_torch("13.0", False, warning="CUDA initialization: driver too old\nmore"), driver="470.199.02")
    check = doctor.gpu()
    assert check.ok is False
    assert "driver 470.199.02" in check.detail
    assert "CUDA 13.0" in check.detail
    assert check.detail.endswith("driver too old")
    assert "580 or later" in check.remedy


def test_a_recent_driver_is_not_blamed(machine):
    machine(fake_torch("13.0", False), driver="580.95.05")
    check = doctor.gpu()
    assert check.ok is False
    assert "580 or later" not in check.remedy


def test_a_torch_without_cuda_beside_an_nvidia_device_is_wrong(machine):
    machine(fake_torch(None, False), driver="580.95.05")
    check = doctor.gpu()
    assert check.ok is False
    assert "built without CUDA" in check.detail


def test_a_gpu_whose_kernels_do_not_run_is_wrong(machine):
    machine(fake_torch("13.0", True, ["GTX 1060"], kernel_error="no kernel image is available"))
    check = doctor.gpu()
    assert check.ok is False
    assert "GTX 1060" in check.detail
    assert "no kernel image" in check.detail


def test_a_usable_gpu_is_named_and_no_gpu_is_no_fault(machine):
    machine(fake_torch("13.0", True, ["H200"]), driver="580.95.05")
    assert doctor.gpu().ok is True
    assert "H200" in doctor.gpu().detail
    machine(fake_torch("13.0", False), present=False)
    assert doctor.gpu().ok is None


def test_a_worker_touches_no_gpu_but_its_own(machine):
    machine(torch := fake_torch("13.0", True, ["H200", "H100"]), driver="580.95.05")
    assert doctor.cuda([1]).detail.startswith("H100 ")
    assert torch.touched == [1]
    assert doctor.cuda([2]).detail == "there is no cuda:2"


def test_a_torchvision_of_another_torch_is_one_clear_line(monkeypatch):
    def refuse(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(doctor, "import_module", refuse)
    check = doctor.torchvision()
    assert check.ok is False
    assert "was not built for torch" in check.detail
    assert "together" in check.remedy


def test_a_broken_torch_does_not_stop_the_doctor(monkeypatch, tmp_path):
    def refuse(name):
        raise ImportError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr(doctor, "import_module", refuse)
    monkeypatch.setitem(sys.modules, "torch", None)
    checks = {check.name: check for check in doctor.examine(tmp_path / "store.sqlite")}
    assert checks["torch"].ok is False
    assert "libcudart" in checks["torch"].detail
    assert checks["GPU"].ok is False
    assert checks["store"].ok is True


def test_packages_that_do_not_fit_are_named(monkeypatch):
    monkeypatch.setattr(requirements, "from_pyproject", lambda _: ["torch>=99"])
    check = doctor.packages()
    assert check.ok is False
    assert "needed: torch>=99" in check.detail


def test_a_key_is_known_of_and_never_shown(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "find_spec", lambda name: name)
    monkeypatch.setattr(doctor, "import_module", lambda name: None)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    monkeypatch.setenv("WANDB_MODE", "online")
    assert "no API key" in doctor.wandb().detail
    assert "mode online" in doctor.wandb().detail
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password planted\n")
    assert "an API key is set" in doctor.wandb().detail
    monkeypatch.setenv("WANDB_API_KEY", "planted")
    assert "an API key is set" in doctor.wandb().detail
    assert "planted" not in repr(doctor.wandb())


def test_a_store_folder_is_tried_and_left_as_it_was(tmp_path):
    check = doctor.store_folder(tmp_path / "new/deep/store.sqlite")
    assert check.ok is True
    assert list(tmp_path.iterdir()) == []
    assert doctor.store_folder(tmp_path).ok is False
    assert doctor.store_folder(Path("/proc/none/store.sqlite")).ok is False


def test_a_store_on_a_network_file_system_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "network_file_system", lambda _: "nfs4")
    check = doctor.store_folder(tmp_path / "store.sqlite")
    assert check.ok is False
    assert "nfs4" in check.detail


def test_the_innermost_mount_decides(tmp_path):
    mounts = (
        "/dev/sda / ext4 rw 0 0\nhost:/x /net/my\\040files nfs4 rw 0 0\n/dev/sdb /net/my\\040files/local xfs rw 0 0\n"
    )
    root = folder(tmp_path, {"proc/self/mounts": mounts})
    assert device.network_file_system(Path("/home/store"), root) is None
    assert device.network_file_system(Path("/net/my files/store"), root) == "nfs4"
    assert device.network_file_system(Path("/net/my files/local/store"), root) is None


def test_an_nvidia_device_is_seen_unless_hidden(tmp_path):
    assert not device.nvidia_present({}, folder(tmp_path, {"dev/nvidiactl": "", "dev/dxg": ""}))
    root = folder(tmp_path, {"dev/nvidia0": ""})
    assert device.nvidia_present({}, root)
    assert device.nvidia_present({"CUDA_VISIBLE_DEVICES": "0"}, root)
    assert not device.nvidia_present({"CUDA_VISIBLE_DEVICES": ""}, root)
    windows = folder(tmp_path / "wsl", {"dev/dxg": "", "usr/lib/wsl/lib/libcuda.so.1": ""})
    assert device.nvidia_present({}, windows)


def test_the_driver_is_read_from_the_kernel_module(tmp_path):
    line = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (x@y)\n"
    assert device.nvidia_driver(folder(tmp_path, {"proc/driver/nvidia/version": line})) == "580.95.05"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "250000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        (
            {
                "proc/self/cgroup": "4:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            2,
        ),
    ],
)
def test_usable_cores_respect_affinity_and_quota(monkeypatch, tmp_path, files, cores):
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert device.usable_cores(folder(tmp_path, files)) == cores


MIB = 2**20
HOST = {
    "proc/meminfo": f"MemTotal: 9999 kB\nMemAvailable:    {1000 * 1024} kB\n",
    "proc/self/cgroup": "3:memory:/job\n0::/a/b\n",
}


@pytest.mark.parametrize(
    ("files", "mebibytes"),
    [
        ({}, 1000),
        ({"a/b/memory.max": "max", "a/b/memory.current": str(50 * MIB), "a/b/memory.stat": "anon 3\n"}, 1000),
        ({"a/memory.max": str(300 * MIB), "a/memory.current": str(50 * MIB), "a/memory.stat": "anon 3\n"}, 250),
        (
            {
                "a/b/memory.max": str(300 * MIB),
                "a/b/memory.current": str(290 * MIB),
                "a/b/memory.stat": f"anon 3\ninactive_file {200 * MIB}\n",
            },
            210,
        ),
        ({"memory.max": str(300 * MIB), "memory.current": str(301 * MIB), "memory.stat": ""}, 0),
        (
            {
                "memory/memory.limit_in_bytes": str(80 * MIB),
                "memory/memory.usage_in_bytes": str(30 * MIB),
                "memory/memory.stat": "total_inactive_file 0\n",
                "memory/job/memory.limit_in_bytes": str(70 * MIB),
                "memory/job/memory.usage_in_bytes": str(29 * MIB),
                "memory/job/memory.stat": "total_inactive_file 0\n",
            },
            41,
        ),
    ],
)
def test_available_memory_respects_the_limits_of_containers(tmp_path, files, mebibytes):
    within = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    assert device.available_bytes(folder(tmp_path, HOST | within)) == mebibytes * MIB


def test_without_wandb_nothing_is_amiss_but_its_runs(monkeypatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(requirements.metadata, "version", version)
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert requirements.unmet(["wandb>=0.19", "torch>=2.11"]) == ["torch is not installed, needed: torch>=2.11"]
    check = doctor.wandb()
    assert check.ok is None
    assert "tracker=none" in check.remedy


def test_a_wandb_that_is_too_old_is_still_amiss(monkeypatch) -> None:
    monkeypatch.setattr(requirements.metadata, "version", lambda name: "0.12")
    assert requirements.unmet(["wandb>=0.19"]) == ["wandb 0.12 is installed, needed: wandb>=0.19"]
