"""Microgrids: `meshnode init` and `invite` - founding one, and letting people in."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from meshnode.cli.bindings import mistakes_of, preset_text
from meshnode.cli.home import LISTEN, WEB, Listen, Meters, Name, Web, check_addresses, meters, new_place, throwaway
from meshnode.cli.output import Fault, Json, answer, note
from meshnode.cli.parser import Group, Option
from meshnode.cli.place import Chain, DirArgument, microgrid_place, node_directory, read_input

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshnode.founding import NodeKeys
    from protocols.records import Genesis
    from zencode.terms import Terms

JOINING = "/ip4/0.0.0.0/tcp/4171"
DEFAULT_PRESET = "mid-market-village"


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.command()(init)
    app.command()(invite)


def init(
    community: Annotated[str, Option("--community", "Name of the community that is founded.")],
    name: Name,
    directory: DirArgument = None,
    binding: Annotated[str, Option("--binding", "The community's contract.", metavar="FILE")] = "",
    preset: Annotated[
        str,
        Option(
            "--preset",
            f"A contract that comes with the program; see: meshnode binding preset (default: {DEFAULT_PRESET})",
        ),
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
    from meshnode.config import web_address
    from meshnode.rules import left_out, zone_said
    from protocols.records import chain_id
    from zencode.binding import decode
    from zencode.reader import read_document
    from zencode.terms import terms

    place = new_place(directory)
    if binding and preset:
        raise Fault("--binding and --preset: found both\n    give one of them")
    preset = "" if binding else preset or DEFAULT_PRESET
    text = _text(read_input(binding), binding) if binding else preset_text(preset)
    sections = meters(meter or [])
    check_addresses(listen, joining)
    web_address(web, "--web")
    with mistakes_of(binding or preset):
        contract = read_document(text)
        facts = terms(contract.binding)
    here = zone or zone_said(contract.binding) or _own_zone()
    roles = _roles(facts, role)

    def genesis_of(keys: NodeKeys) -> Genesis:
        return founding.found(community, text, [keys.entry(name, roles)], [keys.device.public], zone=here)

    # Tried with keys that are thrown away: nothing is written before everything is known to be right.
    genesis_of(throwaway(sections))
    genesis = genesis_of(founding.make_keys(place, [section["metering_point"] for section in sections]))
    chain = chain_id(genesis).hex()
    founding.place_ledger(place, genesis)
    microgrid = {"peers": [], "joining": joining}
    founding.write_config(place, name, listen=[listen], web=web, microgrids={chain: microgrid}, meters=sections)
    beyond = left_out(decode(genesis.binding), contract.language)
    value = {
        "directory": str(place),
        "community": community,
        "chain_id": chain,
        "preset": preset,
        "binding": binding,
        "name": name,
        "roles": roles,
        "zone": here,
        "metering_points": [section["metering_point"] for section in sections],
        "not_carried_out": list(beyond),
    }
    answer(value, lambda: _founded(value, place, bool(joining)), json)


def _roles(contract: Terms, wanted: Sequence[str] | None) -> list[str]:
    """The founder's roles: administrator, and those wanted, or prosumer where the binding knows it.

    Raises:
        Fault: the binding knows no such role.
    """
    known = {"administrator", *contract.roles, *(rule.role for rule in contract.join_rules)}
    for role in wanted or ():
        if role not in known:
            raise Fault(f"--role {role}: the binding has no such role\n    it has {', '.join(sorted(known))}")
    return sorted({"administrator", *(wanted or known & {"prosumer"})})


def _founded(value: dict[str, Any], place: Path, joining: bool) -> str:
    lines = [
        f"{value['community']} is founded; {value['name']} is its first member ({', '.join(value['roles'])})",
        f"  directory  {place}",
        f"  chain id   {value['chain_id']}",
        f"  contract   {value['binding'] or 'the preset ' + value['preset']}",
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
    shows: Annotated[
        list[str] | None, Option("--shows", "A credential of the newcomer that you have seen, as the binding names it.")
    ] = None,
    behind: Annotated[
        list[str] | None, Option("--behind", "The substation whose area the newcomer's meters lie in.")
    ] = None,
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
    link = Invitations(place, chain_id).make(role, expires_s, addresses, shows or (), behind or ())
    value = {
        "link": str(link),
        "id": link.id.hex(),
        "role": role,
        "expires_s": expires_s,
        "addresses": list(addresses),
        "shows": sorted(shows or ()),
        "behind": sorted(behind or ()),
    }
    answer(value, str(link), json)
    if not json:
        until = time.strftime("%Y-%m-%d %H:%M", time.localtime(expires_s))
        note(f"one newcomer can join with it as {role} until {until}, while this node runs:")
        note("  meshnode join 'LINK' --dir DIR --name NAME")


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
    contract = terms(decode(genesis.binding))
    admitted = {*contract.roles, *(rule.role for rule in contract.join_rules if rule.verdict != "refuse")}
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
