"""Driver trouble: one device never takes the node down, and never keeps it busy."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from drivers.driver import DriverError, Measurement
from meshnode.collector import FIRST_DELAY_S, LEAST_INTERVAL_S, LONGEST_DELAY_S, SILENT_S
from tests.node.meters import Home, at

UNPLUGGED = DriverError("meter home", "/dev/ttyUSB0 is not there", "a serial port", "plug in the reading head")


class Restarts:
    """A story that is begun again and again, and ends each time in its own way.

    Attributes:
        at: when it was begun, in virtual seconds.
    """

    def __init__(self, *ends: Exception | None, telegrams: tuple[int, ...] = ()) -> None:
        """Args:
        ends: how each beginning ends; the last one counts for all that follow. None: it just ends.
        telegrams: which beginnings say something first.
        """
        self.at: list[float] = []
        self._ends = ends
        self._telegrams = telegrams

    async def __call__(self) -> AsyncGenerator[Measurement, None]:
        number = len(self.at)
        self.at.append(trio.current_time())
        if number in self._telegrams:
            yield at(number, number)
        end = self._ends[min(number, len(self._ends) - 1)]
        if end is not None:
            raise end

    @property
    def delays(self) -> list[float]:
        return [round(after - before, 6) for before, after in pairwise(self.at)]


async def test_a_device_that_cannot_be_read_is_shown_and_tried_again_ever_more_seldom(
    autojump_clock: MockClock,
) -> None:
    story = Restarts(UNPLUGGED)
    home = await Home(story).listen(300)
    assert story.delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert (story.delays[0], story.delays[-1]) == (FIRST_DELAY_S, LONGEST_DELAY_S)
    assert home.health.state == "failed"
    assert home.health.problem == (
        "meter home: /dev/ttyUSB0 is not there; expected a serial port\n    plug in the reading head"
    )
    assert home.health.errors == len(story.at)


async def test_a_device_that_spoke_again_is_tried_again_soon(autojump_clock: MockClock) -> None:
    story = Restarts(UNPLUGGED, telegrams=(4,))
    home = await Home(story).listen(30)
    # The telegram takes its place in time; after it, all begins from the shortest delay.
    assert story.delays == [1, 2, 4, 8, 1 + LEAST_INTERVAL_S, 2, 4]
    assert home.health.telegrams == 1


async def test_a_driver_that_just_ends_is_begun_again(autojump_clock: MockClock) -> None:
    story = Restarts(None)
    home = await Home(story).listen(4)
    assert story.at == [0, 1, 3]
    assert (home.health.state, home.health.problem) == ("failed", "the driver ended")


async def test_what_was_read_before_a_failure_and_what_comes_after_still_make_a_reading(
    autojump_clock: MockClock,
) -> None:
    beginnings = [at(800, 1000), at(1000, 1200)]

    async def story() -> AsyncGenerator[Measurement, None]:
        yield beginnings.pop(0)
        if beginnings:
            raise UNPLUGGED
        await trio.sleep_forever()

    home = await Home(story).listen(5)
    assert home.heard == [(0, 1100, 0)]
    assert (home.health.state, home.health.problem, home.health.errors) == ("reading", "", 1)


async def test_a_silent_device_is_shown_as_failed_and_let_go_of_before_it_is_tried_again(
    autojump_clock: MockClock,
) -> None:
    open_now, most_open = 0, 0

    async def story() -> AsyncGenerator[Measurement, None]:
        nonlocal open_now, most_open
        open_now += 1
        most_open = max(most_open, open_now)
        try:
            yield at(10, 10)
            await trio.sleep_forever()
        finally:
            open_now -= 1

    home = await Home(story).listen(SILENT_S - 1)
    assert home.health.state == "reading"
    home = await Home(story).listen(SILENT_S + 0.5)
    assert home.health.state == "failed"
    assert home.health.problem == (
        "meter home: nothing heard for 30 s; expected telegrams\n"
        "    look whether the reading head sits right and the cable is plugged in"
    )
    await Home(story).listen(10 * SILENT_S)
    assert (open_now, most_open) == (0, 1)


async def test_a_babbling_driver_is_slowed_down_and_everybody_else_goes_on(autojump_clock: MockClock) -> None:
    async def babble() -> AsyncGenerator[Measurement, None]:
        number = 0
        while True:
            number += 1
            yield at(0, number)

    home = Home(babble)
    ticks = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(home.collector.run)
        for _ in range(10):
            await trio.sleep(1)
            ticks += 1
        nursery.cancel_scope.cancel()
    assert ticks == 10
    assert 90 <= home.health.telegrams <= 10 / LEAST_INTERVAL_S + 1


async def test_babble_that_means_nothing_is_slowed_down_as_well(autojump_clock: MockClock) -> None:
    async def babble() -> AsyncGenerator[Measurement, None]:
        while True:
            yield at(0, None, None)

    home = await Home(babble).listen(10)
    assert 90 <= home.health.errors <= 10 / LEAST_INTERVAL_S + 1


@pytest.mark.parametrize("bug", [ZeroDivisionError("division by zero"), trio.TooSlowError()], ids=repr)
async def test_a_drivers_own_bug_costs_its_meter_and_is_logged_with_its_trace(
    autojump_clock: MockClock, bug: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    story = Restarts(bug)
    with caplog.at_level(logging.ERROR):
        home = await Home(story).listen(2)
    assert home.health.problem == f"the driver told failed: {bug!r}"
    assert caplog.records[0].exc_info is not None and caplog.records[0].exc_info[1] is bug
    assert caplog.messages == [f"meter home failed: the driver told failed: {bug!r}"], "once, not at every start"
    assert len(story.at) == 2


async def test_the_log_hears_of_each_problem_once_until_there_is_another(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    silent = DriverError("meter home", "no telegram", "telegrams", "look at the cable")
    story = Restarts(UNPLUGGED, UNPLUGGED, silent, silent, silent, UNPLUGGED, telegrams=(4,))
    with caplog.at_level(logging.INFO, "meshnode.collector"):
        await Home(story).listen(60)
    assert len(story.at) > 6
    assert caplog.messages == [
        f"meter home failed: {UNPLUGGED}",
        f"meter home failed: {silent}",
        "meter home is read again",
        f"meter home failed: {silent}",
        f"meter home failed: {UNPLUGGED}",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING", "INFO"}


async def test_a_bug_in_one_of_the_drivers_tasks_is_one_of_the_driver(autojump_clock: MockClock) -> None:
    async def story() -> AsyncGenerator[Measurement, None]:
        async with trio.open_nursery():
            raise ZeroDivisionError("division by zero")
        yield

    home = await Home(story).listen(0.5)
    assert "ZeroDivisionError('division by zero')" in home.health.problem


async def test_a_driver_that_nobody_knows_is_named_with_those_that_there_are(autojump_clock: MockClock) -> None:
    home = await Home(Restarts(None), driver="dsrm").listen(0.5)
    assert home.health.state == "failed"
    assert home.health.problem.startswith('driver "dsrm": there is none of that name; expected one of dsmr, ')
    assert "install the package that brings this driver" in home.health.problem


@pytest.mark.parametrize("seconds", [LEAST_INTERVAL_S / 2, 1], ids=["between two measurements", "while it waits"])
async def test_when_the_node_ends_the_device_is_let_go_of_first(autojump_clock: MockClock, seconds: float) -> None:
    let_go = False

    async def story() -> AsyncGenerator[Measurement, None]:
        nonlocal let_go
        try:
            yield at(0, 1)
            await trio.sleep_forever()
        finally:
            let_go = True

    await Home(story).listen(seconds)
    assert let_go
