"""Delivery: the endpoints about points that deliver energy, and the sessions and redemptions at them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.actuator import USUAL_POWER_W
from meshnode.ledger import delivery_rows
from meshnode.ledger.delivery_rows import POINT_COINS, POINT_STATION
from meshnode.market.delivery import Phase
from meshnode.settlement.delivering import MAX_RESERVED_S
from meshnode.web import asking
from meshnode.web.asking import Field, takes
from meshnode.web.backend import Attending, Backend, NotHere, Refused
from meshnode.web.faults import Fault, Faults, answer
from meshnode.web.fresh import with_fresh
from meshnode.web.sight import SESSIONS, sight_of
from meshnode.web.speaking import account_of, refused, say, spoken_once
from meshnode.web.tokens import MEMBER, amount_field, asset_field, name_of, page
from protocols.cose import HASH_BYTES, SIGNATURE_BYTES
from protocols.records import (
    ROUTE_COMMON,
    ROUTE_NOW,
    ROUTE_OWN,
    CoinOffer,
    CoinRedeem,
    DeliveryCancel,
    Point,
    PointClose,
    Purchase,
    SessionReserve,
    StationOffer,
)
from protocols.records.delivery import MAX_SILENCE_S, MIN_SILENCE_S
from protocols.records.identity import METER_ID_BYTES
from protocols.records.statements import MAX_AMOUNT, MAX_ORDER_WH, MAX_PRICE_U_KWH, RECORD_ID_BYTES

# JSON numbers are exact up to here in every language; seconds since 1970 are far below.
MAX_NUMBER = (1 << 53) - 1
KINDS = {"session": POINT_STATION, "coins": POINT_COINS}
ROUTES = {"now": ROUTE_NOW, "common": ROUTE_COMMON, "own": ROUTE_OWN}
_METER = asking.bytes_in_hex(METER_ID_BYTES)
_DIGEST = asking.bytes_in_hex(HASH_BYTES)
_PRICES = tuple(
    Field(name, f"the asset's smallest unit per kWh, 0 to {MAX_PRICE_U_KWH}", asking.number(0, MAX_PRICE_U_KWH))
    for name in ("price_u_kwh", "fee_u_kwh")
)
_FLAT = Field("flat_u", "for a session in which energy flowed", asking.number(0, MAX_AMOUNT))
_UNIT = Field("unit_wh", f"Wh for one coin, 1 to {MAX_ORDER_WH}", asking.number(1, MAX_ORDER_WH))
_SILENCE = Field(
    "silence_s",
    f"seconds without a tick, {MIN_SILENCE_S} to {MAX_SILENCE_S}",
    asking.number(MIN_SILENCE_S, MAX_SILENCE_S),
)
_BEGINS = Field("for_s", f"seconds within which it begins, 1 to {MAX_RESERVED_S}", asking.number(1, MAX_RESERVED_S))
_POINT = Field("point", "id of the point's meter, in hex", _METER)
_STATION = (
    Field("meter", "id of a meter of yours, in hex", _METER),
    asset_field("asset", "code of the asset that pays"),
    *_PRICES,
    _FLAT,
    _SILENCE,
    Field("energy_to", f"{MEMBER} who is paid for the energy; you, if left out", asking.text, optional=True),
)
_COINS = (
    Field("meter", "id of a meter of yours, in hex", _METER),
    asset_field("asset", "code of the coins"),
    _UNIT,
    _SILENCE,
    Field("route", '"now", "common" or "own"', asking.choice(ROUTES), optional=True),
)
_SESSION = (
    _POINT,
    Field("cap_wh", f"Wh, 1 to {MAX_ORDER_WH}", asking.number(1, MAX_ORDER_WH)),
    *_PRICES,
    _FLAT,
    _BEGINS,
    Field("guest", "credential of somebody else who comes, in hex", _DIGEST, optional=True),
    Field("credential", "as station: what was shown to you, in hex", _DIGEST, optional=True),
    Field(
        "proof", "what the phone signed for this session, in hex", asking.bytes_in_hex(SIGNATURE_BYTES), optional=True
    ),
    Field("number", "of the phone's consent; rises with each", asking.number(0, MAX_NUMBER), optional=True),
)
_REDEEM = (_POINT, amount_field("coins"), _UNIT, _BEGINS)
# A charger for lorries takes a megawatt.
_START = (Field("power_w", "W of a simulated charger, 1 to 1000000", asking.number(1, 1_000_000), optional=True),)


class Deliveries:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None, attendant: Attending | None) -> None:
        """Args:
        token: what a writing request must carry; None: nobody may write.
        attendant: who delivers at this node's points; None: nobody does.
        """
        self._backend = backend
        self._token = token
        self._attendant = attendant

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/points", with_fresh(self._backend, self.points)),
            Route("/api/deliveries", with_fresh(self._backend, self.deliveries)),
            Route("/api/deliveries/{id}", with_fresh(self._backend, self.delivery)),
            Route("/api/points/station", self.station, methods=["POST"]),
            Route("/api/points/coins", self.coins, methods=["POST"]),
            Route("/api/points/{meter}/close", self.close, methods=["POST"]),
            Route("/api/deliveries/session", self.reserve, methods=["POST"]),
            Route("/api/deliveries/coins", self.redeem, methods=["POST"]),
            Route("/api/deliveries/{id}/cancel", self.cancel, methods=["POST"]),
            Route("/api/deliveries/{id}/start", self.start, methods=["POST"]),
            Route("/api/deliveries/{id}/stop", self.stop, methods=["POST"]),
        ]

    async def points(self, request: Request) -> Response:
        """GET /api/points?limit&skip: who delivers energy, on which terms, and what is under way there."""
        found, more = page(request, self._backend.machine.state.points.items())
        return answer({"points": [self._point(meter, row) for meter, row in found], "next": more})

    async def deliveries(self, request: Request) -> Response:
        """GET /api/deliveries?limit&skip: sessions and redemptions, open or over since less than a day."""
        seen, own = sight_of(self._backend).of_others(*SESSIONS), self._backend.account
        rows = self._backend.machine.state.deliveries.items()
        found, more = page(request, ((key, row) for key, row in rows if seen or own in (row.payer, row.station)))
        return answer({"deliveries": [self._row(key, row) for key, row in found], "next": more})

    async def delivery(self, request: Request) -> Response:
        """GET /api/deliveries/{id}: one of them."""
        key = _id(request)
        row = self._backend.machine.state.deliveries.get(key)
        if row is None:
            raise Faults(404, Fault("delivery id", key.hex(), "one that is open, or over since less than a day"))
        return answer(self._row(key, row))

    @takes(_STATION)
    async def station(self, request: Request) -> Response:
        """POST /api/points/station: a meter of yours is a charging station, on these terms from now on."""
        given = await self._given(request, _STATION)
        if "energy_to" in given:
            given["energy_to"] = account_of(self._backend, given["energy_to"], "energy_to")
        return await self._at_point(request, StationOffer(**given))

    @takes(_COINS)
    async def coins(self, request: Request) -> Response:
        """POST /api/points/coins: a meter of yours delivers energy for coins."""
        return await self._at_point(request, CoinOffer(**await self._given(request, _COINS)))

    async def close(self, request: Request) -> Response:
        """POST /api/points/{meter}/close: nothing new is reserved there."""
        asking.check_token(request, self._token)
        meter = asking.hex_id(request.path_params["meter"], "meter", METER_ID_BYTES)
        return await self._at_point(request, PointClose(meter=meter))

    @takes(_SESSION)
    async def reserve(self, request: Request) -> Response:
        """POST /api/deliveries/session: reserve a session and pay for it; what is not charged comes back."""
        given = self._until(await self._given(request, _SESSION))
        return await self._purchase(request, SessionReserve(**given))

    @takes(_REDEEM)
    async def redeem(self, request: Request) -> Response:
        """POST /api/deliveries/coins: send coins for their energy; those of what is not delivered come back."""
        given = self._until(await self._given(request, _REDEEM))
        return await self._purchase(request, CoinRedeem(**given))

    async def cancel(self, request: Request) -> Response:
        """POST /api/deliveries/{id}/cancel: call off what has not begun, as who pays or as the point."""
        asking.check_token(request, self._token)
        return await self._purchase(request, DeliveryCancel(delivery=_id(request)))

    @takes(_START)
    async def start(self, request: Request) -> Response:
        """POST /api/deliveries/{id}/start: this node delivers at its own point until it is over, dead or alive."""
        given = await self._given(request, _START)
        key = _id(request)
        await self._attend(lambda attendant: attendant.start(key, given.get("power_w", USUAL_POWER_W)))
        return await self.delivery(request)

    async def stop(self, request: Request) -> Response:
        """POST /api/deliveries/{id}/stop: nothing flows any more; it ends with what the meter shows."""
        asking.check_token(request, self._token)
        key = _id(request)
        await self._attend(lambda attendant: attendant.stop(key))
        return await self.delivery(request)

    async def _attend(self, what: Callable[[Attending], Awaitable[None]]) -> None:
        try:
            if self._attendant is None:
                raise NotHere("this node delivers nothing")
            await what(self._attendant)
        except NotHere as error:
            raise Faults(409, Fault("delivery", str(error), "one at a point of this node")) from error
        except Refused as error:
            raise refused(error) from error

    async def _given(self, request: Request, wanted: tuple[Field, ...]) -> dict[str, Any]:
        asking.check_token(request, self._token)
        return await asking.fields(request, wanted)

    def _until(self, given: dict[str, Any]) -> dict[str, Any]:
        given["until_s"] = self._backend.clock.now_s() + given.pop("for_s")
        return given

    async def _at_point(self, request: Request, step: Any) -> Response:
        return await say(self._backend, Point(**spoken_once(self._backend, request), step=step))

    async def _purchase(self, request: Request, step: Any) -> Response:
        return await say(self._backend, Purchase(**spoken_once(self._backend, request), step=step))

    def _point(self, meter: bytes, row: delivery_rows.Point) -> dict[str, Any]:
        terms = ("asset", "silence_s", "price_u_kwh", "fee_u_kwh", "flat_u", "unit_wh")
        return {
            "point": meter.hex(),
            "owner": name_of(self._backend, row.owner),
            "kind": _word(KINDS, row.kind),
            **{name: getattr(row, name) for name in terms},
            "route": _word(ROUTES, row.route),
            "energy_to": name_of(self._backend, row.energy_to),
            "most_wh": row.most_wh,
            "power_w": row.power_w,
            "first": list(row.first),
            "fee_split": {name_of(self._backend, to): ppm for to, ppm in row.fee_split},
            "busy": row.busy.hex(),
            "closed": bool(row.closed),
        }

    def _row(self, key: bytes, row: delivery_rows.Delivery) -> dict[str, Any]:
        counted = ("begin_wh", "counter_wh", "purchased_wh", "silence_s", "deadline_s", "ticked_s", "heard_s")
        over = row.phase in (Phase.ENDED, Phase.CANCELLED)
        return {
            "id": key.hex(),
            "kind": _word(KINDS, row.kind),
            "phase": Phase(row.phase).name.lower(),
            "point": row.point.hex(),
            "station": name_of(self._backend, row.station),
            "payer": name_of(self._backend, row.payer),
            "asset": row.asset,
            "amount": row.amount,
            **{name: getattr(row, name) for name in counted},
            "delivered_wh": min(row.counter_wh - row.begin_wh, row.purchased_wh),
            "paid": row.paid,
            "fee": row.fee,
            "returned": row.amount - row.paid - row.fee if over else 0,
            "attended": None if self._attendant is None else self._attendant.attended(key),
        }


def _id(request: Request) -> bytes:
    return asking.hex_id(request.path_params["id"], "delivery id", RECORD_ID_BYTES)


def _word(table: dict[str, int], code: int) -> str:
    return next(word for word, number in table.items() if number == code)
