"""Autopilot: what to propose when a validator has been gone for long.

It decides nothing: who validates is the members' choice, so it names the change that it
would make and why, and somebody who may decide makes it. A pure function of who is there.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from protocols.certificate import quorum_size
from protocols.quorum_change import MIN_VALIDATORS
from protocols.records import CHANGE_ADD, CHANGE_MODE, CHANGE_REMOVE, QUORUM_BYZANTINE, QUORUM_MAJORITY
from protocols.records.genesis import MAX_VALIDATORS, is_byzantine_size


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One member's node, as another one sees it.

    Attributes:
        name: of its member.
        absent_s: seconds since it was last seen; 0 while it is connected.
        caught_up: whether it has (nearly) all that is final.
    """

    name: str
    absent_s: int
    caught_up: bool


class Step(msgspec.Struct, frozen=True):
    """One change of the validators. action, name, mode: as a QuorumChange, with the member's name for its device."""

    action: int
    name: str = ""
    mode: int = QUORUM_MAJORITY


class Proposal(msgspec.Struct, frozen=True):
    """Steps to make one after the other, and why: "gone" (with whom it is about), "even" or "back"."""

    reason: str
    steps: tuple[Step, ...]
    gone: str = ""
    absent_s: int = 0


def propose(
    mode: int,
    validators: Sequence[Device],
    learners: Sequence[Device],
    replace_after_s: int,
    *,
    byzantine_before: bool = False,
) -> Proposal | None:
    """What would keep the microgrid safe, or None if nothing needs to be done or can be.

    Majority quorums keep an odd number of validators, byzantine ones 3f + 1; both 3 to 10. The one that
    has been gone longest is replaced first, by the first learner that has caught up.

    Args:
        replace_after_s: how long a validator must be gone.
        byzantine_before: whether majority mode is only there to make a replacement possible.
    """
    here = [device for device in learners if not device.absent_s and device.caught_up]
    gone = max(validators, key=lambda device: device.absent_s, default=None)
    count = len(validators)
    present = sum(not device.absent_s for device in validators)
    if present < quorum_size(count, mode):
        return None  # nothing can be decided before somebody comes back
    if gone is not None and gone.absent_s >= replace_after_s:
        steps = _replacement(mode, count, present, gone, here, byzantine_before)
        return Proposal("gone", steps, gone.name, gone.absent_s) if steps else None
    if mode == QUORUM_BYZANTINE:
        return None
    if byzantine_before and is_byzantine_size(count) and present >= quorum_size(count, QUORUM_BYZANTINE):
        return Proposal("back", (Step(CHANGE_MODE, mode=QUORUM_BYZANTINE),))
    if not byzantine_before and count % 2 == 0 and here and _may_add(count, present):
        return Proposal("even", (Step(CHANGE_ADD, here[0].name),))
    return None


def _replacement(
    mode: int, count: int, present: int, gone: Device, here: Sequence[Device], byzantine_before: bool
) -> tuple[Step, ...]:
    remove = Step(CHANGE_REMOVE, gone.name)
    if mode == QUORUM_BYZANTINE or byzantine_before:
        # One voter more or less has no byzantine size: the mode steps aside for the replacement.
        middle: tuple[Step, ...] = (remove,)
        if is_byzantine_size(count):
            if not here or not _may_add(count, present):
                return ()
            middle = (Step(CHANGE_ADD, here[0].name), remove)
        first = () if mode == QUORUM_MAJORITY else (Step(CHANGE_MODE, mode=QUORUM_MAJORITY),)
        return (*first, *middle, Step(CHANGE_MODE, mode=QUORUM_BYZANTINE))
    if count > MIN_VALIDATORS:
        # First the one that is gone: that needs nothing of the newcomer.
        again = (Step(CHANGE_ADD, here[0].name),) if count % 2 and here else ()
        return (remove, *again)
    if here and _may_add(count, present):
        return (Step(CHANGE_ADD, here[0].name), *((remove,) if count == MIN_VALIDATORS else ()))
    return ()


def _may_add(count: int, present: int) -> bool:
    """Whether those who are there, with the newcomer, are a quorum of one more."""
    return count < MAX_VALIDATORS and present + 1 >= quorum_size(count + 1, QUORUM_MAJORITY)
