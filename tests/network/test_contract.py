"""What a service may rely on, whatever carries the bytes."""

import hashlib

import pytest
import trio

from meshnode.network.libp2p import Limits
from meshnode.network.transport import (
    MAX_GOSSIP_BYTES,
    DialError,
    Misbehaved,
    PeerEvent,
    Stream,
    StreamClosed,
    StreamReset,
    TooLarge,
)
from tests.network.world import (
    PATIENCE_S,
    TOPIC,
    assert_alive,
    echo,
    introduce,
    meet,
    open_world,
    peer,
    read_exactly,
    read_to_end,
    settle,
    until,
)


async def test_two_nodes_meet_and_hear_of_it(kind: str, clock: object) -> None:
    async with open_world(kind) as world:
        anna, bela = await world.community("anna", "bela")
        assert anna.peer_id == peer("anna")
        assert anna.peers() == [bela.peer_id]
        assert all(address.endswith(f"/p2p/{anna.peer_id}") for address in anna.addresses)
        with trio.fail_after(PATIENCE_S):
            assert await anna.watch().receive() == PeerEvent(bela.peer_id, joined=True)


async def test_five_nodes_hear_every_message_once(kind: str, clock: object) -> None:
    async with open_world(kind) as world:
        nodes = await world.community("anna", "bela", "carl", "dora", "emil")
        inboxes = [node.subscribe(TOPIC, 100) for node in nodes]
        await settle(*nodes)
        for node in nodes:
            for number in range(10):
                await node.publish(TOPIC, f"{node.peer_id} {number}".encode())
        for node, inbox in zip(nodes, inboxes, strict=True):
            expected = {f"{n.peer_id} {k}".encode() for n in nodes if n is not node for k in range(10)}
            with trio.fail_after(PATIENCE_S):
                heard = [await inbox.receive() for _ in expected]
            assert {message.data for message in heard} == expected
            assert {message.peer for message in heard} <= set(node.peers())
            assert all(message.data.decode().startswith(message.author) for message in heard)
        await trio.sleep(1.5)
        for inbox in inboxes:
            with pytest.raises(trio.WouldBlock):
                inbox.receive_nowait()


async def test_a_stream_carries_bytes_both_ways_and_ends_clean(kind: str, clock: object) -> None:
    async with open_world(kind) as world:
        anna, bela = await world.community("anna", "bela")
        seen: list[tuple[str, str, bytes]] = []

        async def answer(stream: Stream) -> None:
            question = await read_exactly(stream, 5)
            seen.append((stream.peer, stream.protocol, question))
            await stream.send_all(b"forty-two")

        bela.handle("/question/1", answer, max_streams_per_peer=1)
        stream = await anna.open_stream(bela.peer_id, "/question/1")
        assert (stream.peer, stream.protocol) == (bela.peer_id, "/question/1")
        await stream.send_all(b"what?")
        assert await read_to_end(stream) == b"forty-two"
        assert await stream.receive_some(10) == b""
        await stream.aclose()
        await stream.aclose()
        with pytest.raises(StreamClosed):
            await stream.send_all(b"more")
        assert seen == [(anna.peer_id, "/question/1", b"what?")]


async def test_a_transfer_larger_than_every_window_arrives_whole(kind: str, clock: object) -> None:
    blob = hashlib.shake_256(b"snapshot").digest(3 * 1024 * 1024)
    async with open_world(kind) as world:
        anna, bela = await world.community("anna", "bela")

        async def serve(stream: Stream) -> None:
            for start in range(0, len(blob), 65536):
                await stream.send_all(blob[start : start + 65536])

        bela.handle("/snapshot/1", serve, max_streams_per_peer=1)
        stream = await anna.open_stream(bela.peer_id, "/snapshot/1")
        with trio.fail_after(PATIENCE_S):
            received = await read_to_end(stream)
        assert hashlib.sha256(received).digest() == hashlib.sha256(blob).digest()


async def test_a_reset_never_reads_as_a_clean_end(kind: str, clock: object) -> None:
    async with open_world(kind) as world:
        anna, bela = await world.community("anna", "bela")
        fate: list[str] = []

        async def half(stream: Stream) -> None:
            await stream.send_all(b"half of the ans")
            await read_exactly(stream, 2)
            await stream.reset()

        async def listen(stream: Stream) -> None:
            try:
                await read_to_end(stream)
                fate.append("clean end")
            except StreamReset:
                fate.append("reset")
                raise

        bela.handle("/half/1", half, max_streams_per_peer=1)
        bela.handle("/listen/1", listen, max_streams_per_peer=1)
        stream = await anna.open_stream(bela.peer_id, "/half/1")
        assert await read_exactly(stream, 15) == b"half of the ans"
        await stream.send_all(b"ok")
        with trio.fail_after(PATIENCE_S), pytest.raises(StreamReset):
            await stream.receive_some(10)

        stream = await anna.open_stream(bela.peer_id, "/listen/1")
        await stream.send_all(b"I was about to s")
        await stream.reset()
        await until(lambda: fate == ["reset"])


async def test_a_handler_that_raises_costs_the_peer_its_connection_only(kind: str, clock: object) -> None:
    async with open_world(kind) as world:
        anna, bela, carl = await world.community("anna", "bela", "carl")

        async def bug(stream: Stream) -> None:
            await stream.receive_some(1)
            raise ZeroDivisionError("division by a peer's zero")

        bela.handle("/bug/1", bug, max_streams_per_peer=1)
        stream = await anna.open_stream(bela.peer_id, "/bug/1")
        await stream.send_all(b"0")
        await until(lambda: anna.peer_id not in bela.peers())
        await until(lambda: bela.peer_id not in anna.peers())
        assert bela.counters["dropped: handler raised"] == 1
        with pytest.raises(DialError):
            await bela.open_stream(anna.peer_id, "/bug/1")
        await assert_alive(carl, bela)


async def test_a_misbehaving_peer_is_dropped_by_reason_and_may_come_back_later(kind: str, clock: object) -> None:
    async with open_world(kind, Limits(drop_cooldown_s=1.0)) as world:
        anna, bela = await world.community("anna", "bela")

        async def strict(stream: Stream) -> None:
            if await stream.receive_some(100) != b"please":
                raise Misbehaved("did not say please")

        bela.handle("/strict/1", strict, max_streams_per_peer=1)
        stream = await anna.open_stream(bela.peer_id, "/strict/1")
        await stream.send_all(b"now!")
        await until(lambda: bela.counters["dropped: did not say please"] == 1)
        assert bela.peers() == []
        await meet(anna, bela)


async def test_streams_beyond_the_limit_are_refused(kind: str, clock: object) -> None:
    async with open_world(kind) as world:
        anna, bela = await world.community("anna", "bela")
        bela.handle("/echo/1", echo, max_streams_per_peer=2)
        streams = [await anna.open_stream(bela.peer_id, "/echo/1") for _ in range(2)]
        for stream in streams:
            await stream.send_all(b"hi")
            assert await read_exactly(stream, 2) == b"hi"
        third = await anna.open_stream(bela.peer_id, "/echo/1")
        with trio.fail_after(PATIENCE_S), pytest.raises(StreamReset):
            await third.receive_some(1)
        assert bela.counters["stream refused: too many"] == 1
        # An ended stream makes room.
        await streams[0].aclose()
        await streams[1].send_all(b"still")
        assert await read_exactly(streams[1], 5) == b"still"
        await trio.sleep(0.2)
        fourth = await anna.open_stream(bela.peer_id, "/echo/1")
        await fourth.send_all(b"hi")
        assert await read_exactly(fourth, 2) == b"hi"


async def test_a_stalled_reader_resets_the_writer_and_nothing_else(kind: str, clock: object) -> None:
    async with open_world(kind) as world:
        anna, bela = await world.community("anna", "bela")
        release = trio.Event()
        outcome: list[type[BaseException] | None] = []

        async def stall(stream: Stream) -> None:
            await release.wait()
            try:
                await read_to_end(stream)
            except StreamReset:
                outcome.append(StreamReset)
                raise

        bela.handle("/stall/1", stall, max_streams_per_peer=1)
        bela.handle("/echo/1", echo, max_streams_per_peer=1)
        stream = await anna.open_stream(bela.peer_id, "/stall/1")
        with trio.fail_after(PATIENCE_S), pytest.raises(StreamReset):
            for _ in range(100):
                await stream.send_all(bytes(64 * 1024))
        # The connection and its other streams go on.
        other = await anna.open_stream(bela.peer_id, "/echo/1")
        await other.send_all(b"hi")
        assert await read_exactly(other, 2) == b"hi"
        release.set()
        await until(lambda: outcome == [StreamReset])


async def test_a_cancelled_reader_loses_no_byte(kind: str, clock: object) -> None:
    async with open_world(kind) as world:
        anna, bela = await world.community("anna", "bela")

        async def drip(stream: Stream) -> None:
            for number in range(200):
                await stream.send_all(bytes([number]) * 50)
                await trio.sleep(0.001)

        bela.handle("/drip/1", drip, max_streams_per_peer=1)
        stream = await anna.open_stream(bela.peer_id, "/drip/1")
        received = bytearray()
        with trio.fail_after(PATIENCE_S):
            ended = False
            while not ended:
                with trio.move_on_after(0.0015):
                    more = await stream.receive_some(37)
                    received += more
                    ended = not more
        assert bytes(received) == b"".join(bytes([number]) * 50 for number in range(200))


async def test_a_cancelled_writer_leaves_a_reset_stream_and_a_sound_connection(kind: str, clock: object) -> None:
    async with open_world(kind) as world:
        anna, bela = await world.community("anna", "bela")
        done = trio.Event()

        async def wait(stream: Stream) -> None:
            await done.wait()

        bela.handle("/wait/1", wait, max_streams_per_peer=8)
        bela.handle("/echo/1", echo, max_streams_per_peer=1)
        for _ in range(4):
            stream = await anna.open_stream(bela.peer_id, "/wait/1")
            with trio.move_on_after(0.05) as scope:
                await stream.send_all(bytes(1024 * 1024))
            assert scope.cancelled_caught
            with pytest.raises((StreamReset, StreamClosed)):
                await stream.send_all(b"the rest")
        other = await anna.open_stream(bela.peer_id, "/echo/1")
        await other.send_all(b"hi")
        assert await read_exactly(other, 2) == b"hi"
        done.set()


async def test_only_admitted_peers_are_connected_and_changes_hold_at_once(kind: str, clock: object) -> None:
    async with open_world(kind) as world:
        anna, bela, carl = await world.community("anna", "bela", "carl")
        bela.handle("/echo/1", echo, max_streams_per_peer=1)
        stream = await anna.open_stream(bela.peer_id, "/echo/1")

        bela.admit(frozenset({carl.peer_id}))
        assert bela.peers() == [carl.peer_id]
        with pytest.raises(DialError):
            await bela.open_stream(anna.peer_id, "/echo/1")
        with trio.fail_after(PATIENCE_S), pytest.raises(StreamReset):
            while True:
                await stream.send_all(b"?")
                await trio.sleep(0.01)
        await until(lambda: bela.peer_id not in anna.peers())

        introduce(anna, bela, carl)
        await meet(anna, bela, carl)


async def test_a_stranger_who_knows_the_address_stays_outside(kind: str, clock: object) -> None:
    async with open_world(kind) as world:
        anna, bela = await world.community("anna", "bela")
        mallory = await world.open("mallory")
        mallory.admit(frozenset({anna.peer_id, bela.peer_id}))
        mallory.add_address(anna.peer_id, anna.addresses)
        mallory.add_address(bela.peer_id, bela.addresses)
        await trio.sleep(1.0)
        assert anna.peers() == [bela.peer_id]
        assert mallory.peers() == []
        with pytest.raises(DialError):
            await mallory.open_stream(anna.peer_id, "/echo/1")
        if world.kind == "libp2p":
            assert anna.counters["refused inbound: not admitted"] > 0


async def test_a_stream_that_cannot_be_opened_is_a_dial_error(kind: str, clock: object) -> None:
    async with open_world(kind) as world:
        anna, bela = await world.community("anna", "bela")
        with pytest.raises(DialError, match="supports none of /nothing/1"):
            await anna.open_stream(bela.peer_id, "/nothing/1")
        with pytest.raises(DialError, match=r"not (connected|admitted)"):
            await anna.open_stream(peer("nobody"), "/echo/1")
        anna.admit(frozenset({bela.peer_id, peer("nobody")}))
        with pytest.raises(DialError, match="not connected"):
            await anna.open_stream(peer("nobody"), "/echo/1")


async def test_gossip_has_a_size_and_known_topics(kind: str, clock: object) -> None:
    async with open_world(kind) as world:
        anna, bela = await world.community("anna", "bela")
        inbox = bela.subscribe(TOPIC, 10)
        with pytest.raises(TooLarge, match="the limit is 131072"):
            await anna.publish(TOPIC, bytes(MAX_GOSSIP_BYTES + 1))
        with pytest.raises(ValueError, match="'weather'"):
            await anna.publish("weather", b"sun")
        with pytest.raises(ValueError, match="'weather'"):
            anna.subscribe("weather", 1)
        await settle(anna, bela)
        largest = bytes(range(256)) * (MAX_GOSSIP_BYTES // 256)
        await anna.publish(TOPIC, largest)
        with trio.fail_after(PATIENCE_S):
            assert (await inbox.receive()).data == largest


async def test_a_slow_subscriber_loses_the_newest_and_it_is_counted(kind: str, clock: object) -> None:
    async with open_world(kind) as world:
        anna, bela = await world.community("anna", "bela")
        slow, quick = bela.subscribe(TOPIC, 3), bela.subscribe(TOPIC, 100)
        await settle(anna, bela)
        for number in range(10):
            await anna.publish(TOPIC, bytes([number]))
        with trio.fail_after(PATIENCE_S):
            assert [(await quick.receive()).data[0] for _ in range(10)] == list(range(10))
        assert [slow.receive_nowait().data[0] for _ in range(3)] == [0, 1, 2]
        assert bela.counters["gossip dropped: subscriber too slow"] == 7


async def test_a_burst_of_gossip_is_paced_not_lost(kind: str, clock: object) -> None:
    async with open_world(kind) as world:
        anna, bela, carl = await world.community("anna", "bela", "carl")
        inboxes = [bela.subscribe(TOPIC, 1000), carl.subscribe(TOPIC, 1000)]
        await settle(anna, bela, carl)
        for number in range(400):
            await anna.publish(TOPIC, number.to_bytes(2, "big") + bytes(300))
        for inbox in inboxes:
            with trio.fail_after(PATIENCE_S):
                heard = {int.from_bytes((await inbox.receive()).data[:2], "big") for _ in range(400)}
            assert heard == set(range(400))
        assert anna.counters["gossip dropped: peer too slow"] == 0


async def test_the_same_protocol_is_not_served_twice(kind: str, clock: object) -> None:
    async with open_world(kind) as world:
        anna = await world.open("anna")
        anna.handle("/echo/1", echo, max_streams_per_peer=1)
        with pytest.raises(ValueError, match="/echo/1 has a handler already"):
            anna.handle("/echo/1", echo, max_streams_per_peer=1)
