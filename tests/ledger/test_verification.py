"""Verification: an honest ledger holds, and no byte of it can be changed without being named."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from meshnode.ledger_tools import BadEntry, ChainReport, Verification, verify
from meshnode.store import Store, StoreError, chain_of
from meshnode.store.rows import (
    CERTIFICATE_COLUMNS,
    LOG_COLUMNS,
    STANDING_COLUMNS,
    certificate_row,
    checksum,
)
from protocols.block import Block, Parent
from protocols.records import PHASE_PREPARE, BindingVote, Certificate, read_as, to_payload
from tests.ledger.chain import Chain, a_busy_morning, member, meter_key, period_s
from tests.protocols.keys import key_pair

COLUMNS = {"log": LOG_COLUMNS, "certificate": CERTIFICATE_COLUMNS, "standing": STANDING_COLUMNS}


def report(place: Path, chain: Chain) -> ChainReport:
    return verify(place, chain.mechanisms).chains[0]


def bad(place: Path, chain: Chain) -> BadEntry:
    """The first bad entry, which there must be."""
    found = verify(place, chain.mechanisms)
    assert not found.ok
    entry = found.chains[0].bad
    assert entry is not None
    assert found.chains[0].state_hash == ""
    return entry


# --- an honest ledger


def test_an_honest_ledger_holds(morning: Chain, ledger: Path) -> None:
    steps: list[tuple[int, int]] = []
    found = verify(ledger, morning.mechanisms, lambda done, total: steps.append((done, total)))
    assert found.ok
    chain = found.chains[0]
    assert chain.bad is None
    assert (chain.blocks, chain.records, chain.certificates, chain.final_height) == (7, 12, 5, 6)
    assert chain.verdicts == (("ACCEPTED", 11), ("NOT_ENOUGH", 1))
    # Of 7 headers, 2 elections with 3 votes, 13 records, 5 certificates with 3 acks.
    assert chain.signatures == 7 + 2 * 3 + 13 + 5 * 3
    state_hash = morning.machine.state_hash()
    assert state_hash is not None and chain.state_hash == state_hash.hex()
    assert chain.state_proved_height == 5
    assert (chain.community, chain.chain_id) == ("Unterdorf", morning.chain_id.hex())
    assert steps == [(height, 7) for height in range(1, 8)]


def test_a_founded_ledger_without_a_block_holds(tmp_path: Path) -> None:
    chain = Chain()
    found = report(chain.store(tmp_path), chain)
    assert (found.bad, found.blocks, found.signatures) == (None, 0, 0)


def test_all_microgrids_of_a_node_are_verified(tmp_path: Path) -> None:
    first, second = Chain(), Chain(community="Oberdorf")
    first.block(first.reading("anna", -1, 5))
    for chain in (first, second):
        chain.store(tmp_path)
    found = verify(tmp_path, first.mechanisms)
    assert sorted((chain.community, chain.blocks) for chain in found.chains) == [("Oberdorf", 0), ("Unterdorf", 1)]
    assert found.ok
    alter(first.store(tmp_path / "other"), "UPDATE log SET term = 2")
    broken = Verification((*found.chains, *verify(tmp_path / "other", first.mechanisms).chains))
    assert not broken.ok


def test_a_directory_without_a_ledger_is_an_error_of_the_caller(tmp_path: Path, morning: Chain) -> None:
    with pytest.raises(StoreError, match="no ledger here"):
        verify(tmp_path, morning.mechanisms)


def test_a_running_node_is_not_disturbed(tmp_path: Path) -> None:
    chain = a_busy_morning()
    chain.store(tmp_path)
    with Store.open(tmp_path, chain.chain_id):
        assert verify(tmp_path, chain.mechanisms).ok


# --- every byte


def flips(chain: Chain) -> Iterator[tuple[int, str, int, int]]:
    """Seeded: (height, part, offset in the row's data, bit), several in every part of every block."""
    chance = random.Random(2)
    for block in chain.blocks:
        for part, start, end in parts(block):
            for _ in range(3):
                yield block.header.height, part, chance.randrange(start, end), 1 << chance.randrange(8)
        # And wherever the framing lies.
        for _ in range(3):
            yield block.header.height, "anywhere", chance.randrange(len(block.encoded)), 1 << chance.randrange(8)


def parts(block: Block) -> Iterator[tuple[str, int, int]]:
    """Header, signatures, records and election of a block, as ranges of its bytes."""
    envelopes = [("header", block.header_envelope.encode())]
    envelopes += [(f"record {number}", record.envelope_bytes) for number, record in enumerate(block.records)]
    for name, envelope in envelopes:
        start = block.encoded.index(envelope)
        end = start + len(envelope)
        yield name, start, end - 64
        yield f"signature of {name}", end - 64, end
    if block.election is not None:
        election = to_payload(block.election)
        start = block.encoded.index(election)
        yield "election", start, start + len(election)


def test_every_part_of_a_block_is_protected(morning: Chain, ledger: Path) -> None:
    """Somebody who cannot compute checksums (a failing card), and somebody who can: both are found out."""
    tried = set()
    for height, part, offset, bit in flips(morning):
        data = bytearray(morning.blocks[height - 1].encoded)
        data[offset] ^= bit
        for honest_checksum in (False, True):
            with changed(ledger, "log", height, "data", bytes(data), honest_checksum):
                found = bad(ledger, morning)
            where = (height, part, offset, found)
            assert found.height == height, where
            assert (found.part == "log row") == (not honest_checksum), where
        tried.add(part.split()[0])
    assert tried == {"header", "signature", "record", "election", "anywhere"}
    assert report(ledger, morning).bad is None, "the ledger is whole again"


def test_every_byte_of_a_certificate_is_protected(morning: Chain, ledger: Path) -> None:
    chance = random.Random(3)
    for height, certificate in morning.certificates.items():
        encoded = to_payload(certificate)
        for offset in sorted({0, len(encoded) - 1, *chance.sample(range(len(encoded)), 20)}):
            data = bytearray(encoded)
            data[offset] ^= 1 << chance.randrange(8)
            for honest_checksum in (False, True):
                with changed(ledger, "certificate", height, "data", bytes(data), honest_checksum):
                    found = bad(ledger, morning)
                assert found.height == height, (height, offset, found)
                assert found.part == ("certificate" if honest_checksum else "certificate row")


@pytest.mark.parametrize("column", ["height", "term", "kind", "block_hash", "checksum"])
def test_the_columns_beside_the_block_are_protected(morning: Chain, ledger: Path, column: str) -> None:
    for height in range(1, 8):
        for value in (0, 1, 2, 99) if column in ("height", "term", "kind") else (bytes(32), b""):
            for honest_checksum in (False, True) if column != "checksum" else (False,):
                with changed(ledger, "log", height, column, value, honest_checksum) as is_change:
                    if is_change:
                        assert bad(ledger, morning).height <= height
                    else:
                        assert report(ledger, morning).bad is None


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("chain_id", [bytes(32)], "found chain 00000000"),
        ("final_height", [0, 5, 7, 8, -1, 2**62], ""),
        ("last_height", [5, 6, 8, 0], ""),
    ],
)
def test_the_standing_row_is_checked(
    morning: Chain, ledger: Path, column: str, values: list[int | bytes], expected: str
) -> None:
    for value in values:
        for honest_checksum in (False, True):
            with changed(ledger, "standing", None, column, value, honest_checksum):
                found = bad(ledger, morning)
            if honest_checksum:
                assert expected in str(found)
            else:
                assert found.part == "standing row"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM record WHERE height = 4 AND position = 1",
        "UPDATE record SET position = position + 1 WHERE height = 3",
        "UPDATE record SET height = 1 WHERE height = 6",
        "UPDATE record SET height = 6 WHERE height = 1 AND position = 2",
        "INSERT INTO record VALUES (zeroblob(32), 1, 7)",
        "INSERT INTO record VALUES (zeroblob(32), -3, 0)",
    ],
)
def test_the_index_of_records_is_checked(tmp_path: Path, statement: str) -> None:
    chain = a_busy_morning()
    place = chain.store(tmp_path)
    alter(place, statement)
    assert "record index" in str(bad(place, chain))


def test_the_index_has_the_first_place_of_a_record_that_came_twice(tmp_path: Path) -> None:
    chain = Chain()
    issue = chain.issue("anna")
    chain.block(issue)
    chain.block(issue)
    place = chain.store(tmp_path)
    assert report(place, chain).bad is None
    alter(place, "UPDATE record SET height = 2")
    assert str(bad(place, chain)) == "height 1, record 0: found (2, 0) in the record index; expected (1, 0)"


# --- rows moved, dropped, added


def test_two_certificates_changed_places(morning: Chain, ledger: Path) -> None:
    second, fourth = (to_payload(morning.certificates[height]) for height in (2, 4))
    with (
        changed(ledger, "certificate", 2, "data", fourth, True),
        changed(ledger, "certificate", 4, "data", second, True),
    ):
        assert str(bad(ledger, morning)) == ("height 2, certificate: found one of height 4; expected one of height 2")


def test_two_blocks_changed_places(morning: Chain, ledger: Path) -> None:
    second, third = (morning.blocks[height - 1].encoded for height in (2, 3))
    with changed(ledger, "log", 2, "data", third, True), changed(ledger, "log", 3, "data", second, True):
        assert bad(ledger, morning).height == 2


def test_the_last_certificate_is_missing(tmp_path: Path) -> None:
    chain = a_busy_morning()
    place = chain.store(tmp_path)
    alter(place, "DELETE FROM certificate WHERE height = 6")
    assert str(bad(place, chain)) == (
        "height 6, certificate: found the last one at height 5; expected one that makes heights up to 6 final"
    )
    alter(place, "DELETE FROM certificate")
    assert bad(place, chain).height == 1


def test_a_certificate_in_between_may_be_missing(tmp_path: Path) -> None:
    """A later one covers its ancestors: nodes that caught up have fewer, and lack nothing."""
    chain = a_busy_morning()
    place = chain.store(tmp_path)
    alter(place, "DELETE FROM certificate WHERE height < 6")
    found = report(place, chain)
    assert (found.bad, found.certificates) == (None, 1)


@pytest.mark.parametrize("height", [1, 3, 6])
def test_the_tail_was_cut(tmp_path: Path, height: int) -> None:
    chain = a_busy_morning()
    place = chain.store(tmp_path)
    alter(place, f"DELETE FROM log WHERE height >= {height}")
    assert str(bad(place, chain)) == f"height {height}, log row: found none; expected blocks up to height 6"
    # With the standing row made to fit, the certificates still tell.
    with (
        changed(place, "standing", None, "last_height", height - 1, True),
        changed(place, "standing", None, "final_height", height - 1, True),
    ):
        assert "certificate" in str(bad(place, chain))


@pytest.mark.parametrize("height", [1, 3])
def test_a_block_is_missing(tmp_path: Path, height: int) -> None:
    chain = a_busy_morning()
    place = chain.store(tmp_path)
    alter(place, f"DELETE FROM log WHERE height = {height}")
    assert bad(place, chain).height == height


def test_the_genesis_was_altered(tmp_path: Path) -> None:
    chain = a_busy_morning()
    place = chain.store(tmp_path)
    path = place / "genesis.cbor"
    genesis = path.read_bytes()
    path.write_bytes(genesis.replace(b"Unterdorf", b"Oberdorf!"))
    assert bad(place, chain).part == "genesis"
    # Also when the directory is renamed to fit: the database knows its chain ...
    moved = place.rename(place.with_name(chain_of(path.read_bytes()).hex()))
    assert bad(moved, chain).part == "standing row"
    # ... and so does every signature.
    with changed(moved, "standing", None, "chain_id", bytes.fromhex(moved.name), True):
        assert bad(moved, chain).height == 1
    (moved / "genesis.cbor").write_bytes(genesis[:-1])
    assert "genesis" in str(bad(moved, chain))


# --- what even a quorum cannot write


def certified(chain: Chain, block: Block) -> Chain:
    """All validators sign a block that they should not have signed."""
    chain.certificates[block.header.height] = chain.village.certificate(block)
    return chain


def wrong_state(chain: Chain) -> Block:
    return chain.block(certify=False, state_hash=bytes(32))


def stranger(chain: Chain) -> Block:
    return chain.block(chain.transfer("gina", "anna", 5), certify=False)


def forged(chain: Chain) -> Block:
    order = chain.bid("bela", 2, 100, 150_000)
    envelope = msgspec.structs.replace(order.envelope, signature=bytes(64))
    return chain.block(
        msgspec.structs.replace(order, envelope=envelope, envelope_bytes=envelope.encode()), certify=False
    )


def expired(chain: Chain) -> Block:
    return chain.block(chain.bid("bela", 2, 100, 150_000, valid_until_s=period_s(0)), certify=False)


def wrong_key(chain: Chain) -> Block:
    vote = BindingVote(**chain.spoken(), proposal=bytes(32), choice=1)
    return chain.block(chain.sign(vote, meter_key("anna")), certify=False)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (wrong_state, "state hash of height 6"),
        (stranger, "UNKNOWN_KEY"),
        (forged, "BAD_SIGNATURE"),
        (expired, "EXPIRED"),
        (wrong_key, "WRONG_KEY"),
    ],
)
def test_a_quorum_cannot_write_what_is_wrong(tmp_path: Path, make: Callable[[Chain], Block], part: str) -> None:
    chain = a_busy_morning()
    place = certified(chain, make(chain)).store(tmp_path)
    found = bad(place, chain)
    assert found.height == 7
    assert part in str(found)


def test_one_bad_signature_beside_a_quorum_is_found(tmp_path: Path) -> None:
    chain = a_busy_morning()
    good = chain.certificates[6]
    *two, (key_id, _) = good.signatures
    assert chain.village.quorum.is_quorum([signer for signer, _ in two])
    chain.certificates[6] = msgspec.structs.replace(good, signatures=(*two, (key_id, bytes(64))))
    place = chain.store(tmp_path)
    assert f"the signature of {key_id.hex()} does not hold" in str(bad(place, chain))


def test_a_certificate_of_another_block_of_that_height_is_found(tmp_path: Path) -> None:
    """All validators signed two blocks of one height: the ledger cannot be both."""
    chain = a_busy_morning()
    other = chain.village.block(Parent.of(chain.blocks[4]), "bela", 2)
    chain.certificates[6] = chain.village.certificate(other)
    theirs, ours = other.block_hash.hex(), chain.blocks[5].block_hash.hex()
    found = bad(chain.store(tmp_path), chain)
    assert str(found) == f"height 6, certificate: found block {theirs}; expected block {ours}"


def test_a_prepare_certificate_makes_nothing_final(tmp_path: Path) -> None:
    chain = a_busy_morning()
    chain.certificates[6] = chain.village.certificate(chain.blocks[5], phase=PHASE_PREPARE)
    assert "only phase 2 (commit) makes a block final" in str(bad(chain.store(tmp_path), chain))


def test_a_minority_makes_nothing_final(tmp_path: Path) -> None:
    chain = a_busy_morning()
    chain.certificates[6] = chain.village.certificate(chain.blocks[5], ["anna"])
    assert "1 signatures are not a quorum" in str(bad(chain.store(tmp_path), chain))


def test_a_longer_history_with_joining_and_a_new_key_holds(tmp_path: Path) -> None:
    chain = Chain()
    chain.block(chain.join(member("emil")))
    chain.block(chain.change_key("emil", key_pair("emil"), key_pair("emil 2")))
    for period in range(6):
        chain.block(
            *(chain.reading(home, period, 100 * period) for home in ("anna", "bela")), time_s=period_s(period + 1)
        )
        chain.block(time_s=period_s(period + 1) + 200)
    found = report(chain.store(tmp_path), chain)
    assert (found.bad, found.blocks, found.records) == (None, 14, 14)


# --- writing past the store


@contextmanager
def changed(
    place: Path, table: str, height: int | None, column: str, value: int | bytes, honest_checksum: bool
) -> Iterator[bool]:
    """One cell holds something else for a while; says whether it is another value than before."""
    columns = COLUMNS[table].split(", ")
    where = "" if height is None else f" WHERE height = {height}"
    db = sqlite3.connect(place / "ledger.sqlite", isolation_level=None)
    db.execute("PRAGMA synchronous = OFF")
    before: tuple[Any, ...] = db.execute(f"SELECT {COLUMNS[table]} FROM {table}{where}").fetchone()
    after = list(before)
    after[columns.index(column)] = value
    if honest_checksum:
        after[-1] = checksum(table, after[:-1])
    moved = column == "height" and db.execute(f"SELECT 1 FROM {table} WHERE height = ?", (value,)).fetchone()
    try:
        if not moved:
            write(db, table, columns, after, where)
        yield not moved and before[columns.index(column)] != value
    finally:
        write(db, table, columns, before, f" WHERE height = {value}" if column == "height" and not moved else where)
        db.close()


def write(db: sqlite3.Connection, table: str, columns: list[str], row: Any, where: str) -> None:
    assignments = ", ".join(f"{column} = ?" for column in columns)
    assert db.execute(f"UPDATE {table} SET {assignments}{where}", tuple(row)).rowcount == 1


def alter(place: Path, statement: str) -> None:
    db = sqlite3.connect(place / "ledger.sqlite")
    assert db.execute(statement).rowcount > 0
    db.commit()
    db.close()


def test_the_attacker_of_these_tests_computes_checksums_as_the_store_does(morning: Chain) -> None:
    data = to_payload(morning.certificates[2])
    assert certificate_row(2, data)[-1] == checksum("certificate", (2, data))
    assert read_as(Certificate, data) == morning.certificates[2]
