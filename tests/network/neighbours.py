"""Neighbours: homes of one microgrid with mempool and gossip, over a transport of either kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

import msgspec
import trio

from meshnode.keys import SignatureCheck, SigningKey
from meshnode.machine import Machine
from meshnode.market.registry import installed_mechanisms
from meshnode.mempool import Mempool, Refusal
from meshnode.network.gossip import TOPICS, Gossip, topic
from meshnode.network.libp2p import Limits, open_libp2p
from meshnode.network.memory import MemoryNetwork, open_memory_network
from meshnode.network.transport import Transport
from protocols.block import SignedRecord
from protocols.records import LivePower, OpenCounters, meter_id_of
from tests.network.world import LOOPBACK, introduce, meet
from tests.protocols.keys import seed_of
from tests.protocols.village import START_S, Village, device, meter
from zencode.binding import encode
from zencode.presets import preset
from zencode.reader import read

PERIOD_S = 900
# Ten periods are over when a story begins.
NOW_S = START_S + 10 * PERIOD_S


def real_village(homes: int = 3, **changes: Any) -> Village:
    """A village whose binding the state machine carries out."""
    text = preset("neighbour_market")
    fields = {"binding": encode(read(text)), "binding_text": text.encode()} | changes
    return Village(homes, **fields)


def machine_of(village: Village, check: SignatureCheck | None = None) -> Machine:
    return Machine(village.genesis, village.chain_id, installed_mechanisms(), check or SignatureCheck())


def ledger_time(machine: Machine, time_s: int) -> None:
    """As if a block with this time and nothing in it were final."""
    machine.state.meta.put(0, msgspec.structs.replace(machine.state.meta[0], time_s=time_s))


async def inline(function: Callable[..., Any], *arguments: Any) -> Any:
    """Stands for a thread where the clock is virtual: it would jump while a real one works."""
    await trio.lowlevel.checkpoint()
    return function(*arguments)


class Hands:
    """A microgrid's clock that is set by hand."""

    def __init__(self, now_s: int = NOW_S) -> None:
        self.time_s = now_s

    def now_s(self) -> int:
        return self.time_s


class Home:
    """One node: what it has taken, heard and given up."""

    def __init__(self, name: str, village: Village, transport: Transport, clock: Hands, *, threads: bool) -> None:
        self.name = name
        self.village = village
        self.transport = transport
        self.check = SignatureCheck()
        self.machine = machine_of(village, self.check)
        self.mempool = Mempool(self.machine)
        self.taken: list[SignedRecord] = []
        self.void: list[tuple[SignedRecord, Refusal]] = []
        self.heard: list[tuple[bytes, LivePower, float]] = []
        self.gossip = Gossip(
            transport,
            self.mempool,
            clock,
            village.chain_id,
            self.machine,
            self.check,
            on_live=lambda account, live, _: self.heard.append((account, live, trio.current_time())),
            random=Random(name),
            on_record=self.taken.append,
            on_void=lambda signed, refusal: self.void.append((signed, refusal)),
            now_ms=lambda: clock.time_s * 1000,
            **({} if threads else {"in_thread": inline}),
        )

    @property
    def peer(self) -> str:
        return self.transport.peer_id

    @property
    def counters(self) -> dict[str, int]:
        """Of gossip, transport and mempool; only what happened."""
        return {**self.transport.counters, **self.mempool.counters, **self.gossip.counters}

    def reading(self, period: int, wh: int = 1000, **changes: Any) -> SignedRecord:
        """The register of this home's meter at the end of a period, counted from the first."""
        values = OpenCounters(import_wh=wh + period, export_wh=0)
        return self.village.reading(self.name, period_start_s=START_S + period * PERIOD_S, values=values, **changes)

    def live(self, power_w: int, ms: int = 0, sequence: int = 0) -> LivePower:
        number = meter_id_of(meter(self.name).public)
        return LivePower(meter=number, power_w=power_w, sequence=sequence, measured_ms=NOW_S * 1000 + ms)

    @property
    def meter_key(self) -> SigningKey:
        return SigningKey(seed_of(f"{self.name} meter"))


class Neighbourhood:
    """Homes by name; with `network` (in memory) links can be cut."""

    def __init__(self, kind: str, village: Village, stack: AsyncExitStack, network: MemoryNetwork | None) -> None:
        self.village = village
        self.clock = Hands()
        self.network = network
        self.homes: dict[str, Home] = {}
        self._kind = kind
        self._stack = stack

    async def transport(self, name: str) -> Transport:
        """The transport of a home's device, or of a stranger."""
        topics = [topic(self.village.chain_id, one) for one in TOPICS]
        if self.network is not None:
            return await self._stack.enter_async_context(self.network.node(device(name).public, topics))
        limits = Limits(drop_cooldown_s=600.0)
        return await self._stack.enter_async_context(
            open_libp2p(seed_of(f"{name} device"), LOOPBACK, topics, limits=limits)
        )

    async def settle(self, *names: str) -> list[Home]:
        """Run the gossip of these homes."""
        homes = []
        for name in names:
            home = Home(name, self.village, await self.transport(name), self.clock, threads=self._kind != "memory")
            await self._stack.enter_async_context(running(home.gossip.run))
            self.homes[name] = home
            homes.append(home)
        return homes


@asynccontextmanager
async def running(task: Callable[..., Any]) -> AsyncIterator[None]:
    """Run a service until the block ends."""
    async with trio.open_nursery() as nursery:
        await nursery.start(task)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def neighbourhood(
    kind: str, *names: str, connected: bool = True, **changes: Any
) -> AsyncIterator[tuple[Neighbourhood, list[Home]]]:
    """Homes that run gossip and know one another, until the block ends."""
    try:
        async with AsyncExitStack() as stack:
            network = await stack.enter_async_context(open_memory_network()) if kind == "memory" else None
            place = Neighbourhood(kind, real_village(7, **changes), stack, network)
            homes = await place.settle(*names)
            if connected:
                transports = [home.transport for home in homes]
                introduce(*transports)
                await meet(*transports)
                # The rounds that follow a connection are over, the next are seconds away.
                await trio.sleep(0.5)
            yield place, homes
    except BaseExceptionGroup as group:
        # A failing test shall show what failed, not the nurseries around it.
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None
