"""Clients of three simulated replicas: a recorder writes down what they see, the checker finds who reads stale.

The replicas are a list of blocks that each has got so far; nothing of the product runs here. What the
clients do is what clients of a real cluster do: write through any node, lose answers, ask again, read.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from random import Random

import pytest
import trio
from trio.testing import MockClock

from tests.linearizability.checker import Verdict, check
from tests.linearizability.history import History, Recorder
from tests.linearizability.ledger import LEDGER, Absent, Final, ReadRecord, WriteRecord
from tests.linearizability.recordings import demand_linearizable

CLIENTS = 4
RECORDS_EACH = 15
# Seconds of the test's clock: how long a message, a patient client and a slow replica take at most.
MESSAGE_S = 0.05
PATIENCE_S = 0.12
LAG_S = 1.0


class Replicas:
    """One leader that orders the records, and replicas that hear of them late."""

    def __init__(self, *, ask_leader: bool) -> None:
        self._ask_leader = ask_leader
        self._blocks: list[str] = []
        self._heights = [0, 0, 0]

    async def write(self, random: Random, record: str) -> Final:
        """Hand in a record; whether it gets there in time or not, it may get there."""
        await message(random)
        if record not in self._blocks:
            self._blocks.append(record)
        await message(random)
        return self._found(record, len(self._blocks))

    async def read(self, random: Random, replica: int, record: str) -> Final | Absent:
        """Ask a replica, which first asks the leader how high the ledger is; or does not, and tells what it has."""
        await message(random)
        height = len(self._blocks)
        if self._ask_leader:
            await message(random)
            self._heights[replica] = max(self._heights[replica], height)
        height = self._heights[replica]
        if record in self._blocks[:height]:
            found = self._found(record, height)
            return Final(found.place, height)
        return Absent(height)

    async def replicate(self, random: Random, replica: int) -> None:
        """Now and then a replica catches up."""
        while True:
            await trio.sleep(random.uniform(0, LAG_S))
            self._heights[replica] = len(self._blocks)

    def _found(self, record: str, height: int) -> Final:
        return Final((self._blocks[:height].index(record) + 1, 0))


async def message(random: Random) -> None:
    await trio.sleep(random.uniform(0, MESSAGE_S))


async def work(random: Random, replicas: Replicas, recorder: Recorder, name: str) -> None:
    """Write records until each is settled, and read one's own and others'."""
    for number in range(RECORDS_EACH):
        record = f"{name}-{number}"
        settled = False
        while not settled:
            call = recorder.called(name, WriteRecord(record))
            with trio.move_on_after(random.uniform(0, PATIENCE_S)):
                recorder.returned(call, await replicas.write(random, record))
                settled = True
        for asked in (record, f"{random.randrange(CLIENTS)}-{number}"):
            call = recorder.called(name, ReadRecord(asked))
            recorder.returned(call, await replicas.read(random, random.randrange(3), asked))


async def lived(seed: int, *, ask_leader: bool) -> History:
    # A generator for each task: in which order tasks of one moment run is not for a seed to say.
    randoms = (Random(f"{seed}, {task}") for task in itertools.count())
    replicas = Replicas(ask_leader=ask_leader)
    recorder = Recorder(lambda: round(trio.current_time() * 1_000_000_000))
    async with trio.open_nursery() as everything:
        for replica in range(3):
            everything.start_soon(replicas.replicate, next(randoms), replica)
        async with trio.open_nursery() as clients:
            for client in range(CLIENTS):
                clients.start_soon(work, next(randoms), replicas, recorder, f"{client}")
        everything.cancel_scope.cancel()
    return recorder.history()


@pytest.mark.parametrize("seed", range(3))
async def test_replicas_that_ask_the_leader_are_linearizable(
    seed: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    history = await lived(seed, ask_leader=True)
    assert history.pending > 20
    demand_linearizable(history, LEDGER, tmp_path / "history.json")


@pytest.mark.parametrize("seed", range(3))
async def test_replicas_that_tell_what_they_have_are_not(seed: int, autojump_clock: MockClock) -> None:
    history = await lived(seed, ask_leader=False)
    result = check(history, LEDGER)
    assert result.verdict == Verdict.NOT_LINEARIZABLE
    assert result.stuck is not None
