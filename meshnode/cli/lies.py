"""Lies: `meshnode evidence` - who was found out, evidence checked by anybody, and two ledgers compared."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from meshnode.cli.output import NO, Fault, Json, No, answer, colour
from meshnode.cli.parser import FINE, Argument, Group, Option
from meshnode.cli.place import Chain, DirArgument, Where, chain_id_of, node_directory, read_input
from meshnode.cli.place import write_output as write

group = Group("Validators that lied: who was found out, and what proves it.")

First = Annotated[Path, Argument("DIR", "A node's directory, or a copy of its microgrid's.")]
Second = Annotated[Path, Argument("OTHER", "The same of another node.")]


def add_to(app: Group) -> None:
    """Add the group to the command line."""
    app.add("evidence", group)


def described(lie: Mapping[str, Any]) -> str:
    """A lie in words, as the running node tells of it."""
    from meshnode.ledger.findings import SENTENCES
    from protocols.evidence import EvidenceKind

    what = SENTENCES[EvidenceKind[lie["kind"]]].format(term=lie["term"], height=lie["height"])
    return f"the node of {lie['name']} {what}"


@group.command()
def show(directory: DirArgument = None, chain: Chain = "", json: Json = False) -> int:
    """Say who was found out, on this ledger and by this node alone. Exit 1 if somebody is convicted."""
    import msgspec

    from meshnode.ledger_tools import show_lies
    from meshnode.plugins import install

    place = node_directory(directory)
    found = show_lies(place, install(), chain_id_of(place, chain))
    lines = [_line(lie) for lie in found] or ["nobody was found out"]
    answer({"found_out": [msgspec.to_builtins(lie) for lie in found]}, "\n".join(lines), json)
    return NO if any(lie.status == "proved" for lie in found) else FINE


@group.command()
def check(
    file: Annotated[str, Argument("FILE", "Evidence, as a node keeps it beside its ledger; - reads it from stdin.")],
    genesis: Annotated[
        Path | None, Option("--genesis", "The microgrid's genesis.cbor; else the ledger in the node's directory.")
    ] = None,
    *,
    how: Where,
) -> None:
    """Check evidence offline. Exit 1 if it does not prove its case.

    With --genesis it needs nothing else, and knows the validators of the genesis; without, also those that
    the ledger in the node's directory has had since.
    """
    import msgspec

    from meshnode.ledger_tools import check_lie, roll_of_genesis, roll_of_ledger
    from meshnode.plugins import install
    from protocols.records import RecordError
    from protocols.trial import EvidenceError

    data = read_input(file)
    if genesis is None:
        place = how.place
        roll = roll_of_ledger(place, install(), chain_id_of(place, how.chain))
    else:
        roll = roll_of_genesis(read_input(str(genesis)))
    try:
        lie = check_lie(data, roll)
    except EvidenceError as error:
        raise No(f"{file}: proves nothing\n    details: {error}") from error
    except RecordError as error:
        raise Fault(
            f"{file}: this is no evidence; expected a file from the folder evidence/ beside a ledger, "
            f"or from: meshnode evidence compare DIR OTHER --out PATH\n    details: {error}"
        ) from error
    text = f"{file}: {colour('holds', 'green', sys.stdout)}\n  {_line(lie)}"
    answer({"ok": True} | msgspec.to_builtins(lie), text, how.json)


@group.command()
def compare(
    first: First,
    second: Second,
    out: Annotated[Path | None, Option("--out", "Write the evidence into this directory, a file each.")] = None,
    json: Json = False,
) -> int:
    """Hold two ledgers of one microgrid against each other. Exit 1 if they contradict or convict anybody."""
    import msgspec

    from meshnode.ledger_tools import compare_ledgers, evidence_bytes
    from meshnode.plugins import install

    places = (first, second)
    found = compare_ledgers(places, [_owner(place) for place in places], install())
    lies = (*found.lies, *found.asked)
    files: list[str] = []
    if out is not None and lies:
        out.mkdir(parents=True, exist_ok=True)
        for lie, evidence in zip(lies, found.evidence, strict=True):
            path = out / f"{lie.kind.lower()}-{lie.accused}-{lie.term}.evidence"
            write(path, evidence_bytes(evidence))
            files.append(str(path))
    value = {
        "parted_at": found.parted_at or None,
        "found_out": [msgspec.to_builtins(lie) for lie in found.lies],
        "asked": [msgspec.to_builtins(lie) for lie in found.asked],
        "unreadable": found.unreadable,
        "files": files,
    }
    if found.parted_at:
        lines = [f"{colour('two histories', 'red', sys.stdout)}: the ledgers part at block {found.parted_at}"]
    else:
        lines = ["one history: wherever both have a final block it is the same"]
    lines += [_line(lie) for lie in lies] or ["nobody is convicted by what is here"]
    if found.unreadable:
        lines.append(f"{found.unreadable} parts of the ledgers cannot be read; verify both: meshnode ledger verify DIR")
    answer(value, "\n".join([*lines, *files]), json)
    return NO if found.parted_at or found.lies else FINE


def _line(lie: Any) -> str:
    who = f"the node of {lie.name}" if lie.name else f"the node {lie.accused}"
    line = {
        "proved": f"{colour('found out', 'red', sys.stdout)}: {who} {lie.words}",
        "asked": f"{colour('asked', 'yellow', sys.stdout)}: {who} {lie.words}; an election in between could explain it",
        "answered": f"answered: {who} {lie.words}",
    }[lie.status]
    return f"{line}\n    {lie.source}" if lie.source else line


def _owner(directory: Path) -> bytes:
    """Device key id of the node whose directory this is; nothing of a copy without its keys."""
    from meshnode import keys
    from meshnode.config import KEYS_DIRECTORY

    path = directory / KEYS_DIRECTORY / keys.DEVICE_KEY
    return keys.load(path).key_id if path.exists() else b""
