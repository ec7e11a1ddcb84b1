"""Generate: records made from their tables - seeded at random, at a bound, one beyond it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from protocols.records import Record
from protocols.records import names as name_table
from protocols.records.schema import (
    Bool,
    Bytes,
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
    columns,
)
from protocols.spec import all_tables

# From the specification, which knows all modules that declare records.
RECORDS = [struct for struct in all_tables() if issubclass(struct, Record)]

LETTERS = [chr(code) for low, high in name_table.ALLOWED for code in range(low, high + 1) if code != 0x20]

# Long byte strings make slow tests and show nothing more; the edges have tests of their own.
MAX_RANDOM_BYTES = 200
MAX_RANDOM_ITEMS = 6


def record(struct: type[Table], rng: random.Random, optional: float = 0.5) -> Any:
    """A record that its table allows; each optional field is there with probability `optional`."""
    fields: dict[str, Any] = {}
    for column in columns(struct):
        if column.optional and rng.random() >= optional:
            continue
        fields[column.name] = value(column.type, rng, optional)
    return struct(**fields)


def records(seed: int, count: int) -> Iterator[Record]:
    """`count` records of all kinds in turn, from one seed."""
    rng = random.Random(seed)
    for number in range(count):
        yield record(RECORDS[number % len(RECORDS)], rng)


def value(wire: Type, rng: random.Random, optional: float = 0.5) -> Any:
    """A value that `wire` allows; numbers are often at a bound."""
    match wire:
        case Int():
            return rng.choice((wire.low, wire.high, rng.randint(wire.low, wire.high)))
        case Bool():
            return rng.random() < 0.5
        case Bytes():
            return rng.randbytes(rng.randint(wire.low, max(wire.low, min(wire.high, MAX_RANDOM_BYTES))))
        case Name():
            return name(rng, rng.randint(1, wire.high))
        case Text():
            return "x" * rng.randint(wire.low, min(wire.high, MAX_RANDOM_BYTES))
        case ListOf():
            count = rng.randint(wire.low, max(wire.low, min(wire.high, MAX_RANDOM_ITEMS)))
            items = [value(wire.item, rng, optional) for _ in range(count)]
            if wire.ascending:
                by_key = {(item[0] if isinstance(wire.item, Row) else item): item for item in items}
                items = [by_key[key] for key in sorted(by_key)]
            return tuple(items)
        case Row():
            return tuple(value(item, rng, optional) for item in wire.columns.values())
        case Maybe():
            return None if rng.random() >= optional else value(wire.item, rng, optional)
        case Nested():
            return record(wire.struct, rng, optional)
        case OneOf():
            return record(rng.choice([struct for _, struct in wire.variants.values()]), rng, optional)
    raise TypeError(f"no generator for {type(wire).__name__}")


def name(rng: random.Random, max_bytes: int) -> str:
    """A name of at most `max_bytes` bytes of UTF-8, at least one letter."""
    text = "Ä" if max_bytes > 1 and rng.random() < 0.2 else "A"
    while rng.random() < 0.9:
        letter = rng.choice((rng.choice(LETTERS), "a", " "))
        longer = text + letter + ("b" if letter == " " else "")
        if len(longer.encode()) > max_bytes or name_table.fault(longer):
            break
        text = longer
    return text


def text_of(size: int) -> str:
    """A name of exactly `size` bytes."""
    return "n" * size


def edges(wire: Type, rng: random.Random) -> Iterator[tuple[Any, bool]]:
    """(value, allowed) at each bound of `wire` and one beyond it."""
    match wire:
        case Int():
            yield from ((wire.low, True), (wire.high, True), (wire.low - 1, False), (wire.high + 1, False))
            yield from ((True, False), (float(wire.low), False), (None, False))
        case Bytes():
            for size in (wire.low, wire.high):
                yield bytes(size), True
            if wire.low > 0:
                yield bytes(wire.low - 1), False
            yield from ((bytes(wire.high + 1), False), ("x" * wire.low, False), (bytearray(wire.low), False))
        case Text():
            yield from ((text_of(wire.low), True), (text_of(wire.high), True), (text_of(wire.high + 1), False))
            yield from (("", wire.low == 0), ("\ud800", False), (b"x", False))
        case ListOf():
            for size in (wire.low, wire.high):
                yield items_of(wire, size, rng), True
            if wire.low > 0:
                yield items_of(wire, wire.low - 1, rng), False
            yield items_of(wire, wire.high + 1, rng), False
            if wire.ascending and wire.high > 1:
                two = items_of(wire, 2, rng)
                yield from ((two[::-1], False), ((two[0], two[0]), False))
            yield list(items_of(wire, max(wire.low, 1), rng)), False
        case Bool():
            yield from ((True, True), (False, True), (1, False), (None, False))
        case Row():
            row = value(wire, rng)
            yield from ((row, True), (row[:-1], False), ((*row, 0), False), (list(row), False))
        case Nested() | OneOf():
            yield {}, False
        case _:
            raise TypeError(f"no edges for {type(wire).__name__}")


def items_of(wire: ListOf, count: int, rng: random.Random) -> tuple[Any, ...]:
    """Exactly `count` items; ascending ones ascend."""
    if not wire.ascending:
        return tuple(value(wire.item, rng) for _ in range(count))
    first = wire.item.columns[next(iter(wire.item.columns))] if isinstance(wire.item, Row) else wire.item
    if isinstance(first, Int):
        keys: list[Any] = [first.low + number for number in range(count)]
    elif isinstance(first, Bytes):
        keys = [number.to_bytes(first.low, "big") for number in range(count)]
    else:
        keys = [f"n{number:03d}" for number in range(count)]
    if not isinstance(wire.item, Row):
        return tuple(keys)
    return tuple((key, *value(wire.item, rng)[1:]) for key in keys)
