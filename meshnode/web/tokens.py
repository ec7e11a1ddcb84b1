"""Tokens: the endpoints about assets - what there is, who has it, passing it on, destroying and exchanging it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.ledger import assets, rows
from meshnode.ledger.holds import MAX_HOLD_S
from meshnode.ledger.movements import What
from meshnode.memos import MAX_MEMO_TEXT_BYTES, MemoError, Place
from meshnode.views import END_POSTING, END_S, MAX_ROWS
from meshnode.web import asking
from meshnode.web.asking import Field, takes
from meshnode.web.backend import Backend
from meshnode.web.faults import Fault, Faults, answer, shown
from meshnode.web.figures import ask
from meshnode.web.fresh import with_fresh
from meshnode.web.speaking import account_asked, account_of, say, spoken_once
from protocols.records import (
    MEASURE_EXPORT,
    MEASURE_IMPORT,
    MEASURE_PRODUCED,
    POLICY_ISSUER,
    POLICY_METER,
    POLICY_ONCE,
    AssetIssue,
    Burn,
    Exchange,
    ExchangeAccept,
    ExchangeOffer,
    ExchangeWithdraw,
    Transfer,
)
from protocols.records.statements import MAX_AMOUNT, MAX_ORDER_WH, RECORD_ID_BYTES

DEFAULT_ROWS = 96
# More balances than a full community with all its assets has; offers and wishes are fewer.
MAX_SKIP = 1 << 20
R = TypeVar("R")
KINDS = {"money": 0, "energy": 1, "utility": 2}
POLICIES = {"issuer": POLICY_ISSUER, "meter": POLICY_METER, "once": POLICY_ONCE}
BURNING = {"owner": 0, "issuer": 1}
MEASURES = {"import": MEASURE_IMPORT, "export": MEASURE_EXPORT, "produced": MEASURE_PRODUCED}

_AMOUNT = asking.number(1, MAX_AMOUNT)
_AMOUNT_WORDS = f"a whole number from 1 to {MAX_AMOUNT}"
MEMBER = "a member's name or account id"
FOR_S = Field("for_s", f"seconds from now, 1 to {MAX_HOLD_S}", asking.number(1, MAX_HOLD_S))


def asset_field(name: str, what: str = "the asset's code") -> Field:
    """A field that names an asset."""
    return Field(name, what, asking.text)


def amount_field(name: str = "amount") -> Field:
    """A field with an amount of an asset, in its smallest unit."""
    return Field(name, _AMOUNT_WORDS, _AMOUNT)


_ISSUE = (
    asset_field("asset", "a code; one that is not taken creates an asset"),
    Field("kind", '"money", "energy" or "utility"', asking.choice(KINDS)),
    Field("cap", _AMOUNT_WORDS, _AMOUNT),
    Field("amount", f"a whole number from 0 to {MAX_AMOUNT}", asking.number(0, MAX_AMOUNT)),
    Field("policy", '"issuer", "meter" or "once"', asking.choice(POLICIES), optional=True),
    Field("burning", '"owner" or "issuer"', asking.choice(BURNING), optional=True),
    Field("measure", '"import", "export" or "produced"', asking.choice(MEASURES), optional=True),
    Field("unit_wh", f"Wh from 1 to {MAX_ORDER_WH}", asking.number(1, MAX_ORDER_WH), optional=True),
    Field("settles", "1 if closed periods are paid with it, else 0", asking.number(0, 1), optional=True),
    Field("cashier", MEMBER, asking.text, optional=True),
)
_TRANSFER = (
    Field("to", MEMBER, asking.text),
    asset_field("asset"),
    amount_field(),
    Field("memo", f"text of at most {MAX_MEMO_TEXT_BYTES} bytes for the receiver", asking.text, optional=True),
)
_BURN = (asset_field("asset"), amount_field())
_EXCHANGE = (
    asset_field("give", "code of the asset that you give"),
    amount_field("give_amount"),
    asset_field("want", "code of the asset that you want"),
    amount_field("want_amount"),
    FOR_S,
    Field("to", f"{MEMBER}, if nobody else may accept", asking.text, optional=True),
)


class Tokens:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a writing request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        reading = {
            "/api/assets": self.assets,
            "/api/balances": self.balances,
            "/api/movements": self.movements,
            "/api/pairs": self.pairs,
            "/api/exchanges": self.exchanges,
        }
        return [
            *(Route(path, with_fresh(self._backend, answerer)) for path, answerer in reading.items()),
            Route("/api/assets", self.issue, methods=["POST"]),
            Route("/api/transfers", self.transfer, methods=["POST"]),
            Route("/api/burns", self.burn, methods=["POST"]),
            Route("/api/exchanges", self.offer, methods=["POST"]),
            Route("/api/exchanges/{id}/accept", self.accept, methods=["POST"]),
            Route("/api/exchanges/{id}/withdraw", self.withdraw, methods=["POST"]),
        ]

    # --- reading

    async def assets(self, _request: Request) -> Response:
        """GET /api/assets: {"assets": what there is, with its rules and its supply, by code}."""
        state = self._backend.machine.state
        found = []
        for code, asset in state.assets.items():
            rule = assets.rules(state, code)
            found.append(
                {
                    "asset": code,
                    "kind": _word(KINDS, asset.kind),
                    "issuer": name_of(self._backend, asset.issuer),
                    "cap": asset.cap,
                    "supply": asset.supply,
                    "policy": _word(POLICIES, rule.policy),
                    "burning": _word(BURNING, rule.burning),
                    "measure": _word(MEASURES, rule.measure) if rule.measure else "",
                    "unit_wh": rule.unit_wh,
                    "settles": bool(rule.settles),
                    "cashier": name_of(self._backend, rule.cashier),
                }
            )
        return answer({"assets": found})

    async def balances(self, request: Request) -> Response:
        """GET /api/balances?account&limit&skip: what a member has of each asset, free and held; account=all: all."""
        account = account_asked(self._backend, request)
        table = self._backend.machine.state.balances
        found = table.items() if account is None else table.range((account, ""), (account + b"\0", ""))
        rows_, more = page(request, found)
        return answer(
            {
                "balances": [
                    {"account": owner.hex(), "name": name_of(self._backend, owner), "asset": code, **_fields(row)}
                    for (owner, code), row in rows_
                ],
                "next": more,
            }
        )

    async def movements(self, request: Request) -> Response:
        """GET /api/movements?account&asset&below&limit: newest first; with the token, your memos as text."""
        limit = asking.whole(request, "limit", DEFAULT_ROWS, 1, MAX_ROWS)
        below = asking.whole(request, "below", END_POSTING, 0, END_POSTING)
        account, asset = account_asked(self._backend, request), request.query_params.get("asset")
        found = await ask(lambda views: views.movements(account, asset, limit, below), self._backend.views)
        more = {"below": found[-1].number} if len(found) == limit else None
        may_read = asking.has_token(request, self._token)
        return answer({"movements": [self._with_memo(_fields(row), may_read) for row in found], "next": more})

    async def pairs(self, request: Request) -> Response:
        """GET /api/pairs?account&from_s&to_s&limit: measurement and payment of each period, by one id, in order."""
        limit = asking.whole(request, "limit", DEFAULT_ROWS, 1, MAX_ROWS)
        from_s, to_s = (asking.whole(request, name, end, 0, END_S) for name, end in (("from_s", 0), ("to_s", END_S)))
        account = account_asked(self._backend, request)
        found = await ask(lambda views: views.pairs(account, from_s, to_s, limit), self._backend.views)
        more = {"from_s": found[-1].start_s} if len(found) == limit else None
        return answer({"pairs": found, "next": more})

    async def exchanges(self, request: Request) -> Response:
        """GET /api/exchanges?limit&skip: offers that can be accepted, and whether this node's member may."""
        me = self._backend.account
        held = self._backend.machine.state.holds.items()
        offers, more = page(request, (item for item in held if item[1].purpose == rows.HOLD_EXCHANGE))
        return answer(
            {
                "exchanges": [
                    {
                        **hold_row(self._backend, hold_id, hold),
                        "want": hold.want,
                        "want_amount": hold.want_amount,
                        "for_me": hold.owner != me and hold.to in (b"", me),
                    }
                    for hold_id, hold in offers
                ],
                "next": more,
            }
        )

    # --- writing

    @takes(_ISSUE)
    async def issue(self, request: Request) -> Response:
        """POST /api/assets: create an asset, or mint more of one of yours."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _ISSUE)
        given["asset_kind"] = given.pop("kind")
        if "cashier" in given:
            given["cashier"] = account_of(self._backend, given["cashier"], "cashier")
        return await say(self._backend, AssetIssue(**spoken_once(self._backend, request), **given))

    @takes(_TRANSFER)
    async def transfer(self, request: Request) -> Response:
        """POST /api/transfers: send an amount of an asset to a member, with a memo for the two of you alone."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _TRANSFER)
        text = given.pop("memo", None)
        given["to"] = account_of(self._backend, given["to"], "to")
        record = Transfer(**spoken_once(self._backend, request), **given)
        if text is not None:
            place = Place(self._backend.account, record.nonce, record.to, record.asset, record.amount)
            record = msgspec.structs.replace(record, memo=sealed(self._backend, text, place))
        return await say(self._backend, record)

    @takes(_BURN)
    async def burn(self, request: Request) -> Response:
        """POST /api/burns: destroy an amount of your own."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _BURN)
        return await say(self._backend, Burn(**spoken_once(self._backend, request), **given))

    @takes(_EXCHANGE)
    async def offer(self, request: Request) -> Response:
        """POST /api/exchanges: offer one asset for another; what you give is held until somebody accepts."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _EXCHANGE)
        given["until_s"] = self._backend.clock.now_s() + given.pop("for_s")
        if "to" in given:
            given["to"] = account_of(self._backend, given["to"], "to")
        return await say(self._backend, Exchange(**spoken_once(self._backend, request), step=ExchangeOffer(**given)))

    async def accept(self, request: Request) -> Response:
        """POST /api/exchanges/{id}/accept: both amounts change hands, or neither."""
        return await self._step(request, ExchangeAccept)

    async def withdraw(self, request: Request) -> Response:
        """POST /api/exchanges/{id}/withdraw: take back your offer, or decline one made to you alone."""
        return await self._step(request, ExchangeWithdraw)

    async def _step(self, request: Request, make: type[ExchangeAccept] | type[ExchangeWithdraw]) -> Response:
        asking.check_token(request, self._token)
        offer = asking.hex_id(request.path_params["id"], "offer id", RECORD_ID_BYTES)
        return await say(self._backend, Exchange(**spoken_once(self._backend, request), step=make(offer=offer)))

    def _with_memo(self, row: dict[str, Any], may_read: bool) -> dict[str, Any]:
        """A movement, with its memo as text, or null: there is none, it is for others, or who asks may not read it."""
        memo, nonce = bytes.fromhex(row["memo"]), row.pop("nonce")
        text = None
        if memo and may_read and row["what"] == What.TRANSFER.name.lower():
            ends = bytes.fromhex(row["giver"]), bytes.fromhex(row["taker"])
            text = self._backend.memos.read(memo, Place(ends[0], nonce, ends[1], row["asset"], row["amount"]))
        return row | {"memo": text, "has_memo": bool(memo)}


def page(request: Request, items: Iterable[R]) -> tuple[list[R], dict[str, int] | None]:
    """The rows that the query's limit and skip mean, and the query that goes on; None at the end."""
    limit = asking.whole(request, "limit", DEFAULT_ROWS, 1, MAX_ROWS)
    skip = asking.whole(request, "skip", 0, 0, MAX_SKIP)
    found = list(islice(items, skip, skip + limit + 1))
    return found[:limit], {"skip": skip + limit} if len(found) > limit else None


def sealed(backend: Backend, text: str, place: Place) -> bytes:
    """A memo of this node's member. Raises Faults: it cannot be written."""
    try:
        return backend.memos.sealed(text, place, backend.machine.state)
    except MemoError as error:
        raise Faults(400, Fault("memo", shown(text), str(error))) from error


def name_of(backend: Backend, account: bytes) -> str:
    """The name of a member; empty for nobody."""
    row = backend.machine.state.accounts.get(account)
    return "" if row is None else row.name


def hold_row(backend: Backend, hold_id: bytes, hold: rows.Hold) -> dict[str, Any]:
    """What is held, for whom and until when, as JSON values."""
    return {
        "id": hold_id.hex(),
        "owner": name_of(backend, hold.owner),
        "to": name_of(backend, hold.to),
        "asset": hold.asset,
        "amount": hold.amount,
        "until_s": hold.until_s,
    }


def _word(table: Mapping[str, int], code: int) -> str:
    return next(word for word, number in table.items() if number == code)


def _fields(row: msgspec.Struct) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.structs.asdict(row)
    return found
