"""What a node offers beyond agreement: reads, hand-over, limits, snapshots, priority, joint memberships."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from protocols.raft import (
    Config,
    Entry,
    EntryType,
    Fault,
    MembershipChange,
    MembershipError,
    MembershipState,
    Message,
    MessageKind,
    ProgressState,
    ProposalDropped,
    RawNode,
    Role,
    Snapshot,
    Transition,
    parse_changes,
)
from protocols.raft.config import MAX_PRIORITY
from protocols.raft.reads import MAX_PENDING_READS
from tests.raft.nodes import Home, MemoryDisk, Village, appends, data_of, led_by_1, reads_of, role

# Reads.


def test_a_read_waits_for_a_quorum_to_confirm_the_leader() -> None:
    village = led_by_1()
    village.cut_off(2, 3)
    assert village[1].read_index(b"balance")
    assert reads_of(village, 1) == []
    village.heal()
    village[1].tick()
    assert reads_of(village, 1) == [(village[1].commit, b"balance")]


def test_a_read_through_a_follower_is_answered_there() -> None:
    village = led_by_1()
    assert village[3].read_index(b"from 3")
    assert reads_of(village, 3) == [(village[1].commit, b"from 3")]


def test_reads_are_answered_in_order_and_together() -> None:
    village = led_by_1()
    village.cut_off(2, 3)
    for context in (b"a", b"b", b"c"):
        village[1].read_index(context)
    village.settle()
    village.heal()
    # One heartbeat carries the newest context; confirming it confirms the older ones.
    village[1].tick()
    assert [context for _, context in reads_of(village, 1)] == [b"a", b"b", b"c"]


def test_a_new_leader_reads_nothing_before_its_first_commit() -> None:
    village = Village(3)
    village.loses = lambda message: message.kind is MessageKind.APP
    village.elect(1)
    village[1].read_index(b"early")
    village[1].tick()
    assert reads_of(village, 1) == []
    village.heal()
    village[1].tick()
    assert reads_of(village, 1) == [(village[1].commit, b"early")]


def test_a_leader_alone_confirms_itself_after_its_first_commit() -> None:
    home = Home(1, (1,))
    home.node.campaign()
    while role(home.node) is not Role.LEADER:
        ready = home.node.ready()
        home.write(ready)
        home.node.advance(ready)
    assert home.node.read_index(b"too early to know")
    assert home.reads == []
    home.work()
    home.node.read_index(b"now")
    home.work()
    assert [(read.index, read.context) for read in home.reads] == [(1, b"too early to know"), (1, b"now")]


def test_a_deposed_leader_answers_no_read() -> None:
    village = led_by_1()
    village.cut_off(1)
    village.elect(2)
    village[1].read_index(b"stale")
    assert role(village[1]) is Role.LEADER
    assert reads_of(village, 1) == []
    village.heal()
    village[2].tick()
    assert reads_of(village, 1) == []
    assert role(village[1]) is Role.FOLLOWER


def test_a_read_without_leader_and_one_too_many_are_refused() -> None:
    village = Village(3)
    assert not village[1].read_index(b"nobody leads")
    village.elect(1)
    village.cut_off(2, 3)
    assert all(village[1].read_index(b"%d" % number) for number in range(MAX_PENDING_READS))
    assert not village[1].read_index(b"one more")
    stranger = Message(kind=MessageKind.READ_INDEX, sender=2, to=1, entries=(Entry(data=b"from 2"),))
    refused = village[1].step(stranger)
    assert refused is not None
    assert refused.fault is Fault.BUSY


def test_a_lease_answers_at_once() -> None:
    village = led_by_1(check_quorum=True, read_only_lease_based=True)
    village.cut_off(2, 3)
    village[1].read_index(b"lease")
    assert reads_of(village, 1) == [(village[1].commit, b"lease")]
    village[2].forget_leader()
    assert village[2].leader == 1


# Hand-over.


def test_leadership_is_handed_over_at_once_to_a_follower_that_has_everything() -> None:
    village = led_by_1(check_quorum=True, pre_vote=True)
    village[1].transfer_leadership(3)
    village.settle()
    assert role(village[3]) is Role.LEADER
    assert village[1].leader == 3


def test_a_successor_is_brought_up_to_date_first_and_proposals_wait() -> None:
    village = led_by_1()
    village.cut_off(3)
    village[1].propose(b"missed by 3")
    village.settle()
    village.heal()
    village[1].report_unreachable(3)
    village[1].transfer_leadership(3)
    with pytest.raises(ProposalDropped, match="handed to 3"):
        village[1].propose(b"meanwhile")
    village.settle()
    assert role(village[3]) is Role.LEADER
    assert data_of(village.homes[3].applied) == [b"missed by 3"]


def test_a_successor_that_does_not_come_is_given_up() -> None:
    village = led_by_1()
    village.cut_off(3)
    village[1].transfer_leadership(3)
    assert village[1].transferee == 3
    for _ in range(village.homes[1].config.election_tick):
        village[1].tick()
    assert village[1].transferee == 0
    village[1].propose(b"goes on")


def test_a_follower_asks_its_leader_to_hand_over() -> None:
    village = led_by_1()
    village[2].transfer_leadership(3)
    village.settle()
    assert role(village[3]) is Role.LEADER


def test_a_learner_does_not_lead() -> None:
    village = led_by_1()
    village[1].propose_membership(MembershipChange(parse_changes(["l3"]), Transition.SINGLE))
    village.settle()
    village[1].transfer_leadership(3)
    village.settle()
    assert role(village[1]) is Role.LEADER
    assert village[3].learners == {3}
    for _ in range(4 * village.homes[3].config.election_tick):
        village[3].tick()
    assert role(village[3]) is Role.FOLLOWER


# Limits.


def test_a_message_holds_at_most_so_many_bytes_but_always_one_entry() -> None:
    village = led_by_1(max_size_per_msg=100)
    village.cut_off(3)
    for size in (30, 30, 30, 300, 30):
        village[1].propose(bytes([size % 256]) * size)
    village.settle()
    village.heal()
    village.heard.clear()
    village[1].report_unreachable(3)
    village[1].tick()
    village.settle()
    sizes = [[len(entry.data) for entry in sent.entries] for sent in appends(village.heard) if sent.to == 3]
    # Entries cost 16 bytes each beside their data.
    assert [batch for batch in sizes if batch] == [[30, 30], [30], [300], [30]]
    assert village[3].last_index == village[1].last_index


def test_the_pipeline_to_a_follower_is_limited_in_messages_and_in_bytes() -> None:
    village = led_by_1(max_inflight_msgs=10, max_inflight_bytes=100, max_size_per_msg=50)
    village.cut_off(3)
    for _ in range(8):
        village[1].propose(bytes(40))
    assert village[1].progress[3].inflight == 3
    assert village[1].progress[3].inflight_full
    village = led_by_1(max_inflight_msgs=2)
    village.cut_off(3)
    for _ in range(8):
        village[1].propose(bytes(40))
    assert village[1].progress[3].inflight == 2
    assert village[1].progress[3].paused


def test_proposals_are_dropped_while_too_much_is_uncommitted() -> None:
    village = led_by_1(max_uncommitted_entries_size=100)
    village.cut_off(2, 3)
    village[1].propose(bytes(80))
    with pytest.raises(ProposalDropped, match="too much is proposed"):
        village[1].propose(bytes(30))
    village[1].propose(bytes(20))
    village.heal()
    village[1].tick()
    village.settle()
    # A single proposal beyond the limit is taken when nothing else waits: it must go sometime.
    village[1].propose(bytes(200))


def test_committed_entries_come_in_bounded_portions() -> None:
    home = Home(1, (1,), max_committed_size_per_ready=100)
    home.node.campaign()
    home.work()
    for number in range(6):
        home.node.propose(bytes([number]) * 30)
    portions = []
    while home.node.has_ready():
        ready = home.node.ready()
        home.write(ready)
        home.apply(ready)
        portions.append(len(ready.committed_entries))
        home.node.advance(ready)
    assert portions == [0, 2, 2, 2]


# Snapshots.


def test_a_follower_that_missed_too_much_gets_a_snapshot_and_then_the_rest() -> None:
    village = led_by_1()
    village.cut_off(3)
    for number in range(5):
        village[1].propose(b"%d" % number)
    village.settle()
    disk = village.homes[1].disk
    disk.create_snapshot(4, disk.membership, b"state after 4")
    disk.compact(4)
    village.heal()
    village[1].report_unreachable(3)
    village[1].tick()
    village.settle()
    sent = [message for message in village.heard if message.kind is MessageKind.SNAP]
    assert [message.snapshot.data for message in sent if message.snapshot] == [b"state after 4"]
    assert village[3].commit == village[1].commit
    assert [entry.index for entry in village.homes[3].applied] == [1, 5, 6]


def test_a_lost_snapshot_is_sent_again_after_it_is_reported() -> None:
    village = led_by_1()
    village.cut_off(3)
    village[1].propose(b"x")
    village.settle()
    disk = village.homes[1].disk
    disk.create_snapshot(2, disk.membership, b"")
    disk.compact(2)
    village.loses = lambda message: message.kind is MessageKind.SNAP
    village[1].report_unreachable(3)
    village[1].tick()
    village.settle()
    before = village[1].progress[3].state
    assert before is ProgressState.SNAPSHOT
    village.heal()
    village[1].report_snapshot(3, ok=False)
    after = village[1].progress[3].state
    assert after is ProgressState.PROBE
    village[1].tick()
    village.settle()
    assert village[3].commit == village[1].commit


def test_a_snapshot_from_before_we_were_a_member_still_brings_us_forward() -> None:
    home = Home(4, (1, 2, 3))
    snapshot = Snapshot(5, 1, MembershipState(voters=(1, 2, 3)), b"state")
    home.node.step(Message(kind=MessageKind.SNAP, sender=1, to=4, term=1, snapshot=snapshot))
    (answer,) = home.work()
    assert (answer.kind, answer.index) == (MessageKind.APP_RESP, 5)
    assert home.node.voters == {1, 2, 3}
    home.node.campaign()
    assert role(home.node) is Role.FOLLOWER


# Elections.


def test_a_strong_device_campaigns_early_and_a_weak_one_late() -> None:
    def mean_timeout(priority: int) -> float:
        total = 0
        for seed in range(200):
            disk = MemoryDisk(MembershipState(voters=(1, 2)))
            config = Config(id=1, election_tick=20, pre_vote=False, priority=priority)
            node = RawNode(config, disk, random=Random(f"seed {seed}"))
            ticks = 0
            while role(node) is Role.FOLLOWER:
                node.tick()
                ticks += 1
            assert 20 <= ticks < 40
            total += ticks
        return total / 200

    strong, usual, weak = (mean_timeout(p) for p in (MAX_PRIORITY, 0, -MAX_PRIORITY))
    assert strong < 24 < 27 < usual < 33 < 36 < weak


def test_without_a_majority_nobody_leads() -> None:
    village = Village(3)
    village.cut_off(1)
    village.elect(1)
    assert role(village[1]) is Role.CANDIDATE
    village.heal()
    village.cut_off(2, 3)
    village.elect(2)
    assert role(village[2]) is Role.CANDIDATE


def test_a_settings_mistake_is_named() -> None:
    with pytest.raises(ValueError, match="election_tick"):
        Config(id=1, election_tick=1, heartbeat_tick=1)
    with pytest.raises(ValueError, match="id, max_inflight_msgs"):
        Config(id=0, max_inflight_msgs=0)
    with pytest.raises(ValueError, match="needs check_quorum"):
        Config(id=1, check_quorum=False, read_only_lease_based=True)


# Joint memberships.


def test_a_joint_membership_is_left_by_itself_with_a_sealed_entry() -> None:
    village = led_by_1(5)
    change = MembershipChange(parse_changes(["r4", "r5"]))
    village[1].propose_membership(change)
    village.settle()
    assert village[1].membership == MembershipState(voters=(1, 2, 3))
    kinds = [entry.type for entry in village.homes[2].applied]
    assert kinds == [EntryType.NORMAL, EntryType.CHANGE, EntryType.CHANGE]


def test_in_a_joint_membership_both_halves_must_agree() -> None:
    village = led_by_1(3)
    for newcomer in (4, 5, 6):
        village.homes[newcomer] = Home(newcomer, (1, 2, 3))
    # The way in is acknowledged; then the incoming half falls silent.
    village[1].propose_membership(MembershipChange(parse_changes(["r2", "r3", "v4", "v5"]), Transition.EXPLICIT))
    village.settle()
    assert village[1].membership.voters_outgoing == (1, 2, 3)
    village.cut_off(4, 5)
    village[1].propose(b"only the old half hears this")
    before = village[1].commit
    village.settle()
    assert village[1].commit == before
    village.heal()
    village[1].tick()
    village.settle()
    assert village[1].commit == before + 1


def test_a_membership_change_that_cannot_be_made_changes_nothing() -> None:
    village = led_by_1()
    before = village[1].membership
    with pytest.raises(MembershipError, match="more than one voter changed"):
        village[1].apply_membership(MembershipChange(parse_changes(["r2", "v4"]), Transition.SINGLE))
    assert village[1].membership == before


def test_proposals_of_peers_reach_only_a_leader() -> None:
    village = led_by_1()
    hand_over = Message(kind=MessageKind.PROP, sender=3, to=2, entries=(Entry(data=b"x"),))
    refused = village[2].step(hand_over)
    assert refused is not None
    assert refused.fault is Fault.DROPPED
    refused = village[1].step(msgspec.structs.replace(hand_over, to=1, entries=(Entry(0, 0, EntryType.CHANGE, b"?"),)))
    assert refused is not None
    assert refused.fault is Fault.MALFORMED
