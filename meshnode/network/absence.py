"""Absence: when a node that votes stops doing so - the ledger wants no more, or the others went on without it."""

from __future__ import annotations

from enum import Enum

from meshnode.network.validator import Validator

# In election timeouts. After so much silence whoever still votes has elected somebody else;
# while nobody can be elected, asking costs a stream to one peer.
LOST_TIMEOUTS = 5


class Advice(Enum):
    """What the owner of a validator does next."""

    VOTE = "go on as before"
    ASK = "ask whether the others have gone on without it, and follow them if they have"
    FOLLOW = "go on as learner"


class Absence:
    """Asked once a tick; one for each validator.

    Invariant: between two times that it says `ASK` this node has missed another `LOST_TIMEOUTS` elections.
    """

    def __init__(self, election_ticks: int) -> None:
        self._patience = LOST_TIMEOUTS * election_ticks
        self._asked_at = 0

    def advise(self, validator: Validator, is_full: bool) -> Advice:
        """What to do now.

        Args:
            is_full: whether the disk is; nothing could be learned then, as with a validator that is halted.
        """
        if validator.halted is not None or is_full:
            return Advice.VOTE
        if not validator.takes_part:
            return Advice.FOLLOW
        if validator.astray < self._patience:
            self._asked_at = 0
        elif validator.astray >= self._asked_at + self._patience:
            self._asked_at = validator.astray
            return Advice.ASK
        return Advice.VOTE
