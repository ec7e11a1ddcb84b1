"""Fresh: answers that miss nothing which was final anywhere when they were asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps

from starlette.requests import Request
from starlette.responses import Response

from meshnode.web import asking
from meshnode.web.backend import Backend, NotFresh
from meshnode.web.faults import Fault, Faults

# How long a fresh answer may wait for its majority: several elections.
MAX_FRESH_S = 30
FRESH_HEADER = "fresh-height"

Answerer = Callable[[Request], Awaitable[Response]]


def with_fresh(backend: Backend, answerer: Answerer) -> Answerer:
    """The endpoint, with `fresh` in its query (`meshnode.web.api` says what that means); marked for its description."""

    @wraps(answerer)
    async def endpoint(request: Request) -> Response:
        wait_s = asking.whole(request, "fresh", 0, 0, MAX_FRESH_S)
        if not wait_s:
            return await answerer(request)
        try:
            height = await backend.fresh(wait_s)
        except NotFresh as error:
            remedy = "ask again, or without fresh for what this node knows"
            raise Faults(504, Fault("query fresh", str(error), "a majority that confirms it", remedy)) from error
        response = await answerer(request)
        response.headers[FRESH_HEADER] = str(height)
        return response

    endpoint.can_be_fresh = True  # type: ignore[attr-defined]
    return endpoint
