"""How a store file is opened, and how SQLite's errors become one sentence. Knows no tables.

| file                     | read                                  | write                         |
|--------------------------|---------------------------------------|-------------------------------|
| missing, empty           | no store                              | created with its folders      |
| not SQLite, not ours     | refused                               | refused, nothing left beside  |
| newer schema             | refused                               | refused                       |
| older schema             | upgraded copy in memory               | backup beside it, upgraded    |
| in a read-only folder    | as it was last closed (`immutable=1`) | refused                       |
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from thalweg.runner.base.errors import SetupError, StoreError, ThalwegError, UsageError
from thalweg.runner.base.regular import open_regular
from thalweg.runner.store.lock import Lock
from thalweg.runner.store.schema import APPLICATION_ID, Migration, migrate

MAGIC = b"SQLite format 3\0"
OLDEST_SQLITE = (3, 37)  # the first with STRICT tables
PAGE_BYTES = 16384  # three times less lost to half-filled pages than 4096, with series of 2.2 KB
PATIENCE_MS = 25_000
"""How long to wait for other writers, each of whom needs milliseconds. Ctrl-C is heard after it, within 30 s."""
ELSEWHERE = "use another file with --store PATH"


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the operating system raise about `path` into one sentence and a hint."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise ThalwegError(f"{path} was asked to hold what it must not: {error}") from error
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", None)
        if name is None and "decode to UTF-8" in str(error):
            raise damaged(path, "a text in it cannot be read") from error
        if name is None:
            raise
        raise _sentence(path, name, str(error)) from error
    except UnicodeDecodeError as error:  # SQLite quotes what it found in the message
        raise damaged(path, "a text in it cannot be read") from error
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) and "null byte" not in str(error):
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StoreError(f"{str(path)!r} cannot be opened: {reason}", ELSEWHERE) from error


def _sentence(path: Path, name: str, detail: str) -> StoreError:
    again = "what was committed is safe: make room, then run the same command again"
    table = {
        "SQLITE_FULL": (f"the disk is full: {path} could not be written", again),
        "SQLITE_IOERR": (f"{path} could not be read or written: {detail}", again),
        "SQLITE_READONLY": (f"{path} may not be written", f"change its permissions, or {ELSEWHERE}"),
        "SQLITE_CANTOPEN": (f"{path} cannot be opened", f"look at its folder's permissions, or {ELSEWHERE}"),
        "SQLITE_BUSY": (f"another program holds {path} locked", "close it there and try again"),
        "SQLITE_NOTADB": (f"{path} is not a SQLite file", ELSEWHERE),
    }
    if name.startswith("SQLITE_CORRUPT"):
        return damaged(path, detail)
    for prefix, (message, hint) in table.items():
        if name.startswith(prefix):
            return StoreError(message, hint)
    return StoreError(f"{path}: {detail} ({name})")


def damaged(path: Path, detail: str) -> StoreError:
    """The refusal of a file that was a store once."""
    return StoreError(f"{path} is damaged: {detail}", f"restore a copy of it, or {ELSEWHERE}")


@contextmanager
def decoded(path: Path) -> Iterator[None]:
    """Turn what is raised while rows become values into one sentence: bits of the file have changed."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise UsageError(f"{error.object[:60]!r} holds characters that are not text", "type it again") from error
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise damaged(path, f"it holds what no sweep wrote ({type(error).__name__}: {error})") from error


def is_store(path: Path) -> bool:
    """Whether something is stored at `path`; False if it is missing or empty. Changes nothing.

    Raises StoreError if it is a folder, not SQLite, or another program's. A file with a rollback journal was
    being created when its writer was killed: its header means nothing until SQLite has rolled it back.
    """
    with explained(path):
        try:
            with open_regular(path) as file:
                header = file.read(100)
        except FileNotFoundError:
            return False
        rolls_back = Path(f"{path}-journal").exists()
    if not header or rolls_back:
        return bool(header)
    if header[:16] != MAGIC:
        raise StoreError(f"{path} is not a SQLite file", ELSEWHERE)
    if (application := int.from_bytes(header[68:72])) != APPLICATION_ID:
        raise _not_ours(path, application)
    return True


def version_of(path: Path) -> int:
    """The schema version that a store has on disk, whatever it is read as."""
    with path.open("rb") as file:
        return int.from_bytes(file.read(64)[60:64])


def open_writing(path: Path, migrations: Sequence[Migration], now: str, lock: Lock) -> sqlite3.Connection:
    """Open `path` to write, created or upgraded by who holds the lock alone, perhaps beside others else."""
    with _connected(path, "rwc") as db:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # no effect on a file that has pages
        (found,) = db.execute("PRAGMA quick_check(1)").fetchone()  # 0.3 s a GB: writing would damage more
        if found != "ok":
            raise damaged(path, str(found).replace("\n", " "))
        version = _version(db, path, migrations)
        if version < len(migrations) and not lock.alone:
            raise lock.taken("is writing to")
        if 0 < version < len(migrations):
            _back_up(db, Path(f"{path}.v{version}"))
        db.execute("BEGIN IMMEDIATE")
        # With nothing to migrate this still writes, so that an unwritable file is refused before training.
        migrate(db, migrations, now)
        db.execute("COMMIT")
        for setting in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
            db.execute(f"PRAGMA {setting}")
        return db


def open_reading(path: Path, migrations: Sequence[Migration], now: str) -> tuple[sqlite3.Connection | None, str | None]:
    """Open `path` to read, with a warning if it may be stale. Never creates or upgrades a file.

    The connection is None if the file's creation was never finished.
    """
    # rw, not ro: a reader that may write tidies the write-ahead log away when it closes, another leaves it.
    try:
        return _reading(path, "rw", migrations, now), None
    except sqlite3.OperationalError as error:
        stale, name = _stale(path), error.sqlite_errorname
        # no room for the index of a log that is empty: nobody writes, and nothing has to be looked up in it
        full = stale is None and name.startswith(("SQLITE_FULL", "SQLITE_IOERR_SHM"))
        if not full and not name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
            raise
        return _reading(path, "ro&immutable=1", migrations, now), stale


def _reading(path: Path, mode: str, migrations: Sequence[Migration], now: str) -> sqlite3.Connection | None:
    with _connected(path, mode) as db:
        version = _version(db, path, migrations)
        if version == 0:
            db.close()
            return None
        if version < len(migrations):
            db = _upgraded_copy(db, migrations, now)
        db.execute("PRAGMA query_only = ON")
        return db


def _stale(path: Path) -> str | None:
    wal = Path(f"{path}-wal")
    if not wal.exists() or wal.stat().st_size == 0:
        return None
    return f"{wal} holds commits that cannot be read in a read-only folder; copy both files to a writable one"


@contextmanager
def _connected(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """A connection that stays open unless the block raises."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise SetupError(
            f"this Python has SQLite {sqlite3.sqlite_version}; thalweg needs 3.37 or newer",
            "use a Python that brings its own, as uv's and conda's do",
        )
    db = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None)
    try:
        db.execute(f"PRAGMA busy_timeout = {PATIENCE_MS}")
        yield db
    except BaseException:
        db.close()
        raise


def _version(db: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> int:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise _not_ours(path, application)
    if version > len(migrations):
        raise StoreError(
            f"{path} has schema version {version}, this release knows {len(migrations)}",
            f"update thalweg, or {ELSEWHERE}",
        )
    return int(version)


def _not_ours(path: Path, application: int) -> StoreError:
    other = f" (application id {application:#x})" if application else ""
    return StoreError(f"{path} is a SQLite file of another program{other}, not a thalweg store", ELSEWHERE)


def _back_up(db: sqlite3.Connection, target: Path) -> None:
    """Copy the whole store to `target`, which is there in full or not at all."""
    partial = Path(f"{target}.partial")
    partial.unlink(missing_ok=True)
    copy = sqlite3.connect(partial, isolation_level=None)
    try:
        db.backup(copy)
    finally:
        copy.close()
    os.replace(partial, target)


def _upgraded_copy(db: sqlite3.Connection, migrations: Sequence[Migration], now: str) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None)
    db.backup(copy)
    db.close()
    migrate(copy, migrations, now)
    return copy
