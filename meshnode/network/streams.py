"""Streams: one libp2p stream behind the `Stream` interface.

The library tells a reset, a lost connection and a clean end apart only inside
the muxer, and leaks a little for every stream that one side never closes; both
are put right here.
"""

import logging
from collections.abc import Callable

import trio

from meshnode.network import lean as _lean  # noqa: F401  (before the first libp2p import)

# isort: split
from libp2p.io.exceptions import IOException
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.stream.net_stream import NetStream
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError
from libp2p.stream_muxer.yamux.yamux import YamuxStream

from meshnode.network.endpoint import Endpoint
from meshnode.network.gate import Gate
from meshnode.network.transport import PeerId

# After our end of a stream, the peer has this long to end its own; a stream
# that only one side closed stays in the muxer's tables for ever.
LINGER_S = 5.0

_BROKEN = (MuxedStreamError, IOException, RawConnError)

_log = logging.getLogger(__name__)


class Libp2pStream(Endpoint):
    """A stream with an admitted peer."""

    def __init__(
        self,
        net: NetStream,
        peer: PeerId,
        protocol: str,
        gate: Gate,
        linger: Callable[["Libp2pStream"], None],
    ) -> None:
        super().__init__(peer, protocol)
        assert isinstance(net.muxed_stream, YamuxStream)
        self._net = net
        self._muxed = net.muxed_stream
        self._gate = gate
        self._linger = linger
        self._ended = False

    async def _write(self, data: bytes) -> None:
        try:
            await self._muxed.write(data)
        except _BROKEN as error:
            raise self._broken(f"sending: {error}") from error

    async def _receive(self, max_bytes: int) -> bytes:
        if self._ended:
            return b""
        try:
            data = await self._read(max_bytes)
        except MuxedStreamEOF:
            self._forget_event()
            if self._ended_clean():
                self._ended = True
                return b""
            await self._break()
            raise self._broken("receiving: reset or connection lost") from None
        except _BROKEN as error:
            self._forget_event()
            await self._break()
            raise self._broken(f"receiving: {error}") from error
        # What a peer sent before it was removed is not handed out after it.
        self._check_admitted()
        return data

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        with trio.CancelScope(shield=True):
            try:
                await self._muxed.close()
            except _BROKEN as error:
                _log.debug("closing a stream of %s: %s", self._peer, error)
        if self._gone():
            await self._untrack()
        else:
            self._linger(self)

    async def finish(self) -> None:
        """After `aclose`: wait a moment for the peer's end, then reset what is left."""
        with trio.move_on_after(LINGER_S):
            try:
                while not self._gone():
                    await self._read(64 * 1024)
            except (MuxedStreamEOF, *_BROKEN) as error:
                _log.debug("last bytes of a stream of %s: %s", self._peer, error)
            self._forget_event()
        await self._break()

    async def _read(self, max_bytes: int) -> bytes:
        muxed = self._muxed
        if muxed.recv_closed and not muxed.conn.stream_buffers.get(muxed.stream_id):
            raise MuxedStreamEOF("no more bytes")
        data = await muxed.conn.read_stream(muxed.stream_id, max_bytes)
        # From here on the bytes are ours alone: a cancelled reader must not lose them.
        with trio.CancelScope(shield=True):
            await muxed._auto_tune_and_send_window_update(bytes_read=len(data))
        return data

    def _check_usable(self) -> None:
        super()._check_usable()
        self._check_admitted()

    def _check_admitted(self) -> None:
        if not self._gate.admits(self._peer):
            raise self._broken("the peer is no longer admitted")

    def _ended_clean(self) -> bool:
        muxed = self._muxed
        return muxed.recv_closed and not muxed.reset_received and not muxed.conn.event_shutting_down.is_set()

    def _gone(self) -> bool:
        return self._muxed.stream_id not in self._muxed.conn.streams

    def _forget_event(self) -> None:
        # A reader that wakes up for a reset re-creates the event of a stream
        # that the muxer has just forgotten.
        if self._gone():
            self._muxed.conn.stream_events.pop(self._muxed.stream_id, None)

    async def _break(self) -> None:
        with trio.CancelScope(shield=True):
            if not self._gone():
                try:
                    await self._muxed.reset()
                except _BROKEN as error:
                    _log.debug("resetting a stream of %s: %s", self._peer, error)
            await self._untrack()

    async def _untrack(self) -> None:
        await self._net.remove()
