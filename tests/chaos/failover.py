"""Failover: how long nobody's record is acknowledged after the leader has died.

Clients hand in records all the time; the plug of the leader is pulled, and the time is taken until
the first record is acknowledged that was handed in after that, to a node that lives.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from statistics import median

import msgspec
import trio

from tests.chaos.clients import Clients
from tests.chaos.grid import ELECTION_TIMEOUT_S, ChaosNode, Grid

PROBES = 4
# Nobody acknowledging anything for so long is no failover any more.
GIVE_UP_S = 30.0
# Between two kills, so that they do not follow in step with anything.
REST_S = (0.5, 2.0)


class Failover(msgspec.Struct, frozen=True):
    """Seconds from the leader's death to the next acknowledged record, one for each kill."""

    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        return median(self.seconds)

    @property
    def timeouts(self) -> float:
        """The median in election timeouts."""
        return self.median_s / ELECTION_TIMEOUT_S


async def measure(grid: Grid, clients: Clients, kills: int, seed: int, tell: Callable[[int], None]) -> Failover:
    """Kill the leader so many times; every time the grid is whole again first."""
    random = Random(f"failover {seed}")
    seconds = []
    for number in range(kills):
        await grid.until("all nodes agree before the next kill", grid.agreed)
        leader = await grid.leader()
        assert leader is not None, "all nodes agree, and nobody leads"
        async with trio.open_nursery() as nursery:
            # The mesh is at work when the plug is pulled.
            nursery.start_soon(_go_on, clients, Random(random.random()), grid.nodes)
            await trio.sleep(random.uniform(*REST_S))
            leader.kill()
            seconds.append(await _until_acknowledged(clients, random, [one for one in grid.nodes if one is not leader]))
            nursery.cancel_scope.cancel()
        leader.start()
        await leader.ready()
        tell(number + 1)
    return Failover(tuple(seconds))


async def _go_on(clients: Clients, random: Random, nodes: list[ChaosNode]) -> None:
    while True:
        await clients.write("before", random, nodes)


async def _until_acknowledged(clients: Clients, random: Random, nodes: list[ChaosNode]) -> float:
    began = trio.current_time()
    acknowledged = trio.Event()

    async def probe(number: int, mine: Random) -> None:
        while True:
            told = await clients.write(f"probe {number}", mine, nodes)
            if told.fate is not None and told.fate.accepted:
                acknowledged.set()

    with trio.fail_after(GIVE_UP_S):
        async with trio.open_nursery() as nursery:
            for number in range(PROBES):
                nursery.start_soon(probe, number, Random(random.random()))
            await acknowledged.wait()
            nursery.cancel_scope.cancel()
    return trio.current_time() - began
