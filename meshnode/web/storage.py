"""Storage: the endpoints about assets that are stored energy - their rules, and what is open with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.amounts import PPM
from meshnode.ledger import capacity, delivery_rows
from meshnode.settlement import education
from meshnode.web import asking
from meshnode.web.asking import Field, takes
from meshnode.web.backend import Backend, Keeping, NotHere, Refused
from meshnode.web.faults import Fault, Faults, answer
from meshnode.web.fresh import with_fresh
from meshnode.web.speaking import account_asked, account_of, refused, say, spoken_once
from meshnode.web.tokens import MEMBER, asset_field, name_of
from protocols.records import Point, StorageSet
from protocols.records.delivery import MAX_STORAGE_SHARES
from protocols.records.identity import METER_ID_BYTES
from protocols.records.statements import MAX_AMOUNT, MAX_ORDER_WH, MAX_PRICE_U_KWH

_PARTS = asking.weights(MAX_STORAGE_SHARES, PPM)
_SET = (
    asset_field("asset", "code of an asset of yours, of which nothing was issued"),
    Field("meter", "id of the storage's meter, in hex", asking.bytes_in_hex(METER_ID_BYTES)),
    Field("efficiency_ppm", f"of what is charged so much is minted, 1 to {PPM}", asking.number(1, PPM)),
    Field("most_cost_u", f"what storing may cost a member, 0 to {MAX_AMOUNT}", asking.number(0, MAX_AMOUNT)),
    Field("storage_u_kwh", f"price of a kWh of storage, 1 to {MAX_PRICE_U_KWH}", asking.number(1, MAX_PRICE_U_KWH)),
    Field("access", "code of the asset that who stores must have", asking.text, optional=True),
    Field("fee_asset", "code of the asset that the fee is paid with", asking.text, optional=True),
    Field("fee_u_kwh", "for a kWh stored when a period closes", asking.number(0, MAX_PRICE_U_KWH), optional=True),
    Field("fee_to", f"{MEMBER} who gets what of the fee is not the owners'", asking.text, optional=True),
    Field("owners_ppm", f"what of the fee goes to the owners, 0 to {PPM}", asking.number(0, PPM), optional=True),
    Field("owners", "{member: what it contributed}", asking.weights(MAX_STORAGE_SHARES, MAX_AMOUNT), optional=True),
    Field("others", "{member: its parts of a million of the fee}", _PARTS, optional=True),
    Field("education_ppm", f"to the fund for first access, 0 to {PPM}", asking.number(0, PPM), optional=True),
    Field("grant_u", f"what one first access costs it, 0 to {MAX_AMOUNT}", asking.number(0, MAX_AMOUNT), optional=True),
)
_START = (
    Field("capacity_wh", f"Wh of a simulated battery, 1 to {MAX_ORDER_WH}", asking.number(1, MAX_ORDER_WH)),
    Field("power_w", f"W of a simulated battery, 1 to {MAX_ORDER_WH}", asking.number(1, MAX_ORDER_WH)),
)


class Storages:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None, storekeeper: Keeping | None) -> None:
        """Args:
        token: what a writing request must carry; None: nobody may write.
        storekeeper: who keeps this node's storages; None: nobody does.
        """
        self._backend = backend
        self._token = token
        self._storekeeper = storekeeper

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/storages", with_fresh(self._backend, self.storages)),
            Route("/api/storages", self.set_up, methods=["POST"]),
            Route("/api/storages/{asset}/start", self.start, methods=["POST"]),
            Route("/api/storages/{asset}/stop", self.stop, methods=["POST"]),
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
            spoken_for_ppm = given.get("owners_ppm", 0) + given.get("education_ppm", 0)
            given["others"] = {given.pop("fee_to"): PPM - spoken_for_ppm}
        for name in ("owners", "others"):
            if name in given:
                accounts = [(account_of(self._backend, one, name), weight) for one, weight in given[name].items()]
                given[name] = tuple(sorted(accounts))
        return await say(self._backend, Point(**spoken_once(self._backend, request), step=StorageSet(**given)))

    @takes(_START)
    async def start(self, request: Request) -> Response:
        """POST /api/storages/{asset}/start: this node keeps it with a simulated battery, and reports what flows."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _START)
        code = request.path_params["asset"]
        return await self._keep(code, lambda keeper: keeper.start(code, given["capacity_wh"], given["power_w"]))

    async def stop(self, request: Request) -> Response:
        """POST /api/storages/{asset}/stop: nothing flows any more; what is due is still reported."""
        asking.check_token(request, self._token)
        code = request.path_params["asset"]
        return await self._keep(code, lambda keeper: keeper.stop(code))

    async def _keep(self, code: str, what: Callable[[Keeping], Awaitable[None]]) -> Response:
        try:
            if self._storekeeper is None:
                raise NotHere("this node keeps no storages")
            await what(self._storekeeper)
        except NotHere as error:
            raise Faults(409, Fault("storage", str(error), "one whose meter is this node's")) from error
        except Refused as error:
            raise refused(error) from error
        return answer(self._row(code, self._backend.machine.state.storages[code], self._backend.account))

    def _row(self, code: str, row: delivery_rows.Storage, account: bytes) -> dict[str, Any]:
        state = self._backend.machine.state
        keep = state.keeps.get((code, account)) or delivery_rows.Keep()
        granted = state.grants.get((code, account))
        shown = ("efficiency_ppm", "most_wh", "access", "fee_asset", "fee_u_kwh", "charged_wh", "discharged_wh")
        return {
            "asset": code,
            "meter": row.meter.hex(),
            **{name: getattr(row, name) for name in shown},
            "owners_ppm": row.owners_ppm,
            "others": {name_of(self._backend, other): ppm for other, ppm in row.divided},
            "owners": {name_of(self._backend, owner): weight for owner, weight in row.owners},
            "education_ppm": row.education_ppm,
            "grant_u": row.grant_u,
            "education_u": education.has_u(state, code),
            "first_access": None if granted is None else granted.start_s,
            "room_wh": capacity.room(state, code, account),
            "arrears_u": keep.arrears_u,
            "kept": None if self._storekeeper is None else self._storekeeper.kept(code),
        }
