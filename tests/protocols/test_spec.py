"""Specification: what is written down is what the code does."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

import cbor2
import msgspec
import pytest

from protocols import cbor, spec
from protocols.records import KINDS, MemberEntry, Record, join_request_bytes, to_payload
from protocols.records.schema import Int, cddl_name, columns, encode_fields
from tests.protocols import generate
from tests.protocols.village import Village

# pycddl 0.6.4 does not read ranges that begin below zero, and of two limits on a value
# inside a row it takes the second for one on the row.
CDDL = re.sub(
    r"(?<=[ *])(-\d+)\.\.(\d+)",
    r"(int .ge \1) .and (int .le \2)",
    spec.CDDL_FILE.read_text().replace("offset_s: -64800..64800", "offset_s: int .ge -64800"),
)
VILLAGE = Village()
# So many draw every field of every kind at least once; a step that only one of many unions has is rare.
RECORDS = 5000


@pytest.fixture(scope="module")
def validator() -> Callable[[str, bytes], str | None]:
    """(rule, bytes) -> why the bytes are not of that rule, by an independent CDDL validator; None if they are."""
    pycddl = pytest.importorskip("pycddl", reason="pycddl publishes no wheel for this kind of machine")
    schemas: dict[str, Any] = {}

    def validate(rule: str, data: bytes) -> str | None:
        if rule not in schemas:
            # The first rule of a CDDL text is the one that data is held against.
            schemas[rule] = pycddl.Schema(f"start = {rule}\n{CDDL}")
        try:
            schemas[rule].validate_cbor(data, True)
        except pycddl.ValidationError as error:
            return str(error)
        return None

    return validate


Validator = Callable[[str, bytes], str | None]


def test_both_files_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert spec.main(["--check"]) == 0, capsys.readouterr().out


def test_every_record_and_table_has_its_place_in_the_specification() -> None:
    text = spec.SPEC_FILE.read_text()
    written = re.findall(r"<!-- table (\w+) -->", text)
    assert sorted(written) == sorted(struct.__name__ for struct in spec.all_tables())


def test_a_changed_table_makes_the_files_stale() -> None:
    vectors = {vector["name"]: vector for vector in json.loads(spec.EXAMPLES_FILE.read_text())["good"]}
    text = spec.SPEC_FILE.read_text()
    assert spec.spec_text(text, vectors) == text
    assert spec.spec_text(text.replace("| 5 | `energy_wh` |", "| 5 | `energy_kwh` |"), vectors) == text
    with pytest.raises(KeyError):
        spec.spec_text(text + "<!-- table Nothing -->\n<!-- end -->", vectors)


def test_every_field_has_a_meaning_and_every_quantity_its_unit() -> None:
    for struct in spec.all_tables():
        for column in columns(struct):
            assert column.meaning, f"{struct.__name__}.{column.name}"
    assert [spec.unit_of(name) for name in ("import_wh", "price_u_kwh", "time_s", "charge_ppm", "power_w", "term")] == [
        *("Wh", "micro-units per kWh", "s", "ppm", "W", ""),
    ]


def test_thousands_of_generated_records_are_what_the_cddl_says(validator: Validator) -> None:
    count = 0
    for record in generate.records(seed=1000, count=RECORDS):
        payload = to_payload(record)
        assert validator(cddl_name(type(record)), payload) is None, record
        count += 1
    assert count == RECORDS


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_cddl_refuses_what_the_tables_refuse(kind: int, validator: Validator) -> None:
    struct = KINDS[kind]
    good = encode_fields(generate.record(struct, random.Random(kind), optional=1.1), "good")
    rule = cddl_name(struct)
    assert validator(rule, cbor.encode({0: kind, **good})) is None
    assert validator(rule, cbor.encode({0: kind + 1, **good})) is not None
    assert validator(rule, cbor.encode({0: kind, **good, 1000: 1})) is not None
    refused = 0
    for column in columns(struct):
        if not column.optional:
            fields = {key: value for key, value in good.items() if key != column.key}
            assert validator(rule, cbor.encode({0: kind, **fields})) is not None, column.name
        wrong: list[Any] = [False]
        if isinstance(column.type, Int):
            beyond = (column.type.low - 1, column.type.high + 1)
            wrong += [value for value in beyond if cbor.INT64_MIN <= value <= cbor.INT64_MAX]
        elif isinstance(good.get(column.key), bytes):
            wrong.append(bytes(column.type.high + 1))
        for value in wrong:
            data = cbor.encode({0: kind, **good, column.key: value})
            assert validator(rule, data) is not None, f"{column.name} = {value!r:.40}"
            refused += 1
    assert refused >= len(columns(struct))


def test_envelopes_blocks_and_the_rest_are_what_the_cddl_says(validator: Validator) -> None:
    order = VILLAGE.order()
    block = VILLAGE.block(records=[order])
    # pycddl does not know tag 18, so the array inside it is checked.
    assert order.envelope_bytes[0] == 0xD2
    sign1 = order.envelope_bytes[1:]
    assert validator("cose-sign1", sign1) is None
    protected, _, payload, signature = cbor2.loads(sign1)
    assert validator("protected-header", protected) is None
    assert validator("order", payload) is None and validator("block-record", payload) is None
    signed = cbor2.loads(order.envelope.to_be_signed(5, VILLAGE.chain_id))
    assert validator("sig-structure", cbor2.dumps(signed)) is None
    assert validator("external-aad", signed[2]) is None
    assert validator("signed-block", block.encoded) is None
    header, _, election = cbor2.loads(block.encoded)
    assert validator("header", cbor2.loads(header).value[2]) is None
    assert validator("election", election) is None
    certificate = VILLAGE.certificate(block)
    assert validator("certificate", to_payload(certificate)) is None
    quorum = VILLAGE.quorum
    assert validator("quorum-config", cbor.encode([quorum.mode, quorum.voters, quorum.outgoing])) is None
    member = VILLAGE.genesis.members[0]
    request = cbor2.loads(join_request_bytes(VILLAGE.chain_id, bytes(16), member))
    assert validator("join-request", request[3]) is None and validator("external-aad", request[2]) is None
    # pycddl takes anything for the empty map; that rule is held by test_vectors.py.
    for bad in (
        [protected[:-1], {}, payload, signature],
        [protected, {}, payload, signature[:-1]],
        [protected, {}, None, signature],
        [protected, {}, payload],
    ):
        assert validator("cose-sign1", cbor2.dumps(bad)) is not None
    assert validator("protected-header", cbor2.dumps({1: -7, 4: bytes(8)})) is not None
    assert validator("block-record", to_payload(block.header)) is not None
    assert validator("signed-block", cbor.encode([header, [], None, None])) is not None


def test_the_join_request_is_the_bytes_that_the_specification_says() -> None:
    member: MemberEntry = VILLAGE.genesis.members[0]
    context, protected, aad, payload = cbor2.loads(join_request_bytes(VILLAGE.chain_id, b"i" * 16, member))
    assert context == "Signature1"
    assert cbor2.loads(aad) == [1, 64, VILLAGE.chain_id]
    assert cbor2.loads(protected)[1] == -8
    invitation, fields = cbor2.loads(payload)
    assert invitation == b"i" * 16 and fields[1] == member.name


def test_optional_and_nested_parts_are_generated_at_all() -> None:
    # The records drawn above are worth something only if they use every field.
    seen: set[tuple[str, str]] = set()

    def visit(value: Any) -> None:
        if isinstance(value, Record | msgspec.Struct):
            for column in columns(type(value)):  # type: ignore[arg-type]
                item = getattr(value, column.name)
                if item != column.default:
                    seen.add((type(value).__name__, column.name))
                for part in item if isinstance(item, tuple) else (item,):
                    visit(part)

    for record in generate.records(seed=1000, count=RECORDS):
        visit(record)
    assert seen == {(struct.__name__, column.name) for struct in spec.all_tables() for column in columns(struct)}
