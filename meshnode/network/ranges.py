"""Ranges: which final blocks a node serves to whoever asks for what follows a height, with what proves them."""

from __future__ import annotations

from typing import Protocol

from meshnode.network.chain import StoredLog
from protocols import sync
from protocols.records import Certificate, read_as
from protocols.sync import BlocksRequest


class ServedLog(StoredLog, Protocol):
    """What is served from the disk; see `meshnode.store.Store`."""

    def certificate_from(self, height: int) -> tuple[int, bytes] | None: ...


class NoProof(Exception):
    """Blocks are there, but no certificate within as many as a range may have."""


def find(store: ServedLog, request: BlocksRequest, final: int, until: int | None) -> tuple[bytes, Certificate] | None:
    """The blocks of a range, joined, and the certificate that proves the last one; None if there is no such range.

    Args:
        final: height up to which this node serves.
        until: up to where whoever asks can check certificates (`meshnode.ledger.validators.provable_until`).
    Raises:
        NoProof: see there. StoreError: the disk is damaged.
    """
    last_provable = final if until is None else min(final, until)
    first = request.from_height
    if not max(1, store.first_index()) <= first <= last_provable:
        return None
    entries = store.entries(first, last_provable + 1, sync.RANGE_BYTES)
    last = request.to_height or entries[-1].index
    certificate = store.certificate_below(min(last, last_provable))
    if certificate is None or certificate[0] < first:
        # The next one is further away than a usual range.
        certificate = store.certificate_from(first)
        if certificate is None or certificate[0] > last_provable:
            return None
    last = certificate[0]
    if last > entries[-1].index:
        entries = store.entries(first, last + 1, sync.MAX_RANGE_BYTES)
    body = sync.join([entry.data for entry in entries if entry.index <= last])
    if entries[-1].index < last or len(body) > sync.MAX_RANGE_BYTES:
        raise NoProof(f"blocks {first} to {last} have more than {sync.MAX_RANGE_BYTES} bytes")
    return body, read_as(Certificate, certificate[1])
