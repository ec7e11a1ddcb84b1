"""Wishes: the endpoints about automatic agents and about partners who go first."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.execution import agents
from meshnode.ledger.order_rows import Agent as AgentRow
from meshnode.ledger.order_rows import Preference
from meshnode.ledger.preferences import PERIODS
from meshnode.ledger.standing import PRICE_TICK_U_KWH
from meshnode.ledger.verdicts import SENTENCES
from meshnode.market import Side
from meshnode.web import asking
from meshnode.web.asking import Field, takes
from meshnode.web.backend import Backend
from meshnode.web.faults import Fault, Faults, answer
from meshnode.web.fresh import with_fresh
from meshnode.web.speaking import account_asked, account_of, say, spoken_once
from meshnode.web.standing import MAX_PRICE, SIDES
from meshnode.web.tokens import MEMBER, asset_field, name_of, page
from protocols.records import SIDE_BUY, Agent, AgentOff, AgentSet, Partner, PartnerFirst, PartnerNobody
from protocols.records.statements import MAX_AMOUNT, MAX_PRICE_U_KWH


def _units(name: str, what: str) -> Field:
    return Field(name, f"units, 0 to {MAX_AMOUNT}: {what}", asking.number(0, MAX_AMOUNT))


def _price(name: str, what: str) -> Field:
    return Field(name, f"units of the paying asset for each unit: {what}", asking.number(1, MAX_PRICE))


_SET = (
    asset_field("asset", "code of the asset that is bought and sold"),
    asset_field("paid_with", "code of the asset that pays"),
    _price("buy_price", "the highest at which it buys"),
    _price("sell_price", "the lowest at which it sells"),
    _units("low", "with no more than that it buys up to the target"),
    _units("target", "as many as there should be"),
    _units("high", "with that many it sells down to the target"),
)
_OFF = (asset_field("asset"),)
_SIDE = Field("side", '"buy" or "sell"', asking.choice(SIDES))
_OF = (
    Field("asset", "code of an asset; without it, energy of settlement periods", asking.text, optional=True),
    Field("paid_with", "code of the asset that pays for it", asking.text, optional=True),
)
_LIMIT = f"the limit towards it: micro-units per kWh, of an asset units for each unit; 0 to {MAX_PRICE_U_KWH}"
_FIRST = (
    _SIDE,
    Field("partner", MEMBER, asking.text),
    Field("price", _LIMIT, asking.number(0, MAX_PRICE_U_KWH)),
    *_OF,
)
_NOBODY = (_SIDE, *_OF)


class Wishes:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a writing request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/agents", with_fresh(self._backend, self.agents)),
            Route("/api/partners", with_fresh(self._backend, self.partners)),
            Route("/api/agents", self.set_agent, methods=["POST"]),
            Route("/api/agents/off", self.end_agent, methods=["POST"]),
            Route("/api/partners", self.prefer, methods=["POST"]),
            Route("/api/partners/nobody", self.prefer_nobody, methods=["POST"]),
        ]

    # --- reading

    async def agents(self, request: Request) -> Response:
        """GET /api/agents?account&limit&skip: a member's agents, what they have ordered, and what hinders them."""
        account, state = account_asked(self._backend, request), self._backend.machine.state
        mine = (item for item in state.agents.items() if account in (None, item[0][0]))
        found, more = page(request, mine)
        return answer({"agents": [self._agent(*key, row) for key, row in found], "next": more})

    async def partners(self, request: Request) -> Response:
        """GET /api/partners?account&limit&skip: whom a member's orders serve first."""
        account, state = account_asked(self._backend, request), self._backend.machine.state
        mine = (item for item in state.preferences.items() if account in (None, item[0][0]))
        found, more = page(request, mine)
        return answer({"partners": [self._preference(*key, row) for key, row in found], "next": more})

    # --- writing

    @takes(_SET)
    async def set_agent(self, request: Request) -> Response:
        """POST /api/agents: the ledger orders for you from now on, whenever you have no order of the asset yourself."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _SET)
        prices = {f"{name}_u_kwh": given.pop(name) * PRICE_TICK_U_KWH for name in ("buy_price", "sell_price")}
        return await say(self._backend, Agent(**spoken_once(self._backend, request), step=AgentSet(**given, **prices)))

    @takes(_OFF)
    async def end_agent(self, request: Request) -> Response:
        """POST /api/agents/off: it orders nothing any more; its open order is taken out."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _OFF)
        return await say(self._backend, Agent(**spoken_once(self._backend, request), step=AgentOff(**given)))

    @takes(_FIRST)
    async def prefer(self, request: Request) -> Response:
        """POST /api/partners: orders that you give from now on serve this member before all others."""
        asking.check_token(request, self._token)
        given = _together(await asking.fields(request, _FIRST))
        partner = account_of(self._backend, given.pop("partner"), "partner")
        price_u_kwh = given.pop("price") * (PRICE_TICK_U_KWH if "asset" in given else 1)
        if price_u_kwh > MAX_PRICE_U_KWH:
            raise Faults(400, Fault("price", str(price_u_kwh // PRICE_TICK_U_KWH), f"at most {MAX_PRICE} for an asset"))
        step = PartnerFirst(**given, partner=partner, price_u_kwh=price_u_kwh)
        return await say(self._backend, Partner(**spoken_once(self._backend, request), step=step))

    @takes(_NOBODY)
    async def prefer_nobody(self, request: Request) -> Response:
        """POST /api/partners/nobody: orders that you give from now on serve nobody first, unless they say so."""
        asking.check_token(request, self._token)
        given = _together(await asking.fields(request, _NOBODY))
        return await say(self._backend, Partner(**spoken_once(self._backend, request), step=PartnerNobody(**given)))

    # --- as JSON

    def _agent(self, account: bytes, asset: str, row: AgentRow) -> dict[str, Any]:
        machine = self._backend.machine
        wish = agents.wish_of(machine.state, account, asset, row)
        hinders = agents.hindrance(machine, account, asset, self._backend.clock.now_s())
        return {
            "member": name_of(self._backend, account),
            "asset": asset,
            "paid_with": row.paid_with,
            "buy_price": row.buy_price_u_kwh // PRICE_TICK_U_KWH,
            "sell_price": row.sell_price_u_kwh // PRICE_TICK_U_KWH,
            "low": row.low,
            "target": row.target,
            "high": row.high,
            "order": row.order.hex() if row.order in machine.state.standing else None,
            "wants": None if wish is None else {"side": _word(wish.side), "units": wish.energy_wh},
            "hindered": None if hinders is None else SENTENCES[hinders],
        }

    def _preference(self, account: bytes, side: int, asset: str, paid_with: str, row: Preference) -> dict[str, Any]:
        periods = asset == PERIODS
        return {
            "member": name_of(self._backend, account),
            "side": _word(side),
            "asset": None if periods else asset,
            "paid_with": None if periods else paid_with,
            "partner": name_of(self._backend, row.partner),
            "price": row.price_u_kwh if periods else row.price_u_kwh // PRICE_TICK_U_KWH,
        }


def _word(side: int) -> str:
    return "buy" if Side(side) == SIDE_BUY else "sell"


def _together(given: dict[str, Any]) -> dict[str, Any]:
    """An asset and what pays for it come together. Raises Faults."""
    for name, other in (("asset", "paid_with"), ("paid_with", "asset")):
        if name in given and other not in given:
            raise Faults(400, Fault(other, "nothing", f"a code, with {name}"))
    return given
