"""Endpoint: what our end of a stream does whatever carries the bytes, and how a handler is run on it."""

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable

import trio

from meshnode.network.transport import (
    SEND_DEADLINE_S,
    PeerId,
    StreamClosed,
    StreamHandler,
    StreamReset,
    reason_to_drop,
)

_log = logging.getLogger(__name__)


class Endpoint(ABC):
    """The part of `Stream` that names, checks and deadlines; subclasses move the bytes."""

    def __init__(self, peer: PeerId, protocol: str) -> None:
        self._peer = peer
        self._protocol = protocol
        self._closed = False

    @property
    def peer(self) -> PeerId:
        return self._peer

    @property
    def protocol(self) -> str:
        return self._protocol

    async def send_all(self, data: bytes) -> None:
        self._check_usable()
        done = False
        try:
            with trio.fail_after(SEND_DEADLINE_S):
                await self._write(data)
            done = True
        except trio.TooSlowError as error:
            raise self._broken(f"sending: not taken in {SEND_DEADLINE_S} s") from error
        finally:
            if not done:
                await self._break()

    async def receive_some(self, max_bytes: int) -> bytes:
        if max_bytes < 1:
            raise ValueError(f"max_bytes is {max_bytes}; at least 1 is needed")
        self._check_usable()
        return await self._receive(max_bytes)

    @abstractmethod
    async def aclose(self) -> None:
        """See `Stream.aclose`."""

    async def reset(self) -> None:
        self._closed = True
        await self._break()

    @abstractmethod
    async def _write(self, data: bytes) -> None:
        """Send all of data; raises StreamReset if the stream breaks. The deadline is around it."""

    @abstractmethod
    async def _receive(self, max_bytes: int) -> bytes:
        """1 to max_bytes bytes, or b"" at the clean end; raises StreamReset if the stream breaks."""

    @abstractmethod
    async def _break(self) -> None:
        """Break both directions at once. Never raises, and a cancellation does not stop it."""

    def _check_usable(self) -> None:
        if self._closed:
            raise StreamClosed(f"{self._protocol} with {self._peer} was closed on this side")

    def _broken(self, what: str) -> StreamReset:
        return StreamReset(f"{self._protocol} with {self._peer}: {what}")


async def serve(
    stream: Endpoint,
    handler: StreamHandler,
    counters: "Counter[str]",
    drop: Callable[[PeerId, str], Awaitable[None]],
) -> bool:
    """Run a handler on an inbound stream as `Transport.handle` promises.

    Returns:
        Whether it came to its end and the stream was closed.
    """
    try:
        await handler(stream)
    except Exception as error:
        await stream.reset()
        reason = reason_to_drop(error)
        if reason is None:
            counters["stream broke"] += 1
            _log.debug("%s of %s: %r", stream.protocol, stream.peer, error)
        else:
            _log.warning("%s of %s", stream.protocol, stream.peer, exc_info=error)
            await drop(stream.peer, reason)
        return False
    await stream.aclose()
    return True
