"""A day of 17 real homes under each mechanism and each way of sharing: everything adds up."""

import pytest

from meshnode.market.registry import BUILTIN, installed_mechanisms
from meshnode.settlement import MODES
from meshnode.settlement.sharing_modes import HOUR_S
from tests.data import ABSENT, data_folder
from tests.market import homes

FOLDER = data_folder()
pytestmark = pytest.mark.skipif(FOLDER is None or not (FOLDER / homes.SERIES).exists(), reason=ABSENT)


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_a_day_of_orders_adds_up(name: str) -> None:
    mechanism = installed_mechanisms().get(name, 1)
    alone = homes.row_of_mechanism(mechanism, None)
    shared = homes.row_of_mechanism(mechanism, "mid-market-rate")
    for row in (alone, shared):
        row.check()
    # The day is a sunny one: homes did trade, and the community still needed the grid at night.
    assert alone.traded_wh == shared.traded_wh > 10_000
    assert shared.grid_wh < alone.grid_wh and shared.to_grid_u < alone.to_grid_u
    assert shared.to_grid_u > 0


@pytest.mark.parametrize("name", MODES)
def test_a_day_of_sharing_adds_up(name: str) -> None:
    row = homes.row_of_mode(MODES[name])
    row.check()
    assert row.neighbours_wh > 10_000 and row.grid_wh > 0


def test_the_table_has_a_row_for_each_and_names_that_mean_one_rule_agree() -> None:
    found = {row.name: row for row in homes.rows()}
    assert len(found) == 1 + 2 * len(installed_mechanisms().supported()) + len(MODES)
    assert found["grid only"].neighbours_wh == 0
    assert found["at-dynamic"].neighbours_wh == found["fr-default-dynamic"].neighbours_wh
    # Sun of one quarter of an hour is of no use in the next; netted over the hour more of it is.
    most_wh = max(found[mode.name].neighbours_wh for mode in MODES.values() if mode.period_s != HOUR_S)
    assert most_wh < found["it-cer"].neighbours_wh
    assert found["pro-rata"].neighbours_wh == found["priority"].neighbours_wh == most_wh
    assert found["at-static"].neighbours_wh < found["be-hybrid"].neighbours_wh == most_wh
    text = homes.table(found.values())
    assert len(text.splitlines()) == 1 + len(found)
