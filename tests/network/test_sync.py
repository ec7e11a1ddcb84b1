"""Sync: a node that does not vote gets the whole ledger, from anybody, and believes nobody."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from meshnode.machine import PeriodClosed
from meshnode.network import sync as service
from meshnode.network.gossip import BLOCKS, topic
from meshnode.network.memory import MemoryNetwork, MemoryTransport, open_memory_network
from meshnode.network.sync import BlockServer, Follower, protocol
from meshnode.network.transport import Stream, StreamReset, peer_id_of
from meshnode.network.validator import FinalBlock
from meshnode.store import Batch, Entry, StoreError
from protocols import block as blocks
from protocols import cbor, sync
from protocols.block import Block, Parent
from protocols.frames import frame
from protocols.records import Certificate, OpenCounters, read_as, to_payload
from protocols.sync import BlocksRequest, Chunk, Credit, RangeEnd, RangeStart
from tests.network.cluster import PERIOD_S, Cluster, Disk
from tests.network.neighbours import Hands, inline, machine_of, running
from tests.network.world import introduce, meet, until
from tests.protocols.village import START_S, Village, device

PERIODS = 12


class Shelf(Disk):
    """A disk that can also be read from for others; `bad` are heights that its card has lost."""

    def __init__(self, disk: Disk | None = None) -> None:
        super().__init__()
        self.bad: set[int] = set()
        self.batches: list[Batch] = []
        if disk is not None:
            self.__dict__.update(copy.deepcopy(disk.__dict__))
            self.bad, self.batches = set(), []

    def persist(self, batch: Batch) -> None:
        super().persist(batch)
        self.batches.append(batch)

    def entry(self, index: int) -> Entry:
        if index in self.bad:
            raise StoreError(f"entry {index} is damaged", index)
        return super().entry(index)

    def entries(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        for index in range(low, high):
            self.entry(index)
        return super().entries(low, high, max_bytes)

    def certificate_from(self, height: int) -> tuple[int, bytes] | None:
        known = [place for place in self.certificates if place >= height]
        return (min(known), self.certificates[min(known)]) if known else None


def grown(periods: int) -> Cluster:
    """Three validators that have settled so many periods."""
    cluster = Cluster(3)
    cluster.until(lambda: cluster.leader() is not None and cluster.heights() == {1})
    for period in range(-1, periods):
        settle(cluster, period)
    cluster.run(10)
    assert len(cluster.heights()) == 1
    return cluster


def settle(cluster: Cluster, period: int) -> None:
    cluster.now_s = max(cluster.now_s, START_S + (period + 1) * PERIOD_S)
    for number, home in enumerate(cluster.village.homes):
        values = OpenCounters(import_wh=1000 * (period + 2) + number, export_wh=0)
        cluster.add(cluster.village.reading(home, period_start_s=START_S + period * PERIOD_S, values=values))
    cluster.run(4)


@pytest.fixture(scope="module")
def finished() -> Cluster:
    """A history that nobody changes."""
    return grown(PERIODS)


class Learned:
    """A node that follows."""

    def __init__(self, village: Village, transport: MemoryTransport, shelf: Shelf) -> None:
        self.transport = transport
        self.shelf = shelf
        self.final: list[FinalBlock] = []
        machine = machine_of(village)
        for height in range(1, shelf.final + 1):
            machine.apply(blocks.read(shelf.log[height].data, village.chain_id))
        self.machine = machine
        self.follower = Follower(
            machine,
            shelf,
            transport,
            self.persist,
            self.on_final,
            machine._verifier,
            Hands(),
            Random(1),
            in_thread=inline,
        )

    async def persist(self, batch: Batch) -> None:
        await trio.lowlevel.checkpoint()
        self.shelf.persist(batch)

    async def on_final(self, final: list[FinalBlock]) -> None:
        await trio.lowlevel.checkpoint()
        assert self.shelf.final >= final[-1].block.header.height, "final before it was on disk"
        self.final += final


class Village3:
    """The stage: a memory network with servers and a learner."""

    def __init__(self, village: Village, network: MemoryNetwork, stack: AsyncExitStack) -> None:
        self.village = village
        self.network = network
        self.stack = stack
        self.transports: list[MemoryTransport] = []

    async def transport(self, name: str) -> MemoryTransport:
        topics = [topic(self.village.chain_id, BLOCKS)]
        transport = await self.stack.enter_async_context(self.network.node(device(name).public, topics))
        self.transports.append(transport)
        return transport

    async def server(self, name: str, shelf: Shelf, announce: bool = False) -> BlockServer:
        server = BlockServer(
            await self.transport(name), shelf, self.village.chain_id, announce=announce, in_thread=inline
        )
        await self.stack.enter_async_context(running(server.run))
        return server

    async def learner(self, name: str = "emil", shelf: Shelf | None = None) -> Learned:
        """A learner that knows all transports opened so far."""
        learned = Learned(self.village, await self.transport(name), shelf or Shelf())
        introduce(*self.transports)
        await until(lambda: len(learned.transport.peers()) > 0)
        await self.stack.enter_async_context(running(learned.follower.run))
        return learned


@asynccontextmanager
async def stage(village: Village) -> AsyncIterator[Village3]:
    try:
        async with AsyncExitStack() as stack:
            network = await stack.enter_async_context(open_memory_network())
            yield Village3(village, network, stack)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None


def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of several chunks and windows out of a short history."""
    monkeypatch.setattr(sync, "CHUNK_BYTES", 256)
    monkeypatch.setattr(sync, "WINDOW_BYTES", 1024)
    monkeypatch.setattr(sync, "CREDIT_EVERY_BYTES", 512)
    monkeypatch.setattr(sync, "RANGE_BYTES", 4096)


async def test_a_learner_gets_the_whole_ledger(finished: Cluster, autojump_clock: MockClock) -> None:
    disk = finished.disks["anna"]
    async with stage(finished.village) as scene:
        server = await scene.server("anna", Shelf(disk))
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == disk.final)
        assert emil.machine.state_hash() in finished.hashes()
        assert [entry.block.header.height for entry in emil.final] == list(range(1, disk.final + 1))
        assert sum(isinstance(event, PeriodClosed) for entry in emil.final for event in entry.events) == PERIODS
        assert {height: entry.data for height, entry in emil.shelf.log.items()} == {
            height: disk.log[height].data for height in range(1, disk.final + 1)
        }
        assert emil.follower.newest_certificate is not None
        assert emil.shelf.certificate_below(disk.final) is not None
        assert server.counters["blocks: served"] == disk.final
        assert emil.follower.take_final() == []


async def test_a_learner_serves_the_next_learner(finished: Cluster, autojump_clock: MockClock) -> None:
    async with stage(finished.village) as scene:
        await scene.server("anna", Shelf(finished.disks["anna"]))
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == finished.disks["anna"].final)
    async with stage(finished.village) as scene:
        await scene.server("emil", emil.shelf)
        fritz = await scene.learner("fritz")
        await until(lambda: fritz.machine.state_hash() == emil.machine.state_hash())


async def test_new_blocks_are_followed_within_a_second(autojump_clock: MockClock) -> None:
    cluster = grown(1)
    async with stage(cluster.village) as scene:
        shelf = Shelf(cluster.disks["anna"])
        await scene.server("anna", shelf, announce=True)
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == shelf.final)
        for period in range(1, 5):
            settle(cluster, period)
            cluster.run(5)
            shelf.__dict__.update(Shelf(cluster.disks["anna"]).__dict__)
            began = trio.current_time()
            await until(lambda: emil.follower.final_height == shelf.final)
            assert trio.current_time() - began < 1.0
            await trio.sleep(7)
        assert emil.machine.state_hash() in cluster.hashes()
        assert emil.follower.counters["blocks: learned"] == shelf.final


async def test_without_announcements_a_follower_asks_all_the_same(autojump_clock: MockClock) -> None:
    cluster = grown(1)
    async with stage(cluster.village) as scene:
        shelf = Shelf(cluster.disks["anna"])
        await scene.server("anna", shelf, announce=False)
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == shelf.final)
        settle(cluster, 1)
        shelf.__dict__.update(Shelf(cluster.disks["anna"]).__dict__)
        await until(lambda: emil.follower.final_height == shelf.final)


async def test_a_node_that_was_away_goes_on_where_it_stopped(finished: Cluster, autojump_clock: MockClock) -> None:
    disk = finished.disks["anna"]
    short = Shelf(disk)
    for height in range(9, disk.last_index() + 1):
        del short.log[height]
        short.certificates.pop(height, None)
    short.final = 8
    short.certificates[8] = short.certificates.get(8) or disk.certificates[8]
    async with stage(finished.village) as scene:
        server = await scene.server("anna", Shelf(disk))
        emil = await scene.learner(shelf=short)
        await until(lambda: emil.follower.final_height == disk.final)
        assert emil.machine.state_hash() in finished.hashes()
        assert server.counters["blocks: served"] == disk.final - 8


async def test_a_transfer_that_breaks_off_goes_on_at_another_peer(
    finished: Cluster, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_ranges(monkeypatch)
    monkeypatch.setattr(sync, "RANGE_BYTES", 10**6)
    monkeypatch.setattr(service, "SERVE_BYTES_PER_S", 2048)
    monkeypatch.setattr(service, "SERVE_BURST_BYTES", 256)
    disk = finished.disks["anna"]
    sent: list[tuple[int, int]] = []
    real = Chunk.__init__
    async with stage(finished.village) as scene:
        servers = {name: await scene.server(name, Shelf(disk)) for name in ("anna", "bela")}
        emil = await scene.learner()

        def noted(self: Any, **fields: Any) -> None:
            sent.append((fields["offset"], len(fields["data"])))
            real(self, **fields)

        original = sync.Sending.next_message

        def next_message(self: Any) -> Any:
            message = original(self)
            if isinstance(message, Chunk):
                sent.append((message.offset, len(message.data)))
            return message

        monkeypatch.setattr(sync.Sending, "next_message", next_message)
        await until(lambda: len(sent) > 6)
        serving = next(iter(name for name in servers if scene_serves(scene, name, emil)))
        scene.network.unlink(device_peer(serving), emil.transport.peer_id)
        await trio.sleep(60)
        assert emil.follower.final_height == disk.final
        assert emil.follower.counters["blocks: broken off"] == 1
        total = len(sync.join([disk.log[height].data for height in range(1, disk.final + 1)]))
        assert sum(size for _, size in sent) < total + 8 * 1024, "begun again instead of going on"


def device_peer(name: str) -> str:
    return peer_id_of(device(name).public)


def scene_serves(scene: Village3, name: str, learned: Learned) -> bool:
    """Whether a stream between the two is open."""
    transport = scene.network.nodes[device_peer(name)]
    return bool(transport.links.get(learned.transport.peer_id))


async def test_certificates_far_apart_are_bridged(
    finished: Cluster, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "RANGE_BYTES", 2048)
    disk = finished.disks["anna"]
    shelf = Shelf(disk)
    kept = max(shelf.certificates)
    shelf.certificates = {height: data for height, data in shelf.certificates.items() if height in (2, kept)}
    async with stage(finished.village) as scene:
        await scene.server("anna", shelf)
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == kept)
        assert sorted(emil.shelf.certificates) == [2, kept]


async def test_small_ranges_need_several_requests(
    finished: Cluster, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_ranges(monkeypatch)
    async with stage(finished.village) as scene:
        await scene.server("anna", Shelf(finished.disks["anna"]))
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == finished.disks["anna"].final)
        assert len(emil.shelf.batches) >= 3
        assert all(batch.certificates for batch in emil.shelf.batches)


async def test_a_server_with_a_failing_disk_is_passed_over(finished: Cluster, autojump_clock: MockClock) -> None:
    disk = finished.disks["anna"]
    broken = Shelf(disk)
    broken.bad = {1}
    async with stage(finished.village) as scene:
        first = await scene.server("anna", broken, announce=True)
        await scene.server("bela", Shelf(disk))
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == disk.final)
        assert emil.transport.peers() == sorted(t.peer_id for t in scene.transports if t is not emil.transport)
        assert first.counters["blocks: served"] == 0


# --- liars

Answer = Callable[[Stream, list[bytes], Certificate], Any]


async def lie(stream: Stream, *messages: Any) -> None:
    await stream.receive_some(4096)
    for message in messages:
        await stream.send_all(message if isinstance(message, bytes) else frame(to_payload(message)))
    await trio.sleep(5)


def served(data: list[bytes], certificate: Certificate, **changes: Any) -> list[Any]:
    """What an honest server would say of these blocks, but for `changes` of the end."""
    body = sync.join(data)
    start = RangeStart(
        from_height=1, to_height=certificate.height, total_bytes=len(body), final_height=certificate.height
    )
    end = RangeEnd(total_bytes=len(body), digest=hashlib.sha256(body).digest(), certificate=certificate)
    chunks = [
        Chunk(offset=offset, data=body[offset : offset + sync.CHUNK_BYTES])
        for offset in range(0, len(body), sync.CHUNK_BYTES)
    ]
    return [start, *chunks, msgspec.structs.replace(end, **changes)]


def forged(certificate: Certificate) -> Certificate:
    (key_id, _), *rest = certificate.signatures
    return msgspec.structs.replace(certificate, signatures=((key_id, bytes(64)), *rest))


def few(certificate: Certificate) -> Certificate:
    return msgspec.structs.replace(certificate, signatures=certificate.signatures[:1])


def swapped(data: list[bytes]) -> list[bytes]:
    return [data[1], data[0], *data[2:]]


LIES: dict[str, Callable[[list[bytes], Certificate, Village], list[Any]]] = {
    "rubbish": lambda d, c, v: [frame(b"rubbish")],
    "an endless frame": lambda d, c, v: [b"\xff\xff\xff\xff"],
    "a request back": lambda d, c, v: [BlocksRequest(from_height=1)],
    "a forged certificate": lambda d, c, v: served(d, forged(c)),
    "a certificate of one": lambda d, c, v: served(d, few(c)),
    "a certificate of another height": lambda d, c, v: served(d[:-1], c),
    "the wrong hash": lambda d, c, v: served(d, c, digest=bytes(32)),
    "blocks in another order": lambda d, c, v: served(swapped(d), c),
    "a block left out": lambda d, c, v: served([d[0], *d[2:]], c),
    "a block that is none": lambda d, c, v: served([b"block", *d[1:]], c),
    "a block of its own making": lambda d, c, v: served([v.block().encoded, *d[1:]], c),
    "nothing, with bytes": lambda d, c, v: [RangeStart(from_height=1, total_bytes=9)],
}


@pytest.mark.parametrize("name", LIES)
async def test_who_serves_what_does_not_hold_is_dropped_and_another_asked(
    finished: Cluster, autojump_clock: MockClock, name: str
) -> None:
    disk = finished.disks["anna"]
    heights = range(1, max(disk.certificates) + 1)
    data = [disk.log[height].data for height in heights]
    certificate = read_as(Certificate, disk.certificates[heights[-1]])
    messages = LIES[name](data, certificate, finished.village)
    async with stage(finished.village) as scene:
        liar = await scene.transport("gina")
        liar.handle(
            protocol(finished.village.chain_id), lambda stream: lie(stream, *messages), max_streams_per_peer=9
        )
        emil = await scene.learner()
        await until(lambda: emil.transport.peers() == [])
        assert emil.follower.final_height == 0
        assert emil.shelf.batches == []
        await scene.server("anna", Shelf(disk))
        introduce(*scene.transports)
        await until(lambda: emil.follower.final_height == disk.final)
        assert emil.follower.halted is None


async def test_a_server_that_falls_silent_is_left_after_its_deadline(
    finished: Cluster, autojump_clock: MockClock
) -> None:
    disk = finished.disks["anna"]
    async with stage(finished.village) as scene:
        mute = await scene.transport("gina")
        mute.handle(protocol(finished.village.chain_id), silent, max_streams_per_peer=9)
        emil = await scene.learner()
        await trio.sleep(1)
        await scene.server("anna", Shelf(disk))
        introduce(*scene.transports)
        await trio.sleep(10 * service.MESSAGE_DEADLINE_S)
        assert emil.follower.final_height == disk.final


async def silent(_: Stream) -> None:
    await trio.sleep_forever()


async def serve_once(scene: Village3, found: list[Block], certificate: Certificate) -> Learned:
    """A learner that meets one server with exactly this range."""
    messages = served([block.encoded for block in found], certificate)
    server = await scene.transport("gina")
    server.handle(
        protocol(scene.village.chain_id), lambda stream: lie(stream, *messages), max_streams_per_peer=9
    )
    return await scene.learner()


async def test_a_certified_block_with_another_state_stops_the_follower(
    finished: Cluster, autojump_clock: MockClock
) -> None:
    village = finished.village
    wrong = village.block(leader="anna", term=1)
    async with stage(village) as scene:
        emil = await serve_once(scene, [wrong], village.certificate(wrong))
        await until(lambda: emil.follower.halted is not None)
        assert "state after height 0" in str(emil.follower.halted)
        assert emil.shelf.batches == []
        assert emil.final == []
        assert emil.transport.peers() != [], "a quorum signed it: its server is not at fault"


async def test_a_certified_block_that_breaks_the_rules_stops_the_follower(
    finished: Cluster, autojump_clock: MockClock
) -> None:
    village = finished.village
    wrong = village.block(leader="anna", term=1, head={"time_s": START_S - 1})
    async with stage(village) as scene:
        emil = await serve_once(scene, [wrong], village.certificate(wrong))
        await until(lambda: emil.follower.halted is not None)
        assert "fails our own check" in str(emil.follower.halted)


async def test_a_second_certified_history_stops_the_follower(finished: Cluster, autojump_clock: MockClock) -> None:
    village = finished.village
    state = machine_of(village).state_hash() or b""
    first = village.block(leader="anna", term=1, head={"state_hash": state})
    other = village.block(leader="bela", term=1, head={"state_hash": state})
    following = village.block(Parent.of(other), leader="bela", head={"state_hash": state})
    shelf = Shelf()
    shelf.persist(
        Batch(
            entries=(Entry(1, 1, 0, first.encoded, first.block_hash),),
            certificates=((1, to_payload(village.certificate(first))),),
            final_height=1,
        )
    )
    messages = served([following.encoded], village.certificate(following))
    messages[0] = msgspec.structs.replace(messages[0], from_height=2)
    async with stage(village) as scene:
        server = await scene.transport("gina")
        server.handle(
            protocol(village.chain_id), lambda stream: lie(stream, *messages), max_streams_per_peer=9
        )
        emil = await scene.learner(shelf=shelf)
        await until(lambda: emil.follower.halted is not None)
        assert "parent" in str(emil.follower.halted)


# --- heads

HEADS: dict[str, Callable[[Certificate], bytes]] = {
    "rubbish": lambda c: b"rubbish",
    "too long": lambda c: bytes(5000),
    "a header": lambda c: to_payload(c.ack()),
    "forged": lambda c: to_payload(forged(msgspec.structs.replace(c, height=c.height + 100))),
    "of one validator": lambda c: to_payload(few(msgspec.structs.replace(c, height=c.height + 100))),
}


@pytest.mark.parametrize("name", HEADS)
async def test_who_announces_a_head_that_does_not_hold_is_dropped(
    finished: Cluster, autojump_clock: MockClock, name: str
) -> None:
    disk = finished.disks["anna"]
    certificate = read_as(Certificate, disk.certificates[max(disk.certificates)])
    async with stage(finished.village) as scene:
        await scene.server("anna", Shelf(disk))
        mallory = await scene.transport("gina")
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == disk.final)
        await mallory.publish(topic(finished.village.chain_id, BLOCKS), HEADS[name](certificate))
        await until(lambda: mallory.peer_id not in emil.transport.peers())
        assert emil.transport.counters["dropped: blocks: announced a head that does not hold"] == 1


async def test_a_head_of_validators_that_we_do_not_know_is_no_fault(
    finished: Cluster, autojump_clock: MockClock
) -> None:
    disk = finished.disks["anna"]
    certificate = read_as(Certificate, disk.certificates[max(disk.certificates)])
    later = msgspec.structs.replace(certificate, height=certificate.height + 100, validators=bytes(32))
    async with stage(finished.village) as scene:
        await scene.server("anna", Shelf(disk))
        bela = await scene.transport("bela")
        emil = await scene.learner()
        await bela.publish(topic(finished.village.chain_id, BLOCKS), to_payload(later))
        await until(lambda: emil.follower.counters["head of other validators"] == 1)
        assert bela.peer_id in emil.transport.peers()


# --- the server under attack

REQUEST = frame(to_payload(BlocksRequest(from_height=1)))
ATTACKS: dict[str, tuple[list[bytes], str]] = {
    "rubbish": ([frame(b"rubbish")], "blocks: malformed message"),
    "an answer": ([frame(to_payload(RangeStart(from_height=1)))], "blocks: malformed message"),
    "an endless frame": ([b"\xff\xff\xff\xff"], "frame too large"),
    "half a frame": ([b"\0\0\0\5ab"], "stream ends inside a frame"),
    "credit first": ([frame(to_payload(Credit(received=0)))], "blocks: credit without a request"),
    "too much credit": ([REQUEST, frame(to_payload(Credit(received=10**6)))], "credit for what was not sent"),
    "two requests at once": ([REQUEST, REQUEST], "request in the middle of a range"),
    "a height below zero": ([frame(cbor.encode({0: 56, 1: -1}))], "blocks: malformed message"),
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_who_breaks_the_rules_of_a_request_is_dropped(
    finished: Cluster, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    small_ranges(monkeypatch)
    payloads, reason = ATTACKS[name]
    async with stage(finished.village) as scene:
        await scene.server("anna", Shelf(finished.disks["anna"]))
        mallory = await scene.transport("gina")
        anna = scene.transports[0]
        introduce(*scene.transports)
        await meet(*scene.transports)
        stream = await mallory.open_stream(anna.peer_id, protocol(finished.village.chain_id))
        for payload in payloads:
            await stream.send_all(payload)
        await stream.aclose()
        await until(lambda: anna.peers() == [])
        assert [name.endswith(reason) for name in anna.counters if name.startswith("dropped: ")] == [True]
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == finished.disks["anna"].final)


@pytest.mark.parametrize("request_", [BlocksRequest(from_height=0), BlocksRequest(from_height=10**9)])
async def test_a_height_that_is_not_here_is_answered_with_nothing(
    finished: Cluster, autojump_clock: MockClock, request_: BlocksRequest
) -> None:
    async with stage(finished.village) as scene:
        await scene.server("anna", Shelf(finished.disks["anna"]))
        bela = await scene.transport("bela")
        introduce(*scene.transports)
        stream = await bela.open_stream(scene.transports[0].peer_id, protocol(finished.village.chain_id))
        await stream.send_all(frame(to_payload(request_)))
        answer = sync.read_answer((await stream.receive_some(4096))[4:])
        final = finished.disks["anna"].final
        assert answer == RangeStart(from_height=request_.from_height, final_height=final)


async def test_clients_that_fall_silent_do_not_keep_others_from_catching_up(
    finished: Cluster, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_ranges(monkeypatch)
    async with stage(finished.village) as scene:
        await scene.server("anna", Shelf(finished.disks["anna"]))
        anna = scene.transports[0]
        idle = [await scene.transport(f"idler {number}") for number in range(service.MAX_SERVING)]
        introduce(*scene.transports)
        await meet(*scene.transports)
        for transport in idle:
            stream = await transport.open_stream(anna.peer_id, protocol(finished.village.chain_id))
            await stream.send_all(REQUEST)
        await trio.sleep(1)
        emil = await scene.learner()
        await trio.sleep(3 * service.MESSAGE_DEADLINE_S)
        assert emil.follower.final_height == finished.disks["anna"].final


async def test_catching_up_leaves_room_for_heartbeats(
    finished: Cluster, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_ranges(monkeypatch)
    monkeypatch.setattr(service, "SERVE_BYTES_PER_S", 1000)
    monkeypatch.setattr(service, "SERVE_BURST_BYTES", 512)
    disk = finished.disks["anna"]
    total = sum(len(entry.data) for entry in disk.log.values())
    async with stage(finished.village) as scene:
        await scene.server("anna", Shelf(disk))
        emil = await scene.learner()
        began = trio.current_time()
        while emil.follower.final_height < disk.final:
            assert trio.current_time() - began < 2 * total / 1000 + 30
            await trio.sleep(0.5)
        assert trio.current_time() - began > (total - 512) / 1000 * 0.9


async def test_requests_without_end_are_refused(finished: Cluster, autojump_clock: MockClock) -> None:
    async with stage(finished.village) as scene:
        server = await scene.server("anna", Shelf(finished.disks["anna"]))
        anna, mallory = scene.transports[0], await scene.transport("gina")
        introduce(*scene.transports)
        stream = await mallory.open_stream(anna.peer_id, protocol(finished.village.chain_id))
        with pytest.raises(StreamReset):
            for _ in range(200):
                await stream.send_all(frame(to_payload(BlocksRequest(from_height=10**6))))
                await stream.receive_some(4096)
        assert server.counters["blocks: too many requests"] == 1
        assert anna.peers() == [mallory.peer_id]
