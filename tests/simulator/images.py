"""Images: old copies of a node's card that are put back, and what must not come of it.

A copy is made while the node runs, of the database alone or with the sign file beside it; later the
node is switched off, the copy put in place of what is there, and the node started. Its neighbours
hold newer signatures of it: as many neighbours as every quorum without it has one of. So it must
find out, never sign again with this device key, and is counted as lost.

A copy is put back here only where that is sure: of any neighbours whose answers are enough for a licence
(`meshnode.network.licence`), one holds a newer signature. Other copies cannot be told from the card of
today, and this is what the product promises of them:

- What nobody has heard and nobody ever will may be signed otherwise. That is no double signature: only the
  card that was overwritten had the first one, no quorum counted it, and nobody can show both.
- What somebody has heard who does not say so may be signed otherwise, too, and that is a double signature: it
  convicts its owner, and with a majority as quorum two blocks of one height may be certified. It takes that all who
  have heard are away for longer than the patience while enough others answer, that they conceal it, that they
  have been started again since (votes, and acks of blocks that were not certified, are not on their disks),
  or that it is still on its way. Whoever comes back with it ends it: the key never signs again.

`tests/network/test_unheard.py` goes through all cases of who has heard and who answers. To the operator this limit
is told where the README says how to put a copy back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from random import Random
from typing import TYPE_CHECKING

import msgspec

from protocols.records import PHASE_COMMIT, Ack, Header, Vote, to_payload
from protocols.signatures import Signatures
from tests.simulator import disk, slots
from tests.simulator.succession import needed

if TYPE_CHECKING:
    from tests.simulator.node import Node
    from tests.simulator.world import World

# How often somebody looks whether a copy is old enough.
LOOK_MS = 250
# Copies of the last writes; with the newest of them, only the last signature or two are missing.
LAST_WRITES = 3
_SIGNED_FOR_GOOD = (Ack.KIND, Header.KIND, Vote.KIND)


class Kind(Enum):
    """What is copied and put back."""

    DATABASE = "the database alone"
    RUNNING = "database and sign file of a running node"
    STOPPED = "database and sign file of a node that had stopped in order"


class Copy(msgspec.Struct, frozen=True):
    """A card as it was.

    Attributes:
        file: the sign file, None if it was not copied.
        final_height: of its ledger.
        signatures: how many different statements the node had signed by then.
        vote_term, acked, bound: of its newest vote, ack and commit ack.
    """

    database: disk.Image
    file: slots.Image | None
    final_height: int
    signatures: int
    vote_term: int
    acked: tuple[int, int]
    bound: tuple[int, int]


class Images:
    """Makes copies, puts them back, and watches what the nodes do that got one.

    Attributes:
        homes: whose nodes have got an old image, or are about to: none of them counts on to vote.
        restored: those that have got one.
    """

    def __init__(self, world: World) -> None:
        self.homes: set[str] = set()
        self.restored: set[str] = set()
        self._world = world
        self._said: dict[str, dict[bytes, int]] = {}
        self._copies: dict[str, deque[Copy]] = {}
        self._of_each_write: dict[str, Kind] = {}

    @property
    def pending(self) -> bool:
        """Whether somebody has an old card and has not found out. The administrator changes no validators then."""
        return any(node.home in self.restored and node.lost is None for node in self._world.nodes)

    # --- what nodes do

    def signs(self, node: Node, kind: int, payload: bytes) -> None:
        """A node signs a statement."""
        if kind not in _SIGNED_FOR_GOOD or not self._world.honest(node):
            return
        witness = self._world.witness
        said = self._said.setdefault(node.home, {})
        said.setdefault(payload, len(said))
        witness.checked["reserved before it is signed"] += 1
        reserved = node.disk.slots.newest
        if kind != Header.KIND and (reserved is None or not reserved.covers(node.disk.sign_state())):
            witness.broken("reserved before it is signed", f"{node.name}: {node.disk.sign_state()}, {reserved}")
        if node.home in self.restored:
            witness.broken("an old image signs nothing", f"{node.name} has signed a statement of kind {kind}")

    def writes(self, node: Node) -> None:
        """A node begins to write."""
        kind = self._of_each_write.get(node.home)
        if kind is not None:
            self._copies[node.home].append(self._copy(node, kind))

    def retired(self, node: Node, reason: str) -> None:
        """A node signs no more."""
        world = self._world
        world.note("never signs again", node.name, reason)
        if not world.honest(node):
            return
        if node.home not in self.restored:
            world.witness.broken("the card of today is not taken for an old one", f"{node.name}: {reason}")
        world.witness.checked["an old image is found out"] += 1

    # --- the fault

    def begin(self, chance: Random) -> Callable[[], None]:
        """Copy a card now, and put it back as soon as it is old; what is returned gives up waiting for that."""
        victim = self._victim(chance)
        if victim is None:
            return lambda: None
        self.homes.add(victim.home)
        kind, ago = chance.choice(list(Kind)), chance.choice((1, LAST_WRITES, 0))
        copies = self._copies[victim.home] = deque([self._copy(victim, kind)], maxlen=ago or 1)
        if ago:
            self._of_each_write[victim.home] = kind
        first_look_ms = chance.choice((LOOK_MS, 5_000, 30_000))
        self._world.timeline.after(first_look_ms, self._look, victim, kind, copies, Random(chance.random()))

        def give_up() -> None:
            if self._copies.get(victim.home) is copies:
                self._forget(victim)
                self.homes.discard(victim.home)

        return give_up

    def _victim(self, chance: Random) -> Node | None:
        """Somebody honest, who may vote or follow; None if the others would not make a quorum without it."""
        world = self._world
        if len(world.liars | self.homes) >= world.most_liars:
            return None
        gone = world.liars | self.homes
        return chance.choice([node for node in world.nodes if node.home not in gone])

    def _copy(self, node: Node, kind: Kind) -> Copy:
        card = node.disk
        signed = card.sign_state()
        files = {
            Kind.DATABASE: None,
            Kind.RUNNING: card.slots.image(),
            Kind.STOPPED: card.slots.stopped(signed),
        }
        count = len(self._said.get(node.home, ()))
        return Copy(
            database=card.image(),
            file=files[kind],
            final_height=card.final_height(),
            signatures=count,
            vote_term=signed.vote_term,
            acked=(signed.ack_term, signed.ack_height),
            bound=(signed.bound_term, signed.bound_height),
        )

    def _look(self, node: Node, kind: Kind, copies: deque[Copy], chance: Random) -> None:
        world = self._world
        if self._copies.get(node.home) is not copies or node.home in world.liars or node.lost is not None:
            return
        old = next((copy for copy in reversed(copies) if self._is_old(node, copy)), None)
        if old is None:
            world.timeline.after(LOOK_MS, self._look, node, kind, copies, chance)
            return
        self._forget(node)
        world.hold_off(node)
        node.power_off()
        node.disk.restore(old.database)
        if old.file is not None:
            node.disk.slots.restore(old.file)
        # Also where only the process had ended: nobody changes a card while the computer is on.
        node.disk.slots.boots()
        self.restored.add(node.home)
        missing = len(self._said[node.home]) - old.signatures
        world.note("an old image is put back", node.name, f"{kind.value}, {missing} signatures old")
        world.counts[f"old images: {kind.value}"] += 1
        world.timeline.after(chance.choice((1, 5_000)), world.let_on, node)

    def _forget(self, node: Node) -> None:
        """No more copies are made."""
        del self._copies[node.home]
        self._of_each_write.pop(node.home, None)

    def _is_old(self, node: Node, copy: Copy) -> bool:
        """Whether of any neighbours whose answers are enough, one holds a newer signature: whichever validators
        the ledger of the card names, or comes to name before the node has found out."""
        world = self._world
        if world.succession.may_change(world.now_s):
            return False
        holders = {
            other.key.public
            for other in world.nodes
            if other.home != node.home and other.up and world.honest(other) and self._holds_newer(other, node, copy)
        }
        for config in world.succession.since(copy.final_height):
            strangers = {key for key, _ in config.voters} - holders - {node.key.public}
            if len(strangers) >= needed(config) - 1:
                return False
        return True

    def _holds_newer(self, other: Node, node: Node, copy: Copy) -> bool:
        said, heard = self._said.get(node.home, {}), other.heard_of(node.key.key_id)
        return any(said.get(to_payload(word), -1) >= copy.signatures for word in self._rising(heard, copy))

    @staticmethod
    def _rising(heard: Signatures, copy: Copy) -> Iterator[Ack | Vote]:
        """Those words that do not belong below what the copy says: a lower block may be acknowledged late."""
        for ack in (heard.ack, heard.commit):
            if ack is None:
                continue
            place = (ack.ack_term, ack.height)
            if place > copy.acked or (ack.phase == PHASE_COMMIT and place > copy.bound):
                yield ack
        if heard.vote is not None and heard.vote.term > copy.vote_term:
            yield heard.vote
