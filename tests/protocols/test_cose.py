"""COSE_Sign1: any library can check our envelopes, and nobody can change one."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycose.keys.okp import OKPKey
from pycose.messages.sign1message import Sign1Message

from protocols import block as blocks
from protocols import cose
from protocols.block import SignedRecord
from protocols.cose import Envelope, EnvelopeError
from protocols.records import OpenCounters, Order, Reading, RecordError, meter_id_of
from tests.protocols.keys import key_pair, verify
from tests.protocols.village import START_S, Village, meter

VILLAGE = Village()
ORDER = VILLAGE.order()
ANNA = key_pair("anna")


def independent(data: bytes, kind: int, chain: bytes, public_key: bytes) -> bool:
    """The same check by pycose, which knows nothing of us but the external_aad."""
    # The library's own door cannot be used: cbor2 6 gives out tuples inside tags, it wants a list.
    tagged = cbor2.loads(data)
    assert tagged.tag == 18
    protected, unprotected, payload, signature = tagged.value
    message = Sign1Message.from_cose_obj([protected, dict(unprotected), payload, signature], False)
    message.external_aad = cbor2.dumps([1, kind, chain], canonical=True)  # type: ignore[misc]
    message.key = OKPKey(crv="ED25519", x=public_key)
    return bool(message.verify_signature())


def holds(signed: SignedRecord, public_key: bytes = ANNA.public) -> bool:
    return signed.envelope.verify(signed.record.KIND, VILLAGE.chain_id, public_key, verify)


def test_an_independent_library_accepts_our_envelopes() -> None:
    reading = VILLAGE.reading()
    assert holds(ORDER) and independent(ORDER.envelope_bytes, Order.KIND, VILLAGE.chain_id, ANNA.public)
    key = meter("anna").public
    assert holds(reading, key) and independent(reading.envelope_bytes, Reading.KIND, VILLAGE.chain_id, key)


@pytest.mark.parametrize("changed", ["kind", "chain", "key", "payload", "signature"])
def test_an_independent_library_refuses_altered_ones(changed: str) -> None:
    data, kind, chain, key = ORDER.envelope_bytes, Order.KIND, VILLAGE.chain_id, ANNA.public
    if changed == "kind":
        kind = Reading.KIND
    elif changed == "chain":
        chain = bytes(32)
    elif changed == "key":
        key = key_pair("bela").public
    elif changed == "payload":
        data = data.replace((500).to_bytes(2, "big"), (900).to_bytes(2, "big"))
        assert data != ORDER.envelope_bytes
    else:
        data = data[:-1] + bytes([data[-1] ^ 1])
    assert not independent(data, kind, chain, key)


def test_any_changed_byte_is_refused_or_breaks_the_signature() -> None:
    # The record id may stay only if nothing but the signature changed, and then that does not hold.
    for place in range(len(ORDER.envelope_bytes)):
        for mask in (0x01, 0x20, 0x80, 0xFF):
            data = bytearray(ORDER.envelope_bytes)
            data[place] ^= mask
            try:
                other = blocks.read_record(bytes(data), VILLAGE.chain_id)
            except (EnvelopeError, RecordError):
                continue
            assert not holds(other), f"byte {place} changed by {mask:02x}"
            in_signature = place >= len(data) - cose.SIGNATURE_BYTES
            assert (other.record_id == ORDER.record_id) == in_signature


@given(st.binary(max_size=120), st.integers(0, 200))
def test_bytes_put_in_or_taken_out_are_refused_or_break_the_signature(junk: bytes, place: int) -> None:
    data = ORDER.envelope_bytes
    for other in (data[:place] + junk + data[place:], data[:place] + junk + data[place + len(junk) :]):
        if other == data:
            continue
        try:
            record = blocks.read_record(other, VILLAGE.chain_id)
        except (EnvelopeError, RecordError):
            continue
        assert not holds(record)


@given(st.binary(max_size=200))
def test_junk_is_no_envelope(data: bytes) -> None:
    for junk in (data, cose.TAG_COSE_SIGN1 + data):
        with pytest.raises(EnvelopeError):
            cose.decode(junk)


def test_a_signature_is_worthless_as_another_kind_or_in_another_microgrid() -> None:
    envelope = ORDER.envelope
    assert envelope.verify(Order.KIND, VILLAGE.chain_id, ANNA.public, verify)
    assert not envelope.verify(Reading.KIND, VILLAGE.chain_id, ANNA.public, verify)
    assert not envelope.verify(Order.KIND, Village(4).chain_id, ANNA.public, verify)
    assert not envelope.verify(Order.KIND, VILLAGE.chain_id, key_pair("bela").public, verify)
    ids = {cose.record_id(envelope.to_be_signed(kind, chain)) for kind in (4, 5) for chain in (bytes(32), b"\1" * 32)}
    assert len(ids) == 4


def test_a_key_id_of_another_key_is_refused_before_any_arithmetic() -> None:
    def never(*_: Any) -> bool:
        raise AssertionError("the verifier was asked")

    forged = Envelope(key_pair("bela").key_id, ORDER.envelope.payload, ORDER.envelope.signature)
    assert not forged.verify(Order.KIND, VILLAGE.chain_id, ANNA.public, never)


def test_the_payload_limit_holds_for_signing_and_reading() -> None:
    largest = bytes(cose.MAX_PAYLOAD_BYTES)
    envelope = cose.sign(5, VILLAGE.chain_id, largest, ANNA.public, ANNA.sign)
    assert cose.decode(envelope.encode()) == envelope
    with pytest.raises(EnvelopeError, match="payload of 99329 bytes, the limit is 99328"):
        cose.sign(5, VILLAGE.chain_id, largest + b"x", ANNA.public, ANNA.sign)
    with pytest.raises(EnvelopeError, match="payload of 99329 bytes, the limit is 99328"):
        cose.decode(Envelope(ANNA.key_id, largest + b"x", bytes(64)).encode())
    with pytest.raises(EnvelopeError, match="the limit is 99584"):
        cose.decode(cose.TAG_COSE_SIGN1 + bytes(100_000))


def test_a_signed_interval_reading_has_at_most_200_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    # Twenty years of a home with a heat pump and a large roof, and everything a meter can say.
    usual = OpenCounters(import_wh=180_000_000, export_wh=240_000_000, produced_wh=310_000_000, power_w=-12_345)
    full = OpenCounters(
        import_wh=180_000_000,
        export_wh=240_000_000,
        produced_wh=310_000_000,
        power_w=-12_345,
        reactive_varh=40_000_000,
        self_consumed_wh=70_000_000,
        consumed_wh=250_000_000,
        charged_wh=50_000_000,
        discharged_wh=45_000_000,
        charge_ppm=876_543,
        phases_w=(-4_115, -4_115, -4_115),
        subscription="AT-12345678-0001",
    )
    sizes = {}
    for name, values in (("interval reading", usual), ("with all optional fields", full)):
        reading = VILLAGE.sign(
            Reading(
                meter=meter_id_of(meter("anna").public), period_start_s=START_S, values=values, version=1, quality=1
            ),
            meter("anna"),
        )
        sizes[name] = len(reading.envelope_bytes)
    with capsys.disabled():
        print("\nsigned reading: " + ", ".join(f"{name} {size} bytes" for name, size in sizes.items()))
    assert sizes["interval reading"] <= 200
    assert sizes["with all optional fields"] <= 256
