"""Guard: what every request passes before anything else looks at it, and every answer after.

Only names that cannot be rebound by a hostile DNS are answered (an IP address, localhost,
or a name of the settings); a page of ours loads nothing from elsewhere and runs no
inline script; the number of requests at a time is bounded.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

import trio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meshnode.web.faults import Fault, answer, shown

# Requests in progress, open event streams among them. Fifty open pages and what they
# fetch; beyond that a browser asks again, and the node has other work too.
MAX_ACTIVE = 128

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """ASGI middleware, the outermost one."""

    def __init__(self, app: ASGIApp, names: Collection[str] = ()) -> None:
        """Args: names: host names besides localhost under which the node is known, lower case."""
        self._app = app
        self._names = frozenset(names) | {"localhost"}
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-store")
                inbox.throw_rest_away()
            await send(message)

        self._active += 1
        try:
            async with trio.open_nursery() as nursery:
                inbox = _Inbox(receive, nursery)
                app = self._refusal(scope) or self._app
                await app(scope, inbox.receive, send_guarded)
                nursery.cancel_scope.cancel()
        finally:
            self._active -= 1

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """What answers instead of the application, if the request is not for it."""
        host = Headers(scope=scope).get("host", "")
        if not scope["http_version"].startswith("1"):
            return answer(_errors("request", f"HTTP/{scope['http_version']}", "HTTP/1.1"), 505)
        if not self._is_ours(host):
            expected = "an IP address or localhost, with the port"
            return answer(_errors("header Host", shown(host), expected, "open the address that the node prints"), 421)
        if self._active > MAX_ACTIVE:
            text = f"{self._active} requests at a time", f"{MAX_ACTIVE} at most"
            return answer(_errors("server", *text, "try again in a moment"), 503, {"retry-after": "1"})
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether the browser knows us by a name that no foreign DNS can point here."""
        name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        if not name:
            name, port = host, ""
        if port and not (port.isascii() and port.isdigit()):
            return False
        if name.lower() in self._names:
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True


class _Inbox:
    """What a request still sends once its answer has begun: thrown away.

    An answer may begin before the request is read to its end, as when a body is too
    large. The server hands pieces over through a short queue, and would wait for ever
    for somebody to take the next one.
    """

    def __init__(self, receive: Receive, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._receive = receive
        self._draining = False
        self._gone = trio.Event()

    async def receive(self) -> Message:
        """The application's `receive`."""
        if not self._draining:
            return await self._receive()
        await self._gone.wait()
        return {"type": "http.disconnect"}

    def throw_rest_away(self) -> None:
        """Read on until the client goes, or the answer has been sent."""
        self._draining = True
        self._nursery.start_soon(self._drain)

    async def _drain(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()


def _errors(place: str, found: str, expected: str, remedy: str = "") -> dict[str, list[Fault]]:
    return {"errors": [Fault(place, found, expected, remedy)]}
