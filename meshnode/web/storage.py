"""Storage: the endpoints about assets that are stored energy - their rules, and what is open with them."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.amounts import PPM
from meshnode.ledger import capacity, delivery_rows
from meshnode.web import asking
from meshnode.web.asking import Field, takes
from meshnode.web.backend import Backend
from meshnode.web.faults import answer
from meshnode.web.fresh import with_fresh
from meshnode.web.speaking import account_asked, account_of, say, spoken_once
from meshnode.web.tokens import MEMBER, asset_field, name_of
from protocols.records import Point, StorageSet
from protocols.records.identity import METER_ID_BYTES
from protocols.records.statements import MAX_AMOUNT, MAX_PRICE_U_KWH

_SET = (
    asset_field("asset", "code of an asset of yours, of which nothing was issued"),
    Field("meter", "id of the storage's meter, in hex", asking.bytes_in_hex(METER_ID_BYTES)),
    Field("efficiency_ppm", f"of what is charged so much is minted, 1 to {PPM}", asking.number(1, PPM)),
    Field("most_cost_u", f"what storing may cost a member, 0 to {MAX_AMOUNT}", asking.number(0, MAX_AMOUNT)),
    Field("storage_u_kwh", f"price of a kWh of storage, 1 to {MAX_PRICE_U_KWH}", asking.number(1, MAX_PRICE_U_KWH)),
    Field("access", "code of the asset that who stores must have", asking.text, optional=True),
    Field("fee_asset", "code of the asset that the fee is paid with", asking.text, optional=True),
    Field("fee_u_kwh", "for a kWh stored when a period closes", asking.number(0, MAX_PRICE_U_KWH), optional=True),
    Field("fee_to", f"{MEMBER} who gets the fee", asking.text, optional=True),
)


class Storages:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a writing request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/storages", with_fresh(self._backend, self.storages)),
            Route("/api/storages", self.set_up, methods=["POST"]),
        ]

    async def storages(self, request: Request) -> Response:
        """GET /api/storages?account: stored energy, its rules, and what a member may still store and owes of fees."""
        account = account_asked(self._backend, request) or self._backend.account
        found = self._backend.machine.state.storages.items()
        return answer({"storages": [self._row(code, row, account) for code, row in found]})

    @takes(_SET)
    async def set_up(self, request: Request) -> Response:
        """POST /api/storages: an asset of yours is stored energy; its meter alone mints it from now on."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _SET)
        if "fee_to" in given:
            given["others"] = ((account_of(self._backend, given.pop("fee_to"), "fee_to"), PPM),)
        return await say(self._backend, Point(**spoken_once(self._backend, request), step=StorageSet(**given)))

    def _row(self, code: str, row: delivery_rows.Storage, account: bytes) -> dict[str, Any]:
        state = self._backend.machine.state
        keep = state.keeps.get((code, account)) or delivery_rows.Keep()
        shown = ("efficiency_ppm", "most_wh", "access", "fee_asset", "fee_u_kwh", "charged_wh", "discharged_wh")
        return {
            "asset": code,
            "meter": row.meter.hex(),
            **{name: getattr(row, name) for name in shown},
            "owners": {name_of(self._backend, owner): weight for owner, weight in row.owners},
            "room_wh": capacity.room(state, code, account),
            "arrears_u": keep.arrears_u,
        }
