"""A member turns hostile, or a stranger knocks: the node goes on, the culprit is dropped.

The hostile member is a transport without gossip of its own, which opens the
streams of gossip by hand and writes on them what no honest node writes.
"""

import socket
import struct
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import nacl.signing
import pytest
import trio

import meshnode.network.pubsub
import meshnode.network.streams
import meshnode.network.swarm
from meshnode.network.libp2p import Libp2pTransport, open_libp2p
from meshnode.network.muxer import MAX_BUFFERED_BYTES_PER_PEER
from meshnode.network.pubsub import MAX_RPC_BYTES
from meshnode.network.streams import Libp2pStream
from meshnode.network.swarm import MAX_CONNECTIONS_PER_PEER, MAX_HANDSHAKES, MAX_INBOUND_STREAMS_PER_PEER
from meshnode.network.transport import MAX_GOSSIP_BYTES, STREAM_WINDOW_BYTES, Stream, StreamReset
from tests.network.world import (
    LOOPBACK,
    PATIENCE_S,
    TOPIC,
    assert_alive,
    introduce,
    meet,
    peer,
    public_key,
    read_exactly,
    seed_of,
    until,
)

# isort: split
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.stream_muxer.yamux import yamux
from multiaddr import Multiaddr  # type: ignore[import-untyped]

MESHSUB = "/meshsub/1.1.0"


@asynccontextmanager
async def community_with_a_traitor() -> AsyncIterator[tuple[Libp2pTransport, Libp2pTransport, Libp2pTransport]]:
    """anna and bela, honest; mallory, a member who attacks anna."""
    async with (
        open_libp2p(seed_of("anna"), LOOPBACK, [TOPIC]) as anna,
        open_libp2p(seed_of("bela"), LOOPBACK, [TOPIC]) as bela,
        open_libp2p(seed_of("mallory"), LOOPBACK) as mallory,
    ):
        introduce(anna, bela, mallory)
        await meet(anna, bela, mallory)
        yield anna, bela, mallory


def framed(body: bytes) -> bytes:
    length, prefix = len(body), b""
    while length >= 0x80:
        prefix += bytes([length & 0x7F | 0x80])
        length >>= 7
    return prefix + bytes([length]) + body


def rpc(**fields: object) -> bytes:
    body: bytes = rpc_pb2.RPC(**fields).SerializeToString()  # type: ignore[arg-type]
    return framed(body)


def signed(data: bytes, author: str = "mallory", number: int = 0) -> rpc_pb2.Message:
    """A message of the topic, the author's with this number."""
    made = rpc_pb2.Message(
        data=data,
        topicIDs=[TOPIC],
        from_id=bytes.fromhex("002408011220") + public_key(author),
        seqno=number.to_bytes(8, "big"),
    )
    key = nacl.signing.SigningKey(seed_of(author))
    made.signature = key.sign(b"libp2p-pubsub:" + made.SerializeToString()).signature
    return made


def message(author: str = "mallory", **changes: object) -> rpc_pb2.Message:
    """The author's first message; changes come after the signature."""
    made = signed(b"the price is zero", author)
    for field, value in changes.items():
        if field == "topicIDs":
            del made.topicIDs[:]
            made.topicIDs.extend(value)  # type: ignore[arg-type]
        else:
            setattr(made, field, value)
    return made


ATTACKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "malformed protobuf": (lambda: framed(b"\x12\xff\xff\xff\xff\x0f garbage"), "gossip: malformed frame"),
    "random bytes": (lambda: framed(bytes(range(7, 256, 3))), "gossip: malformed frame"),
    "a frame of 4 GiB": (lambda: b"\xff\xff\xff\xff\x0f", "gossip: frame too large"),
    "a frame above the limit": (lambda: framed(bytes(MAX_RPC_BYTES + 1)), "gossip: frame too large"),
    "a message too large": (
        lambda: rpc(publish=[message(data=bytes(MAX_GOSSIP_BYTES + 1))]),
        "gossip: message too large",
    ),
    "a garbage author": (lambda: rpc(publish=[message(from_id=b"\x01garbage")]), "gossip: garbage key"),
    "an empty author": (lambda: rpc(publish=[message(from_id=b"")]), "gossip: garbage key"),
    "an RSA author": (lambda: rpc(publish=[message(from_id=b"\x12\x20" + bytes(32))]), "gossip: garbage key"),
    "a garbage key": (lambda: rpc(publish=[message(key=b"garbage")]), "gossip: garbage key"),
    "somebody else's name": (
        lambda: rpc(publish=[message(from_id=bytes.fromhex("002408011220") + public_key("bela"))]),
        "gossip: bad signature",
    ),
    "changed data": (lambda: rpc(publish=[message(data=b"the price is one")]), "gossip: bad signature"),
    "no signature": (lambda: rpc(publish=[message(signature=b"")]), "gossip: bad signature"),
    "a long signature": (lambda: rpc(publish=[message(signature=bytes(1000))]), "gossip: bad signature"),
    "no number": (lambda: rpc(publish=[message(seqno=b"")]), "gossip: malformed message"),
    "10,000 subscriptions in one frame": (
        lambda: rpc(
            subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=f"spam {number}") for number in range(10_000)]
        ),
        "gossip: too many subscriptions in one frame",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_gossip_that_no_honest_node_sends_gets_its_sender_dropped(attack: str) -> None:
    make, reason = ATTACKS[attack]
    async with community_with_a_traitor() as (anna, bela, mallory):
        inbox = anna.subscribe(TOPIC, 10)
        stream = await mallory.open_stream(anna.peer_id, MESHSUB)
        with trio.fail_after(PATIENCE_S), pytest.raises(StreamReset):
            await stream.send_all(make())
            await stream.receive_some(1)
        await until(lambda: anna.counters[f"dropped: {reason}"] == 1)
        assert anna.peers() == [bela.peer_id]
        with pytest.raises(trio.WouldBlock):
            inbox.receive_nowait()
        await assert_alive(bela, anna)


async def test_a_frame_cut_short_gets_its_sender_dropped() -> None:
    async with community_with_a_traitor() as (anna, bela, mallory):
        stream = await mallory.open_stream(anna.peer_id, MESHSUB)
        await stream.send_all(b"\x64only a part of it")
        await stream.aclose()
        await until(lambda: anna.counters["dropped: gossip: stream ends inside a frame"] == 1)
        await assert_alive(bela, anna)


async def test_messages_of_non_members_other_topics_and_the_past_are_ignored() -> None:
    async with community_with_a_traitor() as (anna, _, mallory):
        inbox = anna.subscribe(TOPIC, 10)
        stream = await mallory.open_stream(anna.peer_id, MESHSUB)
        await stream.send_all(rpc(publish=[message("stranger")]))
        await stream.send_all(rpc(publish=[message(topicIDs=["weather"])]))
        await stream.send_all(rpc(publish=[message(topicIDs=[TOPIC, "weather"])]))
        await stream.send_all(rpc(publish=[message(topicIDs=[])]))
        await stream.send_all(rpc(publish=[message("anna")]))
        good = rpc(publish=[message()])
        await stream.send_all(good + good + good)
        with trio.fail_after(PATIENCE_S):
            assert (await inbox.receive()).data == b"the price is zero"
            # One stream keeps its order: when the last message is heard, all before it were judged.
            await stream.send_all(rpc(publish=[signed(b"the end", number=1)]))
            assert (await inbox.receive()).data == b"the end"
        assert anna.counters["gossip: written by a non-member"] == 1
        assert anna.counters["gossip: foreign topic"] == 3
        assert mallory.peer_id in anna.peers()


async def test_a_hundred_thousand_topics_leave_no_trace_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the limit on their rate, which would make this test take a minute.
    monkeypatch.setattr(meshnode.network.pubsub, "GOSSIP_UNITS_PER_S", 10**9)
    monkeypatch.setattr(meshnode.network.pubsub, "GOSSIP_BURST_UNITS", 10**12)
    async with community_with_a_traitor() as (anna, bela, mallory):
        stream = await mallory.open_stream(anna.peer_id, MESHSUB)
        frames = [_topics_frame(number) for number in range(500)]
        await stream.send_all(frames.pop())
        await until(lambda: anna.counters["gossip: foreign topic"] == 200)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for frame in frames:
                await stream.send_all(frame)
            await until(lambda: anna.counters["gossip: foreign topic"] == 100_000)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < 2 * STREAM_WINDOW_BYTES
        pubsub = anna.pubsub
        assert pubsub is not None
        assert set(pubsub.peer_topics) <= {TOPIC}
        assert set(anna.router.back_off) <= {TOPIC}
        assert sum(len(topics) for topics in anna.router.ihave_message_limits.values()) <= 2
        assert sum(len(topics) for topics in anna.router.graft_flood_tracking.values()) <= 2
        await assert_alive(bela, anna)


async def test_a_flood_of_small_things_is_slowed_and_waits_at_its_sender() -> None:
    async with community_with_a_traitor() as (anna, bela, mallory):
        stream = await mallory.open_stream(anna.peer_id, MESHSUB)
        with trio.fail_after(PATIENCE_S):
            while anna.counters["gossip slowed"] == 0:
                await stream.send_all(_topics_frame(0))
        # What was sent is at most the burst, and the window in which mallory waits.
        assert anna.counters["gossip: foreign topic"] < 10_000
        [conn] = anna._swarm.live_connections(ID.from_base58(mallory.peer_id))
        buffers = conn.muxed_conn.stream_buffers.values()  # type: ignore[attr-defined]
        assert sum(map(len, buffers)) <= STREAM_WINDOW_BYTES
        await assert_alive(bela, anna)


def _topics_frame(number: int) -> bytes:
    names = [f"spam {number} {k}" for k in range(200)]
    control = rpc_pb2.ControlMessage(
        ihave=[rpc_pb2.ControlIHave(topicID=name, messageIDs=[b"x" * 46]) for name in names],
        graft=[rpc_pb2.ControlGraft(topicID=name) for name in names],
        prune=[rpc_pb2.ControlPrune(topicID=name, backoff=2**40) for name in names],
    )
    return rpc(subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=name) for name in names], control=control)


async def test_a_prune_may_neither_name_peers_to_dial_nor_banish_for_ever() -> None:
    async with community_with_a_traitor() as (anna, bela, mallory):
        stream = await mallory.open_stream(anna.peer_id, MESHSUB)
        elsewhere = rpc_pb2.PeerInfo(peerID=bytes.fromhex("002408011220") + public_key("stranger"))
        prune = rpc_pb2.ControlPrune(topicID=TOPIC, backoff=2**60, peers=[elsewhere] * 100)
        await stream.send_all(rpc(control=rpc_pb2.ControlMessage(prune=[prune])))
        mallory_id = ID.from_base58(mallory.peer_id)
        await until(lambda: mallory_id in anna.router.back_off.get(TOPIC, {}))
        assert anna.router.back_off[TOPIC][mallory_id] <= time.time() + 3600
        assert anna.counters["dial failed"] == 0
        await assert_alive(bela, anna)


async def test_half_open_streams_are_limited_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meshnode.network.swarm, "NEGOTIATE_DEADLINE_S", 1.0)
    async with community_with_a_traitor() as (anna, bela, mallory):
        [conn] = mallory._swarm.live_connections(ID.from_base58(anna.peer_id))
        for _ in range(MAX_INBOUND_STREAMS_PER_PEER + 20):
            await conn.new_stream()
        await until(lambda: anna.counters["stream refused: too many"] >= 10)
        await assert_alive(bela, anna)
        await until(lambda: anna.counters["stream refused: no common protocol"] >= MAX_INBOUND_STREAMS_PER_PEER - 10)
        [conn] = anna._swarm.live_connections(ID.from_base58(mallory.peer_id))
        await until(lambda: len(conn.muxed_conn.streams) < 5)  # type: ignore[attr-defined]


async def test_streams_that_only_we_closed_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meshnode.network.streams, "LINGER_S", 0.2)

    async def greet(stream: Stream) -> None:
        await stream.send_all(b"hello")

    async with community_with_a_traitor() as (anna, bela, mallory):
        anna.handle("/greet/1", greet, max_streams_per_peer=100)
        for _ in range(30):
            stream = await mallory.open_stream(anna.peer_id, "/greet/1")
            assert await read_exactly(stream, 5) == b"hello"  # and never closes its side
        [conn] = anna._swarm.live_connections(ID.from_base58(mallory.peer_id))
        await until(lambda: len(conn.muxed_conn.streams) < 5)  # type: ignore[attr-defined]
        await until(lambda: len(conn.muxed_conn.stream_events) < 5)  # type: ignore[attr-defined]
        assert len(conn.streams) < 5
        await assert_alive(bela, anna)


async def test_one_peer_has_a_few_connections_and_leaves_room_for_others() -> None:
    async with community_with_a_traitor() as (anna, bela, mallory):
        anna_id = ID.from_base58(anna.peer_id)
        for _ in range(6):
            await mallory._swarm.dial_addr(Multiaddr(anna.addresses[0]), anna_id)
        mallory_id = ID.from_base58(mallory.peer_id)
        await until(lambda: len(anna._swarm.live_connections(mallory_id)) <= MAX_CONNECTIONS_PER_PEER)
        assert anna.counters["connection cut: one too many"] >= 4
        assert mallory.peer_id in anna.peers()
        await assert_alive(bela, anna)


async def test_a_negotiation_of_garbage_ends_the_stream_only() -> None:
    async with community_with_a_traitor() as (anna, bela, mallory):
        [conn] = mallory._swarm.live_connections(ID.from_base58(anna.peer_id))
        for garbage in (b"\x02\xff\n", b"\xff" * 20, b"\x13/multistream/1.0.0\n\x03\xff\xfe\n", bytes(1000)):
            net = await conn.new_stream()
            await net.muxed_stream.write(garbage)
        await until(lambda: anna.counters["stream refused: no common protocol"] == 4)
        assert mallory.peer_id in anna.peers()
        await assert_alive(bela, anna)


async def test_a_peer_that_ignores_its_windows_is_cut_before_it_fills_the_memory() -> None:
    async with community_with_a_traitor() as (anna, bela, mallory):

        async def never_reads(stream: Stream) -> None:
            await trio.sleep_forever()

        anna.handle("/sink/1", never_reads, max_streams_per_peer=1)
        sink = await mallory.open_stream(anna.peer_id, "/sink/1")
        assert isinstance(sink, Libp2pStream)
        [conn] = mallory._swarm.live_connections(ID.from_base58(anna.peer_id))
        muxed = conn.muxed_conn
        assert isinstance(muxed, yamux.Yamux)
        header = struct.pack(yamux.YAMUX_HEADER_FORMAT, 0, yamux.TYPE_DATA, 0, sink._muxed.stream_id, 60_000)
        sent = 0
        with trio.fail_after(PATIENCE_S):
            while muxed.alive and anna.counters["connection cut: windows ignored"] == 0:  # type: ignore[attr-defined]
                try:
                    await muxed._write_frame(header + bytes(60_000))
                except Exception as error:
                    assert "clos" in str(error) or "reset" in str(error)
                    break
                sent += 60_000
        await until(lambda: anna.counters["connection cut: windows ignored"] == 1)
        assert sent < 4 * MAX_BUFFERED_BYTES_PER_PEER
        await assert_alive(bela, anna)


async def test_a_raw_frame_of_any_announced_size_or_kind_ends_the_connection_only() -> None:
    async with community_with_a_traitor() as (anna, bela, mallory):
        for kind, flags, length in ((0, 0, 2**32 - 1), (0, 1, 2**31), (9, 0xFFFF, 7), (0, 0, 100)):
            await meet(anna, mallory)
            muxed = mallory._swarm.live_connections(ID.from_base58(anna.peer_id))[-1].muxed_conn
            header = struct.pack(yamux.YAMUX_HEADER_FORMAT, 3, kind, flags, 12345, length)
            await muxed._write_frame(header)  # type: ignore[attr-defined]
            # Then bytes that decrypt to nothing: the cipher loses step.
            await muxed.guard.write(b"\x00\x20" + bytes(32))  # type: ignore[attr-defined]
            await until(lambda muxed=muxed: not muxed.alive)  # type: ignore[misc]
        await assert_alive(bela, anna)


@pytest.mark.parametrize(
    "opening",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: meter\r\n\r\n",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x13/multistream/1.0.0\n",
        b"\x13/multistream/1.0.0\n\x07/noise\n",
        b"\x13/multistream/1.0.0\n\x07/noise\n" + b"\xff\xff" + bytes(70_000),
        b"\x13/multistream/1.0.0\n\x0a/plaintext/2.0.0\n",
        b"\x13/multistream/1.0.0\n\x07/noise\n" + b"\x00\x20" + b"\x01" * 32 + b"\x00\x40" + b"\x02" * 64,
    ],
)
async def test_strangers_who_say_something_else_are_shown_out(opening: bytes) -> None:
    async with (
        open_libp2p(seed_of("anna"), LOOPBACK, [TOPIC]) as anna,
        open_libp2p(seed_of("bela"), LOOPBACK, [TOPIC]) as bela,
    ):
        introduce(anna, bela)
        port = int(anna.addresses[0].split("/")[4])
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            try:
                await stream.send_all(opening)
                await stream.send_eof()
                with trio.fail_after(PATIENCE_S):
                    while await stream.receive_some(4096):
                        pass
            except trio.BrokenResourceError:
                assert opening  # cut in the middle of what it was saying
        await until(lambda: anna.counters["handshake failed"] == 1)
        await assert_alive(anna, bela)


async def test_connections_that_never_speak_take_bounded_room_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(meshnode.network.swarm, "DIAL_DEADLINE_S", 1.0)
    async with open_libp2p(seed_of("anna"), LOOPBACK, [TOPIC]) as anna:
        port = int(anna.addresses[0].split("/")[4])
        knocking = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(MAX_HANDSHAKES + 5)]
        await until(lambda: anna.counters["refused inbound: no room"] == 5)
        await until(lambda: anna.counters["handshake failed"] == MAX_HANDSHAKES)
        for stream in knocking:
            await stream.aclose()
        async with open_libp2p(seed_of("bela"), LOOPBACK, [TOPIC]) as bela:
            introduce(anna, bela)
            await assert_alive(anna, bela)


async def test_a_reader_that_stalls_delays_gossip_for_nobody_else() -> None:
    async with community_with_a_traitor() as (anna, bela, mallory):
        # mallory subscribes and grafts, then never reads what anna forwards.
        stalled = trio.Event()

        async def never_reads(stream: Stream) -> None:
            await stalled.wait()

        mallory.handle(MESHSUB, never_reads, max_streams_per_peer=2)
        stream = await mallory.open_stream(anna.peer_id, MESHSUB)
        await stream.send_all(
            rpc(
                subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=TOPIC)],
                control=rpc_pb2.ControlMessage(graft=[rpc_pb2.ControlGraft(topicID=TOPIC)]),
            )
        )
        await until(lambda: ID.from_base58(mallory.peer_id) in anna.router.mesh[TOPIC])
        inbox = bela.subscribe(TOPIC, 1000)
        began = trio.current_time()
        for number in range(60):
            await anna.publish(TOPIC, bytes([number]) + bytes(16 * 1024))
        assert trio.current_time() - began < 2.0  # it is waited for once, not 60 times
        with trio.fail_after(PATIENCE_S):
            heard = {(await inbox.receive()).data[0] for _ in range(60)}
        assert heard == set(range(60))
        # What did not fit the queue of the stalled one was dropped and counted.
        assert anna.counters["gossip dropped: peer too slow"] > 0
        stalled.set()


async def test_a_membership_that_ends_during_a_flood_ends_the_flood() -> None:
    async with community_with_a_traitor() as (anna, bela, mallory):
        received = 0

        async def drain(stream: Stream) -> None:
            nonlocal received
            while data := await stream.receive_some(65536):
                received += len(data)

        anna.handle("/drain/1", drain, max_streams_per_peer=1)
        stream = await mallory.open_stream(anna.peer_id, "/drain/1")
        async with trio.open_nursery() as nursery:

            async def flood() -> None:
                with pytest.raises(StreamReset):
                    while True:
                        await stream.send_all(bytes(65536))

            nursery.start_soon(flood)
            await until(lambda: received > 1_000_000)
            anna.admit(frozenset({bela.peer_id}))
            at_removal = received
            await trio.sleep(0.3)
            assert received == at_removal
        await assert_alive(bela, anna)


def test_the_tests_use_the_loopback_only() -> None:
    assert all(socket.inet_aton(address.split("/")[2])[0] == 127 for address in LOOPBACK)


async def test_the_traitor_is_a_real_one() -> None:
    # Guards the tests above: what mallory sends does arrive when it is honest.
    async with community_with_a_traitor() as (anna, _, mallory):
        stream = await mallory.open_stream(anna.peer_id, "/ipfs/ping/1.0.0")
        await stream.send_all(bytes(32))
        assert await read_exactly(stream, 32) == bytes(32)
        assert peer("mallory") == mallory.peer_id
