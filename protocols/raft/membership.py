"""Memberships: who votes, who learns, and the rules for changing that.

A membership changes one voter at a time (`simple`), or in two steps by way of a
joint configuration in which two majorities must agree (`enter_joint`, `leave_joint`).
Everything here is a pure function of sets; progress and epochs live in `tracker`.
Source: Raft dissertation (Ongaro, 2014), chapter 4.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

import msgspec

from protocols.raft.messages import MAX_INT, NO_NODE, Entry, EntryType, MembershipState
from protocols.raft.quorum import Quorum

MAX_CHANGES = 64
"""Nodes named in one membership change: a whole microgrid's validators, several times over."""

MAX_CHANGE_BYTES = MAX_CHANGES * 21 + 16
"""Longest text of a change: every id with 19 digits, its letter and a blank, and the transition's name."""


class MembershipError(ValueError):
    """A membership change that cannot be made, or a membership that contradicts itself."""


class ChangeKind(Enum):
    """What happens to one node; the value is its letter in a change's text."""

    VOTER = "v"
    LEARNER = "l"
    REMOVE = "r"
    UPDATE = "u"  # changes nothing here: carries news about a node past the core


class Transition(Enum):
    """How a change is made."""

    AUTO = "auto"  # in one step if one voter or none changes, else joint, left automatically
    IMPLICIT = "implicit"  # joint, left automatically
    EXPLICIT = "explicit"  # joint, left when an empty change is proposed
    SINGLE = "single"  # one node, in one step: the only kind that governance uses


class NodeChange(msgspec.Struct, frozen=True):
    """One node and what happens to it. Node id 0 is passed over."""

    kind: ChangeKind
    node: int

    def __str__(self) -> str:
        return f"{self.kind.value}{self.node}"


class MembershipChange(msgspec.Struct, frozen=True):
    """What a membership entry asks for; without any change it asks to leave a joint configuration."""

    changes: tuple[NodeChange, ...] = ()
    transition: Transition = Transition.AUTO

    @property
    def leaves_joint(self) -> bool:
        """The empty change, which ends a joint configuration."""
        return not self.changes and self.transition is Transition.AUTO

    @property
    def joint(self) -> bool:
        """Needs a joint configuration."""
        if self.transition is Transition.SINGLE:
            return False
        return self.transition is not Transition.AUTO or len(self.changes) > 1

    @property
    def entry_type(self) -> EntryType:
        """The type of the entry that carries this change."""
        return EntryType.SINGLE_CHANGE if self.transition is Transition.SINGLE else EntryType.CHANGE

    def encode(self) -> bytes:
        """The change as ASCII text such as `v4 r1` or `explicit v4 r1`; the empty change is empty."""
        words = [str(change) for change in self.changes]
        if self.transition in (Transition.IMPLICIT, Transition.EXPLICIT):
            words.insert(0, self.transition.value)
        return " ".join(words).encode("ascii")


def decode_change(entry_type: EntryType, data: bytes) -> MembershipChange:
    """Read what `MembershipChange.encode` wrote. Raises MembershipError on anything else."""
    if len(data) > MAX_CHANGE_BYTES or not data.isascii():
        raise MembershipError(f"membership change of {len(data)} bytes, expected ASCII of {MAX_CHANGE_BYTES} at most")
    words = data.decode("ascii").split()
    transition = Transition.SINGLE if entry_type is EntryType.SINGLE_CHANGE else Transition.AUTO
    if words and words[0] in (Transition.IMPLICIT.value, Transition.EXPLICIT.value):
        transition = Transition(words.pop(0))
    changes = parse_changes(words)
    if entry_type is EntryType.SINGLE_CHANGE and (transition is not Transition.SINGLE or len(changes) != 1):
        raise MembershipError(f"single membership change names {len(changes)} nodes: {data!r}")
    return MembershipChange(changes, transition)


def parse_changes(words: Iterable[str]) -> tuple[NodeChange, ...]:
    """Read words such as v1, l2, r3, u4. Raises MembershipError."""
    changes = []
    for word in words:
        letter, digits = word[:1], word[1:]
        if letter not in _LETTERS or not digits.isdecimal() or len(digits) > 19 or int(digits) > MAX_INT:
            raise MembershipError(f"membership change {word!r}, expected one of v, l, r, u and a node id")
        changes.append(NodeChange(_LETTERS[letter], int(digits)))
    if len(changes) > MAX_CHANGES:
        raise MembershipError(f"{len(changes)} membership changes at once, the limit is {MAX_CHANGES}")
    return tuple(changes)


_LETTERS = {kind.value: kind for kind in ChangeKind}


def carries_change(entry: Entry) -> bool:
    """Is this a membership entry?"""
    return entry.type is not EntryType.NORMAL


class Membership(msgspec.Struct, frozen=True):
    """Who votes and who learns.

    Always true:
      learners do not vote:            learners & quorum.ids == {}
      learners_next still vote:        learners_next <= quorum.outgoing - quorum.incoming
      only a joint one is left:        not joint  =>  learners_next == {} and not auto_leave
    """

    quorum: Quorum = Quorum()
    learners: frozenset[int] = frozenset()
    learners_next: frozenset[int] = frozenset()
    auto_leave: bool = False

    @property
    def joint(self) -> bool:
        """Two majorities must agree."""
        return bool(self.quorum.outgoing)

    @property
    def ids(self) -> frozenset[int]:
        """Everybody the leader sends to."""
        return self.quorum.ids | self.learners

    def state(self) -> MembershipState:
        """The same as a record for storage."""
        return MembershipState(
            voters=tuple(sorted(self.quorum.incoming)),
            learners=tuple(sorted(self.learners)),
            voters_outgoing=tuple(sorted(self.quorum.outgoing)),
            learners_next=tuple(sorted(self.learners_next)),
            auto_leave=self.auto_leave,
        )

    def __str__(self) -> str:
        text = f"voters={self.quorum}"
        for name, ids in (("learners", self.learners), ("learners_next", self.learners_next)):
            if ids:
                text += f" {name}=({' '.join(map(str, sorted(ids)))})"
        return text + (" autoleave" if self.auto_leave else "")


def restore(state: MembershipState) -> Membership:
    """The membership that a snapshot or a store holds. Raises MembershipError if it contradicts itself."""
    membership = Membership(
        Quorum(frozenset(state.voters), frozenset(state.voters_outgoing)),
        frozenset(state.learners),
        frozenset(state.learners_next),
        state.auto_leave,
    )
    fault = _fault(membership)
    if fault is None and membership.state() != state:
        fault = "ids out of order or repeated"
    if fault is not None:
        raise MembershipError(f"{fault}: {state}")
    return membership


def apply_change(membership: Membership, change: MembershipChange) -> Membership:
    """The membership after a change: in one step, into a joint one or out of it, as the change asks.

    Raises MembershipError.
    """
    if change.leaves_joint:
        return leave_joint(membership)
    if change.joint:
        return enter_joint(membership, change.changes, auto_leave=change.transition is not Transition.EXPLICIT)
    return simple(membership, change.changes)


def simple(membership: Membership, changes: Iterable[NodeChange]) -> Membership:
    """Change at most one voter, and any number of learners, in one step.

    Two majorities of memberships that differ in one voter share a node; with two they need not.
    """
    if membership.joint:
        raise MembershipError("can't apply simple config change in joint config")
    changed = _with_changes(membership, changes)
    if len(changed.quorum.incoming ^ membership.quorum.incoming) > 1:
        raise MembershipError("more than one voter changed without entering joint config")
    return _checked(changed)


def enter_joint(membership: Membership, changes: Iterable[NodeChange], *, auto_leave: bool) -> Membership:
    """Keep today's voters as the outgoing half and change the incoming half freely."""
    if membership.joint:
        raise MembershipError("config is already joint")
    if not membership.quorum.incoming:
        raise MembershipError("can't make a zero-voter config joint")
    both = Quorum(membership.quorum.incoming, outgoing=membership.quorum.incoming)
    joint = _with_changes(msgspec.structs.replace(membership, quorum=both), changes)
    return _checked(msgspec.structs.replace(joint, auto_leave=auto_leave))


def leave_joint(membership: Membership) -> Membership:
    """Drop the outgoing half; whoever was demoted becomes a learner only now."""
    if not membership.joint:
        raise MembershipError("can't leave a non-joint config")
    learners = membership.learners | membership.learners_next
    return _checked(Membership(Quorum(membership.quorum.incoming), learners))


def _with_changes(membership: Membership, changes: Iterable[NodeChange]) -> Membership:
    voters = set(membership.quorum.incoming)
    learners = set(membership.learners)
    learners_next = set(membership.learners_next)
    outgoing = membership.quorum.outgoing
    for change in changes:
        node = change.node
        already_learns = change.kind is ChangeKind.LEARNER and node in learners
        if node == NO_NODE or change.kind is ChangeKind.UPDATE or already_learns:
            continue
        for group in (voters, learners, learners_next):
            group.discard(node)
        if change.kind is ChangeKind.VOTER:
            voters.add(node)
        elif change.kind is ChangeKind.LEARNER:
            # While the outgoing half still counts on its vote, it cannot be a mere learner.
            (learners_next if node in outgoing else learners).add(node)
    if not voters:
        raise MembershipError("removed all voters")
    quorum = Quorum(frozenset(voters), outgoing)
    return Membership(quorum, frozenset(learners), frozenset(learners_next), membership.auto_leave)


def _checked(membership: Membership) -> Membership:
    fault = _fault(membership)
    assert fault is None, f"{fault}: {membership}"
    return membership


def _fault(membership: Membership) -> str | None:
    quorum = membership.quorum
    if any(not 0 < node <= MAX_INT for node in membership.ids | membership.learners_next):
        return "node id out of range"
    if membership.learners & quorum.ids:
        return "a node both votes and learns"
    if not membership.learners_next <= quorum.outgoing - quorum.incoming:
        return "a node is to become a learner but is no outgoing voter"
    if not membership.joint and (membership.learners_next or membership.auto_leave):
        return "leaving a configuration that is not joint"
    if not quorum.incoming and membership.ids:
        return "members but no voters"
    return None
