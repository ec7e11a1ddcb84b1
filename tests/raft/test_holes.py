"""Known holes of other implementations, each as a story that must end well here."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from protocols.raft import (
    Config,
    Entry,
    EntryType,
    Fault,
    HardState,
    MembershipChange,
    MembershipState,
    Message,
    MessageKind,
    ProposalDropped,
    RawNode,
    Role,
    Transition,
    parse_changes,
)
from tests.raft.nodes import Home, MemoryDisk, Village, appends, data_of, role


def single(text: str) -> MembershipChange:
    return MembershipChange(parse_changes([text]), Transition.SINGLE)


def follower_with(*data: bytes) -> Home:
    """Home 2, which follows home 1 in term 1 and holds these entries, none of them committed."""
    home = Home(2, (1, 2, 3))
    home.node.step(append(1, 0, 0, *data))
    home.work()
    return home


def append(term: int, log_term: int, index: int, *data: bytes, commit: int = 0, epoch: int = 1) -> Message:
    """Home 1's append of entries of its term to home 2."""
    entries = tuple(Entry(term, index + 1 + i, EntryType.NORMAL, d) for i, d in enumerate(data))
    return Message(
        kind=MessageKind.APP,
        sender=1,
        to=2,
        term=term,
        log_term=log_term,
        index=index,
        entries=entries,
        commit=commit,
        epoch=epoch,
    )


def log_of(home: Home) -> list[bytes]:
    disk = home.disk
    return data_of(disk.entries(disk.first_index(), disk.last_index() + 1, 1 << 30)) if disk.last_index() else []


# Appending.


def test_a_repeated_append_removes_nothing() -> None:
    home = follower_with(b"a", b"b", b"c")
    # The first append comes a second time, and one that ends before our log does.
    home.node.step(append(1, 0, 0, b"a", b"b", b"c"))
    home.node.step(append(1, 0, 0, b"a"))
    home.node.step(append(1, 1, 1, b"b"))
    answers = home.work()
    assert log_of(home) == [b"a", b"b", b"c"]
    assert [answer.index for answer in answers] == [3, 1, 2]
    assert home.node.last_index == 3


def test_overtaken_appends_arrive_in_any_order_and_remove_nothing() -> None:
    messages = [
        append(1, 0, 0, b"a"),
        append(1, 1, 1, b"b"),
        append(1, 1, 2, b"c"),
        append(1, 1, 1, b"b", b"c"),
    ]
    for seed in range(24):
        home = Home(2, (1, 2, 3))
        shuffled = Random(seed).sample(messages * 2, 8)
        longest = 0
        # What came too early was refused for its gap; in the end everything comes once more.
        for message in shuffled + messages:
            home.node.step(message)
            home.work()
            assert home.node.last_index >= longest, f"seed {seed}: the log was cut"
            longest = home.node.last_index
        assert log_of(home) == [b"a", b"b", b"c"], f"seed {seed}"


def test_only_a_conflict_of_terms_cuts_the_log() -> None:
    home = follower_with(b"a", b"b", b"c")
    home.node.step(msgspec.structs.replace(append(2, 1, 1, b"B"), sender=3))
    home.work()
    assert log_of(home) == [b"a", b"B"]


def test_an_append_that_leaves_a_gap_is_refused_with_a_hint() -> None:
    home = follower_with(b"a")
    home.node.step(append(1, 1, 5, b"f"))
    (answer,) = home.work()
    assert (answer.reject, answer.index, answer.reject_hint, answer.log_term) == (True, 5, 1, 1)


# Membership.


def test_nobody_campaigns_before_a_committed_membership_change_is_applied() -> None:
    home = follower_with(b"a")
    change = Entry(1, 2, EntryType.SINGLE_CHANGE, single("v4").encode())
    message = msgspec.structs.replace(append(1, 1, 1, commit=2), entries=(change,))
    home.node.step(message)
    ready = home.node.ready()
    home.write(ready)
    # Committed and handed out for applying, but not applied: three roads to a campaign are closed.
    home.node.campaign()
    assert role(home.node) is Role.FOLLOWER
    for _ in range(2 * home.config.election_tick):
        home.node.tick()
    assert role(home.node) is Role.FOLLOWER
    home.node.step(Message(kind=MessageKind.TIMEOUT_NOW, sender=1, to=2, term=1))
    assert role(home.node) is Role.FOLLOWER
    home.apply(ready)
    home.node.advance(ready)
    home.node.campaign()
    assert role(home.node) is Role.CANDIDATE
    assert home.node.voters == {1, 2, 3, 4}


def test_a_candidate_that_learns_of_a_final_membership_change_does_not_win() -> None:
    home = Home(2, (1, 2, 3), external_commit=True)
    change = Entry(1, 1, EntryType.SINGLE_CHANGE, single("v4").encode())
    home.node.step(msgspec.structs.replace(append(1, 0, 0), entries=(change,)))
    home.work()
    home.node.campaign()
    home.work()
    home.node.commit_to(1)
    home.node.step(Message(kind=MessageKind.VOTE_RESP, sender=3, to=2, term=2))
    assert role(home.node) is Role.FOLLOWER


@pytest.mark.parametrize("kind", [MessageKind.APP_RESP, MessageKind.HEARTBEAT_RESP])
def test_an_answer_from_before_a_removal_does_not_count_after_coming_back(kind: MessageKind) -> None:
    village = Village(3, check_quorum=True)
    village.elect(1)
    village[1].propose(b"stored on all three")
    village.settle()
    old = village[1].progress[3]
    late = Message(kind=kind, sender=3, to=1, term=1, index=old.match if kind is MessageKind.APP_RESP else 0)
    late = msgspec.structs.replace(late, epoch=old.epoch)
    # Home 3 is removed and comes back in the same term, with a new card: an empty disk.
    village[1].propose_membership(single("r3"))
    village.settle()
    village.homes[3] = Home(3, (1, 2, 3))
    village.cut_off(3)
    village[1].propose_membership(single("v3"))
    village.settle()
    assert village[1].progress[3].epoch != old.epoch
    assert village[1].progress[3].match == 0

    refused = village[1].step(late)
    assert refused is not None
    assert refused.fault is Fault.STALE_SESSION
    assert not refused.fault.blame
    assert village[1].progress[3].match == 0
    # Nor is it committed with home 3's old word for it: homes 1 and 2 must both store it.
    village.cut_off(2, 3)
    village[1].propose(b"needs two of three")
    village.settle()
    before = village[1].commit
    village[1].step(msgspec.structs.replace(late, index=village[1].last_index))
    assert village[1].commit == before


def test_a_new_session_is_answered_with_its_own_number() -> None:
    village = Village(3)
    village.elect(1)
    village[1].propose_membership(single("r3"))
    village.settle()
    village.homes[3] = Home(3, (1, 2, 3))
    village[1].propose_membership(single("v3"))
    village.settle()
    village[1].tick()
    village.settle()
    assert village[1].progress[3].match == village[1].last_index
    assert village[3].voters == {1, 2, 3}


def test_a_membership_change_waits_for_an_entry_of_the_leaders_own_term() -> None:
    village = Village(3)
    village.cut_off(2, 3)
    village[1].campaign()
    village.heal()
    village.loses = lambda message: message.kind is MessageKind.APP
    village.settle()
    assert role(village[1]) is Role.LEADER
    with pytest.raises(ProposalDropped, match="no entry of term 1 is committed yet"):
        village[1].propose_membership(single("v4"))
    village.heal()
    village[1].tick()
    village.settle()
    village[1].propose_membership(single("v4"))
    village.settle()
    assert village[1].voters == {1, 2, 3, 4}


def test_membership_changes_are_made_one_at_a_time() -> None:
    village = Village(3)
    village.elect(1)
    village.cut_off(2, 3)
    village[1].propose_membership(single("l4"))
    with pytest.raises(ProposalDropped, match="possible unapplied conf change"):
        village[1].propose_membership(single("l5"))


def test_members_that_are_out_do_not_hold_up_one_that_does_not_know_it_yet() -> None:
    # Home 4 leads {1, 3, 4} into {1} and writes one more entry. Home 1 has the
    # end of the joint membership, does not know that it is committed, and
    # lacks that last entry, which 3 and 4 hold: they must refuse it their votes.
    members = MembershipState(voters=(1,), voters_outgoing=(1, 3, 4), auto_leave=True)
    final = MembershipState(voters=(1,))
    log = [Entry(6, 1), Entry(6, 2, EntryType.CHANGE), Entry(6, 3, EntryType.NORMAL, b"nobody else's")]
    village = Village(4, pre_vote=True, check_quorum=True)
    del village.homes[2]
    for number, entries, membership, commit in ((1, 2, members, 1), (3, 3, final, 2), (4, 3, final, 2)):
        home = village.homes[number]
        home.disk.membership = membership
        home.disk.append(log[:entries])
        home.disk.set_hard_state(HardState(term=6, vote=4, commit=commit))
        home.config = msgspec.structs.replace(home.config, applied=commit)
        home.start()
    for _ in range(10 * village.homes[1].config.election_tick):
        for home in village.homes.values():
            home.node.tick()
        village.settle()
    assert role(village[1]) is Role.LEADER
    assert village[1].voters == {1}


# The disk.


def test_heartbeats_do_not_wait_for_the_disk() -> None:
    village = Village(3)
    village.elect(1)
    village[1].propose(b"a large block on a slow card")
    ready = village[1].ready()
    # The owner is writing. Time goes on, and so do the heartbeats.
    assert not village[1].has_ready()
    village[1].tick()
    beats = village[1].take_messages()
    assert [(beat.kind, beat.to) for beat in beats] == [
        (MessageKind.HEARTBEAT, 2),
        (MessageKind.HEARTBEAT, 3),
    ]
    # A follower in the middle of a write answers them, too.
    village.deliver(ready.messages)
    busy = village[2].ready()
    assert [answer.kind for answer in busy.messages_after_persist] == [MessageKind.APP_RESP]
    village.deliver(beats)
    assert [answer.kind for answer in village[2].take_messages()] == [MessageKind.HEARTBEAT_RESP]


def test_votes_and_acknowledgements_and_vote_requests_do_wait_for_the_disk() -> None:
    home = follower_with(b"a")
    home.node.step(append(1, 1, 1, b"b"))
    ready = home.node.ready()
    assert ready.must_sync
    assert ready.messages == ()
    assert [message.kind for message in ready.messages_after_persist] == [MessageKind.APP_RESP]
    home.write(ready)
    home.node.advance(ready)

    home.node.campaign()
    ready = home.node.ready()
    assert ready.must_sync
    assert ready.messages == ()
    assert {message.kind for message in ready.messages_after_persist} == {MessageKind.VOTE}
    # Nor does its own vote count before: the candidate may forget that it ever was one.
    home.node.step(Message(kind=MessageKind.VOTE_RESP, sender=3, to=2, term=2))
    assert role(home.node) is Role.CANDIDATE
    home.write(ready)
    home.node.advance(ready)
    assert role(home.node) is Role.LEADER


def test_a_vote_given_to_a_longer_log_is_not_collected_by_the_shorter_one() -> None:
    # Home 2 gets entry "b", campaigns at once, and the power fails before
    # anything is written. No vote was asked for with the longer log.
    home = follower_with(b"a")
    home.node.step(append(1, 1, 1, b"b"))
    home.node.campaign()
    assert home.node.take_messages() == ()
    home.start()
    assert home.node.last_index == 1
    assert home.node.term == 1


def test_a_write_overtaken_by_a_newer_leader_confirms_nothing() -> None:
    home = Home(2, (1, 2, 3))
    home.node.step(append(1, 0, 0, b"old"))
    first = home.node.ready()
    # While "old" is written, home 3 leads term 2 and replaces it.
    home.node.step(msgspec.structs.replace(append(2, 0, 0, b"new"), sender=3))
    home.write(first)
    home.node.advance(first)
    second = home.node.ready()
    assert data_of(second.entries) == [b"new"]
    home.write(second)
    home.node.advance(second)
    assert log_of(home) == [b"new"]
    assert [(m.to, m.term, m.index) for m in second.messages_after_persist] == [(3, 2, 1)]


def test_what_was_applied_was_committed_even_if_the_disk_forgot_the_commit_index() -> None:
    disk = MemoryDisk(MembershipState(voters=(1, 2, 3)))
    disk.append([Entry(1, 1), Entry(1, 2), Entry(1, 3)])
    disk.set_hard_state(HardState(term=1, vote=1, commit=1))
    node = RawNode(Config(id=1, applied=2), disk, random=Random(1))
    assert (node.commit, node.applied) == (2, 2)
    assert not node.has_ready()


def test_a_log_that_lost_its_end_does_not_start() -> None:
    disk = MemoryDisk(MembershipState(voters=(1, 2, 3)))
    disk.append([Entry(1, 1)])
    disk.set_hard_state(HardState(term=1, vote=1, commit=3))
    with pytest.raises(ValueError, match="stored commit index 3, but the stored log ends at 1"):
        RawNode(Config(id=1), disk, random=Random(1))


# Committing.


def test_an_entry_of_an_earlier_term_is_not_committed_by_counting() -> None:
    # Figure 8 of the Raft paper: an entry of term 1 on a majority is not safe until term 2 adds one.
    village = Village(3)
    village.elect(1)
    start = village[1].commit
    village.loses = lambda message: message.kind is MessageKind.APP_RESP
    village[1].propose(b"of term 1")
    village.settle()
    assert village[2].last_index == village[3].last_index == start + 1
    assert village[1].commit == start

    # Home 2 is elected; its own first entry does not get through yet.
    village.loses = lambda message: (
        1 in (message.to, message.sender) or (message.kind is MessageKind.APP and bool(message.entries))
    )
    village.elect(2)
    assert role(village[2]) is Role.LEADER
    answer = Message(kind=MessageKind.APP_RESP, sender=3, to=2, term=village[2].term, index=start + 1)
    village[2].step(msgspec.structs.replace(answer, epoch=village[2].progress[3].epoch))
    assert village[2].progress[3].match == start + 1
    assert village[2].commit == start
    village.heal()
    village[2].tick()
    village.settle()
    assert data_of(village.homes[3].applied) == [b"of term 1"]


def test_a_follower_commits_only_what_it_knows_to_match() -> None:
    home = follower_with(b"a", b"b", b"c")
    home.node.step(append(1, 1, 1, commit=3))
    assert home.node.commit == 1
    assert appends(home.work()) == []
