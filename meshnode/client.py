"""Client: asks a running node through its HTTP API.

One connection per question, a deadline on every one, and answers of a bounded size:
a node that hangs or babbles costs whoever asks a sentence, not the evening. Used by
the command line and by the demonstration. The page's server is `meshnode.web`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import h11
import trio

# A node on this computer answers in milliseconds; ten seconds cover a Pi that writes a snapshot.
DEADLINE_S: Final = 10.0
# A report of a year of 50 homes is the longest answer there is.
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
# One piece of news is a line or two.
MAX_EVENT_BYTES: Final = 256 * 1024
# The server says at least a comment every quarter of a minute; this long without one and it is gone.
SILENCE_S: Final = 60.0
_READ_BYTES: Final = 64 * 1024
_HELD: Final = ("wait", "fresh")


class ClientError(Exception):
    """The node did not do what it was asked; the text is a sentence for whoever asked.

    Attributes:
        status: of the HTTP answer; 0 if there was none.
        answer: what came with it, as JSON values; None if that was nothing or no JSON.
        in_doubt: the request may have reached the node, and been carried out, although nobody said so.
    """

    def __init__(self, sentence: str, status: int = 0, answer: Any = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.answer = answer
        self.in_doubt = False


class NobodyThere(ClientError):
    """No program listens at the address. The sentence ends with the command that starts the node, without a place."""


class NodeClient:
    """A node's HTTP API.

    Args:
        base_url: such as http://127.0.0.1:8170, with or without a slash at its end.
        token: for questions that change something; see `meshnode.config.TOKEN_FILE`.
        deadline_s: for a question and its whole answer, in real seconds.
    Raises:
        ClientError: the address is not one.
    """

    def __init__(self, base_url: str, token: str | None = None, *, deadline_s: float = DEADLINE_S) -> None:
        parts = urlsplit(base_url)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme != "http" or not parts.hostname or port is None or parts.path not in ("", "/"):
            raise ClientError(
                f"{base_url!r} is not the address of a node's page\n    write it like http://127.0.0.1:8170"
            )
        self.base_url = f"http://{parts.netloc}"
        self._host = parts.hostname
        self._port = port
        self._authority = parts.netloc
        self._token = token
        self._deadline_s = deadline_s

    async def get(self, path: str, *, deadline_s: float | None = None, **params: object) -> Any:
        """The JSON answer to a question; `params` become the query, None ones are left out, lists given one by one.

        `wait` and `fresh` let the node hold the question back for so many seconds (see
        `meshnode.web.api`); without a deadline given, they lengthen the usual one.

        Raises:
            ClientError: no answer in time, an answer that is an error, or one that is no JSON.
        """
        if deadline_s is None:
            held_s = sum(float(str(params.get(name) or 0)) for name in _HELD)
            deadline_s = self._deadline_s + held_s
        return await self._ask("GET", path, params, None, deadline_s)

    async def post(
        self,
        path: str,
        body: Mapping[str, Any] | bytes | None = None,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> Any:
        """The JSON answer to a request: a mapping goes as JSON, bytes as a signed envelope (CBOR).

        Args:
            key: idempotency key; a request that is sent again with it is carried out once.
        Raises:
            ClientError: as `get`; refused by the node, too.
        """
        return await self._ask("POST", path, {}, body, deadline_s, [] if key is None else [("Idempotency-Key", key)])

    async def delete(self, path: str, *, deadline_s: float | None = None) -> Any:
        """The JSON answer to the wish that something go away. Raises ClientError as `post`."""
        return await self._ask("DELETE", path, {}, None, deadline_s)

    async def events(self, path: str = "/api/events", **params: object) -> AsyncGenerator[dict[str, Any], None]:
        """News as they come: `{"event": name, "data": JSON values}`; ends when the server ends it.

        Close it with `contextlib.aclosing`, or cancel the task.

        Raises:
            ClientError: no connection, an error instead of news, or nothing at all for `SILENCE_S`.
        Source: Server-sent events, HTML Living Standard, section 9.2.
        """
        with _sentences(self.base_url, self._deadline_s):
            with trio.fail_after(self._deadline_s):
                exchange = await _Exchange.open(self._host, self._port)
        async with exchange:
            with _sentences(self.base_url, self._deadline_s):
                with trio.fail_after(self._deadline_s):
                    await exchange.send(self._request("GET", path, params, None, "text/event-stream"), b"")
                    status, headers = await exchange.head()
                    if status != 200 or not headers.get("content-type", "").startswith("text/event-stream"):
                        raise _refusal(self.base_url + path, status, await exchange.body())
            reader = _EventReader()
            while True:
                with _sentences(self.base_url, SILENCE_S), trio.fail_after(SILENCE_S):
                    data = await exchange.data()
                if data is None:
                    return
                for event in reader.feed(data):
                    yield event

    async def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, object],
        body: Mapping[str, Any] | bytes | None,
        deadline_s: float | None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Any:
        limit = self._deadline_s if deadline_s is None else deadline_s
        payload = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = self._request(method, path, params, body, "application/json", len(payload), headers)
        connected = False
        try:
            with _sentences(self.base_url, limit), trio.fail_after(limit):
                async with await _Exchange.open(self._host, self._port) as exchange:
                    connected = True
                    await exchange.send(request, payload)
                    status, _ = await exchange.head()
                    data = await exchange.body()
        except ClientError as error:
            error.in_doubt = connected
            raise
        if not 200 <= status < 300:
            raise _refusal(self.base_url + path, status, data)
        try:
            return json.loads(data) if data else None
        except ValueError as error:
            raise ClientError(
                f"{self.base_url}{path}: the answer is no JSON; is this a node's page?", status
            ) from error

    def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, object],
        body: Mapping[str, Any] | bytes | None,
        accept: str,
        length: int = 0,
        more: Sequence[tuple[str, str]] = (),
    ) -> h11.Request:
        query = urlencode({key: value for key, value in params.items() if value is not None}, doseq=True)
        headers = [("Host", self._authority), ("Accept", accept), ("Connection", "close"), *more]
        if self._token is not None:
            headers.append(("Authorization", f"Bearer {self._token}"))
        if method != "GET":
            headers.append(("Content-Length", str(length)))
        if body is not None:
            headers.append(("Content-Type", "application/cbor" if isinstance(body, bytes) else "application/json"))
        target = quote(path, safe="/") + (f"?{query}" if query else "")
        return h11.Request(method=method, target=target, headers=headers)


@contextmanager
def _sentences(place: str, deadline_s: float) -> Iterator[None]:
    """Turns what sockets, deadlines and broken answers raise into a ClientError."""
    try:
        yield
    except trio.TooSlowError as error:
        raise ClientError(
            f"{place}: no answer within {deadline_s:g} s\n    look at the node's log, or start it again"
        ) from error
    except OSError as error:
        raise NobodyThere(f"{place}: no node answers there\n    start it with: meshnode run") from error
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise ClientError(f"{place}: the node closed the connection; ask again") from error
    except h11.ProtocolError as error:
        raise ClientError(f"{place}: not an HTTP answer ({error}); is this a node's page?") from error


class _Exchange:
    """One request and its answer on a connection of their own."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)

    @staticmethod
    async def open(host: str, port: int) -> _Exchange:
        return _Exchange(await trio.open_tcp_stream(host, port))

    async def __aenter__(self) -> _Exchange:
        return self

    async def __aexit__(self, *_: object) -> None:
        # The answer is complete or of no interest any more: no goodbye to wait for.
        await trio.aclose_forcefully(self._stream)

    async def send(self, request: h11.Request, payload: bytes) -> None:
        data = self._http.send(request) or b""
        if payload:
            data += self._http.send(h11.Data(data=payload)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            # A server that refuses a long request answers before it has read all of it; what
            # it said is still to be read, and if it said nothing, reading fails too.
            return

    async def head(self) -> tuple[int, dict[str, str]]:
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
                return event.status_code, headers
            if not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("the connection ended before an answer began")

    async def data(self) -> bytes | None:
        """The next piece of the answer; None at its end."""
        event = await self._next()
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def body(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while (part := await self.data()) is not None:
            parts.append(part)
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                raise ClientError(f"the node answered with more than {MAX_ANSWER_BYTES} bytes; ask for less")
        return b"".join(parts)

    async def _next(self) -> h11.Event:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:
                raise h11.RemoteProtocolError("more than one answer")
            self._http.receive_data(await self._stream.receive_some(_READ_BYTES))


class _EventReader:
    """Cuts a byte stream into server-sent events; comments and unknown fields are passed over."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The events completed by `data`. Raises ClientError for what is no event of ours."""
        # The server ends lines with LF or CR LF; a bare CR, which the standard allows too, is never ours.
        self._buffer = (self._buffer + data).replace(b"\r\n", b"\n")
        *blocks, self._buffer = self._buffer.split(b"\n\n")
        if len(self._buffer) > MAX_EVENT_BYTES:
            raise ClientError(f"the node sent news of more than {MAX_EVENT_BYTES} bytes; is this a node's page?")
        return [event for block in blocks if (event := self._event(block)) is not None]

    @staticmethod
    def _event(block: bytes) -> dict[str, Any] | None:
        name, lines = "message", []
        for line in block.decode(errors="replace").split("\n"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                lines.append(value)
        if not lines:
            return None
        try:
            return {"event": name, "data": json.loads("\n".join(lines))}
        except ValueError as error:
            raise ClientError("the node sent news that are no JSON; is this a node's page?") from error


def _refusal(url: str, status: int, data: bytes) -> ClientError:
    """What an error answer says, as sentences; `{"errors": [{place, found, expected, remedy}]}` is the form of ours."""
    try:
        answer = json.loads(data)
        faults = [_sentence(fault) for fault in answer["errors"]]
    except (ValueError, TypeError, LookupError):
        return ClientError(f"{url}: HTTP status {status}", status)
    return ClientError("\n".join(faults), status, answer)


def _sentence(fault: Mapping[str, str]) -> str:
    remedy = fault.get("remedy", "")
    return f"{fault['place']}: found {fault['found']}; expected {fault['expected']}" + (remedy and f"\n    {remedy}")
