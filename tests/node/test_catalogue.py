"""The catalogue beside the machine: the names of both are the same."""

from __future__ import annotations

from meshnode.market.grid_fees import LEVELS_MAX
from meshnode.settlement import MODES
from zencode.sentences import BY_ID, CONNECTION, GRID_FEE
from zencode.words import SHARING_KEYS


def test_every_national_key_that_a_tariff_takes_has_a_name_in_bindings() -> None:
    # Shares of each source cannot be said in a binding, nor set in a tariff.
    taken = {name for name, mode in MODES.items() if mode.place and not mode.rule.by_source}
    assert {word.canonical for word in SHARING_KEYS} == taken


def test_a_binding_has_as_many_levels_of_the_grid_as_the_market() -> None:
    fee, connection = BY_ID[GRID_FEE].slots[0], BY_ID[CONNECTION].slots[2]
    assert fee.bounds == (0, LEVELS_MAX - 1)
    assert connection.bounds == (1, LEVELS_MAX - 1)
