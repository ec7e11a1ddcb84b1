"""Sync under attack: a follower believes nobody, a server serves on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from meshnode.network import sync as service
from meshnode.network.gossip import BLOCKS, topic
from meshnode.network.sync import protocol
from meshnode.network.transport import Stream, StreamReset
from meshnode.store import Batch, Entry
from protocols import cbor, cose, sync
from protocols.block import Block, Parent
from protocols.evidence import EvidenceKind
from protocols.frames import frame
from protocols.records import Certificate, read_as, to_payload
from protocols.sync import BlocksRequest, Chunk, Credit, RangeEnd, RangeStart
from tests.network.followers import Learned, Shelf, Stage, finished, small_ranges, stage
from tests.network.neighbours import machine_of
from tests.network.world import introduce, meet, until
from tests.protocols.village import START_S, Village, device

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


def exchanged(data: list[bytes], place: int, part: Callable[[list[Any]], None]) -> list[bytes]:
    """The same blocks, by the hashes of their headers, but one of them with another part."""
    parts = cbor.decode(data[place])
    part(parts)
    return [*data[:place], cbor.encode(parts), *data[place + 1 :]]


def other_signature(parts: list[Any]) -> None:
    envelope = cose.decode(parts[0])
    parts[0] = msgspec.structs.replace(envelope, signature=bytes(64)).encode()


def no_records(parts: list[Any]) -> None:
    assert parts[1], "this block has records"
    parts[1] = []


def no_election(parts: list[Any]) -> None:
    assert parts[2] is not None, "a term begins here"
    parts[2] = None


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
    "another signature on a header": lambda d, c, v: served(exchanged(d, 3, other_signature), c),
    "records left out": lambda d, c, v: served(exchanged(d, 3, no_records), c),
    "an election left out": lambda d, c, v: served(exchanged(d, 0, no_election), c),
    "nothing, with bytes": lambda d, c, v: [RangeStart(from_height=1, total_bytes=9)],
}


@pytest.mark.parametrize("name", LIES)
async def test_who_serves_what_does_not_hold_is_dropped_and_another_asked(autojump_clock: MockClock, name: str) -> None:
    disk = finished().disks["anna"]
    heights = range(1, max(disk.certificates) + 1)
    data = [disk.log[height].data for height in heights]
    certificate = read_as(Certificate, disk.certificates[heights[-1]])
    messages = LIES[name](data, certificate, finished().village)
    async with stage(finished().village) as scene:
        liar = await scene.transport("gina")
        liar.handle(
            protocol(finished().village.chain_id), lambda stream: lie(stream, *messages), max_streams_per_peer=9
        )
        emil = await scene.learner()
        await until(lambda: emil.transport.peers() == [])
        assert emil.follower.final_height == 0
        assert emil.shelf.batches == []
        await scene.server("anna", Shelf(disk))
        introduce(*scene.transports)
        await until(lambda: emil.follower.final_height == disk.final)
        assert emil.follower.halted is None


async def test_a_server_that_falls_silent_is_left_after_its_deadline(autojump_clock: MockClock) -> None:
    disk = finished().disks["anna"]
    async with stage(finished().village) as scene:
        mute = await scene.transport("gina")
        mute.handle(protocol(finished().village.chain_id), silent, max_streams_per_peer=9)
        emil = await scene.learner()
        await trio.sleep(1)
        await scene.server("anna", Shelf(disk))
        introduce(*scene.transports)
        await trio.sleep(10 * service.MESSAGE_DEADLINE_S)
        assert emil.follower.final_height == disk.final


async def silent(_: Stream) -> None:
    await trio.sleep_forever()


async def serve_once(scene: Stage, found: list[Block], certificate: Certificate) -> Learned:
    """A learner that meets one server with exactly this range."""
    messages = served([block.encoded for block in found], certificate)
    server = await scene.transport("gina")
    server.handle(protocol(scene.village.chain_id), lambda stream: lie(stream, *messages), max_streams_per_peer=9)
    return await scene.learner()


async def test_a_certified_block_with_another_state_stops_the_follower(autojump_clock: MockClock) -> None:
    village = finished().village
    wrong = village.block(leader="anna", term=1)
    async with stage(village) as scene:
        emil = await serve_once(scene, [wrong], village.certificate(wrong))
        await until(lambda: emil.follower.halted is not None)
        assert "state after height 0" in str(emil.follower.halted)
        assert emil.shelf.batches == []
        assert emil.final == []
        assert emil.transport.peers() != [], "a quorum signed it: its server is not at fault"


async def test_a_certified_block_that_breaks_the_rules_stops_the_follower(autojump_clock: MockClock) -> None:
    village = finished().village
    wrong = village.block(leader="anna", term=1, head={"time_s": START_S - 1})
    async with stage(village) as scene:
        emil = await serve_once(scene, [wrong], village.certificate(wrong))
        await until(lambda: emil.follower.halted is not None)
        assert "fails our own check" in str(emil.follower.halted)


async def test_a_second_certified_history_stops_the_follower(autojump_clock: MockClock) -> None:
    village = finished().village
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
        server.handle(protocol(village.chain_id), lambda stream: lie(stream, *messages), max_streams_per_peer=9)
        emil = await scene.learner(shelf=shelf)
        await until(lambda: emil.follower.halted is not None)
        halted = str(emil.follower.halted)
        assert "certified parent" in halted and "two histories" in halted
        # All of them acknowledged both sides, in one term: their own signatures say so, linked by the served header.
        cases = emil.follower.watcher.cases
        assert {(case.accused, case.kind) for case in cases if case.kind is EvidenceKind.ACKS} == {
            (device(home).key_id, EvidenceKind.ACKS) for home in village.homes
        }
        assert all(device(home).key_id.hex() in halted for home in village.homes)


# --- heads

HEADS: dict[str, Callable[[Certificate], bytes]] = {
    "rubbish": lambda c: b"rubbish",
    "too long": lambda c: bytes(5000),
    "a header": lambda c: to_payload(c.ack()),
    "forged": lambda c: to_payload(forged(msgspec.structs.replace(c, height=c.height + 100))),
    "of one validator": lambda c: to_payload(few(msgspec.structs.replace(c, height=c.height + 100))),
}


@pytest.mark.parametrize("name", HEADS)
async def test_who_announces_a_head_that_does_not_hold_is_dropped(autojump_clock: MockClock, name: str) -> None:
    disk = finished().disks["anna"]
    certificate = read_as(Certificate, disk.certificates[max(disk.certificates)])
    async with stage(finished().village) as scene:
        await scene.server("anna", Shelf(disk))
        mallory = await scene.transport("gina")
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == disk.final)
        await mallory.publish(topic(finished().village.chain_id, BLOCKS), HEADS[name](certificate))
        await until(lambda: mallory.peer_id not in emil.transport.peers())
        assert emil.transport.counters["dropped: blocks: announced a head that does not hold"] == 1


async def test_a_head_of_validators_that_we_do_not_know_is_no_fault(autojump_clock: MockClock) -> None:
    disk = finished().disks["anna"]
    certificate = read_as(Certificate, disk.certificates[max(disk.certificates)])
    later = msgspec.structs.replace(certificate, height=certificate.height + 100, validators=bytes(32))
    async with stage(finished().village) as scene:
        await scene.server("anna", Shelf(disk))
        bela = await scene.transport("bela")
        emil = await scene.learner()
        await bela.publish(topic(finished().village.chain_id, BLOCKS), to_payload(later))
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
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    small_ranges(monkeypatch)
    payloads, reason = ATTACKS[name]
    async with stage(finished().village) as scene:
        await scene.server("anna", Shelf(finished().disks["anna"]))
        mallory = await scene.transport("gina")
        anna = scene.transports[0]
        introduce(*scene.transports)
        await meet(*scene.transports)
        stream = await mallory.open_stream(anna.peer_id, protocol(finished().village.chain_id))
        for payload in payloads:
            await stream.send_all(payload)
        await stream.aclose()
        await until(lambda: anna.peers() == [])
        assert [name.endswith(reason) for name in anna.counters if name.startswith("dropped: ")] == [True]
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == finished().disks["anna"].final)


@pytest.mark.parametrize("request_", [BlocksRequest(from_height=0), BlocksRequest(from_height=10**9)])
async def test_a_height_that_is_not_here_is_answered_with_nothing(
    autojump_clock: MockClock, request_: BlocksRequest
) -> None:
    async with stage(finished().village) as scene:
        await scene.server("anna", Shelf(finished().disks["anna"]))
        bela = await scene.transport("bela")
        introduce(*scene.transports)
        stream = await bela.open_stream(scene.transports[0].peer_id, protocol(finished().village.chain_id))
        await stream.send_all(frame(to_payload(request_)))
        answer = sync.read_answer((await stream.receive_some(4096))[4:])
        final = finished().disks["anna"].final
        assert answer == RangeStart(from_height=request_.from_height, final_height=final)


async def test_clients_that_fall_silent_do_not_keep_others_from_catching_up(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_ranges(monkeypatch)
    async with stage(finished().village) as scene:
        await scene.server("anna", Shelf(finished().disks["anna"]))
        anna = scene.transports[0]
        idle = [await scene.transport(f"idler {number}") for number in range(service.MAX_SERVING)]
        introduce(*scene.transports)
        await meet(*scene.transports)
        for transport in idle:
            stream = await transport.open_stream(anna.peer_id, protocol(finished().village.chain_id))
            await stream.send_all(REQUEST)
        await trio.sleep(1)
        emil = await scene.learner()
        await trio.sleep(3 * service.MESSAGE_DEADLINE_S)
        assert emil.follower.final_height == finished().disks["anna"].final


async def test_catching_up_leaves_room_for_heartbeats(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_ranges(monkeypatch)
    monkeypatch.setattr(service, "SERVE_BYTES_PER_S", 1000)
    monkeypatch.setattr(service, "SERVE_BURST_BYTES", 512)
    disk = finished().disks["anna"]
    total = sum(len(entry.data) for entry in disk.log.values())
    async with stage(finished().village) as scene:
        await scene.server("anna", Shelf(disk))
        emil = await scene.learner()
        began = trio.current_time()
        while emil.follower.final_height < disk.final:
            assert trio.current_time() - began < 2 * total / 1000 + 30
            await trio.sleep(0.5)
        assert trio.current_time() - began > (total - 512) / 1000 * 0.9


async def test_requests_without_end_are_refused(autojump_clock: MockClock) -> None:
    async with stage(finished().village) as scene:
        server = await scene.server("anna", Shelf(finished().disks["anna"]))
        anna, mallory = scene.transports[0], await scene.transport("gina")
        introduce(*scene.transports)
        stream = await mallory.open_stream(anna.peer_id, protocol(finished().village.chain_id))
        with pytest.raises(StreamReset):
            for _ in range(200):
                await stream.send_all(frame(to_payload(BlocksRequest(from_height=10**6))))
                await stream.receive_some(4096)
        assert server.counters["blocks: too many requests"] == 1
        assert anna.peers() == [mallory.peer_id]
