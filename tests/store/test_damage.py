"""Damage: torn ends, rotten bits, full disks and killed processes; what was acknowledged is never lost unnoticed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from meshnode.store import Batch, LedgerReader, Store, StoreError
from protocols import block as blocks
from tests.store.log import CHAIN, GENESIS, acked, entries, entry, final, make_blocks

TEN = make_blocks(10)
ROOT = Path(__file__).resolve().parent.parent.parent


def ledger(tmp_path: Path, *, final_to: int = 4, acked_to: int = 7) -> Path:
    """Ten blocks on disk, some final, some only acknowledged; the microgrid's directory."""
    Store.create(tmp_path, GENESIS)
    with Store.open(tmp_path, CHAIN) as store:
        store.persist(Batch(entries=entries(TEN), sign_state=acked(TEN[acked_to - 1])))
        if final_to:
            store.persist(final(TEN[final_to - 1]))
        return store.place


def damage(place: Path, statement: str, *values: object) -> None:
    """A bit rots: written past the store, without its checksum."""
    db = sqlite3.connect(place / "ledger.sqlite")
    changed = db.execute(statement, values).rowcount
    db.commit()
    db.close()
    assert changed > 0


ROT = "UPDATE log SET data = CAST(data || x'00' AS BLOB) WHERE height = ?"
LOSE = "DELETE FROM log WHERE height = ?"


@pytest.mark.parametrize("statement", [ROT, LOSE])
@pytest.mark.parametrize("height", [8, 9, 10])
def test_a_damaged_end_that_nobody_was_promised_is_cut(tmp_path: Path, statement: str, height: int) -> None:
    place = ledger(tmp_path, acked_to=7)
    damage(place, statement, height)
    with Store.open(tmp_path, CHAIN) as store:
        assert store.last_index() == height - 1
        assert store.entries(1, height, 10**9) == list(entries(TEN[: height - 1]))
        # Raft brings the rest again.
        store.persist(Batch(entries=entries(TEN[height - 1 :])))
    with Store.open(tmp_path, CHAIN) as store:
        assert store.last_index() == 10


@pytest.mark.parametrize("statement", [ROT, LOSE])
@pytest.mark.parametrize("height", [3, 4, 5, 7])
def test_damage_to_what_was_acknowledged_is_named(tmp_path: Path, statement: str, height: int) -> None:
    place = ledger(tmp_path, final_to=4, acked_to=7)
    damage(place, statement, height)
    with pytest.raises(StoreError, match=r"has lost part(.|\n)*meshnode ledger refetch") as caught:
        Store.open(tmp_path, CHAIN)
    assert caught.value.height == height
    assert str(place) in str(caught.value)
    # Nothing was cut: what is still there can help to fill it.
    with LedgerReader(place) as reader:
        assert reader.standing().last_height == 10


@pytest.mark.parametrize("column", ["term", "kind", "block_hash", "data", "checksum"])
def test_every_column_is_under_the_checksum(tmp_path: Path, column: str) -> None:
    place = ledger(tmp_path)
    change = f"{column} + 1" if column in ("term", "kind") else f"CAST({column} || x'00' AS BLOB)"
    damage(place, f"UPDATE log SET {column} = {change} WHERE height = 5")
    with pytest.raises(StoreError, match="log row 5: checksum"):
        Store.open(tmp_path, CHAIN)


def test_old_damage_shows_when_it_is_read(tmp_path: Path) -> None:
    """At start only the newest part is checked; an old entry is when somebody wants it."""
    many = make_blocks(100)
    Store.create(tmp_path, GENESIS)
    with Store.open(tmp_path, CHAIN) as store:
        store.persist(Batch(entries=entries(many), sign_state=acked(many[-1])))
        store.persist(final(many[-1]))
        place = store.place
    damage(place, ROT, 20)
    with Store.open(tmp_path, CHAIN) as store:
        assert store.entry(19) == entry(many[18])
        for read in (store.entry, store.term, lambda index: store.entries(index - 3, index + 3, 10**9)):
            with pytest.raises(StoreError, match="log row 20: checksum") as caught:
                read(20)
            assert caught.value.height == 20
        # A final block that comes again cannot be compared with what rotted.
        with pytest.raises(StoreError, match="log row 20"):
            store.persist(Batch(entries=entries(many[18:21])))


def test_a_rotten_certificate_is_named(tmp_path: Path) -> None:
    place = ledger(tmp_path)
    damage(place, "UPDATE certificate SET data = CAST(data || x'00' AS BLOB) WHERE height = 4")
    with Store.open(tmp_path, CHAIN) as store:
        for read in (store.certificate, store.certificate_from, store.certificate_below):
            with pytest.raises(StoreError, match="certificate row 4: checksum") as caught:
                read(4)
            assert caught.value.height == 4
        # A good one from a peer takes its place.
        store.persist(final(TEN[3]))
        assert store.certificate(4) == final(TEN[3]).certificates[0][1]


def test_a_write_ahead_log_cut_at_any_byte_leaves_a_whole_beginning(tmp_path: Path) -> None:
    """A power cut that loses the end of SQLite's log: some batches are gone, none is half there."""
    source = tmp_path / "node"
    Store.create(source, GENESIS)
    with Store.open(source, CHAIN) as store:
        for block in TEN:
            store.persist(Batch(entries=(entry(block),), sign_state=acked(block, block.header.height)))
            store.persist(final(block))
        wal = (store.place / "ledger.sqlite-wal").read_bytes()
        seen = set()
        for number, cut in enumerate(sorted(random.Random(5).sample(range(len(wal)), 24))):
            copy = tmp_path / f"copy{number}"
            shutil.copytree(source, copy)
            place = copy / store.place.relative_to(source)
            (place / "ledger.sqlite-shm").unlink()
            (place / "ledger.sqlite-wal").write_bytes(wal[:cut])
            with Store.open(copy, CHAIN) as torn:
                last = torn.last_index()
                assert torn.final_height() in (last - 1, last)
                assert torn.sign_state().ack_height == last
                assert torn.entries(1, last + 1, 10**9) == list(entries(TEN[:last])) if last else True
                assert all(
                    torn.find_record(block.records[0].record_id) == (block.header.height, 0)
                    for block in TEN[: torn.final_height()]
                )
                seen.add(last)
        assert len(seen) > 5, "the cuts should fall into many batches"


# --- one writer


def test_two_processes_cannot_have_one_ledger(tmp_path: Path) -> None:
    Store.create(tmp_path, GENESIS)
    with Store.open(tmp_path, CHAIN):
        other = subprocess.run(
            [sys.executable, "-m", "tests.store.writer", str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert other.returncode == 1
        assert f"in use by another process (number {os.getpid()})" in other.stderr
        with pytest.raises(StoreError, match="in use by another process"):
            Store.open(tmp_path, CHAIN)
    Store.open(tmp_path, CHAIN).close()


# --- a full disk


def test_a_full_disk_is_said_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """A page limit plays the full disk here: SQLite reports both with the same error."""
    Store.create(tmp_path, GENESIS)
    store = Store.open(tmp_path, CHAIN)
    store.persist(Batch(entries=entries(TEN[:5])))
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    many = make_blocks(100, after=TEN[:5])
    with pytest.raises(StoreError, match="the disk is full; nothing that was acknowledged is lost: make room"):
        store.persist(Batch(entries=entries(many), sign_state=acked(many[-1])))
    # It goes on to answer, and does not write again: who knows what the disk would do.
    assert (store.last_index(), store.sign_state().ack_height) == (5, 0)
    assert store.entries(1, 6, 10**9) == list(entries(TEN[:5]))
    with pytest.raises(StoreError, match="an earlier write failed"):
        store.persist(Batch(entries=entries(TEN[5:6])))
    store.close()
    with Store.open(tmp_path, CHAIN) as again:
        assert again.last_index() == 5
        again.persist(Batch(entries=entries(TEN[5:])))
        assert again.last_index() == 10


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


# --- killed


def test_whoever_is_killed_keeps_what_was_reported(tmp_path: Path) -> None:
    """kill -9 at ten moments. The kernel lives on, so this shows order and wholeness, not the fsync itself."""
    Store.create(tmp_path, GENESIS)
    chance = random.Random(11)
    before = 0
    for _ in range(10):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.store.writer", str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        reported = before
        for _ in range(chance.randrange(1, 25)):
            reported = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().splitlines(keepends=True)
        child.wait(timeout=30)
        reported = max([reported, *(int(line) for line in rest if line.endswith("\n"))])
        assert reported > before
        before = check_after_a_crash(tmp_path, reported)


def check_after_a_crash(directory: Path, reported: int) -> int:
    """What was reported is there, nothing is half there; the height that was reached."""
    with Store.open(directory, CHAIN) as store:
        last, final_height = store.last_index(), store.final_height()
        assert last >= reported
        assert final_height >= reported
        assert store.sign_state().ack_height in (last, last - 1)
        parent = CHAIN
        for index in range(1, last + 1):
            stored = store.entry(index)
            block = blocks.read(stored.data, CHAIN)
            assert (stored.index, stored.block_hash, block.header.parent) == (index, block.block_hash, parent)
            parent = block.block_hash
            if index <= final_height:
                assert store.find_record(block.records[0].record_id) == (index, 0)
                assert store.certificate(index) is not None
        return last


def run_writer(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.store.writer", str(directory), *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
