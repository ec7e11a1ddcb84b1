"""The parts by themselves: quorums, memberships, storage, the log and progress."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.raft import (
    NO_LIMIT,
    SILENT,
    ChangeKind,
    Compacted,
    Entry,
    EntryType,
    MembershipChange,
    MembershipError,
    MembershipState,
    MemoryStorage,
    NodeChange,
    Snapshot,
    SnapshotOutOfDate,
    Transition,
    Unavailable,
    decode_change,
)
from protocols.raft.log import Log
from protocols.raft.membership import Membership, apply_change, restore
from protocols.raft.messages import MAX_INT, limit_size
from protocols.raft.progress import Inflights, Progress, ProgressState
from protocols.raft.quorum import EVERYTHING, Quorum, VoteResult, majority_committed

nodes = st.frozensets(st.integers(1, 7), max_size=5)
changes = st.lists(st.builds(NodeChange, st.sampled_from(ChangeKind), st.integers(0, MAX_INT)), max_size=5).map(tuple)


# Quorums.


@given(nodes, nodes, st.dictionaries(st.integers(1, 7), st.booleans()))
def test_a_vote_once_decided_stays_decided(
    incoming: frozenset[int], outgoing: frozenset[int], votes: dict[int, bool]
) -> None:
    quorum = Quorum(incoming, outgoing)
    result = quorum.vote(votes)
    later = [quorum.vote({**votes, voter: vote}) for voter in quorum.ids - set(votes) for vote in (True, False)]
    if result is not VoteResult.PENDING:
        assert set(later) <= {result}
    elif later:
        everybody = {quorum.vote({**dict.fromkeys(quorum.ids, vote), **votes}) for vote in (True, False)}
        assert VoteResult.PENDING not in everybody


@given(nodes, st.dictionaries(st.integers(1, 7), st.integers(0, 9)))
def test_what_is_committed_is_stored_by_more_than_half(voters: frozenset[int], stored: dict[int, int]) -> None:
    index = majority_committed(voters, stored)
    if not voters:
        assert index == EVERYTHING
        return
    assert 2 * sum(stored.get(voter, 0) >= index for voter in voters) > len(voters)
    assert 2 * sum(stored.get(voter, 0) > index for voter in voters) <= len(voters)


@given(nodes.filter(bool), changes)
def test_majorities_of_memberships_one_step_apart_meet(voters: frozenset[int], asked: tuple[NodeChange, ...]) -> None:
    before = Membership(Quorum(voters))
    for change in asked:
        try:
            after = apply_change(before, MembershipChange((change,), Transition.SINGLE))
        except MembershipError:
            continue
        old, new = before.quorum.incoming, after.quorum.incoming
        # Two majorities, however chosen, are together more than all there are.
        assert len(old) // 2 + 1 + len(new) // 2 + 1 > len(old | new)
        before = after


# Memberships.


@settings(derandomize=True)
@given(nodes.filter(bool), st.lists(changes, max_size=6), st.data())
def test_memberships_survive_storage_and_keep_their_rules(
    voters: frozenset[int], asked: list[tuple[NodeChange, ...]], data: st.DataObject
) -> None:
    membership = Membership(Quorum(voters))
    for several in asked:
        transition = data.draw(st.sampled_from([Transition.AUTO, Transition.IMPLICIT, Transition.EXPLICIT]))
        try:
            membership = apply_change(membership, MembershipChange(several, transition))
        except MembershipError:
            continue
        assert restore(membership.state()) == membership


@given(changes, st.sampled_from(Transition))
def test_a_change_is_read_as_it_was_written(asked: tuple[NodeChange, ...], transition: Transition) -> None:
    change = MembershipChange(asked[:1] if transition is Transition.SINGLE else asked, transition)
    if transition is Transition.SINGLE and not asked:
        return
    assert decode_change(change.entry_type, change.encode()) == change


@pytest.mark.parametrize(
    ("entry_type", "data"),
    [
        (EntryType.CHANGE, b"x1"),
        (EntryType.CHANGE, b"v"),
        (EntryType.CHANGE, b"v-1"),
        (EntryType.CHANGE, b"v99999999999999999999"),
        (EntryType.CHANGE, b"v1 implicit"),
        (EntryType.CHANGE, b"v1 " * 65),
        (EntryType.CHANGE, bytes(5000)),
        (EntryType.CHANGE, "v٣".encode()),
        (EntryType.SINGLE_CHANGE, b""),
        (EntryType.SINGLE_CHANGE, b"v1 v2"),
        (EntryType.SINGLE_CHANGE, b"explicit v1"),
    ],
)
def test_a_change_that_is_none_is_refused(entry_type: EntryType, data: bytes) -> None:
    with pytest.raises(MembershipError):
        decode_change(entry_type, data)


@pytest.mark.parametrize(
    "state",
    [
        MembershipState(learners=(1,)),
        MembershipState(voters=(0, 1)),
        MembershipState(voters=(1, 1)),
        MembershipState(voters=(1,), auto_leave=True),
        MembershipState(voters=(1,), learners_next=(2,)),
        MembershipState(voters=(1,), voters_outgoing=(2,), learners_next=(1,)),
        MembershipState(voters=(1,), voters_outgoing=(2,), learners=(2,)),
    ],
)
def test_a_stored_membership_that_contradicts_itself_is_refused(state: MembershipState) -> None:
    with pytest.raises(MembershipError):
        restore(state)


# Storage.


def disk_with(count: int, start: int = 1) -> MemoryStorage:
    disk = MemoryStorage()
    if start > 1:
        disk.apply_snapshot(Snapshot(start - 1, 1))
    disk.append([Entry(1, index, EntryType.NORMAL, b"e%d" % index) for index in range(start, start + count)])
    return disk


def test_storage_says_what_it_no_longer_and_not_yet_holds() -> None:
    disk = disk_with(5)
    disk.create_snapshot(3, MembershipState(voters=(1,)), b"three")
    disk.compact(3)
    assert (disk.first_index(), disk.last_index()) == (4, 5)
    assert disk.term(3) == 1
    with pytest.raises(Compacted):
        disk.term(2)
    with pytest.raises(Compacted):
        disk.entries(3, 5, NO_LIMIT)
    with pytest.raises(Compacted):
        disk.compact(3)
    with pytest.raises(Unavailable):
        disk.term(6)
    with pytest.raises(Unavailable):
        disk.entries(4, 7, NO_LIMIT)
    with pytest.raises(SnapshotOutOfDate):
        disk.create_snapshot(3, MembershipState(voters=(1,)), b"")
    with pytest.raises(SnapshotOutOfDate):
        disk.apply_snapshot(Snapshot(2, 1))
    with pytest.raises(ValueError, match="entries between them are missing"):
        disk.append([Entry(1, 8)])


def test_storage_replaces_from_the_first_new_entry_and_skips_what_a_snapshot_holds() -> None:
    disk = disk_with(2, start=4)
    disk.append([Entry(1, 3), Entry(2, 4)])
    assert [(entry.term, entry.index) for entry in disk.entries(4, 5, NO_LIMIT)] == [(2, 4)]
    assert disk.last_index() == 4
    disk.append([Entry(1, 2)])
    assert disk.last_index() == 4


def test_a_batch_holds_at_least_one_entry() -> None:
    entries = [Entry(1, index, EntryType.NORMAL, bytes(84)) for index in (1, 2, 3)]
    assert len(limit_size(entries, 0)) == 1
    assert len(limit_size(entries, 200)) == 2
    assert len(limit_size(entries, NO_LIMIT)) == 3
    assert limit_size([], 0) == []


# The log.


def test_a_batch_reaches_from_disk_into_memory() -> None:
    log = Log(disk_with(3), SILENT, NO_LIMIT)
    log.append([Entry(1, 4, EntryType.NORMAL, b"e4"), Entry(1, 5, EntryType.NORMAL, b"e5")])
    assert [entry.index for entry in log.entries(2, NO_LIMIT)] == [2, 3, 4, 5]
    assert [entry.index for entry in log.entries(2, 18 * 3)] == [2, 3, 4]
    # The last one of memory does not fit and is not forced in.
    assert [entry.index for entry in log.entries(3, 18)] == [3]
    assert [entry.index for entry in log.entries(6, NO_LIMIT)] == []


def test_the_last_possible_match_skips_whole_terms() -> None:
    disk = MemoryStorage()
    disk.append([Entry(term, index) for index, term in enumerate((1, 1, 3, 3, 3, 5), start=1)])
    log = Log(disk, SILENT, NO_LIMIT)
    assert log.last_possible_match(6, 4) == (5, 3)
    assert log.last_possible_match(5, 2) == (2, 1)
    assert log.last_possible_match(2, 9) == (2, 1)
    # Beyond the end nothing is known, so nothing is excluded.
    assert log.last_possible_match(9, 4) == (9, 0)
    assert log.last_possible_match(6, 0) == (0, 0)
    disk.create_snapshot(4, MembershipState(voters=(1,)), b"")
    disk.compact(4)
    assert log.last_possible_match(6, 4) == (5, 3)
    assert log.last_possible_match(6, 2) == (3, 0)
    assert log.last_possible_match(2, 2) == (2, 0)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.integers(0, 12), st.integers(0, 9))
def test_halving_finds_what_walking_finds(steps: list[int], index: int, term: int) -> None:
    terms = [1 + sum(steps[: position + 1]) for position in range(len(steps))]
    disk = MemoryStorage()
    disk.append([Entry(each, position) for position, each in enumerate(terms, start=1)])
    found = Log(disk, SILENT, NO_LIMIT).last_possible_match(index, term)
    if index > len(terms):
        assert found == (index, 0)
        return
    walked = next((at for at in range(index, 0, -1) if terms[at - 1] <= term), 0)
    assert found == (walked, terms[walked - 1] if walked else 0)


def test_entries_of_an_overtaken_write_stay_in_memory() -> None:
    log = Log(MemoryStorage(), SILENT, NO_LIMIT)
    log.append([Entry(1, 1), Entry(1, 2)])
    log.unstable.accept_in_progress()
    log.append([Entry(2, 2), Entry(2, 3)])
    assert [entry.index for entry in log.unstable.next_entries()] == [2, 3]
    log.unstable.stable_to(1, 2)
    assert log.unstable.offset == 1
    log.unstable.stable_to(1, 1)
    assert log.unstable.offset == 2
    log.unstable.stable_to(2, 9)
    assert len(log.unstable.entries) == 2


# Progress.


def progress(match: int = 5, next_index: int = 6) -> Progress:
    return Progress(match=match, next_index=next_index, inflights=Inflights(2), epoch=1, learner=False)


def test_a_probe_is_answered_once() -> None:
    probing = progress(match=0, next_index=9)
    probing.sent_entries(1, 10)
    assert probing.paused
    assert not probing.refuse(7, 3), "an answer to an older probe"
    assert probing.refuse(8, 3)
    assert (probing.next, probing.paused) == (4, False)
    # A hint beyond the probe does not move it forward.
    assert probing.refuse(3, 99)
    assert probing.next == 3


def test_what_was_acknowledged_cannot_be_refused() -> None:
    probing = progress(match=5, next_index=6)
    assert not probing.refuse(5, 0)
    assert probing.next == 6
    probing.become_replicate()
    assert not probing.refuse(5, 0)
    assert probing.refuse(7, 6)


def test_a_full_pipeline_pauses_until_an_answer_frees_it() -> None:
    sending = progress()
    sending.become_replicate()
    sending.sent_entries(2, 10)
    sending.sent_entries(1, 10)
    assert (sending.next, sending.paused) == (9, True)
    assert str(sending) == "StateReplicate match=5 next=9 paused inactive inflight=2[full]"
    assert sending.accept(7)
    sending.inflights.free_up_to(7)
    assert not sending.paused
    assert len(sending.inflights) == 1
    assert not sending.accept(7), "nothing new"


def test_a_pipeline_is_full_by_bytes_too() -> None:
    flying = Inflights(10, 100)
    flying.add(1, 60)
    assert not flying.full
    flying.add(2, 60)
    assert flying.full
    flying.free_up_to(1)
    assert not flying.full


def test_after_a_snapshot_probing_starts_behind_it_unless_it_failed() -> None:
    waiting = progress()
    waiting.become_snapshot(20)
    assert waiting.paused
    waiting.become_probe()
    assert (waiting.state, waiting.next) == (ProgressState.PROBE, 21)
    waiting.become_snapshot(30)
    waiting.pending_snapshot = 0
    waiting.become_probe()
    assert waiting.next == 6


def test_the_commit_index_is_sent_only_where_it_helps() -> None:
    following = progress(match=5, next_index=9)
    assert following.can_bump_commit(6)
    following.sent_commit = 6
    assert not following.can_bump_commit(6)
    following.sent_commit = 8
    # It was told of everything that it can have.
    assert not following.can_bump_commit(12)
