"""Patience: how long a leader goes on whose blocks nobody certifies.

A clock ahead of everybody's, a record that the others refuse, a state that is not
theirs: the followers answer heartbeats, so that Raft sees nothing wrong, and no block
becomes final. Such a leader falls silent for a while, which makes room for another.
"""

from __future__ import annotations

from protocols.raft import RawNode, Role

# In election timeouts. Long enough for a slow disk or a follower that is refilled;
# an outage of a few timeouts is what the death of a leader costs as well.
PATIENCE_TIMEOUTS = 6
# The others wait one to two timeouts before they ask, and may have to ask twice.
REST_TIMEOUTS = 4


class Patience:
    """Counts the ticks since a leader last saw its blocks get on.

    resting: the leader is silent.
    """

    def __init__(self, core: RawNode, election_ticks: int) -> None:
        self.resting = False
        self._core = core
        self._election_ticks = election_ticks
        self._ticks = 0
        self._seen: tuple[int, ...] = ()

    def exhausted(self, final_height: int) -> bool:
        """One tick has passed; whether the leader must be silent in it."""
        core = self._core
        if core.state is not Role.LEADER or core.last_index <= final_height:
            self._seen, self._ticks, self.resting = (), 0, False
            return False
        seen = (core.term, final_height, *(view.match for view in core.progress.values()))
        if seen != self._seen and not self.resting:
            self._seen, self._ticks, self.resting = seen, 0, False
            return False
        self._ticks += 1
        self.resting = self._ticks >= PATIENCE_TIMEOUTS * self._election_ticks
        if self._ticks >= (PATIENCE_TIMEOUTS + REST_TIMEOUTS) * self._election_ticks:
            self._ticks, self.resting = 0, False
        return self.resting
