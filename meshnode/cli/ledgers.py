"""Ledgers: `meshnode ledger` and `meshnode receipt` - checked and proved without asking anybody."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated, Any

from meshnode.cli.output import NO, Fault, Json, No, answer, colour, progress
from meshnode.cli.parser import FINE, Argument, Group, Option
from meshnode.cli.place import (
    Chain,
    DirArgument,
    Where,
    chain_id_of,
    microgrid_place,
    node_directory,
    read_input,
    write_output,
)

ledger = Group("The ledger on disk: verify it, look into it.")
receipt = Group("Proofs that a record is on the ledger; receipt ID writes one.", default="get")


def add_to(app: Group) -> None:
    """Add the groups to the command line."""
    app.add("ledger", ledger)
    app.add("receipt", receipt)


@ledger.command()
def verify(
    directory: DirArgument = None,
    state_at: Annotated[
        int | None,
        Option("--state-at", "Also tell the state hash after this height, to compare it with a neighbour's.", low=1),
    ] = None,
    json: Json = False,
) -> int:
    """Check every signature, hash and certificate, and execute every block again.

    Exit 1 at the first bad entry, or if the height of --state-at is not final here.
    """
    import msgspec

    from meshnode.ledger_tools import verify as verify_ledger
    from meshnode.plugins import install

    place = node_directory(directory)
    with progress("verifying", not json) as show:
        found = verify_ledger(place, install(), show, state_at)
    chains = [msgspec.to_builtins(chain, enc_hook=str) for chain in found.chains]
    value = {"ok": found.ok, "state_at": found.chains[0].state_at, "chains": chains}
    answer(value, lambda: "\n\n".join(_describe(chain, state_at) for chain in found.chains), json)
    known = state_at is None or all(chain.state_at for chain in found.chains)
    return FINE if found.ok and known else NO


def _wanted_state(chain: Any, height: int | None) -> list[str]:
    if height is None:
        return []
    unknown = f"not known here, the final height is {chain.final_height}"
    return [f"  state hash after height {height}: {chain.state_at or unknown}"]


def _describe(chain: Any, state_at: int | None) -> str:
    lines = [
        f"{chain.community or '?'}  chain {chain.chain_id}",
        f"  blocks        {chain.blocks}",
        f"  records       {chain.records}" + "".join(f", {count} {name.lower()}" for name, count in chain.verdicts),
        f"  certificates  {chain.certificates}",
        f"  signatures    {chain.signatures}",
    ]
    if chain.bad is None:
        lines += [
            f"  final height  {chain.final_height}",
            f"  state hash    {chain.state_hash}",
            *_wanted_state(chain, state_at),
            f"  {colour('everything holds', 'green', sys.stdout)} ({chain.duration_s:.1f} s)",
        ]
    else:
        lines += _damage(chain.place, chain.bad)
    return "\n".join(lines)


def _damage(place: Path, bad: Any) -> list[str]:
    """What does not hold, for people first; then the details, and what to do."""
    from meshnode.store.place import GENESIS_FILE, mend, refill

    if bad.part == "genesis":
        what = "the genesis was altered, misplaced, or is of another version"
        remedy = f"copy {GENESIS_FILE} again from another member of the community"
    else:
        where, remedy = (f"at block {bad.height}", mend(place)) if bad.height else ("as a whole", refill(place))
        what = f"this ledger is damaged or was altered {where}"
    return [f"  {colour('bad', 'red', sys.stdout)}: {what}", f"    {remedy}", f"    details: {bad}"]


@ledger.command()
def show(height: Annotated[int, Argument("HEIGHT", "Which block.", low=1)], *, how: Where) -> None:
    """Print a block: header, records with their verdicts, and who signed for it."""
    from meshnode.ledger_tools import show as show_block
    from meshnode.plugins import install

    place = how.place
    block = show_block(place, height, install(), chain_id_of(place, how.chain))
    answer(block, lambda: _describe_block(block), how.json)


def _describe_block(block: dict[str, Any]) -> str:
    lines = [
        f"block {block['height']} of {block['community']}" + ("" if block["final"] else ", not final yet"),
        f"  hash    {block['hash']}",
        f"  leader  {_who(block['leader'])}",
        *(f"  {key:13} {value}" for key, value in block["header"].items()),
    ]
    certificate = block["certificate"]
    if certificate is not None:
        signers = ", ".join(_who(signer) for signer in certificate["signed_by"])
        lines.append(f"  certified at height {certificate['height']} by {signers}")
    for position, record in enumerate(block["records"]):
        lines.append(
            f"  record {position}: {record['kind']} by {_who(record['signer'])}, {record['meaning'] or 'open'}"
        )
        lines.append(f"    {record['id']}")
        lines.append(f"    {jsonlib.dumps(record['fields'], ensure_ascii=False)}")
    return "\n".join(lines)


def _who(signer: dict[str, Any]) -> str:
    return f"{signer['member']} ({signer['purpose']} key)" if signer["member"] else f"key {signer['key']}"


@ledger.command()
def refetch(directory: DirArgument = None, chain: Chain = "", json: Json = False) -> None:
    """Set a lost or damaged ledger aside and begin an empty one, which the node fills from its neighbours.

    The node must be stopped. What a validator signed is lost with its ledger: its device key is retired, the node
    makes a new one by itself and follows with it, and an administrator has that one vote. The only validator of
    a microgrid cannot do this.
    """
    from datetime import UTC, datetime

    from meshnode import keys
    from meshnode.config import KEYS_DIRECTORY
    from meshnode.store.refounding import refound
    from meshnode.views import FILE as VIEWS_FILE

    place = microgrid_place(node_directory(directory), chain).absolute()
    node = place.parent.parent
    device = keys.load(node / KEYS_DIRECTORY / keys.DEVICE_KEY)
    name = datetime.now(UTC).strftime("set-aside-%Y-%m-%dT%H-%M-%SZ")
    aside = refound(node, bytes.fromhex(place.name), device.public, name, [VIEWS_FILE])
    value = {"directory": str(node), "chain_id": place.name, "set_aside": str(aside)}
    text = (
        f"{node}: the ledger is empty now; the old files are in {aside}\n"
        f"    the node fetches the ledger from its neighbours when it runs: meshnode run {node}"
    )
    answer(value, text, json)


@receipt.command("get")
def get(
    record_id: Annotated[str, Argument("RECORD_ID", "64 hex digits, as the ledger shows them.")],
    out: Annotated[Path | None, Option("--out", "The file to write; else the record id with .receipt.")] = None,
    *,
    how: Where,
) -> None:
    """Write the proof that a record is on the ledger into a file."""
    from meshnode.ledger_tools import receipt as make_receipt
    from meshnode.plugins import install
    from protocols.receipt import FILE_EXTENSION

    wanted = record_id_of(record_id)
    place = how.place
    data = make_receipt(place, wanted, install(), chain_id_of(place, how.chain))
    file = out or Path(f"{wanted.hex()}{FILE_EXTENSION}")
    write_output(file, data)
    answer({"file": str(file), "bytes": len(data)}, f"{file}: {len(data)} bytes", how.json)


def record_id_of(text: str, what: str = "a record id", source: str = "meshnode ledger show") -> bytes:
    """A record id as a person gives it.

    Args:
        what: the person was asked for.
        source: the command that shows it.
    Raises:
        Fault: it is none.
    """
    from protocols.cose import HASH_BYTES

    try:
        wanted = bytes.fromhex(text)
    except ValueError:
        wanted = b""
    if len(wanted) != HASH_BYTES:
        raise Fault(f"{text}: not {what}\n    it has {2 * HASH_BYTES} hex digits; see: {source}")
    return wanted


@receipt.command("check")
def check(
    file: Annotated[str, Argument("FILE", "A receipt; - reads it from stdin.")],
    genesis: Annotated[
        Path | None, Option("--genesis", "The microgrid's genesis.cbor; else that of the node's directory.")
    ] = None,
    *,
    how: Where,
) -> None:
    """Check a receipt with nothing but the genesis. Exit 1 if it does not hold."""
    from meshnode.amounts import format_count
    from meshnode.ledger_tools import check_receipt
    from meshnode.store.place import GENESIS_FILE
    from protocols.receipt import ReceiptError
    from protocols.records.jsonform import to_json

    data = read_input(file)
    if genesis is None:
        genesis = microgrid_place(how.place, how.chain) / GENESIS_FILE
    genesis_bytes = read_input(str(genesis))
    try:
        verdict = check_receipt(data, genesis_bytes)
    except ReceiptError as error:
        raise No(f"{file}: {error}") from error
    value = {
        "ok": True,
        "record_id": verdict.record_id.hex(),
        "kind": type(verdict.record).__name__,
        "fields": to_json(verdict.record),
        "height": verdict.height,
        "index": verdict.index,
        "time_s": verdict.time_s,
        "block_hash": verdict.block_hash.hex(),
        "certified_height": verdict.certified_height,
        "validators": verdict.validators,
        "signer": verdict.signer.hex(),
        "member": verdict.member,
        "note": verdict.note,
        "changes": verdict.changes,
    }
    validators = format_count(verdict.validators, "validator")
    changed = f", {format_count(verdict.changes, 'change')} of validators after the genesis" if verdict.changes else ""
    text = (
        f"{file}: {colour('holds', 'green', sys.stdout)}\n"
        f"  {value['kind']} {value['record_id']}\n"
        f"  by {verdict.member or value['signer']}: {verdict.note}\n"
        f"  record {verdict.index} of block {verdict.height}, certified by {validators} "
        f"at height {verdict.certified_height}{changed}\n"
        f"  {jsonlib.dumps(value['fields'], ensure_ascii=False)}"
    )
    answer(value, text, how.json)
