"""Steps: the endpoints about what comes before an order - attributes that are missing, commitments to steps 1 and 2."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.execution.orders import attributes_hash, terms_hash
from meshnode.ledger.order_rows import NOBODY
from meshnode.market.lifecycle import ATTRIBUTES, State, missing
from meshnode.web import asking
from meshnode.web.asking import Field, Reader, takes
from meshnode.web.backend import Backend
from meshnode.web.faults import Fault, Faults, answer, shown
from meshnode.web.fresh import with_fresh
from meshnode.web.speaking import account_asked, say, spoken, spoken_once
from meshnode.web.standing import ORDER, order_of
from meshnode.web.tokens import name_of, page
from protocols.records import OrderBooked, OrderPrepared, OrderStep
from protocols.records.statements import RECORD_ID_BYTES

# An address or a name; documents that say more are somewhere else.
MAX_ATTRIBUTE_CHARACTERS = 200


def _attributes(value: Any) -> dict[str, str]:
    if type(value) is not dict:
        raise ValueError
    for name, text in value.items():
        if name not in ATTRIBUTES or type(text) is not str or len(text) > MAX_ATTRIBUTE_CHARACTERS:
            raise ValueError
    return dict(value)


_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {name: {"type": "string", "maxLength": MAX_ATTRIBUTE_CHARACTERS} for name in ATTRIBUTES},
}
_PREPARE = (Field("attributes", f"texts by name, of {', '.join(ATTRIBUTES)}", Reader(_attributes, _SCHEMA)),)
_BOOK = (
    Field("prepared", "record id of step 1", asking.bytes_in_hex(RECORD_ID_BYTES)),
    *(field for field in ORDER if field.name not in ("for_s", "booked")),
)


class Steps:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a writing request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/steps", with_fresh(self._backend, self.steps)),
            Route("/api/steps/missing", self.missing),
            Route("/api/steps/prepare", self.prepare, methods=["POST"]),
            Route("/api/steps/book", self.book, methods=["POST"]),
        ]

    async def steps(self, request: Request) -> Response:
        """GET /api/steps?account&limit&skip: steps that were committed to, and whose order has not come."""
        account, state = account_asked(self._backend, request), self._backend.machine.state
        mine = ((key, row) for key, row in state.committed.items() if account in (None, row.account))
        found, more = page(request, mine)
        return answer(
            {
                "steps": [
                    {
                        "id": record_id.hex(),
                        "member": name_of(self._backend, row.account),
                        "state": State(row.state).name.lower(),
                        "said": row.said.hex(),
                        "before": None if row.before == NOBODY else row.before.hex(),
                        "until_s": row.until_s,
                    }
                    for record_id, row in found
                ],
                "next": more,
            }
        )

    async def missing(self, request: Request) -> Response:
        """GET /api/steps/missing?said: the attributes that an order's documents lack; their hash once none does."""
        said = _said(request)
        lacking = missing(said)
        return answer({"missing": list(lacking), "attributes": None if lacking else attributes_hash(said).hex()})

    @takes(_PREPARE)
    async def prepare(self, request: Request) -> Response:
        """POST /api/steps/prepare: step 1. The community learns the hash of the attributes, and nothing else."""
        asking.check_token(request, self._token)
        said = (await asking.fields(request, _PREPARE))["attributes"]
        lacking = [Fault(f"attributes.{name}", "nothing", "a text: no attribute is missing") for name in missing(said)]
        if lacking:
            raise Faults(400, *lacking)
        digest = attributes_hash(said)
        step = OrderStep(**spoken_once(self._backend, request), step=OrderPrepared(attributes=digest))
        return await say(self._backend, step, attributes=digest.hex())

    @takes(_BOOK)
    async def book(self, request: Request) -> Response:
        """POST /api/steps/book: step 2. The order that is given later, with `booked`, says just these terms."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _BOOK)
        prepared = given.pop("prepared")
        terms = terms_hash(order_of(self._backend, given, spoken(self._backend)))
        step = OrderStep(**spoken_once(self._backend, request), step=OrderBooked(prepared=prepared, terms=terms))
        return await say(self._backend, step, terms=terms.hex())


def _said(request: Request) -> dict[str, str]:
    """The attributes of the query: `said=NAME=TEXT`, each again. Raises Faults."""
    said, faults = {}, []
    for pair in request.query_params.getlist("said"):
        name, equals, text = pair.partition("=")
        if not equals or name not in ATTRIBUTES or len(text) > MAX_ATTRIBUTE_CHARACTERS:
            expected = f"NAME=TEXT with at most {MAX_ATTRIBUTE_CHARACTERS} characters, of {', '.join(ATTRIBUTES)}"
            faults.append(Fault("query said", shown(pair), expected))
        said[name] = text
    if faults:
        raise Faults(400, *faults)
    return said
