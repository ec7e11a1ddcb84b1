"""Observed: what the owner of a validator sees of it, and the licence that it gives."""

from __future__ import annotations

from meshnode.machine import Machine
from meshnode.network.certificates import CertificateBook
from meshnode.network.finalizer import Finalizer
from meshnode.network.intake import Intake
from meshnode.network.licence import Licence
from meshnode.network.locking import Locking
from meshnode.network.pledges import Pledges
from meshnode.store import SignState
from protocols.raft import RawNode, Role
from protocols.records import Certificate


class Observed:
    """The part of `meshnode.network.validator.Validator` that takes no messages and makes no blocks."""

    machine: Machine
    _core: RawNode
    _finalizer: Finalizer
    _intake: Intake
    _certificates: CertificateBook
    _locking: Locking
    _pledges: Pledges

    @property
    def role(self) -> Role:
        """Follower, candidate or leader."""
        return self._core.state

    @property
    def term(self) -> int:
        """Raft's term."""
        return self._core.term

    @property
    def final_height(self) -> int:
        """Height up to which blocks are final and executed here."""
        return self.machine.height

    @property
    def halted(self) -> str | None:
        """Why this node acknowledges and leads no more, and who was found out (by key id); None if it does."""
        return self._finalizer.halted

    @property
    def disputed(self) -> str | None:
        """Both state hashes of the last block that was refused for another state; None if there was none."""
        return self._intake.disputed

    @property
    def newest_certificate(self) -> Certificate | None:
        """The highest certificate that this node has made or verified."""
        return self._certificates.newest

    @property
    def certificates_verified(self) -> int:
        """How many certificates were made or verified here since the start."""
        return self._certificates.verified

    @property
    def last_height(self) -> int:
        """Height of the last block in the log, final or not."""
        return self._core.last_index

    @property
    def licence(self) -> Licence:
        """What this node may sign."""
        return self._pledges.licence

    def permit(self, licence: Licence) -> None:
        """From now on this may be signed. What was promised and is being written is still signed."""
        self._pledges.licence = licence
        if licence.silent:
            # An election that is won without our own vote has a certificate without it, which convicts.
            self._core.abandon_campaign()

    def signed(self) -> tuple[SignState, int]:
        """The newest promises, written or being written, and Raft's term."""
        return self._pledges.state, self._core.term

    @property
    def lock(self) -> Certificate | None:
        """What this node is locked on in byzantine mode."""
        return self._locking.lock

    def tip(self) -> tuple[int, int]:
        """(term, height) of the last block in the log."""
        return self._core.last_term, self._core.last_index
