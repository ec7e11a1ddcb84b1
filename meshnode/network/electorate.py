"""Electorate: who votes at which height of a log, under which number, and the core's membership that follows it.

The configuration of a height is what its parent's header announces; which devices stand
behind that hash, the state says. A block whose configuration the state does not know yet
was not judged by its state either: until it is executed this node stands for no election.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from meshnode.ledger import validators
from meshnode.machine import Machine
from meshnode.network.chain import Chain
from protocols.certificate import QuorumConfig, quorum_size
from protocols.raft import RawNode, Role
from protocols.records import QUORUM_BYZANTINE


class _Standing(msgspec.Struct, frozen=True):
    """What the state after one height says of voters.

    Attributes:
        current, decided: the configurations of the next height, and of the next block's announcement.
        takes_part: whether this node is in one of them.
        configs: both, by their hashes.
        numbers: of every device that is, in the order of their keys.
        peers: device key and number of all but this node.
    """

    height: int
    current: QuorumConfig
    decided: QuorumConfig
    configs: dict[bytes, QuorumConfig]
    takes_part: bool
    numbers: dict[bytes, int]
    peers: tuple[tuple[bytes, int], ...]


class Electorate:
    """The voters of one log, as one node sees them.

    Invariant: after `follow`, the core of a node that does not lead counts by the configuration that
    the last block of its log announces; that of a leader changes when such a block is final.

    Attributes:
        number: of this node.
    """

    def __init__(self, machine: Machine, chain: Chain, device_key: bytes) -> None:
        """Args:
        device_key: of this node, which validates or did or is about to.
        """
        self._machine = machine
        self._chain = chain
        self._key = device_key
        self._keys: dict[int, bytes] = {}
        self._stood: _Standing | None = None
        self._followed: tuple[bytes, int, bool, int] | None = None
        self.number = machine.state.seats[device_key].number

    # --- configurations

    def of(self, config_hash: bytes) -> QuorumConfig | None:
        """The configuration of a hash, if it may agree on what is not executed here yet."""
        return self._standing().configs.get(config_hash)

    def at(self, height: int) -> QuorumConfig | None:
        """The configuration of a height above the final one, up to the one after the log's last block."""
        return self.of(self._chain.head(height - 1).next_validators)

    def possible_at(self, height: int) -> tuple[QuorumConfig, ...]:
        """What may be the configuration of a height in somebody's log, as far as it is known here."""
        if self.is_settled(height):
            return (validators.at(self._machine.state, height),)
        standing = self._standing()
        return (standing.current, standing.decided)

    def is_settled(self, height: int) -> bool:
        """Whether the configuration of a height is the same in all logs, as the blocks before it are executed."""
        return height <= self._machine.height + 1

    def votes_at(self, height: int) -> bool:
        """Whether this node votes at a height."""
        config = self.at(height)
        return config is not None and config.has(self._key)

    def is_byzantine_at(self, height: int) -> bool:
        """Whether the height's block becomes final in two phases; False where that is not known here."""
        config = self.at(height)
        return config is not None and config.mode == QUORUM_BYZANTINE

    def decided(self) -> QuorumConfig:
        """What the next block of a leader announces."""
        return self._standing().decided

    def change_due(self, last_height: int) -> bool:
        """Whether the log does not announce yet what is decided."""
        return self._chain.head(last_height).next_validators != self.decided().config_hash()

    def changes_at(self, height: int) -> bool:
        """Whether the block of a height announces others than agree on it."""
        return self._chain.head(height).next_validators != self._chain.head(height - 1).next_validators

    def begins_byzantine(self, height: int) -> bool:
        """Whether the block of a height announces others than agree on it, who agree in two phases."""
        return height > 0 and self.is_byzantine_at(height + 1) and self.changes_at(height)

    @property
    def takes_part(self) -> bool:
        """Whether this node votes at the next height or is to vote soon."""
        return self._standing().takes_part

    # --- numbers

    def number_of(self, device_key: bytes) -> int | None:
        """The number of a device that votes, or is to; None for everybody else."""
        return self._standing().numbers.get(device_key)

    def key_of(self, number: int) -> bytes:
        """The device that has this number, whether it votes now or did once."""
        if number not in self._keys:
            self._keys = {seat.number: key for key, seat in self._machine.state.seats.items()}
        return self._keys[number]

    def peers(self) -> Sequence[tuple[bytes, int]]:
        """Device key and number of all others that vote at the next height or are to."""
        return self._standing().peers

    def numbers(self, config: QuorumConfig) -> frozenset[int]:
        """The numbers of a configuration's voters."""
        return frozenset(self._machine.state.seats[key].number for key, _ in config.voters)

    def _standing(self) -> _Standing:
        # Every message and every tick asks. Only a block changes the state, and with it the height.
        machine, known = self._machine, self._stood
        if known is None or known.height != machine.height:
            current, decided = machine.quorum, validators.decided(machine.state)
            voters = {key for config in (current, decided) for key, _ in (*config.voters, *config.outgoing)}
            numbers = {key: machine.state.seats[key].number for key in sorted(voters)}
            peers = tuple((key, number) for key, number in numbers.items() if key != self._key)
            known = self._stood = _Standing(
                height=machine.height,
                current=current,
                decided=decided,
                configs={config.config_hash(): config for config in (decided, current)},
                takes_part=self._key in numbers,
                numbers=numbers,
                peers=peers,
            )
        return known

    # --- the core

    def follow(self, core: RawNode, final_height: int) -> None:
        """Let the core count by what its log says now; a leader that votes no more hands over."""
        now = self._seen(core, final_height)
        if now == self._followed:
            return
        self._followed = now
        config = self.of(now[0])
        if config is None:
            return
        numbers = self.numbers(config)
        byzantine = config.mode == QUORUM_BYZANTINE
        needed = quorum_size(len(numbers), config.mode) if byzantine else 0
        if (numbers, needed) == (core.voters, core.needed):
            return
        if core.state is Role.LEADER:
            if core.last_index > final_height:
                return
            if self.number not in numbers:
                _hand_over(core, numbers)
        core.follow_membership(numbers, needed)

    def has_followed(self, core: RawNode, final_height: int) -> bool:
        """Whether `follow` would find everything as it was the last time."""
        return self._seen(core, final_height) == self._followed

    def _seen(self, core: RawNode, final_height: int) -> tuple[bytes, int, bool, int]:
        last = core.last_index
        announced = self._chain.head(last).next_validators
        return (announced, self._machine.height, core.state is Role.LEADER, last - final_height)


def _hand_over(core: RawNode, numbers: frozenset[int]) -> None:
    """The one that has most, the first of several, is to lead at once."""
    voters = sorted(numbers)
    core.transfer_leadership(max(voters, key=core.match_of))
