"""Live: the power at every home, from its meter to its neighbours' screens.

Statements of `protocols.records.LivePower`, signed by the meter, over a topic of their
own. Nothing is kept, nothing comes back: the next second brings a newer one. At most
one a second and meter is passed on; between two, the newest waits.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable

import msgspec
import trio

from meshnode.keys import SigningKey, verify
from meshnode.ledger import members, rows
from meshnode.machine import Machine
from meshnode.network.budgets import Budgets
from meshnode.network.transport import GossipMessage, PeerId, Transport
from protocols import cose
from protocols.cose import EnvelopeError
from protocols.records import LivePower, RecordError, read_as, to_payload

EVERY_S = 1.0
# An envelope with every field at its largest has less.
MAX_STATEMENT_BYTES = 512
# Clocks of homes without a time server differ by minutes; an older statement is a replay.
MAX_AGE_MS = 5 * 60 * 1000
# Per author: the sixteen meters that a home may have, and a few seconds of a burst.
STATEMENTS_PER_S = 20.0
STATEMENTS_BURST = 60.0

OnLive = Callable[[bytes, LivePower, int], None]
"""(account, statement, UTC millisecond of its arrival)."""

log = logging.getLogger(__name__)


class Live:
    """Sends this node's statements and receives those of others."""

    def __init__(
        self,
        transport: Transport,
        topic: str,
        machine: Machine,
        on_live: OnLive,
        now_ms: Callable[[], int],
        is_blamed: Callable[[PeerId], bool],
        blame: Callable[[PeerId, str], Awaitable[None]],
        counters: Counter[str],
    ) -> None:
        """Args:
        on_live: called for statements of others, in the order of their measurement.
        now_ms: real UTC milliseconds.
        is_blamed: whose statements are ignored.
        blame: drops who published what no honest node publishes.
        """
        self._transport = transport
        self._topic = topic
        self._machine = machine
        self._on_live = on_live
        self._now_ms = now_ms
        self._is_blamed = is_blamed
        self._blame = blame
        self._counters = counters
        self._budgets = Budgets(STATEMENTS_PER_S, STATEMENTS_BURST, trio.current_time)
        self._out = Newest()
        self._in = Newest()

    async def run(self, receive: trio.MemoryReceiveChannel[GossipMessage]) -> None:
        """Receive, and pass on what waited for its second, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._in.run, self._show)
            nursery.start_soon(self._out.run, self._send)
            async for message in receive:
                await self._take(message)

    def publish(self, live: LivePower, key: SigningKey) -> None:
        """Send a statement of one of our meters, at once or when its second has come."""
        envelope = cose.sign(LivePower.KIND, self._machine.chain_id, to_payload(live), key.public, key.sign)
        self._out.offer(Statement(b"", live, envelope.encode(), self._now_ms()))

    async def _take(self, message: GossipMessage) -> None:
        if self._is_blamed(message.author):
            return
        if not self._budgets.take(message.author, 1.0):
            self._counters["live: over the rate of a peer"] += 1
            return
        try:
            statement = self._read(message.data)
        except (EnvelopeError, RecordError) as error:
            log.info("live statement of %s: %s", message.author, error)
            await self._blame(message.author, "live: malformed statement")
            return
        except _Forged as error:
            await self._blame(message.author, f"live: {error}")
            return
        if statement is not None:
            self._in.offer(statement)

    def _read(self, data: bytes) -> Statement | None:
        """A statement worth showing; None if it is honest but not for now."""
        if len(data) > MAX_STATEMENT_BYTES:
            raise EnvelopeError(f"statement of {len(data)} bytes, the limit is {MAX_STATEMENT_BYTES}")
        envelope = cose.decode(data)
        live = read_as(LivePower, envelope.payload)
        key = members.signer(self._machine.state, envelope.key_id, self._machine.height)
        if key is None:
            self._counters["live: unknown key"] += 1
            return None
        if key.purpose != rows.PURPOSE_METER or key.meter != live.meter:
            raise _Forged("signed by another key than the meter's")
        now_ms = self._now_ms()
        if abs(now_ms - live.measured_ms) > MAX_AGE_MS:
            self._counters["live: time too far from ours"] += 1
            return None
        if not self._in.is_newer(live):
            self._counters["live: not newer"] += 1
            return None
        # Not remembered: a second later it would only crowd out the ledger's records.
        if not envelope.verify(LivePower.KIND, self._machine.chain_id, key.public_key, verify):
            raise _Forged("bad signature")
        return Statement(key.account, live, data, now_ms)

    async def _send(self, statement: Statement) -> None:
        await self._transport.publish(self._topic, statement.envelope_bytes)
        self._counters["live: sent"] += 1

    async def _show(self, statement: Statement) -> None:
        self._counters["live: received"] += 1
        self._on_live(statement.account, statement.live, statement.received_ms)


class _Forged(Exception):
    """No honest node publishes this."""


class Statement(msgspec.Struct, frozen=True):
    """A statement with its bytes, and when it came."""

    account: bytes
    live: LivePower
    envelope_bytes: bytes
    received_ms: int


class Newest:
    """At most one statement a second and meter; the newest of those that come between waits.

    Bounded by the meters that the ledger knows.
    """

    def __init__(self) -> None:
        self._held: dict[bytes, Statement] = {}
        self._last: dict[bytes, LivePower] = {}
        self._passed_at: dict[bytes, float] = {}
        self._filled = trio.Event()

    def is_newer(self, live: LivePower) -> bool:
        """Whether nothing of the meter that is as new has come before."""
        last = self._last.get(live.meter)
        return last is None or (last.measured_ms, last.sequence) < (live.measured_ms, live.sequence)

    def offer(self, statement: Statement) -> None:
        """Hold a statement until its second has come; it replaces one that is held."""
        self._last[statement.live.meter] = statement.live
        self._held[statement.live.meter] = statement
        self._filled.set()

    async def run(self, passes: Callable[[Statement], Awaitable[None]]) -> None:
        """Hand out what is held when it may go, until cancelled."""
        while True:
            await self._filled.wait()
            self._filled = trio.Event()
            while self._held:
                now = trio.current_time()
                due = {meter: self._passed_at.get(meter, -math.inf) + EVERY_S for meter in self._held}
                for meter in [meter for meter, at in due.items() if at <= now]:
                    self._passed_at[meter] = now
                    await passes(self._held.pop(meter))
                waiting = [at for meter, at in due.items() if meter in self._held and at > now]
                if waiting:
                    with trio.move_on_at(min(waiting)):
                        await self._filled.wait()
                        self._filled = trio.Event()
