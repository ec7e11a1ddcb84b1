"""Events: news for open pages, as server-sent events that never end.

`hello` comes first: the clock and the newest power of every meter. Then `live`, `block`,
`period`, `order` and `health` as they happen (`meshnode.web.backend.Update`). Each page has
a bounded queue in the node; a page that reads too slowly misses the newest and is told
the state with the next one.

Source: WHATWG HTML Standard, section 9.2.
"""

from __future__ import annotations

from typing import Any

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from meshnode.web.backend import Backend
from meshnode.web.faults import Fault, Faults
from meshnode.web.figures import live_rows

# Pages open at a time. A household has a handful; each costs a task and a queue.
MAX_PAGES = 64
# A comment this often keeps connections through home routers open, and shows who is gone.
HEARTBEAT_S = 15.0
# What a browser waits before it connects again.
RETRY_MS = 2000

_HEADERS = {"cache-control": "no-cache", "content-type": "text/event-stream"}


class Events:
    """The event stream of one backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.pages = 0

    async def stream(self, _request: Request) -> Response:
        """GET /api/events."""
        if self.pages >= MAX_PAGES:
            fault = Fault("server", f"{self.pages} open pages", f"{MAX_PAGES} at most", "close another page first")
            raise Faults(503, fault, headers={"retry-after": "30"})
        return _Stream(self)

    async def feed(self, send: Send) -> None:
        """Write news until cancelled."""
        backend = self._backend
        try:
            with backend.subscribe() as news:
                await send(_chunk(f"retry: {RETRY_MS}\n{_event('hello', self._hello())}"))
                while True:
                    with trio.move_on_after(HEARTBEAT_S) as quiet:
                        update = await news.receive()
                    if quiet.cancelled_caught:
                        await send(_chunk(": still here\n\n"))
                        continue
                    await send(_chunk(_event(update.kind, update.data)))
                    backend.shown(update)
        except trio.EndOfChannel:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _hello(self) -> dict[str, Any]:
        clock = self._backend.clock
        return {
            "now_ms": int(clock.now() * 1000),
            "speed": clock.speed,
            "account": self._backend.account.hex(),
            "height": self._backend.machine.height,
            "live": live_rows(self._backend),
        }


class _Stream(Response):
    """Runs `Events.feed` until the browser goes."""

    def __init__(self, events: Events) -> None:
        super().__init__(headers=_HEADERS)
        self._events = events
        # The length of something endless is not known.
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._events.pages += 1
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
            else:
                await self._run(receive, send)
        finally:
            self._events.pages -= 1

    async def _run(self, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:

            async def feed() -> None:
                await self._events.feed(send)
                nursery.cancel_scope.cancel()

            nursery.start_soon(feed)
            while (await receive())["type"] != "http.disconnect":
                pass
            nursery.cancel_scope.cancel()


def _event(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {msgspec.json.encode(data).decode()}\n\n"


def _chunk(text: str) -> dict[str, Any]:
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}
