"""API: what the page shows and more, as JSON for programs. Reading only; `speaking` writes.

Energies are Wh, money micro-units of the currency, times UTC seconds of the microgrid's clock.
A list that is longer than its limit ends with "next": the query parameters that go on.

An answer says what this node knows, which may be a moment behind. With `fresh=SECONDS` in the query it
misses nothing that was final on any node when it was asked for: a majority of the validators
confirms that first, or the answer is an error 504 after so many seconds. The header
`fresh-height` of such an answer is the height that it reaches at least.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.views import END_POSTING, END_S, MAX_ROWS, Views
from meshnode.web import asking
from meshnode.web.backend import Backend
from meshnode.web.faults import Fault, Faults, answer
from meshnode.web.figures import ask, gather, live_rows
from meshnode.web.fresh import Answerer, with_fresh
from meshnode.web.sight import CURVES, NAMES, PERIODS, TRADES, account_seen, nameless, not_shown, sight_of
from meshnode.web.speaking import LAST_SECOND
from meshnode.web.tokens import name_of
from protocols.records.statements import RECORD_ID_BYTES

# How long /api/records/{id} holds a request that waits for finality, real seconds.
MAX_WAIT_S = 30
# Requests that wait at a time; beyond that they are answered at once.
MAX_WAITING = 32
DEFAULT_ROWS = 96
# The rows of one period or block: at most as many trades as a period can have orders.
MAX_SKIP = 8_192

T = TypeVar("T")


class Api:
    """The reading endpoints of one backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._waiting = 0

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        reading: dict[str, Answerer] = {
            "/api/status": self.status,
            "/api/home": self.home,
            "/api/periods": self.periods,
            "/api/lines": self.lines,
            "/api/trades": self.trades,
            "/api/orders": self.orders,
            "/api/postings": self.postings,
            "/api/blocks": self.blocks,
            "/api/blocks/{height:int}": self.block,
            "/api/records/{id}": self.record,
            "/api/report": self.report,
            "/api/state/{height:int}": self.state,
        }
        return [
            Route("/healthz", self.health),
            Route("/api/live", self.live),
            *(Route(path, with_fresh(self._backend, answerer)) for path, answerer in reading.items()),
        ]

    async def health(self, _request: Request) -> Response:
        """GET /healthz: 200 while the node takes part, 503 with the reason when it has stopped to, or does not yet."""
        status = self._backend.status()
        word = "halted" if status.halted else "limited" if status.notice else "ok"
        state = {"status": word, "reason": status.halted or status.notice, "height": status.height}
        return answer(state, 200 if word == "ok" else 503)

    async def status(self, _request: Request) -> Response:
        """GET /api/status: where the node stands (`meshnode.web.backend.Status`)."""
        return answer(self._backend.status())

    async def live(self, _request: Request) -> Response:
        """GET /api/live: {"live": newest power of every meter}."""
        own, seen = self._backend.account.hex(), sight_of(self._backend).of_others(*CURVES)
        return answer({"live": [row for row in live_rows(self._backend) if seen or row["account"] == own]})

    async def home(self, _request: Request) -> Response:
        """GET /api/home: what the page shows (`meshnode.web.figures.Figures`)."""
        return answer(await gather(self._backend))

    async def periods(self, request: Request) -> Response:
        """GET /api/periods?from_s&to_s&limit: closed periods in order; without from_s the newest."""
        if not sight_of(self._backend).of_others(*PERIODS):
            raise not_shown(PERIODS)
        limit, (from_s, to_s) = _limit(request), _span(request)
        newest = "from_s" not in request.query_params
        rows = await self._ask(lambda views: views.periods(from_s, to_s, limit, newest=newest))
        more = None if newest or len(rows) < limit else {"from_s": rows[-1].start_s + 1}
        return answer({"periods": rows, "next": more})

    async def lines(self, request: Request) -> Response:
        """GET /api/lines?account&from_s&to_s&limit&skip: a member's periods in order; account=all: everybody's."""
        limit, skip, (from_s, to_s) = _limit(request), _skip(request), _span(request)
        account = account_seen(self._backend, request, CURVES)
        rows = await self._ask(lambda views: views.lines(account, from_s, to_s, limit, skip))
        more = _next("from_s", [row.start_s for row in rows], limit, from_s, skip)
        return answer({"lines": rows, "next": more})

    async def trades(self, request: Request) -> Response:
        """GET /api/trades?account&before_s&limit&skip: newest period first; account=all, the default: everybody's."""
        limit, skip = _limit(request), _skip(request)
        before_s = asking.whole(request, "before_s", END_S, 0, END_S)
        account = account_seen(self._backend, request, TRADES, "all")
        rows = await self._ask(lambda views: views.trades(limit, account, before_s, skip))
        if not sight_of(self._backend).of_others(*NAMES):
            rows = nameless(rows, self._backend.account.hex())
        more = _next("before_s", [row.start_s + 1 for row in rows], limit, before_s, skip)
        return answer({"trades": rows, "next": more})

    async def orders(self, request: Request) -> Response:
        """GET /api/orders?account&open&below&limit&skip: newest first; open=1: only those in the book."""
        limit, skip = _limit(request), _skip(request)
        below = asking.whole(request, "below", END_S, 0, END_S)
        only_open = bool(asking.whole(request, "open", 0, 0, 1))
        account = account_seen(self._backend, request, NAMES)
        rows = await self._ask(lambda views: views.orders(account, limit, only_open=only_open, below=below, skip=skip))
        more = _next("below", [row.height + 1 for row in rows], limit, below, skip)
        return answer({"orders": rows, "next": more})

    async def postings(self, request: Request) -> Response:
        """GET /api/postings?account&period_start_s&below&limit: newest first."""
        limit = _limit(request)
        below = asking.whole(request, "below", END_POSTING, 0, END_POSTING)
        start_s = asking.whole(request, "period_start_s", -1, 0, END_S)
        account = account_seen(self._backend, request, CURVES)
        rows = await self._ask(lambda views: views.postings(account, None if start_s < 0 else start_s, limit, below))
        more = {"below": rows[-1].number} if len(rows) == limit else None
        return answer({"postings": rows, "next": more})

    async def blocks(self, request: Request) -> Response:
        """GET /api/blocks?below&limit: newest first."""
        limit = _limit(request)
        below = asking.whole(request, "below", END_S, 0, END_S)
        rows = await self._ask(lambda views: views.recent_blocks(limit, below))
        more = {"below": rows[-1].height} if len(rows) == limit else None
        return answer({"blocks": rows, "next": more})

    async def block(self, request: Request) -> Response:
        """GET /api/blocks/{height}: one block, its records, verdicts and certificate."""
        height = request.path_params["height"]
        found = self._backend.block(height) if height <= END_S else None
        if found is None:
            known = f"1 to {self._backend.machine.height}"
            raise Faults(404, Fault("height", str(height)[:20], known))
        return answer(found)

    async def record(self, request: Request) -> Response:
        """GET /api/records/{id}?wait=seconds&valid_until_s: what became of a record, with its receipt in hex.

        See `meshnode.web.backend.Outcome`; whoever says until when the record is valid hears "never"
        after that, from every node.
        """
        record_id = asking.hex_id(request.path_params["id"], "record id", RECORD_ID_BYTES)
        wait_s = asking.whole(request, "wait", 0, 0, MAX_WAIT_S)
        valid_until_s = asking.whole(request, "valid_until_s", -1, 0, LAST_SECOND)
        if self._waiting >= MAX_WAITING:
            wait_s = 0
        self._waiting += 1
        try:
            outcome = await self._backend.outcome(record_id, wait_s, None if valid_until_s < 0 else valid_until_s)
        finally:
            self._waiting -= 1
        fields: dict[str, Any] = msgspec.structs.asdict(outcome)
        return answer({**fields, "receipt": outcome.receipt.hex()})

    async def report(self, _request: Request) -> Response:
        """GET /api/report: the newest periods, each with every member's sources and money, and counts."""
        found = await self._ask(lambda views: views.report())
        if not sight_of(self._backend).of_others(*CURVES):
            own = name_of(self._backend, self._backend.account)
            for period in found["periods"]:
                period["members"] = {name: line for name, line in period["members"].items() if name == own}
        return answer(found)

    async def state(self, request: Request) -> Response:
        """GET /api/state/{height}: the hash of the state after a height, as long as the node remembers it."""
        height = request.path_params["height"]
        state_hash = self._backend.machine.state_hash(height)
        if state_hash is None:
            known = f"one of the newest, up to {self._backend.machine.height}"
            raise Faults(404, Fault("height", str(height)[:20], known))
        return answer({"height": height, "state_hash": state_hash.hex()})

    async def _ask(self, question: Callable[[Views], T]) -> T:
        return await ask(question, self._backend.views)


def _limit(request: Request) -> int:
    return asking.whole(request, "limit", DEFAULT_ROWS, 1, MAX_ROWS)


def _skip(request: Request) -> int:
    return asking.whole(request, "skip", 0, 0, MAX_SKIP)


def _next(name: str, marks: list[int], limit: int, begin: int, skip: int) -> dict[str, int] | None:
    """The query that goes on where an answer ended; None at the end.

    Args:
        marks: for each row the cursor that finds its period or block again.
        begin, skip: the request's own cursor, and how many rows from there on it left out.
    """
    if len(marks) < limit:
        return None
    last = marks[-1]
    return {name: last, "skip": marks.count(last) + (skip if last == begin else 0)}


def _span(request: Request) -> tuple[int, int]:
    return asking.whole(request, "from_s", 0, 0, END_S), asking.whole(request, "to_s", END_S, 0, END_S)
