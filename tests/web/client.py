"""Client: plain HTTP requests to a server on this computer, and raw ones that no library would send."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import trio

from tests.web.hand_made import TOKEN

PATIENCE_S = 30.0


class Reply(NamedTuple):
    """An answer, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def faults(self) -> list[dict[str, str]]:
        """What an error says: every fault names place, found, expected and remedy."""
        faults: list[dict[str, str]] = self.json["errors"]
        assert faults
        assert all(set(fault) == {"place", "found", "expected", "remedy"} for fault in faults)
        return faults


async def request(address: str, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
    """One request; header names with underscores for dashes."""

    def call() -> Reply:
        host = urlsplit(address)
        connection = http.client.HTTPConnection(host.hostname or "", host.port, timeout=PATIENCE_S)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body or None, named)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    return await trio.to_thread.run_sync(call)


async def get(address: str, path: str, **headers: str) -> Reply:
    return await request(address, "GET", path, **headers)


async def write(address: str, method: str, path: str, value: Any = None, token: str | None = TOKEN) -> Reply:
    """A request that writes JSON, with the token."""
    headers = {"content_type": "application/json"} | ({} if token is None else {"authorization": f"Bearer {token}"})
    return await request(address, method, path, b"" if value is None else json.dumps(value).encode(), **headers)


async def connect(address: str) -> trio.SocketStream:
    host = urlsplit(address)
    return await trio.open_tcp_stream(host.hostname or "", host.port or 0)


async def raw(address: str, data: bytes) -> bytes:
    """Send bytes as they are; what comes back until the server closes."""
    answer = b""
    with trio.fail_after(PATIENCE_S):
        async with await connect(address) as stream:
            await stream.send_all(data)
            async for piece in stream:
                answer += piece
    return answer


class EventReader:
    """The event stream as an open page reads it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._data = b""

    async def status(self) -> int:
        """The status of the answer; its head is read."""
        head = await self._until(b"\r\n\r\n")
        return int(head.split()[1])

    async def event(self) -> tuple[str, Any]:
        """The next event: kind and data. Comments and lengths of pieces are skipped."""
        while True:
            lines = (await self._until(b"\n\n")).decode().splitlines()
            fields = dict(line.split(": ", 1) for line in lines if ": " in line and not line.startswith(":"))
            if "event" in fields:
                return fields["event"], json.loads(fields["data"])

    async def _until(self, end: bytes) -> bytes:
        with trio.fail_after(PATIENCE_S):
            while end not in self._data:
                piece = await self._stream.receive_some()
                assert piece, "the server closed the stream"
                self._data += piece
        found, _, self._data = self._data.partition(end)
        return found


async def open_events(address: str) -> EventReader:
    stream = await connect(address)
    await stream.send_all(f"GET /api/events HTTP/1.1\r\nHost: {urlsplit(address).netloc}\r\n\r\n".encode())
    return EventReader(stream)
