"""Correction: the postings that lead from one settlement of a period to a better one.

A late or corrected reading is settled as if it had been there from the start,
and the difference is posted. What was posted before is never edited.
"""

from collections import Counter

import msgspec

from meshnode.settlement.period import Settlement, SettlementError
from meshnode.settlement.posting import Entry, Posting


def correct(old: Settlement, new: Settlement) -> tuple[Posting, ...]:
    """Post `new - old`.

    A posting that only `old` has is taken back whole (legs swapped), one that only `new` has is
    posted; those that both have are left alone. So every line still shows energy,
    price and amount that belong together, which a bare difference of two amounts would not.
    After the correction each balance equals that of a run that had the right reading
    from the start.

    Args:
        old: the settlement in force, the result of `settle` (not of a correction).
        new: the same period settled again.
    Returns:
        Reversals in the order of `old`, then replacements in the order of `new`; empty
        when both post the same.
    Raises:
        SettlementError: two periods, or two assets.
    """
    if (old.period, old.asset) != (new.period, new.asset):
        raise SettlementError(
            f"correction of period {old.period} in asset {old.asset.hex()} by a settlement of "
            f"period {new.period} in asset {new.asset.hex()}: expected the same period and asset"
        )
    reversals = (
        msgspec.structs.replace(posting, debit=posting.credit, credit=posting.debit, entry=Entry.REVERSAL)
        for posting in _only_in_first(old.postings, new.postings)
    )
    replacements = (
        msgspec.structs.replace(posting, entry=Entry.REPLACEMENT)
        for posting in _only_in_first(new.postings, old.postings)
    )
    return (*reversals, *replacements)


def _only_in_first(first: tuple[Posting, ...], second: tuple[Posting, ...]) -> list[Posting]:
    """The postings of `first` that `second` lacks, in order, counting those that occur more than once."""
    matched = Counter(second)
    rest: list[Posting] = []
    for posting in first:
        if matched[posting]:
            matched[posting] -= 1
        else:
            rest.append(posting)
    return rest
