"""Disks: what a validator of a test keeps over a power cut, in lists and numbers."""

from __future__ import annotations

from meshnode.store import Batch, Entry, HardState, SignState
from protocols.locks import NOWHERE, place_of
from protocols.records import Certificate, Election, read_as


class Disk:
    """What survives a crash: a log, hard state, sign state and certificates in memory."""

    def __init__(self) -> None:
        self.log: dict[int, Entry] = {}
        self.hard = HardState(0, 0, 0)
        self.sign = SignState(0, b"", 0, 0, b"", 0)
        self.certificates: dict[int, bytes] = {}
        self.elections: dict[bytes, int] = {}
        self.final = 0
        self.locked = b""

    def persist(self, batch: Batch) -> None:
        if batch.entries:
            first = batch.entries[0].index
            assert self.final < first <= self.last_index() + 1, "a final block would be overwritten, or a gap left"
            for index in [known for known in self.log if known >= first]:
                del self.log[index]
            for entry in batch.entries:
                self.log[entry.index] = entry
        if batch.hard_state is not None:
            before = self.hard
            assert batch.hard_state.term >= before.term, "the term went back"
            same = batch.hard_state.term == before.term and before.vote
            assert not same or batch.hard_state.vote == before.vote, "a vote was taken back"
            self.hard = batch.hard_state
        self.sign = batch.sign_state or self.sign
        self.locked = self.locked if batch.lock is None else batch.lock
        if batch.final_height is not None:
            assert batch.final_height <= max(self.log, default=0)
            self.final = max(self.final, batch.final_height)
        for height, data in batch.certificates:
            assert height <= self.final
            assert read_as(Certificate, data).block == self.log[height].block_hash, "certificate of another block"
            self.certificates[height] = data
        for data in batch.elections:
            self.elections[data] = read_as(Election, data).term

    def hard_state(self) -> HardState:
        return self.hard

    def sign_state(self) -> SignState:
        return self.sign

    def first_index(self) -> int:
        return 1

    def last_index(self) -> int:
        return max(self.log, default=0)

    def term(self, index: int) -> int:
        return self.log[index].term if index else 0

    def entry(self, index: int) -> Entry:
        return self.log[index]

    def entries(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        found: list[Entry] = []
        size = 0
        for index in range(low, high):
            size += len(self.log[index].data)
            if found and size > max_bytes:
                break
            found.append(self.log[index])
        return found

    def final_height(self) -> int:
        return self.final

    def lock(self) -> bytes:
        return self.locked

    def elections_after(self, term: int, limit: int) -> list[bytes]:
        return sorted((data for data, held in self.elections.items() if held > term), key=self.elections.__getitem__)[
            :limit
        ]

    def lock_place(self) -> tuple[int, int]:
        """(term, height) that binds whoever has this disk: of its lock, or of what is final in the same mode."""
        lock = place_of(read_as(Certificate, self.locked) if self.locked else None)
        found = self.certificate_below(self.final)
        return max(lock, NOWHERE if found is None else place_of(read_as(Certificate, found[1])))

    def certificate_below(self, height: int) -> tuple[int, bytes] | None:
        known = [place for place in self.certificates if place <= height]
        return (max(known), self.certificates[max(known)]) if known else None
