"""Reference books: other people's order books trade as ours does, on the same seeded load."""

from pathlib import Path

import pytest

from tests.market.load import CANCELS_PERCENT, OPERATIONS, operations, run
from tests.market.reference_books import LIBRARIES, CannotInstall, compare, table


@pytest.mark.nightly
def test_trade_lists_are_those_of_other_peoples_books(tmp_path: Path) -> None:
    """Prints the speeds side by side (pytest -rP shows them)."""
    try:
        found = compare(tmp_path, seed=1)
    except CannotInstall as error:
        pytest.skip(f"the reference books cannot be installed: {error}")
    print(table(found, OPERATIONS))
    deals = found.pop("meshnode")[0]
    assert set(found) == set(LIBRARIES)
    assert len(deals) > OPERATIONS // 10
    for library, (others, _) in found.items():
        assert others == deals, library


def test_the_load_is_what_it_says() -> None:
    load = operations(1)
    assert len(load) == OPERATIONS == 20_000
    assert sum(len(one) == 2 for one in load) == OPERATIONS * CANCELS_PERCENT // 100
    deals, _, book = run(load)
    assert len(deals) > OPERATIONS // 10
    assert book.executable_cross() is None
    # Cancellations count: many orders are neither traded nor there any more.
    placed = {one[1]: one[3] for one in load if len(one) == 5}
    traded = dict.fromkeys(placed, 0)
    for incoming, resting, _, energy_wh in deals:
        traded[incoming] += energy_wh
        traded[resting] += energy_wh
    gone = [number for number in placed if traded[number] < placed[number] and number.to_bytes(32, "big") not in book]
    assert len(gone) > OPERATIONS // 20
