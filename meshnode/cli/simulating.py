"""Simulating: `meshnode binding simulate` - what another binding would have come to on a recorded ledger."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from meshnode.cli.bindings import mistakes_of
from meshnode.cli.output import Json, answer, colour, progress, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.place import Chain, microgrid_place, node_directory, read_input
from meshnode.cli.tokens import when
from meshnode.cli.trading import second_of

# A table of a hundred refused orders is read by nobody; --json has more of them.
MOST_LISTED = 20


def add_to(app: Group) -> None:
    """Add the command to those of bindings."""
    bindings = app.entries["binding"]
    assert isinstance(bindings, Group)
    bindings.command()(simulate)


def simulate(
    file: Annotated[str, Argument("NEW", "The binding's text to try; - reads it from stdin.")],
    directory: Annotated[Path | None, Option("--ledger", "The node's directory, or a microgrid's ledger.")] = None,
    from_: Annotated[str, Option("--from", "From when on: 2026-06-21T00:00+02:00, or a UTC second.")] = "",
    to: Annotated[str, Option("--to", "Until when; else up to the last block.")] = "",
    against: Annotated[str, Option("--against", "The binding to compare with; else the one in force.")] = "",
    chain: Chain = "",
    json: Json = False,
) -> None:
    """Say what everybody would have paid under another binding, if everybody had acted the same.

    The ledger is executed again under both. Winners and losers, funds and grid among them, come to zero, and each
    difference is told by the line of the binding that it comes from. The node may run meanwhile.
    """
    from meshnode.ledger_tools.simulation import simulate as run
    from meshnode.ledger_tools.simulation_form import form
    from meshnode.plugins import install
    from zencode.reader import read, read_document

    with mistakes_of(file):
        new = read_document(read_input(file))
    old = None
    if against:
        with mistakes_of(against):
            old = read(read_input(against))
    place = microgrid_place(node_directory(directory), chain)
    with progress("executing the ledger again", not json) as show, mistakes_of(file):
        found = run(
            place,
            new,
            install(),
            against=old,
            from_s=_second(from_, "--from"),
            to_s=_second(to, "--to"),
            progress=show,
        )
    value = form(found, new.language)
    answer(value, lambda: _told(value), json)


def _second(text: str, flag: str) -> int | None:
    return int(second_of(text, flag, "")) if text else None


def _told(value: dict[str, Any]) -> str:
    currency = value["currency"]
    parts = [
        f"{colour(value['headline'].capitalize(), 'bold', sys.stdout)}: {value['community']}, "
        f"{when(value['from_s'])} to {when(value['to_s'])}, {_periods(value)}",
        f"replaying the binding in force: {value['reproduced']['state_hashes']} state hashes and the bills of "
        f"{value['reproduced']['claims']} accounts are exactly those on the ledger",
        _accounts(value, currency),
        "Together with funds and grid: 0.00 " + currency,
        *_steps(value, currency),
        *_records(value),
        *_holdings(value),
    ]
    return "\n\n".join(parts)


def _periods(value: dict[str, Any]) -> str:
    open_ = value["periods"] - value["final_periods"]
    return f"{value['periods']} settlement periods" + (f", {open_} of them may still be corrected" if open_ else "")


def _accounts(value: dict[str, Any], currency: str) -> str:
    from meshnode.amounts import format_money

    def money(amount_u: int) -> str:
        return format_money(amount_u, currency)

    parts = ("neighbours", "grid", "fees", "levies", "other")
    shown = [part for part in parts if any(one[side][f"{part}_u"] for one in value["accounts"] for side in _SIDES)]
    rows = []
    for one in value["accounts"]:
        kind = "" if one["kind"] == "member" else one["kind"]
        for side in _SIDES:
            bill = one[side]
            rows.append(
                [
                    *((one["name"], kind) if side == "old" else ("", "")),
                    side,
                    money(bill["total_u"]),
                    *(money(bill[f"{part}_u"]) for part in shown),
                    "" if side == "old" else _signed(one["gain_u"], currency),
                ]
            )
    return table(rows, ["account", "", "binding", "to pay", *shown, "better off by"])


def _steps(value: dict[str, Any], currency: str) -> list[str]:
    if not value["steps"]:
        return ["The two bindings say the same."]
    found = ["What it comes from, each line after all those above it:"]
    for step in value["steps"]:
        lines = [_change(change) for change in step["changes"]]
        if len(step["changes"]) > 1:
            lines.append("  (these could not be told apart: they make a binding together, or there are too many)")
        gains = [f"{one['name']} {_signed(one['gain_u'], currency)}" for one in step["gains"]]
        lines.append("    " + (", ".join(gains) or "nobody pays more or less"))
        if step["refused"]:
            lines.append(f"    {abs(step['refused'])} records {'more' if step['refused'] > 0 else 'fewer'} refused")
        found.append("\n".join(lines))
    return found


def _change(change: dict[str, Any]) -> str:
    place = f"line {change['line']}" if change["added"] else f"after line {change['line']}"
    lines = [colour(f"- {text}", "red", sys.stdout) for text in change["removed"]]
    lines += [colour(f"+ {text}", "green", sys.stdout) for text in change["added"]]
    return "\n".join([f"  {place}:", *(f"    {line}" for line in lines)])


def _records(value: dict[str, Any]) -> list[str]:
    if not value["differing_records"]:
        return ["Every order and every other record fares the same."]
    rows = [
        [one["kind"], one["name"], one["id"][:16], one["old"]["meaning"], one["new"]["meaning"]]
        for one in value["records_listed"][:MOST_LISTED]
    ]
    count = value["differing_records"]
    more = f", the first {len(rows)} of them:" if count > len(rows) else ":"
    return [f"{count} records fare otherwise{more}", table(rows, ["record", "of", "id", "old", "new"])]


def _holdings(value: dict[str, Any]) -> list[str]:
    if not value["holdings"]:
        return []
    rows = [[one["name"], one["asset"], str(one["old"]), str(one["new"])] for one in value["holdings"][:MOST_LISTED]]
    return ["Assets that they would have otherwise, in units:", table(rows, ["account", "asset", "old", "new"])]


def _signed(amount_u: int, currency: str) -> str:
    from meshnode.amounts import format_money

    return ("+" if amount_u > 0 else "") + format_money(amount_u, currency)


_SIDES = ("old", "new")
