"""Server: the application of pages and API, and the socket it is served at.

One HTTP/1.1 server a microgrid, in the node's own process. Until members have accounts,
whoever reaches the socket may read; so it is at home on this computer only, unless
nobody may write through it.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING

import hypercorn.trio
import trio
from hypercorn.config import Config as HypercornConfig
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.config import ConfigError
from meshnode.web.api import Api
from meshnode.web.auctions import Auctions
from meshnode.web.backend import Backend, Own
from meshnode.web.billing import Billing
from meshnode.web.cash import CashDesk
from meshnode.web.community import Community
from meshnode.web.contracts import Contracts
from meshnode.web.credentials import Credentials
from meshnode.web.credit import CreditDesk
from meshnode.web.delivery import Deliveries
from meshnode.web.events import Events
from meshnode.web.faults import Fault, Faults, answer, answer_faults, shown
from meshnode.web.feeds import Feeds
from meshnode.web.guard import Guard
from meshnode.web.history import History
from meshnode.web.installations import Installations
from meshnode.web.openapi import Description
from meshnode.web.origin import Origin
from meshnode.web.page import Page
from meshnode.web.parameters import Parameters
from meshnode.web.speaking import Speaking
from meshnode.web.standing import StandingOrders
from meshnode.web.steps import Steps
from meshnode.web.storage import Storages
from meshnode.web.tokens import Tokens
from meshnode.web.wishes import Wishes

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

# Connections that wait to be accepted; a browser opens six.
BACKLOG = 64
# A connection without a request, or with one that does not end, is closed after this.
IDLE_S = 10
# The kernel gives up a client that takes nothing for this long (Linux counts a closed
# window too); until then an answer to it waits, and so would the end of the node.
UNTAKEN_MS = 10_000
# What a request line and its headers may be.
MAX_HEAD_BYTES = 16 * 1024
# At the end, answers that are being written get this long.
FAREWELL_S = 1.0


def create_app(
    backend: Backend,
    token: str | None,
    history: History,
    names: Collection[str] = (),
    own: Own | None = None,
) -> Starlette:
    """The application.

    Args:
        token: what writing requests must carry; None: nobody may write.
        history: power for the chart; whoever serves the application runs it.
        names: host names besides localhost under which browsers may know the node.
        own: who delivers at the node's points and keeps its storages; None: nobody does.
    """
    routes = [
        *Page(backend, history).routes(),
        Route("/api/events", Events(backend).stream),
        *Speaking(backend, token).routes(),
        *Tokens(backend, token).routes(),
        *CashDesk(backend, token).routes(),
        *Contracts(backend, token).routes(),
        *StandingOrders(backend, token).routes(),
        *Steps(backend, token).routes(),
        *Wishes(backend, token).routes(),
        *Auctions(backend, token).routes(),
        *Deliveries(backend, token, own.attendant if own else None).routes(),
        *Credentials(backend, token).routes(),
        *Storages(backend, token, own.storekeeper if own else None).routes(),
        *Feeds(backend, token).routes(),
        *CreditDesk(backend, token).routes(),
        *Parameters(backend, token).routes(),
        *Billing(backend).routes(),
        *Origin(backend).routes(),
        *Installations(backend, token).routes(),
        *Community(backend, token).routes(),
        *Api(backend).routes(),
    ]
    return Starlette(
        routes=[*routes, *Description(routes).routes()],
        middleware=[Middleware(Guard, names=names)],
        exception_handlers={Faults: answer_faults, HTTPException: _answer_http, Exception: _answer_bug},
    )


async def serve(
    backend: Backend,
    token: str | None,
    listen: str,
    *,
    names: Collection[str] = (),
    own: Own | None = None,
    task_status: TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve pages and API until cancelled.

    Args:
        token: as `create_app`; with a token only loopback addresses are served.
        listen: "127.0.0.1:8170"; port 0 takes a free one.
        own: as `create_app`.
    Reports the address to open ("http://127.0.0.1:8170") once it listens.
    Raises:
        ConfigError: an address that is none, is taken, or is not loopback although requests may write.
    """
    listener = bind(listen, writable=token is not None)
    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    history = History(backend)
    config = HypercornConfig()
    config.bind = [f"fd://{listener.detach()}"]
    config.backlog = BACKLOG
    config.keep_alive_timeout = IDLE_S
    config.h11_max_incomplete_size = MAX_HEAD_BYTES
    config.graceful_timeout = FAREWELL_S
    config.include_server_header = False
    config.errorlog = logging.getLogger(f"{__name__}.requests")
    config.loglevel = "WARNING"
    app = create_app(backend, token, history, names, own)
    async with trio.open_nursery() as nursery:
        await nursery.start(history.run)
        await nursery.start(partial(hypercorn.trio.serve, app, config, mode="asgi"))  # type: ignore[arg-type]
        task_status.started(address)


def bind(listen: str, *, writable: bool) -> socket.socket:
    """A socket bound to an address; not listening yet.

    Raises:
        ConfigError: as `serve`.
    """
    host, _, digits = listen.rpartition(":")
    name = host.removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.ip_address("127.0.0.1" if name == "localhost" else name)
    except ValueError:
        address = None
    port = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 5 else -1
    if address is None or not 0 <= port <= 65535:
        raise ConfigError(
            f"web.listen: {shown(listen)} is no address with a port\n"
            '    write an IP address and a port, like: listen = "127.0.0.1:8170"'
        )
    if writable and not address.is_loopback:
        raise ConfigError(
            f"web.listen: {listen} can be reached from other computers, and whoever has the token may write there\n"
            '    listen on this computer only: listen = "127.0.0.1:8170"\n'
            "    from another one, reach it through: ssh -L 8170:127.0.0.1:8170 THIS-COMPUTER"
        )
    listener = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Accepted connections take this over from the listening socket.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNTAKEN_MS)
        listener.bind((str(address), port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"web.listen: {listen}: {error.strerror}\n    choose another port, or 0 for any free one"
        ) from error
    return listener


async def _answer_http(_request: Request, error: Exception) -> Response:
    """What the router refuses: an unknown path, a method that a path does not have."""
    assert isinstance(error, HTTPException)
    fault = Fault("request", error.detail, "a path and a method of this API")
    return answer({"errors": [fault]}, error.status_code, dict(error.headers or {}))


async def _answer_bug(request: Request, error: Exception) -> Response:
    """Our bug: said to the client, and logged with its trace."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    fault = Fault("server", "an error of its own", "an answer", "look into the node's log, and report it")
    return answer({"errors": [fault]}, 500)
