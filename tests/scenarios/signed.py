"""Signed: everything that validators have signed, read from the disks of nodes, and never two things in one place."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from meshnode.store import LedgerReader
from meshnode.store.place import microgrid_directory
from meshnode.store.rows import read_certificate_row, read_log_row
from protocols import block as blocks
from protocols.records import Certificate, read_as

P = TypeVar("P", tuple[bytes, int], tuple[bytes, int, int])


class Signed:
    """Acks, votes and headers by (key id, place); `read` fails on a second thing in one place.

    Attributes:
        count: of signatures compared.
    """

    def __init__(self, chain_id: bytes) -> None:
        self.count = 0
        self._chain_id = chain_id
        self._acks: dict[tuple[bytes, int, int], bytes] = {}
        self._votes: dict[tuple[bytes, int], bytes] = {}
        self._headers: dict[tuple[bytes, int, int], bytes] = {}

    def read(self, directory: Path) -> None:
        """Take in what the ledger in a node's directory shows."""
        with LedgerReader(microgrid_directory(directory, self._chain_id)) as reader:
            standing = reader.standing()
            for row in reader.log_rows(1, standing.last_height + 1):
                block = blocks.read(read_log_row(row).data, self._chain_id)
                head = block.header
                self._same(self._headers, (block.leader, head.term, head.height), block.block_hash)
                if block.election is not None:
                    for vote in block.election.votes:
                        self._same(self._votes, (vote[0], block.election.term), block.election.candidate)
            for row in reader.certificate_rows(1, standing.final_height + 1):
                certificate = read_as(Certificate, read_certificate_row(row)[1])
                for key_id, _ in certificate.signatures:
                    self._same(self._acks, (key_id, certificate.ack_term, certificate.height), certificate.block)

    def newest(self, key_id: bytes) -> tuple[int, int, int]:
        """(highest height acknowledged, newest term voted in, highest height led) of a device key."""
        return (
            max((height for key, _, height in self._acks if key == key_id), default=0),
            max((term for key, term in self._votes if key == key_id), default=0),
            max((height for key, _, height in self._headers if key == key_id), default=0),
        )

    def _same(self, table: dict[P, bytes], place: P, what: bytes) -> None:
        self.count += 1
        assert table.setdefault(place, what) == what, f"two signatures in one place: {place}"
