"""Mending: what a disk has lost of the final blocks, and how it is filled again.

What is left stays where it is: rows after a lost one are good, and other nodes may have lost
theirs elsewhere. Until all is there again the log seems to end before the first gap, and
a node takes final blocks from its neighbours from there on, as one that never voted. A block that
comes in the place of a lost one must be the one that the next block names as its
parent; the others must be the very ones that are here.
"""

from __future__ import annotations

import msgspec

from meshnode.store.database import Changes, records_of
from meshnode.store.reader import LedgerReader
from meshnode.store.rows import Batch, DamagedRow, Entry, HardState, Standing
from meshnode.store.survey import Survey
from protocols import block as blocks
from protocols.block import BlockError


class Mending(msgspec.Struct, frozen=True):
    """What is still to be filled.

    Attributes:
        lost: final heights without a good row, or without a certificate that proves them; ascending.
        seen_to: where the log seems to end while there are any.
    """

    lost: tuple[int, ...] = ()
    seen_to: int = 0

    @staticmethod
    def of(survey: Survey, final: int) -> Mending:
        """What a survey has found."""
        lost = {height for height in survey.lost if height <= final}
        if survey.proven < final and any(table == "certificate" for table, _, _ in survey.spoilt):
            # Nothing here proves the newest final blocks any more: a neighbour's certificate will.
            lost.add(final)
        return Mending(tuple(sorted(lost)), min(lost) - 1) if lost else Mending()

    def seen(self, height: int) -> int:
        """A height as it seems while something is lost."""
        return min(height, self.seen_to) if self.lost else height

    def after(self, filled: int) -> Mending:
        """What is left to be filled when all up to this height, and its certificate, is on disk."""
        lost = tuple(height for height in self.lost if height > filled)
        return Mending(lost, filled) if lost else Mending()

    def fill(self, batch: Batch, standing: Standing, reader: LedgerReader, chain_id: bytes) -> Changes | str:
        """The changes that final blocks make here, or why they do not fit.

        Args:
            batch: final blocks from `seen_to` + 1 on, the last of them certified.
        """
        new: list[Entry] = []
        cut_above: int | None = None
        for entry in batch.entries:
            stored = _good(reader, entry.index) if cut_above is None else None
            if stored == entry:
                continue
            if stored is not None and entry.index <= standing.final_height:
                return (
                    f"block {entry.block_hash.hex()} would replace {stored.block_hash.hex()} at height {entry.index}, "
                    "which is final; two certified histories are a fork"
                )
            if entry.index <= standing.final_height and not _fits(entry, _good(reader, entry.index + 1), chain_id):
                return f"block {entry.index} is not the one that the block after it names"
            if stored is not None:
                # A block that was not certified has lost against one that is.
                cut_above = entry.index - 1
            new.append(entry)
        last = batch.entries[-1].index
        final = max(standing.final_height, last)
        try:
            records = [row for entry in batch.entries for row in records_of(entry, chain_id)]
        except BlockError as error:
            return f"a block cannot become final: {error}"
        return Changes(
            cut_above=cut_above,
            entries=tuple(new),
            certificates=batch.certificates,
            elections=batch.elections,
            records=records,
            standing=msgspec.structs.replace(
                standing,
                hard_state=_later(standing.hard_state, batch.hard_state, final),
                final_height=final,
                last_height=max(last, standing.last_height if cut_above is None else cut_above),
            ),
        )


def _good(reader: LedgerReader, height: int) -> Entry | None:
    """The entry that stands at a height, if it is as it was written."""
    try:
        return reader.entry(height)
    except DamagedRow:
        return None


def _fits(entry: Entry, after: Entry | None, chain_id: bytes) -> bool:
    return after is None or blocks.read(after.data, chain_id).header.parent == entry.block_hash


def _later(ours: HardState, theirs: HardState | None, final: int) -> HardState:
    """A learner's terms do not make ours forgotten: a vote belongs to the term it was given in."""
    if theirs is not None and theirs.term > ours.term:
        return HardState(theirs.term, 0, final)
    return HardState(ours.term, ours.vote, max(ours.commit, final))
