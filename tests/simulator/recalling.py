"""Recalling: how a node that starts asks the others what it has signed, in virtual time.

Does what `meshnode.network.recall` and `meshnode.duty` do with trio: asks whoever has not
answered, again and again, and hands the answers to the product's own `Recollection`, which
decides. Question and answer travel like parcels and get lost like them.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from meshnode.machine import Machine
from meshnode.network.licence import PATIENCE_TIMEOUTS, Licence, Retired
from meshnode.network.recollection import Recollection
from meshnode.store import SignState
from protocols import signatures
from protocols.records import to_payload
from protocols.signatures import Signatures

if TYPE_CHECKING:
    from tests.simulator.node import Node
    from tests.simulator.world import World

# The product asks whoever is connected twice a second; here every question costs two events.
ASK_EVERY_MS = 1000


class Recalling:
    """One start of one node, which may vote now and follow later, or the other way round.

    As in the product, it outlives that change: what a node may sign was asked with what its two places
    said when it started, and the ledger that names the validators stays the same.

    Attributes:
        over: the node has ended since.
    """

    def __init__(self, world: World, node: Node, machine: Machine, election_ticks: int) -> None:
        self.over = False
        self._world = world
        self._node = node
        self._patience = PATIENCE_TIMEOUTS * election_ticks
        disk = node.disk
        self._recollection = Recollection(
            disk.slots.places(disk.sign_state()),
            disk.hard_state().term,
            node.key.public,
            lambda: machine.quorum,
            machine.chain_id,
            world.keyring.verifier,
            election_ticks,
        )

    @property
    def decision(self) -> Licence | Retired:
        """What counts now."""
        return self._recollection.decision

    @property
    def licence(self) -> Licence:
        """What a validator may sign for now."""
        decision = self.decision
        assert isinstance(decision, Licence), "who never signs again has ended"
        return decision

    def begin(self, connected_ms: int, tick_ms: int) -> None:
        """The node has started: it is connected after so long, and its ticks are this long."""
        timeline = self._world.timeline
        timeline.after(connected_ms, self._ask)
        timeline.after(self._patience * tick_ms, self._waited)

    def _waited(self) -> None:
        """All ticks of the patience have passed; before the last of them none changes anything."""
        if self.over or self._recollection.decided:
            return
        for _ in range(self._patience):
            self._act(self._recollection.tick())

    def _ask(self) -> None:
        """Ask whoever has not answered, from now on, until there is nothing more to ask."""
        recollection, node, world = self._recollection, self._node, self._world
        if self.over or not recollection.asks:
            return
        world.timeline.after(ASK_EVERY_MS, self._ask)
        for other in world.nodes:
            if other.home != node.home and recollection.wants(other.key.public):
                world.network.send(node.home, other.home, self._asked, other)

    def _asked(self, other: Node) -> None:
        """The question arrives."""
        answer = answer_of(other, self._recollection.key_id, self._world)
        if answer is not None:
            self._world.network.send(other.home, self._node.home, self._answered, other, to_payload(answer))

    def _answered(self, other: Node, payload: bytes) -> None:
        """The answer arrives."""
        if self.over or not self._recollection.wants(other.key.public):
            return
        fault, decision = self._recollection.take(other.key.public, signatures.read_answer(payload), self._signed())
        if fault is not None:
            self._world.drop(self._node, other.home, fault)
        self._act(decision)

    def _signed(self) -> tuple[SignState, int] | None:
        """What has been signed by now, and Raft's term; None before anything may be."""
        node = self._node
        if not self._recollection.decided:
            return None
        if node.validator is not None:
            return node.validator.signed()
        return node.disk.sign_state(), node.disk.hard_state().term

    def _act(self, decision: Licence | Retired | None) -> None:
        if decision is not None:
            self._node.permit(decision)


def answer_of(node: Node, key_id: bytes, world: World) -> Signatures | None:
    """What a node says that it holds; None if it says nothing."""
    if not node.up:
        return None
    honest = node.heard_of(key_id)
    if node.liar is None:
        return honest
    # What a liar can do is hold back: it has no signatures but those that were made.
    kept_back = Signatures(term=honest.term, tip_term=honest.tip_term, tip_height=honest.tip_height)
    chance = Random(f"{world.plan.seed} answer {node.name} {world.timeline.now_ms}")
    return chance.choice((honest, kept_back, None))
