"""Succession: who agrees on which height, as the certified blocks themselves say.

Computed from nothing but the genesis, the headers and the changes that stand in the blocks, with
rules of its own: what the ledger of a node says, or the product's code behind it, is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocols.certificate import QuorumConfig
from protocols.cose import Envelope, key_id_of
from protocols.records import (
    CHANGE_ADD,
    CHANGE_MODE,
    PHASE_COMMIT,
    QUORUM_BYZANTINE,
    Ack,
    Certificate,
    Genesis,
    QuorumChange,
    to_payload,
)
from tests.simulator.keys import Keyring

# Sizes at which the ledger lets a configuration be; see `QuorumChange` in the specification.
LEAST, MOST = 3, 10
BYZANTINE_SIZES = (4, 7, 10)
# A block may be so much older by its own time than it is: longer than a leader's clock is ever behind.
LATE_S = 300


def needed(config: QuorumConfig) -> int:
    """How many make a quorum: more than half, or so many that two quorums share an honest node and more."""
    voters = len(config.voters)
    if config.mode != QUORUM_BYZANTINE:
        return voters // 2 + 1
    return voters - (voters - 1) // 3


def tolerated(config: QuorumConfig) -> int:
    """How many of its voters may fail."""
    return len(config.voters) - needed(config)


class Succession:
    """See the module text.

    Attributes:
        in_force: the configuration of the height after the last certified block.
        decided: the newest one; another than `in_force` while a change is under way.
        was_majority: whether any height was agreed on by a mere majority.
    """

    def __init__(self, genesis: Genesis, chain_id: bytes, keyring: Keyring) -> None:
        self.in_force = self.decided = QuorumConfig.of_genesis(genesis)
        self.was_majority = self.in_force.mode != QUORUM_BYZANTINE
        self._founded = len(self.in_force.voters)
        self._devices = {entry.device_key for entry in genesis.members}
        self._chain_id = chain_id
        self._keyring = keyring
        self._heights: list[QuorumConfig] = [self.in_force]
        self._decisions: list[tuple[int, QuorumConfig]] = [(0, self.in_force)]
        self._known: dict[bytes, QuorumConfig] = {self.in_force.config_hash(): self.in_force}
        self._epochs = dict(self.in_force.voters)
        self._numbers = {key: number for number, (key, _) in enumerate(self.in_force.voters, 1)}
        self._said: dict[bytes, QuorumChange] = {}
        self._bodies: dict[bytes, tuple[bytes, ...]] = {}
        self._executed: set[bytes] = set()
        self._checked: set[bytes] = set()

    # --- who is who

    @property
    def numbers(self) -> Mapping[bytes, int]:
        """Of all devices that vote or ever did, in the order in which they came."""
        return self._numbers

    @property
    def configs(self) -> tuple[QuorumConfig, ...]:
        """All there were, and the one that is under way, in this order; the same one may come again."""
        return tuple(config for _, config in self._decisions)

    def of(self, config_hash: bytes) -> QuorumConfig | None:
        """The configuration with this hash, if the certified chain has ever decided it."""
        return self._known.get(config_hash)

    def since(self, height: int) -> tuple[QuorumConfig, ...]:
        """Those that agree on the blocks after this one, up to the newest that is decided."""
        return tuple({config.config_hash(): config for config in (*self._heights[height:], self.decided)}.values())

    def may_change(self, now_s: int) -> bool:
        """Whether a change is under way, or one that somebody has said may still be decided."""
        decided = self.decided.config_hash()
        return self.decided != self.in_force or any(
            envelope not in self._executed and change.previous == decided and now_s < change.valid_until_s + LATE_S
            for envelope, change in self._said.items()
        )

    # --- what is heard

    def said(self, envelope: bytes, change: QuorumChange) -> None:
        """Somebody has signed a change."""
        self._said[envelope] = change

    def written(self, block_hash: bytes, encoded: bytes) -> None:
        """A block is on somebody's disk: which changes stand in it, in which order?"""
        if self._said and block_hash not in self._bodies:
            places = {encoded.find(envelope): envelope for envelope in self._said}
            self._bodies[block_hash] = tuple(places[place] for place in sorted(places) if place >= 0)

    def certified(
        self, height: int, state_height: int, block_hash: bytes, validators: bytes, following: bytes
    ) -> str | None:
        """The next block is certified; what is wrong with whom it names, or None.

        Args:
            validators, following: what its header says of itself and of the next height.
        """
        if validators != self.in_force.config_hash():
            return f"block {height} was agreed on by others than those in force"
        for envelope in self._bodies.pop(block_hash, ()):
            if envelope not in self._executed:
                self._executed.add(envelope)
                self._decide(height, self._said[envelope])
        announced = next(config for at, config in reversed(self._decisions) if at <= state_height)
        if following != announced.config_hash():
            return f"block {height} announces others than were decided up to height {state_height}"
        self.in_force = announced
        self._heights.append(announced)
        self.was_majority |= announced.mode != QUORUM_BYZANTINE
        return None

    def fault_of(self, certificate: Certificate) -> str | None:
        """What is wrong with the certificate of a final block, None if those in force at its height have signed it."""
        if certificate.height > len(self._heights):
            return f"height {certificate.height} is not certified"
        payload = to_payload(certificate)
        if payload in self._checked:
            return None
        config = self._heights[certificate.height - 1]
        if certificate.validators != config.config_hash() or certificate.phase != PHASE_COMMIT:
            return f"the certificate of height {certificate.height} names others than those in force"
        keys = {key_id_of(key): key for key, _ in config.voters}
        ack = to_payload(
            Ack(
                validators=certificate.validators,
                ack_term=certificate.ack_term,
                height=certificate.height,
                block=certificate.block,
                phase=certificate.phase,
            )
        )
        signed = {
            key_id
            for key_id, signature in certificate.signatures
            if key_id in keys
            and Envelope(key_id, ack, signature).verify(Ack.KIND, self._chain_id, keys[key_id], self._keyring.verifier)
        }
        if len(signed) < needed(config):
            return f"height {certificate.height}: {len(signed)} of those in force have signed, {needed(config)} must"
        self._checked.add(payload)
        return None

    # --- the rules

    def _decide(self, height: int, change: QuorumChange) -> None:
        """A change takes effect, or the chain has it stand there without any."""
        before = self.decided
        if before != self.in_force or change.previous != before.config_hash():
            return
        voters, mode, epochs = dict(before.voters), before.mode, dict(self._epochs)
        if change.action == CHANGE_MODE:
            mode = before.mode if change.mode is None else change.mode
        elif change.device_key in self._devices and (change.action == CHANGE_ADD) != (change.device_key in voters):
            if change.action == CHANGE_ADD:
                assert change.device_key is not None
                epochs[change.device_key] = epochs.get(change.device_key, -1) + 1
                voters[change.device_key] = epochs[change.device_key]
            else:
                del voters[change.device_key]
        after = QuorumConfig(mode, tuple(sorted(voters.items())))
        allowed = BYZANTINE_SIZES if mode == QUORUM_BYZANTINE else range(min(LEAST, self._founded), MOST + 1)
        if after == before or len(voters) not in allowed:
            return
        self.decided, self._epochs = after, epochs
        for key in voters:
            self._numbers.setdefault(key, len(self._numbers) + 1)
        self._decisions.append((height, after))
        self._known[after.config_hash()] = after
