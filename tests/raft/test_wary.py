"""Wary nodes: what changes when more than a majority must agree because some members lie."""

from __future__ import annotations

from random import Random

import pytest

from protocols.raft import Config, MembershipState, MemoryStorage, Message, MessageKind, RawNode, Role
from protocols.raft.hooks import Judge
from protocols.raft.quorum import EVERYTHING, Quorum, VoteResult, majority_committed, majority_vote

FOUR = frozenset({1, 2, 3, 4})
TICKS = 10


class Disk(MemoryStorage):
    """An empty log of four voters."""

    def initial_state(self):  # type: ignore[no-untyped-def]
        return super().initial_state()[0], MembershipState(voters=tuple(sorted(FOUR)))


class Node(RawNode):
    """A node with its disk."""

    def __init__(self, judge: Judge | None) -> None:
        self.disk = Disk()
        config = Config(id=1, election_tick=TICKS, heartbeat_tick=2, external_commit=True)
        super().__init__(config, self.disk, random=Random(1), judge=judge)


def wary(needed: int = 3, judge: Judge | None = None) -> Node:
    node = Node(judge)
    node.follow_membership(FOUR, needed)
    return node


def work(node: Node) -> list[Message]:
    said: list[Message] = []
    while node.has_ready():
        ready = node.ready()
        node.disk.append(ready.entries)
        said += (*ready.messages, *ready.messages_after_persist)
        node.advance(ready)
    return said


def say(node: Node, kind: MessageKind, sender: int, **fields: object) -> list[Message]:
    assert node.step(Message(kind=kind, sender=sender, to=1, **fields)) is None  # type: ignore[arg-type]
    return work(node)


def test_needed_counts_where_a_majority_would_do() -> None:
    three, two = {1: True, 2: True, 3: True}, {1: True, 2: True}
    ten = frozenset(range(10))
    assert majority_vote(ten, dict.fromkeys(range(6), True)) is VoteResult.WON
    assert majority_vote(ten, dict.fromkeys(range(6), True), 7) is VoteResult.PENDING
    assert majority_vote(ten, dict.fromkeys(range(7), True), 7) is VoteResult.WON
    assert majority_vote(FOUR, two | {3: False, 4: False}, 3) is VoteResult.LOST
    assert Quorum(FOUR, needed=3).vote(three) is VoteResult.WON
    assert Quorum(FOUR, needed=3).vote(two) is VoteResult.PENDING
    stored = dict(zip(range(10), range(10, 20), strict=True))
    assert majority_committed(ten, stored) == 14 and majority_committed(ten, stored, 7) == 13
    assert Quorum(frozenset(), needed=0).committed({}) == EVERYTHING


def elected(node: Node, voters: tuple[int, ...]) -> bool:
    node.campaign()
    work(node)
    for voter in voters:
        say(node, MessageKind.PRE_VOTE_RESP, voter, term=node.term + 1)
    for voter in voters if node.state is Role.CANDIDATE else ():
        say(node, MessageKind.VOTE_RESP, voter, term=node.term)
    return node.state is Role.LEADER


def test_a_leader_needs_as_many_votes_and_as_many_who_hear_it() -> None:
    node = wary()
    assert (node.needed, wary(0).needed) == (3, 0)
    assert not elected(node, (2,))
    assert elected(node, (2, 3))
    for hears, role in (((2, 3), Role.LEADER), ((2,), Role.FOLLOWER)):
        for number in range(TICKS):
            for sender in hears if number == 1 else ():
                epoch = node.progress[sender].epoch
                say(node, MessageKind.HEARTBEAT_RESP, sender, term=node.term, epoch=epoch)
            node.tick()
            work(node)
        assert node.state is role, "it and one other are two of four"


def test_the_judge_decides_and_is_told_what_logs_say() -> None:
    asked: list[tuple[int, bool]] = []

    def judge(message: Message, up_to_date: bool) -> bool:
        asked.append((message.sender, up_to_date))
        return message.sender == 3

    node = wary(judge=judge)
    refused = say(node, MessageKind.PRE_VOTE, 2, term=1)
    granted = say(node, MessageKind.PRE_VOTE, 3, term=1)
    assert [said.reject for said in (*refused, *granted)] == [True, False]
    assert asked == [(2, True), (3, True)]


@pytest.mark.parametrize("needed", [0, 3])
def test_whoever_has_voted_waits_for_what_comes_of_it_among_liars(needed: int) -> None:
    node = wary(needed)
    say(node, MessageKind.VOTE, 2, term=1)
    assert (node.term, node.vote) == (1, 2)
    say(node, MessageKind.VOTE, 3, term=2)
    assert node.vote == (2 if needed else 3)
    for _ in range(TICKS - 1):
        node.tick()
    work(node)
    assert node.since_promise == TICKS - 1
    node.wait()
    say(node, MessageKind.VOTE, 4, term=9)
    assert node.vote == 4, "an election timeout later it votes again"


def test_waiting_lets_leases_run_out_without_a_campaign() -> None:
    node = wary()
    say(node, MessageKind.HEARTBEAT, 2, term=1, epoch=1)
    assert say(node, MessageKind.PRE_VOTE, 3, term=2) == []
    for _ in range(5 * TICKS):
        node.wait()
    assert node.state is Role.FOLLOWER and not node.has_ready()
    assert [said.reject for said in say(node, MessageKind.PRE_VOTE, 3, term=2)] == [False]


def test_a_term_that_was_heard_of_is_the_one_that_the_second_campaign_begins_above() -> None:
    node = wary()
    node.hear_term(40)
    assert node.term == 0
    node.campaign()
    assert {said.term for said in work(node) if said.kind is MessageKind.PRE_VOTE} == {1}
    node.campaign()
    assert {said.term for said in work(node) if said.kind is MessageKind.PRE_VOTE} == {41}
    assert node.term == 0, "it is still here for a leader of its own term"
    node.hear_term(7)
    for sender in (2, 3):
        say(node, MessageKind.PRE_VOTE_RESP, sender, term=41)
    assert node.state is Role.CANDIDATE and node.term == 41


def test_grants_of_another_campaign_do_not_count() -> None:
    node = wary()
    node.campaign()
    work(node)
    for sender in (2, 3, 4):
        say(node, MessageKind.PRE_VOTE_RESP, sender, term=5)
    assert node.state is Role.PRE_CANDIDATE
    for sender in (2, 3):
        say(node, MessageKind.PRE_VOTE_RESP, sender, term=1)
    assert node.state is Role.CANDIDATE
