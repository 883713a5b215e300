"""Makes the environment `.venv/` in the clone, or checks the one that THALWEG_PYTHON names.

    setup.py make                  build .venv/ from requirements.lock; may be interrupted, or started twice
    setup.py check use|develop     a line for each package of this interpreter that does not fit

Standard library only; environment.sh has chosen the interpreter. `.venv/made-from`, a copy of requirements.lock and
pyproject.toml written last, says that .venv is whole: without it .venv is built again, from uv's cache where downloads
had finished.
"""

from __future__ import annotations

import compileall
import errno
import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
SOURCE = ROOT / "src"
FOLDERS = ("runner", "conf", "data", "models", "optim")
LOCK = ROOT / "requirements.lock"
STAMP = VENV / "made-from"
MARK = VENV / "made-by-thalweg"  # held while setting up; without it a .venv is somebody else's

# (system, machine) -> download, size on disk and free space asked for, in GB, at the lock of November 2026.
# Linux was measured on x86-64; arm64 and macOS are estimates from the wheels' listed sizes.
SIZES = {
    ("Linux", "x86_64"): (3.1, 5.6, 6.5),
    ("Linux", "aarch64"): (3.3, 5.8, 6.5),
    ("Darwin", "arm64"): (0.3, 1.2, 2.0),
}
OLDEST_UV = (0, 5)
LOCKED_SECONDS = 3600  # that another set-up may take: gigabytes over a slow line
LARGE = re.compile(r"Downloading (\S+) \(\d{3,}")  # at least 100 MiB
DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|\(os error (28|122)\)|\[Errno (28|122)\]")
NO_NETWORK = re.compile(
    r"error sending request|dns error|client error \(Connect\)|Failed to fetch|timed out"
    r"|Network is unreachable|Failed to establish a new connection|Name or service not known"
    r"|Temporary failure in name resolution|Connection (refused|reset)|No matching distribution found for uv",
    re.IGNORECASE,
)


class Stop(Exception):  # noqa: N818 (no error of ours)
    """Set-up cannot go on. Its text is the one line for the user."""


def say(text: str) -> None:
    print(f"thalweg: {text}", file=sys.stderr, flush=True)


def size_here() -> tuple[float, float, float]:
    """Download, size on disk and free space needed, in GB. Stops on a platform that has no wheels."""
    here = (platform.system(), platform.machine())
    libc, version = platform.libc_ver()
    glibc = libc == "glibc" and tuple(map(int, version.split("."))) >= (2, 28)
    macos = here[0] == "Darwin" and int(platform.mac_ver()[0].split(".")[0] or 0) >= 14
    if here in SIZES and (glibc or macos):
        return SIZES[here]
    raise Stop(
        "runs on Linux (x86-64 or arm64, glibc 2.28 or later), macOS 14 or later (arm64) and Windows "
        f"through WSL2; this is {' '.join(here)} {libc or platform.release()} {version}".rstrip()
    )


def gigabytes_free(folder: Path) -> float:
    """Free space on the file system of `folder` or its nearest existing parent."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / 1e9


@contextmanager
def held() -> Iterator[None]:
    """Be the only set-up of this clone; a second one waits and says so."""
    if VENV.is_dir() and not MARK.exists() and any(VENV.iterdir()):
        raise Stop(f"{VENV} was not made by this script: remove it, or set THALWEG_PYTHON={VENV / 'bin/python'}")
    VENV.mkdir(exist_ok=True)
    with MARK.open("a") as mark:
        if not _locked(mark):
            say("another set-up of this clone is running; waiting for it")
            end = time.monotonic() + LOCKED_SECONDS
            while not _locked(mark):
                if time.monotonic() >= end:
                    raise Stop(f"another set-up of {ROOT} has been at it for {LOCKED_SECONDS // 60} minutes; end it")
                time.sleep(0.2)
        os.set_inheritable(mark.fileno(), True)  # an installer that outlives a killed set-up keeps it held
        yield


def _locked(mark: IO[str]) -> bool:
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def whole() -> bool:
    """Whether .venv holds exactly what the lock file and pyproject.toml say."""
    return python().exists() and STAMP.exists() and STAMP.read_bytes() == wanted()


def wanted() -> bytes:
    """What .venv is made from: the packages, and how the clone itself is installed."""
    return LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()


def python() -> Path:
    return VENV / "bin/python"


def empty() -> None:
    """Remove everything in .venv but the mark, which is held."""
    for path in VENV.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != MARK:
            path.unlink()


def make() -> None:
    """Bring .venv to the state of requirements.lock and pyproject.toml."""
    download, on_disk, needed = size_here()
    with held():
        if whole():
            return
        fresh = not (python().exists() and STAMP.exists())
        STAMP.unlink(missing_ok=True)
        if fresh:
            empty()
            free = gigabytes_free(VENV)
            if free < needed:
                raise Stop(f"{VENV} needs {needed} GB of free disk space, {free:.1f} GB is free there")
            say(f"first call: making {VENV} with Python {platform.python_version()}")
            say(f"about {download} GB to download (less what uv has cached), {on_disk} GB on disk, once")
        else:
            say(f"requirements.lock or pyproject.toml has changed: bringing {VENV} up to date")
        install(needed)
        compile_ours()
        STAMP.write_bytes(wanted())


def install(needed: float) -> None:
    """Install the locked packages, then the clone itself in editable form (no network)."""
    environ = {**os.environ, "UV_CACHE_DIR": str(cache(needed)), "UV_PYTHON_DOWNLOADS": "never"}
    uv = uv_on_path()
    if uv:
        run([uv, "venv", "--allow-existing", "--python", os.path.realpath(sys.executable), str(VENV)], environ)
    else:
        uv = private_uv(environ)
    pip = [uv, "pip", "install", "--python", str(python()), "--no-deps"]
    # Only antlr4 comes as source; it is built with the locked setuptools.
    wheels = [
        "--only-binary",
        ":all:",
        "--no-binary",
        "antlr4-python3-runtime",
        "--build-constraints",
        str(LOCK),
    ]
    run([*pip, "--require-hashes", "--compile-bytecode", *wheels, "--requirements", str(LOCK)], environ)
    run([*pip, "--offline", "--no-build-isolation", "--editable", str(ROOT)], environ)
    shutil.rmtree(VENV / "uv-cache", ignore_errors=True)


def compile_ours() -> None:
    """Keep our modules compiled: where PYTHONDONTWRITEBYTECODE is set, each command compiled them again, for 0.2 s."""
    for folder in (SOURCE / "thalweg", *(SOURCE / "thalweg" / name for name in FOLDERS)):  # links are not followed
        compileall.compile_dir(folder, quiet=2)


def cache(needed: float) -> Path:
    """uv's own cache, so that a second clone downloads nothing; inside .venv where that has no place."""
    usual = os.environ.get("UV_CACHE_DIR")
    if not usual and os.environ.get("XDG_CACHE_HOME"):
        usual = os.path.join(os.environ["XDG_CACHE_HOME"], "uv")
    if not usual and os.environ.get("HOME"):
        usual = os.path.join(os.environ["HOME"], ".cache/uv")
    try:
        folder = Path(usual or "")
        folder.mkdir(parents=True, exist_ok=True)
        if usual and os.access(folder, os.W_OK) and gigabytes_free(folder) >= needed:
            return folder.absolute()
    except OSError:
        pass  # the cache below does as well
    return VENV / "uv-cache"


def uv_on_path() -> str | None:
    """The user's uv, if it runs and is recent enough."""
    uv = shutil.which("uv")
    if uv is None:
        return None
    answer = subprocess.run([uv, "--version"], capture_output=True, text=True)
    found = re.match(r"uv (\d+)\.(\d+)", answer.stdout)
    return uv if found and tuple(map(int, found.groups())) >= OLDEST_UV else None


def private_uv(environ: dict[str, str]) -> str:
    """The locked uv inside .venv, put there by pip if need be."""
    uv = VENV / "bin/uv"
    if not uv.exists():
        if find_spec("ensurepip") is None or find_spec("venv") is None:
            name = "python{}.{}-venv".format(*sys.version_info)
            raise Stop(f"{sys.executable} has no venv module; install it (sudo apt install {name}), or install uv")
        run([os.path.realpath(sys.executable), "-m", "venv", str(VENV)], environ)
        pinned = VENV / "uv.txt"
        pinned.write_text(locked("uv"))
        options = ["--quiet", "--no-deps", "--no-cache-dir", "--retries", "2", "--disable-pip-version-check"]
        say("installing uv")
        run([str(python()), "-m", "pip", "install", *options, "--require-hashes", "-r", str(pinned)], environ)
        pinned.unlink()
    return str(uv)


def locked(name: str) -> str:
    """The lines of the lock file that pin one package, hashes included."""
    found = re.search(rf"^{name}==.*(?:\n +--hash.*)*", LOCK.read_text(), re.MULTILINE)
    if found is None:
        raise Stop(f"{LOCK} does not pin {name}; write it anew with scripts/lock")
    return found.group() + "\n"


def run(command: list[str], environ: dict[str, str]) -> None:
    """Run one installing command in the clone: large downloads are shown, known errors become one line."""
    held_back: list[str] = []
    shown: set[str] = set()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environ,
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            held_back.append(line)
            if large := LARGE.search(line):
                shown.add(f"Downloaded {large[1]}")
            if large or line.strip() in shown:
                say(line.strip())
    if process.returncode != 0:
        raise Stop(reason(command, process.returncode, "".join(held_back)))


def reason(command: list[str], status: int, errors: str) -> str:
    """Why an installing command failed, in one line. Its own words are shown where that is no known case."""
    if DISK_FULL.search(errors):
        return disk_full()
    if NO_NETWORK.search(errors):
        return (
            "the package index cannot be reached; connect and repeat, or set UV_DEFAULT_INDEX to a mirror, "
            "or THALWEG_PYTHON to an interpreter that has the packages"
        )
    sys.stderr.write("".join(errors.splitlines(keepends=True)[-20:]))
    return f"set-up failed: {' '.join(command[:3])} ended with status {status} (its own words above)"


def disk_full() -> str:
    return f"the disk filled up while installing into {VENV}: free some space, then repeat the command"


def refuse_without_links() -> None:
    """Stop where src/thalweg/ does not lead to our folders: git wrote text files, or this is an unpacked sdist."""
    missing = [name for name in FOLDERS if not (SOURCE / "thalweg" / name).is_dir()]
    if missing:
        sys.path.insert(0, str(SOURCE))
        from thalweg.__main__ import no_link

        raise Stop(no_link(missing[0]))


def check(need: str) -> None:
    """Stop with a line for each requirement that this interpreter does not meet."""
    sys.path.insert(0, str(SOURCE))
    from thalweg.runner.machine.requirements import from_pyproject, unmet

    problems = unmet(from_pyproject(ROOT, develop=need == "develop"))
    for problem in problems:
        say(problem)
    if problems:
        raise Stop(f"install these for THALWEG_PYTHON={sys.executable}, or unset THALWEG_PYTHON to have .venv made")


def main(arguments: list[str]) -> int:
    try:
        refuse_without_links()
        if arguments[0] == "check":
            check(arguments[1])
        else:
            make()
    except Stop as stop:
        say(str(stop))
        return 2
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        say(disk_full() if full else f"set-up failed: {error.strerror}: {error.filename or VENV}")
        return 2
    except KeyboardInterrupt:
        say("set-up interrupted; the same command goes on")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
