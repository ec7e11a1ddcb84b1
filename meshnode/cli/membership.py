"""Membership: `meshnode requests`, `bills` and `warnings` - who asks to join, what is due, who ought to look."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from meshnode.cli.output import answer, table
from meshnode.cli.parser import Argument, Group
from meshnode.cli.place import Where
from meshnode.cli.trading import Acting, currency_of

requests = Group("Requests: newcomers about whom the binding asks the members.", default="list", alone=True)

Request = Annotated[str, Argument("ID", "The request's id, as meshnode requests lists it.")]
_NAMES = ("a request's id", "meshnode requests")


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.add("requests", requests)
    app.command()(bills)
    app.command()(warnings)


@requests.command("list")
def list_requests(*, how: Where) -> None:
    """List who asks to join, and how many members have agreed."""
    found = how.ask("/api/requests")
    answer(found, lambda: _requests(found["requests"]), how.json)


@requests.command()
def agree(request: Request, *, how: Acting) -> int:
    """Say that a newcomer may join. Exit 1 if the community refuses it, 3 if that is not known yet."""
    return how.step("/api/requests/ID/vote", request, "you agree", *_NAMES, body={"agrees": 1})


@requests.command()
def decline(request: Request, *, how: Acting) -> int:
    """Say that a newcomer may not join. Exit 1 if the community refuses it, 3 if that is not known yet."""
    return how.step("/api/requests/ID/vote", request, "you do not agree", *_NAMES, body={"agrees": 0})


def bills(
    member: Annotated[str, Argument("[MEMBER]", "Name, account id, or all; you, if nobody.")] = "me", *, how: Where
) -> None:
    """Say what a member's newest bill comes to."""
    found = how.ask("/api/bills", account=member)
    answer(found, lambda: _bills(found["bills"], currency_of(how.place, how.chain)), how.json)


def warnings(*, how: Where) -> None:
    """List what the binding warns you of, newest first."""
    found = how.ask("/api/warnings")
    answer(found, lambda: _warnings(found["warnings"]), how.json)


def _requests(found: list[dict[str, Any]]) -> str:
    rows = [
        (
            one["name"],
            ", ".join(one["roles"]),
            f"{len(one['agreed'])} agree, {len(one['against'])} do not",
            f"{one['needed_ppm'] / 10_000:g} %",
            _time(one["until_s"]),
            one["id"],
        )
        for one in found
    ]
    return table(rows, ("name", "roles", "so far", "needed", "until", "id"))


def _bills(found: list[dict[str, Any]], currency: str) -> str:
    from meshnode.amounts import format_money

    def money(amount_u: int) -> str:
        return format_money(amount_u, currency)

    rows = [
        (
            one["member"],
            _time(one["from_s"]),
            _time(one["until_s"]),
            *(money(one[name]) for name in ("charges_u", "credits_u", "tax_u", "pay_u", "receive_u")),
            f"{one['collector']} by {_time(one['due_s'])}" if one["due_s"] else one["collector"],
        )
        for one in found
    ]
    heads = ("member", "from", "to", "charges", "credits", "tax", "to pay", "to receive", "collected by")
    return table(rows, heads)


def _warnings(found: list[dict[str, Any]]) -> str:
    rows = [(_time(one["time_s"]), one["event"], one["member"], one["meter"]) for one in found]
    return table(rows, ("when", "what", "member", "meter"))


def _time(utc_s: int) -> str:
    return datetime.fromtimestamp(utc_s).strftime("%Y-%m-%d %H:%M")
