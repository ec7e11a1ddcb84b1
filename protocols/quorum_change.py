"""Quorum changes: how one step turns a configuration into the next.

Two majorities of configurations that differ in one voter share a node, so one voter at a
time is enough for a single chain; the next change waits until the one before is in force.
A pure function, so that the ledger and whoever holds nothing but proofs compute the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import msgspec

from protocols.certificate import QuorumConfig
from protocols.records import CHANGE_ADD, CHANGE_MODE, QUORUM_BYZANTINE, QuorumChange
from protocols.records.genesis import MAX_VALIDATORS, is_byzantine_size

# One of three may fail. A microgrid founded with one or two validators may stay that small.
MIN_VALIDATORS = 3


class ChangeFault(Enum):
    """Why a change cannot be made."""

    INCOMPLETE = "it names no device, or no mode, or both"
    OTHER_PREVIOUS = "it changes another configuration"
    ALREADY = "it would change nothing"
    NOT_A_VALIDATOR = "the device is no validator"
    TOO_FEW = "too few validators would be left"
    TOO_MANY = "there are as many validators as there may be"
    NOT_BYZANTINE = "byzantine quorums need 4, 7 or 10 validators"


def successor(
    config: QuorumConfig, change: QuorumChange, founded: int, epochs: Mapping[bytes, int]
) -> QuorumConfig | ChangeFault:
    """The configuration after a change, or why there is none.

    Args:
        founded: how many validators the genesis has.
        epochs: the newest session of every device that is a validator or ever was one.
    """
    if change.previous != config.config_hash():
        return ChangeFault.OTHER_PREVIOUS
    changes_mode = change.action == CHANGE_MODE
    if (change.mode is None) == changes_mode or (change.device_key is None) != changes_mode:
        return ChangeFault.INCOMPLETE
    if changes_mode:
        assert change.mode is not None
        return _sized(msgspec.structs.replace(config, mode=change.mode), config, founded)
    key = change.device_key
    assert key is not None
    if change.action == CHANGE_ADD:
        if config.has(key):
            return ChangeFault.ALREADY
        # What was signed in an earlier session does not count in this one.
        epoch = epochs[key] + 1 if key in epochs else 0
        voters = tuple(sorted((*config.voters, (key, epoch))))
    else:
        voters = tuple(voter for voter in config.voters if voter[0] != key)
        if voters == config.voters:
            return ChangeFault.NOT_A_VALIDATOR
    return _sized(msgspec.structs.replace(config, voters=voters), config, founded)


def _sized(config: QuorumConfig, before: QuorumConfig, founded: int) -> QuorumConfig | ChangeFault:
    size = len(config.voters)
    if config == before:
        return ChangeFault.ALREADY
    if size < min(MIN_VALIDATORS, founded):
        return ChangeFault.TOO_FEW
    if size > MAX_VALIDATORS:
        return ChangeFault.TOO_MANY
    if config.mode == QUORUM_BYZANTINE and not is_byzantine_size(size):
        return ChangeFault.NOT_BYZANTINE
    return config
