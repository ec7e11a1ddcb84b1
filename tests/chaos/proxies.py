"""Proxies: TCP links between nodes that all pass through this process, one port for each direction of dialling.

Where network namespaces are not permitted. A link that is cut in one direction takes nothing more from
that side until it is healed; TCP then delivers what was held back, so that nothing is lost but time. A
connection that its nodes give up meanwhile is gone, and new ones hang as long as the link is cut.
"""

from __future__ import annotations

import socket
from contextlib import suppress

import trio

from tests.chaos.wires import Pair, Wires

_HOST = "127.0.0.1"
_CHUNK_BYTES = 64 * 1024


class Proxies(Wires):
    """See the module text."""

    kind = "proxies in this process, no network namespaces"

    def __init__(self, count: int) -> None:
        super().__init__(count)
        held = [_bound() for _ in range(2 * count)]
        ports = [one.getsockname()[1] for one in held]
        for one in held:
            one.close()
        self._mesh, self._pages = ports[:count], ports[count:]
        self._doors = {(one, other): _bound() for one in range(count) for other in range(count) if one != other}
        self._open = {pair: trio.Event() for pair in self._doors}
        for event in self._open.values():
            event.set()

    def listen(self, node: int) -> str:
        return f"/ip4/{_HOST}/tcp/{self._mesh[node]}"

    def route(self, node: int, other: int) -> str:
        return f"/ip4/{_HOST}/tcp/{self._doors[node, other].getsockname()[1]}"

    def page(self, node: int) -> tuple[str, str]:
        return f"{_HOST}:{self._pages[node]}", f"http://{_HOST}:{self._pages[node]}"

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for pair, door in self._doors.items():
                door.listen(64)
                nursery.start_soon(self._serve, pair, trio.SocketListener(trio.socket.from_stdlib_socket(door)))

    def _set(self, pair: Pair, *, cut: bool) -> None:
        if cut:
            self._open[pair] = trio.Event()
        else:
            self._open[pair].set()

    async def _serve(self, pair: Pair, listener: trio.SocketListener) -> None:
        one, other = pair

        async def through(dialler: trio.SocketStream) -> None:
            with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                async with dialler:
                    await self._open[pair].wait()
                    async with (
                        await trio.open_tcp_stream(_HOST, self._mesh[other]) as answerer,
                        trio.open_nursery() as nursery,
                    ):
                        nursery.start_soon(self._pump, pair, dialler, answerer, nursery.cancel_scope)
                        await self._pump((other, one), answerer, dialler, nursery.cancel_scope)

        await trio.serve_listeners(through, [listener])

    async def _pump(
        self, pair: Pair, source: trio.SocketStream, target: trio.SocketStream, both: trio.CancelScope
    ) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some(_CHUNK_BYTES):
                await self._open[pair].wait()
                await target.send_all(data)
        both.cancel()


def _bound() -> socket.socket:
    one = socket.socket()
    one.bind((_HOST, 0))
    return one
