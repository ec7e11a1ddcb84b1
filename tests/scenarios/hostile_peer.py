"""Hostile peer: whatever is thrown at a running node is refused and counted, the culprit dropped, and the node goes on.

Mallory has many devices, all of them members of the village, one even a validator; and
there is a stranger. Over real connections they throw at the running nodes what no
honest node says: frames that are cut wrong or announce four gigabytes, batches that are
none, records of another microgrid, forged signatures, votes from somebody who has none.
Who says such a thing is dropped. What an honest node may say by mistake - a record of a
key that is not known yet, a copy of what is on the ledger, a time that is long past or
far ahead - is refused and counted, and nobody is punished for it. In the end the nodes
settle a period as if nothing had been.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import trio

from meshnode.keys import SigningKey
from meshnode.loopback import NodeProcess
from meshnode.network.gossip import BLOCKS, LIVE, READINGS, RECORDS, TOPICS, prefix, topic
from meshnode.network.libp2p import Libp2pTransport, open_libp2p
from meshnode.network.transport import DialError, StreamReset
from protocols import cbor
from protocols.block import sign_record
from protocols.certificate import QuorumConfig, quorum_size
from protocols.cose import key_id_of
from protocols.frames import frame
from protocols.parcel import Parcel, pack
from protocols.raft import Message, MessageKind
from protocols.records import SIDE_BUY, Ack, Certificate, OpenCounters, Order, Reading, meter_id_of, to_payload
from tests.scenarios.mesh import VILLAGE, Household, Mesh, NotShown, open_mesh

MESHSUB = "/meshsub/1.1.0"
# Frames that announce 4 GiB, in gossip's framing and in ours; and one of ours that holds no message.
HUGE_RPC, HUGE = b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff"
GARBAGE = frame(b"\xa0\x00garbage")
# An attack is repeated until it is noticed: what is published before the mesh has formed goes nowhere.
AGAIN_S = 0.5
NOTICED_S = 30.0

Act = Callable[[Mesh, Libp2pTransport, NodeProcess], Awaitable[None]]


class Attack(msgspec.Struct, frozen=True):
    """One thing that is thrown at `victim`, and how the counter begins that tells of it."""

    name: str
    victim: str
    act: Act
    counted: str

    @property
    def is_punished(self) -> bool:
        """Whether the culprit is dropped for it."""
        return self.counted.startswith("dropped: ")


async def play(place: Path) -> dict[str, Any]:
    """All attacks, then a quiet period."""
    punished = (*FRAMES, *STATEMENTS)
    # A dropped device is refused for ten minutes, so every attack has its own; one more makes honest mistakes.
    devices = [_device(f"mallory-{n}", votes=False) for n in range(len(punished) + 1)]
    learner = Household(name="dora", metered=False, votes=False)
    homes = (*VILLAGE, learner, _device("mallory", votes=True), *devices)
    async with open_mesh(place, homes, binding="neighbour_market") as mesh:
        pids = [node.process.pid for node in mesh.running if node.process is not None]
        spare = [mesh[device.name] for device in devices]
        await _stranger_knocks(mesh, mesh["anna"])
        for attack in punished:
            await _throw(mesh, attack, spare.pop())
        for attack in VALIDATOR_FRAMES:
            await _throw(mesh, attack, mesh["mallory"])
        for attack in HONEST_MISTAKES:
            await _throw(mesh, attack, spare[0])
        replayed = await _replay(mesh, spare[0])

        start_s = mesh.next_period_s()
        await mesh.until_settled(start_s)
        statuses = await mesh.statuses()
        assert [node.process.pid for node in mesh.running if node.process is not None] == pids, "a node was restarted"
        assert not any(status["halted"] for status in statuses)
        for node in mesh.running:
            lines = await mesh.lines(node, start_s)
            assert sum(lines[name]["neighbours_wh"] for name in ("bela", "carla")) == lines["anna"]["sold_wh"] > 0
        height = await mesh.check_one_history()
        counted = [record["id"] for block in await mesh.blocks(mesh["dora"], 1, height) for record in block["records"]]
        assert counted.count(replayed) == 1, "a replay got onto the ledger"
        return {
            "attacks": len(punished) + len(VALIDATOR_FRAMES) + len(HONEST_MISTAKES) + 2,
            "dropped": len(punished) + len(VALIDATOR_FRAMES),
            "height": height,
            "rss_mb": max(status["rss_mb"] for status in statuses),
        }


def _device(name: str, votes: bool) -> Household:
    return Household(name=name, metered=False, votes=votes, runs=False)


async def _throw(mesh: Mesh, attack: Attack, culprit: NodeProcess) -> None:
    """Throw something until the victim has counted it; then see who is still connected."""
    victim = mesh[attack.victim]
    counter = attack.counted.format(chain=prefix(mesh.chain_id))
    before = await _count(mesh, victim, counter)
    dropped = await _count(mesh, victim, "dropped: ")
    async with _connected(mesh, culprit, victim) as transport:
        with trio.move_on_after(NOTICED_S):
            while await _count(mesh, victim, counter) == before:
                # The victim may have cut us off already.
                with suppress(DialError, StreamReset):
                    await attack.act(mesh, transport, victim)
                await trio.sleep(AGAIN_S)
        if await _count(mesh, victim, counter) == before:
            counters = (await mesh.status(victim))["counters"]
            raise NotShown(f"{attack.name}: {victim.name} did not count {counter!r} but {counters}")

        async def gone() -> bool:
            return victim.peer_id not in transport.peers()

        if attack.is_punished:
            await mesh.until(f"{attack.name}: {culprit.name} dropped", gone)
        else:
            # Not `gone()`: of two connections in quick succession the victim may let either go.
            assert await _count(mesh, victim, "dropped: ") == dropped, f"{attack.name}: dropped for an honest mistake"


@asynccontextmanager
async def _connected(mesh: Mesh, culprit: NodeProcess, victim: NodeProcess) -> AsyncIterator[Libp2pTransport]:
    """A culprit's own libp2p node, connected with the victim for as long as the block lasts."""
    topics = [topic(mesh.chain_id, name) for name in TOPICS]
    async with open_libp2p(culprit.keys.device.seed, [], topics) as transport:
        transport.admit(frozenset({victim.peer_id}))
        transport.add_address(victim.peer_id, [victim.address])

        async def met() -> bool:
            return victim.peer_id in transport.peers()

        await mesh.until("the culprit's connection", met)
        yield transport


async def _count(mesh: Mesh, node: NodeProcess, begins: str) -> int:
    """The sum of a node's counters whose names begin so."""
    counters = (await mesh.status(node))["counters"]
    return sum(count for name, count in counters.items() if name.startswith(begins))


async def _stranger_knocks(mesh: Mesh, victim: NodeProcess) -> None:
    """Somebody whom the ledger does not know gets no connection at all."""
    counter = "refused inbound: not admitted"
    before = await _count(mesh, victim, counter)
    async with open_libp2p(SigningKey.generate().seed, []) as stranger:
        stranger.admit(frozenset({victim.peer_id}))
        stranger.add_address(victim.peer_id, [victim.address])

        async def refused() -> bool:
            return await _count(mesh, victim, counter) > before

        await mesh.until("the stranger refused", refused)
        assert not stranger.peers()


async def _replay(mesh: Mesh, culprit: NodeProcess) -> str:
    """A record that is final long since is published again, by somebody else; gives its id."""
    bela = mesh["bela"]
    order = mesh.sign(_order(mesh, 77), bela.keys.member)
    await bela.client.post("/api/records", order.envelope_bytes)
    await mesh.outcome(bela, order.record_id.hex())
    batch = cbor.encode([order.envelope_bytes])

    async def publish(_: Mesh, transport: Libp2pTransport, __: NodeProcess) -> None:
        await transport.publish(topic(mesh.chain_id, RECORDS), batch)

    await _throw(mesh, Attack("a replay", "anna", publish, "batches repeated"), culprit)
    return order.record_id.hex()


# --- what is thrown


def _write(protocol: str, data: bytes | Callable[[Mesh], bytes]) -> Act:
    """Bytes on a stream of a protocol; {chain} stands for the microgrid's prefix."""

    async def act(mesh: Mesh, transport: Libp2pTransport, victim: NodeProcess) -> None:
        stream = await transport.open_stream(victim.peer_id, protocol.format(chain=prefix(mesh.chain_id)))
        await stream.send_all(data if isinstance(data, bytes) else data(mesh))
        await stream.aclose()

    return act


def _publish(name: str, make: Callable[[Mesh], bytes]) -> Act:
    """A message of a topic, as gossip carries it; signed by the culprit's device like any other."""

    async def act(mesh: Mesh, transport: Libp2pTransport, victim: NodeProcess) -> None:
        await transport.publish(topic(mesh.chain_id, name), make(mesh))

    return act


def _records(make: Callable[[Mesh], bytes], name: str = RECORDS) -> Act:
    return _publish(name, lambda mesh: cbor.encode([make(mesh)]))


def _order(mesh: Mesh, number: int, valid_s: int | None = None) -> Order:
    spoken = mesh.spoken(number)
    if valid_s is not None:
        spoken["valid_until_s"] = valid_s
    return Order(**spoken, side=SIDE_BUY, period_start_s=mesh.next_period_s(1.0), energy_wh=100, price_u_kwh=150_000)


def _forged(mesh: Mesh) -> bytes:
    """Anna's name under what somebody else wrote."""
    anna, own = mesh["anna"].keys.member, SigningKey.generate()
    return sign_record(_order(mesh, 1), mesh.chain_id, anna.public, own.sign).envelope_bytes


def _foreign(mesh: Mesh) -> bytes:
    """Signed by Anna indeed, for another microgrid."""
    anna = mesh["anna"].keys.member
    return sign_record(_order(mesh, 2), bytes(32), anna.public, anna.sign).envelope_bytes


def _of_a_stranger(mesh: Mesh) -> bytes:
    key = SigningKey.generate()
    return mesh.sign(_order(mesh, 3), key).envelope_bytes


def _expired(mesh: Mesh) -> bytes:
    return mesh.sign(_order(mesh, 4, mesh.clock.now_s() - 86_400), mesh["bela"].keys.member).envelope_bytes


def _valid_too_long(mesh: Mesh) -> bytes:
    ahead_s = mesh.genesis.limits.max_validity_s * 2
    return mesh.sign(_order(mesh, 5, mesh.clock.now_s() + ahead_s), mesh["bela"].keys.member).envelope_bytes


def _of_tomorrow(mesh: Mesh) -> bytes:
    return _reading(mesh, FAR_AHEAD)


def _of_last_week(mesh: Mesh) -> bytes:
    return _reading(mesh, LONG_AGO)


def _reading(mesh: Mesh, periods: int) -> bytes:
    """A reading of Bela's meter, so many periods from now."""
    key = mesh["bela"].keys.meters["bela-home"]
    start_s = mesh.next_period_s() + periods * mesh.length_s
    values = OpenCounters(import_wh=1, export_wh=0)
    return mesh.sign(Reading(meter=meter_id_of(key.public), period_start_s=start_s, values=values), key).envelope_bytes


async def _foreign_stream(mesh: Mesh, transport: Libp2pTransport, victim: NodeProcess) -> None:
    """A protocol that carries the id of another chain."""
    await transport.open_stream(victim.peer_id, f"{prefix(bytes(32))}/want/1")


def _by_the_wrong_key(mesh: Mesh) -> bytes:
    """An order signed by a meter."""
    return mesh.sign(_order(mesh, 6), mesh["bela"].keys.meters["bela-home"]).envelope_bytes


def _false_head(mesh: Mesh) -> bytes:
    """A certificate for a height far above, with signatures that are none."""
    quorum = QuorumConfig.of_genesis(mesh.genesis)
    voters = sorted(key_id_of(key) for key, _ in quorum.voters)
    signatures = tuple((voter, bytes(64)) for voter in voters[: quorum_size(len(voters), quorum.mode)])
    return to_payload(
        Certificate(validators=quorum.config_hash(), ack_term=1, height=10**6, block=bytes(32), signatures=signatures)
    )


def _forged_ack(mesh: Mesh) -> bytes:
    """An acknowledgement under which somebody else's signature stands."""
    ack = Ack(validators=QuorumConfig.of_genesis(mesh.genesis).config_hash(), ack_term=1, height=10**6, block=bytes(32))
    message = pack(Message(kind=MessageKind.APP_RESP, sender=1, to=2, term=1, index=1))
    return frame(to_payload(Parcel(message=message, ack=ack, ack_signature=bytes(64))))


# A week and more: no correction is accepted that late. A day ahead: no clock is that wrong.
LONG_AGO, FAR_AHEAD = -96 * 8, 96

FRAMES = (
    Attack("a gossip frame of garbage", "anna", _write(MESHSUB, b"\x08garbage!"), "dropped: gossip: malformed frame"),
    Attack("a gossip frame of 4 GiB", "bela", _write(MESHSUB, HUGE_RPC), "dropped: gossip: frame too large"),
    Attack("a gossip frame cut short", "carla", _write(MESHSUB, b"\x64only a part"), "dropped: gossip: stream ends"),
    Attack("an exchange of 4 GiB", "anna", _write("{chain}/want/1", HUGE), "dropped: {chain}/want/1: frame too large"),
    Attack("an exchange of garbage", "bela", _write("{chain}/want/1", GARBAGE), "dropped: {chain}/want/1: malformed"),
    Attack("a catch-up of garbage", "dora", _write("{chain}/blocks/1", GARBAGE), "dropped: blocks: malformed message"),
)
# What is wrong with a parcel stands in the log; a counter for each would be named by the culprit.
IN_PARCELS = "dropped: consensus: a parcel that no honest validator sends"
VALIDATOR_FRAMES = (
    Attack("a consensus frame of 4 GiB", "anna", _write("{chain}/consensus/1", HUGE), IN_PARCELS),
    Attack("a consensus frame of garbage", "bela", _write("{chain}/consensus/1", GARBAGE), IN_PARCELS),
    Attack("a forged ack", "carla", _write("{chain}/consensus/1", _forged_ack), IN_PARCELS),
)
STATEMENTS = (
    Attack("a batch that is none", "anna", _publish(RECORDS, lambda _: b"\xff"), "dropped: gossip: undecodable batch"),
    Attack("a record that is none", "bela", _records(lambda _: b"none"), "dropped: gossip: malformed record"),
    Attack("a forged signature", "anna", _records(_forged), "dropped: gossip: BAD_SIGNATURE"),
    Attack("a record of another microgrid", "bela", _records(_foreign), "dropped: gossip: BAD_SIGNATURE"),
    Attack("an order signed by a meter", "carla", _records(_by_the_wrong_key), "dropped: gossip: WRONG_KEY"),
    Attack("a live statement of garbage", "dora", _publish(LIVE, lambda _: b"\x00"), "dropped: live: malformed"),
    Attack("a false head", "dora", _publish(BLOCKS, _false_head), "dropped: blocks: announced a head"),
)
HONEST_MISTAKES = (
    Attack("a record of an unknown key", "anna", _records(_of_a_stranger), "refused: UNKNOWN_KEY"),
    Attack("an order that has expired", "bela", _records(_expired), "refused: EXPIRED"),
    Attack("an order valid for weeks", "carla", _records(_valid_too_long), "refused: VALID_TOO_LONG"),
    Attack("a reading of tomorrow", "anna", _records(_of_tomorrow, READINGS), "refused: PERIOD_NOT_OVER"),
    Attack("a reading of last week", "bela", _records(_of_last_week, READINGS), "refused: CORRECTION_TOO_LATE"),
    Attack(
        "consensus without a vote", "carla", _write("{chain}/consensus/1", GARBAGE), "consensus stream of no validator"
    ),
    Attack("another microgrid's stream", "carla", _foreign_stream, "stream refused: no common protocol"),
)
