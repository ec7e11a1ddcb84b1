"""Parameters: the endpoints that set and list prices, levies, grid fees and price caps, each from a period on."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.ledger import parameter_rows as rows
from meshnode.settlement import driven, parameters
from meshnode.settlement.levies import LEVY_BASES
from meshnode.web import asking
from meshnode.web.asking import Field, Reader, takes
from meshnode.web.backend import Backend
from meshnode.web.faults import answer
from meshnode.web.fresh import with_fresh
from meshnode.web.speaking import NEXT, account_asked, account_of, say, second_or, spoken_once
from meshnode.web.tokens import MEMBER, name_of, page
from protocols.records import (
    CapSet,
    CompensationSet,
    GridFeesSet,
    IncentiveSet,
    LevySet,
    LocationSet,
    Parameter,
    PriceCommunity,
    PriceMine,
    PriceSet,
    SolidaritySet,
)
from protocols.records.parameters import MAX_GRID_LEVELS, MAX_HELPED, MAX_SHARE_PPM, ParameterStep
from protocols.records.statements import MAX_AMOUNT, MAX_PRICE_U_KWH

BASES = {word: base for base, word in LEVY_BASES.items()}
_WORDS = {
    rows.COMMUNITY_PRICES: "prices",
    rows.LEVY: "levy",
    rows.SOLIDARITY: "solidarity",
    rows.GRID_FEES: "grid-fees",
    rows.LOCATION: "location",
    rows.PRICE_CAPS: "cap",
    rows.COMPENSATION: "compensation",
    rows.INCENTIVE: "incentive",
}


def _prices(value: Any) -> tuple[int, ...]:
    if type(value) is not list or len(value) > MAX_GRID_LEVELS:
        raise ValueError
    if not all(type(one) is int and 0 <= one <= MAX_PRICE_U_KWH for one in value):
        raise ValueError
    return tuple(value)


def _levels(value: Any) -> tuple[str, ...]:
    if type(value) is not list or len(value) > MAX_GRID_LEVELS or not all(type(one) is str and one for one in value):
        raise ValueError
    return tuple(value)


_PRICE = asking.number(0, MAX_PRICE_U_KWH)
_ANY_PRICE = asking.number(-MAX_PRICE_U_KWH, MAX_PRICE_U_KWH)
_WEIGHTS = asking.weights(MAX_HELPED, MAX_AMOUNT)
_PRICES = Reader(_prices, {"type": "array", "maxItems": MAX_GRID_LEVELS, "items": _PRICE.schema})
_LEVELS = Reader(_levels, {"type": "array", "maxItems": MAX_GRID_LEVELS, "items": {"type": "string", "minLength": 1}})
_FROM = Field("from_s", 'a UTC second at which a period to come begins, or "next"', second_or(NEXT), optional=True)
_MINE = (
    _FROM,
    Field("sell_u_kwh", "you sell your surplus at this price or a higher one", _PRICE, optional=True),
    Field("buy_u_kwh", "you buy what you need at this price or a lower one", _PRICE, optional=True),
)
_OUTSIDE = (
    _FROM,
    Field("grid_u_kwh", "price of energy from the grid", _ANY_PRICE, optional=True),
    Field("feed_in_u_kwh", "what the grid pays", _ANY_PRICE, optional=True),
)
_LEVY = (
    _FROM,
    Field("name", "its name, and its fund's", asking.text),
    Field("base", '"consumed", "neighbours" or "grid": the energy that it is on', asking.choice(BASES)),
    Field("levy_u_kwh", "micro-units per kWh; 0 ends it", _PRICE),
)
_SOLIDARITY = (
    _FROM,
    Field("share_ppm", "of what a member earns in a period; 0 ends it", asking.number(0, MAX_SHARE_PPM)),
    Field("helped", f"up to {MAX_HELPED} members with a weight each", _WEIGHTS, optional=True),
)
_GRID_FEES = (
    _FROM,
    Field("fees_u_kwh", "for members that share nothing of their location, the first level, and so on", _PRICES),
)
_LOCATION = (
    _FROM,
    Field("member", MEMBER, asking.text),
    Field("levels", "from the largest to the smallest: substation, feeder", _LEVELS),
)
_CAP = (
    _FROM,
    Field("floor_u_kwh", "no price below this", _PRICE, optional=True),
    Field("cap_u_kwh", "no price above this", _PRICE, optional=True),
)
_COMPENSATION = (
    _FROM,
    Field("applies", "1: surplus takes off what was bought, and no more; 0: it is paid out", asking.number(0, 1)),
)
_PART = asking.number(0, MAX_SHARE_PPM)
_INCENTIVE = (
    _FROM,
    Field("incentive_u_kwh", "for each kWh shared within an hour behind one substation; 0 ends it", _PRICE),
    Field("producers_ppm", "to who injected, by what each did", _PART, optional=True),
    Field("consumers_ppm", "to who withdrew, by what each did", _PART, optional=True),
    Field("fund", "name of the fund that gets the rest", asking.text, optional=True),
)


class Parameters:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a writing request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        writing = {
            "/api/prices": self.mine,
            "/api/prices/outside": self.outside,
            "/api/parameters/levies": self.levy,
            "/api/parameters/solidarity": self.solidarity,
            "/api/parameters/grid-fees": self.grid_fees,
            "/api/parameters/locations": self.location,
            "/api/parameters/caps": self.cap,
            "/api/parameters/compensation": self.compensation,
            "/api/parameters/incentive": self.incentive,
        }
        return [
            Route("/api/prices", with_fresh(self._backend, self.prices)),
            Route("/api/parameters", with_fresh(self._backend, self.parameters)),
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in writing.items()),
        ]

    async def prices(self, request: Request) -> Response:
        """GET /api/prices?account&limit&skip: what members sell and buy at, with what is to come; account=all: all."""
        account, state = account_asked(self._backend, request, "all"), self._backend.machine.state
        accounts = [one for one, _ in state.accounts.items()] if account is None else [account]
        known = ((one, parameters.changes_of(state, one)) for one in accounts)
        found, more = page(request, ((one, changes) for one, changes in known if changes))
        now_s = self._backend.machine.next_period_s
        fixed = parameters.tariff(state, now_s, self._backend.machine.rules().period.tariff)
        tariff = driven.likely(state, now_s, fixed, self._backend.machine.time_s)
        return answer(
            {
                "grid_u_kwh": tariff.grid_price_u_kwh,
                "feed_in_u_kwh": tariff.feed_in_price_u_kwh,
                "prices": [row for one, changes in found for row in self._changes(one, changes, now_s)],
                "next": more,
            }
        )

    async def parameters(self, request: Request) -> Response:
        """GET /api/parameters?limit&skip: what administrators have set, in force and to come."""
        found, more = page(request, parameters.set_so_far(self._backend.machine.state))
        return answer({"parameters": [self._parameter(*one) for one in found], "next": more})

    @takes(_MINE)
    async def mine(self, request: Request) -> Response:
        """POST /api/prices: set what you sell and buy at, from the next period on; neither: no price of yours."""
        step = PriceMine(**await self._given(request, _MINE))
        return await say(self._backend, PriceSet(**spoken_once(self._backend, request), step=step))

    @takes(_OUTSIDE)
    async def outside(self, request: Request) -> Response:
        """POST /api/prices/outside: set the grid's prices from a period on; the binding's, if none (administrators)."""
        step = PriceCommunity(**await self._given(request, _OUTSIDE))
        return await say(self._backend, PriceSet(**spoken_once(self._backend, request), step=step))

    @takes(_LEVY)
    async def levy(self, request: Request) -> Response:
        """POST /api/parameters/levies: set a levy on energy for a fund, from a period on (administrators)."""
        return await self._say(request, LevySet(**await self._given(request, _LEVY)))

    @takes(_SOLIDARITY)
    async def solidarity(self, request: Request) -> Response:
        """POST /api/parameters/solidarity: give a part of what members earn to some members (administrators)."""
        given = await self._given(request, _SOLIDARITY)
        named = given.pop("helped", {})
        helped = {account_of(self._backend, name, "helped"): weight for name, weight in named.items()}
        return await self._say(request, SolidaritySet(**given, helped=tuple(sorted(helped.items()))))

    @takes(_GRID_FEES)
    async def grid_fees(self, request: Request) -> Response:
        """POST /api/parameters/grid-fees: set what the grid takes between members, by level (administrators)."""
        return await self._say(request, GridFeesSet(**await self._given(request, _GRID_FEES)))

    @takes(_LOCATION)
    async def location(self, request: Request) -> Response:
        """POST /api/parameters/locations: say where in the grid a member is connected (administrators)."""
        given = await self._given(request, _LOCATION)
        given["account"] = account_of(self._backend, given.pop("member"), "member")
        return await self._say(request, LocationSet(**given))

    @takes(_CAP)
    async def cap(self, request: Request) -> Response:
        """POST /api/parameters/caps: set the prices that the law allows; orders outside leave (administrators)."""
        return await self._say(request, CapSet(**await self._given(request, _CAP)))

    @takes(_COMPENSATION)
    async def compensation(self, request: Request) -> Response:
        """POST /api/parameters/compensation: whether surplus is set off in a billing period (administrators)."""
        return await self._say(request, CompensationSet(**await self._given(request, _COMPENSATION)))

    @takes(_INCENTIVE)
    async def incentive(self, request: Request) -> Response:
        """POST /api/parameters/incentive: set what is paid for energy shared within an hour (administrators)."""
        return await self._say(request, IncentiveSet(**await self._given(request, _INCENTIVE)))

    async def _given(self, request: Request, wanted: tuple[Field, ...]) -> dict[str, Any]:
        asking.check_token(request, self._token)
        given = await asking.fields(request, wanted)
        # Which period the next one is, the block says that carries the record.
        if given.get("from_s") == NEXT:
            del given["from_s"]
        return given

    async def _say(self, request: Request, step: ParameterStep) -> Response:
        return await say(self._backend, Parameter(**spoken_once(self._backend, request), step=step))

    def _changes(self, account: bytes, changes: list[tuple[int, rows.Prices]], now_s: int) -> list[dict[str, Any]]:
        in_force = max((from_s for from_s, _ in changes if from_s <= now_s), default=None)
        return [
            {
                "account": account.hex(),
                "name": name_of(self._backend, account),
                "from_s": from_s,
                "sell_u_kwh": None if row.sell_u_kwh == rows.NOT_SET else row.sell_u_kwh,
                "buy_u_kwh": None if row.buy_u_kwh == rows.NOT_SET else row.buy_u_kwh,
                "in_force": from_s == in_force,
            }
            for from_s, row in changes
        ]

    def _parameter(self, what: int, subject: bytes, from_s: int, values: tuple[Any, ...]) -> dict[str, Any]:
        now_s = self._backend.machine.next_period_s
        newer = self._backend.machine.state.parameters.range((what, subject, from_s + 1), (what, subject, now_s + 1))
        of = name_of(self._backend, subject) if what == rows.LOCATION else subject.decode()
        in_force = from_s <= now_s and not list(newer)
        return {"what": _WORDS[what], "of": of, "from_s": from_s, "in_force": in_force, **self._said(what, values)}

    def _said(self, what: int, values: tuple[Any, ...]) -> dict[str, Any]:
        match what:
            case rows.COMMUNITY_PRICES:
                return {name: one[0] for name, one in zip(("grid_u_kwh", "feed_in_u_kwh"), values, strict=True) if one}
            case rows.LEVY:
                return {"base": LEVY_BASES[values[0]], "levy_u_kwh": values[1]}
            case rows.SOLIDARITY:
                return {"share_ppm": values[0], "helped": {name_of(self._backend, one): n for one, n in values[1]}}
            case rows.GRID_FEES:
                return {"fees_u_kwh": list(values)}
            case rows.LOCATION:
                return {"levels": list(values)}
            case rows.COMPENSATION:
                return {"applies": values[0]}
            case rows.INCENTIVE:
                names = ("incentive_u_kwh", "producers_ppm", "consumers_ppm", "fund")
                return dict(zip(names, values, strict=True))
        bounds = zip(("floor_u_kwh", "cap_u_kwh"), values, strict=True)
        return {name: one for name, one in bounds if one != rows.NOT_SET}
