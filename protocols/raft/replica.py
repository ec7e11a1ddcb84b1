"""The replica: one node's consensus state, and what is the same in every role.

Terms, votes, campaigns and timers are here; what a leader, a follower and a
candidate do with a message is in the modules of these names. Reached through
`RawNode`; nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from protocols.raft import candidate, follower, leader, wary
from protocols.raft.config import Config
from protocols.raft.errors import BadMessage, Fault
from protocols.raft.hooks import Judge, Sealer
from protocols.raft.log import Log
from protocols.raft.logger import Logger
from protocols.raft.membership import Membership, carries_change, restore
from protocols.raft.messages import (
    ANSWERS,
    FROM_LEADER,
    NO_NODE,
    TERMLESS,
    TRANSFER_CONTEXT,
    VOTE_RESPONSE,
    Entry,
    HardState,
    MembershipState,
    Message,
    MessageKind,
    ReadState,
    Role,
    Snapshot,
    SoftState,
    entries_bytes,
    payload_bytes,
)
from protocols.raft.quorum import VoteResult
from protocols.raft.reads import ReadQueue
from protocols.raft.storage import Storage
from protocols.raft.tracker import Tracker


class Replica:
    """Term, vote, role, log and members of one node.

    messages: may be sent at once. after_persist: only when everything handed
    out before them is on disk; those to ourselves are stepped then.
    """

    def __init__(
        self,
        config: Config,
        storage: Storage,
        random: Random,
        logger: Logger,
        sealer: Sealer,
        judge: Judge | None = None,
    ) -> None:
        self.config = config
        self.id = config.id
        self.random = random
        self.logger = logger
        self.sealer = sealer
        self.judge = judge
        self.log = Log(storage, logger, config.max_committed_size_per_ready)
        self.tracker = Tracker(max_inflight=config.max_inflight_msgs, max_inflight_bytes=config.max_inflight_bytes)
        self.term = 0
        self.vote = NO_NODE
        self.role = Role.FOLLOWER
        self.leader = NO_NODE
        self.messages: list[Message] = []
        self.after_persist: list[Message] = []
        self.read_states: list[ReadState] = []
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.election_timeout = config.election_tick
        self.heard_term = self.asked_term = 0
        self.since_promise = config.election_tick
        # What only a leader uses.
        self.transferee = NO_NODE
        self.pending_change_index = 0  # no membership change is proposed before this is applied
        self.uncommitted_bytes = 0
        self.reads = ReadQueue()
        self.early_reads: list[Message] = []  # waiting for the first commit of the term

        hard_state, membership = storage.initial_state()
        self.switch_membership(restore(membership))
        self.term, self.vote = hard_state.term, hard_state.vote
        self.log.load(hard_state, config.applied)
        self.become_follower(self.term, NO_NODE)
        last_term, last_index = self.log.last
        logger.info(
            "newRaft %x [peers: [%s], term: %d, commit: %d, applied: %d, lastindex: %d, lastterm: %d]",
            self.id,
            ",".join(f"{node:x}" for node in sorted(self.tracker.membership.quorum.ids)),
            self.term,
            self.log.committed,
            self.log.applied,
            last_index,
            last_term,
        )

    @property
    def hard_state(self) -> HardState:
        """What must be on disk before anything that depends on it is said."""
        return HardState(self.term, self.vote, self.log.committed)

    @property
    def soft_state(self) -> SoftState:
        """What may be forgotten."""
        return SoftState(self.leader, self.role)

    @property
    def wary(self) -> bool:
        """Some members may lie: no one of them is believed that a term has begun."""
        return self.tracker.membership.quorum.needed > 0

    @property
    def promotable(self) -> bool:
        """May this node become leader: it votes, and no snapshot is waiting to become its state."""
        progress = self.tracker.progress.get(self.id)
        return progress is not None and not progress.learner and self.log.unstable.snapshot is None

    # Roles.

    def become_follower(self, term: int, leader_id: int) -> None:
        """Follow `leader_id`, or nobody yet, in `term`."""
        self._reset(term)
        self.leader = leader_id
        self.role = Role.FOLLOWER
        self.logger.info("%x became follower at term %d", self.id, term)

    def become_pre_candidate(self) -> None:
        """Ask around whether a campaign could succeed; term and vote stay as they are."""
        assert self.role is not Role.LEADER, "a leader does not campaign"
        self.tracker.votes = {}
        self.leader = NO_NODE
        self.role = Role.PRE_CANDIDATE
        self.logger.info("%x became pre-candidate at term %d", self.id, self.term)

    def become_candidate(self, term: int) -> None:
        """Begin a term of our own, with our vote for ourselves."""
        assert self.role is not Role.LEADER, "a leader does not campaign"
        self._reset(term)
        self.vote = self.id
        self.since_promise = 0
        self.role = Role.CANDIDATE
        self.logger.info("%x became candidate at term %d", self.id, self.term)

    def become_leader(self) -> None:
        """Lead the term we were elected for, and append its first entry."""
        assert self.role is Role.CANDIDATE, "only a candidate is elected"
        self._reset(self.term)
        self.leader = self.id
        self.role = Role.LEADER
        ours = self.tracker.progress[self.id]
        ours.become_replicate()
        ours.recent_active = True
        # Somewhere in the tail there may be a membership change; rather than
        # look for it, wait until the whole tail is applied.
        self.pending_change_index = self.log.last_index
        leader.append(self, [Entry()], first_of_term=True)
        self.logger.info("%x became leader at term %d", self.id, self.term)

    def _reset(self, term: int) -> None:
        if term != self.term:
            self.term = term
            self.vote = NO_NODE
        self.leader = NO_NODE
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.election_timeout = self._draw_election_timeout()
        self.transferee = NO_NODE
        last_index = self.log.last_index
        self.tracker.restart(last_index)
        if self.id in self.tracker.progress:
            self.tracker.progress[self.id].match = last_index
        self.pending_change_index = 0
        self.uncommitted_bytes = 0
        self.reads = ReadQueue()
        self.early_reads = []

    def _draw_election_timeout(self) -> int:
        """election_tick <= timeout < 2 * election_tick, early in that range for strong devices."""
        base, priority = self.config.election_tick, self.config.priority
        draws = [self.random.randrange(base) for _ in range(abs(priority) + 1)]
        return base + (min(draws) if priority >= 0 else max(draws))

    # Time.

    def tick(self) -> None:
        """One tick has passed."""
        if self.role is Role.LEADER:
            leader.tick(self)
            return
        self.wait()
        if self.promotable and self.election_elapsed >= self.election_timeout:
            self.election_elapsed = 0
            self.campaign()

    def wait(self) -> None:
        """One tick has passed for a node that does not lead: what it owes to a leader or a candidate runs out."""
        self.election_elapsed += 1
        self.since_promise += 1

    # Campaigns.

    def campaign(self, *, transfer: bool = False) -> None:
        """Campaign, unless we lead, may not lead, or do not know yet who votes."""
        if self.role is Role.LEADER:
            self.logger.debug("%x ignoring MsgHup because already leader", self.id)
        elif not self.promotable:
            self.logger.warning("%x is unpromotable and can not campaign", self.id)
        elif self.change_unapplied():
            self.logger.warning(
                "%x cannot campaign at term %d since there are still pending configuration changes to apply",
                self.id,
                self.term,
            )
        else:
            self.logger.info("%x is starting a new election at term %d", self.id, self.term)
            # A successor chosen by the leader does not come out of a partition, so it need not ask first.
            self.ask_for_votes(pre_vote=self.config.pre_vote and not transfer, transfer=transfer)

    def ask_for_votes(self, *, pre_vote: bool, transfer: bool = False) -> None:
        """Send vote requests to every voter; our own vote counts once it is on disk."""
        if pre_vote:
            # Who has asked once already, and was told that a later term has begun, asks about the one after it.
            known = self.term if self.role is Role.FOLLOWER else max(self.term, self.heard_term)
            self.become_pre_candidate()
            kind, term = MessageKind.PRE_VOTE, known + 1
            self.asked_term = term
        else:
            self.become_candidate(self.term + 1 if transfer else max(self.term + 1, self.asked_term))
            kind, term = MessageKind.VOTE, self.term
        last_term, last_index = self.log.last
        for node in sorted(self.tracker.membership.quorum.ids):
            if node == self.id:
                self.send(Message(kind=VOTE_RESPONSE[kind], to=node, term=term))
                continue
            self.logger.info(
                "%x [logterm: %d, index: %d] sent %s request to %x at term %d",
                self.id,
                last_term,
                last_index,
                kind,
                node,
                self.term,
            )
            context = TRANSFER_CONTEXT if transfer else b""
            self.send(Message(kind=kind, to=node, term=term, index=last_index, log_term=last_term, context=context))

    def change_unapplied(self) -> bool:
        """Is a committed membership change still to be applied? Then we may count the wrong quorum."""
        return any(carries_change(entry) for entry in self.log.unapplied())

    # Messages.

    def send(self, message: Message) -> None:
        """Queue a message, stamped with our id and term."""
        stamped: dict[str, object] = {}
        if message.sender == NO_NODE:
            stamped["sender"] = self.id
        if message.term == 0 and message.kind not in TERMLESS:
            stamped["term"] = self.term
        message = msgspec.structs.replace(message, **stamped) if stamped else message
        if self._waits_for_disk(message.kind):
            self.after_persist.append(message)
        else:
            assert message.to != self.id, f"{message.kind} to ourselves"
            self.messages.append(message)

    def _waits_for_disk(self, kind: MessageKind) -> bool:
        # A vote or an acknowledgement is a promise: it must survive a crash. A
        # vote request promises too: that our log reaches as far as it says.
        if kind is MessageKind.VOTE:
            return not self.config.early_vote_requests
        return kind in ANSWERS and kind is not MessageKind.HEARTBEAT_RESP

    def step(self, message: Message) -> BadMessage | None:
        """Take in a message from a peer, or from ourselves once it is persisted."""
        if message.term > self.term:
            if self._defends_leader(message) or wary.turns_away(self, message):
                return None
            self._meet_higher_term(message)
        elif 0 < message.term < self.term:
            self._meet_lower_term(message)
            return None
        if message.kind in VOTE_RESPONSE:
            self._answer_vote_request(message)
            return None
        if message.kind in FROM_LEADER and self.leader not in (NO_NODE, message.sender):
            text = f"{message.kind} of term {message.term} from {message.sender}, which {self.leader} leads"
            return BadMessage(Fault.SECOND_LEADER, text)
        return _STEP[self.role](self, message)

    def _defends_leader(self, message: Message) -> bool:
        """Ignore a campaign while we hear our leader, unless it asked for it (dissertation, 4.2.3)."""
        if message.kind not in VOTE_RESPONSE or message.context == TRANSFER_CONTEXT:
            return False
        base = self.config.election_tick
        led = self.leader != NO_NODE and self.election_elapsed < base
        in_lease = self.config.check_quorum and (led or wary.is_bound(self))
        if in_lease:
            self.logger.info(
                "%x [logterm: %d, index: %d, vote: %x] ignored %s from %x [logterm: %d, index: %d] "
                "at term %d: lease is not expired (remaining ticks: %d)",
                *self._vote_facts(message),
                self.term,
                base - self.election_elapsed,
            )
        return in_lease

    def _meet_higher_term(self, message: Message) -> None:
        granted_pre_vote = message.kind is MessageKind.PRE_VOTE_RESP and not message.reject
        if message.kind is MessageKind.PRE_VOTE or granted_pre_vote:
            return  # these speak of a term that nobody has begun
        self.logger.info(
            "%x [term: %d] received a %s message with higher term from %x [term: %d]",
            self.id,
            self.term,
            message.kind,
            message.sender,
            message.term,
        )
        self.become_follower(message.term, message.sender if message.kind in FROM_LEADER else NO_NODE)

    def _meet_lower_term(self, message: Message) -> None:
        guarded = self.config.check_quorum or self.config.pre_vote
        if guarded and message.kind in (MessageKind.HEARTBEAT, MessageKind.APP):
            # We came back from a partition with a higher term, and neither our
            # campaigns nor that leader's messages get through: an answer of our
            # term makes the leader step down and everybody meet in a new term.
            self.send(Message(kind=MessageKind.APP_RESP, to=message.sender))
        elif message.kind is MessageKind.PRE_VOTE:
            # Silence could leave a candidate with an old term asking forever.
            self.refuse_vote(message)
        else:
            self.logger.info(
                "%x [term: %d] ignored a %s message with lower term from %x [term: %d]",
                self.id,
                self.term,
                message.kind,
                message.sender,
                message.term,
            )

    def _answer_vote_request(self, message: Message) -> None:
        # Learners vote too when asked: they may have been made voters by an entry that has not reached them.
        may_vote = (
            self.vote == message.sender
            or (self.vote == NO_NODE and self.leader == NO_NODE)
            or (message.kind is MessageKind.PRE_VOTE and message.term > self.term)
        )
        if may_vote and self.has_enough(message):
            self._log_vote("cast %s for", message)
            # The term of the request: a pre-vote is about a term that we are not in.
            self.send(Message(kind=VOTE_RESPONSE[message.kind], to=message.sender, term=message.term))
            if message.kind is MessageKind.VOTE:
                self.election_elapsed = self.since_promise = 0
                self.vote = message.sender
        else:
            self.refuse_vote(message)

    def has_enough(self, message: Message) -> bool:
        """Whether the sender of a vote request could lead."""
        up_to_date = self.log.is_up_to_date(message.log_term, message.index)
        return up_to_date if self.judge is None else self.judge(message, up_to_date)

    def refuse_vote(self, message: Message) -> None:
        """Tell the sender of a vote request that it does not get our vote."""
        self._log_vote("rejected %s from", message)
        tells = self.config.refusals_tell_commit
        commit = self.log.committed if tells else 0
        self.send(
            Message(
                kind=VOTE_RESPONSE[message.kind],
                to=message.sender,
                term=self.term,
                reject=True,
                commit=commit,
                log_term=self.log.term_or_zero(commit),
            )
        )

    def learn_commit(self, message: Message) -> bool:
        """A voter has refused us and says what is committed; True if that is news about our own log.

        We may be asking members of an old membership because we do not know that
        its end is committed; and they, being out, hold entries that no one else
        will ever have, and refuse us for ever.
        """
        if self.config.external_commit or not message.commit:
            return False
        return self.log.matches(message.log_term, message.commit) and self.log.commit_to(message.commit)

    def _log_vote(self, what: str, message: Message) -> None:
        self.logger.info(
            f"%x [logterm: %d, index: %d, vote: %x] {what} %x [logterm: %d, index: %d] at term %d",
            *self._vote_facts(message),
            self.term,
        )

    def _vote_facts(self, message: Message) -> tuple[object, ...]:
        theirs = (message.kind, message.sender, message.log_term, message.index)
        return (self.id, *self.log.last, self.vote, *theirs)

    def poll(self, message: Message) -> VoteResult:
        """Count an answer to our campaign."""
        verb = "received %s rejection from" if message.reject else "received %s from"
        self.logger.info(f"%x {verb} %x at term %d", self.id, message.kind, message.sender, self.term)
        self.tracker.record_vote(message.sender, not message.reject)
        granted, refused, result = self.tracker.tally()
        self.logger.info("%x has received %d %s votes and %d vote rejections", self.id, granted, message.kind, refused)
        return result

    # What the disk and the owner report.

    def entries_stable(self, message: Message) -> None:
        """The write that ended with entry (log_term, index), and the snapshot in it, is on disk."""
        if message.index and message.term < self.term:
            # In a later term these entries may have been replaced in memory while
            # the newer ones wait to be written: storage must not be read there yet.
            self.logger.info(
                "%x [term: %d] ignored entry appends from a %s message with lower term [term: %d]",
                self.id,
                self.term,
                message.kind,
                message.term,
            )
        elif message.index:
            self.log.unstable.stable_to(message.log_term, message.index)
        if message.snapshot is not None:
            self.log.unstable.stable_snapshot_to(message.snapshot.index)
            self.applied_to(message.snapshot.index, 0)

    def entries_applied(self, message: Message) -> None:
        """The owner has applied these entries."""
        self.applied_to(message.entries[-1].index, entries_bytes(message.entries))
        self.uncommitted_bytes = max(self.uncommitted_bytes - payload_bytes(message.entries), 0)

    def applied_to(self, index: int, size: int) -> None:
        """Everything up to `index` is applied."""
        self.log.applied_to(max(index, self.log.applied), size)
        leader.leave_joint_if_due(self)

    # Members.

    def switch_membership(self, membership: Membership) -> MembershipState:
        """Count by this membership from now on."""
        self.tracker.switch(membership, self.log.last_index)
        self.logger.info("%x switched to configuration %s", self.id, membership)
        if self.role is Role.LEADER:
            leader.membership_switched(self)
        return membership.state()

    def restore(self, snapshot: Snapshot) -> bool:
        """Replace log and members by the leader's snapshot; False if it brings nothing.

        We need not be a member in it: the entry that adds us may come after it.
        """
        if snapshot.index <= self.log.committed:
            return False
        membership = restore(snapshot.membership)
        if self.log.matches(snapshot.term, snapshot.index):
            self._log_restored("fast-forwarded commit to", snapshot)
            self.log.commit_to(snapshot.index)
            return False
        self.log.restore(snapshot)
        self.tracker.forget_everybody()
        self.switch_membership(membership)
        self._log_restored("restored", snapshot)
        return True

    def _log_restored(self, verb: str, snapshot: Snapshot) -> None:
        last_term, last_index = self.log.last
        self.logger.info(
            f"%x [commit: %d, lastindex: %d, lastterm: %d] {verb} snapshot [index: %d, term: %d]",
            self.id,
            self.log.committed,
            last_index,
            last_term,
            snapshot.index,
            snapshot.term,
        )


_STEP: dict[Role, Callable[[Replica, Message], BadMessage | None]] = {
    Role.FOLLOWER: follower.step,
    Role.CANDIDATE: candidate.step,
    Role.PRE_CANDIDATE: candidate.step,
    Role.LEADER: leader.step,
}
