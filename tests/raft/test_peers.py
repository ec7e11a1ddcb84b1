"""What peers can send: well-formed or not, it never stops a node, and is refused by name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.raft import (
    BadMessage,
    Entry,
    EntryType,
    Fault,
    MembershipState,
    Message,
    MessageKind,
    Role,
    Snapshot,
)
from protocols.raft.messages import MAX_INT
from tests.raft.nodes import Home, Village, role


def leader() -> Home:
    """Home 1, which leads 2 and 3 in term 1 with entries of its own."""
    village = Village(3)
    village.elect(1)
    village[1].propose(b"reading")
    village.settle()
    return village.homes[1]


def follower() -> Home:
    """Home 2, which follows home 1."""
    village = Village(3)
    village.elect(1)
    village[1].propose(b"reading")
    village.settle()
    return village.homes[2]


def candidate() -> Home:
    """Home 2 in the middle of a campaign."""
    home = follower()
    home.node.campaign()
    home.work()
    return home


def message(kind: MessageKind, home: Home, sender: int = 3, **fields: Any) -> Message:
    base = Message(kind=kind, sender=sender, to=home.node.id, term=home.node.term)
    return msgspec.structs.replace(base, **fields)


ENTRY = Entry(1, 3, EntryType.NORMAL, b"x")
MALFORMED: dict[str, tuple[MessageKind, dict[str, Any]]] = {
    "no sender": (MessageKind.HEARTBEAT, {"sender": 0}),
    "ourselves": (MessageKind.HEARTBEAT, {"sender": 2}),
    "negative term": (MessageKind.HEARTBEAT, {"term": -1}),
    "no term": (MessageKind.HEARTBEAT, {"term": 0}),
    "proposal with a term": (MessageKind.PROP, {"entries": (ENTRY,)}),
    "huge term": (MessageKind.VOTE, {"term": MAX_INT + 1}),
    "negative commit": (MessageKind.HEARTBEAT, {"commit": -1}),
    "entries out of order": (MessageKind.APP, {"log_term": 1, "index": 2, "entries": (ENTRY, ENTRY)}),
    "entries of a later term": (MessageKind.APP, {"log_term": 1, "index": 2, "entries": (Entry(9, 3),)}),
    "entries of an earlier term": (MessageKind.APP, {"log_term": 1, "index": 2, "entries": (Entry(0, 3),)}),
    "append after a later term": (MessageKind.APP, {"log_term": 9, "index": 2}),
    "append after no entry": (MessageKind.APP, {"log_term": 0, "index": 2}),
    "heartbeat with entries": (MessageKind.HEARTBEAT, {"entries": (ENTRY,)}),
    "heartbeat with a long context": (MessageKind.HEARTBEAT, {"context": bytes(65)}),
    "append with a snapshot": (MessageKind.APP, {"snapshot": Snapshot(1, 1)}),
    "vote for a log of a later term": (MessageKind.VOTE, {"term": 2, "log_term": 3, "index": 1}),
    "vote for an unheard-of reason": (MessageKind.VOTE, {"term": 2, "context": b"because"}),
    "no snapshot": (MessageKind.SNAP, {}),
    "empty snapshot": (MessageKind.SNAP, {"snapshot": Snapshot()}),
    "snapshot without voters": (MessageKind.SNAP, {"snapshot": Snapshot(9, 1)}),
    "snapshot with entries": (MessageKind.SNAP, {"snapshot": Snapshot(9, 1), "entries": (ENTRY,)}),
    "snapshot with a voter that learns": (
        MessageKind.SNAP,
        {"snapshot": Snapshot(9, 1, MembershipState(voters=(1, 2), learners=(2,)))},
    ),
    "snapshot with voters out of order": (
        MessageKind.SNAP,
        {"snapshot": Snapshot(9, 1, MembershipState(voters=(2, 1)))},
    ),
    "empty proposal": (MessageKind.PROP, {"term": 0}),
    "read without context": (MessageKind.READ_INDEX, {"term": 0}),
    "read with a long context": (MessageKind.READ_INDEX, {"term": 0, "entries": (Entry(data=bytes(65)),)}),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_messages_are_refused_before_they_are_believed(what: str) -> None:
    home = follower()
    kind, fields = MALFORMED[what]
    before = (home.node.term, home.node.commit, home.node.last_index, home.node.leader)
    refused = home.node.step(message(kind, home, **fields))
    assert refused is not None
    assert refused.fault is Fault.MALFORMED
    assert refused.fault.blame
    assert (home.node.term, home.node.commit, home.node.last_index, home.node.leader) == before
    assert home.work() == []


def test_messages_for_others_and_from_storage_are_refused() -> None:
    home = follower()
    assert fault(home, message(MessageKind.HEARTBEAT, home, sender=1, to=9)) is Fault.MISDIRECTED
    for kind in (MessageKind.STORAGE_APPEND_RESP, MessageKind.STORAGE_APPLY_RESP, MessageKind.STORAGE_APPEND):
        assert fault(home, message(kind, home)) is Fault.LOCAL
    smuggled = message(MessageKind.HEARTBEAT, home, responses=(message(MessageKind.VOTE_RESP, home),))
    assert fault(home, smuggled) is Fault.LOCAL


def test_a_second_leader_in_one_term_is_named() -> None:
    home = follower()
    assert home.node.leader == 1
    assert fault(home, message(MessageKind.HEARTBEAT, home, sender=3)) is Fault.SECOND_LEADER
    assert home.node.leader == 1
    home = leader()
    assert fault(home, message(MessageKind.APP, home, sender=3)) is Fault.SECOND_LEADER
    assert role(home.node) is Role.LEADER


def test_only_the_leader_may_call_an_election_or_answer_a_read() -> None:
    home = follower()
    assert fault(home, message(MessageKind.TIMEOUT_NOW, home, sender=3)) is Fault.NOT_FROM_LEADER
    answer = message(MessageKind.READ_INDEX_RESP, home, sender=3, entries=(Entry(data=b"r"),), index=9)
    assert fault(home, answer) is Fault.NOT_FROM_LEADER
    assert role(home.node) is Role.FOLLOWER
    assert not home.node.has_ready()


def test_nobody_acknowledges_what_was_never_sent() -> None:
    home = leader()
    epoch = home.node.progress[3].epoch
    lie = message(MessageKind.APP_RESP, home, index=home.node.last_index + 1, epoch=epoch)
    assert fault(home, lie) is Fault.BEYOND_LOG
    home = follower()
    lie = message(MessageKind.HEARTBEAT, home, sender=1, commit=home.node.last_index + 1)
    assert fault(home, lie) is Fault.BEYOND_LOG


def test_strangers_answers_do_not_count() -> None:
    home = candidate()
    refused = home.node.step(message(MessageKind.VOTE_RESP, home, sender=9))
    assert refused is not None
    assert refused.fault is Fault.UNKNOWN_SENDER
    assert not refused.fault.blame
    assert role(home.node) is Role.CANDIDATE


def test_a_voter_is_held_to_its_first_answer() -> None:
    home = candidate()
    home.node.step(message(MessageKind.VOTE_RESP, home, sender=3, reject=True))
    home.node.step(message(MessageKind.VOTE_RESP, home, sender=3))
    assert role(home.node) is Role.CANDIDATE


def fault(home: Home, wrong: Message) -> Fault | None:
    refused = home.node.step(wrong)
    return None if refused is None else refused.fault


# Anything that decodes.

numbers = st.one_of(st.integers(0, 6), st.integers(-(2**63), 2**63 - 1))
small = st.integers(0, 4)
members = st.lists(small, max_size=3).map(tuple)
entries = st.lists(
    st.builds(Entry, numbers, numbers, st.sampled_from(EntryType), st.sampled_from([b"", b"v4", b"r1 v5", b"\xff"])),
    max_size=3,
).map(tuple)
snapshots = st.builds(
    Snapshot,
    numbers,
    numbers,
    st.builds(MembershipState, members, members, members, members, st.booleans()),
)
anything = st.builds(
    Message,
    kind=st.sampled_from(MessageKind),
    to=st.sampled_from([1, 2, 2, 2, 0]),
    sender=st.one_of(small, numbers),
    term=numbers,
    log_term=numbers,
    index=numbers,
    entries=entries,
    commit=numbers,
    snapshot=st.one_of(st.none(), snapshots),
    reject=st.booleans(),
    reject_hint=numbers,
    context=st.binary(max_size=3),
    vote=numbers,
    epoch=st.integers(0, 12),
)
ROLES = {"follower": follower, "candidate": candidate, "leader": leader}


@pytest.mark.parametrize("role", ROLES)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_no_message_stops_a_node(role: str, data: st.DataObject) -> None:
    home = ROLES[role]()
    home.node.take_messages()
    for wrong in data.draw(st.lists(anything, min_size=1, max_size=6)):
        aimed = msgspec.structs.replace(wrong, to=home.node.id) if data.draw(st.booleans()) else wrong
        refused = home.node.step(aimed)
        assert refused is None or isinstance(refused, BadMessage)
        home.node.tick()
        ready = home.node.ready()
        home.write(ready)
        home.node.advance(ready)
    assert home.node.commit <= home.node.last_index
    assert home.node.term <= MAX_INT + 1
