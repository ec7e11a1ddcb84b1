"""News: every open page hears what changes, and none of them holds up the node."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as some

from meshnode.news import TIMES_KEPT, UPDATES_PER_PAGE, News, percentiles
from meshnode.web.backend import PowerNow, Update
from protocols.records import LivePower

ANNA, BELA = b"a" * 16, b"b" * 16
METER, OTHER = b"m" * 16, b"n" * 16


def live(power_w: int, measured_ms: int, meter: bytes = METER) -> LivePower:
    return LivePower(meter=meter, power_w=power_w, sequence=1, measured_ms=measured_ms)


def drain(page: trio.MemoryReceiveChannel[Update]) -> list[Update]:
    found = []
    while True:
        try:
            found.append(page.receive_nowait())
        except trio.WouldBlock:
            return found


def block(height: int) -> Update:
    return Update("block", {"height": height})


def test_the_newest_power_of_every_meter_is_known_by_account() -> None:
    news = News()
    news.heard(BELA, live(700, 5000, OTHER), 5100)
    news.heard(ANNA, live(300, 5000), 5100)
    news.heard(ANNA, live(310, 6000), 6100)
    assert news.live() == (
        PowerNow(ANNA, METER, 310, None, 6000, 6100),
        PowerNow(BELA, OTHER, 700, None, 5000, 5100),
    )


def test_what_comes_late_does_not_turn_back_time() -> None:
    news = News()
    page = news.subscribe()
    news.heard(ANNA, live(310, 6000), 6100)
    news.heard(ANNA, live(300, 5999), 6200)
    assert [now.power_w for now in news.live()] == [310]
    assert [update.data["power_w"] for update in drain(page)] == [310], "nor is anybody told"


def test_every_page_hears_it_from_when_it_was_opened() -> None:
    news = News()
    first = news.subscribe()
    news.tell(block(1))
    second = news.subscribe()
    news.heard(ANNA, live(310, 6000), 6100)
    told = {"account": ANNA.hex(), "meter": METER.hex(), "power_w": 310, "produced_w": None, "arrived_ms": 6000}
    assert drain(first) == [block(1), Update("live", told)]
    assert drain(second) == [Update("live", told)]


def test_a_page_that_stops_reading_misses_the_newest_and_nobody_else_does() -> None:
    news = News()
    sleepy, awake = news.subscribe(), news.subscribe()
    heard: list[Update] = []
    for height in range(UPDATES_PER_PAGE + 50):
        news.tell(block(height))
        heard += drain(awake)
    assert heard == [block(height) for height in range(UPDATES_PER_PAGE + 50)]
    assert drain(sleepy) == heard[:UPDATES_PER_PAGE]
    # It has caught up and is told again.
    news.tell(block(999))
    assert drain(sleepy) == [block(999)]


def test_a_page_that_is_gone_is_forgotten() -> None:
    news = News()
    pages = [news.subscribe() for _ in range(3)]
    pages[1].close()
    news.tell(block(1))
    assert not news.counters, "nobody missed anything"
    assert drain(pages[0]) == drain(pages[2]) == [block(1)]


def test_the_time_to_the_screen_is_that_of_other_homes_telegrams(monkeypatch: pytest.MonkeyPatch) -> None:
    news = News()
    monkeypatch.setattr("meshnode.news.time.time_ns", lambda: 6_250_999_999)
    page = news.subscribe()
    news.heard(ANNA, live(310, 6000), 6100)
    news.heard(BELA, live(310, 6200, OTHER), 6210)
    news.tell(block(1))
    for update in drain(page):
        news.shown(update, ANNA)
    assert list(news.screen_ms) == [50], "not the own home's, not a block's"
    # A neighbour's clock that is ahead makes no negative times.
    news.heard(BELA, live(310, 9000, OTHER), 6210)
    [ahead] = drain(page)
    news.shown(ahead, ANNA)
    assert list(news.screen_ms) == [50, 0]


def test_only_the_newest_times_are_kept() -> None:
    news = News()
    update = Update("live", {"account": BELA.hex(), "arrived_ms": 0})
    for _ in range(TIMES_KEPT + 1):
        news.shown(update, ANNA)
    assert len(news.screen_ms) == TIMES_KEPT


# --- percentiles


@pytest.mark.parametrize(
    ("values", "p50", "p95"),
    [
        ([7], 7, 7),
        ([9, 1], 1, 9),
        ([3, 1, 2], 2, 3),
        (range(1, 21), 10, 19),
        (range(1, 101), 50, 95),
        ([1] * 95 + [500] * 5, 1, 1),
        ([1] * 94 + [500] * 6, 1, 500),
    ],
)
def test_percentiles_by_nearest_rank(values: list[int], p50: int, p95: int) -> None:
    assert percentiles(values) == {"p50": p50, "p95": p95, "count": len(values)}


def test_nothing_has_no_percentiles() -> None:
    assert percentiles([]) == {}


@given(some.lists(some.integers(0, 100), min_size=1))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(values: list[int]) -> None:
    found = percentiles(values)
    for share in (50, 95):
        value = found[f"p{share}"]
        assert value in values
        assert sum(one <= value for one in values) * 100 >= share * len(values)
        assert sum(one < value for one in values) * 100 < share * len(values)
