"""Asking: reading what a request says - its query, its path, its token, its body - within bounds."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import trio
from starlette.requests import Request

from meshnode.web.faults import Fault, Faults, shown

# The largest JSON body is an order; a signed record has its own bound.
MAX_JSON_BYTES = 4096
# A body that takes longer than this comes from nobody who means well.
BODY_S = 10.0


def whole(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number of the query.

    Raises:
        Faults: 400, not a number or out of bounds.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    # Twenty digits hold every 64-bit number; int() of a million digits would take a while.
    number = int(text) if len(text) <= 20 and text.isascii() and text.removeprefix("-").isdigit() else None
    if number is None or not low <= number <= high:
        raise Faults(400, Fault(f"query {name}", shown(text), f"a whole number from {low} to {high}"))
    return number


def hex_id(text: str, place: str, size: int) -> bytes:
    """An id in hex.

    Raises:
        Faults: 400, not `size` bytes in lower-case hex.
    """
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != size or value.hex() != text:
        raise Faults(400, Fault(place, shown(text), f"{2 * size} hex digits in lower case"))
    return value


def check_token(request: Request, token: str | None) -> None:
    """Whether the request may write.

    Raises:
        Faults: 401 without the token, 403 where nobody may write.
    """
    if token is None:
        remedy = "write through an address of this computer (127.0.0.1), on the node itself"
        raise Faults(403, Fault("server", "a request that writes", "reading only at this address", remedy))
    if has_token(request, token):
        return
    found = "another token" if request.headers.get("authorization") else "nothing"
    remedy = "send the content of the file api.token in the node's directory"
    fault = Fault("header Authorization", found, "Bearer and the node's token", remedy)
    raise Faults(401, fault, headers={"www-authenticate": "Bearer"})


def takes_bytes(content_type: str) -> Callable[[E], E]:
    """Decorator: this endpoint reads a body of this type with `body`; for the API's own description."""

    def mark(endpoint: E) -> E:
        endpoint.takes_type = content_type  # type: ignore[attr-defined]
        return endpoint

    return mark


def has_token(request: Request, token: str | None) -> bool:
    """Whether the request comes from who may act for this node's member; nobody does where `token` is None."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return (
        token is not None
        and scheme.lower() == "bearer"
        and secrets.compare_digest(value.strip().encode(), token.encode())
    )


async def body(request: Request, content_type: str, most: int) -> bytes:
    """The body of a request.

    Raises:
        Faults: 415 another type, 413 larger than `most`, 408 too slow.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != content_type:
        raise Faults(415, Fault("header Content-Type", shown(given), content_type))
    too_large = Faults(413, Fault("body", f"more than {most} bytes", f"at most {most} bytes"))
    announced = request.headers.get("content-length", "0")
    if announced.isascii() and announced.isdigit() and (len(announced) > 10 or int(announced) > most):
        raise too_large
    data = bytearray()
    with trio.move_on_after(BODY_S) as scope:
        async for piece in request.stream():
            data += piece
            if len(data) > most:
                raise too_large
    if scope.cancelled_caught:
        raise Faults(408, Fault("body", f"{len(data)} bytes in {BODY_S:.0f} s", "the whole body in that time"))
    return bytes(data)


class Reader:
    """Reads one value of a JSON body: gives what the endpoint uses, or raises ValueError.

    Attributes:
        schema: what it takes, as JSON Schema, for the API's own description.
    """

    def __init__(self, read: Callable[[Any], Any], schema: dict[str, Any]) -> None:
        self._read = read
        self.schema = schema

    def __call__(self, value: Any) -> Any:
        return self._read(value)


class Field(msgspec.Struct, frozen=True):
    """One field of a JSON body. optional: it may be left out, and then is."""

    name: str
    expected: str
    read: Reader
    optional: bool = False


E = TypeVar("E", bound=Callable[..., Any])


def takes(wanted: Sequence[Field]) -> Callable[[E], E]:
    """Decorator: this endpoint reads these fields with `fields`; for the API's own description."""

    def mark(endpoint: E) -> E:
        endpoint.takes = tuple(wanted)  # type: ignore[attr-defined]
        return endpoint

    return mark


async def fields(request: Request, wanted: Sequence[Field], most: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """The fields of a JSON object; those that are not optional are needed, no others are taken.

    Args:
        most: bytes that the body may have.
    Raises:
        Faults: 400 with every mistake, or as `body`.
    """
    data = await body(request, "application/json", most)
    example = "{" + ", ".join(f'"{field.name}": {field.expected}' for field in wanted) + "}"
    try:
        given = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Faults(400, Fault("body", shown(str(error)), f"JSON: {example}")) from error
    if type(given) is not dict:
        raise Faults(400, Fault("body", shown(given), f"an object: {example}"))
    faults, found = [], {}
    for field in wanted:
        try:
            found[field.name] = field.read(given[field.name])
        except KeyError:
            if field.optional:
                continue
            faults.append(Fault(field.name, "nothing", field.expected))
        except ValueError:
            faults.append(Fault(field.name, shown(given[field.name]), field.expected))
    names = {field.name for field in wanted}
    faults += [Fault(shown(name), "a field", f"only {', '.join(names)}") for name in sorted(set(given) - names)]
    if faults:
        raise Faults(400, *faults)
    return found


def number(low: int, high: int) -> Reader:
    """Reads a whole number within bounds."""

    def read(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError
        return value

    return Reader(read, {"type": "integer", "minimum": low, "maximum": high})


def choice(table: Mapping[str, int]) -> Reader:
    """Reads one of a few words."""

    def read(value: Any) -> int:
        if type(value) is not str or value not in table:
            raise ValueError
        return table[value]

    return Reader(read, {"type": "string", "enum": list(table)})


def weights(most: int, largest: int) -> Reader:
    """Reads an object of one to so many names, each with a whole number from 1 on."""

    def read(value: Any) -> dict[str, int]:
        if type(value) is not dict or not 0 < len(value) <= most:
            raise ValueError
        if not all(name and type(one) is int and 1 <= one <= largest for name, one in value.items()):
            raise ValueError
        return dict(value)

    whole = {"type": "integer", "minimum": 1, "maximum": largest}
    return Reader(read, {"type": "object", "minProperties": 1, "maxProperties": most, "additionalProperties": whole})


def bytes_in_hex(size: int) -> Reader:
    """Reads so many bytes in lower-case hex."""

    def read(value: Any) -> bytes:
        if type(value) is not str or len(value) != 2 * size:
            raise ValueError
        found = bytes.fromhex(value)
        if found.hex() != value:
            raise ValueError
        return found

    return Reader(read, {"type": "string", "pattern": f"^[0-9a-f]{{{2 * size}}}$"})


def _text(value: Any) -> str:
    if type(value) is not str or not value:
        raise ValueError
    return value


text = Reader(_text, {"type": "string", "minLength": 1})
"""Reads text; what it may say is the record's business."""
