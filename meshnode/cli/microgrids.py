"""Microgrids: `meshnode init`, `invite` and `join` - founding one, letting people in, coming in."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from meshnode.cli.bindings import preset_text
from meshnode.cli.output import Fault, Json, No, answer, note
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.place import Chain, Dir, DirArgument, microgrid_place, node_directory, read_input, settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshnode.founding import NodeKeys
    from meshnode.network.joining import Doorstep
    from protocols.joining import Knock
    from protocols.records import Genesis

LISTEN = "/ip4/0.0.0.0/tcp/4170"
JOINING = "/ip4/0.0.0.0/tcp/4171"
WEB = "127.0.0.1:8170"
DEFAULT_PRESET = "mid-market-village"
# So often a newcomer knocks while the community's nodes have not agreed yet, each time for half a minute.
KNOCKS = 4

Meters = Annotated[
    list[str] | None,
    Option(
        "--meter",
        "A meter of this home: driver=dsmr,port=/dev/...,metering_point=home. May be given again.",
        metavar="KEY=VALUE,...",
    ),
]
Listen = Annotated[str, Option("--listen", "Where neighbours reach this node.")]
Web = Annotated[str, Option("--web", "Where this node serves its page.")]
Name = Annotated[str, Option("--name", "Your name in the community.")]


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.command()(init)
    app.command()(invite)
    app.command()(join)


def init(
    community: Annotated[str, Option("--community", "Name of the community that is founded.")],
    name: Name,
    directory: DirArgument = None,
    binding: Annotated[str, Option("--binding", "The community's contract.", metavar="FILE")] = "",
    preset: Annotated[
        str, Option("--preset", "A contract that comes with the program; see: meshnode binding preset")
    ] = "",
    meter: Meters = None,
    role: Annotated[list[str] | None, Option("--role", "Your roles beside administrator.")] = None,
    zone: Annotated[str, Option("--zone", "Time zone, like Europe/Rome; else this computer's.")] = "",
    listen: Listen = LISTEN,
    joining: Annotated[str, Option("--joining", 'Where newcomers are let in; "" for nowhere.')] = JOINING,
    web: Web = WEB,
    json: Json = False,
) -> None:
    """Found a microgrid: keys, contract and ledger in a new directory. You are its first member."""
    from meshnode import founding
    from protocols.records import chain_id
    from zencode.binding import decode
    from zencode.terms import terms

    place = _new_place(directory)
    if binding and preset:
        raise Fault("--binding and --preset: found both\n    give one of them")
    text = _text(read_input(binding), binding) if binding else preset_text(preset or DEFAULT_PRESET)
    meters = _meters(meter or [])
    _check_addresses(listen, joining)
    here = zone or _own_zone()
    roles = sorted({"administrator", *(role or ["prosumer"])})

    def genesis_of(keys: NodeKeys) -> Genesis:
        return founding.found(community, text, [keys.entry(name, roles)], [keys.device.public], zone=here)

    # Tried with keys that are thrown away: nothing is written before everything is known to be right.
    genesis_of(_throwaway(meters))
    genesis = genesis_of(founding.make_keys(place, [section["metering_point"] for section in meters]))
    chain = chain_id(genesis).hex()
    founding.place_ledger(place, genesis)
    microgrid = {"peers": [], "joining": joining}
    founding.write_config(place, name, listen=[listen], web=web, microgrids={chain: microgrid}, meters=meters)
    beyond = terms(decode(genesis.binding)).beyond
    value = {
        "directory": str(place),
        "community": community,
        "chain_id": chain,
        "name": name,
        "roles": roles,
        "zone": here,
        "metering_points": [section["metering_point"] for section in meters],
        "not_carried_out": list(beyond),
    }
    answer(value, lambda: _founded(value, place, bool(joining)), json)


def _founded(value: dict[str, Any], place: Path, joining: bool) -> str:
    lines = [
        f"{value['community']} is founded; {value['name']} is its first member ({', '.join(value['roles'])})",
        f"  directory  {place}",
        f"  chain id   {value['chain_id']}",
        f"  time zone  {value['zone']}",
        f"  meters     {', '.join(value['metering_points']) or 'none yet'}",
    ]
    if value["not_carried_out"]:
        lines.append("this version does not carry out all that the binding says; it leaves out:")
        lines += [f"  {statement}" for statement in value["not_carried_out"]]
    lines += ["next:", f"  meshnode run {place}          starts this node and prints where its page is"]
    if joining:
        lines.append(f"  meshnode invite {place}       makes a link for each neighbour")
    lines.append(f"keep a copy of {place / 'keys'} in a safe place: who loses the keys loses the account")
    return "\n".join(lines)


def invite(
    directory: DirArgument = None,
    role: Annotated[str, Option("--role", "What the newcomer will be.")] = "prosumer",
    valid: Annotated[str, Option("--valid", "For how long: 30min, 12h, 1d.")] = "1d",
    address: Annotated[
        list[str] | None,
        Option("--address", "Where this node is reached, if not at the address that it finds itself."),
    ] = None,
    chain: Chain = "",
    json: Json = False,
) -> None:
    """Make a link that lets one newcomer in. Whoever has the link can use it, once: hand it over in person."""
    from meshnode import config, keys
    from meshnode.config import KEYS_DIRECTORY
    from meshnode.invitations import MAX_VALID_S, Invitations
    from meshnode.network.transport import peer_id_of

    place = node_directory(directory)
    settings = config.load(place)
    ledger = microgrid_place(place, chain)
    chain_id = bytes.fromhex(ledger.name)
    section = settings.microgrid.get(chain_id.hex(), config.Microgrid())
    if not section.joining:
        raise Fault(
            f"{place / config.CONFIG_FILE}: this node lets nobody in\n"
            f'    add to [microgrid.{chain_id.hex()}] a line like: joining = "{JOINING}", and start it again'
        )
    valid_s = _duration(valid)
    if not 60 <= valid_s <= MAX_VALID_S:
        raise Fault(f"--valid {valid}: expected one minute to {MAX_VALID_S // 86400} days")
    _check_role(ledger, role)
    device = keys.load(place / KEYS_DIRECTORY / keys.DEVICE_KEY)
    addresses = tuple(f"{one}/p2p/{peer_id_of(device.public)}" for one in _doors(address or [section.joining]))
    expires_s = int(time.time()) + valid_s
    link = Invitations(place, chain_id).make(role, expires_s, addresses)
    value = {"link": str(link), "id": link.id.hex(), "role": role, "expires_s": expires_s, "addresses": list(addresses)}
    answer(value, str(link), json)
    if not json:
        until = time.strftime("%Y-%m-%d %H:%M", time.localtime(expires_s))
        note(f"one newcomer can join with it as {role} until {until}, while this node runs:")
        note("  meshnode join 'LINK' --dir DIR --name NAME")


def join(
    link: Annotated[str, Argument("LINK", "The administrator's invitation, in quotes.")],
    name: Name,
    directory: Dir = None,
    meter: Meters = None,
    listen: Listen = LISTEN,
    web: Web = WEB,
    json: Json = False,
) -> None:
    """Join a microgrid with an invitation. Exit 1 if it is refused; the same link can be tried again after a break."""
    import trio

    from meshnode import founding
    from meshnode.invitations import read_link
    from meshnode.network.joining import knock
    from meshnode.store.place import GENESIS_FILE, microgrid_directory
    from protocols.joining import Knock
    from protocols.records import join_request_bytes

    invitation = read_link(link)
    place = _new_place(directory)
    meters = _meters(meter or [])
    _check_addresses(listen, *invitation.addresses)
    if invitation.expires_s < time.time():
        raise No("the invitation has expired\n    ask the administrator for a new one")
    points = [section["metering_point"] for section in meters]
    _check_entry(_throwaway(meters).entry(name, [invitation.role]))
    made = _keys(place, points)
    member = made.entry(name, [invitation.role])
    request = Knock(
        invitation=invitation.id,
        secret=invitation.secret,
        member=member,
        proof=made.member.sign(join_request_bytes(invitation.chain_id, invitation.id, member)),
    )
    visit = _Visit(request, invitation.chain_id)
    trio.run(_knock_until_heard, knock, made.device.seed, invitation.addresses, request, visit, json)
    assert visit.genesis is not None
    # It is there already if an earlier attempt was interrupted between the two steps.
    if not (microgrid_directory(place, invitation.chain_id) / GENESIS_FILE).exists():
        founding.place_ledger(place, visit.genesis)
    chain = invitation.chain_id.hex()
    microgrid = {"peers": list(visit.peers)}
    founding.write_config(place, name, listen=[listen], web=web, microgrids={chain: microgrid}, meters=meters)
    value = {
        "directory": str(place),
        "community": visit.genesis.community,
        "chain_id": chain,
        "name": name,
        "role": invitation.role,
        "height": visit.height,
        "peers": list(visit.peers),
        "metering_points": points,
    }
    text = (
        f"welcome to {visit.genesis.community}: {name} is a member as {invitation.role} since block {visit.height}\n"
        f"next:\n  meshnode run {place}          starts this node and prints where its page is"
    )
    answer(value, text, json)


class _Visit:
    """What a newcomer heard at the door. `height` is 0 until it is let in."""

    def __init__(self, knock: Knock, chain_id: bytes) -> None:
        self.genesis: Genesis | None = None
        self.peers: Sequence[str] = ()
        self.height = 0
        self._knock = knock
        self._chain_id = chain_id

    async def __call__(self, door: Doorstep) -> None:
        """Hear the door out.

        Raises:
            No: it refuses.
            NoDoor: it breaks off.
            JoiningError: what it says does not hold.
        """
        from meshnode.keys import verify
        from meshnode.ledger.verdicts import SENTENCES as VERDICTS
        from protocols.joining import (
            SENTENCES,
            Admitted,
            Foundation,
            JoiningError,
            Reason,
            check_admission,
            check_foundation,
        )

        while True:
            said = await door.answer()
            if isinstance(said, Foundation):
                self.genesis = check_foundation(said, self._chain_id)
                _check_peers(said.peers)
                self.peers = said.peers
            elif isinstance(said, Admitted):
                if self.genesis is None:
                    raise JoiningError("the door let us in without showing the genesis; this is not right")
                member, invitation = self._knock.member, self._knock.invitation
                self.height = check_admission(said, invitation, member, self.genesis, verify)
                return
            elif said.reason == Reason.NOT_FINAL_YET:
                return
            else:
                why = _sentence(SENTENCES, said.reason)
                if said.reason == Reason.LEDGER:
                    why = _sentence(VERDICTS, said.verdict)
                raise No(f"not let in: {why}")


def _sentence(sentences: Mapping[Any, str], number: int) -> str:
    return sentences.get(number, f"for a reason that this version does not know ({number})")


async def _knock_until_heard(
    knock: Any, seed: bytes, addresses: Sequence[str], request: Knock, visit: _Visit, quiet: bool
) -> None:
    for _ in range(KNOCKS):
        if not quiet:
            note(f"knocking at {addresses[0]}")
        await knock(seed, addresses, request, visit._chain_id, visit)
        if visit.height:
            return
        if not quiet:
            note("the community's nodes have not agreed yet; knocking again")
    raise Fault("the community's nodes did not agree in time\n    try again later, with the same link and directory")


def _new_place(directory: Path | None) -> Path:
    """A directory in which there is no node yet."""
    from meshnode.config import CONFIG_FILE

    place = node_directory(directory)
    if (place / CONFIG_FILE).exists():
        raise Fault(f"{place}: there is a node here already\n    choose another directory")
    if place.exists() and not place.is_dir():
        raise Fault(f"{place}: is a file\n    choose another directory")
    return place


def _keys(place: Path, points: Sequence[str]) -> NodeKeys:
    """New keys, or those of an attempt to join that was interrupted."""
    from meshnode import keys
    from meshnode.config import KEYS_DIRECTORY
    from meshnode.founding import NodeKeys

    def key(name: str) -> keys.SigningKey:
        path = place / KEYS_DIRECTORY / name
        if not path.exists():
            keys.save(path, keys.SigningKey.generate())
        return keys.load(path)

    meters = {point: key(f"meter-{point}.key") for point in points}
    return NodeKeys(key(keys.DEVICE_KEY), key(keys.MEMBER_KEY), meters)


def _check_peers(addresses: Sequence[str]) -> None:
    """Refuse a door that names addresses which the node could not dial."""
    from meshnode.network.addresses import read_address
    from protocols.joining import JoiningError

    for address in addresses:
        try:
            if not read_address(address).peer:
                raise ValueError(f"address {address!r}: without a peer id")
        except ValueError as error:
            raise JoiningError(f"the door names neighbours that cannot be dialled: {error}") from error


def _throwaway(meters: Sequence[dict[str, Any]]) -> NodeKeys:
    from meshnode.founding import NodeKeys
    from meshnode.keys import SigningKey

    generate = SigningKey.generate
    return NodeKeys(generate(), generate(), {section["metering_point"]: generate() for section in meters})


def _check_entry(entry: Any) -> None:
    """Refuse names that no ledger takes. Raises RecordError."""
    from protocols.records.schema import encode_fields

    encode_fields(entry, "member")


def _meters(texts: Sequence[str]) -> list[dict[str, Any]]:
    """The meter sections of a configuration, checked as far as that goes without the devices.

    Raises:
        Fault, DriverError: a setting without value, an unknown driver.
    """
    from drivers.driver import driver

    sections = []
    for number, text in enumerate(texts, 1):
        place = f"--meter {text}"
        section = settings_of(text.split(","), place)
        point = section["metering_point"] = str(
            section.get("metering_point", "home" if number == 1 else f"home {number}")
        )
        if "/" in point or point.startswith("."):
            raise Fault(
                f"{place}: metering_point {point!r}\n    give it a name without a slash; its key file is named after it"
            )
        if "driver" not in section:
            raise Fault(
                f"{place}: no driver\n    write it like driver=dsmr,port=/dev/ttyUSB0; see: meshnode meter list"
            )
        driver(str(section["driver"]))
        sections.append(section)
    points = [section["metering_point"] for section in sections]
    if len(set(points)) != len(points):
        raise Fault(f"--meter: two meters are called {max(points, key=points.count)}\n    give each its metering_point")
    return sections


def _check_addresses(*addresses: str) -> None:
    from meshnode.network.addresses import read_address

    for address in addresses:
        if address:
            try:
                read_address(address)
            except ValueError as error:
                raise Fault(str(error)) from error


def _doors(addresses: Sequence[str]) -> list[str]:
    """Addresses for a link: without wildcards, and with ports that do not change."""
    from meshnode.network.addresses import read_address

    found = []
    for text in addresses:
        try:
            address = read_address(text)
        except ValueError as error:
            raise Fault(str(error)) from error
        if not address.port:
            raise Fault(f"address {text}: port 0 is another one at every start\n    choose a port, like {JOINING}")
        if address.peer:
            raise Fault(f"address {text}: leave out /p2p/ and the peer id; it is added")
        found.append(str(address.dialable()))
    return found


def _check_role(ledger: Path, role: str) -> None:
    """Refuse a role that the founding binding admits nobody in; the running node asks the one in force again."""
    from meshnode.store.place import check_genesis, read_genesis
    from zencode.binding import decode
    from zencode.terms import terms

    genesis = check_genesis(read_genesis(ledger))
    admitted = {rule.role for rule in terms(decode(genesis.binding)).join_rules if rule.verdict == "accept"}
    if role not in admitted | {"administrator"}:
        raise Fault(f"--role {role}: the binding admits {', '.join(sorted(admitted)) or 'nobody'} (and administrator)")


def _duration(text: str) -> int:
    """Seconds of a duration such as 30min, 12h, 1d."""
    units = {"s": 1, "min": 60, "h": 3600, "d": 86400}
    match = re.fullmatch(r"(\d{1,6})\s*(s|min|h|d)", text.strip())
    if match is None:
        raise Fault(f"--valid {text}: not a duration\n    write it like 30min, 12h or 1d")
    return int(match[1]) * units[match[2]]


def _own_zone() -> str:
    """The time zone of this computer; UTC if it does not say."""
    parts = Path("/etc/localtime").resolve().parts
    return "/".join(parts[parts.index("zoneinfo") + 1 :]) if "zoneinfo" in parts else "UTC"


def _text(data: bytes, place: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Fault(f"{place}: byte {error.start + 1} is not UTF-8 text\n    save it as UTF-8") from error
