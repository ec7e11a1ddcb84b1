"""Community: `meshnode members` and `meshnode validators` - who takes part and who agrees, and changing that."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated, Any

from meshnode.cli.output import answer, colour, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.place import Where, spelled_again
from meshnode.cli.trading import Acting

members = Group("Members: who belongs to the community.", default="list", alone=True)
validators = Group("Validators: whose nodes agree on the ledger.", default="list", alone=True)

Who = Annotated[str, Argument("WHO", "A member's name, or a device key as meshnode validators shows it.")]


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.add("members", members)
    app.add("validators", validators)


@members.command("list")
def list_members(
    everybody: Annotated[bool, Option("--all", "Also those who have left.")] = False, *, how: Where
) -> None:
    """List the members, with their roles and nodes. Newcomers come in with: meshnode invite."""
    found = how.ask("/api/members")["members"]
    shown = [one for one in found if everybody or not one["left_s"]]
    answer({"members": shown}, lambda: _members(shown), how.json)


@members.command("remove")
def remove_member(name: Annotated[str, Argument("NAME", "The member's name, or account id.")], *, how: Acting) -> int:
    """End a membership: your own, or as administrator anybody's. Exit 1 if refused, 3 if that is not known yet."""
    return how.act("/api/members/leave", {"member": name})


@members.command()
def unfreeze(name: Annotated[str, Argument("NAME", "The member's name, or account id.")], *, how: Acting) -> int:
    """Let a frozen account act again, as administrator. Exit 1 if refused, 3 if that is not known yet."""
    return how.act("/api/members/unfreeze", {"member": name}, f"{name} may order, pay and redeem again")


@validators.command("list")
def list_validators(*, how: Where) -> None:
    """List the validators and the nodes that could become one, and what the autopilot proposes."""
    found = how.ask("/api/validators")
    answer(found, lambda: _validators(found, spelled_again(how.place, how.chain)), how.json)


@validators.command()
def add(
    who: Who,
    anyway: Annotated[bool, Option("--anyway", "Even if it is not known to have caught up.")] = False,
    *,
    how: Acting,
) -> int:
    """Have a member's node validate, as administrator. Exit 1 if refused, 3 if that is not known yet."""
    body = {"action": "add", "who": who, "anyway": int(anyway)}
    return how.act("/api/validators", body)


@validators.command()
def remove(who: Who, *, how: Acting) -> int:
    """Have a node validate no more, as administrator; it goes on following. Exit 1 if refused, 3 if not known yet."""
    body = {"action": "remove", "who": who, "anyway": 0}
    return how.act("/api/validators", body)


@validators.command()
def mode(
    name: Annotated[str, Argument("MODE", "majority (any may fail) or byzantine (some may lie).")], *, how: Acting
) -> int:
    """Set how many must agree, as administrator. Exit 1 if refused, 3 if that is not known yet."""
    body = {"action": "mode", "who": name, "anyway": 0}
    return how.act("/api/validators", body)


def _members(found: list[dict[str, Any]]) -> str:
    rows = [
        (
            one["name"],
            ", ".join(one["roles"]),
            str(one["meters"]),
            "validates" if one["validates"] else ("follows" if one["device_key"] else "none"),
            datetime.fromtimestamp(one["joined_s"]).strftime("%Y-%m-%d"),
            datetime.fromtimestamp(one["left_s"]).strftime("%Y-%m-%d") if one["left_s"] else "",
            one["account"],
        )
        for one in found
    ]
    return table(rows, ("name", "roles", "meters", "node", "joined", "left", "account"))


def _validators(found: dict[str, Any], where: str) -> str:
    from protocols.cose import key_id_of

    seats = found["seats"]
    rows = [
        (
            str(seat["number"] or "-"),
            seat["member"],
            seat["role"] + (", leads" if seat["leads"] else ""),
            str(seat["epoch"]) if seat["number"] else "-",
            "this node" if seat["own"] else (f"{_span(seat['absent_s'])} ago" if seat["absent_s"] else "now"),
            str(seat["height"]) if seat["height"] >= 0 else "?",
            "yes" if seat["caught_up"] else ("?" if seat["height"] < 0 else "no"),
            # What logs and evidence name a key by, and what `add` and `remove` take.
            key_id_of(bytes.fromhex(seat["device_key"])).hex(),
        )
        for seat in seats
    ]
    count = sum(seat["role"] in ("validator", "joining") for seat in seats)
    here = sum(seat["role"] in ("validator", "leaving") and not seat["absent_s"] for seat in seats)
    fail = "lie" if found["mode"] == "byzantine" else "fail"
    lines = [
        table(rows, ("no", "member", "role", "session", "seen", "height", "caught up", "device key")),
        f"{found['mode']}: {found['quorum']} of {count} must agree, {found['tolerates']} may {fail}; "
        f"height {found['height']}",
    ]
    if here < found["quorum"]:
        short = (
            f"seen from here: {here} of the {found['quorum']} that are needed; nothing becomes final before more run"
        )
        lines += [colour(short, "red", sys.stdout)]
    if found["proposal"] is not None:
        lines += [colour(_why(found["proposal"]), "yellow", sys.stdout)]
        lines += [f"    {command}{where}" for command in found["commands"]]
        if not found["may_decide"]:
            lines += ["    an administrator can do this"]
    return "\n".join(lines)


def _why(proposal: dict[str, Any]) -> str:
    gone, span = proposal["gone"], _span(proposal["absent_s"])
    return {
        "gone": f"{gone} has not been seen for {span}; proposed, one after the other:",
        "even": "one validator more tolerates one failure more; proposed:",
        "back": "nothing is in the way of byzantine mode any more, if it was left for a replacement; proposed:",
    }[proposal["reason"]]


def _span(seconds: int) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
