"""Roll: everyone who could ever vote in a microgrid, and the quorum configurations there were.

Statements name their configuration by its hash, so a roll is asked by hash and not by
height: on a fork one height can have two.
"""

from __future__ import annotations

from functools import cached_property

from protocols.certificate import QuorumConfig
from protocols.records import Genesis


class Roll:
    """What whoever judges statements knows of a microgrid.

    Attributes:
        genesis, chain_id: of the microgrid.
        configs: every quorum configuration that was decided, in this order.
    """

    def __init__(self, genesis: Genesis, chain_id: bytes, configs: tuple[QuorumConfig, ...]) -> None:
        self.genesis = genesis
        self.chain_id = chain_id
        self.configs = configs

    @staticmethod
    def of_genesis(genesis: Genesis, chain_id: bytes) -> Roll:
        """The roll of a microgrid whose validators have never changed."""
        return Roll(genesis, chain_id, (QuorumConfig.of_genesis(genesis),))

    def config(self, config_hash: bytes) -> QuorumConfig | None:
        """The configuration with this hash."""
        return self._by_hash.get(config_hash)

    def is_newest(self, config_hash: bytes) -> bool:
        """Whether nothing else was decided after the configuration with this hash, nor between two times of it."""
        found = self.config(config_hash)
        return found is not None and self.configs.index(found) == len(self.configs) - 1

    @cached_property
    def _by_hash(self) -> dict[bytes, QuorumConfig]:
        # Whoever looks for lies in a long history asks for every block and every vote.
        return {config.config_hash(): config for config in self.configs}

    def key_of(self, key_id: bytes) -> bytes | None:
        """The device key of whoever is or was a validator."""
        return next((key for config in self.configs if (key := config.key_of(key_id)) is not None), None)
