"""Followers: nodes that do not vote, and servers of blocks, over the transport in memory."""

from __future__ import annotations

import copy
import functools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

import pytest
import trio

from meshnode.network.gossip import BLOCKS, topic
from meshnode.network.memory import MemoryNetwork, MemoryTransport, open_memory_network
from meshnode.network.sync import BlockServer, Follower
from meshnode.network.validator import FinalBlock
from meshnode.store import Batch, Entry, StoreError
from protocols import block as blocks
from protocols import sync
from protocols.records import OpenCounters
from tests.network.cluster import PERIOD_S, Cluster
from tests.network.disks import Disk
from tests.network.neighbours import inline, machine_of, running
from tests.network.world import introduce, until
from tests.protocols.village import START_S, Village, device

PERIODS = 12


class Shelf(Disk):
    """A disk that can also be read from for others; `bad` are heights that its card has lost."""

    def __init__(self, disk: Disk | None = None) -> None:
        super().__init__()
        self.bad: set[int] = set()
        self.batches: list[Batch] = []
        if disk is not None:
            self.__dict__.update(copy.deepcopy(disk.__dict__))
            self.bad, self.batches = set(), []

    def persist(self, batch: Batch) -> None:
        super().persist(batch)
        self.batches.append(batch)

    def entry(self, index: int) -> Entry:
        if index in self.bad:
            raise StoreError(f"entry {index} is damaged", index)
        return super().entry(index)

    def entries(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        for index in range(low, high):
            self.entry(index)
        return super().entries(low, high, max_bytes)

    def certificate_from(self, height: int) -> tuple[int, bytes] | None:
        known = [place for place in self.certificates if place >= height]
        return (min(known), self.certificates[min(known)]) if known else None


def grown(periods: int) -> Cluster:
    """Three validators that have settled so many periods."""
    cluster = Cluster(3)
    cluster.until(lambda: cluster.leader() is not None and cluster.heights() == {1})
    for period in range(-1, periods):
        settle(cluster, period)
    cluster.run(10)
    assert len(cluster.heights()) == 1
    return cluster


def settle(cluster: Cluster, period: int) -> None:
    cluster.now_s = max(cluster.now_s, START_S + (period + 1) * PERIOD_S)
    for number, home in enumerate(cluster.village.homes):
        values = OpenCounters(import_wh=1000 * (period + 2) + number, export_wh=0)
        cluster.add(cluster.village.reading(home, period_start_s=START_S + period * PERIOD_S, values=values))
    cluster.run(4)


@functools.cache
def finished() -> Cluster:
    """A history that nobody changes."""
    return grown(PERIODS)


class Learned:
    """A node that follows."""

    def __init__(self, village: Village, transport: MemoryTransport, shelf: Shelf) -> None:
        self.transport = transport
        self.shelf = shelf
        self.final: list[FinalBlock] = []
        machine = machine_of(village)
        for height in range(1, shelf.final + 1):
            machine.apply(blocks.read(shelf.log[height].data, village.chain_id))
        self.machine = machine
        self.follower = Follower(
            machine,
            shelf,
            transport,
            self.persist,
            self.on_final,
            machine.verifier,
            Random(1),
            in_thread=inline,
        )

    async def persist(self, batch: Batch) -> None:
        await trio.lowlevel.checkpoint()
        self.shelf.persist(batch)

    async def on_final(self, final: list[FinalBlock]) -> None:
        await trio.lowlevel.checkpoint()
        assert self.shelf.final >= final[-1].block.header.height, "final before it was on disk"
        self.final += final


class Stage:
    """A memory network with servers and learners of one microgrid."""

    def __init__(self, village: Village, network: MemoryNetwork, stack: AsyncExitStack) -> None:
        self.village = village
        self.network = network
        self.stack = stack
        self.transports: list[MemoryTransport] = []

    async def transport(self, name: str) -> MemoryTransport:
        topics = [topic(self.village.chain_id, BLOCKS)]
        transport = await self.stack.enter_async_context(self.network.node(device(name).public, topics))
        self.transports.append(transport)
        return transport

    async def server(self, name: str, shelf: Shelf, announce: bool = False) -> BlockServer:
        server = BlockServer(
            await self.transport(name), shelf, self.village.chain_id, announce=announce, in_thread=inline
        )
        await self.stack.enter_async_context(running(server.run))
        return server

    async def learner(self, name: str = "emil", shelf: Shelf | None = None) -> Learned:
        """A learner that knows all transports opened so far."""
        learned = Learned(self.village, await self.transport(name), shelf or Shelf())
        introduce(*self.transports)
        await until(lambda: len(learned.transport.peers()) > 0)
        await self.stack.enter_async_context(running(learned.follower.run))
        return learned


@asynccontextmanager
async def stage(village: Village) -> AsyncIterator[Stage]:
    try:
        async with AsyncExitStack() as stack:
            network = await stack.enter_async_context(open_memory_network())
            yield Stage(village, network, stack)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None


def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of several chunks and windows out of a short history."""
    monkeypatch.setattr(sync, "CHUNK_BYTES", 256)
    monkeypatch.setattr(sync, "WINDOW_BYTES", 1024)
    monkeypatch.setattr(sync, "CREDIT_EVERY_BYTES", 512)
    monkeypatch.setattr(sync, "RANGE_BYTES", 4096)
