"""Contracts: `meshnode contract` - what two members promise one another, before any order under it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Any

from meshnode.cli.output import answer, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.place import read_input
from meshnode.cli.tokens import when
from meshnode.cli.trading import Acting, Asking, currency_of, second_of

contract = Group("Contracts: what two members promise one another.")

NAMED = ("a contract's id", "meshnode contract list")

ContractId = Annotated[str, Argument("ID", "The contract's id: the record id of its offer.")]


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.add("contract", contract)


@contract.command()
def offer(
    to: Annotated[str, Option("--to", "The other party: name or account id.")],
    role: Annotated[str, Option("--role", "What you are in it, such as supplier.")],
    terms: Annotated[str, Option("--terms", "The file with its text; its SHA-256 goes on the ledger.", "FILE")],
    until: Annotated[str, Option("--until", "When it ends: 2027-06-30T24:00+02:00, or a UTC second.")],
    from_: Annotated[str, Option("--from", '"now", or when it begins.')] = "now",
    power: Annotated[int, Option("--power", "Never more than so many W.", "W", low=0)] = -1,
    priority: Annotated[int, Option("--priority", "When it is scarce; a lower number comes first.", low=0)] = -1,
    source: Annotated[str, Option("--source", "Where the energy comes from.")] = "",
    price_cap: Annotated[str, Option("--price-cap", 'Never dearer than this, like "0.28 EUR/kWh".')] = "",
    response: Annotated[int, Option("--response", "From a call to its effect.", "SECONDS", low=0)] = -1,
    *,
    how: Acting,
) -> int:
    """Offer a contract to a member. Exit 1 if the community refuses it, 3 if that is not known yet."""
    from meshnode.amounts import parse_price

    place = how.place
    body: dict[str, Any] = {
        "to": to,
        "role": role,
        "terms": hashlib.sha256(read_input(terms)).hexdigest(),
        "from_s": second_of(from_, "--from", "now"),
        "until_s": second_of(until, "--until", ""),
    }
    level: dict[str, Any] = {
        "maximum_power_w": power,
        "priority": priority,
        "source": source or -1,
        "price_cap_u_kwh": parse_price(price_cap, currency_of(place, how.chain)) if price_cap else -1,
        "response_time_s": response,
    }
    body |= {name: value for name, value in level.items() if value != -1}
    what = f"a contract is offered to {to}\n    who agrees says: meshnode contract sign ID"
    return how.act("/api/contracts", body, what)


@contract.command()
def sign(contract_id: ContractId, *, how: Acting) -> int:
    """Agree to a contract that was offered to you. Exit 1 if the community refuses it, 3 if that is not known yet."""
    return how.step("/api/contracts/ID/sign", contract_id, "the contract is signed by both", *NAMED)


@contract.command()
def end(contract_id: ContractId, *, how: Acting) -> int:
    """End a contract, withdraw your offer, or refuse one. Exit 1 if the community refuses it, 3 if not known yet."""
    return how.step("/api/contracts/ID/end", contract_id, "the contract has ended", *NAMED)


@contract.command("list")
def list_(*, how: Asking) -> None:
    """List your contracts, the newest first. Exit 3 if no majority confirms a fresh answer."""
    place = how.place
    found = how.ask("/api/contracts")
    answer(found, lambda: _contracts(found["contracts"], currency_of(place, how.chain)), how.json)


def _contracts(found: list[dict[str, Any]], currency: str) -> str:
    if not found:
        return "no contracts"
    lines = [
        (
            f"{one['offered_by']} ({one['role']})",
            one["offered_to"],
            one["status"],
            f"{when(one['from_s'])} to {when(one['until_s'])}",
            _service(one["service"], currency),
            one["contract"],
        )
        for one in found
    ]
    return table(lines, ("from", "to", "state", "time", "service", "id"))


def _service(level: dict[str, Any], currency: str) -> str:
    """A service level, one promise after the other."""
    from meshnode.amounts import format_price

    said: dict[str, Callable[[Any], str]] = {
        "maximum_power_w": lambda value: f"at most {value} W",
        "priority": lambda value: f"priority {value}",
        "source": str,
        "price_cap_u_kwh": lambda value: f"at most {format_price(value, currency)}",
        "response_time_s": lambda value: f"within {value} s",
    }
    return ", ".join(say(level[name]) for name, say in said.items() if name in level)
