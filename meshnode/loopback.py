"""Loopback: the nodes of one microgrid as processes of their own on this computer.

Founds homes in directories side by side, gives each its ports on 127.0.0.1, and
starts, ends, freezes and kills their processes, each by its number. What they do
together is seen through their pages only. The demonstration and the end-to-end
tests stand on it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import trio

from meshnode import founding
from meshnode.client import ClientError, NodeClient
from meshnode.config import TOKEN_FILE
from meshnode.founding import NodeKeys
from meshnode.network.transport import peer_id_of
from protocols.records import QUORUM_MAJORITY, Clock, Genesis, chain_id

HOST = "127.0.0.1"
LOG_FILE = "node.log"
# Importing everything takes a Raspberry Pi ten seconds, and all nodes start at once.
START_DEADLINE_S = 60.0
# A node that is asked to end closes its ledger first; one that does not is killed.
STOP_DEADLINE_S = 15.0
POLL_S = 0.1
# The last lines of a node's log tell why it ended; the rest is in the file.
TAIL_LINES = 12

RUN = ("-m", "meshnode", "run", "{directory}", "--json", "--until-stdin-ends")
"""What the interpreter is given to run a node; it ends with whoever started it."""


class NodeFailed(Exception):
    """A node's process ended, or did not answer; with the end of its log."""


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """One household to be founded.

    points: metering points of the meters that the genesis names. meters: sections of the
    configuration, for those that the node itself reads. votes: whether its node is a
    validator. runs: whether it gets a process here, so that others keep a connection to it.
    """

    name: str
    roles: tuple[str, ...] = ("prosumer",)
    points: tuple[str, ...] = ()
    meters: tuple[Mapping[str, Any], ...] = ()
    votes: bool = True
    runs: bool = True


class NodeProcess:
    """One node of this computer: its directory, its keys and ports, and its process while there is one."""

    def __init__(
        self, home: Home, directory: Path, keys: NodeKeys, mesh_port: int, web_port: int, door_port: int
    ) -> None:
        self.home = home
        self.name = home.name
        self.directory = directory
        self.keys = keys
        self.url = f"http://{HOST}:{web_port}"
        self.listen = f"/ip4/{HOST}/tcp/{mesh_port}"
        self.door = f"/ip4/{HOST}/tcp/{door_port}"
        self.web = f"{HOST}:{web_port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._token: str | None = None

    @property
    def address(self) -> str:
        """Where other nodes find this one."""
        return f"{self.listen}/p2p/{self.peer_id}"

    @property
    def peer_id(self) -> str:
        """The node's libp2p peer id."""
        return peer_id_of(self.keys.device.public)

    @property
    def client(self) -> NodeClient:
        """The node's page, with the right to write once the node has made its token."""
        path = self.directory / TOKEN_FILE
        if self._token is None and path.is_file():
            self._token = path.read_text().strip() or None
        return NodeClient(self.url, self._token)

    def is_running(self) -> bool:
        """Whether the process lives (frozen or not)."""
        return self.process is not None and self.process.poll() is None

    def start(self, arguments: Sequence[str] = RUN, variables: Mapping[str, str] | None = None) -> None:
        """Start the process, in a session of its own: Ctrl-C reaches only whoever started it.

        Args:
            arguments: for the interpreter; {directory} stands for the node's directory.
            variables: more of them for its environment.
        """
        command = [sys.executable, *(argument.format(directory=self.directory) for argument in arguments)]
        # One malloc arena: a node's threads only ever verify and write, and every further
        # arena costs memory that is never given back.
        environment = {**os.environ, "MALLOC_ARENA_MAX": "1", **(variables or {})}
        with (self.directory / LOG_FILE).open("ab") as log:
            self.process = subprocess.Popen(
                command,
                # Never written to: it ends when this process does, however that comes about.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    async def ready(self, deadline_s: float = START_DEADLINE_S) -> None:
        """Wait until the node answers. Raises NodeFailed."""
        with trio.move_on_after(deadline_s):
            while True:
                self.check_running()
                try:
                    await self.client.get("/api/status")
                    return
                except ClientError:
                    await trio.sleep(POLL_S)
        raise NodeFailed(f"the node of {self.name} did not answer within {deadline_s:g} s:\n{self.tail()}")

    def check_running(self) -> None:
        """Raises NodeFailed if the process has ended, with its exit code or the signal that killed it."""
        code = None if self.process is None else self.process.poll()
        if code is not None:
            how = f"ended with exit code {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
            raise NodeFailed(f"the node of {self.name} {how}; the last that it said:\n{self.tail()}")

    def freeze(self) -> None:
        """Stop the process where it is, as a computer that hangs."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once, as a pulled plug does."""
        self._signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def ask_to_stop(self) -> None:
        """Ask the process to end in order; see `stop`."""
        self._signal(signal.SIGTERM)

    async def stop(self) -> int | None:
        """End the process in order, after `STOP_DEADLINE_S` by force. Returns its exit code."""
        self.ask_to_stop()
        return await self.ended()

    async def ended(self) -> int | None:
        """Wait until a process that was asked to stop has ended, see `stop`.

        It is not asked again: a second signal would cut its tidying up short.
        """
        with trio.move_on_after(STOP_DEADLINE_S):
            while self.is_running():
                await trio.sleep(POLL_S)
        self.kill()
        return None if self.process is None else self.process.returncode

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The end of the node's log, indented."""
        try:
            text = (self.directory / LOG_FILE).read_text(errors="replace")
        except FileNotFoundError:
            return "    (no log)"
        return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


async def stop_all(nodes: Sequence[NodeProcess]) -> None:
    """End all processes, at the same time; none outlives this, not even when it is cancelled."""
    with trio.CancelScope(shield=True):
        for node in nodes:
            node.thaw()
            node.ask_to_stop()
        for node in nodes:
            await node.ended()


def found_homes(
    directory: Path,
    community: str,
    binding_text: str,
    homes: Sequence[Home],
    *,
    clock: Clock | None = None,
    start_s: int | None = None,
    max_drift_s: int = founding.DEFAULT_DRIFT_S,
    profile: str = "lan",
    with_doors: bool = False,
    quorum_mode: int = QUORUM_MAJORITY,
) -> tuple[Genesis, dict[str, NodeProcess]]:
    """Keys, genesis, ledger and configuration of every home, in directories of their names.

    Args:
        start_s: of the genesis; default: now.
        with_doors: whether nodes let newcomers in, each at a port of its own.
    Raises:
        ConfigError: the microgrid cannot be founded.
    """
    ports = free_ports(3 * len(homes))
    nodes = {}
    for number, home in enumerate(homes):
        place = directory / home.name
        made = founding.make_keys(place, home.points)
        nodes[home.name] = NodeProcess(home, place, made, *ports[3 * number : 3 * number + 3])
    genesis = founding.found(
        community,
        binding_text,
        [node.keys.entry(node.name, node.home.roles) for node in nodes.values()],
        [node.keys.device.public for node in nodes.values() if node.home.votes],
        start_s=start_s,
        clock=clock,
        max_drift_s=max_drift_s,
        quorum_mode=quorum_mode,
    )
    chain = chain_id(genesis).hex()
    for node in nodes.values():
        others = [other.address for other in nodes.values() if other is not node and other.home.runs]
        section: dict[str, Any] = {"peers": others}
        if with_doors:
            section["joining"] = node.door
        founding.place_ledger(node.directory, genesis)
        founding.write_config(
            node.directory,
            node.name,
            listen=[node.listen],
            web=node.web,
            microgrids={chain: section},
            meters=node.home.meters,
            profile=profile,
        )
    return genesis, nodes


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
