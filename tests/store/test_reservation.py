"""Reservation and sign file: what two places say of one another, and what a power cut can do to them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.store import Batch, SignState, Store, StoreError
from meshnode.store import signfile as signfile_module
from meshnode.store.reservation import (
    HEIGHTS_AHEAD,
    Places,
    Reservation,
    Trust,
    before_signing,
    changed,
    decode,
    encode,
)
from meshnode.store.signfile import SIGN_FILE, SLOT_BYTES, SignFile
from tests.store.log import CHAIN, GENESIS, entries, make_blocks

KEY, OTHER = b"our-key1", b"another1"
NOW, BEFORE = b"this boot", b"last boot"
TEN = make_blocks(10)


def signed(height: int, sequence: int, term: int = 3) -> SignState:
    return SignState(term, b"candidat", term, height, bytes(32), sequence)


def slot(number: int, sequence: int, height: int = 100, **other: object) -> Reservation:
    base = Reservation(number=number, key_id=KEY, term=3, height=height, sequence=sequence, boot=BEFORE)
    return msgspec.structs.replace(base, **other)


def places(state: SignState, newest: Reservation | None, older: Reservation | None = None, **other: object) -> Places:
    base = Places(signed=state, newest=newest, older=older, is_there=newest is not None, key_id=KEY, boot=NOW)
    return msgspec.structs.replace(base, **other)


NEVER = SignState(0, b"", 0, 0, b"", 0)

CASES = [
    ("a new ledger", places(NEVER, None), Trust.UNUSED),
    ("the file was torn when it was made", places(NEVER, None, is_there=True), Trust.UNUSED),
    ("stopped in order", places(signed(60, 9), slot(4, 9, clean=True)), Trust.CLEAN),
    ("the plug was pulled", places(signed(60, 9), slot(4, 5)), Trust.POWER_CUT),
    ("killed", places(signed(60, 9), slot(4, 5, boot=NOW)), Trust.SAME_BOOT),
    (
        "the system does not say which boot it is",
        places(signed(60, 9), slot(4, 5, boot=b""), boot=b""),
        Trust.POWER_CUT,
    ),
    ("the file is missing", places(signed(60, 9), None), Trust.RESTORED),
    ("the file is damaged", places(signed(60, 9), None, is_there=True), Trust.RESTORED),
    ("the card lost the database's last write", places(signed(60, 8), slot(4, 9), slot(3, 5)), Trust.DATABASE_BEHIND),
    ("an old database", places(signed(10, 2), slot(4, 9), slot(3, 5)), Trust.RESTORED),
    ("an old database, one slot is torn", places(signed(10, 8), slot(4, 9)), Trust.RESTORED),
    ("an old database after a stop", places(signed(60, 8), slot(4, 9, clean=True), slot(3, 5)), Trust.RESTORED),
    ("an old database, no new boot", places(signed(60, 8), slot(4, 9, boot=NOW), slot(3, 5)), Trust.RESTORED),
    ("an emptied database", places(NEVER, slot(4, 9), slot(3, 5)), Trust.RESTORED),
    ("the card lost the file's last write", places(signed(101, 9), slot(4, 5)), Trust.FILE_BEHIND),
    ("... one of a new term", places(signed(60, 9, term=4), slot(4, 5)), Trust.FILE_BEHIND),
    ("... that of the start", places(signed(60, 9), slot(4, 5, clean=True)), Trust.FILE_BEHIND),
    ("an old file", places(signed(100 + HEIGHTS_AHEAD + 2, 9), slot(4, 5)), Trust.RESTORED),
    ("an old file, no new boot", places(signed(101, 9), slot(4, 5, boot=NOW)), Trust.RESTORED),
    ("another device key", places(signed(60, 9), slot(4, 9, key_id=OTHER)), Trust.UNUSED),
    ("a retired key", places(signed(60, 9), slot(4, 9, clean=True, retired="restored")), Trust.RETIRED),
    ("another's retirement", places(signed(60, 9), slot(4, 9, key_id=OTHER, retired="restored")), Trust.UNUSED),
]


@pytest.mark.parametrize(("story", "found", "trust"), CASES, ids=[case[0] for case in CASES])
def test_what_two_places_say(story: str, found: Places, trust: Trust) -> None:
    judged, sentence = found.trust()
    assert judged is trust
    assert sentence


@given(
    data=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40)), min_size=1, max_size=30),
    lost_file=st.integers(0, 1),
)
def test_an_honest_card_is_never_called_a_restored_one(data: list[tuple[int, int]], lost_file: int) -> None:
    """Whatever is signed, and wherever the plug is pulled: the reservation covers the database, and that is seen."""
    newest, older, state = None, None, NEVER
    for terms, heights in data:
        term = state.vote_term + terms or 1
        promised = SignState(term, b"candidat", term, state.ack_height + heights, bytes(32), state.sequence + 1)
        needed = before_signing(newest, KEY, BEFORE, promised, state.sequence)
        if needed is not None:
            older, newest = newest, needed
        assert newest is not None
        assert newest.covers(promised)
        # The plug between the two writes, and after both.
        for stored in (state, promised):
            assert places(stored, newest, older).trust()[0] is Trust.POWER_CUT
            assert places(stored, newest, older, boot=BEFORE).trust()[0] is Trust.SAME_BOOT
        state = promised
    assert newest is not None
    stopped = changed(newest, KEY, BEFORE, state, clean=True)
    assert places(state, stopped, newest).trust()[0] is Trust.CLEAN
    # One lost write of the file, as a lying card may lose it, is no restored card either.
    if lost_file and older is not None and state.ack_height <= older.height + HEIGHTS_AHEAD + 1:
        assert places(state, older).trust()[0] in (Trust.FILE_BEHIND, Trust.POWER_CUT)


def test_a_file_is_written_rarely() -> None:
    newest, writes = None, 0
    for height in range(1, 1001):
        needed = before_signing(newest, KEY, NOW, signed(height, height), height - 1)
        writes += needed is not None
        newest = needed or newest
    assert writes == -(-1000 // (HEIGHTS_AHEAD + 1))


@given(st.data())
def test_slots_read_back_and_rot_is_noticed(data: st.DataObject) -> None:
    written = slot(
        data.draw(st.integers(1, 2**40)),
        data.draw(st.integers(0, 2**40)),
        owed=(data.draw(st.integers(0, 99)), data.draw(st.integers(0, 99))),
        clean=data.draw(st.booleans()),
        retired=data.draw(st.text(st.characters(exclude_categories=("Cs",)), max_size=60)),
    )
    encoded = encode(written)
    assert len(encoded) <= SLOT_BYTES
    assert decode(encoded.ljust(SLOT_BYTES, b"\0")) == written
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    rotten = bytearray(encoded)
    rotten[bit // 8] ^= 1 << bit % 8
    assert decode(bytes(rotten)) is None
    cut = data.draw(st.integers(0, len(encoded) - 1))
    assert decode(encoded[:cut].ljust(SLOT_BYTES, b"\0")) is None


def test_slots_take_turns_and_a_torn_one_leaves_the_other(tmp_path: Path) -> None:
    file = SignFile(tmp_path)
    assert (file.newest, file.older, file.is_there) == (None, None, False)
    for number in range(1, 5):
        file.write(slot(number, number * 10))
        again = SignFile(tmp_path)
        assert again.newest == slot(number, number * 10)
        assert again.older == (slot(number - 1, number * 10 - 10) if number > 1 else None)
    path = tmp_path / SIGN_FILE
    assert path.stat().st_size == 2 * SLOT_BYTES
    assert path.stat().st_mode & 0o077 == 0
    data = bytearray(path.read_bytes())
    data[5] ^= 1  # number 4 is even: the first slot
    path.write_bytes(data)
    torn = SignFile(tmp_path)
    assert (torn.newest, torn.older, torn.is_there) == (slot(3, 30), None, True)
    path.write_bytes(bytes(2 * SLOT_BYTES))
    assert not SignFile(tmp_path).is_there


def test_the_file_is_on_disk_before_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.create(tmp_path, GENESIS)
    with Store.open(tmp_path, CHAIN) as store:
        assert store.places(KEY).trust()[0] is Trust.UNUSED
        store.persist(Batch(entries=entries(TEN[:2])))
        assert not (store.place / SIGN_FILE).exists(), "nothing was signed"

        def refuse(*_: object) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(signfile_module.os, "fsync", refuse)
        with pytest.raises(StoreError, match="nothing is signed without it"):
            store.persist(Batch(sign_state=signed(2, 1)))
        assert store.sign_state().sequence == 0
        monkeypatch.undo()
        store.persist(Batch(sign_state=signed(2, 1)))
        found = SignFile(store.place).newest
        assert found is not None and found.covers(signed(2 + HEIGHTS_AHEAD, 1)) and not found.clean
    with Store.open(tmp_path, CHAIN) as store:
        assert store.places(KEY).trust()[0] is Trust.CLEAN
    # Opened and closed without a signature, it stays what it was.
    with Store.open(tmp_path, CHAIN) as store:
        assert store.places(KEY).trust()[0] is Trust.CLEAN
        store.retire("an old copy was put back")
    with Store.open(tmp_path, CHAIN) as store:
        assert store.places(KEY).trust() == (Trust.RETIRED, "an old copy was put back")
        assert store.places(OTHER).trust()[0] is Trust.UNUSED


def test_a_failed_write_is_no_stop_in_order(tmp_path: Path) -> None:
    Store.create(tmp_path, GENESIS)
    store = Store.open(tmp_path, CHAIN)
    store.places(KEY)
    store.persist(Batch(entries=entries(TEN[:2]), sign_state=signed(2, 1)))
    store._failed = "an earlier write failed"
    store.close()
    with Store.open(tmp_path, CHAIN) as again:
        assert again.places(KEY).trust()[0] in (Trust.SAME_BOOT, Trust.POWER_CUT)
