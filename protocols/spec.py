"""Specification: SPEC.md and spec.cddl, written from the tables that the code uses.

    python -m protocols.spec          write both files anew
    python -m protocols.spec --check  exit 1 if one of them is stale

Between `<!-- table NAME -->` and `<!-- end -->` SPEC.md holds the table of fields of a
record, between `<!-- example NAME -->` and `<!-- end -->` a test vector; all else in it
is written by hand. Only `main` reads and writes files.
"""

from __future__ import annotations

import json
import pathlib
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from protocols import cose, freshness, gossip, joining, parcel, signatures, sync
from protocols.records import BLOCK_RECORDS, KINDS, Record
from protocols.records.genesis import MAX_BLOCK_RECORDS, MAX_VALIDATORS
from protocols.records.schema import (
    UINT32_MAX,
    UINT63_MAX,
    Bool,
    Bytes,
    Column,
    Int,
    ListOf,
    Maybe,
    Name,
    Nested,
    OneOf,
    Row,
    Table,
    Text,
    Type,
    cddl_name,
    columns,
)
from protocols.records.statements import INVITATION_BYTES, JOIN_REQUEST_KIND

HERE = pathlib.Path(__file__).parent
SPEC_FILE = HERE / "SPEC.md"
CDDL_FILE = HERE / "spec.cddl"
EXAMPLES_FILE = HERE / "vectors" / "records.json"

# Longest suffix first: `_u_kwh` is no energy.
UNITS = (
    ("_u_kwh", "micro-units per kWh"),
    ("_varh", "varh"),
    ("_wh", "Wh"),
    ("_ppm", "ppm"),
    ("_bytes", "bytes"),
    ("_w", "W"),
    ("_ms", "ms"),
    ("_s", "s"),
)

_HEX_COLUMNS = 96
_SECTION = re.compile(r"<!-- (table|example) (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def unit_of(name: str) -> str:
    """The unit that a field's name ends with; empty for a plain number or no number."""
    return next((unit for suffix, unit in UNITS if name.endswith(suffix)), "")


def type_words(wire: Type) -> tuple[str, str]:
    """(type, bound) of a wire type, as words for a table."""
    match wire:
        case Int():
            return "integer", f"{_number(wire.low)} to {_number(wire.high)}"
        case Bool():
            return "boolean", ""
        case Bytes():
            return "bytes", _span(wire.low, wire.high)
        case Name():
            return "name", f"{_span(wire.low, wire.high)} bytes"
        case Text():
            return "text", f"{_span(wire.low, wire.high)} bytes"
        case ListOf():
            word, bound = type_words(wire.item)
            order = ", ascending by whole rows" if wire.whole else ", ascending" if wire.ascending else ""
            return f"list of {word}", f"{_span(wire.low, wire.high)} items{order}" + (
                f"; each {bound}" if bound else ""
            )
        case Row():
            parts = [f"{name}: {' '.join(filter(None, type_words(item)))}" for name, item in wire.columns.items()]
            return "row", f"[{', '.join(parts)}]"
        case Maybe():
            word, bound = type_words(wire.item)
            return f"{word} or null", bound
        case Nested():
            return wire.struct.__name__, ""
        case OneOf():
            return "union", " or ".join(f"[{tag}, {struct.__name__}]" for tag, struct in wire.variants.values())
    raise TypeError(f"{type(wire).__name__} has no words")


def table_of(struct: type[Table]) -> str:
    """The Markdown table of a record's fields, with its first sentence above."""
    lines = [_summary(struct), ""]
    if issubclass(struct, Record):
        lines[0] = f"**{struct.__name__}**, kind {struct.KIND}. {lines[0]}"
    else:
        lines[0] = f"**{struct.__name__}**. {lines[0]}"
    lines += ["| key | name | type | bound | unit | meaning |", "|---|---|---|---|---|---|"]
    for column in columns(struct):
        word, bound = type_words(column.type)
        meaning = column.meaning + ("" if not column.optional else f" (optional{_default(column)})")
        lines.append(f"| {column.key} | `{column.name}` | {word} | {bound} | {unit_of(column.name)} | {meaning} |")
    return "\n".join(lines)


def example_of(vector: Mapping[str, Any]) -> str:
    """A test vector as a block of text: the fields, then the bytes in hex."""
    lines = ["```", f"{vector['kind']} {json.dumps(vector['fields'], indent=2, ensure_ascii=False)}", ""]
    for name in ("payload", "sig_structure", "envelope", "record_id"):
        if name in vector:
            lines += [f"{name} ({len(vector[name]) // 2} bytes)", *_folded(vector[name]), ""]
    lines[-1] = "```"
    return "\n".join(lines)


def spec_text(current: str, vectors: Mapping[str, Mapping[str, Any]]) -> str:
    """SPEC.md with its generated parts made anew.

    Args:
        vectors: test vectors by name, for the worked examples.
    Raises:
        KeyError: a marker names no table or no vector.
    """
    tables = {struct.__name__: struct for struct in all_tables()}

    def part(match: re.Match[str]) -> str:
        kind, name = match.groups()
        body = table_of(tables[name]) if kind == "table" else example_of(vectors[name])
        return f"<!-- {kind} {name} -->\n{body}\n<!-- end -->"

    return _SECTION.sub(part, current)


def all_tables() -> tuple[type[Table], ...]:
    """Every record by kind, then the tables inside them in the order of first use."""
    # A module that declares records of its own must be imported before they are counted.
    messages = {parcel.Parcel, gossip.Digest, sync.Chunk, signatures.Signatures, freshness.HeightAnswer, joining.Knock}
    assert messages <= set(KINDS.values())
    found: dict[type[Table], None] = dict.fromkeys(KINDS[kind] for kind in sorted(KINDS))
    for struct in list(found):
        for wire in _types_of(struct):
            for inner in _structs_in(wire):
                found.setdefault(inner)
    return tuple(found)


def cddl_text() -> str:
    """spec.cddl: the records' tables and the rules around them (RFC 8610)."""
    records = [KINDS[kind] for kind in sorted(KINDS)]
    rules = [_CDDL_HEAD.strip(), _choice("record", "any record", records)]
    rules.append(_choice("block-record", "what a block may carry", [KINDS[kind] for kind in sorted(BLOCK_RECORDS)]))
    rules += [_rule(struct, cddl_name(struct)) for struct in all_tables()]
    inside = {wire.cddl(): wire.struct for wire in _all_types() if isinstance(wire, Nested)}
    rules += [_rule(struct, name, kind=False) for name, struct in inside.items() if issubclass(struct, Record)]
    named = {wire.cddl(): wire.cddl_rule() for wire in _all_types()}
    rules += [f"{name} = {rule}" for name, rule in named.items() if rule is not None]
    return "\n\n".join(rules) + "\n"


def _rule(struct: type[Table], name: str, *, kind: bool = True) -> str:
    lines = [f"; {_summary(struct)}", f"{name} = {{"]
    if kind and issubclass(struct, Record):
        lines.append(f"  0: {struct.KIND}, ; kind")
    for column in columns(struct):
        mark = "? " if column.optional else ""
        lines.append(f"  {mark}{column.key}: {column.type.cddl()}, ; {column.name}: {column.meaning}")
    return "\n".join([*lines, "}"])


def _choice(name: str, meaning: str, structs: list[type[Record]]) -> str:
    return f"; {meaning}\n{name} = " + " /\n  ".join(cddl_name(struct) for struct in structs)


def _all_types() -> Iterator[Type]:
    for struct in all_tables():
        yield from _types_of(struct)


def _types_of(struct: type[Table]) -> Iterator[Type]:
    """The wire types of a table's fields and all types inside them, but not inside nested tables."""
    pending: list[Type] = [column.type for column in columns(struct)]
    while pending:
        wire = pending.pop(0)
        yield wire
        if isinstance(wire, ListOf | Maybe):
            pending.append(wire.item)
        elif isinstance(wire, Row):
            pending += wire.columns.values()


def _structs_in(wire: Type) -> Iterator[type[Table]]:
    """The tables that a type names, and those that they name."""
    named = [wire.struct] if isinstance(wire, Nested) else []
    if isinstance(wire, OneOf):
        named = [struct for _, struct in wire.variants.values()]
    for struct in named:
        yield struct
        for inner in _types_of(struct):
            yield from _structs_in(inner)


def _summary(struct: type[Table]) -> str:
    return " ".join((struct.__doc__ or "").split("\n\n")[0].split())


def _default(column: Column) -> str:
    return "" if column.default in (None, b"", ()) else f", default {column.default}"


def _number(value: int) -> str:
    named = {UINT32_MAX: "2^32 - 1", UINT63_MAX: "2^63 - 1"}
    return named.get(value, f"{value:,}")


def _span(low: int, high: int) -> str:
    return _number(low) if low == high else f"{_number(low)} to {_number(high)}"


def _folded(text: str) -> list[str]:
    return [text[i : i + _HEX_COLUMNS] for i in range(0, len(text), _HEX_COLUMNS)]


_CDDL_HEAD = f"""
; Wire formats of a microgrid (RFC 8610). Written by `python -m protocols.spec`.
; Everything is deterministic CBOR (RFC 8949, section 4.2.1); SPEC.md holds the rules
; that CDDL cannot say: the one encoding, ascending lists, defaults that are left out.

; A signed statement (RFC 9052). `protected` is an encoded protected-header, `payload`
; an encoded record.
envelope = #6.18(cose-sign1)

cose-sign1 = [
  protected: bstr .size 13,
  unprotected: {{}},
  payload: bstr .size (3..{cose.MAX_PAYLOAD_BYTES}),
  signature: bstr .size {cose.SIGNATURE_BYTES},
]

protected-header = {{
  1: {cose.ALG_EDDSA}, ; algorithm: EdDSA
  4: bstr .size {cose.KEY_ID_BYTES}, ; key id of the signer
}}

; What is signed. `aad` is an encoded external-aad.
sig-structure = [
  context: "Signature1",
  protected: bstr .size 13,
  aad: bstr,
  payload: bstr,
]

external-aad = [
  format-version: {cose.FORMAT_VERSION},
  kind: uint,
  chain-id: bstr .size {cose.CHAIN_ID_BYTES},
]

; A block: `head` is an envelope of a header, `records` are envelopes of block-records,
; `elected` is an encoded election.
signed-block = [
  head: bstr,
  records: [0*{MAX_BLOCK_RECORDS} bstr],
  elected: bytes-or-null,
]

bytes-or-null = bstr / null

; Its SHA-256 is what headers, acks and certificates call `validators`.
quorum-config = [
  mode: 0..1,
  voters: [1*{MAX_VALIDATORS} voter],
  outgoing: [0*{MAX_VALIDATORS} voter],
]

voter = [device-key: bstr .size {cose.PUBLIC_KEY_BYTES}, epoch: 0..{UINT32_MAX}]

; What a newcomer's member key signs, as the payload of kind {JOIN_REQUEST_KIND}.
join-request = [invitation: bstr .size {INVITATION_BYTES}, member: member-entry]
"""


def main(arguments: list[str]) -> int:
    """Write both files, or with `--check` compare them."""
    vectors = {vector["name"]: vector for vector in json.loads(EXAMPLES_FILE.read_text())["good"]}
    wanted = {SPEC_FILE: spec_text(SPEC_FILE.read_text(), vectors), CDDL_FILE: cddl_text()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if "--check" in arguments:
            print(f"{path.name} is stale: run `python -m protocols.spec`")
        else:
            path.write_text(wanted[path])
            print(f"{path.name} written")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
