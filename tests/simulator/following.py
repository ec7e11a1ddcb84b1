"""Following: what a node without a vote does - it asks one neighbour after the other for blocks, and takes them.

Does in virtual time what `meshnode.network.sync.Follower` does with trio, around the same `Learner`;
the range that a neighbour serves is found by the product's code, and travels as one parcel.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from meshnode.ledger import validators
from meshnode.machine import Machine
from meshnode.network import ranges
from meshnode.network.learner import Learner, RangeFault
from meshnode.network.ranges import NoProof
from meshnode.network.sync import MESSAGE_DEADLINE_S, POLL_S, RETRY_S
from meshnode.store import StoreError
from protocols import sync
from protocols.records import Certificate
from protocols.sync import BlocksRequest

if TYPE_CHECKING:
    from tests.simulator.node import Node
    from tests.simulator.seat import Seat
    from tests.simulator.world import World

DEADLINE_MS = int(MESSAGE_DEADLINE_S * 1000)
POLL_MS = int(POLL_S * 1000)
RETRY_MS = int(RETRY_S * 1000)

Range = tuple[list[bytes], Certificate]


class Round:
    """One question that goes to every neighbour in turn, until somebody ends it.

    Attributes:
        over: nobody waits for answers any more.
    """

    def __init__(
        self,
        world: World,
        node: Seat,
        chance: Random,
        first_height: Callable[[], int],
        taken: Callable[[Node, Range], bool],
        ended: Callable[[], None],
    ) -> None:
        """Args:
        first_height: the block to ask for.
        taken: gets an answer and its sender; whether the same one is to be asked again, later (`again`).
        ended: everybody was asked.
        """
        self.over = False
        self._world = world
        self._node = node
        self._first_height = first_height
        self._taken = taken
        self._ended = ended
        self._left = [other for other in world.nodes if other.home != node.home]
        chance.shuffle(self._left)
        self._asked: Node | None = None
        self._question = 0

    def next(self) -> None:
        """Ask the next neighbour that can be reached."""
        network, own = self._world.network, self._node.home
        self._asked = None
        while self._left:
            other = self._left.pop()
            if other.up and network.carries(own, other.home) and network.carries(other.home, own):
                self._asked = other
                self.again()
                return
        self.over = True
        self._ended()

    def again(self) -> None:
        """Ask the same neighbour for what follows."""
        other = self._asked
        assert other is not None, "nobody was asked before"
        self._question += 1
        request = BlocksRequest(from_height=self._first_height())
        self._world.network.send(self._node.home, other.home, _serve, self._world, other, request, self, self._question)
        self._world.timeline.after(DEADLINE_MS, self._give_up, self._question)

    def answer(self, question: int, found: Range | None) -> None:
        """What the neighbour has; None if nothing follows there."""
        if self.over or question != self._question:
            return
        self._question += 1
        asked = self._asked
        assert asked is not None, "an answer comes to a question"
        if found is None:
            self.next()
        else:
            self._node.guarded(lambda: self._take(asked, found))

    def _take(self, asked: Node, found: Range) -> None:
        if not self._taken(asked, found) and not self.over:
            self.next()

    def _give_up(self, question: int) -> None:
        if not self.over and question == self._question:
            self._world.counts["questions without answer"] += 1
            self.next()


def _serve(world: World, server: Node, request: BlocksRequest, asking: Round, question: int) -> None:
    """A neighbour hears the question."""
    if not server.up:
        return
    disk = server.disk
    until = validators.provable_until(server.machine.state, request.from_height - 1)
    try:
        found = ranges.find(disk, request, disk.final_height(), until)
    except (StoreError, LookupError, NoProof):
        # As the product: this neighbour cannot help, another one may.
        world.counts["ranges that cannot be served"] += 1
        found = None
    answer = None
    if found is not None:
        body, certificate = found
        first = request.from_height
        answer = (sync.split(body, certificate.height - first + 1), certificate)
    world.network.send(server.home, asking._node.home, asking.answer, question, answer)


class Following:
    """One life of a learner: until its power fails, or the ledger wants its vote."""

    def __init__(self, world: World, node: Node, machine: Machine, chance: Random) -> None:
        self.learner = Learner(machine, node.disk, world.keyring.verifier)
        self._world = world
        self._node = node
        self._chance = chance
        self._round: Round | None = None
        self._learned = self._waits = False
        self._head = 0
        self._rests = 0

    def begin(self) -> None:
        """Ask around."""
        self._learned = self._waits = False
        learner = self.learner
        asking = Round(
            self._world, self._node, self._chance, lambda: learner.final_height + 1, self._take, self._round_over
        )
        self._round = asking
        asking.next()

    def end(self) -> None:
        """Answers come too late now."""
        if self._round is not None:
            self._round.over = True
        self._rests += 1

    def hear(self, author: Node, certificate: Certificate) -> None:
        """A neighbour announces that there is more."""
        learner = self.learner
        if learner.halted is not None or certificate.height <= max(self._head, learner.final_height):
            return
        try:
            if learner.check_head(certificate):
                self._head = certificate.height
        except RangeFault as error:
            self._world.drop(self._node, author.home, str(error))
            return
        if self._waits:
            self._rested(self._rests)

    def written(self) -> None:
        """The range is on the disk."""
        self.learner.persisted()
        self._learned = True
        self._world.counts["ranges learned"] += 1
        self._node.executed(self.learner.take_final())
        if self._round is not None and not self._round.over:
            self._round.again()

    def _take(self, server: Node, found: Range) -> bool:
        learner = self.learner
        try:
            learner.begin(*found)
        except RangeFault as error:
            self._world.drop(self._node, server.home, str(error))
            return False
        while learner.step():
            pass
        self._world.witness.stops(self._node, learner.halted)
        batch = learner.batch()
        if batch is None:
            self.end()
            return True
        self._node.write(batch)
        return True

    def _round_over(self) -> None:
        if self._node.is_wanted():
            self._node.guarded(self._node.goes_on)
            return
        behind = self._head > self.learner.final_height
        pause = POLL_MS if not behind else 1 if self._learned else RETRY_MS
        self._waits = not behind
        self._world.timeline.after(pause, self._rested, self._rests)

    def _rested(self, rests: int) -> None:
        if rests == self._rests:
            self._rests += 1
            self._node.guarded(self.begin)


def inquiry(world: World, node: Seat, machine: Machine, chance: Random, more: Callable[[], None]) -> Round:
    """A validator asks whether the others have gone on without it, and takes nothing; `more` is called if so."""
    learner = Learner(machine, node.disk, world.keyring.verifier)

    def taken(server: Node, found: Range) -> bool:
        try:
            learner.prove(*found)
        except RangeFault:
            # Meanwhile this node may have got on by itself.
            return False
        asking.over = True
        more()
        return True

    asking = Round(world, node, chance, lambda: learner.final_height + 1, taken, lambda: None)
    world.counts["asked whether the others went on"] += 1
    asking.next()
    return asking
