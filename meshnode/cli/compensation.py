"""Compensation: `meshnode compensation` - what surplus takes off a bill, and what shared hours earn."""

from __future__ import annotations

from typing import Annotated, Any

from meshnode.cli.output import answer, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.tokens import when
from meshnode.cli.trading import Asking, currency_of, second_of

compensation = Group("Compensation: what surplus takes off in a billing period, and what shared hours earn.")

START = "first"


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.add("compensation", compensation)


@compensation.command()
def show(
    member: Annotated[str, Argument("MEMBER", 'Name, account id, "me", or "all".')] = "me",
    *,
    how: Asking,
) -> None:
    """Say for each billing period what was bought, what surplus took off, and what of it was lost. Exit 3 if no
    majority confirms a fresh answer.
    """
    found = how.ask("/api/compensation", account=member)
    answer(found, lambda: _periods(found["billing_periods"], currency_of(how.place, how.chain)), how.json)


@compensation.command()
def hours(
    from_: Annotated[str, Option("--from", '"first", or when the first hour begins: 2026-06-21T14:00+02:00.')] = START,
    *,
    how: Asking,
) -> None:
    """Say what was shared within each hour behind each substation, and who received the incentive. Exit 3 if no
    majority confirms a fresh answer.
    """
    start_s = second_of(from_, "--from", START)
    found = how.ask("/api/compensation/hours", from_s=0 if start_s == START else start_s)
    answer(found, lambda: _hours(found["hours"], currency_of(how.place, how.chain)), how.json)


def _periods(found: list[dict[str, Any]], currency: str) -> str:
    from meshnode.amounts import format_energy, format_money

    if not found:
        return "no billing period with compensation or an incentive"
    lines = [
        (
            f"{when(one['first_s'])} to {when(one['until_s'])}",
            one["name"],
            f"{format_energy(one['bought_wh'])} for {format_money(one['bought_u'], currency)}",
            f"{format_energy(one['surplus_wh'])} worth {format_money(one['surplus_u'], currency)}",
            *(format_money(one[name], currency) for name in ("compensated_u", "lost_u", "due_u", "incentive_u")),
            one["status"],
        )
        for one in found
    ]
    return table(lines, ("period", "member", "bought", "surplus", "takes off", "lost", "to pay", "incentive", ""))


def _hours(found: list[dict[str, Any]], currency: str) -> str:
    from meshnode.amounts import format_energy, format_money

    if not found:
        return "no hour with an incentive"
    lines = [
        (
            when(one["hour_s"]),
            one["substation"],
            *(format_energy(one[name]) for name in ("injected_wh", "withdrawn_wh", "shared_wh")),
            format_money(one["incentive_u"], currency),
            ", ".join(f"{name} {format_money(part_u, currency)}" for name, part_u in one["parts"].items()),
        )
        for one in found
    ]
    return table(lines, ("hour", "substation", "injected", "withdrawn", "shared", "earns", "received"))
