"""Clock: what time a microgrid lives in, and how long to wait for it."""

from __future__ import annotations

import pytest

from meshnode.clock import GridClock
from protocols.records import Clock

REAL_S = 1_800_000_000.75


class Wall:
    """The system's clock, set by hand."""

    def __init__(self) -> None:
        self.now_s = REAL_S

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    wall = Wall()
    monkeypatch.setattr("meshnode.clock.time", wall)
    return wall


def test_the_real_clock_is_the_systems(wall: Wall) -> None:
    clock = GridClock(Clock(kind=0, speed=7, origin_s=5, shows_s=9))
    assert (clock.is_demonstration, clock.speed) == (False, 1), "what belongs to a demonstration does not count"
    assert (clock.now(), clock.now_s()) == (REAL_S, 1_800_000_000)
    assert clock.real_delay(REAL_S + 12.5) == 12.5
    assert clock.real_delay(REAL_S - 1) == 0.0


def test_a_demonstration_clock_runs_faster_from_what_it_shows_at_its_origin(wall: Wall) -> None:
    clock = GridClock(Clock(kind=1, speed=180, origin_s=1_800_000_000, shows_s=1_000_000))
    assert (clock.is_demonstration, clock.speed) == (True, 180)
    # Three quarters of a second are 135 seconds of the village.
    assert clock.now() == 1_000_135.0
    wall.now_s += 5
    assert clock.now_s() == 1_001_035
    # A quarter-hour of the village is five real seconds.
    assert clock.real_delay(1_001_035 + 900) == 5.0
    assert clock.real_delay(1_001_035) == 0.0 == clock.real_delay(0)


def test_whole_seconds_are_those_that_have_begun(wall: Wall) -> None:
    clock = GridClock(Clock(kind=1, speed=2, origin_s=1_800_000_000, shows_s=50))
    wall.now_s = 1_800_000_000 + 1.9
    assert clock.now_s() == 53
    assert clock.now() == pytest.approx(53.8)


def test_before_its_origin_a_demonstration_clock_shows_earlier_times(wall: Wall) -> None:
    """Another computer's clock may be a little behind the founder's."""
    clock = GridClock(Clock(kind=1, speed=10, origin_s=1_800_000_001, shows_s=1000))
    assert clock.now() == 997.5
