"""Standing: the endpoints about orders of assets - giving and changing them, what rests in a book, what was traded."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.execution.floor import Pair
from meshnode.ledger import standing
from meshnode.ledger.holds import MAX_HOLD_S
from meshnode.ledger.order_rows import NO_EXPIRY, NOBODY, Standing
from meshnode.ledger.standing import PRICE_TICK_U_KWH
from meshnode.market import Side
from meshnode.market.lifecycle import State
from meshnode.web import asking
from meshnode.web.asking import Field, takes
from meshnode.web.backend import Backend
from meshnode.web.faults import Fault, Faults, answer, shown
from meshnode.web.fresh import with_fresh
from meshnode.web.speaking import LAST_SECOND, account_asked, account_of, say, spoken_once
from meshnode.web.tokens import MEMBER, asset_field, name_of, page
from protocols.records import (
    GOOD_AT_ONCE,
    GOOD_MARKET,
    GOOD_TILL_CANCELLED,
    GOOD_WHOLE_AT_ONCE,
    SIDE_BUY,
    SIDE_SELL,
    Amend,
    Order,
    OrderStep,
    StandingTerms,
    TradeReversed,
)
from protocols.records.schema import UINT32_MAX, UINT63_MAX
from protocols.records.statements import MAX_ORDER_WH, MAX_PRICE_U_KWH, RECORD_ID_BYTES

# What a page shows of a side; the rest is a request away.
DEFAULT_DEPTH = 20
MAX_DEPTH = 1000

SIDES = {"buy": SIDE_BUY, "sell": SIDE_SELL}
GOOD = {
    "till_cancelled": GOOD_TILL_CANCELLED,
    "at_once": GOOD_AT_ONCE,
    "whole_at_once": GOOD_WHOLE_AT_ONCE,
    "market": GOOD_MARKET,
}

MAX_PRICE = MAX_PRICE_U_KWH // PRICE_TICK_U_KWH
_UNITS = Field("units", f"a whole number from 1 to {MAX_ORDER_WH}", asking.number(1, MAX_ORDER_WH))
PRICE = Field("price", f"units of the paying asset for each unit, 1 to {MAX_PRICE}", asking.number(1, MAX_PRICE))
ORDER = (
    Field("side", '"buy" or "sell"', asking.choice(SIDES)),
    asset_field("asset", "code of the asset that is bought or sold"),
    asset_field("paid_with", "code of the asset that pays"),
    _UNITS,
    PRICE,
    Field("good", ", ".join(f'"{word}"' for word in GOOD), asking.choice(GOOD), optional=True),
    Field("for_s", f"seconds from now, 1 to {MAX_HOLD_S}", asking.number(1, MAX_HOLD_S), optional=True),
    Field("expires_s", "or the first UTC second at which it is over", asking.number(1, LAST_SECOND), optional=True),
    Field("unbacked", "1 if it may rest without what it needs, else 0", asking.number(0, 1), optional=True),
    Field("partner", f"{MEMBER}, who is served first", asking.text, optional=True),
    Field("partner_price", "the limit towards the partner", asking.number(1, MAX_PRICE), optional=True),
    Field("contract", "record id of a contract", asking.bytes_in_hex(RECORD_ID_BYTES), optional=True),
    Field("booked", "record id of its booking step", asking.bytes_in_hex(RECORD_ID_BYTES), optional=True),
)
_AMEND = (_UNITS, PRICE)


class StandingOrders:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a writing request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        reading = {"/api/standing": self.standing, "/api/books": self.books, "/api/executions": self.executions}
        return [
            *(Route(path, with_fresh(self._backend, answerer)) for path, answerer in reading.items()),
            Route("/api/books/{asset}/{paid_with}", with_fresh(self._backend, self.book)),
            Route("/api/standing", self.place, methods=["POST"]),
            Route("/api/standing/{id}/amend", self.amend, methods=["POST"]),
            Route("/api/executions/{id}/reverse", self.reverse, methods=["POST"]),
        ]

    # --- reading

    async def standing(self, request: Request) -> Response:
        """GET /api/standing?account&limit&skip: a member's orders of assets that rest; account=all: everybody's."""
        account, state = account_asked(self._backend, request), self._backend.machine.state
        found = state.standing.items() if account is None else standing.of(state, account)
        orders, more = page(request, found)
        return answer({"standing": [self._row(order_id, row) for order_id, row in orders], "next": more})

    async def books(self, _request: Request) -> Response:
        """GET /api/books: of which assets orders rest, with the best prices."""
        floor = self._backend.machine.floor
        return answer({"books": [self._quoted(pair) for pair in floor.pairs()]})

    async def book(self, request: Request) -> Response:
        """GET /api/books/{asset}/{paid_with}?depth: best prices, and the orders of both sides by priority."""
        pair = request.path_params["asset"], request.path_params["paid_with"]
        state, floor = self._backend.machine.state, self._backend.machine.floor
        unknown = [Fault("path", shown(code), "the code of an asset") for code in pair if code not in state.assets]
        if unknown:
            raise Faults(404, *unknown)
        depth = asking.whole(request, "depth", DEFAULT_DEPTH, 1, MAX_DEPTH)
        sides = {word: floor.depth(pair, Side(side)) for word, side in SIDES.items()}
        return answer(
            self._quoted(pair)
            | {
                word: [self._row(one.order_id, state.standing[one.order_id]) for one in orders[:depth]]
                for word, orders in sides.items()
            }
            | {f"{word}_orders": len(orders) for word, orders in sides.items()}
        )

    async def executions(self, request: Request) -> Response:
        """GET /api/executions?account&limit&skip: trades that are not settled yet, newest first; account=all: all."""
        account = account_asked(self._backend, request)
        rows = reversed(list(self._backend.machine.state.executions.items()))
        found, more = page(
            request, (item for item in rows if account is None or account in (item[1].buyer, item[1].seller))
        )
        return answer(
            {
                "executions": [
                    {
                        "id": f"{height}-{number}",
                        "time_s": row.time_s,
                        "seller": name_of(self._backend, row.seller),
                        "buyer": name_of(self._backend, row.buyer),
                        "asset": row.asset,
                        "units": row.energy_wh,
                        "paid_with": row.paid_with,
                        "paid": row.paid,
                        "state": State(row.state).name.lower(),
                        "undo": name_of(self._backend, row.undo),
                        "buy_order": row.buy_order.hex(),
                        "sell_order": row.sell_order.hex(),
                    }
                    for (height, number), row in found
                ],
                "next": more,
            }
        )

    # --- writing

    @takes(ORDER)
    async def place(self, request: Request) -> Response:
        """POST /api/standing: buy or sell an asset; it trades at once with whom it meets, the rest rests if it may."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, ORDER)
        return await say(self._backend, order_of(self._backend, given, spoken_once(self._backend, request)))

    @takes(_AMEND)
    async def amend(self, request: Request) -> Response:
        """POST /api/standing/{id}/amend: units is all that it wants, with what it has traded already."""
        asking.check_token(request, self._token)
        order = asking.hex_id(request.path_params["id"], "order id", RECORD_ID_BYTES)
        given = await asking.fields(request, _AMEND)
        price_u_kwh = given["price"] * PRICE_TICK_U_KWH
        said = spoken_once(self._backend, request)
        return await say(self._backend, Amend(**said, order=order, energy_wh=given["units"], price_u_kwh=price_u_kwh))

    async def reverse(self, request: Request) -> Response:
        """POST /api/executions/{id}/reverse: agree to undo a trade; with both parties' word both legs go back."""
        asking.check_token(request, self._token)
        height, number = _trade_id(request.path_params["id"])
        step = TradeReversed(height=height, number=number)
        return await say(self._backend, OrderStep(**spoken_once(self._backend, request), step=step))

    # --- as JSON

    def _quoted(self, pair: Pair) -> dict[str, Any]:
        """Best prices of a book; null: nobody."""
        found = self._backend.machine.floor.quote(pair)
        prices = {
            "buying": found.buying_u_kwh,
            "selling": found.selling_u_kwh,
            "buying_now": found.buying_now_u_kwh,
            "selling_now": found.selling_now_u_kwh,
        }
        asset, paid_with = pair
        quoted = {name: None if one is None else one // PRICE_TICK_U_KWH for name, one in prices.items()}
        return {"asset": asset, "paid_with": paid_with} | quoted

    def _row(self, order_id: bytes, row: Standing) -> dict[str, Any]:
        return {
            "id": order_id.hex(),
            "member": name_of(self._backend, row.account),
            "side": "buy" if row.side == SIDE_BUY else "sell",
            "asset": row.asset,
            "paid_with": row.paid_with,
            "price": row.price_u_kwh // PRICE_TICK_U_KWH,
            "open": row.open_wh,
            "ready": row.ready_wh,
            "filled": row.filled_wh,
            "partner": "" if row.partner == NOBODY else name_of(self._backend, row.partner),
            "expires_s": None if row.expires_s == NO_EXPIRY else row.expires_s,
            "state": State(row.state).name.lower(),
        }


def order_of(backend: Backend, given: dict[str, Any], spoken: dict[str, Any]) -> Order:
    """The order that the fields of a body say. Raises Faults: it names nobody as its partner."""
    said = {"side": given.pop("side"), "energy_wh": given.pop("units")}
    said["price_u_kwh"] = given.pop("price") * PRICE_TICK_U_KWH
    if "for_s" in given:
        given["expires_s"] = backend.clock.now_s() + given.pop("for_s")
    if "partner" in given:
        given["partner"] = account_of(backend, given["partner"], "partner")
    if "partner_price" in given:
        given["partner_price_u_kwh"] = given.pop("partner_price") * PRICE_TICK_U_KWH
    return Order(**spoken, **said, period_start_s=0, standing=StandingTerms(**given))


def _trade_id(text: str) -> tuple[int, int]:
    """A trade's id: the height of its block, and its number there."""
    parts = text.split("-")
    # Twenty digits hold every 64-bit number.
    if len(parts) == 2 and all(part.isascii() and part.isdigit() and len(part) <= 20 for part in parts):
        height, number = int(parts[0]), int(parts[1])
        if height <= UINT63_MAX and number <= UINT32_MAX:
            return height, number
    raise Faults(400, Fault("trade id", shown(text), "height and number of a trade, like 120-0"))
