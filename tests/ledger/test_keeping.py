"""Keeping: whose energy a storage moved after a correction - nothing is moved again, and every Wh stays somebody's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshnode.settlement import keeping
from meshnode.settlement.keeping import MAX_CORRECTED, Parts

accounts = st.integers(0, 99).map(lambda number: number.to_bytes(16, "big"))
energies = st.integers(0, 1_000)
parts = st.dictionaries(accounts, st.tuples(energies, energies), max_size=80)
KEEPER = b"keeper".ljust(16, b"\0")


def sums(found: Parts) -> tuple[int, int]:
    return sum(part[0] for part in found.values()), sum(part[1] for part in found.values())


@given(planned=parts, did=st.tuples(st.integers(0, 90_000), st.integers(0, 90_000)))
def test_what_was_moved_is_divided_whole(planned: Parts, did: tuple[int, int]) -> None:
    found = keeping.divided(planned, did, KEEPER)
    assert sums(found) == did
    for account, part in found.items():
        if account != KEEPER:
            assert 0 <= part[0] <= planned[account][0] and 0 <= part[1] <= planned[account][1]
    most = sums(planned)
    # The keeper answers for no more than what is nobody's.
    assert found.get(KEEPER, (0, 0)) == (max(0, did[0] - most[0]), max(0, did[1] - most[1]))


@given(due=parts, old=parts, new=parts)
def test_what_is_not_reported_yet_changes_and_only_the_rest_is_put_right(due: Parts, old: Parts, new: Parts) -> None:
    """The due of other periods is there too; the period's own two divisions have equal sums."""
    whole = sums(old)
    new = keeping.divided(new, whole, KEEPER)
    left, corrections = keeping.shifted(due, old, new)
    assert all(min(part) >= 0 for part in left.values())
    assert sums(left) == sums(due) and sums(corrections) == (0, 0)
    # What the ledger has in the end is as if it had been reported so at once.
    reported = keeping.add(old, due, -1)
    wanted = keeping.add(keeping.add(reported, new), old, -1)
    assert keeping.add(keeping.add(reported, corrections), left) == keeping.add(wanted, due)
    if keeping.add(due, keeping.add(new, old, -1)) == left:
        assert corrections == {}


@given(old=parts, new=parts)
def test_corrections_go_in_records_that_are_small_enough(old: Parts, new: Parts) -> None:
    _, corrections = keeping.shifted({}, old, keeping.divided(new, sums(old), KEEPER))
    records = 0
    while corrections:
        found = keeping.portion(corrections)
        assert found and len(found) <= MAX_CORRECTED and sums(found) == (0, 0)
        for account, part in found.items():
            for side in (0, 1):
                assert (
                    abs(part[side]) <= abs(corrections[account][side]) and part[side] * corrections[account][side] >= 0
                )
        corrections = keeping.add(corrections, found, -1)
        records += 1
    assert records <= 2 * len(old.keys() | new.keys() | {KEEPER})
