"""What the operating system says of GPU, CPU cores, memory and file systems. Knows no torch."""

from __future__ import annotations

import glob
import math
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

NETWORK = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "smb2", "smb3", "smbfs"),
    *("fuse.ceph", "fuse.glusterfs", "fuse.rclone", "fuse.sshfs"),
}


def nvidia_present(environ: Mapping[str, str] = os.environ, root: str = "/") -> bool:
    """Whether an NVIDIA device is there and CUDA_VISIBLE_DEVICES does not hide it."""
    if environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1", "NoDevFiles"):
        return False
    windows = os.path.exists(f"{root}dev/dxg") and os.path.exists(f"{root}usr/lib/wsl/lib/libcuda.so.1")
    return windows or bool(glob.glob(f"{root}dev/nvidia[0-9]*"))


def nvidia_driver(root: str = "/") -> str | None:
    """The loaded NVIDIA driver's version, e.g. `580.95.05`."""
    try:
        text = Path(f"{root}proc/driver/nvidia/version").read_text()
    except OSError:  # WSL has no such file
        text = _nvidia_smi()
    found = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", text)
    return found.group() if found else None


def _nvidia_smi() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def usable_cores(root: str = "/") -> int:
    """CPU cores this process may keep busy: its affinity, or less where a cgroup's quota gives less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min([cores, *_quotas(root)])))


def _quotas(root: str) -> list[float]:
    """CPU quotas, in cores, of this process's cgroup and those above it (versions 2 and 1)."""
    files = [[folder / "cpu.max"] for folder in _cgroups(root)]
    files += [[folder / f"cpu.cfs_{part}_us" for part in ("quota", "period")] for folder in _cgroups(root, "cpu")]
    return [_quota(*" ".join(file.read_text() for file in each).split()) for each in files if each[-1].exists()]


def _cgroups(root: str, controller: str = "") -> list[Path]:
    """Folders of this process's cgroup and those above it: of version 2, or of a controller of version 1."""
    try:
        lines = Path(f"{root}proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    base = Path(f"{root}sys/fs/cgroup") / controller
    paths = [path for _, names, path in (line.split(":", 2) for line in lines) if controller in names.split(",")]
    own = base / (paths[0] if paths else "").strip("/")
    return [folder for folder in (own, *own.parents) if folder.is_relative_to(base)]


def _quota(share: str, period: str) -> float:
    return math.inf if share in ("max", "-1") else int(share) / int(period)


def available_bytes(root: str = "/") -> int:
    """Memory that this process may still take: what the host has left, or less where a cgroup's limit leaves less.

    Half of what is built in where the system does not say.
    """
    meminfo = Path(f"{root}proc/meminfo")
    known = re.search(r"^MemAvailable: +(\d+) kB$", meminfo.read_text(), re.MULTILINE) if meminfo.exists() else None
    free = int(known[1]) * 1024 if known else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    limits = [(folder, "memory.max", "memory.current") for folder in _cgroups(root)]
    limits += [(each, "memory.limit_in_bytes", "memory.usage_in_bytes") for each in _cgroups(root, "memory")]
    return max(0, min([free, *(left for each in limits if (left := _left(*each)) is not None)]))


def _left(cgroup: Path, limit: str, used: str) -> int | None:
    """Bytes between a cgroup's limit and its use, but for the files it could let go; None where there is no limit."""
    try:
        most, now = ((cgroup / name).read_text().strip() for name in (limit, used))
        kept = re.search(r"^(?:total_)?inactive_file (\d+)$", (cgroup / "memory.stat").read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if most == "max" else int(most) - int(now) + (int(kept[1]) if kept else 0)


def network_file_system(path: Path, root: str = "/") -> str | None:
    """The kind of network file system that `path` lies on; None for a local one, or where nothing tells."""
    try:
        lines = Path(f"{root}proc/self/mounts").read_text().splitlines()
    except OSError:
        return None
    mounts = [(_unescape(folder), kind) for _, folder, kind, *_ in map(str.split, lines)]
    within = [(len(folder), kind) for folder, kind in mounts if path.resolve().is_relative_to(folder)]
    kind = max(within, default=(0, ""))[1]
    return kind if kind in NETWORK else None


def _unescape(folder: str) -> str:
    return re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), folder)


def processor() -> str:
    """The make of this machine's CPU, as it names itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
