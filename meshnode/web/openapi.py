"""OpenAPI: the API described for programs, made from its own routes, field tables and texts.

Every endpoint's text begins with its method, its path and the names in its query, such as
`GET /api/lines?account&limit: what it answers`; a writing one also says with `takes` which fields its body has.
Nothing is written twice, so nothing here can be out of date.

Source: OpenAPI Specification 3.1.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from meshnode import __version__
from meshnode.web.asking import Field
from meshnode.web.faults import answer

PATH = "/api/openapi.json"
_COUNT = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}
# What the names in queries mean, wherever they stand.
QUERY: dict[str, tuple[dict[str, Any], str]] = {
    "account": (_TEXT, 'a member\'s name or account id, "me" or "all"'),
    "asset": (_TEXT, "only what is about this asset"),
    "from_s": (_COUNT, "periods that begin at this UTC second or later"),
    "to_s": (_COUNT, "periods that begin before this UTC second"),
    "at_s": (_COUNT, "any UTC second of a local day"),
    "before_s": (_COUNT, "periods that begin before this UTC second"),
    "period_start_s": (_COUNT, "only the period that begins at this UTC second"),
    "below": (_COUNT, "go on where an answer ended: its last height or number"),
    "limit": (_COUNT, "at most so many rows"),
    "skip": (_COUNT, "leave out the first so many"),
    "view": (_TEXT, "what is summed, as the binding names it"),
    "open": (_COUNT, "1: only what is open"),
    "depth": (_COUNT, "so many orders of each side"),
    "said": (_TEXT, "an attribute that the order's documents state, as NAME=TEXT; may be given again"),
    "wait": (_COUNT, "hold the answer back until the record is final, at most so many seconds"),
    "valid_until_s": (_COUNT, "until when the record is valid, as its author knows"),
    "fresh": (_COUNT, "wait so many seconds for a majority to confirm that nothing is missing"),
}
_HEAD = re.compile(r"(?:GET|POST|DELETE) (?:/[^\s:?]*(?:\{\w+\})?[^\s:?]*)(?:\?([\w&=]+))?")
_PARAMETER = re.compile(r"\{(\w+)(?::(\w+))?\}")


class Description:
    """The endpoint that describes the others."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        """Args: routes: of the whole application; what is no API is left out."""
        self._routes = routes

    def routes(self) -> list[Route]:
        """The endpoint, for the application."""
        return [Route(PATH, self.document)]

    async def document(self, _request: Request) -> Response:
        """GET /api/openapi.json: this description."""
        return answer(document([*self._routes, *self.routes()]))


def document(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """The description of all routes that begin with /api."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if isinstance(route, Route) and route.path.startswith("/api"):
            path = _PARAMETER.sub(r"{\1}", route.path)
            for method in sorted((route.methods or set()) - {"HEAD"}):
                paths.setdefault(path, {})[method.lower()] = _operation(route, method)
    return {
        "openapi": "3.1.0",
        "info": {"title": "meshnode", "version": __version__, "description": _ABOUT},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {"Faults": _FAULTS, "Accepted": _ACCEPTED},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, method: str) -> dict[str, Any]:
    text = route.endpoint.__doc__ or ""
    writes = method != "GET"
    found: dict[str, Any] = {
        "operationId": f"{method.lower()}{re.sub(r'[^a-zA-Z0-9]+', '_', route.path).rstrip('_')}",
        "summary": _summary(text),
        "parameters": [*_of_path(route.path), *_of_query(text, getattr(route.endpoint, "can_be_fresh", False))],
        "responses": {
            "202" if writes else "200": _answer(_ref("Accepted") if writes else {"type": "object"}),
            "default": _answer(_ref("Faults")),
        },
    }
    if writes:
        found["security"] = [{"token": []}]
        found["parameters"].append(_KEY)
        fields, content_type = getattr(route.endpoint, "takes", ()), getattr(route.endpoint, "takes_type", "")
        if fields:
            found["requestBody"] = {"required": True, "content": {"application/json": {"schema": _body(fields)}}}
        elif content_type:
            found["requestBody"] = {"required": True, "content": {content_type: {}}}
    return found


def _summary(text: str) -> str:
    """The first paragraph, without the method and the path that it begins with."""
    first = " ".join(text.split("\n\n")[0].split())
    return first.partition(": ")[2] or first


def _of_path(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _COUNT if kind == "int" else _TEXT}
        for name, kind in _PARAMETER.findall(path)
    ]


def _of_query(text: str, can_be_fresh: bool) -> list[dict[str, Any]]:
    """What stands behind the question mark of the text's first line, and `fresh` where it is understood."""
    match = _HEAD.match(text)
    names = [part.partition("=")[0] for part in match.group(1).split("&")] if match and match.group(1) else []
    names += ["fresh"] * can_be_fresh
    return [{"name": name, "in": "query", "schema": QUERY[name][0], "description": QUERY[name][1]} for name in names]


def _body(fields: Sequence[Field]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [field.name for field in fields if not field.optional],
        "properties": {field.name: {**field.read.schema, "description": field.expected} for field in fields},
    }


def _answer(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "", "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_ABOUT = (
    "Energies are Wh, money micro-units of the currency, times UTC seconds of the microgrid's clock. "
    "Requests that write need the node's token. 202 means that a record is on its way; "
    "what became of it is asked at /api/records/{id}."
)
_FAULT_FIELDS = ("place", "found", "expected", "remedy")
_FAULTS = {
    "type": "object",
    "required": ["errors"],
    "properties": {
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": dict.fromkeys(_FAULT_FIELDS, _TEXT)},
        }
    },
}
_ACCEPTED = {
    "type": "object",
    "required": ["record_id"],
    "properties": {"record_id": {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "valid_until_s": _COUNT},
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 64},
    "description": "names this request: sent again with it, it is carried out once",
}
