"""Live: everybody sees the power of every home, and nobody can say it for another."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from meshnode.network.gossip import LIVE, topic
from meshnode.network.live import MAX_AGE_MS
from protocols import cose
from protocols.records import LivePower, to_payload
from tests.network.neighbours import NOW_S, neighbourhood, real_village
from tests.network.test_gossip import Throw, reading
from tests.network.world import until
from tests.protocols.keys import key_pair
from tests.protocols.village import Village


async def test_live_power_is_heard_by_everybody_at_once(autojump_clock: MockClock) -> None:
    async with neighbourhood("memory", "anna", "bela", "carla") as (_, homes):
        anna, bela, carla = homes
        began = trio.current_time()
        await anna.gossip.publish_live(anna.live(700), anna.meter_key)
        await until(lambda: len(bela.heard) == len(carla.heard) == 1)
        account, live, at = bela.heard[0]
        assert (live.power_w, at - began < 0.1) == (700, True)
        assert account == anna.machine.state.meters[live.meter].account
        assert anna.heard == []


async def test_of_many_statements_in_a_second_the_newest_is_passed_on(autojump_clock: MockClock) -> None:
    async with neighbourhood("memory", "anna", "bela") as (_, homes):
        anna, bela = homes
        for number in range(50):
            await anna.gossip.publish_live(anna.live(number, ms=number * 100), anna.meter_key)
            await trio.sleep(0.1)
        await trio.sleep(2)
        times = [at for _, _, at in bela.heard]
        assert len(bela.heard) == 6
        assert all(after - before >= 0.99 for before, after in pairwise(times))
        assert [live.power_w for _, live, _ in bela.heard][-1] == 49, "the last word counts"
        assert anna.counters["live: sent"] == 6


async def test_a_sender_that_does_not_keep_the_second_is_slowed_by_the_receiver(autojump_clock: MockClock) -> None:
    async with neighbourhood("memory", "anna", "bela") as (place, homes):
        anna, bela = homes
        for number in range(20):
            await bela.transport.publish(topic(place.village.chain_id, LIVE), said(place.village, "bela", number))
            await trio.sleep(0.05)
        await trio.sleep(2)
        assert [live.power_w for _, live, _ in anna.heard] == [0, 19]


def said(village: Village, home: str, number: int, key: str = "", **changes: int) -> bytes:
    fields = {"power_w": number, "sequence": number, "measured_ms": NOW_S * 1000} | changes
    live = LivePower(meter=reading(village, home).record.meter, **fields)
    pair = key_pair(key or f"{home} meter")
    return cose.sign(40, village.chain_id, to_payload(live), pair.public, pair.sign).encode()


LIVE_AT_FAULT: dict[str, tuple[Throw, str]] = {
    "rubbish": (lambda _: b"rubbish", "live: malformed statement"),
    "too long": (lambda _: bytes(600), "live: malformed statement"),
    "a reading": (lambda v: reading(v).envelope_bytes, "live: malformed statement"),
    "of another's meter": (
        lambda v: said(v, "bela", 1, key="carla meter"),
        "live: signed by another key than the meter's",
    ),
    "signed by the member": (
        lambda v: said(v, "bela", 1, key="bela"),
        "live: signed by another key than the meter's",
    ),
    "of another chain": (lambda _: said(real_village(7, community="Oberdorf"), "bela", 1), "live: bad signature"),
}


@pytest.mark.parametrize("thrown", LIVE_AT_FAULT)
async def test_who_forges_live_power_is_dropped(autojump_clock: MockClock, thrown: str) -> None:
    make, reason = LIVE_AT_FAULT[thrown]
    async with neighbourhood("memory", "anna", "bela") as (place, homes):
        anna, bela = homes
        await bela.transport.publish(topic(place.village.chain_id, LIVE), make(place.village))
        await until(lambda: anna.counters.get(f"dropped: {reason}") == 1)
        assert anna.heard == []


async def test_live_power_of_the_past_the_future_and_again_is_not_shown(autojump_clock: MockClock) -> None:
    async with neighbourhood("memory", "anna", "bela") as (place, homes):
        anna, bela = homes
        name = topic(place.village.chain_id, LIVE)
        for offset in (-MAX_AGE_MS - 1, MAX_AGE_MS + 1):
            await bela.transport.publish(name, said(place.village, "bela", 1, measured_ms=NOW_S * 1000 + offset))
        await until(lambda: anna.counters.get("live: time too far from ours") == 2)
        for number in (5, 5, 4):
            await bela.transport.publish(name, said(place.village, "bela", number))
            await trio.sleep(2)
        await bela.transport.publish(name, said(place.village, "bela", 9, key="stranger"))
        await trio.sleep(2)
        assert [live.power_w for _, live, _ in anna.heard] == [5]
        assert (anna.counters["live: not newer"], anna.counters["live: unknown key"]) == (2, 1)
        assert anna.transport.peers() == [bela.peer]
