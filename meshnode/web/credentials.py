"""Credentials: the endpoints about cards and phones by which somebody is known at points."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.ledger import delivery_rows
from meshnode.settlement import points
from meshnode.web import asking
from meshnode.web.asking import Field, takes
from meshnode.web.backend import Backend
from meshnode.web.faults import answer
from meshnode.web.fresh import with_fresh
from meshnode.web.sight import PLATES, account_seen
from meshnode.web.speaking import say, spoken_once
from meshnode.web.tokens import asset_field, name_of
from protocols.cose import HASH_BYTES, PUBLIC_KEY_BYTES
from protocols.records import CredentialBind, CredentialRemove, Point
from protocols.records.identity import METER_ID_BYTES
from protocols.records.statements import MAX_AMOUNT

_BIND = (
    Field("credential", "SHA-256 of a token's id or of a key, in hex", asking.bytes_in_hex(HASH_BYTES)),
    asset_field("asset", "code of the asset that pays"),
    Field("most_u", f"the most for a session, 1 to {MAX_AMOUNT}", asking.number(1, MAX_AMOUNT)),
    Field("point", "id of the point's meter, in hex", asking.bytes_in_hex(METER_ID_BYTES)),
    Field("public_key", "of a phone, in hex; a card has none", asking.bytes_in_hex(PUBLIC_KEY_BYTES), optional=True),
)


class Credentials:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a writing request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/credentials", with_fresh(self._backend, self.credentials)),
            Route("/api/credentials", self.bind, methods=["POST"]),
            Route("/api/credentials/{credential}/remove", self.remove, methods=["POST"]),
            Route("/api/points/{meter}/known/{credential}", self.known),
        ]

    async def credentials(self, request: Request) -> Response:
        """GET /api/credentials?account: the cards and phones by which a member is known, and where."""
        account = account_seen(self._backend, request, PLATES)
        rows = self._backend.machine.state.credentials.items()
        return answer({"credentials": [self._row(key, row) for key, row in rows if account in (None, row.account)]})

    async def known(self, request: Request) -> Response:
        """GET /api/points/{meter}/known/{credential}: what waits for who shows it; this node alone answers, offline."""
        meter = asking.hex_id(request.path_params["meter"], "meter", METER_ID_BYTES)
        credential = asking.hex_id(request.path_params["credential"], "credential", HASH_BYTES)
        state = self._backend.machine.state
        row = state.credentials.get(credential)
        found = points.expected(state, meter, credential)
        good = row is not None and meter in row.points
        return answer(
            {
                "member": name_of(self._backend, row.account) if row is not None and good else "",
                "delivery": None if found is None else found.hex(),
            }
        )

    @takes(_BIND)
    async def bind(self, request: Request) -> Response:
        """POST /api/credentials: you are known by a token or a key at a point, and pay for who shows it there."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _BIND)
        given["points"] = (given.pop("point"),)
        return await self._at_point(request, CredentialBind(**given))

    async def remove(self, request: Request) -> Response:
        """POST /api/credentials/{credential}/remove: it is good for nothing from now on."""
        asking.check_token(request, self._token)
        credential = asking.hex_id(request.path_params["credential"], "credential", HASH_BYTES)
        return await self._at_point(request, CredentialRemove(credential=credential))

    async def _at_point(self, request: Request, step: CredentialBind | CredentialRemove) -> Response:
        return await say(self._backend, Point(**spoken_once(self._backend, request), step=step))

    def _row(self, credential: bytes, row: delivery_rows.Credential) -> dict[str, Any]:
        return {
            "credential": credential.hex(),
            "kind": "phone" if row.public_key else "card",
            "member": name_of(self._backend, row.account),
            "asset": row.asset,
            "most_u": row.most_u,
            "points": [point.hex() for point in row.points],
            "public_key": row.public_key.hex(),
            "number": row.number,
        }
