"""Feeds: the endpoints that name feeds of values from outside, feed them, and say what was agreed."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.ledger import feeds
from meshnode.ledger.feed_rows import FeedRow
from meshnode.web import asking
from meshnode.web.asking import Field, Reader, takes
from meshnode.web.backend import Backend
from meshnode.web.faults import Fault, Faults, answer, shown
from meshnode.web.fresh import with_fresh
from meshnode.web.speaking import LAST_SECOND, account_of, say, second_or, spoken_once
from meshnode.web.tokens import name_of, page
from protocols.records import (
    DRIVES_GRID_CARBON,
    DRIVES_GRID_PRICE,
    DRIVES_NOTHING,
    DRIVES_PRICE_CAP,
    Feed,
    FeedDefine,
    FeedValue,
)
from protocols.records.feeds import MAX_DEVIATION_PPM, MAX_FEEDERS, MAX_STALE_S
from protocols.records.statements import MAX_AMOUNT

NOW = "now"
DRIVES = {
    "nothing": DRIVES_NOTHING,
    "grid-carbon": DRIVES_GRID_CARBON,
    "grid-price": DRIVES_GRID_PRICE,
    "price-cap": DRIVES_PRICE_CAP,
}
# The newest times of a feed that are shown with who reported what.
TIMES_SHOWN = 96
_NUMBER = asking.number(-MAX_AMOUNT, MAX_AMOUNT)
_NUMBER_WORDS = f"a whole number from -{MAX_AMOUNT} to {MAX_AMOUNT}"


def _names(value: Any) -> list[str]:
    if type(value) is not list or not 1 <= len(value) <= MAX_FEEDERS or not all(type(one) is str for one in value):
        raise ValueError
    return list(value)


_NAMES = Reader(
    _names, {"type": "array", "minItems": 1, "maxItems": MAX_FEEDERS, "items": {"type": "string", "minLength": 1}}
)
_DEFINE = (
    Field("feed", "its name", asking.text),
    Field("unit", "of its whole numbers", asking.text),
    Field("feeders", f"1 to {MAX_FEEDERS} names or account ids of members", _NAMES),
    Field("needed", "how many of them must agree", asking.number(1, MAX_FEEDERS)),
    Field("stale_s", f"seconds from 1 to {MAX_STALE_S}", asking.number(1, MAX_STALE_S)),
    Field("deviation_ppm", "how far from the median still agrees", asking.number(0, MAX_DEVIATION_PPM)),
    Field("low", _NUMBER_WORDS, _NUMBER),
    Field("high", _NUMBER_WORDS, _NUMBER),
    Field("drives", " or ".join(f'"{word}"' for word in DRIVES), asking.choice(DRIVES), optional=True),
)
_VALUE = (
    Field("value", _NUMBER_WORDS, _NUMBER),
    Field("at_s", f'a UTC second up to {LAST_SECOND}, or "now"', second_or(NOW), optional=True),
)


class Feeds:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a writing request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/feeds", with_fresh(self._backend, self.feeds)),
            Route("/api/feeds/{feed}", with_fresh(self._backend, self.feed)),
            Route("/api/feeds", self.define, methods=["POST"]),
            Route("/api/feeds/{feed}/values", self.send, methods=["POST"]),
        ]

    async def feeds(self, request: Request) -> Response:
        """GET /api/feeds?limit&skip: every feed with its rules, what it says now, and what that is as a price of the
        period that runs; null where it is stale, or drives no price.
        """
        found, more = page(request, self._backend.machine.state.feeds.items())
        return answer({"feeds": [self._feed(name, row) for name, row in found], "next": more})

    async def feed(self, request: Request) -> Response:
        """GET /api/feeds/{feed}: one feed, with its newest values and who reported what of them."""
        name, state = request.path_params["feed"], self._backend.machine.state
        row = state.feeds.get(name)
        if row is None:
            known = ", ".join(code for code, _ in state.feeds.items()) or "no feed so far"
            raise Faults(404, Fault("path", shown(name), f"the name of a feed: {known}"))
        times = sorted({at_s for (_, at_s, _), _ in state.reports.range((name, 0, b""), (name + "\0", 0, b""))})
        return answer({**self._feed(name, row), "values": [self._value(name, at) for at in times[-TIMES_SHOWN:]]})

    @takes(_DEFINE)
    async def define(self, request: Request) -> Response:
        """POST /api/feeds: name a feed and who feeds it, or change that (administrators)."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _DEFINE)
        feeders = {account_of(self._backend, name, "feeders") for name in given["feeders"]}
        step = FeedDefine(**given | {"feeders": tuple(sorted(feeders))})
        return await say(self._backend, Feed(**spoken_once(self._backend, request), step=step))

    @takes(_VALUE)
    async def send(self, request: Request) -> Response:
        """POST /api/feeds/{feed}/values: report a value that holds from a time on (feeders)."""
        asking.check_token(request, self._token)
        given: dict[str, Any] = {"at_s": NOW} | await asking.fields(request, _VALUE)
        if given["at_s"] == NOW:
            given["at_s"] = self._backend.clock.now_s()
        step = FeedValue(feed=request.path_params["feed"], **given)
        return await say(self._backend, Feed(**spoken_once(self._backend, request), step=step))

    def _feed(self, name: str, row: FeedRow) -> dict[str, Any]:
        machine = self._backend.machine
        found = feeds.current(machine.state, name, machine.time_s)
        return {
            "feed": name,
            "unit": row.unit,
            "value": None if found is None else found[1].value,
            "since_s": None if found is None else found[0],
            "until_s": None if found is None else found[1].until_s,
            "feeders": [name_of(self._backend, account) for account in row.feeders],
            "needed": row.needed,
            "stale_s": row.stale_s,
            "deviation_ppm": row.deviation_ppm,
            "low": row.low,
            "high": row.high,
            "drives": next(word for word, code in DRIVES.items() if code == row.drives),
            "period_price_u_kwh": self._period_price(row),
        }

    def _period_price(self, row: FeedRow) -> int | None:
        """What it said when the settlement period began that runs now; None if it drives no price, or was stale."""
        machine = self._backend.machine
        start_s = machine.time_s - machine.time_s % machine.rules().period.length_s
        found = machine.state.period_prices.get((start_s, row.drives))
        return None if found is None else found.price_u_kwh

    def _value(self, feed: str, at_s: int) -> dict[str, Any]:
        """What was reported for a time: the agreed value, or null, and each report."""
        state = self._backend.machine.state
        agreed = state.agreed.get((feed, at_s))
        return {
            "at_s": at_s,
            "value": None if agreed is None else agreed.value,
            "agreeing": 0 if agreed is None else agreed.agreeing,
            "reports": [
                {"feeder": name_of(self._backend, account), "value": one.value}
                for account, one in feeds.reports(state, feed, at_s).items()
            ],
        }
