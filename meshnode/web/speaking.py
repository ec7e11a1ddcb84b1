"""Speaking: the endpoints that write orders and records signed elsewhere, and what all that write have in common.

All of them need the node's token. 202 means that the record is on the node's disk and passed on, not
that it took effect: what became of it is asked at /api/records/{id}. 409 means that it will never
take effect, 503 that this node does not take it for now, and has not passed it on.

Who gets no answer asks again. A record signed elsewhere is the same each time. Where the node signs, the
header `Idempotency-Key`, a text of the client's choice, makes it so: the first request with it
counts, the others get the id of its record, until the validity of that record has ended.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.web import asking
from meshnode.web.asking import Field, Reader, takes, takes_bytes
from meshnode.web.backend import Backend, Refused
from meshnode.web.faults import Fault, Faults, answer, shown
from protocols.cose import MAX_ENVELOPE_BYTES
from protocols.records import SIDE_BUY, SIDE_SELL, Amend, Cancel, Order, Spoken
from protocols.records.identity import ACCOUNT_ID_BYTES
from protocols.records.statements import MAX_ORDER_WH, MAX_PRICE_U_KWH, RECORD_ID_BYTES

# A record signed now is good for ten minutes of real time: an order is for soon, and whoever
# signed it wants to know what became of it before going away.
VALID_REAL_S = 600
NONCE_BITS = 63
# The end of the microgrid's own time scale; anything later is a typing mistake.
LAST_SECOND = 1 << 40
NEXT = "next"
CBOR = "application/cbor"
# A client draws a key at random; 128 bits in hex are half of this.
MAX_KEY_BYTES = 64
# A node that is full, or has not caught up, looks otherwise in a while.
RETRY_AFTER_S = 5

_SIDES = {"buy": SIDE_BUY, "sell": SIDE_SELL}


def spoken(backend: Backend) -> dict[str, Any]:
    """The nonce and the validity of a record that is signed now."""
    clock, limits = backend.clock, backend.machine.genesis.limits
    # Half of what the community allows leaves room for clocks that differ.
    valid_s = min(VALID_REAL_S * clock.speed, limits.max_validity_s // 2)
    return {"nonce": secrets.randbits(NONCE_BITS), "valid_until_s": clock.now_s() + valid_s}


def spoken_once(backend: Backend, request: Request) -> dict[str, Any]:
    """As `spoken`; requests with the same idempotency key get the same nonce.

    The ledger takes a nonce once, so that whatever happens to requests and nodes such a record takes
    effect at most once.

    Raises:
        Faults: 400, the key is no key.
    Source: The Idempotency-Key HTTP Header Field (draft-ietf-httpapi-idempotency-key-header).
    """
    key = request.headers.get("idempotency-key")
    found = spoken(backend)
    if key is None:
        return found
    if not (1 <= len(key) <= MAX_KEY_BYTES and key.isascii() and key.isprintable()):
        expected = f"1 to {MAX_KEY_BYTES} printable ASCII characters"
        raise Faults(400, Fault("header Idempotency-Key", shown(key), expected))
    digest = hashlib.sha256(b"meshnode idempotency key\0" + key.encode()).digest()
    return found | {"nonce": int.from_bytes(digest[:8], "big") >> (64 - NONCE_BITS)}


def second_or(word: str) -> Reader:
    """Reads a UTC second, or a word that stands for one."""
    second = asking.number(0, LAST_SECOND)
    return Reader(
        lambda value: word if value == word else second(value),
        {"oneOf": [second.schema, {"type": "string", "enum": [word]}]},
    )


_AMEND = (
    Field("energy_wh", f"a whole number from 1 to {MAX_ORDER_WH}", asking.number(1, MAX_ORDER_WH)),
    Field("price_u_kwh", f"micro-units per kWh from 0 to {MAX_PRICE_U_KWH}", asking.number(0, MAX_PRICE_U_KWH)),
)
_ORDER = (
    Field("side", '"buy" or "sell"', asking.choice(_SIDES)),
    Field("period_start_s", 'a UTC second at which a period begins, or "next"', second_or(NEXT)),
    *_AMEND,
)


class Speaking:
    """The writing endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/orders", self.order, methods=["POST"]),
            Route("/api/orders/{id}", self.cancel, methods=["DELETE"]),
            Route("/api/orders/{id}/amend", self.amend, methods=["POST"]),
            Route("/api/orders/{id}/cancel", self.cancel, methods=["POST"]),
            Route("/api/records", self.record, methods=["POST"]),
        ]

    @takes(_ORDER)
    async def order(self, request: Request) -> Response:
        """POST /api/orders {side, period_start_s, energy_wh, price_u_kwh}."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _ORDER)
        if given["period_start_s"] == NEXT:
            length_s = self._backend.machine.rules().period.length_s
            given["period_start_s"] = (self._backend.clock.now_s() // length_s + 1) * length_s
        order = Order(**spoken_once(self._backend, request), **given)
        return await say(self._backend, order, period_start_s=order.period_start_s)

    @takes(_AMEND)
    async def amend(self, request: Request) -> Response:
        """POST /api/orders/{id}/amend {energy_wh, price_u_kwh}: change an order of a period."""
        asking.check_token(request, self._token)
        order = asking.hex_id(request.path_params["id"], "order id", RECORD_ID_BYTES)
        given = await asking.fields(request, _AMEND)
        return await say(self._backend, Amend(**spoken_once(self._backend, request), order=order, **given))

    async def cancel(self, request: Request) -> Response:
        """DELETE /api/orders/{id} or POST /api/orders/{id}/cancel."""
        asking.check_token(request, self._token)
        order = asking.hex_id(request.path_params["id"], "order id", RECORD_ID_BYTES)
        return await say(self._backend, Cancel(**spoken_once(self._backend, request), order=order))

    @takes_bytes(CBOR)
    async def record(self, request: Request) -> Response:
        """POST /api/records: the COSE_Sign1 envelope of a record that was signed elsewhere."""
        asking.check_token(request, self._token)
        envelope = await asking.body(request, CBOR, MAX_ENVELOPE_BYTES)
        try:
            return accepted(await self._backend.submit_envelope(envelope))
        except Refused as error:
            raise refused(error) from error


async def say(backend: Backend, record: Spoken, **more: Any) -> Response:
    """Have the node sign and pass on a record; the answer names it. Raises Faults: it is not taken."""
    try:
        return accepted(await backend.submit(record), valid_until_s=record.valid_until_s, **more)
    except Refused as error:
        raise refused(error) from error


def account_asked(backend: Backend, request: Request, default: str = "me") -> bytes | None:
    """The account that the query names: a member's name or id, "me", or "all" (None). Raises Faults: nobody's."""
    name = request.query_params.get("account", default)
    if name == "all":
        return None
    return backend.account if name == "me" else account_of(backend, name, "query account")


def account_of(backend: Backend, name: str, place: str) -> bytes:
    """The account that a member's name or an account id in hex means.

    Raises:
        Faults: 400, there is no such member.
    """
    state = backend.machine.state
    known = state.names.get(name)
    if known is not None:
        return known.account
    if len(name) == 2 * ACCOUNT_ID_BYTES:
        account = asking.hex_id(name, place, ACCOUNT_ID_BYTES)
        if account in state.accounts:
            return account
    raise Faults(400, Fault(place, shown(name), "the name or the account id of a member"))


def accepted(record_id: bytes, **more: Any) -> Response:
    return answer({"record_id": record_id.hex(), **more}, 202, {"location": f"/api/records/{record_id.hex()}"})


def refused(error: Refused) -> Faults:
    if error.lasting:
        return Faults(409, Fault("record", str(error), "a record that the community's rules allow"))
    fault = Fault("record", str(error), "one that this node can take now", "hand it in again in a while")
    return Faults(503, fault, headers={"retry-after": str(RETRY_AFTER_S)})
