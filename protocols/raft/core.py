"""The core: a Raft node without I/O.

`RawNode` is the whole public interface; the numbered contract that its caller
must keep is in the package's README.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random

import msgspec

from protocols.raft import leader
from protocols.raft.checks import check
from protocols.raft.config import Config
from protocols.raft.errors import BadMessage, CommitRefused, Fault, ProposalDropped
from protocols.raft.hooks import Judge, Sealer, unsealed
from protocols.raft.logger import SILENT, Logger
from protocols.raft.membership import MembershipChange, apply_change, restore
from protocols.raft.messages import (
    ANSWERS_OF_MEMBERS,
    NO_NODE,
    STORAGE_APPEND_TARGET,
    STORAGE_APPLY_TARGET,
    Entry,
    HardState,
    MembershipState,
    Message,
    MessageKind,
    Role,
)
from protocols.raft.progress import ProgressView
from protocols.raft.ready import Ready
from protocols.raft.replica import Replica
from protocols.raft.storage import Storage


class RawNode:
    """One node of one Raft group.

    Args:
        config: settings, fixed for the node's life.
        storage: what is on disk; read by the core, written by the owner.
        random: draws election timeouts; seeded differently on every node.
        logger: for transcripts in tests; silent by default.
        sealer: supplies the data of every entry this node appends as leader.
        judge: whether the sender of a vote request has enough to lead, where that is not a matter of
            the log's length (None: it is).
    Raises:
        ValueError: storage holds a commit index beyond its log, or a membership that contradicts itself.
    """

    def __init__(
        self,
        config: Config,
        storage: Storage,
        *,
        random: Random,
        logger: Logger = SILENT,
        sealer: Sealer = unsealed,
        judge: Judge | None = None,
    ) -> None:
        self._replica = Replica(config, storage, random, logger, sealer, judge)
        self._config = config
        self._logger = logger
        self._told_soft = self._replica.soft_state
        self._told_hard = self._replica.hard_state
        self._handed_out: Ready | None = None
        self._on_advance: list[Message] = []

    # What can be asked.

    @property
    def id(self) -> int:
        """Our own node id."""
        return self._replica.id

    @property
    def term(self) -> int:
        """The newest term heard of."""
        return self._replica.term

    @property
    def state(self) -> Role:
        """Follower, pre-candidate, candidate or leader."""
        return self._replica.role

    @property
    def leader(self) -> int:
        """Who leads this term, 0 if not known."""
        return self._replica.leader

    @property
    def vote(self) -> int:
        """Whom we voted for in this term, 0 for nobody."""
        return self._replica.vote

    @property
    def commit(self) -> int:
        """Index of the last committed entry."""
        return self._replica.log.committed

    @property
    def applied(self) -> int:
        """Index of the last entry whose applying was acknowledged."""
        return self._replica.log.applied

    @property
    def first_index(self) -> int:
        """Index of the first entry that the log still holds."""
        return self._replica.log.first_index

    @property
    def last_index(self) -> int:
        """Index of the last entry, on disk or not."""
        return self._replica.log.last_index

    @property
    def last_term(self) -> int:
        """Term of the last entry."""
        return self._replica.log.last[0]

    @property
    def voters(self) -> frozenset[int]:
        """Who votes, in either half of a joint membership."""
        return self._replica.tracker.membership.quorum.ids

    @property
    def needed(self) -> int:
        """How many voters make a quorum, if more than half are not enough; else 0."""
        return self._replica.tracker.membership.quorum.needed

    @property
    def learners(self) -> frozenset[int]:
        """Who receives entries and does not vote."""
        return self._replica.tracker.membership.learners

    @property
    def membership(self) -> MembershipState:
        """The whole membership that the node counts by."""
        return self._replica.tracker.membership.state()

    @property
    def transferee(self) -> int:
        """Whom leadership is being handed to, 0 for nobody."""
        return self._replica.transferee

    @property
    def progress(self) -> Mapping[int, ProgressView]:
        """The leader's view of every member, in order of id; empty on others."""
        if self._replica.role is not Role.LEADER:
            return {}
        return {node: progress.view() for node, progress in sorted(self._replica.tracker.progress.items())}

    def match_of(self, node: int) -> int:
        """As leader: the largest index known to be stored at a member; 0 if none is, or we do not lead."""
        progress = self._replica.tracker.progress.get(node)
        return progress.match if progress is not None and self._replica.role is Role.LEADER else 0

    def term_of(self, index: int) -> int | None:
        """Term of an entry of the log, None where the log does not know it."""
        return self._replica.log.term_or_zero(index) or None

    @property
    def since_promise(self) -> int:
        """Ticks since this node gave its vote, to another or to itself."""
        return self._replica.since_promise

    # What can be wished.

    def tick(self) -> None:
        """One tick of the clock has passed."""
        self._replica.tick()

    def wait(self) -> None:
        """One tick has passed in which this node must not campaign; a leader is silent in it."""
        if self._replica.role is not Role.LEADER:
            self._replica.wait()

    def campaign(self) -> None:
        """Try to become leader now, without waiting for the election timeout."""
        self._replica.campaign()

    def propose(self, data: bytes) -> None:
        """Append an entry, or hand the proposal to the leader. Raises ProposalDropped.

        That a proposal is not dropped here does not mean that it will be committed.
        """
        self._propose(Entry(data=data))

    def propose_membership(self, change: MembershipChange) -> None:
        """Propose a membership change; one at a time, each applied before the next.

        Raises ProposalDropped, saying why.
        """
        self._propose(Entry(type=change.entry_type, data=change.encode()))

    def _propose(self, entry: Entry) -> None:
        refused = self._replica.step(Message(kind=MessageKind.PROP, entries=(entry,)))
        if refused is not None:
            raise ProposalDropped(str(refused))

    def apply_membership(self, change: MembershipChange) -> MembershipState:
        """Count by the changed membership from now on: call it for each committed membership entry, in order.

        Returns the new membership, to be stored with the applied state. Raises
        MembershipError, changing nothing, for a change that this membership cannot take;
        the owner then treats the entry as void - on every node alike, since all apply the same log.
        """
        replica = self._replica
        return replica.switch_membership(apply_change(replica.tracker.membership, change))

    def follow_membership(self, voters: Iterable[int], needed: int = 0) -> MembershipState:
        """Count by these voters from now on: for an owner whose log says by itself who votes after its last entry.

        Call it whenever that changes, also back when entries are replaced; on a leader not before the entry that
        changes it is final, or it would stop counting on itself too early. Voters of one log differ by one node
        from step to step, or two majorities need not meet. Raises MembershipError for ids that cannot be.

        Args:
            needed: how many of them make a quorum, if more than half are not enough; the node then is wary
                of liars (contract, 16).
        """
        membership = restore(MembershipState(voters=tuple(sorted(voters))))
        quorum = msgspec.structs.replace(membership.quorum, needed=needed)
        return self._replica.switch_membership(msgspec.structs.replace(membership, quorum=quorum))

    def hear_term(self, term: int) -> None:
        """Somebody says that this term has begun: should our next campaign fail, the one after it is for a later term.

        Our own term stays what it is until enough would vote for us: a liar cannot part us from a leader.
        """
        self._replica.heard_term = max(self._replica.heard_term, term)

    def read_index(self, context: bytes) -> bool:
        """Ask for a linearizable read; a ReadState with this context follows in a Ready, or nothing does.

        False: nothing will follow, no leader is known or too many reads wait.
        True is no promise, the leader may change: ask again, with another context, after a timeout.
        """
        request = Message(kind=MessageKind.READ_INDEX, entries=(Entry(data=context),))
        return self._replica.role in (Role.LEADER, Role.FOLLOWER) and self._replica.step(request) is None

    def transfer_leadership(self, to: int) -> None:
        """Hand leadership to a voter, or ask the leader to; given up after one election_tick."""
        if self._replica.role is Role.LEADER:
            leader.transfer(self._replica, to)
        else:
            self._replica.step(Message(kind=MessageKind.TRANSFER_LEADER, term=0, vote=to))

    def abandon_campaign(self) -> None:
        """Stand for nothing any more, if we do: for an owner that cannot give its own vote. The term stays."""
        replica = self._replica
        if replica.role in (Role.PRE_CANDIDATE, Role.CANDIDATE):
            replica.become_follower(replica.term, NO_NODE)

    def forget_leader(self) -> None:
        """As follower, stop defending the leader and vote for whoever asks.

        Nothing happens with lease reads, which rely on that defence.
        """
        replica = self._replica
        if replica.role is not Role.FOLLOWER:
            return
        if self._config.read_only_lease_based:
            self._logger.error("ignoring MsgForgetLeader due to ReadOnlyLeaseBased")
        elif replica.leader != NO_NODE:
            self._logger.info("%x forgetting leader %x at term %d", replica.id, replica.leader, replica.term)
            replica.leader = NO_NODE

    def report_unreachable(self, node: int) -> None:
        """The last message to `node` could not be sent."""
        if self._replica.role is Role.LEADER:
            leader.unreachable(self._replica, node)

    def report_snapshot(self, node: int, ok: bool) -> None:
        """The snapshot sent to `node` has arrived, or was lost. Must be called for every SNAP message."""
        if self._replica.role is Role.LEADER:
            leader.snapshot_finished(self._replica, node, ok)

    def commit_to(self, index: int, *, term: int | None = None) -> bool:
        """With external_commit: everything up to `index` is final (see the contract).

        Args:
            index: 0 .. last_index.
            term: of the final entry; when given, our entry there must have it.
        Returns:
            True if the commit index moved. False if it was there already, or if we lead and the entry
            is of an earlier term: then only an entry of our own term above it can make it final for
            sure (Raft paper, figure 8), and that entry exists and will.
        Raises:
            CommitRefused: our log does not hold that entry; fetch it first.
        """
        assert self._config.external_commit, "the core commits by itself unless external_commit is set"
        replica, log = self._replica, self._replica.log
        if index > log.last_index:
            raise CommitRefused(f"entry {index} is final, but the log ends at {log.last_index}")
        if index <= log.committed:
            return False
        ours = log.term(index)
        if term is not None and term != ours:
            raise CommitRefused(f"entry {term}/{index} is final, but the log holds {ours}/{index}")
        if replica.role is Role.LEADER and ours != replica.term:
            return False
        moved = log.commit_to(index)
        if replica.role is Role.LEADER:
            leader.committed_advanced(replica)
        return moved

    # Messages.

    def step(self, message: Message) -> BadMessage | None:
        """Take in a message from a peer.

        Never raises on anything a peer can send: returns why it was refused, or None.
        """
        refused = check(message, self._replica.id)
        if refused is not None:
            return refused
        if message.kind in ANSWERS_OF_MEMBERS and message.sender not in self._replica.tracker.progress:
            return BadMessage(Fault.UNKNOWN_SENDER, f"{message.kind} from {message.sender}")
        return self._replica.step(message)

    def step_local(self, message: Message) -> None:
        """With asynchronous storage writes: take in the responses of our own storage, in order."""
        assert self._config.async_storage_writes, "only with asynchronous storage writes"
        self._take_local(message)

    def _take_local(self, message: Message) -> None:
        if message.kind is MessageKind.STORAGE_APPEND_RESP:
            self._replica.entries_stable(message)
        elif message.kind is MessageKind.STORAGE_APPLY_RESP:
            self._replica.entries_applied(message)
        else:
            # Our own vote or acknowledgement, which is void if we have moved on since.
            assert message.sender == self._replica.id == message.to, f"{message.kind} from {message.sender}"
            self._replica.step(message)

    def take_messages(self) -> tuple[Message, ...]:
        """Messages that may go at once, without waiting for the next Ready.

        For an owner that is busy writing between `ready` and `advance`: ticks and messages
        taken in meanwhile produce heartbeats and answers that must not wait behind the disk.
        """
        messages, self._replica.messages = tuple(self._replica.messages), []
        return messages

    # Work handed out.

    def has_ready(self) -> bool:
        """Is there anything to do? False between `ready` and `advance`, when nothing more may be taken."""
        replica = self._replica
        if self._handed_out is not None:
            return False
        return bool(
            replica.messages
            or replica.after_persist
            or replica.read_states
            or replica.soft_state != self._told_soft
            or replica.hard_state != self._told_hard
            or replica.log.unstable.next_snapshot() is not None
            or replica.log.unstable.next_entries()
            or replica.log.has_next_committed(allow_unstable=not self._config.async_storage_writes)
        )

    def ready(self) -> Ready:
        """Take all work that there is. In the synchronous mode `advance` must follow before the next call."""
        assert self._handed_out is None, "advance() must acknowledge the previous Ready first"
        replica, log = self._replica, self._replica.log
        synchronous = not self._config.async_storage_writes
        soft, hard = replica.soft_state, replica.hard_state
        entries = tuple(log.unstable.next_entries())
        ready = Ready(
            soft_state=soft if soft != self._told_soft else None,
            hard_state=hard if hard != self._told_hard else None,
            must_sync=bool(entries) or (hard.term, hard.vote) != (self._told_hard.term, self._told_hard.vote),
            entries=entries,
            snapshot=log.unstable.next_snapshot(),
            messages=tuple(replica.messages),
            messages_after_persist=tuple(m for m in replica.after_persist if m.to != replica.id),
            committed_entries=tuple(log.next_committed(allow_unstable=synchronous)),
            read_states=tuple(replica.read_states),
        )
        if synchronous:
            ours = [message for message in replica.after_persist if message.to == replica.id]
            self._on_advance = [*ours, *self._append_response(ready), *self._apply_response(ready)]
            self._handed_out = ready
        else:
            orders = (*self._append_order(ready), *self._apply_order(ready))
            ready = msgspec.structs.replace(ready, messages=(*ready.messages, *orders), messages_after_persist=())
        self._told_soft, self._told_hard = soft, hard
        replica.messages, replica.after_persist, replica.read_states = [], [], []
        log.unstable.accept_in_progress()
        if ready.committed_entries:
            log.accept_applying(ready.committed_entries, allow_unstable=synchronous)
        return ready

    def advance(self, ready: Ready) -> None:
        """Everything in `ready` is done: written, sent and applied."""
        assert ready is self._handed_out, "advance() acknowledges the Ready that was handed out last"
        self._handed_out = None
        steps, self._on_advance = self._on_advance, []
        for message in steps:
            self._take_local(message)

    def _append_response(self, ready: Ready) -> Sequence[Message]:
        """What the storage has to say once `ready` is written; the next one, once it is applied."""
        replica, unstable = self._replica, self._replica.log.unstable
        if not unstable.entries and ready.snapshot is None:
            return ()
        # Names the end of the log as it is now, so that it is good for all writes up to this one.
        last_term, last_index = replica.log.last if unstable.entries else (0, 0)
        return (
            Message(
                kind=MessageKind.STORAGE_APPEND_RESP,
                to=replica.id,
                sender=STORAGE_APPEND_TARGET,
                term=replica.term,
                log_term=last_term,
                index=last_index,
                snapshot=ready.snapshot,
            ),
        )

    def _apply_response(self, ready: Ready) -> Sequence[Message]:
        if not ready.committed_entries:
            return ()
        return (
            Message(
                kind=MessageKind.STORAGE_APPLY_RESP,
                to=self._replica.id,
                sender=STORAGE_APPLY_TARGET,
                entries=ready.committed_entries,
            ),
        )

    def _append_order(self, ready: Ready) -> Sequence[Message]:
        waiting = self._replica.after_persist
        if not (ready.entries or ready.hard_state or ready.snapshot or waiting):
            return ()
        hard = ready.hard_state or HardState()
        return (
            Message(
                kind=MessageKind.STORAGE_APPEND,
                to=STORAGE_APPEND_TARGET,
                sender=self._replica.id,
                term=hard.term,
                vote=hard.vote,
                commit=hard.commit,
                entries=ready.entries,
                snapshot=ready.snapshot,
                responses=(*waiting, *self._append_response(ready)),
            ),
        )

    def _apply_order(self, ready: Ready) -> Sequence[Message]:
        if not ready.committed_entries:
            return ()
        return (
            Message(
                kind=MessageKind.STORAGE_APPLY,
                to=STORAGE_APPLY_TARGET,
                sender=self._replica.id,
                entries=ready.committed_entries,
                responses=tuple(self._apply_response(ready)),
            ),
        )
