"""Roll: everyone who could ever vote in a microgrid, and the quorum configurations there were.

Statements name their configuration by its hash, so a roll is asked by hash and not by
height: on a fork one height can have two.
"""

from __future__ import annotations

import msgspec

from protocols.certificate import QuorumConfig
from protocols.records import Genesis


class Roll(msgspec.Struct, frozen=True):
    """What whoever judges statements knows of a microgrid.

    Attributes:
        configs: every quorum configuration that was decided, in this order.
    """

    genesis: Genesis
    chain_id: bytes
    configs: tuple[QuorumConfig, ...]

    @staticmethod
    def of_genesis(genesis: Genesis, chain_id: bytes) -> Roll:
        """The roll of a microgrid whose validators have never changed."""
        return Roll(genesis, chain_id, (QuorumConfig.of_genesis(genesis),))

    def config(self, config_hash: bytes) -> QuorumConfig | None:
        """The configuration with this hash."""
        return next((config for config in self.configs if config.config_hash() == config_hash), None)

    def is_newest(self, config_hash: bytes) -> bool:
        """Whether nothing else was decided after the configuration with this hash, nor between two times of it."""
        hashes = [config.config_hash() for config in self.configs]
        return config_hash in hashes and hashes.index(config_hash) == len(hashes) - 1

    def key_of(self, key_id: bytes) -> bytes | None:
        """The device key of whoever is or was a validator."""
        return next((key for config in self.configs if (key := config.key_of(key_id)) is not None), None)
