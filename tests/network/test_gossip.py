"""Gossip: what one home signs, every home has, whatever is lost - and who sends rubbish is dropped."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
import trio
from trio.testing import MockClock

from meshnode import mempool
from meshnode.ledger.verdicts import Verdict
from meshnode.network import exchange, gossip
from meshnode.network.gossip import READINGS, RECORDS, topic
from meshnode.network.memory import MemoryTransport
from meshnode.network.transport import StreamReset
from protocols import block as blocks
from protocols import cbor, cose
from protocols.cose import key_id_of
from protocols.frames import frame
from protocols.gossip import MAX_SINGLE_BYTES, Delivery, Reply, batches, digest
from protocols.records import OpenCounters, to_payload
from tests.network.neighbours import NOW_S, PERIOD_S, Home, Neighbourhood, ledger_time, neighbourhood, real_village
from tests.network.world import introduce, meet, until
from tests.protocols.keys import key_pair
from tests.protocols.village import START_S, Village


def hold_the_same(*homes: Home) -> bool:
    return len({frozenset(home.mempool.ids()) for home in homes}) == 1


async def test_readings_of_a_moment_leave_in_one_batch_and_reach_everybody(autojump_clock: MockClock) -> None:
    async with neighbourhood("memory", "anna", "bela", "carla", "dora", "emil") as (_, homes):
        anna = homes[0]
        began = trio.current_time()
        for period in range(4):
            assert await anna.gossip.submit(anna.reading(period)) is None
        await until(lambda: all(len(home.mempool) == 4 for home in homes))
        assert trio.current_time() - began < 0.1
        assert anna.counters["batches published"] == 1
        assert [len(home.taken) for home in homes] == [4] * 5


async def test_everybody_speaks_and_everybody_has_everything(autojump_clock: MockClock) -> None:
    async with neighbourhood("memory", "anna", "bela", "carla", "dora", "emil") as (_, homes):
        for number, home in enumerate(homes):
            for period in range(number + 1):
                assert await home.gossip.submit(home.reading(period)) is None
        await until(lambda: all(len(home.mempool) == 15 for home in homes))


@pytest.mark.parametrize("lost_ppm", [500_000, 1_000_000])
async def test_lost_messages_come_back_by_exchange(autojump_clock: MockClock, lost_ppm: int) -> None:
    async with neighbourhood("memory", "anna", "bela", "carla", "dora", "emil") as (place, homes):
        assert place.network is not None
        place.network.loss_ppm = lost_ppm
        for home in homes:
            for period in range(10):
                assert await home.gossip.submit(home.reading(period)) is None
                await trio.sleep(0.1)
        await until(lambda: hold_the_same(*homes))
        assert len(homes[0].mempool) == 50


async def test_a_home_that_was_cut_off_gets_everything_when_it_is_back(autojump_clock: MockClock) -> None:
    async with neighbourhood("memory", "anna", "bela", "carla") as (place, homes):
        anna, bela, carla = homes
        assert place.network is not None
        place.network.partition([anna.peer, bela.peer], [carla.peer])
        await trio.sleep(5)
        for period in range(10):
            assert await anna.gossip.submit(anna.reading(period)) is None
            assert await carla.gossip.submit(carla.reading(period)) is None
        await trio.sleep(5)
        assert (len(bela.mempool), len(carla.mempool)) == (10, 10)
        place.network.heal()
        began = trio.current_time()
        await until(lambda: hold_the_same(anna, bela, carla))
        assert trio.current_time() - began < 1.0, "a round follows a connection at once"
        assert len(anna.mempool) == 20


# --- what is thrown at a running node

Throw = Callable[[Village], bytes]


def batch(*records: blocks.SignedRecord) -> bytes:
    return batches([signed.envelope_bytes for signed in records])[0]


def reading(village: Village, home: str = "bela", period: int = 3, **changes: object) -> blocks.SignedRecord:
    values = OpenCounters(import_wh=1000 + period, export_wh=0)
    return village.reading(home, period_start_s=START_S + period * PERIOD_S, values=values, **changes)


def garbled(village: Village) -> bytes:
    good = reading(village, period=9).envelope
    return batches([cose.Envelope(good.key_id, good.payload, bytes(64)).encode()])[0]


def of_another_chain(village: Village) -> bytes:
    return batch(reading(real_village(7, community="Oberdorf")))


def by_the_wrong_key(village: Village) -> bytes:
    return batch(village.sign(reading(village).record, key_pair("bela")))


def header_as_record(village: Village) -> bytes:
    return batches([village.block().header_envelope.encode()])[0]


def unknown_field(village: Village) -> bytes:
    key = key_pair("bela meter")
    return batches([cose.sign(4, village.chain_id, cbor.encode({0: 4, 99: 1}), key.public, key.sign).encode()])[0]


def of_a_later_version(village: Village) -> bytes:
    key = key_pair("bela")
    return batches([cose.sign(31, village.chain_id, cbor.encode({0: 31, 1: 7}), key.public, key.sign).encode()])[0]


AT_FAULT: dict[str, tuple[Throw, str]] = {
    "random bytes": (lambda _: bytes(range(100)), "gossip: undecodable batch"),
    "an empty message": (lambda _: b"", "gossip: undecodable batch"),
    "an empty batch": (lambda _: cbor.encode([]), "gossip: undecodable batch"),
    "a batch over the limit": (lambda _: bytes(MAX_SINGLE_BYTES + 1), "gossip: undecodable batch"),
    "one record twice": (lambda v: cbor.encode([reading(v).envelope_bytes] * 2), "gossip: undecodable batch"),
    "something else than records": (lambda _: cbor.encode([b"rubbish"]), "gossip: malformed record"),
    "a block's header as a record": (header_as_record, "gossip: malformed record"),
    "a field that no version has": (unknown_field, "gossip: malformed record"),
    "a bad signature": (garbled, "gossip: BAD_SIGNATURE"),
    "a record of another chain": (of_another_chain, "gossip: BAD_SIGNATURE"),
    "a reading signed by the member": (by_the_wrong_key, "gossip: WRONG_KEY"),
    "one bad record among good ones": (
        lambda v: cbor.encode([*[reading(v, period=n).envelope_bytes for n in range(9)], garbled(v)[3:]]),
        "gossip: BAD_SIGNATURE",
    ),
}


@pytest.mark.parametrize("thrown", AT_FAULT)
async def test_who_writes_what_no_honest_node_writes_is_dropped(autojump_clock: MockClock, thrown: str) -> None:
    make, reason = AT_FAULT[thrown]
    async with neighbourhood("memory", "anna", "bela", "carla") as (place, homes):
        anna, bela, carla = homes
        mallory = await place.transport("gina")
        introduce(mallory, *(home.transport for home in homes))
        await meet(mallory, *(home.transport for home in homes))
        await mallory.publish(topic(place.village.chain_id, READINGS), make(place.village))
        await until(lambda: all(home.counters.get(f"blamed: {reason}") == 1 for home in homes))
        assert all(mallory.peer_id not in home.transport.peers() for home in homes)
        assert all(home.counters[f"dropped: {reason}"] == 1 for home in homes)
        # The others still hear each other.
        assert await anna.gossip.submit(anna.reading(1)) is None
        await until(lambda: anna.reading(1).record_id in carla.mempool and anna.reading(1).record_id in bela.mempool)


HONEST: dict[str, tuple[Throw, str]] = {
    "a stranger's record": (
        lambda v: batch(v.sign(reading(v).record, key_pair("stranger meter"))),
        "refused: UNKNOWN_KEY",
    ),
    "a reading of tomorrow": (lambda v: batch(reading(v, period=100)), "refused: PERIOD_NOT_OVER"),
    "a reading of long ago": (
        lambda v: batch(v.reading("bela", period_start_s=NOW_S - 3 * 86400)),
        "refused: CORRECTION_TOO_LATE",
    ),
    "an order that has expired": (
        lambda v: batch(v.order("bela", valid_until_s=NOW_S - 1)),
        "refused: EXPIRED",
    ),
    "an order that would be valid for years": (
        lambda v: batch(v.order("bela", valid_until_s=NOW_S + 10**8)),
        "refused: VALID_TOO_LONG",
    ),
    "a record of a kind that a later version has": (of_a_later_version, "records of an unknown kind"),
}


@pytest.mark.parametrize("thrown", HONEST)
async def test_what_an_honest_node_may_send_is_refused_without_blame(autojump_clock: MockClock, thrown: str) -> None:
    make, counter = HONEST[thrown]
    async with neighbourhood("memory", "anna", "bela") as (place, homes):
        anna, bela = homes
        await bela.transport.publish(topic(place.village.chain_id, RECORDS), make(place.village))
        await until(lambda: anna.counters.get(counter) == 1)
        assert len(anna.mempool) == 0
        assert anna.transport.peers() == [bela.peer]


async def test_replays_are_taken_once(autojump_clock: MockClock) -> None:
    async with neighbourhood("memory", "anna", "bela") as (place, homes):
        anna, bela = homes
        first, second = reading(place.village, period=1), reading(place.village, period=2)
        name = topic(place.village.chain_id, READINGS)
        for data in (batch(first), batch(first), batch(first, second), batch(second)):
            await bela.transport.publish(name, data)
        await until(lambda: anna.counters.get("batches repeated") == 1)
        await trio.sleep(1)
        assert [signed.record_id for signed in anna.taken] == [first.record_id, second.record_id]
        anna.mempool.final([first.record_id, second.record_id])
        await bela.transport.publish(name, batch(second, first))
        await trio.sleep(1)
        assert len(anna.mempool) == 0
        assert len(anna.taken) == 2


async def behind(bela: Home, place: Neighbourhood, anna: Home) -> MemoryTransport:
    """anna - bela - mallory: what mallory writes reaches anna through bela alone."""
    mallory = await place.transport("gina")
    mallory.admit(frozenset({bela.peer}))
    bela.transport.admit(frozenset({anna.peer, mallory.peer_id}))
    mallory.add_address(bela.peer, bela.transport.addresses)
    await meet(bela.transport, mallory)
    return mallory


async def test_the_author_is_blamed_not_who_passed_it_on(autojump_clock: MockClock) -> None:
    # Bela passes on what anna then finds to be rubbish.
    async with neighbourhood("memory", "anna", "bela") as (place, homes):
        anna, bela = homes
        mallory = await behind(bela, place, anna)
        await mallory.publish(topic(place.village.chain_id, RECORDS), b"rubbish")
        await until(lambda: anna.counters.get("dropped: gossip: undecodable batch") == 1)
        assert anna.transport.peers() == [bela.peer]
        assert bela.transport.peers() == [anna.peer]


async def test_a_dropped_author_is_not_heard_through_others(autojump_clock: MockClock) -> None:
    async with neighbourhood("memory", "anna", "bela") as (place, homes):
        anna, bela = homes
        mallory = await behind(bela, place, anna)
        await anna.gossip._blame(mallory.peer_id, "gossip: a story")
        await mallory.publish(topic(place.village.chain_id, READINGS), batch(reading(place.village)))
        await until(lambda: anna.counters.get("ignored: its author was dropped") == 1)
        assert len(anna.mempool) == 0
        await until(lambda: len(anna.mempool) == 1)  # bela answers for it in an exchange


async def test_more_than_an_honest_node_writes_is_left_to_the_exchange(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gossip, "RECORDS_BURST", 20.0)
    async with neighbourhood("memory", "anna", "bela") as (place, homes):
        anna, bela = homes
        for period in range(10):
            versions = [reading(place.village, period=period, version=version) for version in range(9)]
            await bela.transport.publish(topic(place.village.chain_id, READINGS), batch(*versions))
        await until(lambda: anna.counters.get("over the rate of a peer", 0) == 8)
        assert len(anna.mempool) == 18
        assert anna.transport.peers() == [bela.peer]


# --- own records


async def test_own_records_are_published_again_until_they_are_final(autojump_clock: MockClock) -> None:
    async with neighbourhood("memory", "anna", "bela", connected=False) as (_, homes):
        anna, bela = homes
        assert await anna.gossip.submit(anna.reading(1)) is None
        await trio.sleep(gossip.REPUBLISH_S * 2.5)
        assert anna.counters["own records published again"] == 2
        introduce(anna.transport, bela.transport)
        await until(lambda: len(bela.mempool) == 1)
        anna.mempool.final([anna.reading(1).record_id])
        await trio.sleep(gossip.OWN_INTERVAL_S)
        before = anna.counters["own records published again"]
        await trio.sleep(gossip.REPUBLISH_S * 3)
        assert anna.counters["own records published again"] == before


async def test_an_own_record_whose_time_runs_out_is_given_up_with_a_word(autojump_clock: MockClock) -> None:
    async with neighbourhood("memory", "anna") as (place, homes):
        (anna,) = homes
        order = place.village.order("anna", valid_until_s=NOW_S + 60)
        assert await anna.gossip.submit(order) is None
        await trio.sleep(30)
        assert anna.void == []
        # By this node's clock its time is over, but a leader whose clock is behind may still take it.
        place.clock.time_s = NOW_S + 61
        await trio.sleep(gossip.OWN_INTERVAL_S + 1)
        assert anna.void == [] and len(anna.mempool) == 0
        ledger_time(anna.machine, NOW_S + 61)
        await trio.sleep(gossip.OWN_INTERVAL_S + 1)
        assert [(signed, refusal.verdict) for signed, refusal in anna.void] == [(order, Verdict.EXPIRED)]
        assert len(anna.mempool) == 0


async def test_what_was_promised_before_a_restart_is_tried_again_until_it_is_taken_or_too_late(
    autojump_clock: MockClock,
) -> None:
    async with neighbourhood("memory", "anna", "bela") as (place, homes):
        anna, bela = homes
        # A node that has not caught up does not know its own member's key yet.
        stranger = place.village.sign(place.village.order("anna", valid_until_s=NOW_S + 900).record, key_pair("nobody"))
        assert await anna.gossip.submit(stranger, promised=True) is None
        assert anna.counters["own record kept for later"] == 1
        key = anna.machine.state.keys[key_id_of(key_pair("anna").public)]
        for home in homes:
            learned = msgspec.structs.replace(key, public_key=key_pair("nobody").public)
            home.machine.state.keys.put(stranger.key_id, learned)
        await until(lambda: bela.mempool.ids() == [stranger.record_id])


async def test_a_refused_order_is_the_members_business_a_reading_is_tried_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mempool, "MAX_PER_ACCOUNT", 1)
    async with neighbourhood("memory", "anna", "bela") as (place, homes):
        anna, bela = homes
        assert await anna.gossip.submit(anna.reading(1)) is None
        refusal = await anna.gossip.submit(place.village.order("anna", valid_until_s=NOW_S + 60))
        assert refusal is not None
        assert not refusal.lasting
        assert await anna.gossip.submit(anna.reading(2)) is None
        assert anna.counters["own record kept for later"] == 1
        anna.mempool.final([anna.reading(1).record_id])
        bela.mempool.final([anna.reading(1).record_id])
        await until(lambda: bela.mempool.ids() == [anna.reading(2).record_id])


async def test_an_own_bad_record_never_leaves(autojump_clock: MockClock) -> None:
    async with neighbourhood("memory", "anna", "bela") as (place, homes):
        anna, bela = homes
        refusal = await anna.gossip.submit(place.village.sign(anna.reading(1).record, key_pair("anna")))
        assert refusal is not None
        assert refusal.verdict == Verdict.WRONG_KEY
        await trio.sleep(60)
        assert bela.taken == []
        assert "batches published" not in anna.counters


# --- the exchange under attack


async def speak(home: Home, mallory_at: Neighbourhood, *payloads: bytes) -> None:
    """Mallory opens an exchange with a home and says this."""
    mallory = await mallory_at.transport("gina")
    introduce(mallory, *(one.transport for one in mallory_at.homes.values()))
    await meet(mallory, home.transport)
    protocol = f"{gossip.prefix(mallory_at.village.chain_id)}/want/1"
    stream = await mallory.open_stream(home.peer, protocol)
    with pytest.raises(StreamReset):
        for payload in payloads:
            await stream.send_all(payload)
        await stream.aclose()
        await trio.sleep(1)
        await stream.reset()
        raise StreamReset("the home took it")


DIGEST = frame(to_payload(digest((), bytes(32))))
PROTOCOL_ERRORS: dict[str, tuple[list[bytes], str]] = {
    "rubbish": ([frame(b"rubbish")], "malformed message"),
    "a frame of 4 GiB": ([b"\xff\xff\xff\xff"], "frame too large"),
    "half a frame": ([b"\0\0\0\5ab"], "stream ends inside a frame"),
    "nothing": ([], "ended before the round was over"),
    "a reply before the digest": ([frame(to_payload(Reply()))], "message out of its turn"),
    "two digests": ([DIGEST, DIGEST], "message out of its turn"),
    "a digest with 3 sums": ([frame(cbor.encode({0: 50, 1: bytes(24), 2: bytes(32)}))], "malformed message"),
}


@pytest.mark.parametrize("attack", PROTOCOL_ERRORS)
async def test_who_breaks_the_rules_of_an_exchange_is_dropped(autojump_clock: MockClock, attack: str) -> None:
    payloads, reason = PROTOCOL_ERRORS[attack]
    async with neighbourhood("memory", "anna", "bela") as (place, homes):
        anna, bela = homes
        await speak(anna, place, *payloads)
        dropped = [name for name in anna.counters if name.startswith("dropped: ")]
        assert len(dropped) == 1
        assert dropped[0].endswith(reason)
        assert anna.transport.peers() == [bela.peer]


async def test_who_delivers_without_end_or_delivers_rubbish_is_dropped(autojump_clock: MockClock) -> None:
    opening = [DIGEST, frame(to_payload(Reply()))]
    flood = frame(to_payload(Delivery(batch=bytes(MAX_SINGLE_BYTES))))
    async with neighbourhood("memory", "anna", "bela") as (place, homes):
        anna, bela = homes
        await speak(anna, place, *opening, flood)
        assert anna.counters["blamed: gossip: undecodable batch"] == 1
        many = [frame(to_payload(Delivery(batch=cbor.encode([bytes([number])])))) for number in range(3)]
        stream = await bela.transport.open_stream(anna.peer, f"{gossip.prefix(place.village.chain_id)}/want/1")
        for payload in (*opening, *many):
            await stream.send_all(payload)
        await until(lambda: anna.transport.peers() == [])


async def test_who_asks_for_rounds_without_end_is_refused_some(autojump_clock: MockClock) -> None:
    async with neighbourhood("memory", "anna", "bela") as (_, homes):
        anna, bela = homes
        for _ in range(30):
            await bela.gossip.exchange.round(anna.peer)
        assert anna.counters["exchange: too many rounds"] >= 30 - exchange.ROUNDS_BURST - 1
        assert anna.transport.peers() == [bela.peer]
        await trio.sleep(20)
        assert await bela.gossip.submit(bela.reading(1)) is None
        await until(lambda: len(anna.mempool) == 1)


async def test_a_peer_that_falls_silent_in_a_round_costs_only_its_deadline(autojump_clock: MockClock) -> None:
    async with neighbourhood("memory", "anna") as (place, homes):
        (anna,) = homes
        mute = await place.transport("gina")
        mute.handle(f"{gossip.prefix(place.village.chain_id)}/want/1", mute_handler, max_streams_per_peer=9)
        introduce(mute, anna.transport)
        await trio.sleep(3 * exchange.ROUND_DEADLINE_S)
        assert anna.counters["exchange: broken off"] >= 2
        assert anna.transport.peers() == [mute.peer_id]


async def mute_handler(_: object) -> None:
    await trio.sleep_forever()


async def test_a_record_that_was_refused_is_not_fetched_again_and_again(autojump_clock: MockClock) -> None:
    async with neighbourhood("memory", "anna", "bela") as (place, homes):
        anna, bela = homes
        # bela's clock is a period ahead: what she takes is too early for anna.
        bela.mempool.add(early := bela.reading(10), NOW_S + PERIOD_S)
        await trio.sleep(30)
        assert anna.counters["refused: PERIOD_NOT_OVER"] <= 2, "two rounds at once, none after them"
        place.clock.time_s = NOW_S + PERIOD_S
        await trio.sleep(gossip.REFUSED_FOR_S)
        assert early.record_id in anna.mempool


async def test_a_forged_copy_does_not_keep_the_record_itself_away(autojump_clock: MockClock) -> None:
    async with neighbourhood("memory", "anna", "bela") as (place, homes):
        anna, bela = homes
        mallory = await place.transport("gina")
        introduce(mallory, anna.transport, bela.transport)
        await meet(mallory, anna.transport)
        good = reading(place.village, period=9)
        await mallory.publish(topic(place.village.chain_id, READINGS), garbled(place.village))
        await until(lambda: anna.counters.get("blamed: gossip: BAD_SIGNATURE") == 1)
        assert bela.mempool.add(good, NOW_S) is None
        await trio.sleep(exchange.INTERVAL_S + exchange.JITTER_S + 1)
        assert anna.mempool.ids() == [good.record_id]
