"""The dialler: keeps a connection to every peer that should have one.

Knows whom to reach (wanted peers with known addresses) and when to try again
(back-off with jitter); how to dial is passed in. It knows no libp2p and is
tested against a virtual clock.
"""

import random
from collections.abc import Awaitable, Callable

import msgspec
import trio

from meshnode.network.transport import PeerId

# First a quick second try (the peer may just be starting), then longer, up to
# half a minute: a home that comes back is connected again within that time.
FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0

# A connection that ended sooner than this was no success: a peer that accepts
# and hangs up is dialled less and less, like one that is away.
STABLE_S = 10.0

# Of two peers that know one another, the one with the smaller id dials at once
# and the other a moment later, so that they do not end up with two connections.
YIELD_S = 0.5

# A dial in progress holds a socket and a handshake; more at once only slow
# each other down on a Pi.
MAX_DIALS_AT_ONCE = 8

# An invitation or a ledger entry names a few; more are not worth trying in turn.
MAX_ADDRESSES_PER_PEER = 8

# Members of the largest community several times over; only admitted peers are dialled.
MAX_KNOWN_PEERS = 1024


class _Prospect(msgspec.Struct):
    addresses: list[str]
    due_s: float
    delay_s: float = FIRST_DELAY_S
    dialling: bool = False


class Dialler:
    """Dials wanted peers until they are connected, and again when they are lost.

    Args:
        wanted: whether a connection to this peer may exist now.
        connected: whether one exists.
        dial: tries one address; returns whether it worked. It has a deadline
            and never raises for what the network does.
    """

    def __init__(
        self,
        own_id: PeerId,
        *,
        wanted: Callable[[PeerId], bool],
        connected: Callable[[PeerId], bool],
        dial: Callable[[PeerId, str], Awaitable[bool]],
        rng: random.Random,
    ) -> None:
        self._own_id = own_id
        self._wanted = wanted
        self._connected = connected
        self._dial = dial
        self._rng = rng
        self._prospects: dict[PeerId, _Prospect] = {}
        self._changed = trio.Event()
        self._slots = trio.CapacityLimiter(MAX_DIALS_AT_ONCE)

    def add_address(self, peer: PeerId, addresses: list[str]) -> None:
        """Addresses of peer, newest knowledge first; those known before are kept behind them."""
        if peer == self._own_id:
            return
        prospect = self._prospects.get(peer)
        if prospect is None:
            if len(self._prospects) >= MAX_KNOWN_PEERS:
                raise ValueError(f"addresses of {MAX_KNOWN_PEERS} peers are known, the limit")
            prospect = self._prospects[peer] = _Prospect([], trio.current_time() + self._courtesy_s(peer))
        is_news = not set(addresses) <= set(prospect.addresses)
        known = [*addresses, *(a for a in prospect.addresses if a not in addresses)]
        prospect.addresses = known[:MAX_ADDRESSES_PER_PEER]
        if is_news:
            self._hurry(peer, prospect)

    def wake(self) -> None:
        """Something changed: a peer was lost, or the admitted set is another one."""
        self._changed.set()

    def lost(self, peer: PeerId, lasted_s: float) -> None:
        """A connection ended; the peer is dialled again, at once if it had lasted."""
        prospect = self._prospects.get(peer)
        if prospect is None:
            return
        if lasted_s >= STABLE_S:
            self._hurry(peer, prospect)
        else:
            self._back_off(prospect)

    async def run(self) -> None:
        """Dial for ever; cancel to stop."""
        async with trio.open_nursery() as nursery:
            while True:
                self._changed = trio.Event()
                now = trio.current_time()
                next_s = now + LONGEST_DELAY_S
                for peer, prospect in self._prospects.items():
                    if prospect.dialling or not self._wanted(peer) or self._connected(peer):
                        continue
                    if prospect.due_s <= now:
                        prospect.dialling = True
                        nursery.start_soon(self._try, peer, prospect)
                    else:
                        next_s = min(next_s, prospect.due_s)
                with trio.move_on_at(next_s):
                    await self._changed.wait()

    async def _try(self, peer: PeerId, prospect: _Prospect) -> None:
        try:
            async with self._slots:
                for address in list(prospect.addresses):
                    if self._connected(peer) or not self._wanted(peer):
                        break
                    if await self._dial(peer, address):
                        break
        finally:
            prospect.dialling = False
        if not self._connected(peer):
            self._back_off(prospect)
        self._changed.set()

    def _back_off(self, prospect: _Prospect) -> None:
        # Between half and the whole of the delay: a community that lost its
        # power does not dial in step.
        prospect.due_s = trio.current_time() + prospect.delay_s * self._rng.uniform(0.5, 1.0)
        prospect.delay_s = min(prospect.delay_s * 2, LONGEST_DELAY_S)
        self._changed.set()

    def _hurry(self, peer: PeerId, prospect: _Prospect) -> None:
        prospect.delay_s = FIRST_DELAY_S
        prospect.due_s = min(prospect.due_s, trio.current_time() + self._courtesy_s(peer))
        self._changed.set()

    def _courtesy_s(self, peer: PeerId) -> float:
        return YIELD_S if self._own_id > peer else 0.0
