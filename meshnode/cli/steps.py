"""Steps: `meshnode order missing` and `order commitment` - what comes before an order."""

from __future__ import annotations

from typing import Annotated, Any

from meshnode.cli.ledgers import record_id_of
from meshnode.cli.output import NO, Fault, answer, table
from meshnode.cli.parser import FINE, Argument, Group, Option
from meshnode.cli.place import Where
from meshnode.cli.standing import terms_typed
from meshnode.cli.tokens import when
from meshnode.cli.trading import (
    Acting,
    Asking,
    First,
    Good,
    PaidWith,
    Price,
    Unbacked,
    Under,
    Units,
    Until,
    order,
)

commitment = Group("Commitments: say by its hash what you are going to order, before you do.")

_SAY = Option("--say", "An attribute of the order's documents; may be given again.", "NAME=TEXT")


def add_to(app: Group) -> None:
    """Add the commands to those about orders."""
    order.add("commitment", commitment)


@order.command()
def missing(said: Annotated[list[str] | None, _SAY] = None, *, how: Where) -> int:
    """Name the attributes that an order's documents still lack. Exit 1 if any is missing."""
    found = how.ask("/api/steps/missing", said=said or None)
    complete = f"nothing is missing; the attributes' hash is {found['attributes']}"
    answer(found, lambda: "\n".join(f"missing: {name}" for name in found["missing"]) or complete, how.json)
    return NO if found["missing"] else FINE


@commitment.command()
def prepare(said: Annotated[list[str], _SAY], *, how: Acting) -> int:
    """Commit to step 1: all attributes are there; the community learns their hash alone. A missing one is named. Exit 1
    if the community refuses it, 3 if that is not known yet.
    """
    attributes = {}
    for pair in said:
        name, equals, text = pair.partition("=")
        if not equals:
            raise Fault(f"--say {pair}: expected NAME=TEXT\n    see: meshnode order missing")
        attributes[name] = text
    what = "step 1 is on the ledger\n    step 2 says: meshnode order commitment book ID ..."
    body = {"attributes": attributes}
    return how.act("/api/steps/prepare", body, what)


@commitment.command()
def book(
    step: Annotated[str, Argument("STEP", "The record id of step 1.")],
    side: Annotated[str, Argument("SIDE", "buy or sell.")],
    asset: Annotated[str, Option("--asset", "Units of this asset.")],
    amount: Units,
    price: Price,
    paid_with: PaidWith,
    good: Good = "till-cancelled",
    until: Until = "",
    unbacked: Unbacked = False,
    first: First = "",
    contract: Under = "",
    *,
    how: Acting,
) -> int:
    """Commit to step 2: the terms of the order, by their hash; the order then says the same, with --booked. Exit 1 if
    the community refuses it, 3 if that is not known yet.
    """
    if side not in ("buy", "sell"):
        raise Fault(f"{side}: expected buy or sell")
    typed = {"price": price, "amount": amount, "paid_with": paid_with, "good": good, "until": until}
    typed |= {"unbacked": unbacked, "first": first, "contract": contract}
    body = {"prepared": record_id_of(step, "a step's id", "meshnode order commitment list").hex(), "side": side}
    body |= {"asset": asset} | terms_typed(typed)
    what = f"step 2 is on the ledger\n    give the order with: meshnode order {side} ... --booked ID"
    return how.act("/api/steps/book", body, what)


@commitment.command("list")
def list_(*, how: Asking) -> None:
    """List the steps that you have committed to and whose order has not come; order cancel takes one back. Exit 3 if no
    majority confirms a fresh answer.
    """
    found = how.ask("/api/steps")
    answer(found, lambda: _steps(found["steps"]), how.json)


def _steps(found: list[dict[str, Any]]) -> str:
    if not found:
        return "no commitments"
    lines = [(one["state"].replace("_", "-"), one["said"], when(one["until_s"]), one["id"]) for one in found]
    return table(lines, ("step", "says", "until", "id"))
