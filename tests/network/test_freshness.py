"""Freshness: one question for many readers, and a node that does not vote asks a validator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from meshnode.network import freshness
from meshnode.network.freshness import HeightServer, Rounds, ValidatorAsker, protocol
from meshnode.network.memory import MemoryTransport, open_memory_network
from meshnode.network.transport import Stream, peer_id_of
from protocols.frames import frame
from protocols.freshness import HeightAnswer, HeightRequest
from protocols.records import Record, to_payload
from tests.network.neighbours import running
from tests.network.world import introduce, meet
from tests.protocols.village import device

CHAIN = bytes(range(32))
VALIDATORS = ("anna", "bela", "carla")


class Leader:
    """Answers questions in their order, when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.heights: list[int | None] = []
        self.may = trio.Event()
        self.may.set()

    async def __call__(self) -> int | None:
        self.asked += 1
        await self.may.wait()
        await trio.sleep(0.05)
        return self.heights.pop(0)


async def test_readers_that_come_together_share_a_question_and_later_ones_do_not(autojump_clock: MockClock) -> None:
    leader = Leader()
    leader.heights, leader.may = [7, 8], trio.Event()
    rounds = Rounds(leader, 0)
    told: list[tuple[str, int]] = []

    async def read(name: str) -> None:
        told.append((name, await rounds.confirmed()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(rounds.run)
        for name in ("first", "second"):
            nursery.start_soon(read, name)
        await wait_all_tasks_blocked()
        # The question is under way: what becomes final from now on it need not cover.
        for name in ("third", "fourth"):
            nursery.start_soon(read, name)
        await wait_all_tasks_blocked()
        leader.may.set()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert sorted(told) == [("first", 7), ("fourth", 8), ("second", 7), ("third", 8)]
    assert leader.asked == 2


async def test_a_question_without_an_answer_is_put_anew(autojump_clock: MockClock) -> None:
    leader = Leader()
    leader.heights = [None, None, 5]
    rounds = Rounds(leader, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rounds.run)
        assert await rounds.confirmed() == 5
        nursery.cancel_scope.cancel()
    assert trio.current_time() == pytest.approx(3 * 0.05 + 2 * freshness.RETRY_S)


async def test_a_reader_waits_until_its_own_ledger_is_there(autojump_clock: MockClock) -> None:
    leader = Leader()
    leader.heights = [3]
    rounds = Rounds(leader, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rounds.run)

        async def grow() -> None:
            for height in (2, 3):
                await trio.sleep(10)
                rounds.reached(height)

        nursery.start_soon(grow)
        assert await rounds.until_fresh() == 3
        assert trio.current_time() == pytest.approx(20)
        nursery.cancel_scope.cancel()


# --- a learner and its validators


class Place:
    """A learner that is connected to three validators; `heights` is what each has to say."""

    def __init__(self, transports: dict[str, MemoryTransport]) -> None:
        self.transports = transports
        self.heights: dict[str, int] = dict.fromkeys(VALIDATORS, 9)
        self.mute: set[str] = set()
        self.asked: list[str] = []
        self.servers = {
            name: HeightServer(self.transports[name], CHAIN, lambda name=name: self.confirmed(name))  # type: ignore[misc]
            for name in VALIDATORS
        }
        validators = [peer_id_of(device(name).public) for name in VALIDATORS]
        self.asker = ValidatorAsker(transports["emil"], CHAIN, lambda: validators, Random(1))

    async def confirmed(self, name: str) -> int:
        self.asked.append(name)
        if name in self.mute:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        return self.heights[name]


@asynccontextmanager
async def place(*serving: str) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(open_memory_network())
        transports = {
            name: await stack.enter_async_context(network.node(device(name).public, []))
            for name in (*VALIDATORS, "emil")
        }
        introduce(*transports.values())
        await meet(*transports.values())
        scene = Place(transports)
        for name in serving or VALIDATORS:
            await stack.enter_async_context(running(scene.servers[name].run))
        yield scene


async def test_a_learner_asks_one_validator_and_stays_with_it(autojump_clock: MockClock) -> None:
    async with place() as scene:
        for height in (9, 10, 11):
            scene.heights = dict.fromkeys(VALIDATORS, height)
            assert await scene.asker() == height
        assert len(scene.asked) == 3 and len(set(scene.asked)) == 1
        assert scene.servers[scene.asked[0]].counters == {"height: answered": 3}


async def test_one_that_knows_no_majority_says_so_and_the_next_is_asked(autojump_clock: MockClock) -> None:
    async with place() as scene:
        scene.mute = {"anna", "bela"}
        assert await scene.asker() == 9
        assert scene.asked[-1] == "carla" and len(scene.asked) <= 3
        assert trio.current_time() <= 2 * freshness.SERVE_S + 1
        scene.mute = set(VALIDATORS)
        assert await scene.asker() is None
        assert all(scene.servers[name].counters["height: not known in time"] for name in VALIDATORS)


async def test_a_validator_that_goes_is_replaced(autojump_clock: MockClock) -> None:
    async with place() as scene:
        await scene.asker()
        first = scene.asked[-1]
        await scene.transports["emil"].drop(peer_id_of(device(first).public), "for the story")
        assert await scene.asker() == 9
        assert scene.asked[-1] != first
        for name in VALIDATORS:
            await scene.transports["emil"].drop(peer_id_of(device(name).public), "for the story")
        assert await scene.asker() is None


async def test_a_validator_that_does_not_speak_the_protocol_is_passed_over(autojump_clock: MockClock) -> None:
    async with place("carla") as scene:
        assert await scene.asker() == 9
        assert scene.asked == ["carla"]


@pytest.mark.parametrize(
    "answer",
    [b"\xff", to_payload(HeightAnswer(number=99, height=5)), to_payload(HeightRequest(number=1))],
    ids=["no record", "to another question", "no answer"],
)
async def test_a_validator_that_answers_nonsense_is_dropped(answer: bytes, autojump_clock: MockClock) -> None:
    async with place("carla") as scene:

        async def lie(stream: Stream) -> None:
            await stream.receive_some(1000)
            await stream.send_all(frame(answer))

        for name in ("anna", "bela"):
            scene.transports[name].handle(protocol(CHAIN), lie, max_streams_per_peer=1)
        assert await scene.asker() == 9
        left = scene.transports["emil"].peers()
        assert peer_id_of(device("carla").public) in left
        dropped = scene.transports["emil"].counters["dropped: height: an answer that no honest validator gives"]
        assert dropped == len(VALIDATORS) - len(left) > 0, "the lot fell on a liar, too"


@pytest.mark.parametrize(
    "data",
    [frame(b"\xff"), frame(bytes(65)), frame(to_payload(HeightAnswer(number=1, height=5)))],
    ids=["no record", "too long", "no request"],
)
async def test_a_learner_that_asks_nonsense_is_dropped(data: bytes, autojump_clock: MockClock) -> None:
    async with place() as scene:
        stream = await scene.transports["emil"].open_stream(peer_id_of(device("anna").public), protocol(CHAIN))
        await stream.send_all(data)
        with trio.move_on_after(5):
            while peer_id_of(device("emil").public) in scene.transports["anna"].peers():
                await trio.sleep(0.1)
        assert peer_id_of(device("emil").public) not in scene.transports["anna"].peers()


async def test_a_learner_that_asks_too_often_loses_its_stream_and_nothing_else(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place() as scene:
        stream = await scene.transports["emil"].open_stream(peer_id_of(device("anna").public), protocol(CHAIN))
        questions: list[Record] = [HeightRequest(number=number) for number in range(100)]
        await stream.send_all(b"".join(frame(to_payload(one)) for one in questions))
        await trio.sleep(1)
        assert scene.servers["anna"].counters["height: too many questions"] == 1
        assert scene.asked.count("anna") <= freshness.REQUESTS_BURST + freshness.REQUESTS_PER_S
        assert peer_id_of(device("emil").public) in scene.transports["anna"].peers()
