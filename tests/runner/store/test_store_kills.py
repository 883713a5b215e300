"""What a killed process leaves behind: the state before a commit or after it, never one between."""

import functools
import os
import random
import resource
import signal
import sqlite3
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from store_cases import in_child, make_members, make_study, train, wait

from thalweg.runner.facts.choice import Choice
from thalweg.runner.store import Store

MEMBERS = make_members((0.1, 0.2, 0.3))
WHOLE = {"metrics": 2, "series": 2}
NOTHING, EMPTY, DECLARED, TRAINED = None, (0, 0, 0), (1, 3, 0), (1, 3, 3)
SEED = 20240607
CUT_SHORT = 9


@pytest.fixture
def folder():
    """In memory where possible: a kill, unlike a power cut, leaves the same there, and syncing takes 10 s."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as name:
        yield Path(name)


def small_sweep(path):
    with Store.open(path, "write", clock=lambda: datetime(2030, 1, 1, tzinfo=UTC)) as store:
        store.declare(make_study(), MEMBERS)
        store.record_choice(MEMBERS[0].trial.group_id, "cpu", Choice("vmap", "shared", 3, "fastest"))
        train(store, MEMBERS)


def assert_whole(path):
    """The file is sound, and every trial has all of its values or none.

    Returns how many studies, members and done trials there are, None if there is no store yet.
    """
    store = Store.open_if_present(path)
    if store is None:
        return None
    store.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    db.close()
    with Store.open(path) as store:
        rows = store.study_rows("coupling")
        for row in rows:
            done = row.outcome is not None
            assert {"metrics": len(row.metrics), "series": len(store.series(row.trial_id))} == (
                WHOLE if done else dict.fromkeys(WHOLE, 0)
            )
        return len(store.studies()), len(rows), len(store.export_rows())


def swept_with(fail, when, path):
    fail(when)
    small_sweep(path)


def exit_at_statement(n):
    """Leave the process, cleaning nothing up, when SQLite is about to run its n-th statement."""
    seen = 0

    def count(statement):
        nonlocal seen
        seen += 1
        if seen == n:
            os._exit(CUT_SHORT)

    class Dying(sqlite3.Connection):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.set_trace_callback(count)

    sqlite3.connect = functools.partial(sqlite3.connect, factory=Dying)  # type: ignore[assignment]


def die_beyond(size):
    """Let the kernel kill the process in the write that would make any file longer than `size` bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.long
@pytest.mark.parametrize(
    ("fail", "step", "begun", "seen"),
    [
        pytest.param(exit_at_statement, 1, False, {NOTHING, EMPTY, DECLARED}, id="before each statement"),
        pytest.param(die_beyond, 14_009, False, {NOTHING}, id="inside a write that creates the store"),
        pytest.param(die_beyond, 14_009, True, {EMPTY, DECLARED}, id="inside a write to the log"),
    ],
)
def test_a_process_that_dies_at_any_point_leaves_the_old_state_or_the_new(folder, fail, step, begun, seen):
    small_sweep(folder / "undisturbed.sqlite")
    with Store.open(folder / "undisturbed.sqlite") as store:
        expected = store.export_rows()
    states = set()
    for n in range(1, 200 * step, step):
        path = folder / f"{n}.sqlite"
        if begun:
            Store.open(path, "write").close()
        code = wait(in_child(functools.partial(swept_with, fail, n, path)))
        if code == 0:
            break
        assert code in (CUT_SHORT, -signal.SIGXFSZ)
        states.add(assert_whole(path))
        small_sweep(path)
        assert assert_whole(path) == TRAINED
        with Store.open(path) as store:
            assert store.export_rows() == expected
    assert code == 0
    assert seen <= states <= {NOTHING, EMPTY, DECLARED, TRAINED}


def test_a_store_whose_creation_lost_its_header_is_begun_anew(folder):
    path = folder / "s.sqlite"
    assert wait(in_child(functools.partial(swept_with, die_beyond, 40_000, path))) == -signal.SIGXFSZ
    assert path.with_name("s.sqlite-journal").exists()
    path.write_bytes(bytes(100) + path.read_bytes()[100:])
    assert assert_whole(path) is NOTHING
    small_sweep(path)
    assert assert_whole(path) == TRAINED


def sweep_the_missing(path, members):
    with Store.open(path, "write") as store:
        store.declare(make_study(), members)
        known = store.statuses([m.trial.id for m in members])
        missing = [m for m in members if not known[m.trial.id].is_done("val/loss")]
        for start in range(0, len(missing), 3):
            train(store, missing[start : start + 3], points=60)


@pytest.mark.long
@pytest.mark.parametrize("kills", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_again_and_again_a_sweep_loses_and_repeats_nothing(folder, kills):
    dice, path = random.Random(SEED), folder / "s.sqlite"
    members = make_members([0.001 * (i + 1) for i in range(120 * kills)])
    done = killed = 0
    while killed < kills:
        pid = in_child(lambda: sweep_the_missing(path, members))
        time.sleep(dice.uniform(0.0, 0.12))
        os.kill(pid, signal.SIGKILL)
        killed += wait(pid) == -signal.SIGKILL
        *_, found = assert_whole(path) or (0,)
        assert found >= done, f"{done} done before kill {killed}, {found} after; seed {SEED}"
        assert found % 3 == 0
        done = found
        if done == len(members):
            break
    assert killed >= 5, "the sweep was over before it could be killed"
    sweep_the_missing(path, members)
    assert assert_whole(path) == (1, len(members), len(members))
    db = sqlite3.connect(path)
    counts = db.execute("SELECT count(*) FROM cohort_trials WHERE outcome IS NOT NULL GROUP BY trial").fetchall()
    db.close()
    assert counts == [(1,)] * len(members), "some trial was committed twice"
