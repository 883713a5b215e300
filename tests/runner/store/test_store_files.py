"""How a store file is opened, refused, upgraded and locked."""

import fcntl
import functools
import os
import resource
import shutil
import signal
import sqlite3
import tempfile
import threading
from pathlib import Path

import pytest
from store_cases import cohort_of, in_child, make_members, make_observations, make_study, train, wait

from thalweg.runner.base.errors import SetupError, StoreError
from thalweg.runner.store import Store
from thalweg.runner.store.schema import APPLICATION_ID, MIGRATIONS, Migration

SECOND = Migration("second", ("ALTER TABLE trials ADD COLUMN second TEXT",))
THIRD_IS_BROKEN = Migration("third", ("CREATE TABLE extra (x TEXT) STRICT", "CREATE TABLE trials (x TEXT) STRICT"))
NOBODY = 65534


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s.sqlite"


@pytest.fixture
def public():
    """A folder that an unprivileged user can reach, which tmp_path is not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    for each in (folder, *folder.rglob("*")):
        each.chmod(0o777)
    shutil.rmtree(folder)


def filled(path, n=3):
    with Store.open(path, "write") as store:
        members = make_members([0.1 * (i + 1) for i in range(n)])
        store.declare(make_study(), members)
        train(store, members)
    return path


def unprivileged(work):
    """Run `work` as a user whom file permissions bind, in a process of its own."""

    def drop_and_work():
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        work()

    assert wait(in_child(drop_and_work)) == 0


def refusal(path, mode="write", **how):
    with pytest.raises(StoreError) as caught:
        Store.open(path, mode, **how)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value.message


# Creating


def test_writing_makes_the_folders_and_the_file(tmp_path):
    path = tmp_path / "a" / "b" / "s.sqlite"
    with Store.open(path, "write") as store:
        assert store.studies() == []
    assert sorted(p.name for p in path.parent.iterdir()) == ["s.sqlite", "s.sqlite.lock"]


def test_reading_makes_nothing(tmp_path):
    missing = tmp_path / "a" / "s.sqlite"
    assert Store.open_if_present(missing) is None
    assert "no store" in refusal(missing, "read")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_a_store_that_was_not_begun(path):
    path.touch()
    assert Store.open_if_present(path) is None
    with Store.open(path, "write") as store:
        assert store.studies() == []


def test_reading_leaves_no_file_behind(path):
    filled(path)
    before = sorted(path.parent.iterdir())
    with Store.open(path) as store:
        assert len(store.study_rows("coupling")) == 3
    assert sorted(path.parent.iterdir()) == before


def test_a_reader_cannot_write(path):
    filled(path)
    with Store.open(path) as store, pytest.raises(StoreError):
        store.declare(make_study(), make_members((7.0,)))


def test_the_file_carries_our_mark_and_version(path):
    filled(path)
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("SELECT name FROM migrations ORDER BY version").fetchall() == [(m.name,) for m in MIGRATIONS]
    kinds = db.execute("SELECT name, strict FROM pragma_table_list WHERE type = 'table' AND schema = 'main'")
    assert [name for name, strict in kinds if not strict and not name.startswith("sqlite_")] == []
    db.close()


# Refusing


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_file_that_is_not_ours_is_refused_and_left_alone(tmp_path, mode):
    text, other, marked = tmp_path / "notes.txt", tmp_path / "other.db", tmp_path / "marked.db"
    text.write_text("my notes, which are longer than a header\n" * 10)
    for file, mark in ((other, 0), (marked, 42)):
        with sqlite3.connect(file) as db:
            db.execute(f"PRAGMA application_id = {mark}")
            db.execute("CREATE TABLE mine (x)")
        db.close()
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    assert "notes.txt is not a SQLite file" in refusal(text, mode)
    assert "other.db is a SQLite file of another program" in refusal(other, mode)
    assert "0x2a" in refusal(marked, mode)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("mode", ["read", "write"])
@pytest.mark.parametrize("name", [".", "nul\0byte", "x" * 300])
def test_a_path_that_cannot_be_a_file_is_refused(tmp_path, mode, name):
    assert "cannot be opened" in refusal(f"{tmp_path}/{name}", mode)


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    assert "cannot be opened" in refusal(tmp_path / "file" / "s.sqlite")


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_newer_store_is_refused_naming_both_versions(path, mode):
    Store.open(path, "write", migrations=(*MIGRATIONS, SECOND)).close()
    known = len(MIGRATIONS)
    assert f"has schema version {known + 1}, this release knows {known}" in refusal(path, mode)


def test_a_damaged_store_is_refused_in_one_sentence(path):
    filled(path)
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"\xff" * 4096 + data[4196:])
    with pytest.raises(StoreError, match="damaged"), Store.open(path) as store:
        store.studies()


def test_an_old_sqlite_is_named(path, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(SetupError, match=r"needs 3\.37"):
        Store.open(path, "write")


def test_an_unwritable_folder_is_refused_for_writing(public):
    public.chmod(0o555)

    def work():
        assert "cannot be opened: Permission denied" in refusal(public / "s.sqlite")
        assert "cannot be opened: Permission denied" in refusal(public / "a" / "s.sqlite")
        assert Store.open_if_present(public / "s.sqlite") is None

    unprivileged(work)


def test_an_unwritable_file_is_refused_for_writing(public):
    filled(public / "s.sqlite").chmod(0o444)
    (public / "s.sqlite.lock").unlink()

    def work():
        assert "may not be written" in refusal(public / "s.sqlite")

    unprivileged(work)


def test_a_store_in_a_read_only_folder_can_be_read(public):
    filled(public / "s.sqlite").chmod(0o444)
    public.chmod(0o555)

    def work():
        with Store.open(public / "s.sqlite") as store:
            assert len(store.study_rows("coupling")) == 3
            assert store.warnings == ()

    unprivileged(work)


def test_commits_that_cannot_be_read_in_a_read_only_folder_are_said(public):
    path = public / "s.sqlite"
    Store.open(path, "write").close()

    def die():
        store = Store.open(path, "write")
        store.declare(make_study(), make_members())
        os.kill(os.getpid(), signal.SIGKILL)

    assert wait(in_child(die)) == -signal.SIGKILL
    (public / "s.sqlite-shm").unlink()
    public.chmod(0o555)

    def work():
        with Store.open(path) as store:
            assert "s.sqlite-wal holds commits that cannot be read" in store.warnings[0]

    unprivileged(work)


# Full disk


def test_a_full_disk_is_one_sentence_and_loses_nothing(path):
    filled(path)

    def work():
        store = Store.open(path, "write")
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, path.stat().st_size))
        members = make_members([1.0 + i for i in range(1000)])
        with pytest.raises(StoreError, match=r"s\.sqlite could not be"):
            store.declare(make_study(), members)
        assert len(store.study_rows("coupling")) == 3

    assert wait(in_child(work)) == 0
    with Store.open(path, "write") as store:
        assert {r.outcome for r in store.study_rows("coupling")} == {"finished"}
        store.declare(make_study(), make_members([1.0]))


def test_a_store_on_a_full_disk_can_be_read(path):
    filled(path)

    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        with Store.open(path) as store:
            assert len(store.study_rows("coupling")) == 3
            assert store.warnings == ()

    assert wait(in_child(work)) == 0
    with Store.open(path, "write") as store:
        store.declare(make_study(), make_members([1.0]))


def test_a_full_disk_is_named(path):
    with Store.open(path, "write") as store:
        store._db.execute("PRAGMA max_page_count = 30")
        with pytest.raises(StoreError, match=r"the disk is full: .*s\.sqlite could not be written"):
            store.declare(make_study(), make_members([0.01 * (i + 1) for i in range(2000)]))
        assert store.studies() == []
        store.declare(make_study(), make_members())


# Many writers


def test_a_second_writer_is_let_in(path):
    with Store.open(path, "write") as first:
        assert wait(in_child(lambda: Store.open(path, "write").declare(make_study(), make_members()))) == 0
        assert len(first.study_rows("coupling")) == 1


def held_by_an_older_release(path):
    """An older release lets nobody in beside it."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT)
    os.write(lock, b"4242\n")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def test_a_store_that_an_older_release_writes_to_is_waited_for_and_then_refused(path, monkeypatch):
    filled(path)
    lock = held_by_an_older_release(path)
    monkeypatch.setattr("thalweg.runner.store.lock.PATIENCE_SECONDS", 0.1)
    assert f"a sweep of another release (pid 4242) lets nobody else write to {path}" in refusal(path)
    threading.Timer(0.3, lambda: os.close(lock)).start()
    monkeypatch.setattr("thalweg.runner.store.lock.PATIENCE_SECONDS", 10.0)
    Store.open(path, "write").close()


def test_a_store_is_not_upgraded_while_another_writes_to_it(path):
    with Store.open(path, "write"):
        said = refusal(path, migrations=(*MIGRATIONS, SECOND))
        assert f"a sweep of another release (pid {os.getpid()}) is writing to {path}" in said
    Store.open(path, "write", migrations=(*MIGRATIONS, SECOND)).close()
    assert columns(path) == (True, len(MIGRATIONS) + 1)


@pytest.mark.parametrize("older", [False, True])
def test_many_that_open_a_store_at_once_all_find_it_made_or_upgraded_and_one_backup(path, older):
    if older:
        filled(path)
    migrations = (*MIGRATIONS, SECOND) if older else MIGRATIONS
    members = make_members([0.5 + i for i in range(8)])

    def work(number):
        with Store.open(path, "write", migrations=migrations) as store:
            store.declare(make_study(str(number)), members[number : number + 1])

    assert [wait(pid) for pid in [in_child(functools.partial(work, number)) for number in range(8)]] == [0] * 8
    with Store.open(path, migrations=migrations) as store:
        assert len(store.studies()) == 8 + older
    if older:
        with Store.open(f"{path}.v{len(MIGRATIONS)}") as backup:
            assert len(backup.studies()) == 1


def test_readers_see_commits_while_a_writer_writes(path):
    with Store.open(path, "write") as writer, Store.open(path) as reader:
        writer.declare(make_study(), make_members())
        assert len(reader.study_rows("coupling")) == 1
        number = writer.open_cohort(cohort_of(make_members()))
        writer.commit(number, [make_observations(make_members()[0].trial.id)])
        assert reader.studies()[0].finished == 1


def test_a_refused_writer_lets_go_of_the_lock(path):
    Store.open(path, "write", migrations=(*MIGRATIONS, SECOND)).close()
    refusal(path)
    Store.open(path, "write", migrations=(*MIGRATIONS, SECOND)).close()


# Upgrading


def columns(path):
    db = sqlite3.connect(path)
    found = [row[1] for row in db.execute("PRAGMA table_info(trials)")]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    recorded = [row[0] for row in db.execute("SELECT version FROM migrations ORDER BY version")]
    db.close()
    assert recorded == list(range(1, version + 1))
    return "second" in found, version


def test_an_older_store_is_upgraded_after_a_backup(path):
    filled(path)
    with Store.open(path, "write", migrations=(*MIGRATIONS, SECOND)) as store:
        assert len(store.export_rows()) == 3
    assert columns(path) == (True, len(MIGRATIONS) + 1)
    with Store.open(f"{path}.v{len(MIGRATIONS)}") as backup:
        assert len(backup.export_rows()) == 3


def taken_away(path, take, before):
    """Take a store's folder away while it is open to write: before it is declared in, or after."""
    with Store.open(path, "write") as store:
        if before:
            take(path.parent)
        store.declare(make_study(), make_members([0.1]))
        take(path.parent)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("take", [shutil.rmtree, lambda folder: folder.rename(folder.with_name("elsewhere"))])
def test_a_store_taken_away_while_it_is_written_to_is_not_taken_for_success(tmp_path, take, before):
    with pytest.raises(StoreError, match="was deleted or moved"):
        taken_away(tmp_path / "results" / "s.sqlite", take, before)


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(path):
    filled(path)
    with pytest.raises(StoreError):
        Store.open(path, "write", migrations=(*MIGRATIONS, SECOND, THIRD_IS_BROKEN))
    assert columns(path) == (False, len(MIGRATIONS))
    with Store.open(path) as store:
        assert len(store.export_rows()) == 3


def test_an_older_store_is_read_without_being_upgraded(path):
    filled(path)
    before = path.read_bytes()
    with Store.open(path, migrations=(*MIGRATIONS, SECOND)) as store:
        assert len(store.export_rows()) == 3
    assert path.read_bytes() == before
    assert not Path(f"{path}.v{len(MIGRATIONS)}").exists()


def test_a_store_of_version_1_can_still_be_opened(path):
    """The released schema is kept as text: a changed migration would leave older stores behind."""
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript((Path(__file__).parent / "store_v1.sql").read_text())
    db.close()
    with Store.open(path, "write") as store:
        (record,) = store.export_rows("coupling")
        assert (record.outcome, record.metrics) == ("finished", {"val/loss": 0.5})
        assert record.cohort.peak_bytes is None
        assert store.series(record.trial_id)["val/loss"].values.tolist() == [2.0, 0.5]
        assert store.study("coupling").blocks[0].expect.slope == -1.0
    fresh = path.with_name("fresh.sqlite")
    Store.open(fresh, "write").close()
    assert schema_of(path) == schema_of(fresh)


def schema_of(path):
    db = sqlite3.connect(path)
    found = db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    db.close()
    return {name: [line.split("--")[0].split() for line in sql.splitlines()] for name, sql in found}


# Network file systems


def test_a_network_file_system_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("thalweg.runner.store.store.network_file_system", lambda path: "nfs4")
    with Store.open(tmp_path / "s.sqlite", "write") as store:
        assert "network file system (nfs4)" in store.warnings[0]
