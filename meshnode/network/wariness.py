"""Wariness: what a validator among liars does not believe, whom it does not elect, and when it gives a leader up.

Raft trusts every member to speak the truth about terms and to get on as leader. In
byzantine mode up to f may not:

- *Terms.* An answer that names a later term makes nobody step down at once. It is noted, and should our
  campaign fail, the next one asks about the term above it. Only votes that are asked for and given, after our
  leader has fallen silent, and an election certificate begin a term here. A leader that is told of a later
  term steps down for it now and then.
- *Leaders.* One who gets nothing final although something waits is given up: its messages are
  not heard any more in that term, whoever feels the same elects another, and as soon as something is
  certified after all it is followed again. How long that takes doubles each time, so that honest leaders of
  slow devices get their turn.
- *Candidates.* Who was given up, or had our vote and did not lead, does not get it again for a
  while; at most f of them at a time, because more than f cannot all be liars.

What it does not do: a leader who makes blocks and leaves out somebody's records goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from meshnode.network import terms
from meshnode.network.leadership import Leadership
from protocols.raft import NO_NODE, Message, MessageKind, RawNode, Role
from protocols.raft.messages import ANSWERS

# In election timeouts. A block takes three writes and two round trips; slow cards and a
# lost message or two fit in.
PATIENCE_TIMEOUTS = 8
LOOK_TICKS = 5
# Doubling ends here: an outage of some minutes with the longest of timeouts.
MAX_DOUBLINGS = 4
# Time for the others to elect somebody else, twice.
SHUNNED_TIMEOUTS = 4
# A leader that is told of a later term steps down for it after so many timeouts: an honest node may be stuck
# there, and has no other way to take part again. For one who tells of it again and again the time doubles.
MEETING_TIMEOUTS = 8


class Wariness:
    """See the module text; in majority mode it does nothing.

    Attributes:
        behind: ticks since something is certified whose blocks a lying leader may keep from this node alone.
    """

    def __init__(
        self,
        core: RawNode,
        leadership: Leadership,
        waits: Callable[[], bool],
        election_ticks: int,
        counters: Counter[str],
    ) -> None:
        """Args:
        waits: whether a leader has something to do that it has not done.
        """
        self.behind = 0
        self._core = core
        self._leadership = leadership
        self._waits = waits
        self._election_ticks = election_ticks
        self._counters = counters
        self._given_up = 0
        self._certified = 0
        self._quiet = 0
        self._doublings = 0
        self._led_for = 0
        self._ticks = 0
        self._waiting = False
        # Ticks without a leader since something was certified.
        self._leaderless = 0
        # Of each validator the latest term that it told of, and how often this node stepped down for it.
        self._claims: dict[int, int] = {}
        self._meetings: dict[int, int] = {}
        # Number -> ticks that are left, the latest last.
        self._shunned: dict[int, int] = {}

    @property
    def is_on(self) -> bool:
        """Whether the log's next block is made in byzantine mode."""
        return self._core.needed > 0

    def bounded(self, message: Message) -> Message:
        """A peer's message, its term no farther ahead than one message may raise ours."""
        term = self._core.term
        if not self.is_on:
            return terms.bounded(message, term)
        return terms.bounded_among_liars(message, term, self._leaderless // self._election_ticks)

    def hears(self, message: Message) -> bool:
        """Whether Raft may hear a message."""
        if not self.is_on:
            return True
        core = self._core
        if message.kind in terms.LEADERS_WORD:
            if message.term != self._given_up:
                return True
            self._counters["not heard: the leader was given up"] += 1
            return False
        granted = message.kind is MessageKind.PRE_VOTE_RESP and not message.reject
        if message.kind not in ANSWERS or granted or message.term <= core.term:
            return True
        self._counters["not believed: a later term"] += 1
        core.hear_term(message.term)
        self._claims[message.sender] = max(message.term, self._claims.get(message.sender, 0))
        return False

    def may_elect(self, number: int) -> bool:
        """Whether this validator may have our vote."""
        return not self.is_on or number not in self._shunned

    def tick(self, final_height: int, certified_height: int) -> None:
        """One unit of time has passed.

        Args:
            certified_height: of the newest block that is certified, as far as this node knows.
        """
        self.behind = self.behind + 1 if self.is_on and certified_height > final_height else 0
        if not self.is_on:
            return
        core = self._core
        for number in list(self._shunned):
            self._shunned[number] -= 1
            if not self._shunned[number]:
                del self._shunned[number]
        if certified_height > self._certified:
            self._certified, self._quiet, self._doublings, self._given_up = certified_height, 0, 0, 0
            self._leaderless = 0
            self._shunned.pop(core.leader, None)
        if core.state is Role.LEADER:
            self._quiet = 0
            self._meet()
            return
        self._led_for = 0
        self._judge_candidate()
        if core.leader == NO_NODE:
            self._quiet = 0
            self._leaderless += 1
        elif self._something_waits():
            self._quiet += 1
            if self._quiet >= PATIENCE_TIMEOUTS * self._election_ticks << self._doublings:
                self._give_up()
        else:
            self._quiet = 0

    def _something_waits(self) -> bool:
        # Looking through the mempool takes longer than a tick should.
        self._ticks += 1
        if self._ticks % LOOK_TICKS == 0:
            self._waiting = self._waits()
        return self._waiting

    def _give_up(self) -> None:
        core = self._core
        self._counters["leader given up"] += 1
        self._quiet, self._doublings = 0, min(self._doublings + 1, MAX_DOUBLINGS)
        self._given_up = core.term
        self._shun(core.leader)
        core.forget_leader()

    def _judge_candidate(self) -> None:
        core = self._core
        waited = core.since_promise == self._election_ticks
        if waited and core.vote not in (NO_NODE, core.id) and self._leadership.proved_term < core.term:
            self._shun(core.vote)

    def _shun(self, number: int) -> None:
        self._shunned.pop(number, None)
        self._shunned[number] = SHUNNED_TIMEOUTS * self._election_ticks
        while len(self._shunned) > (len(self._core.voters) - 1) // 3:
            del self._shunned[next(iter(self._shunned))]

    def _meet(self) -> None:
        """A leader comes to those who say that they are in a later term, now and then."""
        core = self._core
        self._led_for += 1
        for sender, term in sorted(self._claims.items()):
            met = self._meetings.get(sender, 0)
            if term <= core.term:
                del self._claims[sender]
            elif self._led_for >= MEETING_TIMEOUTS * self._election_ticks << min(met, MAX_DOUBLINGS):
                self._counters["stepped down to meet a later term"] += 1
                self._meetings[sender] = met + 1
                del self._claims[sender]
                core.step(Message(kind=MessageKind.HEARTBEAT_RESP, to=core.id, sender=sender, term=term))
                return
