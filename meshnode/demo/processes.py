"""Processes: the node processes of the demonstration, started, watched and ended by their numbers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from meshnode.client import ClientError, NodeClient
from meshnode.config import TOKEN_FILE
from meshnode.demo.homes import Home

# How long a node may take to answer, and to stop when it is asked to.
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 15.0
POLL_S = 0.5
# Lines of a node's log that are shown when it fails.
TAIL_LINES = 12

Process = subprocess.Popen[bytes]


class NodeFailed(Exception):
    """A node ended or did not answer; with the end of its log."""


@asynccontextmanager
async def running(homes: Sequence[Home]) -> AsyncIterator[tuple[list[Process], list[NodeClient]]]:
    """All node processes, started at once; ended when the block ends, whatever ended it.

    Raises:
        NodeFailed: one of them does not come up.
    """
    processes: list[Process] = []
    try:
        for home in homes:
            processes.append(_start(home))
        clients = [await _ready(home, process) for home, process in zip(homes, processes, strict=True)]
        yield processes, clients
    finally:
        with trio.CancelScope(shield=True):
            await _stop(processes)


def check_running(homes: Sequence[Home], processes: Sequence[Process]) -> None:
    """Raises NodeFailed if one of the processes has ended."""
    for home, process in zip(homes, processes, strict=True):
        if process.poll() is not None:
            raise NodeFailed(f"the node of {home.name} ended with {process.returncode}:\n{_tail(home)}")


def _start(home: Home) -> Process:
    # One malloc arena: a node's threads only ever verify and write, and every further
    # arena costs memory that is never given back.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    with (home.directory / "node.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "meshnode", "run", str(home.directory), "--json", "--until-stdin-ends"],
            # Never written to: it ends when this process does, however that comes about.
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            # Ctrl-C goes to the whole foreground group; the nodes are ended by us, in order.
            start_new_session=True,
        )


async def _ready(home: Home, process: Process) -> NodeClient:
    client = NodeClient(home.address)
    with trio.move_on_after(START_DEADLINE_S):
        while True:
            check_running([home], [process])
            try:
                await client.get("/api/status")
                return NodeClient(home.address, (home.directory / TOKEN_FILE).read_text().strip())
            except ClientError:
                await trio.sleep(POLL_S)
    raise NodeFailed(f"the node of {home.name} did not answer within {START_DEADLINE_S:.0f} s:\n{_tail(home)}")


async def _stop(processes: Sequence[Process]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    with trio.move_on_after(STOP_DEADLINE_S):
        for process in processes:
            while process.poll() is None:
                await trio.sleep(0.05)
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def _tail(home: Home) -> str:
    lines = (home.directory / "node.log").read_text(errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])
