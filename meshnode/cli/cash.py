"""Cash: `meshnode cash` - tokens for money outside the ledger, by the cashier or from member to member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from meshnode.cli.ledgers import record_id_of
from meshnode.cli.output import Json, answer, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.place import Chain, Dir, ask_node, node_directory
from meshnode.cli.tokens import HOUR_S, HOURS, Amount, Asset, Hours, when
from meshnode.cli.trading import WAIT_S, Fresh, Key, Wait, act, seconds

if TYPE_CHECKING:
    from meshnode.client import NodeClient

cash = Group("Cash: tokens for money that the ledger does not see.")

Reference = Annotated[str, Option("--reference", "What names the payment outside; each counts once.")]
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
    wait: Wait = WAIT_S,
    key: Key = "",
    directory: Dir = None,
    chain: Chain = "",
    json: Json = False,
) -> int:
    """As cashier: issue tokens to a member who has paid. Exit 1 if the community refuses it, 3 if not known yet."""
    body = {"to": to, "asset": code, "amount": amount, "reference": reference}
    what = f"{amount} {code} issued to {to} for {reference}"
    return act(node_directory(directory), chain, "/api/cash/in", body, wait, key, json, what)


@cash.command()
def ask(
    code: Asset,
    amount: Amount,
    memo: Annotated[str, Option("--memo", "Where to pay; only the cashier and you can read it.")] = "",
    hours: Hours = HOURS,
    wait: Wait = WAIT_S,
    key: Key = "",
    directory: Dir = None,
    chain: Chain = "",
    json: Json = False,
) -> int:
    """Want money for tokens, held until the cashier pays. Exit 1 if the community refuses it, 3 if not known yet."""
    body = {"asset": code, "amount": amount, "for_s": hours * HOUR_S} | ({"memo": memo} if memo else {})
    what = f"{amount} {code} held\n    the cashier says: meshnode cash out ID --reference ..."
    return act(node_directory(directory), chain, "/api/cash/ask", body, wait, key, json, what)


@cash.command()
def out(
    held_id: HeldId,
    reference: Reference,
    wait: Wait = WAIT_S,
    key: Key = "",
    directory: Dir = None,
    chain: Chain = "",
    json: Json = False,
) -> int:
    """As cashier: destroy the tokens of a wish that you have paid. Exit 1 if the community refuses it, 3 if not known
    yet.
    """
    what = f"the tokens are destroyed for {reference}"
    return _step(held_id, "out", {"reference": reference}, what, wait, key, directory, chain, json)


@cash.command()
def sell(
    to: Annotated[str, Option("--to", "Who buys: name or account id.")],
    code: Asset,
    amount: Amount,
    reference: Annotated[str, Option("--reference", "What the buyer is to write on the payment.")] = "",
    hours: Hours = HOURS,
    wait: Wait = WAIT_S,
    key: Key = "",
    directory: Dir = None,
    chain: Chain = "",
    json: Json = False,
) -> int:
    """Sell tokens to a member for money outside. Exit 1 if the community refuses it, 3 if that is not known yet."""
    body = {"to": to, "asset": code, "amount": amount, "for_s": hours * HOUR_S}
    body |= {"reference": reference} if reference else {}
    what = f"{amount} {code} held for {to}\n    when the money has come, say: meshnode cash confirm ID"
    return act(node_directory(directory), chain, "/api/cash/sell", body, wait, key, json, what)


@cash.command()
def confirm(
    held_id: HeldId,
    wait: Wait = WAIT_S,
    key: Key = "",
    directory: Dir = None,
    chain: Chain = "",
    json: Json = False,
) -> int:
    """As seller: the money has come, the tokens are the buyer's. Exit 1 if the community refuses it, 3 if not known
    yet.
    """
    return _step(held_id, "confirm", {}, "the tokens are the buyer's", wait, key, directory, chain, json)


@cash.command()
def release(
    held_id: HeldId,
    wait: Wait = WAIT_S,
    key: Key = "",
    directory: Dir = None,
    chain: Chain = "",
    json: Json = False,
) -> int:
    """As cashier or buyer: let go of what is held for you. Exit 1 if the community refuses it, 3 if not known yet."""
    return _step(held_id, "release", {}, "what was held is its owner's again", wait, key, directory, chain, json)


@cash.command("list")
def list_(directory: Dir = None, chain: Chain = "", fresh: Fresh = False, json: Json = False) -> None:
    """List wishes and sales that are open. Exit 3 if no majority confirms a fresh answer."""

    async def question(node: NodeClient) -> dict[str, Any]:
        found: dict[str, Any] = await node.get("/api/cash", fresh=seconds(fresh))
        return found

    # Memos are read to nobody but who may act for the member.
    found = ask_node(node_directory(directory), chain, question, write=True)
    answer(found, lambda: _open(found["cash"]), json)


def _step(
    held_id: str,
    step: str,
    body: dict[str, Any],
    what: str,
    wait: int,
    key: str,
    directory: Dir,
    chain: str,
    json: bool,
) -> int:
    wanted = record_id_of(held_id, "the id of a wish or a sale", "meshnode cash list").hex()
    return act(node_directory(directory), chain, f"/api/cash/{wanted}/{step}", body, wait, key, json, what)


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
