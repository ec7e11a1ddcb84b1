"""Cash: `meshnode cash` - tokens for money outside the ledger, by the cashier or from member to member."""

from __future__ import annotations

from typing import Annotated, Any

from meshnode.cli.output import answer, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.tokens import HOUR_S, HOURS, Amount, Asset, Hours, when
from meshnode.cli.trading import Acting, Asking

cash = Group("Cash: tokens for money that the ledger does not see.")

Reference = Annotated[str, Option("--reference", "What names the payment outside; each counts once.")]
HELD = ("the id of a wish or a sale", "meshnode cash list")

HeldId = Annotated[str, Argument("ID", "The record id that meshnode cash list shows.")]


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.add("cash", cash)


@cash.command("in")
def money_in(
    to: Annotated[str, Argument("MEMBER", "Who has paid: name or account id.")],
    code: Asset,
    amount: Amount,
    reference: Reference,
    *,
    how: Acting,
) -> int:
    """As cashier: issue tokens to a member who has paid. Exit 1 if the community refuses it, 3 if not known yet."""
    body = {"to": to, "asset": code, "amount": amount, "reference": reference}
    what = f"{amount} {code} issued to {to} for {reference}"
    return how.act("/api/cash/in", body, what)


@cash.command()
def ask(
    code: Asset,
    amount: Amount,
    memo: Annotated[str, Option("--memo", "Where to pay; only the cashier and you can read it.")] = "",
    hours: Hours = HOURS,
    *,
    how: Acting,
) -> int:
    """Want money for tokens, held until the cashier pays. Exit 1 if the community refuses it, 3 if not known yet."""
    body = {"asset": code, "amount": amount, "for_s": hours * HOUR_S} | ({"memo": memo} if memo else {})
    what = f"{amount} {code} held\n    the cashier says: meshnode cash out ID --reference ..."
    return how.act("/api/cash/ask", body, what)


@cash.command()
def out(held_id: HeldId, reference: Reference, *, how: Acting) -> int:
    """As cashier: destroy the tokens of a wish that you have paid. Exit 1 if the community refuses it, 3 if not known
    yet.
    """
    what = f"the tokens are destroyed for {reference}"
    return how.step("/api/cash/ID/out", held_id, what, *HELD, body={"reference": reference})


@cash.command()
def sell(
    to: Annotated[str, Option("--to", "Who buys: name or account id.")],
    code: Asset,
    amount: Amount,
    reference: Annotated[str, Option("--reference", "What the buyer is to write on the payment.")] = "",
    hours: Hours = HOURS,
    *,
    how: Acting,
) -> int:
    """Sell tokens to a member for money outside. Exit 1 if the community refuses it, 3 if that is not known yet."""
    body = {"to": to, "asset": code, "amount": amount, "for_s": hours * HOUR_S}
    body |= {"reference": reference} if reference else {}
    what = f"{amount} {code} held for {to}\n    when the money has come, say: meshnode cash confirm ID"
    return how.act("/api/cash/sell", body, what)


@cash.command()
def confirm(held_id: HeldId, *, how: Acting) -> int:
    """As seller: the money has come, the tokens are the buyer's. Exit 1 if the community refuses it, 3 if not known
    yet.
    """
    return how.step("/api/cash/ID/confirm", held_id, "the tokens are the buyer's", *HELD)


@cash.command()
def release(held_id: HeldId, *, how: Acting) -> int:
    """As cashier or buyer: let go of what is held for you. Exit 1 if the community refuses it, 3 if not known yet."""
    return how.step("/api/cash/ID/release", held_id, "what was held is its owner's again", *HELD)


@cash.command("list")
def list_(*, how: Asking) -> None:
    """List wishes and sales that are open. Exit 3 if no majority confirms a fresh answer."""
    # Memos are read to nobody but who may act for the member.
    found = how.ask("/api/cash", write=True)
    answer(found, lambda: _open(found["cash"]), how.json)


def _open(found: list[dict[str, Any]]) -> str:
    if not found:
        return "nothing is open"
    lines = [
        (
            one["what"],
            one["owner"],
            one["to"],
            f"{one['amount']} {one['asset']}",
            when(one["until_s"]),
            one["memo"] or one["reference"],
            one["id"],
        )
        for one in found
    ]
    return table(lines, ("what", "from", "to", "amount", "until", "memo or reference", "id"))
