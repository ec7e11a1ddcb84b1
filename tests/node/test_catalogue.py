"""The catalogue beside the machine: the names of both are the same."""

from __future__ import annotations

import pytest

from meshnode.market.grid_fees import LEVELS_MAX
from meshnode.market.registry import installed_mechanisms
from meshnode.rules import Rules, rules_of
from meshnode.settlement import MODES, Weighing
from meshnode.settlement.sharing_modes import HOUR_S
from protocols.records import DEFAULT_LIMITS
from zencode.binding import encode
from zencode.mechanisms import HOURLY_KEYS, KEYS_WITH_RANKS, KEYS_WITH_SHARES
from zencode.presets import preset
from zencode.reader import read
from zencode.sentences import BY_ID, CONNECTION, GRID_FEE
from zencode.words import SHARING_KEYS

SPAIN = preset("spanish_self_consumption")
FIXED = "share production by fixed allocation shares\nAnd offer unused shares again in proportion to use"


def test_every_national_key_that_a_tariff_takes_has_a_name_in_bindings() -> None:
    # Shares of each source cannot be said in a binding, nor set in a tariff.
    taken = {name for name, mode in MODES.items() if mode.place and not mode.rule.by_source}
    assert {word.canonical for word in SHARING_KEYS} == taken


def test_a_key_has_in_a_binding_what_it_has_in_the_market() -> None:
    modes = {word.canonical: MODES[word.canonical] for word in SHARING_KEYS}
    assert {name for name, mode in modes.items() if mode.rule.weighing is Weighing.SHARES} == KEYS_WITH_SHARES
    assert {name for name, mode in modes.items() if mode.rule.weighing is Weighing.RANKS} == KEYS_WITH_RANKS
    assert {name for name, mode in modes.items() if mode.period_s == HOUR_S} == HOURLY_KEYS


@pytest.mark.parametrize(
    "key", sorted(word.canonical for word in SHARING_KEYS if word.canonical not in KEYS_WITH_RANKS)
)
def test_sharing_by_a_named_key_is_the_sharing_of_that_name(key: str) -> None:
    assert _rules(SPAIN, FIXED, f"share production by the key '{key}'").period.tariff.sharing == key


@pytest.mark.parametrize(
    ("sentence", "mode"),
    [
        ("share production in equal parts", "equal"),
        ("share production by allocation shares in rounds", "waterfill"),
        ("share production in equal parts in rounds", "equal-waterfill"),
    ],
)
def test_ways_to_share_are_those_of_their_names(sentence: str, mode: str) -> None:
    assert _rules(SPAIN, FIXED, sentence).period.tariff.sharing == mode


def test_pay_as_bid_is_the_mechanism_of_that_name() -> None:
    rules = _rules(preset("neighbour_market"), "at one price", "at the price of each bid")
    assert rules.period.mechanism is not None and rules.period.mechanism.name == "pay-as-bid"


@pytest.mark.parametrize(
    ("sentence", "mode"),
    [
        ("share production by rank", "priority"),
        ("share production by the key 'Luxembourg priority'", "lu-priority"),
    ],
)
def test_ways_to_share_by_rank(sentence: str, mode: str) -> None:
    ranked = SPAIN.replace("And there is a role", "And 'piso 1A' has rank 1 in sharing\nAnd there is a role")
    assert _rules(ranked, FIXED, sentence).period.tariff.sharing == mode


def _rules(text: str, old: str, new: str) -> Rules:
    assert old in text
    return rules_of(encode(read(text.replace(old, new))), DEFAULT_LIMITS, installed_mechanisms())


def test_a_binding_has_as_many_levels_of_the_grid_as_the_market() -> None:
    fee, connection = BY_ID[GRID_FEE].slots[0], BY_ID[CONNECTION].slots[2]
    assert fee.bounds == (0, LEVELS_MAX - 1)
    assert connection.bounds == (1, LEVELS_MAX - 1)
