"""Abilities: what a node has of catalogue and mechanisms, and how a developer makes it an older one."""

from __future__ import annotations

import pytest

from meshnode.abilities import abilities
from meshnode.config import ConfigError
from meshnode.market.registry import installed_mechanisms
from zencode.sentences import CATALOGUE_VERSION


def test_a_node_has_all_that_is_installed() -> None:
    found = abilities({})
    assert (found.catalogue, found.mechanisms.supported()) == (CATALOGUE_VERSION, installed_mechanisms().supported())


def test_a_developer_takes_something_away_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    found = abilities({"MESHNODE_CATALOGUE": "1", "MESHNODE_WITHOUT": "pay-as-clear,falling-auction"})
    names = {name for name, _ in found.mechanisms.supported()}
    assert found.catalogue == 1
    assert names == {name for name, _ in installed_mechanisms().supported()} - {"pay-as-clear", "falling-auction"}
    assert "as an older one, with catalogue version 1 and without falling-auction, pay-as-clear" in caplog.text


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MESHNODE_CATALOGUE": "0"}, "'0' is no version of the catalogue"),
        ({"MESHNODE_CATALOGUE": str(CATALOGUE_VERSION + 1)}, f"write a number from 1 to {CATALOGUE_VERSION}"),
        ({"MESHNODE_CATALOGUE": "two"}, "'two' is no version"),
        ({"MESHNODE_WITHOUT": "barter"}, "barter is not installed"),
    ],
)
def test_what_there_is_not_cannot_be_taken_away(variables: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        abilities(variables)
