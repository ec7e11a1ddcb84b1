"""Contracts: `meshnode contract` - what two members promise one another, before any order under it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from meshnode.cli.ledgers import record_id_of
from meshnode.cli.output import Json, answer, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.place import Chain, Dir, ask_node, node_directory, read_input
from meshnode.cli.tokens import when
from meshnode.cli.trading import WAIT_S, Fresh, Key, Wait, act, currency_of, second_of, seconds

if TYPE_CHECKING:
    from meshnode.client import NodeClient

contract = Group("Contracts: what two members promise one another.")

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
    wait: Wait = WAIT_S,
    key: Key = "",
    directory: Dir = None,
    chain: Chain = "",
    json: Json = False,
) -> int:
    """Offer a contract to a member. Exit 1 if the community refuses it, 3 if that is not known yet."""
    from meshnode.amounts import parse_price

    place = node_directory(directory)
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
        "price_cap_u_kwh": parse_price(price_cap, currency_of(place, chain)) if price_cap else -1,
        "response_time_s": response,
    }
    body |= {name: value for name, value in level.items() if value != -1}
    what = f"a contract is offered to {to}\n    who agrees says: meshnode contract sign ID"
    return act(place, chain, "/api/contracts", body, wait, key, json, what)


@contract.command()
def sign(
    contract_id: ContractId,
    wait: Wait = WAIT_S,
    key: Key = "",
    directory: Dir = None,
    chain: Chain = "",
    json: Json = False,
) -> int:
    """Agree to a contract that was offered to you. Exit 1 if the community refuses it, 3 if that is not known yet."""
    return _step(contract_id, "sign", "the contract is signed by both", wait, key, directory, chain, json)


@contract.command()
def end(
    contract_id: ContractId,
    wait: Wait = WAIT_S,
    key: Key = "",
    directory: Dir = None,
    chain: Chain = "",
    json: Json = False,
) -> int:
    """End a contract, withdraw your offer, or refuse one. Exit 1 if the community refuses it, 3 if not known yet."""
    return _step(contract_id, "end", "the contract has ended", wait, key, directory, chain, json)


@contract.command("list")
def list_(directory: Dir = None, chain: Chain = "", fresh: Fresh = False, json: Json = False) -> None:
    """List your contracts, the newest first. Exit 3 if no majority confirms a fresh answer."""

    async def ask(node: NodeClient) -> dict[str, Any]:
        found: dict[str, Any] = await node.get("/api/contracts", fresh=seconds(fresh))
        return found

    place = node_directory(directory)
    found = ask_node(place, chain, ask)
    answer(found, lambda: _contracts(found["contracts"], currency_of(place, chain)), json)


def _step(contract_id: str, step: str, what: str, wait: int, key: str, directory: Dir, chain: str, json: bool) -> int:
    wanted = record_id_of(contract_id, "a contract's id", "meshnode contract list").hex()
    return act(node_directory(directory), chain, f"/api/contracts/{wanted}/{step}", {}, wait, key, json, what)


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
