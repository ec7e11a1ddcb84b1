"""The muxer: many streams over one connection, bounded, and watched for silence.

Yamux as the library has it, except that: a peer cannot make us buffer more
than a stated amount; a write is never abandoned half way (the cipher would lose
step and take the whole connection with it) and never waits for ever; and a
peer that falls silent - stopped, unplugged, out of reach - is cut within
seconds instead of minutes.
"""

import logging
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from meshnode.network import lean as _lean  # noqa: F401  (before the first libp2p import)

# isort: split
from libp2p.abc import ISecureConn
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux import yamux

from meshnode.network.secure import guard_of
from meshnode.network.transport import STREAM_WINDOW_BYTES

# 16 full windows: more than all services of one peer use together, and with
# thirty peers still less than a hostile one could take otherwise.
MAX_BUFFERED_BYTES_PER_PEER = 16 * STREAM_WINDOW_BYTES

# A frame is at most 64 KiB; on the slowest link worth supporting (0.5 Mbit/s)
# it takes a second. A socket that is full for so long has nobody behind it.
FRAME_DEADLINE_S = 5.0

# A ping after a second without a word; cut after four. A Wi-Fi roaming pause
# is below two seconds.
PING_INTERVAL_S = 1.0
SILENCE_LIMIT_S = 4.0

# If our own clock tick comes this late, it was we who were stopped: what the
# peer sent meanwhile is still unread, and silence is counted from now.
OWN_STALL_S = 0.5

_log = logging.getLogger(__name__)

# The window of a stream stays what it is at first: the library would let it
# grow to 16 MiB, which is also what it lets one frame announce.
assert yamux.DEFAULT_WINDOW_SIZE == STREAM_WINDOW_BYTES
yamux.MAX_WINDOW_SIZE = STREAM_WINDOW_BYTES


class _Unsound(trio.TooSlowError):
    """The connection cannot go on: windows ignored, a frame cut short or forged.

    Derived from TooSlowError because that is what the library's frame loop
    closes the connection on; after other errors it reads on.
    """


class BoundedYamux(yamux.Yamux):
    """One muxed connection with an admitted peer."""

    def __init__(
        self,
        secured_conn: ISecureConn,
        peer_id: ID,
        is_initiator: bool | None = None,
        on_close: Callable[[], Awaitable[Any]] | None = None,
        *,
        counters: "Counter[str]",
        silence_limit_s: float,
    ) -> None:
        super().__init__(secured_conn, peer_id, is_initiator, on_close)
        self.guard = guard_of(secured_conn)
        self.peer = peer_id.to_base58()
        self._counters = counters
        self._silence_limit_s = silence_limit_s
        self._ping_under_way = False

    @property
    def alive(self) -> bool:
        return not (self.event_shutting_down.is_set() or self.event_closed.is_set())

    async def start(self) -> None:
        self.guard.trust()
        try:
            await super().start()
        except Exception:
            # Whatever went wrong concerns this connection; left to propagate it
            # would end every connection of the node.
            self._counters["connection failed"] += 1
            _log.exception("connection with %s failed", self.peer_id)
            await self._cleanup_on_error()
            self.event_started.set()
        finally:
            # Also when the loops were cancelled: whoever waits for the end must not wait in vain.
            self.event_closed.set()

    async def _read_data_body(self, length: int) -> bytes:
        buffered = sum(map(len, self.stream_buffers.values()))
        if buffered + length > MAX_BUFFERED_BYTES_PER_PEER:
            self._counters["connection cut: windows ignored"] += 1
            raise _Unsound(f"{self.peer_id} sent {buffered + length} bytes that nobody asked for")
        try:
            return await super()._read_data_body(length)
        except Exception as error:
            raise _Unsound(f"a frame of {self.peer_id}: {error!r}") from error

    async def _write_frame(self, data: bytes) -> None:
        async with self._write_lock:
            if self.event_shutting_down.is_set():
                raise ConnectionClosedError("connection is closed", transport="tcp")
            with trio.CancelScope(shield=True, deadline=trio.current_time() + FRAME_DEADLINE_S) as scope:
                await self.secured_conn.write(data)
            if scope.cancelled_caught:
                self._counters["connection cut: stalled"] += 1
                await self.guard.abort()
                raise ConnectionClosedError(
                    f"connection is closed: no byte taken in {FRAME_DEADLINE_S} s", transport="tcp"
                )

    async def _measure_rtt_loop(self) -> None:
        # The library's hook for a loop beside the frame loop; its own measures
        # the round trip every 30 s and ignores the result.
        self.guard.heard_s = trio.current_time()
        assert self._nursery is not None
        while self.alive:
            ticked = trio.current_time()
            with trio.move_on_after(PING_INTERVAL_S):
                await self.event_shutting_down.wait()
            now = trio.current_time()
            if now - ticked > PING_INTERVAL_S + OWN_STALL_S:
                self.guard.heard_s = now
            silent_s = now - self.guard.heard_s
            if silent_s >= self._silence_limit_s:
                self._counters["connection cut: silent"] += 1
                # Only the socket: the frame loop finds it closed and does the rest.
                await self.guard.abort()
                return
            if silent_s >= PING_INTERVAL_S / 2 and not self._ping_under_way:
                self._ping_under_way = True
                self._nursery.start_soon(self._ping)

    async def _ping(self) -> None:
        self._ping_id += 1
        frame = struct.pack(
            yamux.YAMUX_HEADER_FORMAT, 0, yamux.TYPE_PING, yamux.FLAG_SYN, 0, self._ping_id & 0xFFFFFFFF
        )
        self._ping_sent_time = trio.current_time()
        try:
            await self._write_frame(frame)
        except ConnectionClosedError as error:
            _log.debug("ping to %s: %s", self.peer_id, error)
        finally:
            self._ping_under_way = False
