"""Cash: the endpoints about tokens for money outside the ledger - by the cashier, or from member to member."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.ledger import assets, rows
from meshnode.memos import Place
from meshnode.web import asking
from meshnode.web.asking import Field, takes
from meshnode.web.backend import Backend
from meshnode.web.faults import answer
from meshnode.web.figures import ask
from meshnode.web.fresh import with_fresh
from meshnode.web.speaking import account_of, say, spoken_once
from meshnode.web.tokens import FOR_S, MEMBER, amount_field, asset_field, hold_row, page, sealed
from protocols.records import Cash, CashAsk, CashConfirm, CashIn, CashOut, CashRelease, CashSell
from protocols.records.statements import RECORD_ID_BYTES

_REFERENCE = Field("reference", "what names the payment outside; each counts once", asking.text)
_IN = (asset_field("asset"), Field("to", f"{MEMBER} who has paid", asking.text), amount_field(), _REFERENCE)
_ASK = (
    asset_field("asset"),
    amount_field(),
    FOR_S,
    Field("memo", "where to pay, for the cashier alone", asking.text, optional=True),
)
_OUT = (_REFERENCE,)
_SELL = (
    Field("to", f"{MEMBER} who buys", asking.text),
    asset_field("asset"),
    amount_field(),
    FOR_S,
    Field("reference", "what the buyer is to write on the payment", asking.text, optional=True),
)
_PURPOSES = {rows.HOLD_CASH: "ask", rows.HOLD_SALE: "sale"}


class CashDesk:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a writing request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/cash", with_fresh(self._backend, self.open)),
            Route("/api/cash/in", self.money_in, methods=["POST"]),
            Route("/api/cash/ask", self.ask, methods=["POST"]),
            Route("/api/cash/sell", self.sell, methods=["POST"]),
            Route("/api/cash/{id}/out", self.out, methods=["POST"]),
            Route("/api/cash/{id}/confirm", self.confirm, methods=["POST"]),
            Route("/api/cash/{id}/release", self.release, methods=["POST"]),
        ]

    async def open(self, request: Request) -> Response:
        """GET /api/cash?limit&skip: open wishes for money ("ask") and sales ("sale"); with the token, memos."""
        held = self._backend.machine.state.holds.items()
        holds, more = page(request, (item for item in held if item[1].purpose in _PURPOSES))
        notes = await ask(lambda views: {hold_id: views.note(hold_id) for hold_id, _ in holds}, self._backend.views)
        may_read = asking.has_token(request, self._token)
        rows_ = [self._row(hold_id, hold, notes[hold_id], may_read) for hold_id, hold in holds]
        return answer({"cash": rows_, "next": more})

    @takes(_IN)
    async def money_in(self, request: Request) -> Response:
        """POST /api/cash/in: as cashier, issue tokens to a member who has paid."""
        given = await self._given(request, _IN)
        given["to"] = account_of(self._backend, given["to"], "to")
        return await self._say(request, CashIn(**given))

    @takes(_ASK)
    async def ask(self, request: Request) -> Response:
        """POST /api/cash/ask: want money for tokens; they are held until the cashier has paid."""
        given = await self._given(request, _ASK)
        text = given.pop("memo", None)
        spoken = spoken_once(self._backend, request)
        given["until_s"] = self._backend.clock.now_s() + given.pop("for_s")
        if text is not None:
            cashier = assets.rules(self._backend.machine.state, given["asset"]).cashier
            place = Place(self._backend.account, spoken["nonce"], cashier, given["asset"], given["amount"])
            given["memo"] = sealed(self._backend, text, place)
        return await say(self._backend, Cash(**spoken, step=CashAsk(**given)))

    @takes(_SELL)
    async def sell(self, request: Request) -> Response:
        """POST /api/cash/sell: sell tokens to a member for money outside; they are held until you confirm it."""
        given = await self._given(request, _SELL)
        given["to"] = account_of(self._backend, given["to"], "to")
        given["until_s"] = self._backend.clock.now_s() + given.pop("for_s")
        return await self._say(request, CashSell(**given))

    @takes(_OUT)
    async def out(self, request: Request) -> Response:
        """POST /api/cash/{id}/out: as cashier, destroy the tokens of a wish that you have paid."""
        given = await self._given(request, _OUT)
        return await self._say(request, CashOut(ask=_id(request), **given))

    async def confirm(self, request: Request) -> Response:
        """POST /api/cash/{id}/confirm: as seller, say that the money has come; the tokens are the buyer's."""
        asking.check_token(request, self._token)
        return await self._say(request, CashConfirm(sale=_id(request)))

    async def release(self, request: Request) -> Response:
        """POST /api/cash/{id}/release: as cashier or buyer, let go of what is held for you."""
        asking.check_token(request, self._token)
        return await self._say(request, CashRelease(held=_id(request)))

    def _row(self, hold_id: bytes, hold: rows.Hold, note: tuple[bytes, int, str], may_read: bool) -> dict[str, Any]:
        memo, nonce, reference = note
        text = None
        if memo and may_read:
            place = Place(hold.owner, nonce, hold.to, hold.asset, hold.amount)
            text = self._backend.memos.read(memo, place)
        row = {"what": _PURPOSES[hold.purpose], **hold_row(self._backend, hold_id, hold)}
        return row | {"memo": text, "reference": reference}

    async def _given(self, request: Request, wanted: tuple[Field, ...]) -> dict[str, Any]:
        asking.check_token(request, self._token)
        return await asking.fields(request, wanted)

    async def _say(self, request: Request, step: CashIn | CashOut | CashSell | CashConfirm | CashRelease) -> Response:
        return await say(self._backend, Cash(**spoken_once(self._backend, request), step=step))


def _id(request: Request) -> bytes:
    return asking.hex_id(request.path_params["id"], "id", RECORD_ID_BYTES)
