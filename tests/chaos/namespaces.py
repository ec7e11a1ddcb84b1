"""Namespaces: a network stack of its own for every node, joined by a bridge that only this process sees.

The whole process moves into fresh network and mount namespaces first (`isolate`), so that the host
never has any of it, and whatever ends the process takes it all away. Every node's stack knows the others'
hardware addresses by heart; a direction is cut by teaching it a wrong one, and its packets are lost.

Linux only, and only for who may unshare namespaces (root); see `network_namespaces(7)`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from tests.chaos.wires import Pair, Wires

_NEW_NETWORK = 0x40000000
_NEW_MOUNTS = 0x00020000
# Of the bridge's own network; nothing outside ever sees it.
_SUBNET = "10.77.0"
_MESH_PORT = 4170
_PAGE_PORT = 8170
# Belongs to nobody: what is sent there is flooded by the bridge and dropped by everybody.
_NOBODY = "02:00:00:00:ff:ff"
_CHUNK_BYTES = 64 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


def isolate() -> bool:
    """Move this process into namespaces of its own; False where that is not permitted. Before any thread starts."""
    if not all(shutil.which(tool) for tool in ("ip", "mount", "umount")):
        return False
    try:
        _call(_libc.unshare(_NEW_NETWORK | _NEW_MOUNTS))
    except (OSError, AttributeError):
        return False
    # From here on there is no way back: what fails now is an error.
    private = subprocess.run(["mount", "--make-rprivate", "/"], check=False, capture_output=True, text=True)
    # The root of a chroot is no mount that could be made private; then nothing must be shared to begin with.
    if private.returncode and " shared:" in Path("/proc/self/mountinfo").read_text():
        raise OSError(f"mount --make-rprivate: {private.stderr.strip()}")
    _ip("link", "set", "lo", "up")
    return True


class Namespaces(Wires):
    """See the module text; the process is isolated already."""

    kind = "network namespaces"

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._own = _present()
        _ip("link", "add", "bridge0", "type", "bridge")
        _ip("link", "set", "bridge0", "up")
        self._stacks = [self._stack(node) for node in range(count)]
        # Pages are served on loopback, each in its own stack; here each gets a port that leads there.
        self._windows = [_listening() for _ in range(count)]

    def listen(self, node: int) -> str:
        return f"/ip4/{_address(node)}/tcp/{_MESH_PORT}"

    def route(self, node: int, other: int) -> str:
        return self.listen(other)

    def page(self, node: int) -> tuple[str, str]:
        return f"127.0.0.1:{_PAGE_PORT}", f"http://127.0.0.1:{self._windows[node].getsockname()[1]}"

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for node, window in enumerate(self._windows):
                nursery.start_soon(self._serve, node, trio.SocketListener(trio.socket.from_stdlib_socket(window)))

    @contextmanager
    def inside(self, node: int) -> Iterator[None]:
        _call(_libc.setns(self._stacks[node], _NEW_NETWORK))
        try:
            yield
        finally:
            _call(_libc.setns(self._own, _NEW_NETWORK))

    def _set(self, pair: Pair, *, cut: bool) -> None:
        one, other = pair
        with self.inside(one):
            _neighbour(other, _NOBODY if cut else _hardware(other))

    def _stack(self, node: int) -> int:
        """A new stack with its cable to the bridge; a file descriptor that keeps it."""
        _call(_libc.unshare(_NEW_NETWORK))
        try:
            stack = _present()
            _ip("link", "set", "lo", "up")
            cable = ("link", "add", "eth0", "address", _hardware(node), "type", "veth")
            _ip(*cable, "peer", "name", f"node{node}", "netns", f"/proc/{os.getpid()}/fd/{self._own}")
            _ip("addr", "add", f"{_address(node)}/24", "dev", "eth0")
            _ip("link", "set", "eth0", "up")
            for other in range(self.count):
                if other != node:
                    _neighbour(other, _hardware(other))
        finally:
            _call(_libc.setns(self._own, _NEW_NETWORK))
        _ip("link", "set", f"node{node}", "master", "bridge0", "up")
        return stack

    async def _serve(self, node: int, listener: trio.SocketListener) -> None:
        async def through(client: trio.SocketStream) -> None:
            with self.inside(node):
                # A socket stays in the stack in which it was made.
                inner = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                async with client:
                    await inner.connect(("127.0.0.1", _PAGE_PORT))
                    async with trio.SocketStream(inner) as server, trio.open_nursery() as nursery:
                        nursery.start_soon(_pump, client, server)
                        await _pump(server, client)
                        nursery.cancel_scope.cancel()
            inner.close()

        await trio.serve_listeners(through, [listener])


async def _pump(source: trio.SocketStream, target: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await source.receive_some(_CHUNK_BYTES):
            await target.send_all(data)
        await target.send_eof()


def _listening() -> socket.socket:
    window = socket.socket()
    window.bind(("127.0.0.1", 0))
    window.listen(64)
    return window


def _address(node: int) -> str:
    return f"{_SUBNET}.{node + 1}"


def _hardware(node: int) -> str:
    return f"02:00:00:00:00:{node + 1:02x}"


def _neighbour(node: int, hardware: str) -> None:
    _ip("neigh", "replace", _address(node), "lladdr", hardware, "dev", "eth0", "nud", "permanent")


def _present() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _call(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
