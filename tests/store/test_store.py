"""Store: what was persisted is there again, what must not change is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.store import (
    Batch,
    Entry,
    HardState,
    LedgerReader,
    SignState,
    Store,
    StoreError,
    microgrid_directory,
    microgrids,
    read_genesis,
)
from meshnode.store.cache import TailCache
from meshnode.store.place import DATABASE_FILE
from meshnode.store.refounding import SET_ASIDE, refound
from meshnode.store.reservation import Trust
from protocols import block as blocks
from protocols.block import Block, Parent
from protocols.cose import key_id_of
from protocols.records import to_payload
from tests.protocols.village import Village, device
from tests.store.log import CHAIN, GENESIS, VILLAGE, acked, entries, entry, final, make_blocks

TEN = make_blocks(10)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    Store.create(tmp_path, GENESIS)
    return Store.open(tmp_path, CHAIN)


def reopened(store: Store) -> Store:
    store.close()
    return Store.open(store.place.parent.parent, CHAIN)


def before_and_after_a_restart(store: Store) -> Iterator[Store]:
    yield store
    yield reopened(store)


# --- founding and opening


def test_a_new_ledger_is_empty_and_knows_its_genesis(store: Store) -> None:
    assert (store.first_index(), store.last_index(), store.final_height(), store.term(0)) == (1, 0, 0, 0)
    assert store.hard_state() == HardState(0, 0, 0)
    assert store.sign_state() == SignState(0, b"", 0, 0, b"", 0)
    assert store.certificate_below(store.final_height()) is None
    assert read_genesis(store.place) == GENESIS
    assert store.place.name == CHAIN.hex()


def test_every_commit_waits_for_the_disk(store: Store) -> None:
    # 2 is FULL: in WAL mode each transaction ends with an fsync of the log.
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_ledger_is_its_owners_alone(store: Store) -> None:
    assert store.place.stat().st_mode & 0o077 == 0
    assert (store.place / "ledger.sqlite").stat().st_mode & 0o077 == 0


def test_a_microgrid_is_founded_once(store: Store) -> None:
    store.persist(Batch(entries=entries(TEN)))
    store.close()
    with pytest.raises(StoreError, match="has a ledger here already; nothing was changed"):
        Store.create(store.place.parent.parent, GENESIS)
    assert reopened(store).last_index() == 10


def test_a_founding_that_was_interrupted_is_done_again(tmp_path: Path) -> None:
    place = microgrid_directory(tmp_path, CHAIN)
    place.mkdir(parents=True)
    (place / "ledger.sqlite").write_bytes(b"half a page")
    with pytest.raises(StoreError, match=r"genesis\.cbor: is missing\n    copy it from another member"):
        Store.open(tmp_path, CHAIN)
    Store.create(tmp_path, GENESIS)
    with Store.open(tmp_path, CHAIN) as opened:
        assert opened.last_index() == 0


def test_what_is_no_genesis_founds_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="genesis: "):
        Store.create(tmp_path, GENESIS + b"\x00")
    assert list(tmp_path.iterdir()) == []


def test_an_altered_genesis_is_noticed(store: Store) -> None:
    store.close()
    path = store.place / "genesis.cbor"
    path.write_bytes(GENESIS.replace(b"Unterdorf", b"Oberdorf!"))
    with pytest.raises(StoreError, match="altered or misplaced"):
        Store.open(store.place.parent.parent, CHAIN)


def test_a_database_of_another_microgrid_is_refused(store: Store, tmp_path: Path) -> None:
    store.close()
    other = Village(community="Oberdorf")
    Store.create(tmp_path, to_payload(other.genesis))
    theirs = microgrid_directory(tmp_path, other.chain_id) / "ledger.sqlite"
    (store.place / "ledger.sqlite").write_bytes(theirs.read_bytes())
    with pytest.raises(StoreError, match=f"is the ledger of {other.chain_id.hex()}"):
        Store.open(tmp_path, CHAIN)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA user_version = 7", "version 7 of the store, this program knows 4"),
        ("PRAGMA application_id = 7", "not a ledger"),
        ("DELETE FROM standing", "the standing row is missing"),
        ("UPDATE standing SET vote = vote + 1", "what this node signed last is lost"),
        ("DROP TABLE log", "cannot be read"),
    ],
)
def test_a_database_that_is_not_as_we_left_it_is_refused(store: Store, statement: str, message: str) -> None:
    store.close()
    alter(store.place, statement)
    with pytest.raises(StoreError, match=message):
        reopened(store)
    with pytest.raises(StoreError, match=message):  # and the lock was given back
        reopened(store)


def test_a_file_that_is_no_database_is_refused(store: Store) -> None:
    store.close()
    (store.place / "ledger.sqlite").write_bytes(b"not a database, whatever its name says" * 200)
    with pytest.raises(StoreError, match=r"ledger\.sqlite: cannot be opened .*not a ledger"):
        reopened(store)


def test_a_node_directory_names_all_its_microgrids(store: Store, tmp_path: Path) -> None:
    other = Village(community="Oberdorf")
    Store.create(tmp_path, to_payload(other.genesis))
    assert sorted(place.name for place in microgrids(tmp_path)) == sorted((CHAIN.hex(), other.chain_id.hex()))
    assert microgrids(store.place) == (store.place,)
    with pytest.raises(StoreError, match="no ledger here; expected the directory of a node"):
        microgrids(tmp_path / "nothing")


# --- writing and reading


def test_a_batch_is_there_after_a_restart(store: Store) -> None:
    certificate = b"acks for five"
    batch = Batch(
        entries=entries(TEN),
        hard_state=HardState(3, 2, 5),
        sign_state=acked(TEN[9]),
        certificates=((5, certificate),),
        final_height=5,
        lock=b"acks for ten",
    )
    store.persist(batch)
    store.persist(Batch(hard_state=batch.hard_state))
    for opened in before_and_after_a_restart(store):
        assert (opened.first_index(), opened.last_index(), opened.final_height()) == (1, 10, 5)
        assert opened.hard_state() == batch.hard_state
        assert opened.sign_state() == batch.sign_state
        assert opened.lock() == b"acks for ten"
        assert opened.entries(1, 11, 10**9) == list(batch.entries)
        assert [opened.term(index) for index in range(11)] == [0] + [1] * 10
        assert opened.certificate(5) == certificate
        assert opened.certificate(4) is None
        assert opened.certificate_from(1) == (5, certificate)
        assert opened.certificate_from(6) is None
        assert opened.certificate_below(4) is None
        assert opened.certificate_below(opened.final_height()) == opened.certificate_below(10) == (5, certificate)


def test_what_a_batch_does_not_say_stays(store: Store) -> None:
    store.persist(Batch(entries=entries(TEN[:3]), hard_state=HardState(1, 1, 0), sign_state=acked(TEN[2])))
    store.persist(Batch(entries=entries(TEN[3:4])))
    store.persist(Batch())
    assert store.hard_state() == HardState(1, 1, 0)
    assert store.sign_state() == acked(TEN[2])
    assert store.last_index() == 4


def test_a_new_leader_replaces_what_was_not_final(store: Store) -> None:
    store.persist(Batch(entries=entries(TEN)))
    other = make_blocks(2, term=2, after=TEN[:6])
    store.persist(Batch(entries=entries(other)))
    for opened in before_and_after_a_restart(store):
        assert opened.last_index() == 8
        assert [opened.term(index) for index in range(5, 9)] == [1, 1, 2, 2]
        assert opened.entry(7) == entry(other[0])
        with pytest.raises(LookupError, match="entry 9: the log goes from 1 to 8"):
            opened.entry(9)


def test_a_final_block_may_come_again_but_not_another_in_its_place(store: Store) -> None:
    store.persist(Batch(entries=entries(TEN)))
    store.persist(final(TEN[5]))
    # The same blocks again: nothing is lost of what follows them.
    store.persist(Batch(entries=entries(TEN[3:6])))
    assert store.last_index() == 10
    # The same, and then others: the others replace what was not final.
    other = make_blocks(1, term=2, after=TEN[:7])
    store.persist(Batch(entries=(*entries(TEN[4:7]), *entries(other))))
    assert (store.last_index(), store.term(8)) == (8, 2)
    fork = make_blocks(2, term=3, after=TEN[:5])
    with pytest.raises(StoreError, match=r"entry 6 not written: .* which is final; two certified histories are a fork"):
        store.persist(Batch(entries=entries(fork), hard_state=HardState(9, 9, 0)))
    assert store.hard_state().term == 1
    assert reopened(store).entries(1, 9, 10**9) == [*entries(TEN[:7]), *entries(other)]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (Batch(entries=entries(TEN[5:])), "entry 6 not written, the log goes from 1 to 4"),
        (Batch(entries=(entry(TEN[4]), entry(TEN[6]))), "not of consecutive indexes"),
        (Batch(entries=(Entry(0, 0, 0, b"", b""),)), "entry 0 not written"),
        (Batch(final_height=5), "final height 5 not written, expected 2 to 4"),
        (Batch(final_height=1), "final height 1 not written, expected 2 to 4"),
        (Batch(certificates=((3, b"too early"),)), "certificate of height 3 not written, the final height is 2"),
        (Batch(certificates=((0, b"genesis"),)), "certificate of height 0 not written"),
    ],
)
def test_a_batch_that_cannot_be_right_changes_nothing(store: Store, batch: Batch, message: str) -> None:
    store.persist(Batch(entries=entries(TEN[:4])))
    store.persist(final(TEN[1]))
    with pytest.raises(StoreError, match=message):
        store.persist(batch)
    assert (store.last_index(), store.final_height()) == (4, 2)
    # Nothing was written, so the store goes on.
    store.persist(Batch(entries=entries(TEN[4:5])))
    assert reopened(store).last_index() == 5


def test_a_block_that_nobody_can_read_does_not_become_final(store: Store) -> None:
    store.persist(Batch(entries=(Entry(1, 1, 0, b"noise", bytes(32)),)))
    with pytest.raises(StoreError, match="block 1 cannot become final") as caught:
        store.persist(Batch(final_height=1))
    assert caught.value.height == 1
    assert store.final_height() == 0


def test_records_of_final_blocks_are_found(store: Store) -> None:
    ids = [block.records[0].record_id for block in TEN]
    store.persist(Batch(entries=entries(TEN)))
    assert store.find_record(ids[0]) is None
    store.persist(final(TEN[3]))
    for opened in before_and_after_a_restart(store):
        assert [opened.find_record(record) for record in ids[:4]] == [(height, 0) for height in range(1, 5)]
        assert opened.find_record(ids[4]) is None


def test_a_record_that_came_twice_is_found_where_it_stood_first(store: Store) -> None:
    again = VILLAGE.block(Parent.of(TEN[0]), records=[TEN[0].records[0]])
    store.persist(Batch(entries=entries([TEN[0], again]), final_height=1, certificates=((1, b"one"),)))
    store.persist(Batch(final_height=2, certificates=((2, b"two"),)))
    assert store.find_record(TEN[0].records[0].record_id) == (1, 0)


def test_as_many_entries_as_fit_but_at_least_one(store: Store) -> None:
    store.persist(Batch(entries=entries(TEN)))
    size = len(TEN[2].encoded)
    assert len(store.entries(2, 11, 0)) == 1
    assert len(store.entries(2, 11, 3 * size + size // 2)) == 3
    assert len(store.entries(2, 4, 10**9)) == 2
    for low, high in ((0, 2), (5, 5), (9, 12), (6, 4)):
        with pytest.raises(LookupError):
            store.entries(low, high, 10**9)


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    with pytest.raises(StoreError, match="not written, it was closed"):
        store.persist(Batch(entries=entries(TEN)))


# --- a reader beside the writer


def test_a_reader_sees_each_batch_whole(store: Store) -> None:
    with LedgerReader(store.place) as reader:
        assert reader.tail()[1] == []
        store.persist(Batch(entries=entries(TEN)))
        store.persist(final(TEN[3]))
        standing, tail, last_certificate = reader.tail()
        assert (standing.final_height, standing.last_height, last_certificate) == (4, 10, 4)
        assert [row[0] for row in tail] == [5, 6, 7, 8, 9, 10]
        assert [row[0] for row in reader.log_rows(0, 100)] == list(range(1, 11))
        assert [row[0] for row in reader.log_rows(3, 5)] == [3, 4]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._db.execute("DELETE FROM log")


def test_the_bounds_of_a_long_log_are_found_without_reading_it(store: Store) -> None:
    store.persist(Batch(entries=entries(make_blocks(3))))
    asked: list[str] = []
    with LedgerReader(store.place) as reader:
        assert (reader.bounds("log"), reader.bounds("certificate")) == ((1, 3), (1, 0))
        reader._db.set_trace_callback(asked.append)
        reader.bounds("log")
        reader._db.set_trace_callback(None)
        plan = [row[3].decode() for row in reader._db.execute(f"EXPLAIN QUERY PLAN {asked[0]}")]
    assert "SEARCH log" in plan and "SCAN log" not in plan


def test_pages_of_a_long_log_have_no_seams(store: Store) -> None:
    many = make_blocks(150)
    store.persist(Batch(entries=entries(many)))
    with LedgerReader(store.place) as reader:
        assert [row[0] for row in reader.log_rows(1, 151)] == list(range(1, 151))


def test_a_ledger_on_a_disk_that_cannot_be_written_is_read(store: Store) -> None:
    store.persist(Batch(entries=entries(TEN)))
    store.close()
    place = store.place
    for path in place.iterdir():
        path.chmod(0o400)
    place.chmod(0o500)
    try:
        with LedgerReader(place) as reader:
            assert reader.standing().last_height == 10
    finally:
        place.chmod(0o700)


# --- the cache


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 5), st.integers(0, 40)), max_size=30))
@settings(max_examples=60, derandomize=True)
def test_the_cache_is_bounded_and_never_wrong(writes: list[tuple[int, int, int]]) -> None:
    cache = TailCache(max_entries=6, max_bytes=100)
    log: dict[int, Entry] = {}
    for round_number, (first, count, size) in enumerate(writes):
        first = min(first, len(log) + 1)
        new = [Entry(first + i, round_number, 0, bytes(size), b"") for i in range(count)]
        log = {index: known for index, known in log.items() if index < first} | {e.index: e for e in new}
        cache.replace_from(new)
        held = [index for index in range(30) if cache.get(index) is not None]
        assert all(cache.get(index) == log[index] for index in held)
        assert len(held) <= 6
        assert sum(len(log[index].data) for index in held) <= 100
        assert held == list(range(len(log) - len(held) + 1, len(log) + 1))


# --- against a model


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(0, 3), st.booleans()), max_size=12))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_the_store_does_what_a_list_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, int, bool]]
) -> None:
    """Each step: cut so many unfinal blocks, append so many, make so many final, perhaps restart."""
    directory = tmp_path_factory.mktemp("model")
    Store.create(directory, GENESIS)
    store = Store.open(directory, CHAIN)
    log: list[Entry] = []
    done = 0
    for term, (cut, append, finish, restart) in enumerate(steps, 1):
        keep = max(done, len(log) - cut)
        new = entries(make_blocks_after(log[:keep], append, term))
        log = [*log[:keep], *new]
        done = min(len(log), done + finish)
        store.persist(Batch(entries=new, hard_state=HardState(term, 0, done), final_height=done))
        if restart:
            store = reopened(store)
        assert store.last_index() == len(log)
        assert store.final_height() == store.hard_state().commit == done
        assert [store.entry(index) for index in range(1, len(log) + 1)] == log
    store.close()


def make_blocks_after(log: list[Entry], count: int, term: int) -> list[Block]:
    return make_blocks(count, term, [blocks.read(known.data, CHAIN) for known in log[-1:]])


def alter(place: Path, statement: str) -> None:
    """What no program of ours does: write to the database from outside."""
    db = sqlite3.connect(place / "ledger.sqlite")
    db.execute(statement)
    db.commit()
    db.close()


def test_a_validator_begins_its_ledger_again_without_its_key(tmp_path: Path) -> None:
    """What it signed is lost with the ledger; whatever else is found later, that key never signs again."""
    anna = device("anna").public
    Store.create(tmp_path, GENESIS)
    with Store.open(tmp_path, CHAIN) as store:
        assert store.places(key_id_of(anna)).trust()[0] is Trust.UNUSED
        store.persist(Batch(entries=entries(TEN), sign_state=acked(TEN[-1], 9)))
    aside = refound(tmp_path, CHAIN, anna, "set-aside")
    assert (aside / "ledger.sqlite").exists()
    for _ in range(2):
        with Store.open(tmp_path, CHAIN) as store:
            assert (store.last_index(), store.sign_state().sequence) == (0, 0)
            assert store.places(key_id_of(anna)).trust() == (Trust.RETIRED, SET_ASIDE)
            assert store.places(b"another!").trust()[0] is Trust.UNUSED


def test_elections_are_kept_for_good_beside_the_block_that_goes(store: Store) -> None:
    parent = VILLAGE.root
    elections = [to_payload(VILLAGE.election("anna", term, parent)) for term in (3, 1, 2)]
    again = VILLAGE.election("bela", 2, parent)
    store.persist(Batch(entries=entries(TEN[:2]), elections=(elections[0],)))
    # What takes a block's place and what justifies it are one write.
    store.persist(Batch(entries=(entry(TEN[1]),), elections=(*elections[1:], elections[0], to_payload(again))))
    for opened in before_and_after_a_restart(store):
        assert opened.elections_after(0, 99)[0] == elections[1]
        assert set(opened.elections_after(1, 99)) == {elections[2], to_payload(again), elections[0]}
        assert opened.elections_after(2, 99) == [elections[0]] and opened.elections_after(3, 99) == []
        assert opened.elections_after(0, 1) == [elections[1]]


def test_a_damaged_election_is_found_when_it_is_read(store: Store) -> None:
    store.persist(Batch(elections=(to_payload(VILLAGE.election("anna", 1, VILLAGE.root)),)))
    with sqlite3.connect(store.place / DATABASE_FILE) as db:
        db.execute("UPDATE election SET data = x'00'")
    db.close()
    with store, pytest.raises(StoreError, match="election row 1"):
        store.elections_after(0, 1)
