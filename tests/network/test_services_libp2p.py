"""Gossip and catch-up over real connections: libp2p on loopback, threads, a store on disk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest
import trio

from meshnode.network import exchange, gossip
from meshnode.network.gossip import BLOCKS, LIVE, READINGS, RECORDS, topic
from meshnode.network.libp2p import Limits, open_libp2p
from meshnode.network.sync import BlockServer, Follower, protocol
from meshnode.network.transport import MAX_GOSSIP_BYTES, TooLarge
from meshnode.network.validator import FinalBlock
from meshnode.store import Batch, Store
from protocols.frames import frame
from protocols.records import to_payload
from tests.network.disks import Disk
from tests.network.followers import grown
from tests.network.neighbours import Home, Neighbourhood, machine_of, neighbourhood, running
from tests.network.test_gossip import AT_FAULT, HONEST, PROTOCOL_ERRORS, batch, reading
from tests.network.test_live import LIVE_AT_FAULT, said
from tests.network.test_sync_hostile import ATTACKS
from tests.network.world import LOOPBACK, PATIENCE_S, introduce, meet, until
from tests.protocols.keys import seed_of

NAMES = ("anna", "bela", "carla", "dora", "emil")


async def test_five_hosts_share_readings_and_live_power() -> None:
    async with neighbourhood("libp2p", *NAMES) as (_, homes):
        for home in homes:
            for period in range(4):
                assert await home.gossip.submit(home.reading(period)) is None
            await home.gossip.publish_live(home.live(100), home.meter_key)
        await until(lambda: all(len(home.mempool) == 20 for home in homes))
        await until(lambda: all(len({live.meter for _, live, _ in home.heard}) == 4 for home in homes))
        assert not any("blamed" in name for home in homes for name in home.counters)


async def test_lost_messages_come_back_by_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "INTERVAL_S", 0.5)
    monkeypatch.setattr(exchange, "JITTER_S", 0.2)
    async with neighbourhood("libp2p", *NAMES) as (_, homes):
        for number, home in enumerate(homes):
            lose_some(home, Random(number), monkeypatch)
        for period in range(10):
            for home in homes:
                assert await home.gossip.submit(home.reading(period)) is None
            await trio.sleep(2 * gossip.BATCH_DELAY_S)
        await until(lambda: all(len(home.mempool) == 50 for home in homes))
        assert len({frozenset(home.mempool.ids()) for home in homes}) == 1
        assert all(home.counters["exchange: rounds"] > 0 for home in homes), "gossip alone had lost too much"


def lose_some(home: Home, rng: Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of three messages of this home go nowhere."""
    publish = home.transport.publish

    async def lossy(name: str, data: bytes) -> None:
        if rng.randrange(3) == 0:
            await publish(name, data)

    monkeypatch.setattr(home.transport, "publish", lossy)


async def enemy(place: Neighbourhood, number: int) -> tuple[AsyncExitStack, object]:
    """A member's device that is not anna's or bela's, connected with both."""
    topics = [topic(place.village.chain_id, one) for one in gossip.TOPICS]
    stack = AsyncExitStack()
    transport = await stack.enter_async_context(open_libp2p(seed_of(f"enemy {number}"), LOOPBACK, topics))
    transports = [home.transport for home in place.homes.values()]
    introduce(transport, *transports)
    await meet(transport, *transports)
    return stack, transport


async def say_until(home: Home, chain_id: bytes, name: str, data: bytes, condition: Callable[[], bool]) -> None:
    """Publish again and again: gossip promises nothing while culprits come and go."""
    with trio.fail_after(PATIENCE_S):
        while not condition():
            await home.transport.publish(topic(chain_id, name), data)
            await trio.sleep(0.1)


async def test_whatever_is_thrown_at_a_running_service_it_goes_on() -> None:
    async with neighbourhood("libp2p", "anna", "bela") as (place, homes):
        anna, bela = homes
        village = place.village
        thrown = [(READINGS, make(village), reason) for make, reason in AT_FAULT.values()]
        thrown += [(LIVE, make(village), reason) for make, reason in LIVE_AT_FAULT.values()]
        for number, (name, data, reason) in enumerate(thrown):
            stack, mallory = await enemy(place, number)
            async with stack:
                before = [home.counters.get(f"dropped: {reason}", 0) for home in homes]
                await mallory.publish(topic(village.chain_id, name), data)
                await until(
                    lambda reason=reason, before=before: (
                        [home.counters.get(f"dropped: {reason}", 0) for home in homes]
                        == [count + 1 for count in before]
                    )
                )
                assert mallory.peer_id not in anna.transport.peers()
        assert len(anna.mempool) == 9, "the good records of the batch with one bad"
        with pytest.raises(TooLarge):
            await bela.transport.publish(topic(village.chain_id, READINGS), bytes(MAX_GOSSIP_BYTES + 1))
        for make, counter in HONEST.values():
            await say_until(
                bela,
                village.chain_id,
                RECORDS,
                make(village),
                lambda counter=counter: anna.counters.get(counter, 0) >= 1,
            )
        again = batch(reading(village, "carla"))
        # A copy that arrives while the first is still looked at is looked at too.
        await say_until(bela, village.chain_id, READINGS, again, lambda: anna.counters.get("batches repeated", 0) >= 2)
        power = said(village, "bela", 7)
        await say_until(bela, village.chain_id, LIVE, power, lambda: [live.power_w for _, live, _ in anna.heard] == [7])
        introduce(anna.transport, bela.transport)
        await meet(anna.transport, bela.transport)
        assert await anna.gossip.submit(anna.reading(7)) is None
        await until(lambda: anna.reading(7).record_id in bela.mempool)


async def test_streams_of_rubbish_get_their_sender_dropped() -> None:
    async with neighbourhood("libp2p", "anna", "bela") as (place, homes):
        anna, bela = homes
        want = f"{gossip.prefix(place.village.chain_id)}/want/1"
        for number, (payloads, reason) in enumerate(PROTOCOL_ERRORS.values()):
            stack, mallory = await enemy(place, number)
            async with stack:
                stream = await mallory.open_stream(anna.peer, want)
                for payload in payloads:
                    await stream.send_all(payload)
                await stream.aclose()
                await until(
                    lambda reason=reason: any(
                        name.startswith("dropped: ") and name.endswith(reason) for name in anna.counters
                    )
                )
                await until(lambda mallory=mallory: mallory.peer_id not in anna.transport.peers())
        introduce(anna.transport, bela.transport)
        await meet(anna.transport, bela.transport)
        assert await bela.gossip.submit(bela.reading(1)) is None
        await until(lambda: len(anna.mempool) == 1)


async def test_a_stranger_is_not_heard() -> None:
    async with neighbourhood("libp2p", "anna", "bela") as (place, homes):
        anna, bela = homes
        topics = [topic(place.village.chain_id, one) for one in gossip.TOPICS]
        async with open_libp2p(seed_of("stranger"), LOOPBACK, topics) as stranger:
            stranger.admit(frozenset({anna.peer, bela.peer}))
            stranger.add_address(anna.peer, anna.transport.addresses)
            stranger.add_address(bela.peer, bela.transport.addresses)
            await until(lambda: anna.counters.get("handshake refused", 0) > 0 or stranger.counters["dial failed"] > 0)
            await stranger.publish(topic(place.village.chain_id, READINGS), batch(reading(place.village)))
            assert await bela.gossip.submit(bela.reading(1)) is None
            await until(lambda: len(anna.mempool) == 1)
            assert stranger.peers() == []
            assert anna.mempool.ids() == [bela.reading(1).record_id]


async def test_a_large_batch_is_verified_in_threads() -> None:
    async with neighbourhood("libp2p", "anna", "bela") as (place, homes):
        anna, bela = homes
        versions = [reading(place.village, version=number) for number in range(60)]
        in_threads = []
        anna.gossip._in_thread = noting(in_threads, anna.gossip._in_thread)
        await bela.transport.publish(topic(place.village.chain_id, READINGS), batch(*versions))
        await until(lambda: len(anna.mempool) == 60)
        assert sum(in_threads) == 60
        assert len(anna.check._good) == 60


def noting(sizes: list[int], run: gossip.Thread) -> gossip.Thread:
    async def noted(function: object, check: object, work: list[object]) -> None:
        sizes.append(len(work))
        await run(function, check, work)

    return noted


def store_of(directory: Path, disk: Disk, genesis: bytes, chain_id: bytes) -> Store:
    """A real store with the history of a cluster's disk."""
    directory.mkdir()
    Store.create(directory, genesis)
    store = Store.open(directory, chain_id)
    if disk.final:
        certificates = tuple((h, data) for h, data in sorted(disk.certificates.items()) if h <= disk.final)
        entries = tuple(disk.log[height] for height in range(1, disk.final + 1))
        store.persist(Batch(entries=entries, certificates=certificates, final_height=disk.final))
    return store


async def test_a_learner_catches_up_over_libp2p_from_store_to_store(tmp_path: Path) -> None:
    cluster = grown(20)
    village, disk = cluster.village, cluster.disks["anna"]
    genesis, chain = to_payload(village.genesis), village.chain_id
    topics = [topic(chain, BLOCKS)]
    final: list[FinalBlock] = []

    async def on_final(blocks: list[FinalBlock]) -> None:
        await trio.lowlevel.checkpoint()
        final.extend(blocks)

    async with AsyncExitStack() as stack:
        stores = {
            name: stack.enter_context(store_of(tmp_path / name, found, genesis, chain))
            for name, found in (("anna", disk), ("bela", disk), ("emil", Disk()))
        }
        transports = {
            name: await stack.enter_async_context(
                open_libp2p(seed_of(f"{name} device"), LOOPBACK, topics, limits=Limits())
            )
            for name in (*stores, "mallory")
        }
        introduce(*transports.values())
        await meet(*transports.values())
        for name in ("anna", "bela"):
            server = BlockServer(transports[name], stores[name], chain, announce=True)
            await stack.enter_async_context(running(server.run))
        machine = machine_of(village)

        async def persist(batch: Batch) -> None:
            await trio.to_thread.run_sync(stores["emil"].persist, batch)

        follower = Follower(machine, stores["emil"], transports["emil"], persist, on_final, machine.verifier, Random(1))
        await stack.enter_async_context(running(follower.run))
        await until(lambda: bool(final) and final[-1].block.header.height == disk.final)
        assert machine.state_hash() in cluster.hashes()
        assert stores["emil"].final_height() == disk.final == follower.final_height
        assert stores["emil"].certificate_below(disk.final) is not None
        # The server goes on, whatever a member throws at it.
        payloads, reason = ATTACKS["rubbish"]
        stream = await transports["mallory"].open_stream(transports["anna"].peer_id, protocol(chain))
        for payload in payloads:
            await stream.send_all(payload)
        await until(lambda: transports["anna"].counters[f"dropped: {reason}"] == 1)
        await transports["mallory"].publish(topics[0], frame(b"no head"))
        await until(lambda: transports["emil"].counters["dropped: blocks: announced a head that does not hold"] == 1)
        assert follower.halted is None
