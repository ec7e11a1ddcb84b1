"""Servers: nodes' pages made by hand, for what asks them - each connection gets the bytes it is told to get."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

Behaviour = Callable[[bytes, trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def serving(behave: Behaviour) -> AsyncIterator[str]:
    """The address of a server that reads one request and then does as `behave` says."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            request = b""
            while b"\r\n\r\n" not in request:
                request += await stream.receive_some(4096)
            head, _, body = request.partition(b"\r\n\r\n")
            wanted = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
            while len(body) < wanted:
                body += await stream.receive_some(4096)
            await behave(head + b"\r\n\r\n" + body, stream)

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def answering(body: bytes, status: str = "200 OK", kind: str = "application/json") -> Behaviour:
    """A server that gives everybody the same answer."""

    async def behave(_: bytes, stream: trio.SocketStream) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        await stream.send_all(head.encode() + body)

    return behave
