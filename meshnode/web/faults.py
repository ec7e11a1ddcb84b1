"""Faults: why a request was not carried out, as an answer that says what to do.

Every error of the API has one shape:
`{"errors": [{"place": ..., "found": ..., "expected": ..., "remedy": ...}]}`, all mistakes at once.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

# What an error repeats of a request: enough to recognise it.
MAX_SHOWN = 80


class Fault(msgspec.Struct, frozen=True):
    """One mistake. remedy is empty where `expected` says it all."""

    place: str
    found: str
    expected: str
    remedy: str = ""


class Faults(Exception):
    """A request that is answered with an error status."""

    def __init__(self, status: int, *faults: Fault, headers: dict[str, str] | None = None) -> None:
        super().__init__("; ".join(f"{fault.place}: {fault.found}" for fault in faults))
        self.status = status
        self.faults = faults
        self.headers = headers


def shown(value: object) -> str:
    """A value of a request as an error repeats it; what it is made of is left out."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(value), status, headers, "application/json")


async def answer_faults(_request: Request, error: Exception) -> Response:
    """The answer to a request with faults; an exception handler."""
    assert isinstance(error, Faults)
    return answer({"errors": error.faults}, error.status, error.headers)
