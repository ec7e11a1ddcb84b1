"""Framed: records as frames on a stream, with the peer's mistakes told from the network's."""

from collections import deque

from meshnode.network.transport import Misbehaved, Stream
from protocols.frames import FrameError, FrameReader, frame
from protocols.records import Record, to_payload

# One read of a stream; a frame is put together from several.
READ_BYTES = 64 * 1024


class Framed:
    """One stream, one reader and one writer at a time. The caller has a deadline around it."""

    def __init__(self, stream: Stream, max_frame_bytes: int) -> None:
        self.stream = stream
        self._reader = FrameReader(max_frame_bytes)
        self._payloads: deque[bytes] = deque()

    async def send(self, *messages: Record) -> None:
        """Send messages in one write.

        Raises:
            StreamReset, StreamClosed: see `Stream.send_all`.
        """
        if messages:
            await self.stream.send_all(b"".join(frame(to_payload(message)) for message in messages))

    async def receive(self) -> bytes | None:
        """The next payload; None at the clean end.

        Raises:
            Misbehaved: an oversized frame, or an end inside one.
            StreamReset, StreamClosed: see `Stream.receive_some`.
        """
        while not self._payloads:
            data = await self.stream.receive_some(READ_BYTES)
            if not data:
                if self._reader.pending:
                    raise Misbehaved(f"{self.stream.protocol}: stream ends inside a frame")
                return None
            try:
                self._payloads.extend(self._reader.feed(data))
            except FrameError as error:
                raise Misbehaved(f"{self.stream.protocol}: frame too large") from error
        return self._payloads.popleft()
