"""Membership: the endpoints about who asks to join, whose account is frozen, who is warned, and what bills come to."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.ledger.member_rows import JoinRequest, Warning
from meshnode.local_time import month_of
from meshnode.views import END_S
from meshnode.web import asking
from meshnode.web.alarms import warnings_for
from meshnode.web.asking import Field, takes
from meshnode.web.backend import Backend
from meshnode.web.faults import Fault, Faults, answer, shown
from meshnode.web.figures import ask
from meshnode.web.sight import BILLS, MONTHS, PERIODS, account_seen, sight_of
from meshnode.web.speaking import account_of, say, spoken_once
from meshnode.web.tokens import MEMBER, name_of
from protocols.records import Join, JoinVote, Unfreeze
from protocols.records.schema import read_as
from protocols.records.statements import RECORD_ID_BYTES
from zencode.sentences import BY_ID

_VOTE = (Field("agrees", "1: the newcomer may join, 0: it may not", asking.number(0, 1)),)
_LIFT = (Field("member", MEMBER, asking.text),)
_SUMS = (*PERIODS, *MONTHS)


class Membership:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a writing request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/requests", self.requests),
            Route("/api/requests/{id}/vote", self.vote, methods=["POST"]),
            Route("/api/frozen", self.frozen),
            Route("/api/members/unfreeze", self.unfreeze, methods=["POST"]),
            Route("/api/warnings", self.warnings),
            Route("/api/bills", self.bills),
            Route("/api/totals", self.totals),
        ]

    async def requests(self, _request: Request) -> Response:
        """GET /api/requests: requests to join that the members are asked about."""
        found = self._backend.machine.state.join_requests.items()
        return answer({"requests": [self._request(request, row) for request, row in found]})

    def _request(self, request: bytes, row: JoinRequest) -> dict[str, Any]:
        member = read_as(Join, row.join).member
        return {
            "id": request.hex(),
            "name": member.name,
            "roles": member.roles,
            "until_s": row.until_s,
            "needed_ppm": row.needed_ppm,
            "agreed": [name_of(self._backend, account) for account in row.agreed],
            "against": [name_of(self._backend, account) for account in row.against],
        }

    @takes(_VOTE)
    async def vote(self, request: Request) -> Response:
        """POST /api/requests/{id}/vote {agrees}: say whether a newcomer may join; the newest word counts."""
        asking.check_token(request, self._token)
        record_id = asking.hex_id(request.path_params["id"], "request id", RECORD_ID_BYTES)
        given = await asking.fields(request, _VOTE)
        return await say(self._backend, JoinVote(**spoken_once(self._backend, request), request=record_id, **given))

    async def frozen(self, _request: Request) -> Response:
        """GET /api/frozen: accounts that give no order, transfer or redemption, and the event that froze them."""
        found = self._backend.machine.state.frozen.items()
        rows_ = [
            {"member": name_of(self._backend, account), "event": BY_ID[row.event].name, "since_s": row.since_s}
            for account, row in found
        ]
        return answer({"frozen": rows_})

    @takes(_LIFT)
    async def unfreeze(self, request: Request) -> Response:
        """POST /api/members/unfreeze {member}: let a frozen account act again (administrators)."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _LIFT)
        account = account_of(self._backend, given["member"], "member")
        return await say(self._backend, Unfreeze(**spoken_once(self._backend, request), account=account))

    async def warnings(self, _request: Request) -> Response:
        """GET /api/warnings: what this node's member is warned of, newest first."""
        return answer({"warnings": [_warning(self._backend, row) for row in warnings_for(self._backend)]})

    async def bills(self, request: Request) -> Response:
        """GET /api/bills?account: a member's newest bill; account=all: everybody's that may be seen."""
        account = account_seen(self._backend, request, BILLS)
        found = self._backend.machine.state.bills.items()
        bills = [
            {"member": name_of(self._backend, one), **msgspec.structs.asdict(bill)}
            for one, bill in found
            if account in (None, one)
        ]
        return answer({"bills": bills})

    async def totals(self, request: Request) -> Response:
        """GET /api/totals?view&at_s: sums of the community that the binding publishes, of a period or a month.

        Anybody may ask; who is in them stays unknown.
        """
        view = request.query_params.get("view", MONTHS[0])
        if view not in _SUMS:
            raise Faults(400, Fault("query view", shown(view), " or ".join(_SUMS)))
        backend, least = self._backend, sight_of(self._backend).published(view)
        there = {row.account for _, row in backend.machine.state.meters.items() if not row.until_s}
        if least is None or len(there) < least:
            found = "not published" if least is None else f"of {len(there)} members, published from {least} on"
            raise Faults(403, Fault("binding", f"'{view}' is {found}", "sums that the binding publishes"))
        at_s = asking.whole(request, "at_s", backend.machine.time_s, 0, END_S)
        from_s, to_s = self._span(view, at_s)
        sums = await ask(lambda views: views.day(None, from_s, to_s), backend.views)
        return answer({"view": view, "from_s": from_s, "to_s": to_s, "members": len(there), "totals": sums})

    def _span(self, view: str, at_s: int) -> tuple[int, int]:
        machine = self._backend.machine
        if view == PERIODS[0]:
            length_s = machine.rules().period.length_s
            return at_s - at_s % length_s, at_s - at_s % length_s + length_s
        return month_of(machine.genesis.zone_changes, at_s)


def _warning(backend: Backend, row: Warning) -> dict[str, Any]:
    return {
        "event": BY_ID[row.event].name,
        "time_s": row.time_s,
        "member": name_of(backend, row.account) if row.account else "",
        "meter": row.meter.hex(),
    }
