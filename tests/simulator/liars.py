"""Liars: nodes with valid keys of their own that send what no honest node would.

A liar runs the real validator and lies on top of it: parcels that leave it are held
back, exchanged or added to, and it signs whatever it likes with its one key. The strongest
lie needs no invention: two nodes with one key, each of which some neighbours take for
the only one ("Twins", Bano and others, OPODIS 2021). They elect, acknowledge and certify
twice, all by the rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING

import msgspec

from meshnode.mempool import Mempool
from meshnode.network.ballots import row_of
from meshnode.network.work import FinalBlock, Proposals
from protocols import block as blocks
from protocols import cose
from protocols.block import Block, BlockError, Parent, SignedRecord
from protocols.frames import MAX_FRAME_BYTES
from protocols.parcel import Elected, Parcel, RaftMessage
from protocols.raft import MessageKind
from protocols.raft.messages import MAX_INT
from protocols.records import (
    PHASE_COMMIT,
    PHASE_PREPARE,
    QUORUM_BYZANTINE,
    Ack,
    Certificate,
    Election,
    Header,
    Tip,
    Vote,
    to_payload,
)

if TYPE_CHECKING:
    from tests.simulator.node import Node
    from tests.simulator.world import World

TWIN = "'"
# Parcels of its own and of others that a liar keeps to send them again.
KEPT = 200
SCHEME_MS = 4_000
# Every campaign is three questions that the honest answer, and a liar asks whoever speaks to it: without a pause they
# would be most of what a run does.
CAMPAIGN_PAUSE_MS = 10

Sent = tuple[int, Parcel]
"""The number of the validator that a parcel goes to, and the parcel."""


class Liar:
    """The lies of one node, drawn from the plan.

    Attributes:
        told: how many lies of each kind were sent.
    """

    def __init__(self, world: World, node: Node, lies: Iterable[str]) -> None:
        self._world = world
        self._node = node
        self._lies = frozenset(lies)
        self._chance = Random(f"{world.plan.seed} liar {node.name}")
        self._withheld: frozenset[tuple[int, int]] = frozenset()
        self._kept: deque[Parcel] = deque(maxlen=KEPT)
        self._votes: deque[Parcel] = deque(maxlen=KEPT)
        self._deceived: frozenset[int] = frozenset()
        self._others: dict[bytes, bytes] = {}
        self._encoded: dict[bytes, bytes] = {}
        self._heard_acks: dict[Ack, dict[bytes, bytes]] = {}
        self._certificate: Certificate | None = None
        self._asked: dict[bytes, tuple[int, Tip]] = {}
        self._records: deque[SignedRecord] = deque(maxlen=KEPT)
        self._campaigns_ms = 0

    def proposals(self, pool: Mempool) -> Proposals:
        """Where the liar's blocks get their records from."""
        if "idle leader" in self._lies:
            return _Nothing()
        return _Again(pool, self._records, self._chance, self._count) if "repeated records" in self._lies else pool

    def executed(self, final: list[FinalBlock]) -> None:
        """Blocks became final at the liar's own node."""
        for done in final:
            self._records.extend(done.block.records)

    # --- what leaves the node

    def outgoing(self, to: int, parcel: Parcel) -> Iterator[Sent]:
        """What is sent instead of an honest parcel."""
        self._kept.append(parcel)
        if parcel.vote is not None:
            self._votes.append(parcel)
        kind = 0 if parcel.message is None else parcel.message.kind
        if (to, kind) in self._withheld:
            self._count("withheld")
            return
        if "hidden certificates" in self._lies and to in self._deceived and parcel.certificates:
            self._count("hidden certificates")
            parcel = msgspec.structs.replace(parcel, certificates=())
        if "false locks" in self._lies:
            parcel = self._falsely_locked(parcel)
        if parcel.message is not None:
            if ("two blocks" in self._lies and to in self._deceived) or "bad blocks" in self._lies:
                parcel = self._other_history(parcel)
            if "bad signatures" in self._lies:
                parcel = self._badly_signed(parcel)
        yield to, parcel

    def heard(self, sender: int, parcel: Parcel) -> Iterator[Sent]:
        """What is sent because of a parcel that came in."""
        message = parcel.message
        if parcel.ack is not None and parcel.ack_signature is not None:
            self._count_ack(parcel.ack, self._world.device_of(sender).key_id, parcel.ack_signature)
        if message is None:
            return
        self._kept.append(parcel)
        if message.kind == MessageKind.VOTE and parcel.tip is not None:
            tip = Tip(term=message.log_term, height=message.index, block=parcel.tip)
            self._asked[self._world.device_of(sender).key_id] = (message.term, tip)
        # Not to another liar: two that answer everything with more of it would fill the run with one another.
        if (
            "endless campaigns" in self._lies
            and self._world.honest_home(self._world.home_of(sender))
            and self._world.timeline.now_ms >= self._campaigns_ms
        ):
            self._campaigns_ms = self._world.timeline.now_ms + CAMPAIGN_PAUSE_MS
            yield from ((sender, campaign) for campaign in self._campaigns(message.term))
        if parcel.vote is not None:
            self._votes.append(parcel)
        if "replayed" in self._lies and message.kind == MessageKind.VOTE:
            self._count("replayed")
            yield from ((sender, vote) for vote in self._votes)
        if "double vote" in self._lies and message.kind == MessageKind.VOTE and parcel.tip is not None:
            yield sender, self._vote(sender, message, parcel.tip)
        if "double ack" in self._lies and message.kind == MessageKind.APP and message.entries:
            yield from self._ack_anything(sender, message)

    def scheme(self) -> Iterator[tuple[int, Parcel | bytes]]:
        """What is sent out of the blue, now and then; draws new victims, too."""
        numbers, chance = [number for number in self._world.numbers if number != self._number], self._chance
        if "withheld" in self._lies:
            kinds = (MessageKind.APP, MessageKind.APP_RESP, MessageKind.HEARTBEAT, MessageKind.VOTE_RESP)
            self._withheld = frozenset((n, int(kind)) for n in numbers for kind in kinds if chance.randrange(3) == 0)
        self._deceived = frozenset(number for number in numbers if chance.randrange(2))
        to = chance.choice(numbers)
        if "replayed" in self._lies and self._kept:
            self._count("replayed")
            yield to, chance.choice(self._kept)
        if "forged tip" in self._lies:
            yield from ((number, self._forged_tip()) for number in numbers)
        if "usurped term" in self._lies:
            yield from ((number, parcel) for number in numbers for parcel in self._usurped())
        if "false certificates" in self._lies:
            yield from ((to, parcel) for parcel in self._false_certificates())
        if "giant terms" in self._lies:
            self._count("giant terms")
            kind = chance.choice((MessageKind.HEARTBEAT_RESP, MessageKind.HEARTBEAT, MessageKind.APP_RESP))
            yield to, Parcel(message=RaftMessage(kind=int(kind), term=MAX_INT, reject=True))
        if "garbage" in self._lies:
            self._count("garbage")
            yield to, self._garbage()

    @property
    def _number(self) -> int:
        return self._world.number_of(self._node.home)

    def _count(self, lie: str) -> None:
        self._world.counts[f"lie: {lie}"] += 1

    def _sign(self, kind: int, payload: bytes) -> bytes:
        world, key = self._world, self._node.key
        return cose.sign(kind, world.village.chain_id, payload, key.public, self._node.signer).signature

    # --- votes and tips

    def _vote(self, candidate: int, message: RaftMessage, tip: bytes) -> Parcel:
        """A vote for whoever asks, as a voter that has nothing."""
        self._count("double vote")
        root = self._world.village.root
        vote = Vote(
            term=message.term,
            candidate=self._world.device_of(candidate).key_id,
            candidate_tip=Tip(term=message.log_term, height=message.index, block=tip),
            voter_tip=Tip(term=0, height=0, block=root.block_hash),
        )
        row = row_of(vote, self._node.key.key_id, self._sign(Vote.KIND, to_payload(vote)))
        return Parcel(message=RaftMessage(kind=int(MessageKind.VOTE_RESP), term=message.term), vote=row)

    def _forged_tip(self) -> Parcel:
        self._count("forged tip")
        validator, chance = self._node.validator, self._chance
        term, height = (1, 1) if validator is None else (validator.term, validator.last_height)
        return Parcel(
            message=RaftMessage(
                kind=int(MessageKind.VOTE),
                term=term + 1,
                log_term=term,
                index=height + chance.randrange(1, 50),
                context=chance.choice((b"CampaignTransfer", b"")),
            ),
            tip=chance.randbytes(32),
        )

    # --- acks

    def _ack_anything(self, leader: int, message: RaftMessage) -> Iterator[Sent]:
        """An ack of the newest block, whatever it is and whatever was acknowledged before."""
        _, height, data = message.entries[-1]
        try:
            block = blocks.read(data, self._world.village.chain_id)
        except BlockError:
            return
        self._count("double ack")
        ack = self._ack(block.block_hash, height, message.term)
        answer = RaftMessage(kind=int(MessageKind.APP_RESP), term=message.term, index=height, epoch=message.epoch)
        yield leader, Parcel(message=answer, ack=ack, ack_signature=self._sign(Ack.KIND, to_payload(ack)))
        if ack.phase == PHASE_PREPARE:
            commit = msgspec.structs.replace(ack, phase=PHASE_COMMIT)
            yield leader, Parcel(ack=commit, ack_signature=self._sign(Ack.KIND, to_payload(commit)))

    def _ack(self, block_hash: bytes, height: int, term: int) -> Ack:
        quorum = self._world.succession.in_force
        phase = PHASE_PREPARE if quorum.mode == QUORUM_BYZANTINE else PHASE_COMMIT
        return Ack(validators=quorum.config_hash(), ack_term=term, height=height, block=block_hash, phase=phase)

    # --- locks

    def _falsely_locked(self, parcel: Parcel) -> Parcel:
        """A vote that names a lock nobody has, or none; a request that shows another lock than ours."""
        chance, message = self._chance, parcel.message
        if parcel.vote is not None and message is not None:
            candidate = next((key_id for key_id, (term, _) in self._asked.items() if term == message.term), None)
            if candidate is None:
                return parcel
            self._count("false locks")
            own = Tip.of_row(parcel.vote[1])
            lock = chance.choice((None, Tip(term=message.term - 1, height=own.height + 3, block=chance.randbytes(32))))
            vote = Vote(
                term=message.term,
                candidate=candidate,
                candidate_tip=self._asked[candidate][1],
                voter_tip=own,
                lock=lock,
            )
            row = row_of(vote, self._node.key.key_id, self._sign(Vote.KIND, to_payload(vote)))
            return msgspec.structs.replace(parcel, vote=row)
        if parcel.lock is not None:
            self._count("false locks")
            older = [kept.lock for kept in self._kept if kept.lock is not None]
            forged = msgspec.structs.replace(parcel.lock, ack_term=parcel.lock.ack_term + 1)
            return msgspec.structs.replace(parcel, lock=chance.choice((None, forged, *older[:1])))
        return parcel

    def _campaigns(self, term: int) -> Iterator[Parcel]:
        """Asks for votes in a later term, and says that a later one still has begun."""
        validator = self._node.validator
        if validator is None:
            return
        self._count("endless campaigns")
        term = min(term, MAX_INT - 2)
        tip = validator._chain.tip(validator.last_height)
        asks = RaftMessage(kind=int(MessageKind.VOTE), term=term + 1, log_term=tip.term, index=tip.height)
        yield Parcel(message=asks, tip=tip.block, lock=validator.lock)
        for kind in (MessageKind.VOTE_RESP, MessageKind.HEARTBEAT_RESP):
            yield Parcel(message=RaftMessage(kind=int(kind), term=term + 2, reject=True))

    def _badly_signed(self, parcel: Parcel) -> Parcel:
        """A vote or an ack that spoils what it is put into: no signature, a tip or a block that nobody has."""
        chance = self._chance
        if parcel.vote is not None:
            self._count("bad signatures")
            key_id, tip, lock, _ = parcel.vote
            tip = chance.choice((tip, (tip[0] + 1, tip[1] + 1, tip[2])))
            return msgspec.structs.replace(parcel, vote=(key_id, tip, lock, chance.randbytes(64)))
        if parcel.ack is not None:
            self._count("bad signatures")
            if chance.randrange(2):
                other = msgspec.structs.replace(parcel.ack, block=chance.randbytes(32))
                signature = self._sign(Ack.KIND, to_payload(other))
                return msgspec.structs.replace(parcel, ack=other, ack_signature=signature)
            return msgspec.structs.replace(parcel, ack_signature=chance.randbytes(64))
        return parcel

    # --- power that nobody gave

    def _usurped(self) -> Iterator[Parcel]:
        """The first block of a new term, elected by nobody but the liar."""
        world, node = self._world, self._node
        validator = node.validator
        if validator is None:
            return
        entry = node.disk.entry(validator.final_height) if validator.final_height else None
        parent = Parent.of(blocks.read(entry.data, world.village.chain_id)) if entry else world.village.root
        tip = Tip(term=parent.term, height=parent.height, block=parent.block_hash)
        term, key = validator.term + 1, node.key
        vote = Vote(term=term, candidate=key.key_id, candidate_tip=tip, voter_tip=tip)
        rows = [row_of(vote, key.key_id, self._sign(Vote.KIND, to_payload(vote)))]
        if self._chance.randrange(2):
            others = [world.device_of(number).key_id for number in world.numbers if number != self._number]
            rows += [row_of(vote, other, self._chance.randbytes(64)) for other in others]
        election = Election(term=term, candidate=key.key_id, candidate_tip=tip, votes=tuple(sorted(rows)))
        state_hash = validator.machine.state_hash()
        assert state_hash is not None
        header = Header(
            height=parent.height + 1,
            term=term,
            parent=parent.block_hash,
            tx_root=blocks.tx_root(()),
            tx_count=0,
            state_height=validator.final_height,
            state_hash=state_hash,
            validators=parent.next_validators,
            next_validators=parent.next_validators,
            time_s=parent.time_s,
            election=blocks.election_hash(election),
        )
        block = blocks.make(header, (), election, world.village.chain_id, key.public, node.signer)
        self._count("usurped term")
        entries = ((term, header.height, block.encoded),)
        append = RaftMessage(
            kind=int(MessageKind.APP), term=term, index=parent.height, log_term=parent.term, entries=entries, epoch=1
        )
        elected = Elected(first=block.header_envelope.encode(), election=election)
        yield Parcel(message=append, elected=self._chance.choice((None, elected)))
        yield Parcel(message=RaftMessage(kind=int(MessageKind.HEARTBEAT), term=term, epoch=1))

    def _false_certificates(self) -> Iterator[Parcel]:
        """Certificates of too few, of forged, and of signatures for a later term than the block's."""
        world, node, chance = self._world, self._node, self._chance
        validator = node.validator
        if validator is None:
            return
        self._count("false certificates")
        height, term = validator.last_height + chance.randrange(2), max(1, validator.term)
        height = max(1, height)
        ack = self._ack(chance.randbytes(32), height, term)
        if node.disk.last_index() >= height > 0:
            ack = self._ack(node.disk.entry(height).block_hash, height, node.disk.entry(height).term)
        own = (node.key.key_id, self._sign(Ack.KIND, to_payload(ack)))
        others = [world.device_of(number).key_id for number in world.numbers if number != self._number]
        forged = [(other, chance.randbytes(64)) for other in others]
        for signatures in ([own], sorted([own, *forged])):
            yield Parcel(certificates=(_certificate(ack, dict(signatures)),))
        for heard, found in self._heard_acks.items():
            # Signed in a later term than the block's, they prove nothing; in its own term they are genuine.
            if heard.height > validator.final_height and world.succession.in_force.is_quorum(found):
                yield Parcel(certificates=(_certificate(heard, found),))

    # --- two histories

    def _other_history(self, parcel: Parcel) -> Parcel:
        """The same append with other blocks of ours, and the certificate of theirs if it has come together."""
        message = parcel.message
        assert message is not None
        if message.kind != MessageKind.APP or not message.entries:
            return parcel
        entries = tuple((term, index, self._exchanged(data)) for term, index, data in message.entries)
        if entries == message.entries:
            return parcel
        self._count("two blocks")
        certificates = () if self._certificate is None else (self._certificate,)
        return msgspec.structs.replace(
            parcel, message=msgspec.structs.replace(message, entries=entries), certificates=certificates
        )

    def _exchanged(self, data: bytes) -> bytes:
        """Another block in place of one of our own, or one that follows another."""
        known = self._encoded.get(data)
        if known is not None:
            return known
        world, node = self._world, self._node
        block = blocks.read(data, world.village.chain_id)
        parent = self._others.get(block.header.parent, block.header.parent)
        if block.leader != node.key.key_id or (block.election is not None and parent == block.header.parent):
            self._encoded[data] = data
            return data
        other = self._other_block(block, parent)
        self._others[block.block_hash] = other.block_hash
        self._encoded[data] = other.encoded
        ack = self._ack(other.block_hash, other.header.height, other.header.term)
        self._count_ack(ack, node.key.key_id, self._sign(Ack.KIND, to_payload(ack)))
        return other.encoded

    def _other_block(self, block: Block, parent: bytes) -> Block:
        world, node = self._world, self._node
        changes: dict[str, object] = {"time_s": block.header.time_s + 1}
        if "bad blocks" in self._lies:
            self._count("bad blocks")
            changes = self._chance.choice(
                (
                    {"state_hash": self._chance.randbytes(32)},
                    {"time_s": block.header.time_s - 100},
                    {"parent": self._chance.randbytes(32)},
                )
            )
        header = msgspec.structs.replace(block.header, **({"parent": parent} | changes))
        return blocks.make(header, block.records, block.election, world.village.chain_id, node.key.public, node.signer)

    def _count_ack(self, ack: Ack, key_id: bytes, signature: bytes) -> None:
        """Put a certificate together for the other history."""
        heard = self._heard_acks.setdefault(ack, {})
        heard[key_id] = signature
        if len(self._heard_acks) > KEPT:
            del self._heard_acks[next(iter(self._heard_acks))]
        if ack.block in self._others.values() and self._world.succession.in_force.is_quorum(heard):
            self._certificate = _certificate(ack, heard)
            commit = msgspec.structs.replace(ack, phase=PHASE_COMMIT)
            if ack.phase == PHASE_PREPARE and self._node.key.key_id not in self._heard_acks.get(commit, {}):
                self._count_ack(commit, self._node.key.key_id, self._sign(Ack.KIND, to_payload(commit)))

    # --- bytes

    def _garbage(self) -> bytes:
        chance = self._chance
        tricks: tuple[Callable[[], bytes], ...] = (
            lambda: chance.randbytes(chance.randrange(1, 300)),
            lambda: bytes(MAX_FRAME_BYTES + 1),
            lambda: b"\x9f" * 400,
            self._bent,
            self._bent,
        )
        return chance.choice(tricks)()

    def _bent(self) -> bytes:
        """A real parcel with a few bytes exchanged, or cut short."""
        data = bytearray(to_payload(self._chance.choice(self._kept)) if self._kept else b"\xa0")
        for _ in range(self._chance.randrange(1, 4)):
            data[self._chance.randrange(len(data))] = self._chance.randrange(256)
        return bytes(data[: self._chance.choice((len(data), self._chance.randrange(len(data)) + 1))])


class _Nothing:
    """A mempool of a leader that finds nothing worth a block."""

    def select(self, time_s: int, max_bytes: int, max_records: int, exclude: frozenset[bytes]) -> list[SignedRecord]:
        """No record at all."""
        return []


class _Again:
    """A mempool that offers records again that stand on the ledger already."""

    def __init__(
        self, pool: Mempool, old: Sequence[SignedRecord], chance: Random, count: Callable[[str], None]
    ) -> None:
        self._pool, self._old, self._chance, self._count = pool, old, chance, count

    def select(self, time_s: int, max_bytes: int, max_records: int, exclude: frozenset[bytes]) -> list[SignedRecord]:
        """What the mempool has, and one record more."""
        chosen = self._pool.select(time_s, max_bytes, max_records - 1, exclude)
        if self._old and self._chance.randrange(4) == 0:
            again = self._chance.choice(self._old)
            if again.record_id not in {signed.record_id for signed in chosen}:
                self._count("repeated records")
                chosen.append(again)
        return chosen


def _certificate(ack: Ack, signatures: Mapping[bytes, bytes]) -> Certificate:
    return Certificate(
        validators=ack.validators,
        ack_term=ack.ack_term,
        height=ack.height,
        block=ack.block,
        signatures=tuple(sorted(signatures.items())),
        phase=ack.phase,
    )
