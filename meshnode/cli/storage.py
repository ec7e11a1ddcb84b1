"""Storage: `meshnode storage` - energy in a battery as units of an asset."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from meshnode.cli.delivery import Asset, Meter, meter_of
from meshnode.cli.output import Fault, answer, table
from meshnode.cli.parser import FINE, Argument, Group, Option
from meshnode.cli.place import Where, ask_node, microgrid_place
from meshnode.cli.trading import WAIT_S, Acting, Asking, Wait

if TYPE_CHECKING:
    from meshnode.client import NodeClient

storage = Group("Stored energy: minted net of losses, burned when it is consumed, charged for by the period.")

NONCE_BITS = 63
VALID_S = 600


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.add("storage", storage)


@storage.command("set")
def set_(
    asset: Annotated[str, Argument("CODE", "An asset of yours, of kind energy, of which nothing was issued.")],
    efficiency: Annotated[int, Option("--efficiency", "Of what is charged so much is minted.", "PPM", low=1)],
    cost: Annotated[int, Option("--cost", "What storing may cost a member; bounds what it has.", low=0)],
    price: Annotated[int, Option("--price", "Of one kWh of storage.", low=1)],
    access: Annotated[str, Option("--access", "Who stores must have this asset.", "CODE")] = "",
    fee_asset: Annotated[str, Option("--fee-asset", "What the storage fee is paid with.", "CODE")] = "",
    fee: Annotated[int, Option("--fee", "For a kWh that is stored when a period closes.", low=0)] = 0,
    fee_to: Annotated[str, Option("--fee-to", "Who gets what of the fee is not the owners'.", "NAME")] = "",
    owners: Annotated[str, Option("--owners", "What each owner contributed: anna:7000,bela:2000.")] = "",
    owners_ppm: Annotated[
        int, Option("--owners-get", "Of the fee, divided by contribution.", "PPM", low=0, high=1_000_000)
    ] = 0,
    others: Annotated[str, Option("--others", "Who gets what else of the fee, in PPM: carla:100000.")] = "",
    education: Annotated[
        int, Option("--education", "Of the fee, to the fund for first access.", "PPM", low=0, high=1_000_000)
    ] = 0,
    grant: Annotated[int, Option("--first-access", "What the fund pays the issuer for a first access.", low=0)] = 0,
    metering_point: Meter = "",
    *,
    how: Acting,
) -> int:
    """Make an asset of yours stored energy. Exit 1 if the community refuses it, 3 if that is not known yet."""
    place = how.place
    body: dict[str, Any] = {
        "asset": asset,
        "meter": meter_of(place, metering_point),
        "efficiency_ppm": efficiency,
        "most_cost_u": cost,
        "storage_u_kwh": price,
    }
    more: dict[str, Any] = {"access": access, "fee_asset": fee_asset, "fee_u_kwh": fee, "fee_to": fee_to}
    more |= {"owners_ppm": owners_ppm, "owners": _weights("--owners", owners), "others": _weights("--others", others)}
    more |= {"education_ppm": education, "grant_u": grant}
    body |= {name: value for name, value in more.items() if value}
    return how.act("/api/storages", body, f"{asset} is energy in the storage")


@storage.command()
def report(
    asset: Asset,
    charged: Annotated[int, Option("--charged", "The register of what went in, ever.", "WH", low=0)],
    discharged: Annotated[int, Option("--discharged", "The register of what came out, ever.", "WH", low=0)],
    parts: Annotated[str, Option("--parts", "Whose it is: bela:1000:0,carla:0:200 (in:out).")] = "",
    wait: Wait = WAIT_S,
    *,
    how: Where,
) -> int:
    """Say what a storage's meter shows, signed by its key. Exit 1 if the community refuses it, 3 if not known yet."""
    place = how.place

    async def ask(node: NodeClient) -> dict[str, Any]:
        return await _report(node, place, how.chain, asset, (charged, discharged), parts, wait)

    found = ask_node(place, how.chain, ask, write=True)
    answer(found, lambda: f"{'accepted' if found['accepted'] else 'not accepted'}: {found['sentence']}", how.json)
    return {True: FINE, False: 1, None: 3}[found["accepted"]]


@storage.command()
def start(
    asset: Annotated[str, Argument("CODE", "The stored energy; its meter is this node's.")],
    capacity: Annotated[str, Option("--capacity", 'Of the simulated battery, like "10 kWh".')],
    power: Annotated[int, Option("--power", "Of the simulated battery, either way.", "W", low=1)] = 5_000,
    *,
    how: Where,
) -> None:
    """At the storage: have the node take in what members had over in a period and give what they lacked, with a
    simulated battery, and report what flowed and whose it is. It goes on when the node is started again.
    """
    from meshnode.amounts import parse_energy

    body = {"capacity_wh": parse_energy(capacity), "power_w": power}
    _keep(asset, "start", body, how)


@storage.command()
def stop(asset: Annotated[str, Argument("CODE", "The stored energy.")], *, how: Where) -> None:
    """At the storage: let nothing flow any more; what is due is still reported."""
    _keep(asset, "stop", None, how)


@storage.command("list")
def list_(*, how: Asking) -> None:
    """List stored energy, and what you may still store. Exit 3 if no majority confirms a fresh answer."""
    found = how.ask("/api/storages")
    answer(found, lambda: _storages(found["storages"]), how.json)


def _keep(asset: str, step: str, body: dict[str, Any] | None, how: Where) -> None:
    path = f"/api/storages/{quote(asset, safe='')}/{step}"
    found = ask_node(how.place, how.chain, lambda node: node.post(path, body), write=True)
    answer(found, lambda: _storages([found]), how.json)


async def _report(
    node: NodeClient, place: Path, chain: str, asset: str, registers: tuple[int, int], parts: str, wait: int
) -> dict[str, Any]:
    from meshnode import fate, keys
    from meshnode.clock import GridClock
    from meshnode.config import KEYS_DIRECTORY
    from meshnode.store.place import check_genesis, read_genesis
    from protocols.block import sign_record
    from protocols.records import Stored

    ledger = microgrid_place(place, chain)
    genesis = check_genesis(read_genesis(ledger))
    clock = GridClock(genesis.clock)
    meter = next((one["meter"] for one in (await node.get("/api/storages"))["storages"] if one["asset"] == asset), "")
    signer = keys.of_meters(place / KEYS_DIRECTORY).get(bytes.fromhex(meter))
    if signer is None:
        raise Fault(f"--asset {asset}: not in a storage of this node\n    see them with: meshnode storage list")
    accounts = {row["name"]: row["account"] for row in (await node.get("/api/members"))["members"]}
    record = Stored(
        nonce=secrets.randbits(NONCE_BITS),
        valid_until_s=clock.now_s() + min(VALID_S * clock.speed, genesis.limits.max_validity_s // 2),
        asset=asset,
        charged_wh=registers[0],
        discharged_wh=registers[1],
        parts=_parts(parts, accounts),
    )
    signed = sign_record(record, bytes.fromhex(ledger.name), signer.public, signer.sign)
    said = await node.post("/api/records", signed.envelope_bytes)
    done = await fate.ask(node, said["record_id"], wait_s=wait)
    shown = ("status", "record_id", "height", "verdict", "sentence", "accepted")
    return {name: getattr(done, name) for name in shown}


def _weights(flag: str, text: str) -> dict[str, int]:
    """Numbers by member. Raises Fault for what is not written like that, or gives a member twice."""
    found: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.strip().rpartition(":")
        if not name or name in found or not (number.isascii() and number.isdigit() and len(number) <= 20):
            raise Fault(f"{flag} {part}: expected a member and a whole number, each member once, like bela:2000")
        found[name] = int(number)
    return found


def _parts(text: str, accounts: dict[str, str]) -> tuple[tuple[bytes, int, int], ...]:
    """Whose energy it is. Raises Fault for what is not written like that, or names nobody."""
    found = []
    for part in filter(None, text.split(",")):
        name, _, numbers = part.partition(":")
        into, _, out = numbers.partition(":")
        if name not in accounts or not (into.isascii() and into.isdigit() and out.isascii() and out.isdigit()):
            raise Fault(f"--parts {part}: expected a member, what went in and what came out, like bela:1000:0")
        found.append((bytes.fromhex(accounts[name]), int(into), int(out)))
    return tuple(sorted(found))


def _storages(found: list[dict[str, Any]]) -> str:
    if not found:
        return "no stored energy"
    lines = [
        (
            one["asset"],
            f"{one['efficiency_ppm'] / 10_000:g} %",
            f"{one['room_wh']} of {one['most_wh']} Wh",
            f"{one['fee_u_kwh']} {one['fee_asset']}" if one["fee_asset"] else "",
            str(one["arrears_u"]),
            ", ".join(f"{owner} {weight}" for owner, weight in one["owners"].items()),
            f"{one['education_u']} of {one['grant_u']} {one['fee_asset']}" if one["grant_u"] else "",
            f"{one['kept']['battery']}; {one['kept']['said']}".rstrip("; ") if one["kept"] else "",
        )
        for one in found
    ]
    return table(
        lines, ("asset", "minted", "your room", "fee a kWh", "you owe", "owners", "for first access", "kept here")
    )
