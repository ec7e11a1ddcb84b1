"""Room: a full disk is no broken one, and a broken one is not written to again."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest
import trio
import trio.testing

from meshnode.room import LOOK_S, RESERVE_BYTES, RESUME_BYTES, Room, when_there_is_room
from meshnode.store import Batch, DiskFull, Store, StoreError
from tests.store.log import CHAIN, GENESIS, acked, entries, make_blocks
from tests.store.test_damage import check_after_a_crash, run_writer

TEN = make_blocks(10)


def test_a_full_disk_is_said_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """A page limit plays the full disk here: SQLite reports both with the same error."""
    Store.create(tmp_path, GENESIS)
    store = Store.open(tmp_path, CHAIN)
    store.persist(Batch(entries=entries(TEN[:5])))
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    many = make_blocks(100, after=TEN[:5])
    batch = Batch(entries=entries(many), sign_state=acked(many[-1]))
    for _ in range(2):
        with pytest.raises(DiskFull, match="the disk is full; nothing that was acknowledged is lost: make room"):
            store.persist(batch)
        assert (store.last_index(), store.sign_state().ack_height) == (5, 0)
        assert store.entries(1, 6, 10**9) == list(entries(TEN[:5]))
    # No damage was done: with room the same batch goes through, and without a restart.
    store._db.execute(f"PRAGMA max_page_count = {100 * pages}")
    store.persist(batch)
    assert (store.last_index(), store.sign_state().ack_height) == (105, 105)
    store.close()
    with Store.open(tmp_path, CHAIN) as again:
        assert (again.lost, again.last_index()) == ((), 105)


def test_no_room_for_the_sign_file_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.create(tmp_path, GENESIS)
    with Store.open(tmp_path, CHAIN) as store:

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("meshnode.store.signfile.os.pwrite", full)
        with pytest.raises(DiskFull, match="make room"):
            store.persist(Batch(entries=entries(TEN), sign_state=acked(TEN[-1])))
        assert store.last_index() == 0
        monkeypatch.undo()
        store.persist(Batch(entries=entries(TEN), sign_state=acked(TEN[-1])))
        assert store.last_index() == 10


def test_a_failed_fsync_ends_the_writer(tmp_path: Path) -> None:
    """After it nobody knows what the disk holds; whatever the system says later, nothing more is written."""
    Store.create(tmp_path, GENESIS)
    store = Store.open(tmp_path, CHAIN)

    class Failing:
        """The connection, but for its COMMIT."""

        in_transaction = False

        def __init__(self, db: sqlite3.Connection) -> None:
            self._db = db

        def __getattr__(self, name: str) -> object:
            return getattr(self._db, name)

        def execute(self, statement: str, *values: object) -> object:
            if statement == "COMMIT":
                self._db.execute("ROLLBACK")
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
                raise error
            return self._db.execute(statement, *values)

    whole = store._db
    store._db = Failing(whole)  # type: ignore[assignment]
    with pytest.raises(StoreError, match=r"the disk failed .*SQLITE_IOERR_FSYNC") as caught:
        store.persist(Batch(entries=entries(TEN)))
    assert not isinstance(caught.value, DiskFull)
    store._db = whole
    with pytest.raises(StoreError, match="an earlier write failed"):
        store.persist(Batch(entries=entries(TEN)))
    store.close()


def test_a_disk_that_refuses_to_write_ends_the_writer(tmp_path: Path) -> None:
    """A limit on the size of files, set for a child process, makes the kernel refuse its writes."""
    Store.create(tmp_path, GENESIS)
    child = run_writer(tmp_path, "--file-limit", "300000")
    reported = [int(line) for line in child.stdout.splitlines()]
    assert child.returncode == 1
    assert "the disk failed" in child.stderr or "the disk is full" in child.stderr
    assert "nothing that was acknowledged is lost" in child.stderr
    assert len(reported) > 3
    check_after_a_crash(tmp_path, reported[-1])


# --- what waits for it


class Card:
    """A disk with so much left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
        self.free = free
        monkeypatch.setattr("meshnode.room.free_bytes", lambda place: self.free)


async def test_room_is_kept_back_and_must_come_back_with_some_to_spare(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    card = Card(monkeypatch, RESERVE_BYTES)
    room = Room(tmp_path)
    assert not room.is_full and not room.look()
    card.free = RESERVE_BYTES - 1
    assert room.look() and room.is_full and "15 MiB left" in room.sentence
    card.free = RESUME_BYTES - 1
    assert not room.look() and room.is_full, "at the edge it would stop and go on with every block"

    async def make_room() -> None:
        await trio.sleep(10 * LOOK_S)
        card.free = RESUME_BYTES

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make_room)
        began = trio.current_time()
        await room.wait()
    assert trio.current_time() - began >= 10 * LOOK_S and not room.is_full
    # A quota is not in what the system says is left.
    room.refused()
    assert room.is_full
    assert Room(tmp_path).is_full is False
    card.free = 0
    assert Room(tmp_path).is_full


async def test_a_write_that_found_no_room_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    tries = []

    def write() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise DiskFull("no room")
        return "written"

    assert await when_there_is_room("a test", write) == "written"
    assert len(tries) == 3

    def broken() -> None:
        raise StoreError("the disk failed")

    with pytest.raises(StoreError, match="the disk failed"):
        await when_there_is_room("a test", broken)
