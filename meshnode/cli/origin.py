"""Origin: `meshnode trace`, `origin`, `certificate` and `installation` - where energy came from, and who may say so."""

from __future__ import annotations

from typing import Annotated, Any

from meshnode.cli.output import No, answer, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.tokens import To, when
from meshnode.cli.trading import Acting, Asking, second_of

origin = Group("Origin: where the energy of a day came from, and what it took in CO2.")
certificate = Group("Certificates of origin: what your plants gave to the grid. Not a legal guarantee of origin.")
installation = Group("Installations: the register of plants and storages.")

LAST = "last"
MEMBER_HELP = 'Name or account id; "me", or "all".'

Member = Annotated[str, Argument("MEMBER", MEMBER_HELP)]
Source = Annotated[str, Option("--source", "Only of this source, such as solar.")]
Energy = Annotated[str, Option("--energy", 'For so much, like "1.5 kWh".')]
InstallationId = Annotated[str, Argument("ID", "The installation's id: the record id with which it was announced.")]


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.command()(trace)
    app.add("origin", origin)
    app.add("certificate", certificate)
    app.add("installation", installation)


def trace(
    period: Annotated[str, Argument("PERIOD", '"last", or when it begins: 2026-06-21T14:15+02:00, or a UTC second.')],
    member: Member = "me",
    *,
    how: Asking,
) -> None:
    """Name the source of every Wh that a member used in a closed period. Exit 1 if it used nothing."""
    start_s = second_of(period, "PERIOD", LAST)
    wanted = None if start_s == LAST else start_s
    found = how.ask("/api/origin", account=member, period_start_s=wanted)
    if not found["members"] and not how.json:
        raise No(f"{when(found['period_start_s'])}: {member} used nothing that was metered")
    answer(found, lambda: _traced(found), how.json)


@origin.command()
def day(
    member: Member = "me",
    at: Annotated[str, Option("--at", "Any time of the day: 2026-06-21T12:00+02:00, or a UTC second.")] = "now",
    *,
    how: Asking,
) -> None:
    """Share out a day by source; the shares add up to 100 %. Exit 3 if no majority confirms a fresh answer."""
    moment = second_of(at, "--at", "now")
    span: dict[str, Any] = {} if moment == "now" else {"at_s": moment}
    found = how.ask("/api/origin/day", account=member, **span)
    answer(found, lambda: _day(found), how.json)


@origin.command("grid-carbon")
def grid_carbon(
    carbon: Annotated[int, Argument("G", "g CO2 per kWh from outside.")],
    from_: Annotated[str, Option("--from", '"next", or when the first period begins.')] = "next",
    carrier: Annotated[str, Option("--carrier", "electricity or heat.")] = "electricity",
    *,
    how: Acting,
) -> int:
    """Say what a kWh from the grid takes in CO2 (administrators). Exit 1 if the community refuses it, 3 if not known
    yet.
    """
    body = {"carbon_g_kwh": carbon, "from_s": second_of(from_, "--from", "next"), "carrier": carrier}
    what = f"{carrier} from outside takes {carbon} g CO2 per kWh"
    return how.act("/api/grid-carbon", body, what)


@certificate.command("list")
def list_certificates(
    member: Annotated[str, Option("--of", MEMBER_HELP)] = "me",
    history: Annotated[bool, Option("--history", "What became of them: issued, transferred, retired, lapsed.")] = False,
    *,
    how: Asking,
) -> None:
    """List certificates, the oldest first, or their history. Exit 3 if no majority confirms a fresh answer."""
    path = "/api/certificates/history" if history else "/api/certificates"
    found = how.ask(path, account=member)
    answer(found, lambda: _history(found) if history else _certificates(found), how.json)


@certificate.command("transfer")
def transfer(to: To, energy: Energy, source: Source = "", *, how: Acting) -> int:
    """Pass certificates on, the oldest first. Exit 1 if the community refuses it, 3 if that is not known yet."""
    from meshnode.amounts import parse_energy

    body = {"to": to, "wh": parse_energy(energy)} | ({"source": source} if source else {})
    what = f"certificates for {energy} to {to}"
    return how.act("/api/certificates/transfer", body, what)


@certificate.command()
def retire(
    energy: Energy,
    source: Source = "",
    purpose: Annotated[str, Option("--for", "For what, or for whom.")] = "",
    *,
    how: Acting,
) -> int:
    """Use certificates for a claim, once and for all. Exit 1 if the community refuses it, 3 if not known yet."""
    from meshnode.amounts import parse_energy

    body: dict[str, Any] = {"wh": parse_energy(energy)}
    body |= {name: value for name, value in (("source", source), ("purpose", purpose)) if value}
    what = f"certificates for {energy} retired; nobody can claim them again"
    return how.act("/api/certificates/retire", body, what)


@installation.command("list")
def list_installations(member: Annotated[str, Option("--of", MEMBER_HELP)] = "all", *, how: Asking) -> None:
    """List the community's plants and storages. Exit 3 if no majority confirms a fresh answer."""
    found = how.ask("/api/installations", account=member)
    answer(found, lambda: _installations(found["installations"]), how.json)


@installation.command()
def register(
    name: Annotated[str, Argument("NAME", "As people call it.")],
    kind: Annotated[str, Option("--kind", "production or storage.")],
    capacity: Annotated[int, Option("--capacity", "The most that it gives.", "W", low=1)],
    since: Annotated[str, Option("--since", '"now", or since when it is in operation.')] = "now",
    source: Annotated[str, Option("--source", "What a plant makes energy from: solar, wind, hydro ...")] = "",
    carrier: Annotated[str, Option("--carrier", "electricity or heat.")] = "",
    meter: Annotated[str, Option("--meter", "The meter that counts it, if you have several.")] = "",
    technology: Annotated[str, Option("--technology", "How it works.")] = "",
    location: Annotated[str, Option("--location", "Where it stands.")] = "",
    carbon: Annotated[int, Option("--carbon", "g CO2 per kWh that it makes.", "G", low=0)] = 0,
    efficiency: Annotated[int, Option("--efficiency", "Of a storage: so many of 1000 Wh come out.", low=0)] = 0,
    supported: Annotated[bool, Option("--supported", "Public money supports it.")] = False,
    *,
    how: Acting,
) -> int:
    """Announce a plant or a storage of yours. Exit 1 if the community refuses it, 3 if that is not known yet."""
    wishes: dict[str, Any] = {
        "source": source,
        "carrier": carrier,
        "meter": meter,
        "technology": technology,
        "location": location,
        "carbon_g_kwh": carbon,
        "efficiency_ppm": efficiency * 1000,
        "supported": int(supported),
    }
    body: dict[str, Any] = {"name": name, "kind": kind, "capacity_w": capacity}
    body["operational_s"] = second_of(since, "--since", "now")
    body |= {wish: value for wish, value in wishes.items() if value}
    what = f"{name} is announced\n    an administrator confirms it with: meshnode installation confirm ID"
    return how.act("/api/installations", body, what)


def _changing(action: str, what: str, done: str) -> Any:
    """The command that brings an installation into another state."""

    def command(installation_id: InstallationId, *, how: Acting) -> int:
        names = ("an installation's id", "meshnode installation list")
        return how.step(f"/api/installations/ID/{action}", installation_id, done, *names)

    command.__doc__ = f"{what} Exit 1 if the community refuses it, 3 if that is not known yet."
    return command


installation.command("confirm")(
    _changing("confirm", "Confirm an installation (administrators).", "it counts from the next period on")
)
installation.command("stop")(
    _changing("stop", "Stop an installation of yours.", "it does not count from the next period on")
)
installation.command("remove")(
    _changing("remove", "Remove an installation of yours from the register.", "it leaves the register")
)


def _percent(ppm: int) -> str:
    return f"{ppm // 10_000}.{ppm % 10_000 // 100:02d} %"


def _carbon(one: dict[str, Any]) -> str:
    """What is known of the CO2 of a sum of energy."""
    from meshnode.amounts import format_energy

    known = "CO2 unknown" if one["carbon_g_kwh"] is None else f"{one['carbon_g_kwh']} g CO2 per kWh"
    unknown_wh = one["carbon_unknown_wh"]
    return known + (f", unknown for {format_energy(unknown_wh)}" if 0 < unknown_wh < one["wh"] else "")


def _traced(found: dict[str, Any]) -> str:
    from meshnode.amounts import format_energy

    state = "final" if found["final"] else "may still be corrected"
    lines = [f"{when(found['period_start_s'])}, {state}"]
    for member in found["members"]:
        head = f"{member['name']}, {member['carrier']}: {format_energy(member['wh'])}, {_carbon(member)}"
        rows = [
            (
                format_energy(lot["wh"]),
                _percent(lot["ppm"]),
                lot["way"],
                lot["source"],
                " through ".join(name for name in (lot["device_name"] or lot["producer"], lot["storage_name"]) if name),
                f"{lot['issuance'][:16]} {lot['first']}-{lot['last']}" if lot["issuance"] else "",
            )
            for lot in member["lots"]
        ]
        lines += ["", head, table(rows, ("energy", "share", "way", "source", "from", "issuance and Wh"))]
    return "\n".join([*lines, "", found["disclaimer"]])


def _day(found: dict[str, Any]) -> str:
    from meshnode.amounts import format_energy

    state = "" if found["final"] else ", may still be corrected"
    lines = [f"{found['name'] or 'everybody'}, {when(found['from_s'])} to {when(found['to_s'])}{state}"]
    for one in found["carriers"]:
        rows = [
            (share["way"], share["source"], format_energy(share["wh"]), _percent(share["ppm"]))
            for share in one["shares"]
        ]
        head = f"{one['carrier']}: {format_energy(one['wh'])}, green {format_energy(one['green_wh'])}, {_carbon(one)}"
        lines += ["", head, table(rows, ("way", "source", "energy", "share"))]
    if not found["carriers"]:
        lines.append("nothing that was metered")
    return "\n".join([*lines, "", found["disclaimer"]])


def _certificates(found: dict[str, Any]) -> str:
    from meshnode.amounts import format_energy

    rows = [
        (
            when(one["period_start_s"]),
            one["owner"],
            one["source"],
            one["device_name"],
            format_energy(one["wh"]),
            f"{one['issuance'][:16]} {one['first']}-{one['last']}",
        )
        for one in found["certificates"]
    ]
    head = ("period", "owner", "source", "plant", "energy", "issuance and Wh")
    listed = table(rows, head) if rows else "no certificates"
    return f"{listed}\n\n{found['disclaimer']}"


def _history(found: dict[str, Any]) -> str:
    from meshnode.amounts import format_energy

    rows = [
        (when(one["time_s"]), one["change"], format_energy(one["wh"]), one["owner"], one["taker"], one["purpose"])
        for one in found["history"]
    ]
    head = ("time", "what", "energy", "owner", "to", "for")
    listed = table(rows, head) if rows else "no certificates so far"
    return f"{listed}\n\n{found['disclaimer']}"


def _installations(found: list[dict[str, Any]]) -> str:
    rows = [
        (
            one["name"],
            one["owner"],
            one["kind"],
            one["source"],
            one["carrier"],
            f"{one['capacity_w']} W",
            one["state"],
            one["installation"],
        )
        for one in found
    ]
    head = ("name", "owner", "kind", "source", "carrier", "power", "state", "id")
    return table(rows, head) if rows else "no installations"
