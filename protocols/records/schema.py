"""Schema: how one table of fields becomes encoder, strict decoder and CDDL.

A record is a frozen Struct whose annotations carry a map key and a wire type:

    class Cancel(Record, kind=6):
        order_id: Annotated[bytes, Field(3, Bytes(32))]

A field with a default is left out of the map while it has that default, so every
value has one encoding; decoding refuses a default that is written out.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from protocols import cbor
from protocols.records import names

UINT32_MAX = 2**32 - 1
UINT63_MAX = cbor.INT64_MAX
# The last second of the year 9999, where calendars end: a later one could not be shown,
# and one near 2^63 would leave int64 as soon as a period is added to it.
MAX_TIME_S = 253_402_300_799
KIND_KEY = 0
# An error names a few of the unknown fields; a hostile map has thousands.
MAX_NAMED = 4


class RecordError(ValueError):
    """A record that its table does not allow: the place, what was found, what was expected."""


class Type:
    """A wire type. Most are the same in the Struct and on the wire and only have a `check`."""

    def encode(self, value: Any, place: str) -> Any:
        """What stands on the wire for a value of the Struct. Raises RecordError for what `check` refuses."""
        self.check(value, place)
        return value

    def decode(self, value: Any, place: str) -> Any:
        """The value of the Struct for what stood on the wire. Raises RecordError for what `check` refuses."""
        self.check(value, place)
        return value

    def check(self, value: Any, place: str) -> None:
        """Refuse a value of another type or out of bounds with a RecordError that names `place`."""
        raise RecordError(f"{place}: a {type(self).__name__} takes no value")

    def cddl(self) -> str:
        """The type in CDDL (RFC 8610)."""
        return "any"

    def cddl_rule(self) -> str | None:
        """What the rule says that `cddl` names, for types that validators only understand as rules of their own."""
        return None


class Int(Type):
    """An integer from `low` to `high`, inside int64."""

    def __init__(self, low: int = cbor.INT64_MIN, high: int = cbor.INT64_MAX) -> None:
        self.low, self.high = low, high

    def check(self, value: Any, place: str) -> None:
        if type(value) is not int:
            raise RecordError(f"{place}: found {type(value).__name__}, expected an integer")
        if not self.low <= value <= self.high:
            fits = cbor.INT64_MIN <= value <= cbor.INT64_MAX
            # Only JSON can bring longer ones; Python itself refuses to print the longest.
            found = str(value) if fits else f"an integer of {value.bit_length()} bits"
            raise RecordError(f"{place}: found {found}, expected {self.low} to {self.high}")

    def cddl(self) -> str:
        return f"{self.low}..{self.high}"


def Uint(high: int = UINT63_MAX) -> Int:
    """An integer from 0 to `high`."""
    return Int(0, high)


def Second() -> Int:
    """A UTC second of the microgrid's clock, from 1970 to the end of the year 9999."""
    return Int(0, MAX_TIME_S)


class Bool(Type):
    """True or false."""

    def check(self, value: Any, place: str) -> None:
        if type(value) is not bool:
            raise RecordError(f"{place}: found {type(value).__name__}, expected true or false")

    def cddl(self) -> str:
        return "bool"


class Bytes(Type):
    """A byte string of `low` to `high` bytes (exactly `low` if `high` is not given)."""

    def __init__(self, low: int, high: int | None = None) -> None:
        self.low, self.high = low, low if high is None else high

    def check(self, value: Any, place: str) -> None:
        if type(value) is not bytes:
            raise RecordError(f"{place}: found {type(value).__name__}, expected a byte string")
        if not self.low <= len(value) <= self.high:
            size = str(self.low) if self.low == self.high else f"{self.low} to {self.high}"
            raise RecordError(f"{place}: found {len(value)} bytes, expected {size}")

    def cddl(self) -> str:
        return f"bstr .size {self.low}" if self.low == self.high else f"bstr .size ({self.low}..{self.high})"


class Text(Type):
    """UTF-8 text of `low` to `high` bytes; a `Name` also keeps to the table of allowed characters."""

    def __init__(self, high: int, low: int = 0) -> None:
        self.low, self.high = low, high

    def check(self, value: Any, place: str) -> None:
        if type(value) is not str:
            raise RecordError(f"{place}: found {type(value).__name__}, expected text")
        try:
            size = len(value.encode())
        except UnicodeEncodeError as error:
            raise RecordError(f"{place}: text with a lone surrogate") from error
        if not self.low <= size <= self.high:
            raise RecordError(f"{place}: found {size} bytes of text, expected {self.low} to {self.high}")

    def cddl(self) -> str:
        return f"tstr .size ({self.low}..{self.high})"


class Name(Text):
    """A name that people read: 1 to `high` bytes from the committed table of characters."""

    def __init__(self, high: int = 64) -> None:
        super().__init__(high, 1)

    def check(self, value: Any, place: str) -> None:
        super().check(value, place)
        fault = names.fault(value)
        if fault:
            raise RecordError(f"{place}: {fault}")


class ListOf(Type):
    """An array of `low` to `high` items of one type; a tuple in the Struct.

    `ascending` lists are sets: items (rows: their first columns, or `whole` rows) strictly ascend, text
    by its UTF-8 bytes, so that one set has one encoding and nothing stands in it twice.
    """

    def __init__(self, item: Type, high: int, low: int = 0, *, ascending: bool = False, whole: bool = False) -> None:
        self.item, self.low, self.high, self.ascending, self.whole = item, low, high, ascending, whole

    def _size(self, value: Any, place: str, expected: type[list[Any]] | type[tuple[Any, ...]]) -> None:
        found: type = type(value)
        if found is not expected:
            raise RecordError(f"{place}: found {found.__name__}, expected a {expected.__name__}")
        if not self.low <= len(value) <= self.high:
            raise RecordError(f"{place}: found {len(value)} items, expected {self.low} to {self.high}")

    def _order(self, items: Sequence[Any], place: str) -> None:
        if not self.ascending:
            return
        keys = [item[0] for item in items] if isinstance(self.item, Row) and not self.whole else items
        for i, (before, after) in enumerate(pairwise(keys), 1):
            # Code point order of text is the order of its UTF-8 bytes.
            if not before < after:
                raise RecordError(f"{place}[{i}]: items must ascend, and none may stand twice")

    def encode(self, value: Any, place: str) -> Any:
        self._size(value, place, tuple)
        items = [self.item.encode(item, f"{place}[{i}]") for i, item in enumerate(value)]
        self._order(items, place)
        return items

    def decode(self, value: Any, place: str) -> Any:
        self._size(value, place, list)
        items = tuple([self.item.decode(item, f"{place}[{i}]") for i, item in enumerate(value)])
        self._order(items, place)
        return items

    def cddl(self) -> str:
        return f"[{self.low}*{self.high} {self.item.cddl()}]"


class Row(Type):
    """A fixed array of values of stated types, for what repeats too often for maps."""

    def __init__(self, **columns: Type) -> None:
        self.columns = columns

    def _size(self, value: Any, place: str, expected: type[list[Any]] | type[tuple[Any, ...]]) -> None:
        found: type = type(value)
        if found is not expected or len(value) != len(self.columns):
            raise RecordError(f"{place}: expected a row of {', '.join(self.columns)}")

    def encode(self, value: Any, place: str) -> Any:
        self._size(value, place, tuple)
        return [t.encode(v, f"{place}.{n}") for (n, t), v in zip(self.columns.items(), value, strict=True)]

    def decode(self, value: Any, place: str) -> Any:
        self._size(value, place, list)
        return tuple([t.decode(v, f"{place}.{n}") for (n, t), v in zip(self.columns.items(), value, strict=True)])

    def cddl(self) -> str:
        return "[" + ", ".join(f"{name}: {t.cddl()}" for name, t in self.columns.items()) + "]"


class Maybe(Type):
    """A value or null, where a row or list needs a place holder."""

    def __init__(self, item: Type) -> None:
        self.item = item

    def encode(self, value: Any, place: str) -> Any:
        return None if value is None else self.item.encode(value, place)

    def decode(self, value: Any, place: str) -> Any:
        return None if value is None else self.item.decode(value, place)

    def cddl(self) -> str:
        words = "".join(letter if letter.isalnum() else " " for letter in self.item.cddl()).split()
        return "-".join([*words, "or-null"])

    def cddl_rule(self) -> str | None:
        return f"{self.item.cddl()} / null"


class Nested(Type):
    """A map with a table of its own."""

    def __init__(self, struct: type[Table]) -> None:
        self.struct = struct

    def encode(self, value: Any, place: str) -> Any:
        if type(value) is not self.struct:
            raise RecordError(f"{place}: found {type(value).__name__}, expected {self.struct.__name__}")
        return encode_fields(value, place)

    def decode(self, value: Any, place: str) -> Any:
        return decode_fields(self.struct, value, place)

    def cddl(self) -> str:
        # A record inside another one has no kind: its place says what it is.
        return cddl_name(self.struct) + ("-fields" if issubclass(self.struct, Record) else "")


class OneOf(Type):
    """A tagged union `[tag, map]`; a tag that this version does not know is refused."""

    def __init__(self, **variants: tuple[int, type[Table]]) -> None:
        self.variants = variants
        self._by_tag = dict(variants.values())
        self._tags = {struct: tag for tag, struct in variants.values()}

    def encode(self, value: Any, place: str) -> Any:
        if type(value) not in self._tags:
            raise RecordError(f"{place}: found {type(value).__name__}, expected one of {', '.join(self.variants)}")
        return [self._tags[type(value)], encode_fields(value, place)]

    def decode(self, value: Any, place: str) -> Any:
        if type(value) is not list or len(value) != 2 or type(value[0]) is not int:
            raise RecordError(f"{place}: expected [tag, values]")
        struct = self._by_tag.get(value[0])
        if struct is None:
            raise RecordError(f"{place}: tag {value[0]} is not supported here, only {', '.join(self.variants)}")
        return decode_fields(struct, value[1], place)

    def cddl(self) -> str:
        if len(self.variants) == 1:
            return self._choices()
        return "-or-".join(cddl_name(struct) for _, struct in self.variants.values())

    def cddl_rule(self) -> str | None:
        return self._choices() if len(self.variants) > 1 else None

    def _choices(self) -> str:
        return " / ".join(f"[{tag}, {cddl_name(struct)}]" for tag, struct in self.variants.values())


class Field(msgspec.Struct, frozen=True):
    """Where a value stands in the map: its key and its wire type."""

    key: int
    type: Any
    meaning: str = ""


class Column(msgspec.Struct, frozen=True):
    """One row of a record's table."""

    name: str
    key: int
    type: Any
    meaning: str
    default: Any

    @property
    def optional(self) -> bool:
        """Whether the field is left out of the map while it has its default."""
        return self.default is not msgspec.NODEFAULT


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A Struct that is a map on the wire; subclasses annotate every field with a `Field`."""


T = TypeVar("T", bound=Table)
R = TypeVar("R", bound="Record")

_columns: dict[type[Table], tuple[Column, ...]] = {}


def columns(struct: type[Table]) -> tuple[Column, ...]:
    """The table of fields of `struct`, by map key."""
    known = _columns.get(struct)
    if known is None:
        hints = get_type_hints(struct, include_extras=True)
        rows = []
        for info in msgspec.structs.fields(struct):
            field = _field_of(hints[info.name], struct, info.name)
            rows.append(Column(info.name, field.key, field.type, field.meaning, info.default))
        rows.sort(key=lambda row: row.key)
        if len({row.key for row in rows}) != len(rows):
            raise TypeError(f"{struct.__name__}: two fields have one key")
        if issubclass(struct, Record) and rows and rows[0].key == KIND_KEY:
            raise TypeError(f"{struct.__name__}.{rows[0].name}: key {KIND_KEY} is the kind")
        known = _columns[struct] = tuple(rows)
    return known


def _field_of(hint: Any, struct: type[Table], name: str) -> Field:
    for option in (hint, *(get_args(hint) if isinstance(hint, types.UnionType) else ())):
        if get_origin(option) is Annotated:
            for extra in get_args(option)[1:]:
                if isinstance(extra, Field):
                    return extra
    raise TypeError(f"{struct.__name__}.{name} has no Field")


def encode_fields(value: Table, place: str) -> dict[int, Any]:
    """The map of a Struct.

    Raises:
        RecordError: a value outside its type's bounds.
    """
    result: dict[int, Any] = {}
    for column in columns(type(value)):
        item = getattr(value, column.name)
        if item is column.default:
            continue  # most of them
        # `False == 0`, but it is not the default of an integer field: its type refuses it.
        if column.optional and type(item) is type(column.default) and item == column.default:
            continue
        result[column.key] = column.type.encode(item, f"{place}.{column.name}")
    return result


def decode_fields(struct: type[T], value: Any, place: str, skip: int | None = None) -> T:
    """The Struct of a map.

    Raises:
        RecordError: unknown or missing fields, wrong types, values out of
            bounds, a default that is written out.
    """
    if type(value) is not dict:
        raise RecordError(f"{place}: found {type(value).__name__}, expected a map")
    found: dict[str, Any] = {}
    used = 0 if skip is None else 1
    for column in columns(struct):
        if column.key in value:
            used += 1
            item = column.type.decode(value[column.key], f"{place}.{column.name}")
            if column.optional and item == column.default:
                raise RecordError(f"{place}.{column.name}: the default {item!r} must be left out")
            found[column.name] = item
        elif not column.optional:
            raise RecordError(f"{place}.{column.name}: missing (key {column.key})")
    if used != len(value):
        known = {column.key for column in columns(struct)} | ({skip} if skip is not None else set())
        extra = sorted(key for key in value if key not in known)
        raise RecordError(f"{place}: unknown keys {extra[:MAX_NAMED]}{and_more(extra)}")
    return struct(**found)


def and_more(found: Sequence[object]) -> str:
    """What an error says of those after the first `MAX_NAMED`."""
    return f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""


class Record(Table, frozen=True, kw_only=True):
    """A statement that is signed: a map whose key 0 is the kind.

    Class attribute:
        KIND: the integer that names this record on the wire and in signatures.
    """

    KIND: ClassVar[int] = 0


KINDS: dict[int, type[Record]] = {}
"""Every record by its kind; filled by `register`."""


def register(kind: int) -> Callable[[type[R]], type[R]]:
    """Class decorator: give a record its kind.

    Raises:
        TypeError: the kind is taken.
    """

    def decorate(struct: type[R]) -> type[R]:
        if kind in KINDS:
            raise TypeError(f"kind {kind} is {KINDS[kind].__name__} and {struct.__name__}")
        struct.KIND = kind
        KINDS[kind] = struct
        return struct

    return decorate


def to_payload(record: Record) -> bytes:
    """The deterministic CBOR of a record.

    Raises:
        RecordError: a value outside its type's bounds.
    """
    fields = encode_fields(record, type(record).__name__)
    return cbor.encode({KIND_KEY: record.KIND, **fields})


def kind_of(payload: bytes) -> int:
    """The kind written in a payload, without reading the rest strictly.

    Raises:
        RecordError: not deterministic CBOR, or a map without a kind.
    """
    return _open(payload)[0]


def from_payload(payload: bytes, kinds: Mapping[int, type[Record]] = KINDS) -> Record:
    """The record of a payload.

    Raises:
        RecordError: not deterministic CBOR, an unknown kind, or against its table.
    """
    kind, value = _open(payload)
    struct = kinds.get(kind)
    if struct is None:
        raise RecordError(f"record of kind {kind}: unknown to this version")
    return decode_fields(struct, value, struct.__name__, skip=KIND_KEY)


def read_as(struct: type[R], payload: bytes) -> R:
    """The record of a payload that must be a `struct`.

    Raises:
        RecordError: as `from_payload`, or another kind.
    """
    kind, value = _open(payload)
    if kind != struct.KIND:
        raise RecordError(f"record of kind {kind}: expected {struct.__name__} ({struct.KIND})")
    return decode_fields(struct, value, struct.__name__, skip=KIND_KEY)


def _open(payload: bytes) -> tuple[int, dict[int, Any]]:
    try:
        value = cbor.decode(payload)
    except cbor.CborError as error:
        raise RecordError(f"record: {error}") from error
    if type(value) is not dict or type(value.get(KIND_KEY)) is not int:
        raise RecordError("record: expected a map with the kind under key 0")
    return value[KIND_KEY], value


def cddl_name(struct: type[Table]) -> str:
    """The CDDL rule name of a Struct: `BindingVote` becomes `binding-vote`."""
    name = struct.__name__
    return "".join(("-" if i and c.isupper() else "") + c.lower() for i, c in enumerate(name))
