"""Roster: who the members and validators of a microgrid are, as one node knows them, for screens and commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from meshnode.autopilot import Device, Proposal, Step, propose
from meshnode.ledger import rows, validators
from meshnode.machine import Machine
from protocols.certificate import QuorumConfig, quorum_size
from protocols.cose import key_id_of
from protocols.records import CHANGE_ADD, CHANGE_MODE, CHANGE_REMOVE, QUORUM_BYZANTINE, QuorumChange

# A learner that follows is a block or two behind whoever makes them; so much is no reason to wait.
CAUGHT_UP_BLOCKS = 8

MODES = ("majority", "byzantine")
ACTIONS = {"add": CHANGE_ADD, "remove": CHANGE_REMOVE, "mode": CHANGE_MODE}


class Observer(Protocol):
    """What a node has seen of others; see `meshnode.network.sightings`."""

    def absent_s(self, device_key: bytes) -> int: ...
    def height(self, device_key: bytes) -> int: ...


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """One member's node.

    Attributes:
        number: among the validators; 0 for one that never was one.
        role: "validator", "joining" or "leaving" (decided, and not in force yet), or "learner".
        leads: whether it leads, as far as this node knows.
        absent_s: how long it has not been seen, 0 if it is there.
        height: how far it said that it is; -1 if it is not known.
        caught_up: whether that is near enough to this node's own height.
    """

    member: str
    device_key: str
    number: int
    epoch: int
    role: str
    leads: bool
    own: bool
    absent_s: int
    height: int
    caught_up: bool


class Roster(msgspec.Struct, frozen=True, kw_only=True):
    """All seats, and what they amount to.

    Attributes:
        tolerates: how many validators may fail (majority) or lie (byzantine).
        config: hash of the configuration that was decided last.
        proposal: reason and steps that the autopilot proposes; `commands` are the same to be typed.
    """

    mode: str
    config: str
    height: int
    quorum: int
    tolerates: int
    may_decide: bool
    seats: tuple[Seat, ...]
    proposal: Proposal | None
    commands: tuple[str, ...]


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One member. left_s: 0 while it belongs to the community."""

    name: str
    account: str
    roles: tuple[str, ...]
    joined_s: int
    left_s: int
    meters: int
    device_key: str
    validates: bool


def roster(
    machine: Machine,
    observer: Observer,
    own_key: bytes,
    own_account: bytes,
    leader: bytes | None,
    replace_after_s: int,
) -> Roster:
    """What this node knows of all nodes.

    Args:
        own_key, own_account: of this node and its member.
        leader: device key of who leads, if known.
    """
    state = machine.state
    now, decided = machine.quorum, validators.decided(state)
    seats = [
        _seat(machine, observer, name, key, now, decided, own=key == own_key, leads=key == leader)
        for name, key in devices(machine)
    ]
    seats.sort(key=lambda seat: (seat.role == "learner", seat.number, seat.member))
    proposal = propose(
        decided.mode,
        [_device(seat) for seat in seats if decided.has(bytes.fromhex(seat.device_key))],
        [_device(seat) for seat in seats if seat.role == "learner"],
        replace_after_s,
        byzantine_before=_byzantine_before(machine),
    )
    if now != decided:
        proposal = None  # one change at a time
    size = len(decided.voters)
    quorum = quorum_size(size, decided.mode)
    return Roster(
        mode=MODES[decided.mode],
        config=decided.config_hash().hex(),
        height=machine.height,
        quorum=quorum,
        tolerates=(size - 1) // 3 if decided.mode == QUORUM_BYZANTINE else size - quorum,
        may_decide=validators.may_decide(state, own_account),
        seats=tuple(seats),
        proposal=proposal,
        commands=() if proposal is None else tuple(command(step) for step in proposal.steps),
    )


def members(machine: Machine) -> tuple[Member, ...]:
    """All members, also those that have left, by name."""
    state = machine.state
    device_of = {name: key for name, key in devices(machine) if not state.keys[key_id_of(key)].until_height}
    meters: dict[bytes, int] = {}
    for _, meter in state.meters.items():
        meters[meter.account] = meters.get(meter.account, 0) + (not meter.until_s)
    return tuple(
        Member(
            name=row.name,
            account=account.hex(),
            roles=row.roles,
            joined_s=row.joined_s,
            left_s=row.left_s,
            meters=meters.get(account, 0),
            device_key=device_of.get(row.name, b"").hex(),
            validates=row.name in device_of and machine.quorum.has(device_of[row.name]),
        )
        for account, row in sorted(state.accounts.items(), key=lambda item: item[1].name)
    )


def devices(machine: Machine) -> list[tuple[str, bytes]]:
    """(member's name, device key) of every device that belongs to a member now, by name.

    A validator whose key was replaced is among them until it is removed: it is still counted.
    """
    accounts, decided = machine.state.accounts, validators.decided(machine.state)
    return sorted(
        (accounts[key.account].name, key.public_key)
        for _, key in machine.state.keys.items()
        if key.purpose == rows.PURPOSE_DEVICE and (not key.until_height or decided.has(key.public_key))
    )


def change(machine: Machine, action: str, who: str, spoken: dict[str, Any]) -> QuorumChange | str:
    """The record that changes the validators as asked, or what was expected of `who` if there is none.

    Args:
        action: "add", "remove" or "mode".
        who: a member's name, a device key or its id in hex; for "mode" the mode's name.
        spoken: nonce and validity.
    """
    previous = validators.decided(machine.state).config_hash()
    if action == "mode":
        if who not in MODES:
            return " or ".join(MODES)
        return QuorumChange(**spoken, previous=previous, action=CHANGE_MODE, mode=MODES.index(who))
    key = device_of(machine, who, voting=action == "remove")
    if key is None:
        known = ", ".join(dict.fromkeys(name for name, _ in devices(machine)))
        return f"a member with a node ({known}), or a device key as meshnode validators shows it"
    return QuorumChange(**spoken, previous=previous, action=ACTIONS[action], device_key=key)


def device_of(machine: Machine, who: str, *, voting: bool) -> bytes | None:
    """The device that a member's name, a device key or its key id in hex means.

    Args:
        voting: of two devices of one member, whether the one that validates is meant.
    """
    decided = validators.decided(machine.state)
    found = [key for name, key in devices(machine) if who == name or who.lower() in (key.hex(), key_id_of(key).hex())]
    return max(found, key=lambda key: decided.has(key) == voting, default=None)


def command(step: Step) -> str:
    """What somebody who may decide types to make a step."""
    verbs = {number: verb for verb, number in ACTIONS.items()}
    what = MODES[step.mode] if step.action == CHANGE_MODE else step.name
    return f"meshnode validators {verbs[step.action]} {what}"


def _seat(
    machine: Machine,
    observer: Observer,
    name: str,
    key: bytes,
    now: QuorumConfig,
    decided: QuorumConfig,
    *,
    own: bool,
    leads: bool,
) -> Seat:
    known = machine.state.seats.get(key)
    roles = {(True, True): "validator", (True, False): "leaving", (False, True): "joining"}
    height = machine.height if own else observer.height(key)
    return Seat(
        member=name,
        device_key=key.hex(),
        number=0 if known is None else known.number,
        epoch=0 if known is None else known.epoch,
        role=roles.get((now.has(key), decided.has(key)), "learner"),
        leads=leads,
        own=own,
        absent_s=0 if own else observer.absent_s(key),
        height=height,
        caught_up=height >= machine.height - CAUGHT_UP_BLOCKS,
    )


def _device(seat: Seat) -> Device:
    return Device(name=seat.member, absent_s=seat.absent_s, caught_up=seat.caught_up)


def _byzantine_before(machine: Machine) -> bool:
    """Whether the last change of the mode ended the byzantine one."""
    modes: Sequence[int] = [decision.config.mode for decision in validators.decisions(machine.state)]
    others = [mode for mode in modes if mode != modes[-1]]
    return modes[-1] != QUORUM_BYZANTINE and bool(others)
