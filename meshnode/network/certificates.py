"""Certificates: which of them a validator knows, has still to store, and whom it has told."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from meshnode.network.chain import StoredLog
from meshnode.network.work import Outgoing
from protocols.parcel import Parcel
from protocols.raft import Message, MessageKind
from protocols.records import Certificate, read_as


class CertificateBook:
    """The certificates of one validator.

    Attributes:
        newest: the highest one made or verified here; None at the beginning.
        verified: how many were made or verified since the start.
    """

    def __init__(self, log: StoredLog, last_heights: Callable[[int, int], list[int]]) -> None:
        """Args:
        last_heights: (first, last) -> the heights from `first` up to, but not including, `last` after which
            others vote than before.
        """
        self.verified = 0
        self._log = log
        self._last_heights = last_heights
        self._told: dict[int, int] = {}
        self._unwritten: list[Certificate] = []
        below = log.certificate_below(log.final_height())
        self.newest = None if below is None else read_as(Certificate, below[1])

    def add(self, certificate: Certificate) -> None:
        """A certificate that holds; to be written with the next batch."""
        self.verified += 1
        self._unwritten.append(certificate)
        if self.newest is None or certificate.height > self.newest.height:
            self.newest = certificate

    def take_unwritten(self) -> list[Certificate]:
        """Certificates that no batch has carried to the disk yet, in the order they came."""
        unwritten, self._unwritten = self._unwritten, []
        return unwritten

    def has_unwritten(self) -> bool:
        """Whether a batch is due for certificates alone."""
        return bool(self._unwritten)

    def forget(self, number: int) -> None:
        """What validator `number` was told may not have arrived."""
        self._told.pop(number, None)

    def along(self, message: Message) -> tuple[Certificate, ...]:
        """What goes with an append, a heartbeat or the question who would vote for us: the certificate that
        covers most of the entries sent along, and the newest one if the peer may lack it."""
        found: dict[int, Certificate] = {}
        if message.entries:
            first, last = message.entries[0].index, message.entries[-1].index
            # Who does not know of a change of the validators yet can check only what those before it signed,
            # and learns of it from blocks that it may have already.
            changes = self._last_heights(first, last + 1)[:1]
            for height in (*changes, last):
                covering = self._log.certificate_below(height)
                if covering is not None and (height in changes or covering[0] >= first):
                    found[covering[0]] = read_as(Certificate, covering[1])
        newest = self.newest
        if newest is not None and (message.kind != MessageKind.APP or self._told.get(message.to, 0) < newest.height):
            self._told[message.to] = newest.height
            found[newest.height] = newest
        return tuple(found[height] for height in sorted(found))

    def tell(self, certificate: Certificate, numbers: Iterable[int]) -> list[Outgoing]:
        """Parcels for those of these validators that have not heard of a certificate this new."""
        told = []
        for number in numbers:
            if self._told.get(number, 0) < certificate.height:
                self._told[number] = certificate.height
                told.append(Outgoing(number, Parcel(certificates=(certificate,))))
        return told
