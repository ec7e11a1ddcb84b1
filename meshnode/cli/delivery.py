"""Delivery: `meshnode point`, `session` and `redeem` - energy that is paid before and counted while it flows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from meshnode.cli.ledgers import record_id_of
from meshnode.cli.output import NO, Fault, No, answer, note, table
from meshnode.cli.parser import FINE, Argument, Group, Option
from meshnode.cli.place import Where, ask_node
from meshnode.cli.trading import Acting, Asking

if TYPE_CHECKING:
    from meshnode.client import NodeClient

point = Group("Points that deliver energy: charging stations, and controllers that take coins.")
session = Group("Charging sessions: reserved and paid before, settled by what the station's meter has signed.")
redeem = Group("Redemptions: coins for energy.")

# An hour to come, a quarter of an hour of silence: as people park and networks fail.
RESERVED_S = 3_600
SILENCE_S = 900
# How often somebody who looks on asks the node.
LOOK_S = 0.5

DeliveryId = Annotated[str, Argument("ID", "Its id: the record id of its reservation.")]
Token = Annotated[str, Argument("TOKEN", "The id on a card, as the charger reads it (an OCPP idToken).")]
At = Annotated[str, Option("--at", "Whose point, by name; or the id of its meter.")]
Meter = Annotated[str, Option("--metering-point", "Which meter of this node, if it has several.", "NAME")]
Asset = Annotated[str, Option("--asset", "Code of the asset that pays.", "CODE")]
Silence = Annotated[int, Option("--silence", "Without a tick for so long it is settled.", "SECONDS", low=1)]
Begins = Annotated[int, Option("--for", "It begins within so long, or everything comes back.", "SECONDS", low=1)]
Power = Annotated[int, Option("--power", "Of the simulated charger.", "W", low=1)]


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    for group in (session, redeem):
        group.command()(start)
        group.command()(stop)
        group.command()(cancel)
    session.command("list")(_listing("session", "List charging sessions: open, or over since less than a day."))
    redeem.command("list")(_listing("coins", "List redemptions: open, or over since less than a day."))
    app.add("point", point)
    app.add("session", session)
    app.add("redeem", redeem)


@point.command()
def station(
    asset: Asset,
    price: Annotated[int, Option("--price", "For a kWh, in the asset's smallest unit.", low=0)],
    fee: Annotated[int, Option("--fee", "Of the station, for a kWh.", low=0)] = 0,
    flat: Annotated[int, Option("--flat", "Of the station, for a session in which energy flowed.", low=0)] = 0,
    energy_to: Annotated[str, Option("--energy-to", "Who is paid for the energy; you, if nobody.")] = "",
    silence: Silence = SILENCE_S,
    metering_point: Meter = "",
    *,
    how: Acting,
) -> int:
    """Make a meter of yours a charging station. Exit 1 if the community refuses it, 3 if that is not known yet."""
    place = how.place
    body = {"meter": meter_of(place, metering_point), "asset": asset, "silence_s": silence, "price_u_kwh": price}
    body |= {"fee_u_kwh": fee, "flat_u": flat} | ({"energy_to": energy_to} if energy_to else {})
    return how.act("/api/points/station", body, "sessions can be reserved at your station")


@point.command()
def coins(
    asset: Asset,
    unit: Annotated[int, Option("--unit", "Energy for one coin.", "WH", low=1)],
    route: Annotated[str, Option("--route", "From where: now, common or own.")] = "now",
    silence: Silence = SILENCE_S,
    metering_point: Meter = "",
    *,
    how: Acting,
) -> int:
    """Deliver energy for coins at a meter of yours. Exit 1 if the community refuses it, 3 if that is not known yet."""
    place = how.place
    body = {"meter": meter_of(place, metering_point), "asset": asset, "silence_s": silence, "unit_wh": unit}
    what = "coins can be sent to your point"
    return how.act("/api/points/coins", body | {"route": route}, what)


@point.command()
def close(metering_point: Meter = "", *, how: Acting) -> int:
    """Let nothing new be reserved at a point of yours. Exit 1 if the community refuses it, 3 if not known yet."""
    place = how.place
    path = f"/api/points/{meter_of(place, metering_point)}/close"
    return how.act(path, {}, "the point is closed; what is reserved goes on")


@point.command()
def bind(
    token: Token,
    at: At,
    asset: Asset,
    most: Annotated[int, Option("--most", "No session may cost more.", low=1)],
    *,
    how: Acting,
) -> int:
    """Be known by a card at a point, and pay for who shows it there. Exit 1 if refused, 3 if not known yet."""
    from protocols.records import credential_of

    place = how.place
    where = point_of(place, how.chain, at)["point"]
    body = {"credential": credential_of(token).hex(), "asset": asset, "most_u": most, "point": where}
    what = f"who shows that card at {at} charges at your cost, up to {most} {asset} a session"
    return how.act("/api/credentials", body, what)


@point.command()
def unbind(token: Token, *, how: Acting) -> int:
    """Be known by a card no more. Exit 1 if the community refuses it, 3 if that is not known yet."""
    from protocols.records import credential_of

    path = f"/api/credentials/{credential_of(token).hex()}/remove"
    return how.act(path, {}, "that card is good for nothing any more")


@point.command()
def known(
    at: At,
    card: Annotated[str, Option("--card", "The id on the card that is shown.", "TOKEN")] = "",
    phone: Annotated[str, Option("--phone", "The public key of the phone that is shown, in hex.", "KEY")] = "",
    *,
    how: Where,
) -> int:
    """Say who is known by a card or a phone at a point, and what waits for it. This node alone answers, also when it
    reaches nobody. Exit 1 if nobody is known by it and nothing waits.
    """
    place = how.place
    where, shown = point_of(place, how.chain, at)["point"], shown_credential(card, phone)
    found = how.ask(f"/api/points/{where}/known/{shown}")
    waits = f"session {found['delivery']} waits for it" if found["delivery"] else "nothing is reserved for it"
    answer(found, f"{found['member'] or 'nobody who is bound here'}; {waits}", how.json)
    return FINE if found["member"] or found["delivery"] else NO


@point.command("list")
def list_(*, how: Asking) -> None:
    """List points and their terms. Exit 3 if no majority confirms a fresh answer."""
    found = how.ask("/api/points")
    answer(found, lambda: _points(found["points"]), how.json)


@session.command()
def reserve(
    at: At,
    energy: Annotated[str, Option("--energy", 'At most this much, like "20 kWh".')],
    within: Begins = RESERVED_S,
    guest: Annotated[str, Option("--guest", "The id on the card of somebody else who comes.", "TOKEN")] = "",
    card: Annotated[str, Option("--card", "As station: the id on the card that was shown.", "TOKEN")] = "",
    phone: Annotated[str, Option("--phone", "As station: the public key of the phone that was shown.", "KEY")] = "",
    proof: Annotated[str, Option("--proof", "As station: what the phone signed for this session.", "HEX")] = "",
    number: Annotated[int, Option("--number", "As station: the number of the phone's consent.", low=0)] = 0,
    *,
    how: Acting,
) -> int:
    """Reserve a session at the station's price of now, and pay for it. Exit 1 if refused, 3 if not known yet."""
    from meshnode.amounts import parse_energy
    from protocols.records import credential_of

    place = how.place
    terms = point_of(place, how.chain, at)
    body = {name: terms[name] for name in ("point", "price_u_kwh", "fee_u_kwh", "flat_u")}
    body |= {"cap_wh": parse_energy(energy), "for_s": within}
    body |= {"guest": credential_of(guest).hex()} if guest else {}
    body |= {"credential": shown_credential(card, phone)} if card or phone else {}
    body |= {"proof": proof, "number": number} if phone else {}
    what = f"a session of at most {energy} is paid for at {at}; what is not charged comes back"
    return how.act("/api/deliveries/session", body, what)


@redeem.command()
def send(
    at: At, amount: Annotated[int, Option("--coins", "How many.", low=1)], within: Begins = RESERVED_S, *, how: Acting
) -> int:
    """Send coins to a point for their energy. Exit 1 if the community refuses it, 3 if that is not known yet."""
    place = how.place
    terms = point_of(place, how.chain, at)
    body = {"point": terms["point"], "unit_wh": terms["unit_wh"], "coins": amount, "for_s": within}
    what = f"{amount} coins are on their way at {at}; those of what is not delivered come back"
    return how.act("/api/deliveries/coins", body, what)


def start(
    delivery_id: DeliveryId,
    power: Power = 11_000,
    detach: Annotated[bool, Option("--detach", "Do not look on; the node goes on by itself.")] = False,
    *,
    how: Where,
) -> int:
    """At the point: have the node deliver with a simulated charger until it is over, and look on; Ctrl-C ends only the
    looking, and the same command looks on again. Exit 1 if the node had to give it up.
    """
    return _attend(delivery_id, "start", {"power_w": power}, how, look=not detach)


def stop(delivery_id: DeliveryId, *, how: Where) -> int:
    """At the point: stop the simulated charger, and end with what its meter shows. Exit 1 if it was given up."""
    return _attend(delivery_id, "stop", None, how)


def cancel(delivery_id: DeliveryId, *, how: Acting) -> int:
    """Call off what has not begun. Exit 1 if the community refuses it, 3 if that is not known yet."""
    return how.step("/api/deliveries/ID/cancel", delivery_id, "it is called off; everything comes back")


def _attend(delivery_id: str, step: str, body: dict[str, Any] | None, how: Where, *, look: bool = True) -> int:
    """Have the node of the point start or stop a delivery, and look on until it is over."""
    path = f"/api/deliveries/{record_id_of(delivery_id).hex()}"

    async def ask(node: NodeClient) -> dict[str, Any]:
        found: dict[str, Any] = await node.post(f"{path}/{step}", body)
        return await _look_on(node, path) if look else found

    found = ask_node(how.place, how.chain, ask, write=True)
    answer(found, lambda: _deliveries([found]), how.json)
    return FINE


async def _look_on(node: NodeClient, path: str) -> dict[str, Any]:
    """The delivery once it is over, or nobody attends it any more; its steps are said meanwhile. Raises No."""
    import trio

    seen = 0
    while True:
        found: dict[str, Any] = await node.get(path)
        here = found["attended"]
        if here is not None and here["state"] == "given_up":
            raise No(f"given up: {here['said'][-1]}\n    what was delivered is settled by the meter's silence")
        if here is not None:
            for sentence in here["said"][-(here["steps"] - seen) :] if here["steps"] > seen else ():
                note(sentence)
            seen = here["steps"]
        elif found["phase"] in ("ended", "cancelled", "reserved"):
            return found
        await trio.sleep(LOOK_S)


def shown_credential(card: str, phone: str) -> str:
    """The credential, in hex, of a card or of a phone's public key. Raises Fault: not one of the two."""
    from protocols.cose import PUBLIC_KEY_BYTES
    from protocols.records import credential_of

    if bool(card) == bool(phone):
        raise Fault("--card, --phone: expected one of the two")
    if card:
        return credential_of(card).hex()
    try:
        public = bytes.fromhex(phone)
    except ValueError:
        public = b""
    if len(public) != PUBLIC_KEY_BYTES:
        raise Fault(f"--phone {phone}: expected a public key, {2 * PUBLIC_KEY_BYTES} hex digits")
    return hashlib.sha256(public).hexdigest()


def meter_of(place: Path, metering_point: str) -> str:
    """The id of the meter of this node that is meant. Raises Fault if that is none, or several."""
    from meshnode import keys
    from meshnode.config import KEYS_DIRECTORY, meter_key_file
    from protocols.records import meter_id_of

    folder = place / KEYS_DIRECTORY
    files = [folder / meter_key_file(metering_point)] if metering_point else sorted(folder.glob(keys.METER_KEYS))
    if len(files) != 1:
        raise Fault(f"{folder}: {len(files)} meters of this node are meant\n    choose one with --metering-point")
    return meter_id_of(keys.load(files[0]).public).hex()


def point_of(place: Path, chain: str, at: str) -> dict[str, Any]:
    """The point that is meant. Raises Fault if that is none, or several."""
    points = Where(place, chain).ask("/api/points")["points"]
    found: list[dict[str, Any]] = [one for one in points if at in (one["owner"], one["point"]) and not one["closed"]]
    if len(found) != 1:
        names = "".join(f"\n    --at {one['point']} ({one['kind']} of {one['owner']})" for one in found)
        raise Fault(f"--at {at}: {len(found)} points are meant{names}\n    see them with: meshnode point list")
    return found[0]


def _listing(kind: str, what: str) -> Callable[..., None]:
    """The command that lists deliveries of one kind."""

    def command(*, how: Asking) -> None:
        found = how.ask("/api/deliveries")
        of_kind = [one for one in found["deliveries"] if one["kind"] == kind]
        answer({"deliveries": of_kind}, lambda: _deliveries(of_kind), how.json)

    command.__doc__ = f"{what} Exit 3 if no majority confirms a fresh answer."
    return command


def _points(found: list[dict[str, Any]]) -> str:
    if not found:
        return "no points"
    lines = []
    for one in found:
        terms = f"{one['unit_wh']} Wh for a {one['asset']}, {one['route']}"
        if one["kind"] == "session":
            terms = f"{one['price_u_kwh']} + {one['fee_u_kwh']} a kWh + {one['flat_u']} {one['asset']}"
        state = "closed" if one["closed"] else "busy" if one["busy"] else "free"
        lines.append((one["owner"], one["kind"], terms, state, one["point"]))
    return table(lines, ("of", "kind", "terms", "state", "id"))


def _deliveries(found: list[dict[str, Any]]) -> str:
    if not found:
        return "none"
    lines = [
        (
            f"{one['payer']} at {one['station']}",
            one["phase"],
            f"{one['delivered_wh']} of {one['purchased_wh']} Wh",
            f"{one['amount']} {one['asset']}",
            f"{one['paid']} + {one['fee']}, {one['returned']} back",
            one["id"],
        )
        for one in found
    ]
    return table(lines, ("who", "state", "energy", "held", "paid", "id"))
