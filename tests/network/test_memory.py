"""The switches of the simulated network: cut, silent, lossy."""

import pytest
import trio
import trio.testing

from meshnode.network.memory import SILENCE_LIMIT_S, open_memory_network
from meshnode.network.transport import DialError, PeerEvent, StreamReset
from tests.network.world import TOPIC, echo, introduce, public_key


async def test_a_partition_stalls_then_ends_connections_and_healing_restores_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        open_memory_network() as network,
        network.node(public_key("anna")) as anna,
        network.node(public_key("bela")) as bela,
        network.node(public_key("carl")) as carl,
    ):
        introduce(anna, bela, carl)
        bela.handle("/echo/1", echo, max_streams_per_peer=1)
        stream = await anna.open_stream(bela.peer_id, "/echo/1")
        events = anna.watch()
        assert {events.receive_nowait() for _ in range(2)} == {
            PeerEvent(bela.peer_id, joined=True),
            PeerEvent(carl.peer_id, joined=True),
        }

        network.partition([anna.peer_id, carl.peer_id], [bela.peer_id])
        cut_at = trio.current_time()
        with pytest.raises(DialError):
            await anna.open_stream(bela.peer_id, "/echo/1")
        await stream.send_all(b"hello?")  # nobody says yet that it cannot arrive
        with pytest.raises(StreamReset):
            await stream.receive_some(10)
        assert trio.current_time() - cut_at == pytest.approx(SILENCE_LIMIT_S)
        assert await events.receive() == PeerEvent(bela.peer_id, joined=False)
        assert anna.peers() == [carl.peer_id]

        network.heal()
        assert await events.receive() == PeerEvent(bela.peer_id, joined=True)
        assert await anna.open_stream(bela.peer_id, "/echo/1")


async def test_a_short_partition_only_delays(autojump_clock: trio.testing.MockClock) -> None:
    async with (
        open_memory_network() as network,
        network.node(public_key("anna")) as anna,
        network.node(public_key("bela")) as bela,
    ):
        introduce(anna, bela)
        bela.handle("/echo/1", echo, max_streams_per_peer=1)
        stream = await anna.open_stream(bela.peer_id, "/echo/1")
        network.partition([anna.peer_id], [bela.peer_id])
        await stream.send_all(b"hello")
        with trio.move_on_after(SILENCE_LIMIT_S / 2) as waiting:
            await stream.receive_some(10)
        assert waiting.cancelled_caught
        network.heal()
        assert await stream.receive_some(10) == b"hello"


async def test_a_frozen_peer_leaves_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    async with (
        open_memory_network() as network,
        network.node(public_key("anna")) as anna,
        network.node(public_key("bela")) as bela,
    ):
        introduce(anna, bela)
        network.freeze(bela.peer_id)
        assert anna.peers() == [bela.peer_id]
        await trio.sleep(SILENCE_LIMIT_S + 0.1)
        assert anna.peers() == []


async def test_lost_gossip_is_lost_the_same_way_from_the_same_seed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def heard(seed: int) -> list[int]:
        async with (
            open_memory_network(seed) as network,
            network.node(public_key("anna"), [TOPIC]) as anna,
            network.node(public_key("bela"), [TOPIC]) as bela,
        ):
            introduce(anna, bela)
            inbox = bela.subscribe(TOPIC, 100)
            network.loss_ppm = 500_000
            for number in range(100):
                await anna.publish(TOPIC, bytes([number]))
            return [inbox.receive_nowait().data[0] for _ in range(inbox.statistics().current_buffer_used)]

    first = await heard(1)
    assert 30 < len(first) < 70
    assert await heard(1) == first
    assert await heard(2) != first


async def test_a_restarted_node_is_the_same_peer(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_network() as network, network.node(public_key("anna")) as anna:
        async with network.node(public_key("bela")) as bela:
            introduce(anna, bela)
            before = bela.peer_id
        assert anna.peers() == []
        async with network.node(public_key("bela")) as bela:
            assert bela.peer_id == before
            bela.admit(frozenset({anna.peer_id}))
            bela.add_address(anna.peer_id, anna.addresses)
            assert anna.peers() == [bela.peer_id]
