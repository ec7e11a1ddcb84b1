"""Auctions: the endpoints that call one, bid in it, and say what stands."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.execution.auctions import MAX_OPEN_S, bids
from meshnode.ledger.order_rows import AUCTION_RISING
from meshnode.ledger.order_rows import Auction as AuctionRow
from meshnode.ledger.standing import PRICE_TICK_U_KWH
from meshnode.web import asking
from meshnode.web.asking import Field, takes
from meshnode.web.backend import Backend
from meshnode.web.faults import answer
from meshnode.web.fresh import with_fresh
from meshnode.web.speaking import say, spoken_once
from meshnode.web.tokens import asset_field, name_of, page
from protocols.records import Auction, AuctionBid, AuctionFalling, AuctionRising
from protocols.records.auctions import MAX_SNIPE_S
from protocols.records.statements import MAX_ORDER_WH, MAX_PRICE_U_KWH, RECORD_ID_BYTES

# What who calls a falling auction may ask of the energy; a bid says the same of its own.
SOURCE = "source"

_PRICE = asking.number(1, MAX_PRICE_U_KWH // PRICE_TICK_U_KWH)
_PRICE_WORDS = "units of the paying asset for each unit"
_SNIPE = asking.number(0, MAX_SNIPE_S)
_UNITS = Field("units", f"a whole number from 1 to {MAX_ORDER_WH}", asking.number(1, MAX_ORDER_WH))
_SOURCE = Field(SOURCE, "where the energy comes from", asking.text, optional=True)
_CALLED = (
    asset_field("asset", "code of the asset that is sold or called for"),
    asset_field("paid_with", "code of the asset that pays"),
    _UNITS,
    Field("for_s", f"seconds from now, 1 to {MAX_OPEN_S}", asking.number(1, MAX_OPEN_S)),
)
_RISING = (
    *_CALLED,
    Field("reserve", f"lowest first bid, {_PRICE_WORDS}", _PRICE),
    Field("step", f"by how much a bid outbids the best, {_PRICE_WORDS}", _PRICE),
    Field("snipe_s", "seconds that it stays open after a late bid", _SNIPE, optional=True),
    Field("extends_s", "seconds by which late bids move the close at most", _SNIPE, optional=True),
)
_FALLING = (*_CALLED, Field("maximum", f"highest price, {_PRICE_WORDS}", _PRICE), _SOURCE)
_BID = (_UNITS, Field("price", _PRICE_WORDS, _PRICE), _SOURCE)


class Auctions:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a writing request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/auctions", with_fresh(self._backend, self.auctions)),
            Route("/api/auctions/rising", self.rising, methods=["POST"]),
            Route("/api/auctions/falling", self.falling, methods=["POST"]),
            Route("/api/auctions/{id}/bids", self.bid, methods=["POST"]),
        ]

    async def auctions(self, request: Request) -> Response:
        """GET /api/auctions?limit&skip: the open ones, each with the bids that stand, by time."""
        found, more = page(request, self._backend.machine.state.auctions.items())
        return answer({"auctions": [self._row(auction_id, row) for auction_id, row in found], "next": more})

    @takes(_RISING)
    async def rising(self, request: Request) -> Response:
        """POST /api/auctions/rising: sell a lot to who bids most; it is held until the close."""
        given = await self._called(request, _RISING)
        prices = {f"{name}_u_kwh": given.pop(name) * PRICE_TICK_U_KWH for name in ("reserve", "step")}
        return await self._say(request, AuctionRising(**given, **prices))

    @takes(_FALLING)
    async def falling(self, request: Request) -> Response:
        """POST /api/auctions/falling: buy from those who ask least; what it costs at most is held until the close."""
        given = await self._called(request, _FALLING)
        maximum_u_kwh = given.pop("maximum") * PRICE_TICK_U_KWH
        return await self._say(request, AuctionFalling(**given, maximum_u_kwh=maximum_u_kwh))

    @takes(_BID)
    async def bid(self, request: Request) -> Response:
        """POST /api/auctions/{id}/bids: bid for the whole lot of a rising auction, or ask in a falling one."""
        asking.check_token(request, self._token)
        auction = asking.hex_id(request.path_params["id"], "auction id", RECORD_ID_BYTES)
        given = _attributes(await asking.fields(request, _BID))
        price_u_kwh = given.pop("price") * PRICE_TICK_U_KWH
        return await self._say(request, AuctionBid(auction=auction, price_u_kwh=price_u_kwh, **given))

    async def _called(self, request: Request, wanted: tuple[Field, ...]) -> dict[str, Any]:
        asking.check_token(request, self._token)
        given = _attributes(await asking.fields(request, wanted))
        return given | {"closes_s": self._backend.clock.now_s() + given.pop("for_s")}

    async def _say(self, request: Request, step: AuctionRising | AuctionFalling | AuctionBid) -> Response:
        return await say(self._backend, Auction(**spoken_once(self._backend, request), step=step))

    def _row(self, auction_id: bytes, row: AuctionRow) -> dict[str, Any]:
        return {
            "id": auction_id.hex(),
            "kind": "rising" if row.kind == AUCTION_RISING else "falling",
            "member": name_of(self._backend, row.account),
            "asset": row.asset,
            "paid_with": row.paid_with,
            "units": row.units,
            "limit": row.limit_u_kwh // PRICE_TICK_U_KWH,
            "step": row.step_u_kwh // PRICE_TICK_U_KWH,
            "closes_s": row.closes_s,
            "attributes": dict(row.attributes),
            "bids": [
                {
                    "id": bid_id.hex(),
                    "member": name_of(self._backend, bid.account),
                    "units": bid.units,
                    "price": bid.price_u_kwh // PRICE_TICK_U_KWH,
                    "attributes": dict(bid.attributes),
                }
                for bid_id, bid in bids(self._backend.machine.state, auction_id)
            ],
        }


def _attributes(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of a request, with what is said of the energy as attributes."""
    source = given.pop(SOURCE, None)
    return given if source is None else given | {"attributes": ((SOURCE, source),)}
