"""Contracts: the endpoints that offer, sign, end and list them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.views import END_S, MAX_ROWS
from meshnode.web import asking
from meshnode.web.asking import Field, takes
from meshnode.web.backend import Backend
from meshnode.web.faults import answer
from meshnode.web.figures import ask
from meshnode.web.fresh import with_fresh
from meshnode.web.speaking import LAST_SECOND, account_asked, account_of, say, second_or, spoken_once
from meshnode.web.tokens import DEFAULT_ROWS, MEMBER
from protocols.cose import HASH_BYTES
from protocols.records import Contract, ContractEnd, ContractOffer, ContractSign, ServiceLevel
from protocols.records.statements import MAX_POWER_W, MAX_PRICE_U_KWH, RECORD_ID_BYTES
from protocols.records.tokens import MAX_RESPONSE_S

NOW = "now"
_SERVICE = (
    Field("maximum_power_w", "never more than so many W", asking.number(0, MAX_POWER_W), optional=True),
    Field("priority", "0 to 255; a lower number comes first", asking.number(0, 255), optional=True),
    Field("source", "where the energy comes from", asking.text, optional=True),
    Field("price_cap_u_kwh", "micro-units per kWh", asking.number(0, MAX_PRICE_U_KWH), optional=True),
    Field("response_time_s", "seconds from a call to its effect", asking.number(0, MAX_RESPONSE_S), optional=True),
)
_OFFER = (
    Field("to", MEMBER, asking.text),
    Field("role", "what you are in it, such as supplier", asking.text),
    Field("terms", "SHA-256 of the contract's text, in hex", asking.bytes_in_hex(HASH_BYTES)),
    Field("from_s", 'a UTC second, or "now"', second_or(NOW)),
    Field("until_s", "a UTC second", asking.number(0, LAST_SECOND)),
    *_SERVICE,
)


class Contracts:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a writing request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/contracts", with_fresh(self._backend, self.contracts)),
            Route("/api/contracts", self.offer, methods=["POST"]),
            Route("/api/contracts/{id}/sign", self.sign, methods=["POST"]),
            Route("/api/contracts/{id}/end", self.end, methods=["POST"]),
        ]

    async def contracts(self, request: Request) -> Response:
        """GET /api/contracts?account&below&limit: a member's contracts, newest first; account=all: everybody's."""
        limit = asking.whole(request, "limit", DEFAULT_ROWS, 1, MAX_ROWS)
        below = asking.whole(request, "below", END_S, 0, END_S)
        account = account_asked(self._backend, request)
        found = await ask(lambda views: views.contracts(account, limit, below), self._backend.views)
        more = {"below": found[-1].height} if len(found) == limit else None
        return answer({"contracts": found, "next": more})

    @takes(_OFFER)
    async def offer(self, request: Request) -> Response:
        """POST /api/contracts: offer a contract to a member."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _OFFER)
        given["to"] = account_of(self._backend, given["to"], "to")
        if given["from_s"] == NOW:
            given["from_s"] = self._backend.clock.now_s()
        level = {field.name: given.pop(field.name) for field in _SERVICE if field.name in given}
        step = ContractOffer(service=ServiceLevel(**level), **given)
        return await say(self._backend, Contract(**spoken_once(self._backend, request), step=step))

    async def sign(self, request: Request) -> Response:
        """POST /api/contracts/{id}/sign: agree to a contract that was offered to you."""
        asking.check_token(request, self._token)
        step = ContractSign(contract=_id(request))
        return await say(self._backend, Contract(**spoken_once(self._backend, request), step=step))

    async def end(self, request: Request) -> Response:
        """POST /api/contracts/{id}/end: end a contract of yours, withdraw your offer, or refuse one."""
        asking.check_token(request, self._token)
        step = ContractEnd(contract=_id(request))
        return await say(self._backend, Contract(**spoken_once(self._backend, request), step=step))


def _id(request: Request) -> bytes:
    return asking.hex_id(request.path_params["id"], "contract id", RECORD_ID_BYTES)
