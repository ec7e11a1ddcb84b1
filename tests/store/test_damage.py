"""Damage: torn ends, rotten bits, full disks and killed processes; what was acknowledged is never lost unnoticed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from meshnode.store import Batch, Damage, HardState, Store, StoreError
from meshnode.store.scrubber import STEP_ROWS, Found, Scrubber
from protocols import block as blocks
from protocols.block import Block, Parent
from protocols.records import to_payload
from tests.store.log import CHAIN, GENESIS, VILLAGE, acked, entries, entry, final, make_blocks

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
@pytest.mark.parametrize("height", [5, 6, 7])
def test_a_damaged_end_that_was_acknowledged_is_owed(tmp_path: Path, statement: str, height: int) -> None:
    """It is cut as well, but first it is written down that no log without it gets our vote."""
    place = ledger(tmp_path, final_to=4, acked_to=7)
    damage(place, statement, height)
    for _ in range(2):
        with Store.open(tmp_path, CHAIN) as store:
            assert (store.last_index(), store.lost) == (height - 1, ())
            assert store.sign_state() == acked(TEN[6])
            newest = store.places(b"").newest
            assert newest is not None and newest.owed == (1, 7)
    with Store.open(tmp_path, CHAIN) as store:
        store.persist(Batch(entries=entries(TEN[height - 1 :])))
        store.persist(final(TEN[5]))
        store.repaid(store.final_height())
        newest = store.places(b"").newest
        assert newest is not None and newest.owed == (1, 7)
        store.persist(final(TEN[6]))
        store.repaid(store.final_height())
    with Store.open(tmp_path, CHAIN) as store:
        newest = store.places(b"").newest
        assert newest is not None and newest.owed == (0, 0)


@pytest.mark.parametrize("statement", [ROT, LOSE])
@pytest.mark.parametrize("heights", [(1,), (3,), (6,), (2, 5), (1, 2, 3, 4, 5, 6)])
def test_lost_final_blocks_are_filled_again(tmp_path: Path, statement: str, heights: tuple[int, ...]) -> None:
    """What is good stays where it is; what comes must be what was there. A restart in between changes nothing."""
    place = ledger(tmp_path, final_to=6, acked_to=8)
    for height in heights:
        damage(place, statement, height)
    first = heights[0]
    with Store.open(tmp_path, CHAIN) as store:
        assert store.lost == heights
        assert (store.final_height(), store.last_index(), store.kept_height()) == (first - 1, first - 1, 6)
        assert store.sign_state() == acked(TEN[7])
        for batch, why in (
            (Batch(sign_state=acked(TEN[8])), "only final blocks"),
            (Batch(entries=entries(TEN[first - 1 : first])), "only final blocks"),
            (Batch(entries=entries(TEN[first:]), final_height=10), "the log goes from"),
        ):
            with pytest.raises(StoreError, match=why):
                store.persist(batch)
        forged = make_blocks(1, term=2, after=TEN[: first - 1])
        why = "is not the one that the block after it names" if first + 1 not in heights else None
        if why is not None:
            with pytest.raises(StoreError, match=why):
                store.persist(certified(forged))
        # The first range ends before the last gap, if there is more than one.
        store.persist(certified(TEN[first - 1 : max(first, heights[-1] - 1)]))
        assert store.lost == heights[-1:] if len(heights) > 1 else store.lost == ()
    with Store.open(tmp_path, CHAIN) as store:
        if len(heights) > 1:
            assert store.lost == heights[-1:]
            store.persist(certified(TEN[heights[-1] - 1 : 6]))
        assert (store.lost, store.final_height(), store.last_index()) == ((), 6, 10)
    with Store.open(tmp_path, CHAIN) as store:
        assert (store.lost, store.final_height(), store.last_index()) == ((), 6, 10)
        assert store.entries(1, 11, 10**9) == list(entries(TEN))
        assert store.sign_state() == acked(TEN[7])
        for block in TEN[:6]:
            assert store.find_record(block.records[0].record_id) == (block.header.height, 0)


def certified(chain: list[Block]) -> Batch:
    """Final blocks as a learner writes them."""
    return Batch(
        entries=entries(chain),
        certificates=final(chain[-1]).certificates,
        final_height=chain[-1].header.height,
        hard_state=HardState(chain[-1].header.term, 0, chain[-1].header.height),
    )


def test_what_comes_may_go_beyond_what_was_there(tmp_path: Path) -> None:
    """The others went on, and certified another block than the one that waited here."""
    place = ledger(tmp_path, final_to=4, acked_to=6)
    damage(place, ROT, 2)
    others = make_blocks(3, term=2, after=TEN[:6])
    with Store.open(tmp_path, CHAIN) as store:
        assert store.last_index() == 1
        store.persist(certified([*TEN[1:6], *others]))
        assert (store.lost, store.final_height(), store.last_index()) == ((), 9, 9)
        assert store.entries(1, 10, 10**9) == list(entries([*TEN[:6], *others]))
        assert store.hard_state() == HardState(2, 0, 9)


def test_final_blocks_that_contradict_ours_are_a_fork(tmp_path: Path) -> None:
    place = ledger(tmp_path, final_to=6, acked_to=8)
    damage(place, ROT, 6)
    with Store.open(tmp_path, CHAIN) as store:
        store.persist(certified(TEN[5:6]))
    damage(place, ROT, 2)
    forged = [TEN[1], *make_blocks(2, term=2, after=TEN[:2])]
    with Store.open(tmp_path, CHAIN) as store, pytest.raises(StoreError, match="two certified histories are a fork"):
        store.persist(certified(forged))


@pytest.mark.parametrize("column", ["term", "kind", "block_hash", "data", "checksum"])
def test_every_column_is_under_the_checksum(tmp_path: Path, column: str) -> None:
    place = ledger(tmp_path)
    change = f"{column} + 1" if column in ("term", "kind") else f"CAST({column} || x'00' AS BLOB)"
    damage(place, f"UPDATE log SET {column} = {change} WHERE height = 3")
    with Store.open(tmp_path, CHAIN) as store:
        assert store.lost == (3,)


def test_damage_shows_when_it_is_read(tmp_path: Path) -> None:
    """A card that rots while the node runs: whoever wants the entry is told."""
    many = make_blocks(100)
    Store.create(tmp_path, GENESIS)
    with Store.open(tmp_path, CHAIN) as store:
        store.persist(Batch(entries=entries(many), sign_state=acked(many[-1])))
        store.persist(final(many[-1]))
        place = store.place
    with Store.open(tmp_path, CHAIN) as store:
        damage(place, ROT, 20)
        assert store.entry(19) == entry(many[18])
        for read in (store.entry, store.term, lambda index: store.entries(index - 3, index + 3, 10**9)):
            with pytest.raises(Damage, match="log row 20: checksum") as caught:
                read(20)
            assert caught.value.height == 20
        # A final block that comes again cannot be compared with what rotted.
        with pytest.raises(Damage, match="log row 20"):
            store.persist(Batch(entries=entries(many[18:21])))
        damage(place, LOSE, 30)
        with pytest.raises(Damage, match="entry 30 is missing"):
            store.entry(30)
    with Store.open(tmp_path, CHAIN) as store:
        assert store.lost == (20, 30)


ROT_CERTIFICATE = "UPDATE certificate SET data = CAST(data || x'00' AS BLOB) WHERE height = ?"


def test_a_rotten_certificate_is_dropped_where_a_later_one_proves_as_much(tmp_path: Path) -> None:
    place = ledger(tmp_path)
    with Store.open(tmp_path, CHAIN) as store:
        store.persist(final(TEN[5]))
        damage(place, ROT_CERTIFICATE, 4)
        for read in (store.certificate, lambda height: store.certificate_from(height)):
            with pytest.raises(Damage, match="certificate row 4: checksum"):
                read(4)
    with Store.open(tmp_path, CHAIN) as store:
        assert (store.lost, store.certificate(4)) == ((), None)
        assert store.certificate_from(4) == final(TEN[5]).certificates[0]


def test_the_newest_certificate_is_fetched_again(tmp_path: Path) -> None:
    place = ledger(tmp_path)
    damage(place, ROT_CERTIFICATE, 4)
    with Store.open(tmp_path, CHAIN) as store:
        assert (store.lost, store.final_height()) == ((4,), 3)
        # A neighbour has one of a later height; it proves the same.
        store.persist(certified(TEN[3:5]))
        assert (store.lost, store.final_height(), store.last_index()) == ((), 5, 10)
        assert store.certificate_below(store.final_height()) == final(TEN[4]).certificates[0]


def test_a_rotten_election_is_dropped(tmp_path: Path) -> None:
    place = ledger(tmp_path)
    election = to_payload(VILLAGE.election("anna", 3, Parent.of(TEN[9])))
    with Store.open(tmp_path, CHAIN) as store:
        store.persist(Batch(elections=(election,)))
        assert store.elections_after(0, 9) == [election]
    damage(place, "UPDATE election SET data = CAST(data || x'00' AS BLOB) WHERE term = ?", 3)
    with Store.open(tmp_path, CHAIN) as store:
        assert store.elections_after(0, 9) == []
        store.persist(Batch(elections=(election,)))
        assert store.elections_after(0, 9) == [election]


# --- looked at while nobody reads


def scrubbed(place: Path) -> list[Found]:
    """What one pass finds."""
    scrubber = Scrubber(place, CHAIN)
    found = []
    while not scrubber.passes and not (found and found[-1].damage):
        found.append(scrubber.step())
    scrubber.close()
    return found


def test_the_scrubber_finds_rot_anywhere(tmp_path: Path) -> None:
    many = make_blocks(3 * STEP_ROWS + 5)
    Store.create(tmp_path, GENESIS)
    with Store.open(tmp_path, CHAIN) as store:
        store.persist(Batch(entries=entries(many), sign_state=acked(many[-1])))
        store.persist(final(many[9]))
        store.persist(final(many[-3]))
        place = store.place
        found = scrubbed(place)
        assert found == [Found()] * 4
        # What is not final yet still changes: it is not this one's business.
        damage(place, ROT, len(many) - 1)
        assert scrubbed(place) == [Found()] * 4
        for statement, height, words in (
            (ROT, 2 * STEP_ROWS + 1, f"log row {2 * STEP_ROWS + 1}: checksum"),
            (ROT_CERTIFICATE, 10, "certificate row 10: checksum"),
            (LOSE, STEP_ROWS, f"log row {STEP_ROWS} is missing"),
        ):
            damage(place, statement, height)
            assert words in scrubbed(place)[-1].damage


def test_the_index_of_records_is_made_again(tmp_path: Path) -> None:
    place = ledger(tmp_path, final_to=8)
    ids = [block.records[0].record_id for block in TEN]
    with Store.open(tmp_path, CHAIN) as store:
        damage(place, "DELETE FROM record WHERE record_id = ?", ids[2])
        damage(place, "UPDATE record SET record_id = zeroblob(32) WHERE record_id = ?", ids[4])
        damage(place, "UPDATE record SET height = height + 1 WHERE record_id = ?", ids[5])
        missing = tuple(row for found in scrubbed(place) for row in found.index)
        assert missing == tuple((ids[n], n + 1, 0) for n in (2, 4, 5))
        store.reindex(missing)
        assert [store.find_record(one) for one in ids[:8]] == [(n + 1, 0) for n in range(8)]
        assert scrubbed(place) == [Found()]


def test_one_wrong_bit_anywhere_is_mended_or_named(tmp_path: Path) -> None:
    """Whatever bit of the file it is: nothing else than what was written is ever given out."""
    source = tmp_path / "node"
    many = make_blocks(40)
    Store.create(source, GENESIS)
    with Store.open(source, CHAIN) as store:
        store.places(b"our key!")
        for block in many:
            store.persist(Batch(entries=(entry(block),), sign_state=acked(block, block.header.height)))
            if block.header.height <= 30:
                store.persist(final(block))
        file = store.place / "ledger.sqlite"
    whole = file.read_bytes()
    chance = random.Random(7)
    outcomes = Counter[str]()
    for number in range(120):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(source, copy)
        bits = bytearray(whole)
        bits[chance.randrange(len(bits))] ^= 1 << chance.randrange(8)
        (copy / file.relative_to(source)).write_bytes(bits)
        try:
            with Store.open(copy, CHAIN) as torn:
                last = torn.last_index()
                assert not last or torn.entries(1, last + 1, 10**9) == list(entries(many[:last]))
                newest = torn.places(b"our key!").newest
                assert newest is not None
                is_owed = newest.owed == (1, 40)
                assert last == 40 or torn.lost or is_owed, "acknowledged blocks are missing, and nobody says so"
                outcomes["whole" if last == 40 else "lost" if torn.lost else "owed"] += 1
        except StoreError as error:
            assert "meshnode ledger refetch" in str(error), error
            outcomes["named"] += 1
        shutil.rmtree(copy)
    assert outcomes.keys() == {"whole", "lost", "owed", "named"}, outcomes


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
