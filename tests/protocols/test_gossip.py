"""Gossip: batches hold what was put in, and two nodes that exchange end up with the same records."""

from __future__ import annotations

import hashlib
import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import cbor, gossip
from protocols.cose import MAX_ENVELOPE_BYTES
from protocols.gossip import MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_IDS, BatchError
from protocols.records import RecordError, to_payload


def envelope(number: int, size: int = 180) -> bytes:
    """Stands for a record's envelope: batches do not look inside."""
    return number.to_bytes(4, "big").ljust(size, b"e")


def id_of(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class Pool:
    """A node's waiting records."""

    def __init__(self, *envelopes: bytes) -> None:
        self.held = {id_of(data): data for data in envelopes}

    def lacking(self, ids: tuple[bytes, ...]) -> list[bytes]:
        return [one for one in ids if one not in self.held]

    def deliveries(self, ids: tuple[bytes, ...]) -> list[gossip.Delivery]:
        return gossip.deliveries(self.held[one] for one in ids if one in self.held)

    def take(self, delivery: gossip.Delivery) -> None:
        for data in gossip.read_batch(delivery.batch):
            self.held[id_of(data)] = data


def sent(message: gossip.Record) -> gossip.Record:
    """The message as the other side reads it."""
    return gossip.read_message(to_payload(message))


def exchange(asking: Pool, answering: Pool, pivot: bytes, rng: random.Random, lost: int = 0) -> None:
    """One round; deliveries arrive out of order and twice, and `lost` percent of the messages break it off."""

    def breaks() -> bool:
        return rng.randrange(100) < lost

    def deliver(deliveries: list[gossip.Delivery], to: Pool) -> None:
        rng.shuffle(deliveries)
        for delivery in deliveries + deliveries[:1]:
            if not breaks():
                to.take(sent(delivery))

    digest = sent(gossip.digest(asking.held, pivot))
    if breaks():
        return
    offer = sent(gossip.offer(digest, answering.held))
    if breaks():
        return
    reply = sent(gossip.reply(digest, offer, asking.held, asking.lacking(offer.ids)))
    if breaks():
        return
    deliver(answering.deliveries(reply.want), asking)
    want = sent(gossip.want(answering.lacking(reply.offer)))
    deliver(asking.deliveries(want.ids), answering)


records = st.sets(st.integers(0, 400), max_size=80).map(lambda numbers: [envelope(n) for n in sorted(numbers)])


@given(records, records, st.randoms(use_true_random=False))
def test_after_one_round_both_nodes_hold_the_union(one: list[bytes], other: list[bytes], rng: random.Random) -> None:
    anna, bela = Pool(*one), Pool(*other)
    exchange(anna, bela, rng.randbytes(32), rng)
    assert anna.held == bela.held == Pool(*one, *other).held


@settings(max_examples=50)
@given(records, records, records, st.randoms(use_true_random=False))
def test_lost_repeated_and_late_messages_only_delay_the_union(
    one: list[bytes], other: list[bytes], third: list[bytes], rng: random.Random
) -> None:
    nodes = [Pool(*one), Pool(*other), Pool(*third)]
    union = Pool(*one, *other, *third).held
    for _ in range(30):
        before = [set(node.held) for node in nodes]
        asking, answering = rng.sample(nodes, 2)
        exchange(asking, answering, rng.randbytes(32), rng, lost=30)
        assert all(had <= set(node.held) for had, node in zip(before, nodes, strict=True)), "a record was lost"
    for asking, answering in ((0, 1), (1, 2), (2, 0), (0, 1)):
        exchange(nodes[asking], nodes[answering], rng.randbytes(32), rng)
    assert [node.held for node in nodes] == [union] * 3


def test_more_than_one_round_can_hold_comes_in_several() -> None:
    rng = random.Random(7)
    anna = Pool(*(envelope(number) for number in range(3 * MAX_IDS)))
    bela = Pool(*(envelope(number) for number in range(5 * MAX_IDS, 6 * MAX_IDS)))
    union = {**anna.held, **bela.held}
    rounds = 0
    while not anna.held == bela.held == union:
        rounds += 1
        assert rounds < 25, "the exchange does not converge"
        exchange(bela, anna, rng.randbytes(32), rng)


def test_records_whose_ids_crowd_one_place_are_all_exchanged() -> None:
    # Whoever signs can choose among ids until they begin with the byte it likes.
    crowd = [data for number in range(250_000) if id_of(data := envelope(number, 8))[0] == 5][: MAX_IDS + 300]
    assert len(crowd) == MAX_IDS + 300
    rng = random.Random(1)
    anna, bela = Pool(*crowd), Pool(*crowd[: MAX_IDS + 299])
    rounds = 0
    while anna.held != bela.held:
        rounds += 1
        assert rounds < 40, "the exchange does not converge"
        exchange(bela, anna, rng.randbytes(32), rng)


def test_nodes_with_the_same_records_tell_each_other_nothing() -> None:
    held = Pool(*(envelope(number) for number in range(2000))).held
    digest = gossip.digest(held, bytes(32))
    offer = gossip.offer(digest, held)
    assert (offer.places, offer.ids) == (bytes(32), ())
    assert gossip.reply(digest, offer, held, ()) == gossip.Reply()
    assert len(to_payload(digest)) < 2200


def test_every_message_stays_below_a_frame_of_a_batch() -> None:
    held = Pool(*(envelope(number) for number in range(3000))).held
    digest = gossip.digest((), bytes(32))
    offer = gossip.offer(digest, held)
    assert len(offer.ids) == MAX_IDS
    reply = gossip.reply(digest, offer, held, held)
    assert len(reply.want) == len(reply.offer) == MAX_IDS
    assert max(len(to_payload(message)) for message in (digest, offer, reply)) < 40 * 1024
    deliveries = gossip.deliveries(held.values())
    assert sum(len(delivery.batch) for delivery in deliveries) < gossip.MAX_DELIVERY_BYTES + MAX_BATCH_BYTES


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(4, 9_000)), max_size=40, unique_by=lambda pair: pair[0]))
def test_batches_hold_all_records_in_order_within_their_bounds(pairs: list[tuple[int, int]]) -> None:
    envelopes = [envelope(number, size) for number, size in pairs]
    made = gossip.batches(envelopes)
    assert [data for batch in made for data in gossip.read_batch(batch)] == envelopes
    assert all(len(batch) <= MAX_BATCH_BYTES for batch in made)


def test_a_record_larger_than_a_batch_travels_alone() -> None:
    small, large = envelope(1), envelope(2, MAX_ENVELOPE_BYTES)
    made = gossip.batches([small, large, small[:-1]])
    assert [gossip.read_batch(batch) for batch in made] == [(small,), (large,), (small[:-1],)]
    assert len(made[1]) <= gossip.MAX_SINGLE_BYTES
    with pytest.raises(BatchError, match="the limit is"):
        gossip.batches([large + b"e"])


def test_many_tiny_records_are_cut_by_number() -> None:
    made = gossip.batches([envelope(number, 4) for number in range(MAX_BATCH_RECORDS + 1)])
    assert [len(gossip.read_batch(batch)) for batch in made] == [MAX_BATCH_RECORDS, 1]


def test_one_content_has_one_name() -> None:
    batch = gossip.batches([envelope(1), envelope(2)])[0]
    assert gossip.batch_id(batch) == hashlib.sha256(batch).digest()
    assert gossip.batch_id(gossip.batches([envelope(2), envelope(1)])[0]) != gossip.batch_id(batch)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not CBOR"),
        (b"\x9f\x41\x01\xff", "indefinite"),
        (b"\x81\x41\x01\x00", "deterministic"),
        (cbor.encode({1: b"x"}), "not a list"),
        (cbor.encode([b"x", 1]), "not a list of byte strings"),
        (cbor.encode([]), "0 records"),
        (cbor.encode([b"x", b"x"]), "twice"),
        (cbor.encode([number.to_bytes(2, "big") for number in range(MAX_BATCH_RECORDS + 1)]), "257 records"),
        (cbor.encode([b"x" * 9000, b"y" * 9000]), "the limit is 16384"),
        (bytes(gossip.MAX_SINGLE_BYTES + 1), "the limit is"),
    ],
)
def test_what_is_no_batch_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(BatchError, match=says):
        gossip.read_batch(data)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_the_one_spelling_of_what_they_say(data: bytes) -> None:
    with suppress(BatchError):
        assert cbor.encode(list(gossip.read_batch(data))) == data
    with suppress(RecordError):
        assert to_payload(gossip.read_message(data)) == data


def test_messages_with_unsorted_or_repeated_ids_are_refused() -> None:
    for ids in ((b"b" * 32, b"a" * 32), (b"a" * 32, b"a" * 32), (b"a" * 31,)):
        with pytest.raises(RecordError):
            gossip.read_message(cbor.encode({0: 53, 1: list(ids)}))
