"""Versions: what a node must know to follow a binding."""

from __future__ import annotations

import pytest

from zencode.presets import NAMES, preset
from zencode.reader import read
from zencode.sentences import CATALOGUE_VERSION
from zencode.versions import needs

HEAD = "Rule language 'en'\nRule binding version 1\nScenario 'market': Palm Bay\nGiven the currency is 'EUR'\n"


@pytest.mark.parametrize("name", ("mid_market_village", "neighbour_market", "charging_yard"))
def test_what_was_written_before_is_followed_by_nodes_of_before(name: str) -> None:
    assert needs(read(preset(name))) == 1


def test_one_new_sentence_needs_a_new_node() -> None:
    assert needs(read(HEAD + "When a vote opens\nThen close the vote after 2 weeks\n")) == 2


def test_an_old_action_under_a_new_event_needs_a_new_node() -> None:
    assert needs(read(HEAD + "And there is a role 'admin'\nWhen a vote opens\nThen warn 'admin'\n")) == 2


def test_a_new_word_in_an_old_sentence_needs_a_new_node() -> None:
    charge = "When a settlement period closes\nThen charge a fee of 0.01 EUR/kWh on 'injected energy'\n"
    assert needs(read(HEAD + charge)) == 2
    assert needs(read(HEAD + charge.replace("injected", "traded"))) == 1


def test_no_preset_needs_more_than_this_catalogue_has() -> None:
    assert all(needs(read(preset(name))) <= CATALOGUE_VERSION for name in NAMES)
