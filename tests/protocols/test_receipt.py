"""Receipt: one story that holds, and every part of it that can be false."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import block as blocks
from protocols import receipt
from protocols.block import Parent
from protocols.receipt import SIGNED_BY_FOUNDER, SIGNER_LATER, ReceiptError, Verdict
from protocols.records import Order, Receipt, to_payload
from tests.protocols.keys import key_pair, verify
from tests.protocols.village import START_S, Village, device

VILLAGE = Village(3)
RECORDS = [VILLAGE.order("anna"), VILLAGE.reading("bela"), VILLAGE.order("carla", nonce=7)]
FIRST = VILLAGE.block(records=RECORDS)
SECOND = VILLAGE.block(Parent.of(FIRST))
THIRD = VILLAGE.block(Parent.of(SECOND), leader="bela", term=2)
FOLLOWING = [SECOND.header_envelope.encode(), THIRD.header_envelope.encode()]
GOOD = receipt.make(FIRST, RECORDS[2].record_id, FOLLOWING, VILLAGE.certificate(THIRD, ("anna", "carla")))


def check(proof: Receipt, village: Village = VILLAGE) -> Verdict:
    return receipt.check(receipt.decode(receipt.encode(proof)), village.genesis, verify)


def refused(message: str, proof: Receipt = GOOD, village: Village = VILLAGE, **changes: Any) -> None:
    with pytest.raises(ReceiptError, match=message):
        check(msgspec.structs.replace(proof, **changes), village)


def test_carlas_order_is_final_and_anyone_can_see_it() -> None:
    assert check(GOOD) == Verdict(
        record=RECORDS[2].record,
        record_id=RECORDS[2].record_id,
        height=1,
        index=2,
        time_s=START_S + 5,
        block_hash=FIRST.block_hash,
        certified_height=3,
        validators=2,
        signer=key_pair("carla").key_id,
        member="carla",
        note=SIGNED_BY_FOUNDER,
    )


@pytest.mark.parametrize("number", range(3))
def test_every_record_of_a_block_has_its_receipt(number: int) -> None:
    proof = receipt.make(FIRST, RECORDS[number].record_id, [], VILLAGE.certificate(FIRST))
    verdict = check(proof)
    assert (verdict.record, verdict.index, verdict.certified_height) == (RECORDS[number].record, number, 1)


def test_a_signer_who_came_later_is_said_to_be_unprovable() -> None:
    order = VILLAGE.order("newcomer")
    block = VILLAGE.block(records=[order])
    verdict = check(receipt.make(block, order.record_id, [], VILLAGE.certificate(block)))
    assert verdict.member is None and verdict.note == SIGNER_LATER
    assert SIGNER_LATER == "signer admitted later: key not provable from the genesis alone"


def test_a_record_that_is_not_in_the_block_has_none() -> None:
    with pytest.raises(ReceiptError, match="block 1 has no record 00000000"):
        receipt.make(FIRST, bytes(32), [], VILLAGE.certificate(FIRST))
    with pytest.raises(ReceiptError, match="certificate of height 3 for 1 headers after 1"):
        receipt.make(FIRST, RECORDS[0].record_id, FOLLOWING[:1], VILLAGE.certificate(THIRD))


def test_the_record_is_the_one_under_the_root() -> None:
    refused("the path does not lead to the Merkle root", record=RECORDS[0].envelope_bytes)
    refused("the path does not lead to the Merkle root", record=VILLAGE.order("anna", nonce=99).envelope_bytes)
    refused("receipt: envelope", record=b"\xd2\x80")


def test_the_place_is_the_true_one() -> None:
    refused("the path does not lead", index=1)
    # Leaf 2 of 3 has the path of leaf 1 of 2; the header's count gives it away.
    refused("record 1 of 2: block 1 has 3 records", index=1, count=2)
    refused("record 5 of 3: the path does not lead", index=5)


def test_the_path_is_whole() -> None:
    refused("the path does not lead", path=())
    refused("the path does not lead", path=(*GOOD.path, bytes(32)))
    refused("the path does not lead", path=(bytes(32),))


def test_headers_are_linked() -> None:
    refused("header 1 of the receipt: height 3 does not follow", headers=(GOOD.headers[0], GOOD.headers[2]))
    refused("header 1 of the receipt: height 1 does not follow", headers=(GOOD.headers[1], GOOD.headers[0]))
    other = VILLAGE.block(Parent.of(FIRST), head={"parent": bytes(32)})
    refused(
        "header 1 of the receipt: height 2 does not follow", headers=(GOOD.headers[0], other.header_envelope.encode())
    )


def test_headers_are_signed_by_validators_of_the_genesis() -> None:
    forged = msgspec.structs.replace(SECOND.header_envelope, signature=bytes(64)).encode()
    refused("header 1 of the receipt: not signed by a validator", headers=(GOOD.headers[0], forged, GOOD.headers[2]))
    stranger = VILLAGE.block(signer=key_pair("stranger"), records=RECORDS).header_envelope.encode()
    refused("header 0 of the receipt: not signed by a validator", headers=(stranger,))
    refused("header 0 of the receipt: envelope", headers=(b"junk",))
    refused("header 0 of the receipt: record of kind 5", headers=(RECORDS[0].envelope_bytes,))


def test_other_validators_than_those_of_the_genesis_are_out_of_its_reach() -> None:
    changed = VILLAGE.block(Parent.of(FIRST), head={"validators": b"v" * 32}).header_envelope.encode()
    refused(
        "header 1 of the receipt: the validators of height 2 are not those of the genesis, "
        "nor do the receipt's changes lead to them; ask a node",
        headers=(GOOD.headers[0], changed),
    )


def test_the_last_block_with_the_old_validators_can_still_be_proved() -> None:
    last = VILLAGE.block(records=RECORDS, head={"next_validators": b"n" * 32})
    assert check(receipt.make(last, RECORDS[0].record_id, [], VILLAGE.certificate(last))).member == "anna"


def test_the_certificate_is_of_the_last_header_and_holds() -> None:
    refused("certificate: is for another block than header 3", certificate=to_payload(VILLAGE.certificate(SECOND)))
    refused("1 signatures are not a quorum of 3", certificate=to_payload(VILLAGE.certificate(THIRD, ("anna",))))
    refused("acks of term 3 for a block of term 2", certificate=to_payload(VILLAGE.certificate(THIRD, ack_term=3)))
    refused("phase", certificate=to_payload(VILLAGE.certificate(THIRD, phase=1)))
    refused("receipt: record of kind 32", certificate=to_payload(FIRST.header))
    refused("certificate: is for another block", headers=GOOD.headers[:2])


def test_a_founders_signature_must_hold() -> None:
    # The validators let it in, the leader put it there: the receipt still tells.
    bad = msgspec.structs.replace(RECORDS[0].envelope, signature=bytes(64)).encode()
    record = blocks.read_record(bad, VILLAGE.chain_id)
    block = VILLAGE.block(records=[record])
    refused(
        "record: the signature of anna does not hold",
        receipt.make(block, record.record_id, [], VILLAGE.certificate(block)),
    )


def test_another_genesis_or_a_bad_one_proves_nothing() -> None:
    refused("the validators of height 1 are not those of the genesis", village=Village(4))
    refused("not signed by a validator", village=Village(3, community="Oberdorf"))
    refused("stands twice", village=Village(3, validators=VILLAGE.genesis.validators * 2))


def test_a_file_that_is_no_receipt() -> None:
    data = receipt.encode(GOOD)
    assert receipt.decode(data) == GOOD
    for bad, message in (
        (b"", "not a receipt"),
        (data + b"\x00", "not a receipt"),
        (to_payload(FIRST.header), r"record of kind 32: expected Receipt \(48\)"),
        (bytes(receipt.MAX_RECEIPT_BYTES + 1), "the limit is"),
    ):
        with pytest.raises(ReceiptError, match=message):
            receipt.decode(bad)
    with pytest.raises(ReceiptError, match="headers: found 0 items"):
        receipt.encode(msgspec.structs.replace(GOOD, headers=()))


def test_the_largest_receipt_is_within_its_limit() -> None:
    largest = Receipt(
        record=bytes(99_584),
        index=4095,
        count=4096,
        path=(bytes(32),) * 12,
        headers=(bytes(512),) * 1024,
        certificate=bytes(2048),
    )
    assert receipt.decode(receipt.encode(largest)) == largest


@given(st.data())
def test_no_changed_byte_passes(data: st.DataObject) -> None:
    changed = bytearray(receipt.encode(GOOD))
    place = data.draw(st.integers(0, len(changed) - 1))
    changed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ReceiptError):
        receipt.check(receipt.decode(bytes(changed)), VILLAGE.genesis, verify)


def test_the_record_in_a_receipt_is_what_was_signed() -> None:
    order: Any = check(GOOD).record
    assert isinstance(order, Order) and order.nonce == 7
    assert device("carla").key_id != check(GOOD).signer == key_pair("carla").key_id
