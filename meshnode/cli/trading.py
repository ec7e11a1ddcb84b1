"""Trading: `meshnode status`, `order` and `record` - asking the running node, acting by it."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from meshnode.cli.ledgers import record_id_of
from meshnode.cli.lies import described
from meshnode.cli.output import NO, PENDING, Fault, Json, NotYet, answer, colour, table
from meshnode.cli.parser import FINE, Argument, Group, Option
from meshnode.cli.place import Chain, Dir, Where, ask_node, microgrid_place, node_directory, spelled_again

if TYPE_CHECKING:
    from meshnode.client import NodeClient

order = Group("Orders: buy or sell energy of one settlement period, or units of an asset.")

# A block becomes final within seconds; a node waits for no more than half a minute.
WAIT_S = 10
MAX_WAIT_S = 30
# Names a request among all that a home ever makes.
KEY_BYTES = 16
# A node that is being started again answers after some seconds.
ATTEMPTS = 3
ATTEMPT_DELAY_S = 2.0
_SHOWN = ("status", "record_id", "height", "verdict", "sentence", "receipt", "accepted")
# A majority answers within a heartbeat's round trip, or after an election.
FRESH_S = 10

Wait = Annotated[
    int, Option("--wait", "Wait so long until the community has agreed.", "SECONDS", low=0, high=MAX_WAIT_S)
]
Fresh = Annotated[
    bool,
    Option(
        "--fresh",
        "Miss nothing that any node knew to be final when you asked: a majority of the validators confirms it first.",
    ),
]
Key = Annotated[
    str,
    Option("--key", "Names this request: given again, it is carried out once.", "TEXT"),
]
Energy = Annotated[str, Option("--energy", 'At most this much, like "1.5 kWh".')]
Price = Annotated[str, Option("--price", 'Limit price, like "0.12 EUR/kWh"; of an asset, units that pay for each.')]
Asset = Annotated[str, Option("--asset", "Not energy of a period, but units of this asset.")]
Units = Annotated[int, Option("--amount", "So many units of the asset.", low=0)]
PaidWith = Annotated[str, Option("--pay-with", "Code of the asset that pays for it.")]
Good = Annotated[
    str,
    Option("--good", "till-cancelled, at-once, whole-at-once, or market: at once, up to the price; of an asset."),
]
# Two years, as the ledger has it.
Hours = Annotated[int, Option("--for", "So long it stays; 0: till cancelled.", "HOURS", low=0, high=2 * 366 * 24)]
Until = Annotated[str, Option("--until", "When it is over: 2026-06-21T14:15+02:00, or a UTC second.", "TIME")]
Booked = Annotated[str, Option("--booked", "The record id of step 2, where you have committed to it.", "ID")]
Unbacked = Annotated[bool, Option("--unbacked", "It may rest without what it needs, and trades once that is there.")]
First = Annotated[str, Option("--first", "A member who is served first, like carla or carla@190.", "NAME[@PRICE]")]
Under = Annotated[str, Option("--contract", "The contract that it is given under.", "ID")]
Period = Annotated[str, Option("--period", '"next", or when it begins: 2026-06-21T14:15+02:00, or a UTC second.')]


# What an order's id is, and where to find it.
ORDER = ("an order's id", "meshnode order list")


class Asking(NamedTuple):
    """What a command takes that asks the node for something that others may know more of."""

    directory: Dir = None
    chain: Chain = ""
    fresh: Fresh = False
    json: Json = False

    @property
    def place(self) -> Path:
        """The node's directory."""
        return node_directory(self.directory)

    def ask(self, path: str, *, write: bool = False, **query: Any) -> dict[str, Any]:
        """What the node answers; as `Where.ask`."""
        return Where(self.directory, self.chain).ask(path, write=write, **query, fresh=seconds(self.fresh))


class Acting(NamedTuple):
    """What a command takes that has the node sign a record."""

    wait: Wait = WAIT_S
    key: Key = ""
    directory: Dir = None
    chain: Chain = ""
    json: Json = False

    @property
    def place(self) -> Path:
        """The node's directory."""
        return node_directory(self.directory)

    def act(self, path: str, body: dict[str, Any], what: str = "") -> int:
        """Have the node sign and pass on a record, and say what became of it; as `act`."""
        return act(self.place, self.chain, path, body, self.wait, self.key, self.json, what)

    def step(self, path: str, typed: str, what: str, *names: str, body: dict[str, Any] | None = None) -> int:
        """Have the node sign a further step of something that a record began.

        Args:
            path: of the endpoint, with ID where the id belongs.
            typed: the id, as a person typed it.
            names: what the id is, and the command that lists such; see `record_id_of`.
        """
        wanted = record_id_of(typed, *names).hex()
        return self.act(path.replace("/ID", f"/{wanted}"), body or {}, what)


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.command()(status)
    app.add("order", order)
    app.command()(record)


def status(*, how: Asking) -> int:
    """Say where the running node stands. Exit 1 if it has halted or does only part of its duty, 3 if no majority
    confirms a fresh answer.
    """

    async def ask(node: NodeClient) -> dict[str, Any]:
        found: dict[str, Any] = await node.get("/api/status", fresh=seconds(how.fresh))
        return found | {"web": node.base_url}

    found = ask_node(how.place, how.chain, ask)
    answer(found, lambda: _describe(found), how.json)
    return NO if found.get("halted") or found.get("notice") else FINE


def _describe(found: dict[str, Any]) -> str:
    from meshnode.amounts import format_count

    clock = datetime.fromtimestamp(found["clock_s"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if found["demonstration"]:
        clock += f" (demonstration clock, {found['speed']} times faster)"
    rows = [
        ("node", f"{found['name']} in {found['community']}, {found['web']}/"),
        ("role", _role(found)),
        ("height", f"{found['height']}, state {found['state_hash'][:16]}"),
        ("clock", clock),
        ("peers", f"{found['peers']}, {format_count(found['validators'], 'validator')}"),
        ("waiting", format_count(found["mempool"], "record")),
        ("memory", f"{found['rss_mb']} MB"),
    ]
    for meter in found["meters"]:
        telegrams = format_count(meter["telegrams"], "telegram")
        problem = f"; {meter['problem']}" if meter["problem"] else ""
        rows.append((f"meter {meter['name']}", f"{meter['state']}, {telegrams}{problem}"))
    for lie in found.get("found_out", ()):
        rows.append((_FOUND_OUT[lie["status"]], colour(described(lie), "red", sys.stdout)))
    if found["halted"]:
        rows.append(("HALTED", colour(found["halted"], "red", sys.stdout)))
    if found.get("notice"):
        rows.append(("NOTICE", colour(found["notice"], "yellow", sys.stdout)))
    return table(rows)


def _role(found: dict[str, Any]) -> str:
    """A node that asks whether it may stand for election is a candidate to people."""
    role = found["role"].removeprefix("pre_")
    if found["leader"]:
        return f"{role}, {found['leader']} leads"
    # A learner hears of blocks, not of who leads.
    return role if role == "learner" else f"{role}, nobody leads: nothing becomes final meanwhile"


_FOUND_OUT = {"proved": "FOUND OUT", "asked": "asked", "answered": "answered"}


def _placing(side: str, what: str) -> Callable[..., int]:
    """The command that places an order of one side."""

    def command(
        price: Price,
        energy: Energy = "",
        period: Period = "next",
        asset: Asset = "",
        amount: Units = 0,
        paid_with: PaidWith = "",
        good: Good = "till-cancelled",
        hours: Hours = 0,
        until: Until = "",
        unbacked: Unbacked = False,
        first: First = "",
        contract: Under = "",
        booked: Booked = "",
        *,
        how: Acting,
    ) -> int:
        from meshnode.amounts import parse_energy, parse_price
        from meshnode.cli import standing

        if asset:
            typed = {"price": price, "amount": amount, "paid_with": paid_with, "good": good, "hours": hours}
            typed |= {"until": until, "unbacked": unbacked, "first": first, "contract": contract, "booked": booked}
            return standing.place(side, asset, typed, how)
        if not energy:
            raise Fault('--energy: nothing found, expected how much\n    write it like: --energy "1.5 kWh"')
        place = how.place
        body = {
            "side": side,
            "period_start_s": second_of(period, "--period", "next"),
            "energy_wh": parse_energy(energy),
            "price_u_kwh": parse_price(price, currency_of(place, how.chain)),
        }
        return how.act("/api/orders", body)

    command.__doc__ = f"{what} Exit 1 if the community refuses the order, 3 if that is not known yet."
    return command


order.command("buy")(_placing("buy", "Bid for energy."))
order.command("sell")(_placing("sell", "Offer energy."))


@order.command()
def cancel(order_id: Annotated[str, Argument("ID", "The order's record id.")], *, how: Acting) -> int:
    """Withdraw an order. Exit 1 if there is no such open order of yours, 3 if not known yet."""
    return how.step("/api/orders/ID/cancel", order_id, "", *ORDER)


@order.command("list")
def list_(*, how: Asking) -> None:
    """List your orders, the newest first. Exit 3 if no majority confirms a fresh answer."""

    async def ask(node: NodeClient) -> dict[str, Any]:
        found: dict[str, Any] = await node.get("/api/orders", fresh=seconds(how.fresh))
        return found | {"standing": (await node.get("/api/standing"))["standing"]}

    place = how.place
    found = ask_node(place, how.chain, ask)
    answer(found, lambda: _orders(found, currency_of(place, how.chain)), how.json)


def _orders(found: dict[str, Any], currency: str) -> str:
    """Orders of assets that rest, then those of periods."""
    from meshnode.cli import standing

    parts = [standing.resting(found["standing"])] if found["standing"] else []
    parts += [_of_periods(found["orders"], currency)] if found["orders"] else []
    return "\n".join(parts) or "no orders"


def _of_periods(orders: list[dict[str, Any]], currency: str) -> str:
    from meshnode.amounts import format_energy, format_price

    rows = [
        (
            datetime.fromtimestamp(one["start_s"]).strftime("%Y-%m-%d %H:%M"),
            one["side"],
            format_energy(one["energy_wh"]),
            format_price(one["price_u_kwh"], currency),
            one["state"],
            format_energy(one["filled_wh"]),
            one["order_id"],
        )
        for one in orders
    ]
    return table(rows, ("period", "side", "energy", "price", "state", "filled", "id"))


def record(
    record_id: Annotated[str, Argument("ID", "The record id, as the command that made the record printed it.")],
    wait: Annotated[
        int, Option("--wait", "Wait so long until the community has agreed.", "SECONDS", low=0, high=MAX_WAIT_S)
    ] = 0,
    fresh: Fresh = False,
    *,
    how: Where,
) -> int:
    """Say what became of a record. Exit 1 if the community refused it, 3 if that is not known yet."""
    wanted = record_id_of(record_id).hex()

    async def ask(node: NodeClient) -> dict[str, Any]:
        return await _fate(node, wanted, wait, fresh=fresh)

    place = how.place
    return _say(ask_node(place, how.chain, ask), place, how.chain, how.json)


def act(
    place: Path, chain: str, path: str, body: dict[str, Any], wait: int, key: str, json: bool, what: str = ""
) -> int:
    """Have the node sign and pass on a record, and say what became of it.

    Args:
        what: has been done once it is accepted, in words.
    """
    name = key or secrets.token_hex(KEY_BYTES)

    async def ask(node: NodeClient) -> dict[str, Any]:
        return await _fate(node, (await _once(node, path, body, name))["record_id"], wait)

    return _say(ask_node(place, chain, ask, write=True), place, chain, json, what)


async def _once(node: NodeClient, path: str, body: dict[str, Any], key: str) -> Any:
    """The answer to a request that is carried out once, however often it has to be sent. Raises NotYet."""
    import trio

    from meshnode.client import ClientError

    in_doubt = False
    for _ in range(ATTEMPTS):
        try:
            return await node.post(path, body, key=key)
        except ClientError as error:
            in_doubt |= error.in_doubt
            # An answer is an answer, and what was never sent is not carried out.
            if error.status or not in_doubt:
                raise
            await trio.sleep(ATTEMPT_DELAY_S)
    remedy = f"give the same command again, with --key {key}"
    raise NotYet(f"not known yet: the node did not say whether it has taken this\n    {remedy}")


async def _fate(node: NodeClient, record_id: str, wait: int, *, fresh: bool = False) -> dict[str, Any]:
    """What the node says of a record, and whether it was accepted; None as long as nobody knows."""
    from meshnode import fate

    found = await fate.ask(node, record_id, wait_s=wait, fresh_s=seconds(fresh))
    return {name: getattr(found, name) for name in _SHOWN}


def seconds(fresh: bool) -> int | None:
    """How long a fresh answer may take; None where any will do."""
    return FRESH_S if fresh else None


def _say(found: dict[str, Any], place: Path, chain: str, json: bool, what: str = "") -> int:
    """Print what became of a record; the exit code that says the same."""
    answer(found, lambda: _outcome(found, spelled_again(place, chain), what), json)
    return {True: FINE, False: NO, None: PENDING}[found["accepted"]]


def _outcome(found: dict[str, Any], where: str, what: str) -> str:
    if found["accepted"] is None:
        return (
            f"{colour('not known yet', 'yellow', sys.stdout)}: {found['record_id']}\n"
            "    no final block has this record so far; it may still be accepted or refused\n"
            f"    ask again with: meshnode record {found['record_id']}{where}"
        )
    if found["accepted"]:
        done = f"{what.replace(' ID', ' ' + found['record_id'])}\n    " if what else ""
        return (
            f"{colour('accepted', 'green', sys.stdout)} in block {found['height']}: {done}record {found['record_id']}"
        )
    if found["height"]:
        return f"{colour('refused', 'red', sys.stdout)} in block {found['height']}: {found['sentence']}"
    return f"{colour(found['status'], 'red', sys.stdout)}: {found['sentence']}"


def second_of(text: str, flag: str, word: str) -> int | str:
    """A time as the node takes it: a UTC second, or the word that stands for one. Raises Fault."""
    if text == word:
        return text
    if text.isascii() and text.isdigit() and len(text) <= 12:
        return int(text)
    named = f'"{word}", ' if word else ""
    remedy = f"write {named}a time like 2026-06-21T14:15+02:00, or a UTC second"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Fault(f"{flag} {text}: not a time\n    {remedy}") from error
    if moment.tzinfo is None:
        raise Fault(f"{flag} {text}: a time without its zone\n    {remedy}")
    return int(moment.timestamp())


def currency_of(place: Path, chain: str) -> str:
    """The currency of a microgrid, from its genesis."""
    from meshnode.store.place import check_genesis, read_genesis
    from zencode.binding import decode
    from zencode.terms import terms

    return terms(decode(check_genesis(read_genesis(microgrid_place(place, chain))).binding)).currency
