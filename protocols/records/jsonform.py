"""JSON form: a record as JSON values, for people, tests and debugging; nothing is lost either way.

Byte strings are lower-case hex, rows and maps are objects by field name, a union is
an object with the name of its one variant, defaults are left out, integers are exact
(a reader in another language must keep 64 bits). This form is never signed or sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocols.cbor import MAX_ERROR_TEXT
from protocols.records.schema import (
    KINDS,
    MAX_NAMED,
    Bytes,
    ListOf,
    Maybe,
    Nested,
    OneOf,
    Record,
    RecordError,
    Row,
    Table,
    Type,
    and_more,
    columns,
    to_payload,
)


def to_json(record: Table) -> dict[str, Any]:
    """The fields of a record (or of a table inside one) by name, as JSON values."""
    return {
        column.name: _to(column.type, value)
        for column in columns(type(record))
        if (value := getattr(record, column.name)) != column.default
    }


def from_json(kind: str, fields: Mapping[str, Any]) -> Record:
    """The record that `to_json` of a record of this kind gave.

    Args:
        kind: name of the record, as `type(record).__name__`.
    Raises:
        RecordError: an unknown kind or field, a missing field, a value of another
            type or out of its bounds.
    """
    by_name = {struct.__name__: struct for struct in KINDS.values()}
    struct = by_name.get(kind)
    if struct is None:
        raise RecordError(f"record of kind {kind[:MAX_ERROR_TEXT]!r}: expected one of {', '.join(sorted(by_name))}")
    record: Record = _table(struct, fields, kind)
    to_payload(record)  # checks every value against its table
    return record


def _to(wire: Type, value: Any) -> Any:
    match wire:
        case Bytes():
            return value.hex()
        case ListOf():
            return [_to(wire.item, item) for item in value]
        case Row():
            return {name: _to(column, item) for (name, column), item in zip(wire.columns.items(), value, strict=True)}
        case Maybe():
            return None if value is None else _to(wire.item, value)
        case Nested():
            return to_json(value)
        case OneOf():
            name = next(name for name, (_, struct) in wire.variants.items() if struct is type(value))
            return {name: to_json(value)}
        case _:
            return value


def _table(struct: type[Any], fields: Any, place: str) -> Any:
    values = _object(fields, place)
    rows = {column.name: column for column in columns(struct)}
    unknown = sorted(set(values) - set(rows))
    if unknown:
        words = ", ".join(name[:MAX_ERROR_TEXT] for name in unknown[:MAX_NAMED])
        raise RecordError(f"{place}: unknown fields {words}{and_more(unknown)}")
    missing = [name for name, column in rows.items() if not column.optional and name not in values]
    if missing:
        raise RecordError(f"{place}: missing fields {', '.join(missing)}")
    return struct(**{name: _from(rows[name].type, value, f"{place}.{name}") for name, value in values.items()})


def _from(wire: Type, value: Any, place: str) -> Any:
    match wire:
        case Bytes():
            return _unhex(value, place)
        case ListOf():
            return tuple([_from(wire.item, item, f"{place}[{i}]") for i, item in enumerate(_array(value, place))])
        case Row():
            values = _object(value, place)
            if values.keys() != wire.columns.keys():
                raise RecordError(f"{place}: expected the fields {', '.join(wire.columns)}")
            return tuple([_from(column, values[name], f"{place}.{name}") for name, column in wire.columns.items()])
        case Maybe():
            return None if value is None else _from(wire.item, value, place)
        case Nested():
            return _table(wire.struct, value, place)
        case OneOf():
            values = _object(value, place)
            name = next(iter(values), "")
            if len(values) != 1 or name not in wire.variants:
                raise RecordError(f"{place}: expected one of {', '.join(wire.variants)}")
            return _table(wire.variants[name][1], values[name], f"{place}.{name}")
        case _:
            return value


def _object(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RecordError(f"{place}: found {type(value).__name__}, expected an object")
    return value


def _array(value: Any, place: str) -> list[Any]:
    if type(value) is not list:
        raise RecordError(f"{place}: found {type(value).__name__}, expected an array")
    return value


def _unhex(value: Any, place: str) -> bytes:
    # bytes.fromhex also takes spaces and capitals; one value has one spelling here.
    if type(value) is not str:
        raise RecordError(f"{place}: found {type(value).__name__}, expected hex digits")
    try:
        data = bytes.fromhex(value)
    except ValueError as error:
        raise RecordError(f"{place}: expected hex digits") from error
    if data.hex() != value:
        raise RecordError(f"{place}: hex digits are lower case and without spaces")
    return data
