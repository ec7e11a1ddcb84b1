"""Seat: what a node is at the moment - off, a validator or a learner - and when that changes.

The part of `tests.simulator.node.Node` that does what `meshnode.network.participation` does with trio.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from meshnode.ledger import validators
from meshnode.machine import Machine
from meshnode.mempool import Mempool
from meshnode.network.absence import Absence, Advice
from meshnode.network.learner import Learner
from meshnode.network.validator import Validator
from protocols.records import Certificate, read_as
from protocols.signatures import Signatures
from tests.protocols.keys import KeyPair
from tests.simulator.disk import Disk
from tests.simulator.following import Following, Round, inquiry
from tests.simulator.timeline import Timeline

if TYPE_CHECKING:
    from tests.simulator.node import Node
    from tests.simulator.world import World


class Seat:
    """See the module text.

    Attributes:
        validator: None while the node is off or follows; following: None while it is off or votes.
        pool: its mempool, None while it is off.
    """

    name: str
    home: str
    key: KeyPair
    disk: Disk
    lost: str | None
    _tick_ms: int
    _world: World
    _timeline: Timeline
    _chance: Random

    def __init__(self) -> None:
        self.validator: Validator | None = None
        self.following: Following | None = None
        self.pool: Mempool | None = None
        self._absence = Absence(1)
        self._inquiry: Round | None = None
        # Nothing is begun any more; and what was left is being written.
        self._leaving = self._closing = False
        self._announced = 0

    def guarded(self, action: Callable[[], object]) -> None:
        """Do something that reads or writes the disk."""
        raise NotImplementedError

    def _begin(self, machine: Machine, pool: Mempool, *, may_vote: bool = True) -> None:
        raise NotImplementedError

    def _work(self) -> None:
        raise NotImplementedError

    @property
    def up(self) -> bool:
        """Whether the node is running."""
        return self.validator is not None or self.following is not None

    @property
    def machine(self) -> Machine:
        """The ledger of a running node."""
        return self._signer().machine

    @property
    def halted(self) -> str | None:
        """Why a running node does nothing more, if so."""
        part = self.following.learner if self.following is not None else self.validator
        return None if part is None else part.halted

    @property
    def last_height(self) -> int:
        """Up to where a running node may have blocks that concern it."""
        return self.machine.height if self.validator is None else self.validator.last_height

    def heard_of(self, key_id: bytes) -> Signatures:
        """What a running node holds of a device's signatures."""
        part = self._signer()
        return part.heard.of(key_id, part.term, part.tip(), part.lock)

    def is_wanted(self) -> bool:
        """Whether the ledger, as executed here, has this node vote now or soon."""
        machine = self.machine
        return validators.votes(machine.state, machine.height, self.key.public)

    def standing(self) -> str:
        """How far it is, for whoever reads of a failure."""
        if self.following is not None:
            learner = self.following.learner
            return f"{self.name}: learner, final {learner.final_height}, halted {learner.halted}"
        if self.validator is None:
            return f"{self.name}: off, {self.lost or 'not started'}"
        validator = self.validator
        return (
            f"{self.name}: {validator.role.name} of term {validator.term}, final {validator.final_height}, "
            f"log to {validator.last_height}, halted {validator.halted}, {dict(validator.counters)}"
        )

    def _signer(self) -> Validator | Learner:
        part = self.following.learner if self.following is not None else self.validator
        assert part is not None, f"{self.name} is off"
        return part

    # --- coming and going

    def _sit_down(self, election_ticks: int) -> None:
        self._absence = Absence(election_ticks)
        self._leaving = self._closing = False
        self._announced = self.disk.final_height()

    def goes_on(self) -> None:
        """Turn from learner to validator or back, with the ledger as it is."""
        machine, pool, voted = self.machine, self.pool, self.validator is not None
        assert pool is not None
        self._world.counts["validators that follow" if voted else "learners that vote"] += 1
        self._world.note("follows" if voted else "votes", self.name, f"from height {machine.height}")
        self._world.witness.turns(self)
        before = self._signer()
        self._part()
        self._begin(machine, pool, may_vote=not voted)
        if self.up:
            self._signer().watcher.take_over(before.watcher)

    def _part(self) -> None:
        if self.following is not None:
            self.following.end()
        if self._inquiry is not None:
            self._inquiry.over = True
        self.validator = self.following = self._inquiry = None

    def _heed(self, validator: Validator) -> None:
        """Once a tick: is this node still to vote, and do the others go on with it?"""
        advice = self._absence.advise(validator, self.disk.full)
        if advice is Advice.FOLLOW:
            self._leaving = True
        elif advice is Advice.ASK and (self._inquiry is None or self._inquiry.over):
            self._timeline.after(0, self.guarded, self._inquire)

    def _inquire(self) -> None:
        if self.validator is not None:
            self._inquiry = inquiry(self._world, self, self.validator.machine, self._chance, self._leave)

    def _leave(self) -> None:
        if self.validator is not None:
            self._world.witness.leaves(self, self.validator, self._tick_ms)
        self._leaving = True
        self._work()

    def hear_head(self, author: Node, certificate: Certificate) -> None:
        """A validator announces how far the ledger is."""
        if self.following is not None:
            following = self.following
            self.guarded(lambda: following.hear(author, certificate))

    def _announce(self) -> None:
        if self.disk.final_height() > self._announced:
            found = self.disk.certificate_below(self.disk.final_height())
            if found is not None and found[0] > self._announced:
                self._announced = found[0]
                self._world.announce(self, read_as(Certificate, found[1]))
