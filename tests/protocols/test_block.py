"""Block: the gate of form - for each rule one block that breaks only that rule."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import block as blocks
from protocols import cbor, cose
from protocols.block import Block, BlockError, FormError, MismatchError, Parent
from protocols.certificate import QuorumConfig
from protocols.records import DEFAULT_LIMITS, Ack, RecordError, Tip, Vote, to_payload
from tests.protocols.keys import key_pair, verify
from tests.protocols.village import START_S, Village, device

VILLAGE = Village()
FIRST = VILLAGE.block(records=[VILLAGE.reading("anna"), VILLAGE.order("bela")])
PARENT = Parent.of(FIRST)


def refused(block: Block, message: str, parent: Parent | None = None, village: Village = VILLAGE) -> None:
    """The leader signed what breaks a rule: evidence."""
    with pytest.raises(FormError, match=message) as caught:
        village.check(block, parent or PARENT)
    assert type(caught.value) is FormError, "a fault of the leader was called a mismatch"


def mismatched(block: Block, message: str, parent: Parent | None = None, village: Village = VILLAGE) -> None:
    """The parts do not belong together, which anyone can bring about: no evidence."""
    with pytest.raises(MismatchError, match=message):
        village.check(block, parent or PARENT)


def remade(block: Block, **parts: Any) -> Block:
    """`block` with its encoded parts changed, read again as a peer would."""
    header, records, election = cbor.decode(block.encoded)
    parts = {"header": header, "records": records, "election": election} | parts
    return blocks.read(cbor.encode([parts["header"], parts["records"], parts["election"]]), VILLAGE.chain_id)


def test_a_chain_of_good_blocks() -> None:
    VILLAGE.check(FIRST, VILLAGE.root)
    second = VILLAGE.block(PARENT)
    VILLAGE.check(second, PARENT)
    third = VILLAGE.block(Parent.of(second), leader="bela", term=7, head={"state_height": 2})
    VILLAGE.check(third, Parent.of(second))
    same_time = VILLAGE.block(Parent.of(third), leader="bela", head={"time_s": third.header.time_s})
    VILLAGE.check(same_time, Parent.of(third))
    chain = (FIRST, second, third, same_time)
    assert [block.header.height for block in chain] == [1, 2, 3, 4]
    assert [block.header.term for block in chain] == [1, 1, 7, 7]
    assert [block.header.parent for block in chain[1:]] == [block.block_hash for block in chain[:-1]]
    assert third.election is not None and same_time.election is None, "elected once for a term"


def test_a_validator_alone_needs_nobody() -> None:
    alone = Village(1)
    block = alone.block()
    alone.check(block)
    assert [key for key, _ in alone.quorum.voters] == [device("anna").public]
    assert block.leader == device("anna").key_id


def test_what_is_made_is_what_is_read() -> None:
    assert blocks.read(FIRST.encoded, VILLAGE.chain_id) == FIRST
    assert FIRST.leader == device("anna").key_id
    for record in FIRST.records:
        assert blocks.read_record(record.envelope_bytes, VILLAGE.chain_id) == record
        assert record.key_id == record.envelope.key_id


def test_the_leader_must_be_a_validator() -> None:
    mismatched(VILLAGE.block(PARENT, signer=key_pair("stranger")), "is not a validator of this height")


def test_the_leaders_signature_must_hold() -> None:
    block = VILLAGE.block(PARENT)
    envelope = msgspec.structs.replace(block.header_envelope, signature=bytes(64))
    mismatched(remade(block, header=envelope.encode()), "the leader's signature does not hold")


def test_the_header_is_of_this_chain() -> None:
    other = Village(3, community="Oberdorf")
    block = other.block(PARENT)
    mismatched(blocks.read(block.encoded, VILLAGE.chain_id), "the leader's signature does not hold")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 3}, "block 3: follows height 1"),
        ({"height": 1}, "block 1: follows height 1"),
        ({"time_s": START_S + 4}, f"time {START_S + 4} before the parent's {START_S + 5}"),
        ({"state_height": 2}, "state height 2, expected 0 to 1"),
        ({"validators": b"v" * 32}, "validators hash does not follow from the parent"),
    ],
)
def test_each_rule_of_the_header(changes: dict[str, Any], message: str) -> None:
    refused(VILLAGE.block(PARENT, head=changes), message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parent": b"p" * 32}, "parent 7070707070707070, expected"),
        ({"tx_root": b"r" * 32}, "the records do not give the header's Merkle root"),
        ({"tx_count": 1}, "0 records, the header says 1"),
        ({"election": b"e" * 32}, "the header names another election certificate, or none"),
    ],
)
def test_a_header_and_what_does_not_belong_to_it(changes: dict[str, Any], message: str) -> None:
    mismatched(VILLAGE.block(PARENT, head=changes), message)


def test_term_and_state_height_never_decrease() -> None:
    second = VILLAGE.block(PARENT, leader="anna", term=5, head={"state_height": 1})
    later = Parent.of(second)
    refused(VILLAGE.block(later, term=4), "term 4 after term 5", later)
    refused(VILLAGE.block(later, head={"state_height": 0}), "state height 0, expected 1 to 2", later)


def test_the_validators_are_those_that_the_parent_announced() -> None:
    # Then either the node or whoever asks it is wrong about the validators; not the leader.
    mismatch = "checked against other validators than the parent announces"
    mismatched(VILLAGE.block(PARENT), mismatch, msgspec.structs.replace(PARENT, next_validators=b"n" * 32))
    with pytest.raises(MismatchError, match=mismatch):
        VILLAGE.check(VILLAGE.block(PARENT), PARENT, QuorumConfig(0, VILLAGE.quorum.voters[:2]))


def test_only_the_elected_leader_goes_on_in_its_term() -> None:
    # Bela is a validator, but nobody elected her in term 1.
    refused(
        VILLAGE.block(PARENT, leader="bela"),
        f"by {device('bela').key_id.hex()}, term 1 is led by {device('anna').key_id.hex()}",
    )


def test_the_first_block_of_a_term_needs_its_election_certificate() -> None:
    VILLAGE.check(VILLAGE.block(PARENT, leader="bela", term=2), PARENT)
    unelected = VILLAGE.block(PARENT, leader="bela", term=2, head={"election": b""})
    refused(remade(unelected, election=None), "the first block of a term, and only it")


def test_no_other_block_carries_one() -> None:
    refused(
        VILLAGE.block(PARENT, election=VILLAGE.election("anna", 1, PARENT)), "the first block of a term, and only it"
    )


def test_an_honest_header_with_another_election_certificate_convicts_nobody() -> None:
    block = VILLAGE.block(PARENT, leader="bela", term=2)
    for election in (None, to_payload(VILLAGE.election("bela", 2, PARENT, ("anna", "bela")))):
        mismatched(remade(block, election=election), "the header names another election certificate, or none")
    stray = to_payload(VILLAGE.election("anna", 1, PARENT))
    mismatched(remade(VILLAGE.block(PARENT), election=stray), "the header names another election certificate, or none")


@given(st.data())
def test_no_change_to_the_parts_of_an_honest_block_convicts_its_leader(data: st.DataObject) -> None:
    # Whoever relays a block holds all its bytes but not the leader's key.
    changed = bytearray(FIRST.encoded)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        block = blocks.read(bytes(changed), VILLAGE.chain_id)
    except BlockError:
        return
    if block.encoded != FIRST.encoded:
        with pytest.raises(MismatchError):
            VILLAGE.check(block, VILLAGE.root)


def test_the_election_certificate_must_hold() -> None:
    fewer = VILLAGE.election("bela", 2, PARENT, ("bela",))
    refused(VILLAGE.block(PARENT, leader="bela", term=2, election=fewer), "1 votes are not a quorum of 3")


def test_no_record_stands_in_a_block_twice() -> None:
    order = VILLAGE.order()
    refused(VILLAGE.block(PARENT, records=[order, order]), "a record stands in it twice")
    # A second valid signature is no second record, though its leaf differs.
    again = msgspec.structs.replace(order, envelope=msgspec.structs.replace(order.envelope, signature=bytes(64)))
    again = blocks.read_record(again.envelope.encode(), VILLAGE.chain_id)
    assert again.envelope_bytes != order.envelope_bytes and again.record_id == order.record_id
    refused(VILLAGE.block(PARENT, records=[order, again]), "a record stands in it twice")


def test_records_cannot_be_taken_out_put_in_or_moved() -> None:
    records = [VILLAGE.order(nonce=number) for number in range(3)]
    block = VILLAGE.block(PARENT, records=records)
    VILLAGE.check(block, PARENT)
    raw = [record.envelope_bytes for record in records]
    mismatched(remade(block, records=raw[:2]), "2 records, the header says 3")
    mismatched(remade(block, records=[*raw, VILLAGE.order(nonce=9).envelope_bytes]), "4 records, the header says 3")
    mismatched(remade(block, records=[raw[1], raw[0], raw[2]]), "Merkle root")


def test_the_limits_of_the_genesis() -> None:
    limits = msgspec.structs.replace(DEFAULT_LIMITS, max_block_records=2, max_block_bytes=4096)
    small = Village(3, limits=limits)
    two = small.block(records=[small.order(nonce=number) for number in range(2)])
    small.check(two)
    three = small.block(records=[small.order(nonce=number) for number in range(3)])
    refused(three, "3 records, the limit is 2", small.root, small)
    many = msgspec.structs.replace(limits, max_block_records=100)
    wide = Village(3, limits=many)
    large = wide.block(records=[wide.order(nonce=number) for number in range(40)])
    refused(large, f"{len(large.encoded)} bytes, the limit is 4096", wide.root, wide)


def test_bytes_that_are_no_block_convict_nobody() -> None:
    header, records, election = cbor.decode(FIRST.encoded)
    cases: list[tuple[Any, str]] = [
        (b"", "block: not CBOR"),
        (FIRST.encoded + b"\x00", "block: "),
        (cbor.encode([header, records]), "is not"),
        (cbor.encode([header, records, election, None]), "is not"),
        (cbor.encode([None, records, election]), "is not"),
        (cbor.encode([header, None, election]), "is not"),
        (cbor.encode([header, [1], election]), "record 0 of the block is not a byte string"),
        (cbor.encode([header, records, 1]), "election certificate of the block is not a byte string"),
        (cbor.encode([header, records, to_payload(FIRST.header)]), "expected Election"),
        (cbor.encode([records[0], records, election]), "expected Header"),
        (cbor.encode([header, [header], election]), "record of kind 32: unknown"),
        (cbor.encode([header, [*records, b"\xd2"], election]), f"record {len(records)} of the block: envelope"),
        (cbor.encode([b"\xd2", records, election]), "header of the block: envelope"),
        (bytes(2**19 + 1), "block of 524289 bytes, the limit is 524288"),
    ]
    for data, message in cases:
        with pytest.raises(BlockError, match=message):
            blocks.read(data, VILLAGE.chain_id)


@given(st.binary(max_size=100))
def test_junk_is_no_block(data: bytes) -> None:
    with pytest.raises(BlockError):
        blocks.read(data, VILLAGE.chain_id)


def test_agreement_records_stand_in_no_block() -> None:
    ack = VILLAGE.ack(FIRST, "anna")[1]
    tip = Tip(term=0, height=0, block=bytes(32))
    vote = Vote(term=1, candidate=bytes(8), candidate_tip=tip, voter_tip=tip)
    for record in (FIRST.header, ack, vote, VILLAGE.genesis):
        envelope = cose.sign(record.KIND, VILLAGE.chain_id, to_payload(record), *_key("anna"))
        with pytest.raises(RecordError, match="unknown to this version"):
            blocks.read_record(envelope.encode(), VILLAGE.chain_id)
    assert isinstance(ack, Ack)


def _key(home: str) -> tuple[bytes, cose.Signer]:
    key = device(home)
    return key.public, key.sign


def test_the_genesis_stands_for_the_parent_of_the_first_block() -> None:
    assert (VILLAGE.root.height, VILLAGE.root.term, VILLAGE.root.time_s) == (0, 0, START_S)
    assert VILLAGE.root.block_hash == VILLAGE.chain_id
    blocks.check_form(FIRST, VILLAGE.root, VILLAGE.quorum, VILLAGE.genesis, VILLAGE.chain_id, verify)
