"""Validators: which devices agree on the ledger, as the ledger itself says, and how that changes.

A change is decided by a record, then announced by a header (`next_validators`), and in
force from the block after that one on. Only one is under way at a time.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from meshnode.ledger import rows
from meshnode.ledger.members import ADMINISTRATOR, is_administrator, signer
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.certificate import QuorumConfig
from protocols.cose import key_id_of
from protocols.quorum_change import ChangeFault, successor
from protocols.records import CHANGE_ADD, Genesis, QuorumChange


class Decision(msgspec.Struct, frozen=True):
    """A configuration, the height of the block that decided it, and the first height in force (0: not yet)."""

    height: int
    from_height: int
    config: QuorumConfig


_VERDICTS: dict[ChangeFault, Verdict] = {
    ChangeFault.INCOMPLETE: Verdict.CHANGE_INCOMPLETE,
    ChangeFault.OTHER_PREVIOUS: Verdict.OTHER_QUORUM,
    ChangeFault.ALREADY: Verdict.CHANGES_NOTHING,
    ChangeFault.NOT_A_VALIDATOR: Verdict.NOT_A_VALIDATOR,
    ChangeFault.TOO_FEW: Verdict.TOO_FEW_VALIDATORS,
    ChangeFault.TOO_MANY: Verdict.TOO_MANY_VALIDATORS,
    ChangeFault.NOT_BYZANTINE: Verdict.NOT_BYZANTINE_SIZE,
}


def may_decide(state: State, account: bytes) -> bool:
    """Whether an account may decide who validates. The one place that says so."""
    return is_administrator(state, account)


def found(state: State, genesis: Genesis) -> None:
    """Enter the founding validators; in force from height 1 on, numbered in the order of their keys."""
    config = QuorumConfig.of_genesis(genesis)
    state.quorums.put(0, rows.Quorum(config.mode, config.voters, 1))
    for number, (key, epoch) in enumerate(config.voters, 1):
        state.seats.put(key, rows.Seat(number, epoch))


def decided(state: State) -> QuorumConfig:
    """The newest configuration, in force or not."""
    return _config(state.quorums.all()[-1][1])


def decisions(state: State) -> tuple[Decision, ...]:
    """All configurations so far, that of the genesis first."""
    return tuple(Decision(height, row.from_height, _config(row)) for height, row in state.quorums.all())


def announced(state: State, state_height: int) -> QuorumConfig:
    """What a header with this state height announces: the newest configuration decided up to there."""
    return _config([row for height, row in state.quorums.all() if height <= state_height][-1])


def at(state: State, height: int) -> QuorumConfig:
    """The configuration by which a height is agreed on, up to the one after the last applied."""
    for _, row in reversed(state.quorums.all()):
        if 0 < row.from_height <= height:
            return _config(row)
    raise IndexError(f"height {height}: the founding validators agree from height 1 on")


def votes(state: State, height: int, device_key: bytes) -> bool:
    """Whether a device votes after `height`, the last applied, or is decided to."""
    return at(state, height + 1).has(device_key) or decided(state).has(device_key)


def last_heights(state: State, first: int, last: int) -> list[int]:
    """The heights from `first` up to, but not including, `last` that are the last ones of their configuration."""
    return [row.from_height - 1 for _, row in state.quorums.all() if first <= row.from_height - 1 < last]


def provable_until(state: State, height: int) -> int | None:
    """Up to where who knows the ledger up to `height` can check certificates; None if to the end.

    The configuration that is decided next is known to it only when the block that decides it is executed.
    """
    following = [row for decided_at, row in state.quorums.all() if decided_at > height]
    return following[0].from_height - 1 if following and following[0].from_height else None


def apply_header(state: State, height: int, state_height: int) -> None:
    """A block was executed; what it announces is in force after it."""
    decided_at, row = state.quorums.all()[-1]
    if not row.from_height and decided_at <= state_height:
        state.quorums.put(decided_at, rows.Quorum(row.mode, row.voters, height + 1))


def fault_in_view(state: State, record: QuorumChange, key: rows.Key, state_height: int) -> Verdict:
    """What stands against a change before any block carries it.

    Like all of the gate of view it looks at the state after `state_height` and nothing later. So
    a certified block with a change is proof that somebody signed it who might.
    """
    if ADMINISTRATOR not in state.accounts[key.account].roles:
        return Verdict.NOT_ADMINISTRATOR
    if record.previous != announced(state, state_height).config_hash():
        return Verdict.OTHER_QUORUM
    return Verdict.ACCEPTED


def change(state: State, record: QuorumChange, account: bytes, founded: int, height: int) -> Verdict:
    """Decide the next configuration.

    Args:
        account: of the signer.
        founded: how many validators the genesis has.
        height: of the block that carries the record.
    """
    if not may_decide(state, account):
        return Verdict.NOT_ADMINISTRATOR
    _, newest = state.quorums.all()[-1]
    if not newest.from_height:
        return Verdict.CHANGE_PENDING
    epochs = {key: seat.epoch for key, seat in state.seats.items()}
    following = successor(_config(newest), record, founded, epochs)
    if isinstance(following, ChangeFault):
        return _VERDICTS[following]
    if record.action == CHANGE_ADD:
        assert record.device_key is not None
        if not _is_device(state, record.device_key, height - 1):
            return Verdict.UNKNOWN_DEVICE
        _seat(state, record.device_key, dict(following.voters)[record.device_key])
    state.quorums.put(height, rows.Quorum(following.mode, following.voters))
    return Verdict.ACCEPTED


def key_ids(state: State, height: int) -> frozenset[bytes]:
    """Key ids of the devices that vote after `height`, or will: their owners cannot simply go."""
    voters = (*at(state, height + 1).voters, *decided(state).voters)
    return frozenset(key_id_of(key) for key, _ in voters)


def _seat(state: State, device_key: bytes, epoch: int) -> None:
    known = state.seats.get(device_key)
    number = 1 + len(state.seats) if known is None else known.number
    state.seats.put(device_key, rows.Seat(number, epoch))


def _is_device(state: State, device_key: bytes, height: int) -> bool:
    row = signer(state, key_id_of(device_key), height)
    return row is not None and row.public_key == device_key and row.purpose == rows.PURPOSE_DEVICE


# Asked with every message; a microgrid has few configurations at a time.
@lru_cache(maxsize=64)
def _config(row: rows.Quorum) -> QuorumConfig:
    return QuorumConfig(row.mode, row.voters)
