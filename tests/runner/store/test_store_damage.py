"""A store whose bytes changed on disk: whatever changed, one sentence or an answer; nothing is written to it."""

import random
import sqlite3
from contextlib import closing, suppress

import pytest
from store_cases import make_members, make_study, train

from thalweg.runner.base.errors import StoreError, UsageError
from thalweg.runner.store import Store

NAME = make_study().name
MEMBERS = make_members([0.1 * (i + 1) for i in range(6)])
IDS = [member.trial.id for member in MEMBERS]
READS = [
    lambda store: store.studies(),
    lambda store: store.study(NAME),
    lambda store: store.study_rows(NAME),
    lambda store: store.statuses(IDS),
    lambda store: store.trained_by(IDS),
    lambda store: store.trial(IDS[0]),
    lambda store: store.series(IDS[0]),
    lambda store: store.membership(IDS[0]),
    lambda store: store.export_rows(NAME),
    lambda store: store.unfinished_cohorts(MEMBERS[0].trial.group_id),
    lambda store: store.seconds_a_trial(NAME),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "s.sqlite"
    with Store.open(path, "write") as store:
        store.declare(make_study(), MEMBERS)
        train(store, MEMBERS)
    return path.read_bytes()


def flipped(data, rng):
    for _ in range(rng.choice([1, 1, 3, 30])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def zeroed(data, rng):
    at = rng.randrange(len(data))
    data[at : at + 64] = bytes(len(data[at : at + 64]))


def truncated(data, rng):
    del data[rng.randrange(len(data)) :]


def garbled_text(data, rng):
    mark = rng.choice([b'"', b"{", b"finished", b"val/loss", b"CREATE", b"[0."])
    places = [i for i in range(len(data)) if data.startswith(mark, i)]
    data[rng.choice(places or [200])] ^= rng.choice([1, 4, 128])


DAMAGES = [flipped, zeroed, truncated, garbled_text]


@pytest.mark.long
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("seed", range(20))
def test_damage_is_one_sentence_or_unseen(tmp_path, whole, damage, seed):
    data = bytearray(whole)
    damage(data, random.Random(seed))
    path = tmp_path / "s.sqlite"
    for read in READS:
        path.write_bytes(data)
        with suppress(StoreError, UsageError), closing(Store.open(path)) as store:  # a flipped name is another's
            read(store)
        assert path.read_bytes() == data


@pytest.mark.parametrize("damage", [flipped, zeroed, truncated])
@pytest.mark.parametrize("seed", range(20))
def test_a_store_that_is_refused_for_writing_is_left_as_it_was(tmp_path, whole, damage, seed):
    data = bytearray(whole)
    damage(data, random.Random(seed))
    path = tmp_path / "s.sqlite"
    path.write_bytes(data)
    try:
        Store.open(path, "write").close()
    except StoreError:
        assert path.read_bytes() == data


def test_what_sqlite_finds_broken_is_refused_before_writing(tmp_path, whole):
    path = tmp_path / "s.sqlite"
    path.write_bytes(whole)
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'trials'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    broken = bytearray(whole)
    broken[(page - 1) * size + 3 : (page - 1) * size + 5] = b"\xff\xff"  # its number of cells
    path.write_bytes(broken)
    with pytest.raises(StoreError, match="is damaged"):
        Store.open(path, "write")
    assert path.read_bytes() == broken


@pytest.mark.parametrize("content", [b"<html>", b"\x00" * 4096, b"SQLite format 3\x00", b"PK\x03\x04" + b"x" * 200])
def test_a_foreign_file_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "s.sqlite"
    path.write_bytes(content)
    for mode in ("read", "write"):
        with pytest.raises(StoreError):
            Store.open(path, mode)
    assert path.read_bytes() == content


def test_a_name_that_is_no_text_is_one_sentence(tmp_path, whole):
    path = tmp_path / "s.sqlite"
    path.write_bytes(whole)
    with closing(Store.open(path)) as store:
        for ask in (store.study, store.trial, store.export_rows):
            with pytest.raises(UsageError) as raised:
                ask("x\udcff")
            assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE studies SET outline = 'broken'", f"the declaration of study {NAME} cannot be read"),
        ("UPDATE studies SET outline = '{}'", f"the declaration of study {NAME} cannot be read"),
        ("UPDATE studies SET document = 'broken'", f"the declaration of study {NAME} cannot be read"),
        ("UPDATE members SET axes = 'broken' WHERE trial = 1", f"the axes of trial {IDS[0][:8]} cannot be read"),
        ("UPDATE members SET axes = '[]' WHERE trial = 1", f"the axes of trial {IDS[0][:8]} cannot be read"),
        ("UPDATE trials SET ended = 'soon' WHERE seq = 1", f"when training ended of trial {IDS[0][:8]} cannot be read"),
        ("UPDATE trials SET config = '{}' WHERE seq = 1", f"trial {IDS[0][:8]} has an id that does not belong"),
    ],
)
def test_check_finds_what_cannot_be_read(tmp_path, whole, statement, said):
    path = tmp_path / "s.sqlite"
    path.write_bytes(whole)
    with Store.open(path) as store:
        assert store.faults()[0] == []
    with closing(sqlite3.connect(path)) as db:
        db.execute(statement)
        db.commit()
    with Store.open(path) as store:
        (found,) = store.faults()[0]
    assert found.startswith(said)
