"""Governance: `meshnode binding propose` and its kin - which contract the community has, and which it wants."""

from __future__ import annotations

from typing import Annotated, Any

from meshnode.cli.bindings import File, group, mistakes_of
from meshnode.cli.output import Fault, answer, table
from meshnode.cli.parser import FINE, MEND, Argument, Group, Option
from meshnode.cli.place import Where, read_input
from meshnode.cli.tokens import when
from meshnode.cli.trading import Acting, Asking, second_of

Named = Annotated[str, Argument("HASH", "The first digits of the binding's hash, or of the proposal's record id.")]
# As many as nobody types by accident for another one.
SHORTEST = 4
DAY_S = 86_400
HOUR_S = 3_600


def add_to(app: Group) -> None:
    """The commands stand in the group `binding` already."""


@group.command()
def propose(
    file: File,
    not_before: Annotated[str, Option("--not-before", "It begins no sooner: 2027-01-01T00:00+01:00.", "TIME")] = "",
    *,
    how: Acting,
) -> int:
    """Put another binding to the vote. Exit 1 if the community refuses it, 3 if that is not known yet."""
    from zencode import commands

    text = read_input(file)
    with mistakes_of(file):
        code = commands.hash(text)
    body: dict[str, Any] = {"text": text.decode()}
    if not_before:
        body["not_before_s"] = second_of(not_before, "--not-before", "")
    what = (
        f"binding {code[:16]} is proposed\n"
        f"    members vote with: meshnode binding vote {code[:16]} yes\n"
        "    how it stands: meshnode binding status"
    )
    return how.act("/api/proposals", body, what)


@group.command()
def vote(
    named: Named,
    choice: Annotated[str, Argument("CHOICE", "yes, no or abstain; it stands.")],
    *,
    how: Acting,
) -> int:
    """Vote on a binding that is proposed. Exit 1 if the community refuses the vote, 3 if that is not known yet."""
    if choice not in ("yes", "no", "abstain"):
        raise Fault(f"{choice}: no choice\n    write yes, no or abstain")
    found = _find(how, named)
    what = f"you voted {choice} on binding {found['binding'][:16]}, proposed by {found['by']}"
    return how.act(f"/api/proposals/{found['proposal']}/vote", {"choice": choice}, what)


@group.command()
def withdraw(named: Named, *, how: Acting) -> int:
    """Take back a binding that you proposed, before it is adopted. Exit 1 if the community refuses, 3 if not known."""
    found = _find(how, named)
    what = f"binding {found['binding'][:16]} is proposed no more"
    return how.act(f"/api/proposals/{found['proposal']}/withdraw", {}, what)


@group.command()
def status(*, how: Asking) -> int:
    """Say which binding is in force, which are proposed, who has voted and what is missing. Exit 2 if this node lacks
    what an adopted binding needs, 3 if no majority confirms a fresh answer.
    """
    found = how.ask("/api/bindings")
    answer(found, lambda: _status(found), how.json)
    return MEND if any(one["lacks"] and one["status"] == "adopted" for one in found["proposals"]) else FINE


@group.command()
def history(*, how: Asking) -> None:
    """List the bindings that were in force, and what became of proposals. Exit 3 if no majority confirms it."""
    found = how.ask("/api/bindings/history")
    answer(found, lambda: _history(found), how.json)


@group.command()
def text(
    named: Named,
    *,
    how: Where,
) -> int:
    """Print a proposed binding as its author wrote it. Exit 2 if its text does not say what the binding does."""
    key = _find(how, named)["proposal"]
    found = how.ask(f"/api/proposals/{key}")
    warning = f"\nDO NOT VOTE FOR IT: {found['problem']}" if found["problem"] else ""
    answer(found, lambda: found["text"].rstrip("\n") + warning, how.json)
    return MEND if found["problem"] else FINE


@group.command()
def pause(
    reason: Annotated[str, Argument("REASON", "Why, for all members to read.")],
    hours: Annotated[int, Option("--for", "It ends by itself after so long.", "HOURS", low=1, high=30 * 24)] = 24,
    *,
    how: Acting,
) -> int:
    """Stop the matching of orders in an emergency; all else goes on (administrators, for a week at most, and whom the
    binding lets). Exit 1 if the community refuses
    it, 3 if that is not known yet.
    """
    what = (
        f"no orders meet for {hours} hours at most; readings, settlement and payments go on\n"
        "    it ends sooner with: meshnode binding resume"
    )
    return how.act("/api/matching/pause", {"for_s": hours * HOUR_S, "reason": reason}, what)


@group.command()
def resume(*, how: Acting) -> int:
    """Let orders meet again (administrators). Exit 1 if the community refuses it, 3 if that is not known yet."""
    return how.act("/api/matching/resume", {}, "orders meet again")


def _find(how: Acting | Where, named: str) -> dict[str, Any]:
    """The proposal that somebody means. Raises Fault: none, or several."""
    listed: list[dict[str, Any]] = Where(how.directory, how.chain).ask("/api/bindings")["proposals"]
    wanted = named.lower()
    meant = [
        one
        for one in listed
        if len(wanted) >= SHORTEST and any(one[name].startswith(wanted) for name in ("proposal", "binding"))
    ]
    if len(meant) == 1:
        return meant[0]
    known = "".join(f"\n    {one['binding'][:16]} proposed by {one['by']}, id {one['proposal'][:16]}" for one in listed)
    if meant:
        raise Fault(f"{named}: several proposals begin like that; give more digits, or the record id{known}")
    raise Fault(f"{named}: no such proposal is open{known or f'{chr(10)}    see: meshnode binding history'}")


# --- in words


def _status(found: dict[str, Any]) -> str:
    lines = [
        f"in force: binding {found['in_force'][:16]}",
        f"it changes with {_percent(found['votes_ppm'])} of the members' votes and {_span(found['notice_s'])} notice",
    ]
    if found["pause"]:
        one = found["pause"]
        lines.append(f"MATCHING IS PAUSED by {one['by']} until {when(one['until_s'])} at the latest: {one['reason']}")
    if not found["proposals"]:
        lines.append("nothing is proposed")
    for one in found["proposals"]:
        lines += ["", *_proposal(one)]
    return "\n".join(lines)


def _proposal(one: dict[str, Any]) -> list[str]:
    """What a member wants to know of a proposal."""
    title = f" «{one['title']}»" if one["title"] else ""
    lines = [f"binding {one['binding'][:16]}{title}, proposed by {one['by']} on {when(one['proposed_s'])}"]
    said: dict[str, list[str]] = {"yes": [], "no": [], "abstain": []}
    for ballot in one["votes"]:
        said[ballot["choice"]].append(ballot["member"])
    votes = [f"    {choice}: {', '.join(sorted(names))}" for choice, names in said.items() if names]
    if one["status"] == "waiting":
        lines.append(
            f"    nobody votes yet: {one['able']} of {one['nodes']} nodes have declared that they could carry it out, "
            f"90 % are needed; missing: {', '.join(one['unable'])} (they upgrade meshnode)"
        )
    elif one["status"] == "open":
        left = one["needed"] - one["yes"]
        lines.append(f"    open until {when(one['until_s'])}: {one['yes']} of the {one['needed']} votes that adopt it")
        if one["turnout"]:
            lines.append(f"    it counts only with {one['turnout']} votes for or against it, at least")
        lines += [*votes, f"    {left} more needed; not voted yet: {', '.join(one['outstanding']) or 'nobody'}"]
    else:
        late = f", put off {one['deferred']} times as too few validators could carry it out" if one["deferred"] else ""
        lines.append(f"    adopted with {one['yes']} of {one['electorate']} votes")
        lines += [*votes, f"    begins on {when(one['from_s'])}, with a settlement period{late}"]
        if one["unable"]:
            lines.append(f"    nodes that will stop then, unless they are upgraded: {', '.join(one['unable'])}")
    if one["lacks"]:
        lines.append(f"    THIS NODE LACKS {', '.join(one['lacks'])}: upgrade meshnode and start it again")
    if one["status"] == "open":
        lines.append(f"    read it with: meshnode binding text {one['binding'][:16]}")
    return lines


def _history(found: dict[str, Any]) -> str:
    lines = [(when(one["from_s"]) if one["from_s"] else "the founding", one["binding"]) for one in found["in_force"]]
    shown = [table(lines, ("in force from", "binding"))]
    over = [
        (
            when(one["decided_s"]),
            one["binding"][:16],
            one["by"],
            one["status"],
            f"{one['yes']} yes, {one['no']} no of {one['electorate']}",
        )
        for one in found["proposals"]
    ]
    return "\n\n".join([*shown, *([table(over, ("decided", "binding", "by", "became", "votes"))] if over else [])])


def _percent(ppm: int) -> str:
    whole, rest = divmod(ppm, 10_000)
    return f"{whole} %" if not rest else f"{whole}.{f'{rest:04}'.rstrip('0')} %"


def _span(seconds: int) -> str:
    for size, name in ((DAY_S, "days"), (HOUR_S, "hours"), (60, "minutes")):
        if seconds % size == 0:
            return f"{seconds // size} {name}"
    return f"{seconds} seconds"
