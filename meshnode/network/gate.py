"""The gate: which peers may be connected to this node now.

The admitted set follows the ledger's membership; a dropped peer is refused for
a while although it is a member. No I/O: the clock is passed in.
"""

from collections.abc import Callable

from meshnode.network.transport import PeerId

# A joining listener lets anybody in, so the list of the refused needs a bound
# of its own; the entry that ends first makes room.
MAX_REFUSED = 1024


class Gate:
    """Who may connect. `now` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float], *, anybody: bool = False) -> None:
        self._now = now
        self._anybody = anybody
        self._members: frozenset[PeerId] = frozenset()
        self._refused_until: dict[PeerId, float] = {}
        self._closed = False

    def admit(self, members: frozenset[PeerId]) -> None:
        """Replace the admitted set."""
        self._members = members
        if not self._anybody:
            self._refused_until = {p: t for p, t in self._refused_until.items() if p in members}

    def refuse(self, peer: PeerId, seconds: float) -> None:
        """Refuse peer for so many seconds from now, whether or not it is admitted."""
        if peer not in self._refused_until and len(self._refused_until) >= MAX_REFUSED:
            del self._refused_until[min(self._refused_until, key=self._refused_until.__getitem__)]
        self._refused_until[peer] = self._now() + seconds

    def close(self) -> None:
        """Admit nobody any more: the node is stopping."""
        self._closed = True

    def is_member(self, peer: PeerId) -> bool:
        """Whether peer is in the admitted set, refused for now or not."""
        return self._anybody or peer in self._members

    def admits(self, peer: PeerId) -> bool:
        """Whether a connection with peer may exist now."""
        until = self._refused_until.get(peer)
        if until is not None:
            if self._now() < until:
                return False
            del self._refused_until[peer]
        return self.is_member(peer) and not self._closed
