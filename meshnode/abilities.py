"""Abilities: which bindings this node could carry out - its version of the catalogue, and its mechanisms.

For developers: `MESHNODE_CATALOGUE=1` makes the node one of an older catalogue, and
`MESHNODE_WITHOUT=pay-as-clear,falling-auction` one without these mechanisms. It then declares no more than that on the
ledger, and stops where an older node would; so what happens in a community whose nodes differ can be tried out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from meshnode.config import ConfigError
from meshnode.market import Mechanisms
from meshnode.plugins import install
from zencode.sentences import CATALOGUE_VERSION

log = logging.getLogger(__name__)

CATALOGUE_VARIABLE = "MESHNODE_CATALOGUE"
WITHOUT_VARIABLE = "MESHNODE_WITHOUT"


class Abilities(msgspec.Struct, frozen=True):
    """What a node has. catalogue: the newest version of sentences that it knows."""

    catalogue: int
    mechanisms: Mechanisms


def abilities(environment: Mapping[str, str]) -> Abilities:
    """What this node has, less what the environment takes from it.

    Raises:
        ConfigError: the environment names what there is not.
        MechanismError, PackageError: something that is installed cannot be used.
    """
    mechanisms = install()
    catalogue = _catalogue(environment.get(CATALOGUE_VARIABLE, str(CATALOGUE_VERSION)))
    absent = frozenset(filter(None, environment.get(WITHOUT_VARIABLE, "").split(",")))
    names = {name for name, _ in mechanisms.supported()}
    if not absent <= names:
        raise ConfigError(
            f"{WITHOUT_VARIABLE}: {', '.join(sorted(absent - names))} is not installed\n"
            f"    name some of: {', '.join(sorted(names))}"
        )
    if catalogue < CATALOGUE_VERSION or absent:
        log.warning(
            "for developers: this node takes part as an older one, with catalogue version %d%s",
            catalogue,
            f" and without {', '.join(sorted(absent))}" if absent else "",
        )
        mechanisms = mechanisms.without(absent)
    return Abilities(catalogue, mechanisms)


def _catalogue(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= CATALOGUE_VERSION):
        raise ConfigError(
            f"{CATALOGUE_VARIABLE}: {text!r} is no version of the catalogue\n"
            f"    write a number from 1 to {CATALOGUE_VERSION}, or leave it out"
        )
    return int(text)
