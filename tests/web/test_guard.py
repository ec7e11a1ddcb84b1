"""Guard: who may ask what, and that nobody can wear the node down."""

import os
import socket
from functools import partial
from urllib.parse import urlsplit

import pytest
import trio
from h2.connection import H2Connection
from h2.events import ResponseReceived

from meshnode.config import ConfigError
from meshnode.web import asking, events, guard, server
from tests.web.client import connect, get, open_events, raw, request, write
from tests.web.hand_made import TOKEN, HandMade, serving

ORDER = {"side": "buy", "period_start_s": "next", "energy_wh": 250, "price_u_kwh": 215_000}
WRITING = [
    ("POST", "/api/orders"),
    ("DELETE", "/api/orders/" + "ab" * 32),
    ("POST", "/api/orders/" + "ab" * 32 + "/amend"),
    ("POST", "/api/orders/" + "ab" * 32 + "/cancel"),
    ("POST", "/api/transfers"),
    ("POST", "/api/assets"),
    ("POST", "/api/records"),
]


@pytest.mark.parametrize(("method", "path"), WRITING)
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", "\u00fc"])
async def test_nobody_writes_without_the_token(address: str, backend, method: str, path: str, token) -> None:
    answer = await write(address, method, path, ORDER, token=token)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.faults[0]["place"] == "header Authorization"
    assert TOKEN not in answer.body.decode()
    assert backend.said == []


async def test_the_token_in_another_scheme_is_not_the_token(address: str, backend: HandMade) -> None:
    answer = await request(address, "POST", "/api/orders", b"{}", authorization=f"Basic {TOKEN}")
    assert answer.status == 401


@pytest.mark.parametrize(("method", "path"), WRITING)
async def test_without_a_token_the_server_only_reads(backend: HandMade, method: str, path: str) -> None:
    async with serving(backend, token=None) as address:
        answer = await write(address, method, path, ORDER)
        assert (answer.status, answer.faults[0]["expected"]) == (403, "reading only at this address")
        assert (await get(address, "/")).status == 200
    assert backend.said == []


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.0.2.1:8170", "[::]:0"])
def test_where_requests_may_write_only_this_computer_is_served(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"web.listen: .* can be reached from other computers") as error:
        server.bind(listen, writable=True)
    assert 'listen = "127.0.0.1:8170"' in str(error.value)


@pytest.mark.parametrize("listen", ["", "8170", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "home:1"])
def test_an_address_that_is_none_is_named(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"is no address with a port"):
        server.bind(listen, writable=True)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"{listen}: Address already in use"):
            server.bind(listen, writable=True)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", "[::1]:0"])
async def test_the_address_to_open_is_given(backend: HandMade, listen: str) -> None:
    if "::1" in listen and not os.path.exists("/proc/net/if_inet6"):
        listen = "127.0.0.2:0"
    async with serving(backend, listen=listen) as address:
        assert urlsplit(address).port
        assert (await get(address, "/healthz")).status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8170", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:8170", 200),
        ("192.168.1.20:8170", 200),
        ("node.village", 200),
        ("evil.example", 421),
        ("evil.example:8170", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:8170", 421),
        ("127.0.0.1:evil", 421),
        ("", 421),
    ],
)
async def test_a_foreign_name_is_not_answered(backend: HandMade, host: str, status: int) -> None:
    """A page of evil.example whose name was pointed at this computer must not read the ledger here."""
    async with serving(backend, names=("node.village",)) as address:
        for path in ("/", "/api/report", "/static/page.js"):
            answer = await get(address, path, host=host)
            assert answer.status == status
    if status == 421:
        assert answer.faults[0]["place"] == "header Host"


@pytest.mark.parametrize("path", ["/", "/api/status", "/static/page.css", "/nowhere", "/api/periods?limit=0"])
async def test_every_answer_is_armoured(address: str, path: str) -> None:
    answer = await get(address, path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cache-control"] == ("no-cache" if "static" in path else "no-store")
    assert "server" not in answer.headers


@pytest.mark.parametrize(
    "path",
    ["/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py", "/static//etc/passwd", "/static/"],
)
async def test_only_the_pages_files_are_files(address: str, path: str) -> None:
    answer = await get(address, path)
    assert answer.status == 404
    assert b"import" not in answer.body


async def test_wrong_methods_and_types_are_named(address: str) -> None:
    assert (await request(address, "PUT", "/api/orders")).status == 405
    assert (await request(address, "POST", "/")).status == 405
    answer = await request(
        address, "POST", "/api/orders", b"side=buy", authorization=f"Bearer {TOKEN}", content_type="text/plain"
    )
    assert (answer.status, answer.faults[0]["expected"]) == (415, "application/json")


def head(address: str, method: str, path: str, *lines: str) -> bytes:
    wanted = (f"{method} {path} HTTP/1.1", f"Host: {urlsplit(address).netloc}", *lines, "", "")
    return "\r\n".join(wanted).encode()


JSON = ("Content-Type: application/json", f"Authorization: Bearer {TOKEN}")


async def test_a_body_announced_too_large_is_refused_unread(address: str, backend: HandMade) -> None:
    answer = await raw(address, head(address, "POST", "/api/orders", *JSON, "Content-Length: 99999999999"))
    assert answer.startswith(b"HTTP/1.1 413")


async def test_a_body_that_becomes_too_large_is_refused(address: str, backend: HandMade) -> None:
    """Chunks without end: the answer comes while they flow, and no task of the server stays behind."""
    tasks_before = trio.lowlevel.current_statistics().tasks_living
    for _ in range(5):
        async with await connect(address) as stream:
            await stream.send_all(head(address, "POST", "/api/orders", *JSON, "Transfer-Encoding: chunked"))
            try:
                with trio.move_on_after(5):
                    while True:
                        await stream.send_all(b"400\r\n" + b"x" * 1024 + b"\r\n")
            except trio.BrokenResourceError:
                pass
    await tasks_end(tasks_before)
    assert (await get(address, "/healthz")).status == 200


@pytest.mark.parametrize("path", ["/", "/api/events", "/nowhere"])
async def test_a_body_where_none_belongs_is_thrown_away(address: str, path: str) -> None:
    """More pieces than the server hands over at a time: the answer comes, and no task stays behind."""
    tasks_before = trio.lowlevel.current_statistics().tasks_living
    async with await connect(address) as stream:
        pieces = 64 * (b"10\r\n" + b"x" * 16 + b"\r\n")
        await stream.send_all(head(address, "GET", path, "Transfer-Encoding: chunked") + pieces)
        with trio.fail_after(10):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 ")
    await tasks_end(tasks_before)


async def tasks_end(before: int) -> None:
    """The server's tasks for connections that are gone come to their end."""
    with trio.fail_after(10):
        while trio.lowlevel.current_statistics().tasks_living > before:
            await trio.sleep(0.02)


async def test_a_body_that_does_not_come_is_not_waited_for(address: str, monkeypatch) -> None:
    monkeypatch.setattr(asking, "BODY_S", 0.2)
    answer = await raw(address, head(address, "POST", "/api/orders", *JSON, "Content-Length: 20", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * server.MAX_HEAD_BYTES, b"431"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.0\r\n\r\n", b"421"),
    ],
)
async def test_broken_requests_are_answered_and_closed(address: str, data: bytes, status: bytes) -> None:
    answer = await raw(address, data)
    assert answer.split()[1] == status


async def test_http2_and_websockets_are_not_spoken(address: str) -> None:
    client = H2Connection()
    client.initiate_connection()
    client.send_headers(1, [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "localhost")], True)
    statuses = []
    async with await connect(address) as stream:
        await stream.send_all(client.data_to_send())
        with trio.fail_after(10):
            while not statuses:
                found = client.receive_data(await stream.receive_some())
                statuses = [dict(event.headers)[b":status"] for event in found if isinstance(event, ResponseReceived)]
    assert statuses == [b"505"]
    key = "Sec-WebSocket-Key: " + "A" * 22 + "=="
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", key)
    answer = await raw(address, head(address, "GET", "/api/events", *upgrade))
    assert answer.split()[1] == b"403"


async def test_more_requests_than_can_be_served_are_sent_away(address: str, monkeypatch) -> None:
    monkeypatch.setattr(guard, "MAX_ACTIVE", 2)
    open_pages = [await open_events(address) for _ in range(2)]
    for page in open_pages:
        assert await page.status() == 200
    answer = await get(address, "/api/status")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.faults[0]["expected"] == "2 at most"


async def test_pages_get_news_and_the_node_learns_when_they_did(address: str, backend: HandMade) -> None:
    backend.hear("anna", 900)
    page = await open_events(address)
    assert await page.status() == 200
    kind, hello = await page.event()
    assert (kind, hello["account"], hello["live"][0]["power_w"]) == ("hello", backend.account.hex(), 900)
    backend.hear("carla", -2100)
    kind, live = await page.event()
    assert (kind, live["power_w"], live["meter"]) == ("live", -2100, backend.street.meter("carla").hex())
    backend.final(backend.clock.now_s())
    assert (await page.event())[0] == "block"
    # The block was written after the power, so the node knows by now that the power was.
    assert backend.written[0].data["power_w"] == -2100


async def test_a_page_that_goes_is_forgotten(address: str, backend: HandMade) -> None:
    history_alone = backend.pages
    async with await connect(address) as stream:
        await stream.send_all(head(address, "GET", "/api/events"))
        await stream.receive_some()
        while backend.pages == history_alone:
            await trio.sleep(0.01)
    with trio.fail_after(5):
        while backend.pages > history_alone:
            await trio.sleep(0.01)
    assert backend.pages == history_alone


async def test_too_many_pages_are_sent_away(address: str, monkeypatch) -> None:
    monkeypatch.setattr(events, "MAX_PAGES", 2)
    open_pages = [await open_events(address) for _ in range(2)]
    for page in open_pages:
        assert await page.status() == 200
    answer = await get(address, "/api/events")
    assert (answer.status, answer.headers["retry-after"]) == (503, "30")


async def test_a_quiet_stream_shows_that_it_is_there(address: str, monkeypatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.05)
    page = await open_events(address)
    await page.status()
    await page.event()
    assert b"still here" in await page._until(b"\n\n")


async def test_a_page_that_never_reads_costs_a_bounded_queue(backend: HandMade, monkeypatch) -> None:
    """A client that takes nothing: the node goes on, others are served, and in the end it is dropped."""
    monkeypatch.setattr(server, "UNTAKEN_MS", 1500)
    async with serving(backend) as address:
        history_alone = backend.pages
        host = urlsplit(address)
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((host.hostname, host.port))
            deaf.sendall(head(address, "GET", "/api/events"))
            with trio.fail_after(60):
                while backend.pages == history_alone:
                    await trio.sleep(0.01)
                # Far more than its queue and the kernel's buffers hold.
                while backend.pages > history_alone:
                    for _ in range(200):
                        backend.hear("anna", 1)
                    await trio.sleep(0.01)
            assert (await get(address, "/api/status")).status == 200
    assert len(backend.written) > 0


async def test_a_server_with_a_deaf_client_ends_all_the_same(backend: HandMade, monkeypatch) -> None:
    monkeypatch.setattr(server, "UNTAKEN_MS", 1000)
    with socket.socket() as deaf, trio.fail_after(30):
        async with serving(backend) as address:
            host = urlsplit(address)
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((host.hostname, host.port))
            deaf.sendall(head(address, "GET", "/api/events"))
            for _ in range(400):
                for _ in range(10):
                    backend.hear("anna", 1)
                await trio.sleep(0.002)
        assert backend.pages == 0, "the client's page outlived the server"


async def test_our_own_bug_is_said_and_logged(address: str, backend: HandMade, monkeypatch, caplog) -> None:
    monkeypatch.setattr(backend, "status", partial(int, "no number"))
    answer = await get(address, "/api/status")
    assert answer.status == 500
    assert answer.faults[0]["remedy"] == "look into the node's log, and report it"
    assert "no number" not in answer.body.decode()
    assert any("no number" in record.exc_text for record in caplog.records if record.exc_text)
    assert (await get(address, "/api/live")).status == 200
