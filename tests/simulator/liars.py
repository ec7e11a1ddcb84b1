"""Liars: nodes with valid keys of their own that send what no honest node would.

A liar runs the real validator and lies on top of it: parcels that leave it are held
back, exchanged or added to, and it signs whatever it likes with its one key. The strongest
lie needs no invention: two nodes with one key, each of which some neighbours take for
the only one ("Twins", Bano and others, OPODIS 2021). They elect, acknowledge and certify
twice, all by the rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import TYPE_CHECKING

import msgspec

from meshnode.network.ballots import row_of
from protocols import block as blocks
from protocols import cose
from protocols.block import Block, BlockError
from protocols.frames import MAX_FRAME_BYTES
from protocols.parcel import Parcel, RaftMessage
from protocols.raft import MessageKind
from protocols.records import Ack, Certificate, Tip, Vote, to_payload

if TYPE_CHECKING:
    from tests.simulator.node import Node
    from tests.simulator.world import World

TWIN = "'"
# Parcels of its own and of others that a liar keeps to send them again.
KEPT = 200
SCHEME_MS = 4_000

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
        self._deceived: frozenset[int] = frozenset()
        self._others: dict[bytes, bytes] = {}
        self._encoded: dict[bytes, bytes] = {}
        self._heard_acks: dict[Ack, dict[bytes, bytes]] = {}
        self._certificate: Certificate | None = None

    # --- what leaves the node

    def outgoing(self, to: int, parcel: Parcel) -> Iterator[Sent]:
        """What is sent instead of an honest parcel."""
        self._kept.append(parcel)
        kind = 0 if parcel.message is None else parcel.message.kind
        if (to, kind) in self._withheld:
            self._count("withheld")
            return
        if "two blocks" in self._lies and to in self._deceived and parcel.message is not None:
            parcel = self._other_history(parcel)
        yield to, parcel

    def heard(self, sender: int, parcel: Parcel) -> Iterator[Sent]:
        """What is sent because of a parcel that came in."""
        message = parcel.message
        if message is None:
            return
        self._kept.append(parcel)
        if "double vote" in self._lies and message.kind == MessageKind.VOTE and parcel.tip is not None:
            yield sender, self._vote(sender, message, parcel.tip)
        if "double ack" in self._lies and message.kind == MessageKind.APP and message.entries:
            yield from self._ack_anything(sender, message)
        if parcel.ack is not None and parcel.ack_signature is not None and "two blocks" in self._lies:
            self._count_ack(parcel.ack, self._world.device_of(sender).key_id, parcel.ack_signature)

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

    def _ack(self, block_hash: bytes, height: int, term: int) -> Ack:
        validators = self._world.village.quorum.config_hash()
        return Ack(validators=validators, ack_term=term, height=height, block=block_hash)

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
        header = msgspec.structs.replace(block.header, parent=parent, time_s=block.header.time_s + 1)
        return blocks.make(header, block.records, block.election, world.village.chain_id, node.key.public, node.signer)

    def _count_ack(self, ack: Ack, key_id: bytes, signature: bytes) -> None:
        """Put a certificate together for the other history."""
        if ack.block not in self._others.values():
            return
        heard = self._heard_acks.setdefault(ack, {})
        heard[key_id] = signature
        if self._world.village.quorum.is_quorum(heard):
            self._certificate = Certificate(
                validators=ack.validators,
                ack_term=ack.ack_term,
                height=ack.height,
                block=ack.block,
                signatures=tuple(sorted(heard.items())),
            )

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
