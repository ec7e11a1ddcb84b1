"""Configuration: everything about a node's core that does not change while it runs."""

from __future__ import annotations

import msgspec

from protocols.raft.messages import MAX_INT, NO_NODE

NO_LIMIT = 2**63 - 1
"""A byte limit that never bites, for tests and scripts."""

MAX_PRIORITY = 8
"""Beyond eight draws of the election timeout, further ones hardly move it."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """One node's settings. Times are in ticks, sizes in bytes.

    election_tick: a follower that hears nothing for one to two times this long campaigns.
    heartbeat_tick: a leader speaks at least this often.
    applied: index up to which the owner's state is applied at the start.
    pre_vote: ask whether a campaign could succeed before disturbing anybody with a new term.
    check_quorum: a leader that hears no quorum for election_tick steps down;
        followers that hear their leader refuse to elect another.
    max_size_per_msg: data in one APP; a single larger entry is still sent.
    max_inflight_msgs, max_inflight_bytes: APPs under way to one follower; 0 bytes = unlimited.
    max_uncommitted_entries_size: data proposed but not applied, beyond which proposals are dropped.
    max_committed_size_per_ready: data handed out for applying and not acknowledged.
    async_storage_writes: writes are ordered by messages (see the contract).
    read_only_lease_based: answer reads from the lease, without asking a quorum;
        needs check_quorum, and clocks that run at about the same speed.
    disable_proposal_forwarding: followers drop proposals rather than hand them to the leader.
    step_down_on_removal: a leader that is removed or demoted stops leading as soon as it applies that.
    disable_conf_change_validation: log membership changes that today's membership could not take.
    own_term_first: refuse membership changes until an entry of the leader's own term is committed.
    replace_refused_changes: log an empty entry for a refused membership change, instead of dropping it.
    early_vote_requests: let vote requests leave before term, vote and the log's tip are on disk. Unsafe:
        a candidate that crashed and forgot its last entries could collect votes given to the longer log.
    refusals_tell_commit: a refused vote tells the candidate what is committed. Without it, members that an
        entry has removed can hold up those who do not know yet that it is committed.
    external_commit: entries are committed by `RawNode.commit_to` alone.
    priority: -MAX_PRIORITY .. MAX_PRIORITY. A stronger device draws its election timeout priority + 1
        times and takes the shortest, a weaker one the longest; every node can still be elected.
    """

    id: int
    election_tick: int = 10
    heartbeat_tick: int = 1
    applied: int = 0
    pre_vote: bool = True
    check_quorum: bool = True
    max_size_per_msg: int = 1 << 20
    max_inflight_msgs: int = 64
    max_inflight_bytes: int = 0
    max_uncommitted_entries_size: int = 16 << 20
    max_committed_size_per_ready: int = 1 << 20
    async_storage_writes: bool = False
    read_only_lease_based: bool = False
    disable_proposal_forwarding: bool = False
    step_down_on_removal: bool = True
    disable_conf_change_validation: bool = False
    own_term_first: bool = True
    replace_refused_changes: bool = False
    early_vote_requests: bool = False
    refusals_tell_commit: bool = True
    external_commit: bool = False
    priority: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError, naming the setting, for settings no node could work with."""
        rules = {
            "id": NO_NODE < self.id <= MAX_INT,
            "heartbeat_tick": self.heartbeat_tick > 0,
            "election_tick (more than heartbeat_tick)": self.election_tick > self.heartbeat_tick,
            "max_size_per_msg": self.max_size_per_msg >= 0,
            "max_inflight_msgs": self.max_inflight_msgs > 0,
            "max_inflight_bytes (0 or at least max_size_per_msg)": self.max_inflight_bytes == 0
            or self.max_inflight_bytes >= self.max_size_per_msg,
            "max_uncommitted_entries_size": self.max_uncommitted_entries_size > 0,
            "max_committed_size_per_ready": self.max_committed_size_per_ready > 0,
            "read_only_lease_based (needs check_quorum)": self.check_quorum or not self.read_only_lease_based,
            "priority": -MAX_PRIORITY <= self.priority <= MAX_PRIORITY,
        }
        broken = [name for name, holds in rules.items() if not holds]
        if broken:
            raise ValueError(f"raft configuration of node {self.id}: out of range: {', '.join(broken)}")
