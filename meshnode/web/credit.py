"""Credit: the endpoints about what members may owe, what they do owe, and what they left as a security."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.execution.call import on_top_u_kwh
from meshnode.ledger import credit, rows
from meshnode.web import asking
from meshnode.web.asking import Field, takes
from meshnode.web.backend import Backend
from meshnode.web.faults import answer
from meshnode.web.fresh import with_fresh
from meshnode.web.speaking import account_asked, account_of, say, spoken_once
from meshnode.web.tokens import MEMBER, amount_field, asset_field, hold_row, name_of, page
from protocols.records import CreditLimit, DepositPlace, DepositRelease, MemberCredit
from protocols.records.statements import MAX_AMOUNT, RECORD_ID_BYTES

_LIMIT = (
    Field("member", f"{MEMBER}; every member without a limit of its own, if nobody", asking.text, optional=True),
    Field("limit_u", f"micro-units from 0 to {MAX_AMOUNT}; no limit, if none", asking.number(0, MAX_AMOUNT), True),
)
_DEPOSIT = (asset_field("asset"), amount_field(), Field("to", f"{MEMBER} who may give it back", asking.text))


class CreditDesk:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a writing request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/credit", with_fresh(self._backend, self.credit)),
            Route("/api/deposits", with_fresh(self._backend, self.deposits)),
            Route("/api/credit/limits", self.limit, methods=["POST"]),
            Route("/api/deposits", self.deposit, methods=["POST"]),
            Route("/api/deposits/{id}/release", self.release, methods=["POST"]),
        ]

    async def credit(self, request: Request) -> Response:
        """GET /api/credit?account&limit&skip: what a member has, owes, has promised, and may still; account=all."""
        asked = account_asked(self._backend, request)
        members = (account for account, row in self._backend.machine.state.accounts.items() if not row.left_s)
        found, more = page(request, members if asked is None else [asked])
        return answer({"credit": [self._row(account) for account in found], "next": more})

    async def deposits(self, request: Request) -> Response:
        """GET /api/deposits?limit&skip: what members left as a security, and with whom."""
        held = self._backend.machine.state.holds.items()
        found, more = page(request, (item for item in held if item[1].purpose == rows.HOLD_DEPOSIT))
        return answer({"deposits": [hold_row(self._backend, *one) for one in found], "next": more})

    @takes(_LIMIT)
    async def limit(self, request: Request) -> Response:
        """POST /api/credit/limits: bound what a member may owe (administrators, and suppliers for their customers)."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _LIMIT)
        if "member" in given:
            given["account"] = account_of(self._backend, given.pop("member"), "member")
        return await say(self._backend, MemberCredit(**spoken_once(self._backend, request), step=CreditLimit(**given)))

    @takes(_DEPOSIT)
    async def deposit(self, request: Request) -> Response:
        """POST /api/deposits: leave an amount as a security; it is held until it is given back."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _DEPOSIT)
        given["to"] = account_of(self._backend, given["to"], "to")
        return await say(self._backend, MemberCredit(**spoken_once(self._backend, request), step=DepositPlace(**given)))

    async def release(self, request: Request) -> Response:
        """POST /api/deposits/{id}/release: give a deposit back; what its owner owes is paid out of it first."""
        asking.check_token(request, self._token)
        step = DepositRelease(deposit=asking.hex_id(request.path_params["id"], "deposit id", RECORD_ID_BYTES))
        return await say(self._backend, MemberCredit(**spoken_once(self._backend, request), step=step))

    def _row(self, account: bytes) -> dict[str, Any]:
        machine = self._backend.machine
        stands = credit.account_of(machine.state, account, machine.time_s, partial(on_top_u_kwh, machine))
        limits = credit.limits(machine.state, account, machine.time_s)
        return {
            "account": account.hex(),
            "name": name_of(self._backend, account),
            **msgspec.structs.asdict(stands),
            "exposure_u": stands.exposure_u,
            "left_u": stands.left_u,
            "limits": [
                {"by": name_of(self._backend, by) or "community", "limit_u": most_u} for by, most_u in limits.items()
            ],
            "arrears": credit.arrears(machine.state, account),
        }
