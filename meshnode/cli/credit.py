"""Credit: `meshnode credit` - what members may owe and do owe, and what they leave as a security."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from meshnode.cli.output import answer, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.place import ask_node
from meshnode.cli.tokens import Amount, Asset
from meshnode.cli.trading import Acting, Asking, currency_of, seconds

if TYPE_CHECKING:
    from meshnode.client import NodeClient

credit = Group("Credit: what members may owe, what they do owe, and their deposits.")

NO_LIMIT = "none"


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.add("credit", credit)


@credit.command()
def limit(
    most: Annotated[str, Argument("AMOUNT", 'So much may be owed beyond what is there, like "25 EUR"; or none.')],
    member: Annotated[str, Option("--member", "Whose; every member's without one of its own, if nobody's.")] = "",
    *,
    how: Acting,
) -> int:
    """Bound what a member may owe and promise (administrators; suppliers for their customers). Exit 1 if the community
    refuses it, 3 if that is not known yet.
    """
    from meshnode.amounts import parse_money

    body: dict[str, Any] = {"member": member} if member else {}
    if most != NO_LIMIT:
        body["limit_u"] = parse_money(most, currency_of(how.place, how.chain))
    whose = member or "every member without a limit of its own"
    what = f"{whose} may owe {most}" if most != NO_LIMIT else f"no limit for {whose}"
    return how.act("/api/credit/limits", body, what)


@credit.command()
def deposit(
    code: Asset,
    amount: Amount,
    to: Annotated[str, Option("--to", "An administrator, or your supplier, who may give it back.")],
    *,
    how: Acting,
) -> int:
    """Leave an amount as a security. Exit 1 if the community refuses it, 3 if that is not known yet."""
    body = {"asset": code, "amount": amount, "to": to}
    what = f"{amount} {code} held as your deposit\n    {to} gives it back with: meshnode credit release ID"
    return how.act("/api/deposits", body, what)


@credit.command()
def release(
    deposit_id: Annotated[str, Argument("ID", "The deposit's record id, as meshnode credit show lists it.")],
    *,
    how: Acting,
) -> int:
    """Give a deposit back, less what its owner owes. Exit 1 if the community refuses it, 3 if not known yet."""
    what = "the deposit is its owner's again, less what it owed"
    return how.step("/api/deposits/ID/release", deposit_id, what, "a deposit's id", "meshnode credit show")


@credit.command()
def show(
    member: Annotated[str, Argument("MEMBER", "Name, account id, or all; you, if nobody.")] = "me",
    *,
    how: Asking,
) -> None:
    """Say what a member has, owes, has promised, and may still. Exit 3 if no majority confirms a fresh answer."""

    async def ask(node: NodeClient) -> dict[str, Any]:
        found: dict[str, Any] = await node.get("/api/credit", account=member, fresh=seconds(how.fresh))
        return found | {"deposits": (await node.get("/api/deposits"))["deposits"]}

    found = ask_node(how.place, how.chain, ask)
    answer(found, lambda: _members(found, currency_of(how.place, how.chain)), how.json)


def _members(found: dict[str, Any], currency: str) -> str:
    from meshnode.amounts import format_money

    def money(amount_u: int | None) -> str:
        return "" if amount_u is None else format_money(amount_u, currency)

    lines = [
        (
            one["name"],
            money(one["cash_u"]),
            money(one["owed_u"]),
            ", ".join(f"{amount} for {code}" for code, amount in one["arrears"].items()),
            money(one["promised_u"]),
            money(one["limit_u"]),
            money(one["left_u"]),
        )
        for one in found["credit"]
    ]
    shown = [table(lines, ("member", "has", "owes", "in arrears", "has promised", "limit", "may still"))]
    held = [(one["owner"], f"{one['amount']} {one['asset']}", one["to"], one["id"]) for one in found["deposits"]]
    shown += [table(held, ("deposit of", "amount", "with", "id"))] if held else []
    return "\n".join(shown)
