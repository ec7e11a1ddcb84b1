"""Records: every bound of every table, at its edge and one beyond."""

from __future__ import annotations

import random
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import cbor
from protocols.records import (
    KINDS,
    BindingProposal,
    Join,
    MemberEntry,
    Reading,
    Record,
    RecordError,
    Support,
    Transfer,
    from_payload,
    kind_of,
    read_as,
    to_payload,
)
from protocols.records.jsonform import from_json, to_json
from protocols.records.schema import Field, Int, Table, columns, decode_fields, encode_fields, register
from protocols.spec import all_tables
from tests.protocols import generate
from tests.protocols.keys import key_pair
from tests.protocols.village import START_S, Village

TABLES = all_tables()
COLUMNS = [(struct, column) for struct in TABLES for column in columns(struct)]


def named(case: Any) -> str:
    return f"{case[0].__name__}.{case[1].name}"


def decoded(struct: type[Table], fields: dict[int, Any]) -> Table:
    """The table read from encoded bytes, as a peer would send it."""
    if issubclass(struct, Record):
        return read_as(struct, cbor.encode({0: struct.KIND, **fields}))
    return decode_fields(struct, cbor.decode(cbor.encode(fields)), struct.__name__)


@pytest.mark.parametrize("case", COLUMNS, ids=map(named, COLUMNS))
def test_every_field_at_its_bounds_and_one_beyond(case: tuple[type[Table], Any]) -> None:
    struct, column = case
    rng = random.Random(column.key)
    base = generate.record(struct, rng, optional=1.1)
    for value, allowed in generate.edges(column.type, rng):
        changed = msgspec.structs.replace(base, **{column.name: value})
        if allowed:
            fields = encode_fields(changed, struct.__name__)
            assert decoded(struct, fields) == changed
        elif not (column.optional and type(value) is type(column.default) and value == column.default):
            with pytest.raises(RecordError, match=f"{struct.__name__}.{column.name}"):
                encode_fields(changed, struct.__name__)


@pytest.mark.parametrize("case", COLUMNS, ids=map(named, COLUMNS))
def test_every_field_is_needed_or_left_out_at_its_default(case: tuple[type[Table], Any]) -> None:
    struct, column = case
    base = generate.record(struct, random.Random(1), optional=1.1)
    fields = encode_fields(base, struct.__name__)
    without = {key: value for key, value in fields.items() if key != column.key}
    if column.optional:
        assert getattr(decoded(struct, without), column.name) == column.default
        wire: Any = list(column.default) if isinstance(column.default, tuple) else column.default
        with pytest.raises(RecordError, match=f"{struct.__name__}.{column.name}"):
            decoded(struct, without | {column.key: wire})
    else:
        with pytest.raises(RecordError, match=f"{column.name}: missing"):
            decoded(struct, without)
    with pytest.raises(RecordError, match="unknown keys"):
        decoded(struct, fields | {1000: 0})


@pytest.mark.parametrize("seed", range(4))
def test_generated_records_come_back_from_bytes_and_from_json(seed: int) -> None:
    for record in generate.records(seed, 250):
        payload = to_payload(record)
        assert from_payload(payload) == record
        assert kind_of(payload) == record.KIND
        assert read_as(type(record), payload) == record
        text = msgspec.json.encode(to_json(record))
        again = from_json(type(record).__name__, msgspec.json.decode(text))
        assert again == record and to_payload(again) == payload


@given(st.sampled_from(sorted(KINDS)), st.randoms(use_true_random=False), st.data())
def test_a_changed_payload_is_refused_or_another_record(kind: int, rng: random.Random, data: st.DataObject) -> None:
    record = generate.record(KINDS[kind], rng)
    payload = bytearray(to_payload(record))
    place = data.draw(st.integers(0, len(payload) - 1))
    payload[place] ^= data.draw(st.integers(1, 255))
    try:
        other = from_payload(bytes(payload))
    except RecordError:
        return
    assert other != record and to_payload(other) == bytes(payload)


@given(st.binary(max_size=80))
def test_junk_is_no_record(data: bytes) -> None:
    with pytest.raises(RecordError):
        from_payload(data)


def test_a_list_in_place_of_a_tuple_is_our_own_mistake_and_found() -> None:
    # It used to be encoded as a default written out, which no reader accepts.
    member = MemberEntry(name="anna", roles=("consumer",), member_key=bytes(32), meters=[])  # type: ignore[arg-type]
    with pytest.raises(RecordError, match="meters: found list, expected a tuple"):
        encode_fields(member, "member")


def test_false_is_not_zero() -> None:
    reading: Any = Village().reading().record
    with pytest.raises(RecordError, match="version: found bool, expected an integer"):
        to_payload(msgspec.structs.replace(reading, version=False))


def test_sets_have_one_order() -> None:
    support = Support(nonce=1, valid_until_s=START_S, catalogue=1, mechanisms=(("a", 1), ("a", 3), ("ä", 1), ("あ", 2)))
    assert from_payload(to_payload(support)) == support
    for wrong in ((("b", 1), ("a", 1)), (("a", 2), ("a", 1)), (("a", 1), ("a", 1))):
        with pytest.raises(RecordError, match=r"mechanisms\[1\]: items must ascend"):
            to_payload(msgspec.structs.replace(support, mechanisms=wrong))


def test_another_kind_and_an_unknown_kind_are_named() -> None:
    payload = to_payload(Village().reading().record)
    with pytest.raises(RecordError, match=r"record of kind 4: expected Join \(2\)"):
        read_as(Join, payload)
    with pytest.raises(RecordError, match="record of kind 4: unknown to this version"):
        from_payload(payload, {Join.KIND: Join})


def test_an_error_names_few_of_many_unknown_keys() -> None:
    payload = cbor.encode({0: 4, **dict.fromkeys(range(1000, 9000), 0), 1: bytes(8), 2: 1, 3: [0, {1: 1, 2: 1}]})
    with pytest.raises(RecordError, match=r"unknown keys \[1000, 1001, 1002, 1003\] and 7996 more$"):
        from_payload(payload)


def test_a_reading_of_the_last_second_of_int64_is_refused() -> None:
    # One second later a period would end outside int64, on every node at once.
    village = Village()
    with pytest.raises(RecordError, match="period_start_s: found 9223372036854775807"):
        village.reading(period_start_s=2**63 - 1)


def test_the_largest_binding_proposal_fits_into_an_envelope() -> None:
    proposal = BindingProposal(
        nonce=2**63 - 1,
        valid_until_s=START_S,
        tree=bytes(64 * 1024),
        text=bytes(32 * 1024),
        previous=bytes(32),
        not_before_s=START_S,
        catalogue=2**32 - 1,
        mechanisms=tuple((f"{number}{'m' * 47}", 2**32 - 1) for number in range(8)),
    )
    village = Village()
    signed = village.sign(proposal, key_pair("anna"))
    assert village.sign(signed.record, key_pair("anna")) == signed


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"asset": "EUR"}, "missing fields"),
        ({"colour": 1}, "unknown fields colour"),
        ([], "found list, expected an object"),
        ({"to": 5}, "to: found int, expected hex digits"),
        ({"to": "0"}, "to: expected hex digits"),
        ({"to": "AB" * 16}, "lower case"),
        ({"to": "ab " * 16}, "lower case"),
        ({"to": "ab" * 15}, "found 15 bytes, expected 16"),
        ({"amount": 1.0}, "found float, expected an integer"),
        ({"amount": 0}, "found 0, expected 1 to"),
    ],
)
def test_json_that_is_no_record_is_refused(fields: Any, message: str) -> None:
    good = {"nonce": 1, "valid_until_s": START_S, "to": "ab" * 16, "asset": "EUR", "amount": 5}
    assert from_json("Transfer", good) == Transfer(
        nonce=1, valid_until_s=START_S, to=b"\xab" * 16, asset="EUR", amount=5
    )
    if isinstance(fields, dict) and fields.keys() != {"asset"}:
        fields = good | fields
    with pytest.raises(RecordError, match=message):
        from_json("Transfer", fields)
    with pytest.raises(RecordError, match="record of kind 'Gift'"):
        from_json("Gift", good)


def test_what_json_can_hold_and_cbor_cannot_is_refused_in_few_words() -> None:
    order = to_json(Village().order().record)
    with pytest.raises(RecordError, match=r"Order\.energy_wh: found an integer of 16610 bits, expected 1 to 10000000$"):
        from_json("Order", order | {"energy_wh": 10**5000})
    many = {f"field{number}": 1 for number in range(5000)}
    with pytest.raises(RecordError, match=r"Order: unknown fields field0, field1, field10, field100 and 4996 more$"):
        from_json("Order", order | many)
    for kind, fields in (("x" * 5000, order), ("Order", order | {"x" * 5000: 1})):
        with pytest.raises(RecordError) as caught:
            from_json(kind, fields)
        assert len(str(caught.value)) < 1000


def test_json_of_unions_rows_and_lists_is_checked_as_well() -> None:
    reading = to_json(Village().reading().record)
    unions: list[dict[str, Any]] = [{}, {"sealed": {}}, {"open": {}, "sealed": {}}]
    for values in unions:
        with pytest.raises(RecordError, match="values: expected one of open"):
            from_json("Reading", reading | {"values": values})
    support = {"nonce": 1, "valid_until_s": 2, "catalogue": 3, "mechanisms": [{"name": "a"}]}
    with pytest.raises(RecordError, match=r"mechanisms\[0\]: expected the fields name, version"):
        from_json("Support", support)
    with pytest.raises(RecordError, match="mechanisms: found str, expected an array"):
        from_json("Support", support | {"mechanisms": "a"})


def test_a_table_that_could_not_be_read_is_refused_when_it_is_declared() -> None:
    with pytest.raises(TypeError, match="kind 4 is Reading and Again"):

        @register(4)
        class Again(Record, frozen=True, kw_only=True):
            pass

    class Twice(Table, frozen=True, kw_only=True):
        one: Annotated[int, Field(1, Int())]
        other: Annotated[int, Field(1, Int())]

    class Zero(Record, frozen=True, kw_only=True):
        kind: Annotated[int, Field(0, Int())]

    with pytest.raises(TypeError, match="two fields have one key"):
        columns(Twice)
    with pytest.raises(TypeError, match="key 0 is the kind"):
        columns(Zero)
    assert KINDS[4] is Reading
