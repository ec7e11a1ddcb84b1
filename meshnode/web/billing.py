"""Billing: the endpoints about billing periods - what surplus took off and what of it was lost, what hours earned."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.settlement import billing_periods
from meshnode.views import END_S, BillingRow
from meshnode.web import asking
from meshnode.web.backend import Backend
from meshnode.web.faults import answer
from meshnode.web.figures import ask
from meshnode.web.fresh import with_fresh
from meshnode.web.speaking import account_asked
from meshnode.web.tokens import name_of, page

# A day of hours behind a few substations.
DEFAULT_HOURS = 96
MAX_HOURS = 1_000
MAX_SKIP = 8_192


class Billing:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/compensation", with_fresh(self._backend, self.compensation)),
            Route("/api/compensation/hours", with_fresh(self._backend, self.hours)),
        ]

    async def compensation(self, request: Request) -> Response:
        """GET /api/compensation?account&limit&skip: billing periods, newest first; the one that runs is provisional."""
        account = account_asked(self._backend, request)
        rows = await ask(lambda views: views.billing_periods(account), self._backend.views)
        found, more = page(request, [*self._running(account), *(self._told(row) for row in rows)])
        return answer({"billing_periods": found, "next": more})

    async def hours(self, request: Request) -> Response:
        """GET /api/compensation/hours?from_s&to_s&limit&skip: what was shared within each hour, and who received it."""
        from_s, to_s = (asking.whole(request, name, end, 0, END_S) for name, end in (("from_s", 0), ("to_s", END_S)))
        limit = asking.whole(request, "limit", DEFAULT_HOURS, 1, MAX_HOURS)
        skip = asking.whole(request, "skip", 0, 0, MAX_SKIP)
        rows = await ask(lambda views: views.shared_hours(from_s, to_s, limit, skip), self._backend.views)
        return answer({"hours": rows, "next": {"skip": skip + limit} if len(rows) == limit else None})

    def _running(self, account: bytes | None) -> list[dict[str, Any]]:
        """What has come together in the billing period that runs, and is posted when it ends."""
        state = self._backend.machine.state
        return [
            {
                "billing_id": billing_periods.billing_id(first_s).hex(),
                "first_s": first_s,
                "until_s": bill.until_s,
                "account": line.account.hex(),
                "name": name_of(self._backend, line.account),
                **msgspec.structs.asdict(line.compensation),
                "incentive_u": line.incentive_u,
                "due_u": line.compensation.due_u,
                "status": "running",
            }
            for first_s, bill in state.billing_periods.items()
            if not bill.entries
            for line in billing_periods.lines(state, first_s)
            if account in (None, line.account)
        ]

    def _told(self, row: BillingRow) -> dict[str, Any]:
        told = msgspec.structs.asdict(row)
        status = "final" if told.pop("final") else "provisional"
        return told | {"due_u": row.bought_u - row.compensated_u, "status": status}
