"""The client against servers that answer well, badly, slowly, endlessly or not at all."""

import json
from contextlib import aclosing

import pytest
import trio
import trio.testing

from meshnode import client
from meshnode.client import ClientError, NodeClient
from tests.cli.servers import answering, serving


async def test_a_question_and_its_answer() -> None:
    asked: list[bytes] = []

    async def behave(request: bytes, stream: trio.SocketStream) -> None:
        asked.append(request)
        await answering(b'{"height": 7}')(request, stream)

    async with serving(behave) as address:
        node = NodeClient(address + "/", "secret")
        assert await node.get("/api/lines", account="aa bb", limit=5, to_s=None, said=["a=1", "b"]) == {"height": 7}
        assert await node.post("/api/orders", {"side": "buy"}) == {"height": 7}
        await node.post("/api/records", b"\xd2\x84")
        await node.delete("/api/orders/00ff")
    heads = [request.split(b"\r\n")[0] for request in asked]
    assert heads == [
        b"GET /api/lines?account=aa+bb&limit=5&said=a%3D1&said=b HTTP/1.1",
        b"POST /api/orders HTTP/1.1",
        b"POST /api/records HTTP/1.1",
        b"DELETE /api/orders/00ff HTTP/1.1",
    ]
    assert all(b"Authorization: Bearer secret" in request for request in asked)
    assert f"Host: {address.removeprefix('http://')}".encode() in asked[0]
    assert json.loads(asked[1].partition(b"\r\n\r\n")[2]) == {"side": "buy"}
    assert b"Content-Type: application/cbor" in asked[2] and asked[2].endswith(b"\r\n\r\n\xd2\x84")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            b'{"errors": [{"place": "side", "found": "hold", "expected": "buy or sell", "remedy": "correct it"},'
            b'{"place": "energy_wh", "found": "nothing", "expected": "a whole number", "remedy": ""}]}',
            "side: found hold; expected buy or sell\n    correct it\nenergy_wh: found nothing; expected a whole number",
        ),
        (b"<html>no</html>", "/api/orders: HTTP status 400"),
        (b"[1]", "/api/orders: HTTP status 400"),
        (b'{"errors": [{}]}', "/api/orders: HTTP status 400"),
    ],
)
async def test_an_error_answer_becomes_a_sentence(body: bytes, sentence: str) -> None:
    async with serving(answering(body, "400 Bad Request")) as address:
        with pytest.raises(ClientError) as refused:
            await NodeClient(address).post("/api/orders", {})
    assert str(refused.value).removeprefix(address) == sentence
    assert refused.value.status == 400


async def test_nobody_at_the_address() -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(ClientError, match="no node answers there\n    start it with: meshnode run"):
        await NodeClient(f"http://127.0.0.1:{port}").get("/api/status")
    with pytest.raises(ClientError, match="no node answers there"):
        async with aclosing(NodeClient(f"http://127.0.0.1:{port}").events()) as events:
            await anext(events)


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:8170", "https://127.0.0.1:1", "http://a:b", "http://a", "http://a:1/x"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ClientError, match=r"write it like http://127.0.0.1:8170"):
        NodeClient(address)


async def test_a_server_that_never_answers_is_given_up() -> None:
    async def behave(_: bytes, __: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with serving(behave) as address:
        with pytest.raises(ClientError, match=r"no answer within 0.1 s"):
            await NodeClient(address, deadline_s=0.1).get("/api/status")
        with pytest.raises(ClientError, match=r"no answer within 0.2 s"):
            await NodeClient(address).get("/api/status", deadline_s=0.2)


@pytest.mark.parametrize(
    "rubbish", [b"", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]
)
async def test_what_is_no_http_answer_is_said_to_be_none(rubbish: bytes) -> None:
    async def behave(_: bytes, stream: trio.SocketStream) -> None:
        await stream.send_all(rubbish)

    async with serving(behave) as address:
        with pytest.raises(ClientError, match="not an HTTP answer"):
            await NodeClient(address).get("/api/status")


async def test_an_answer_that_is_no_json() -> None:
    async with serving(answering(b"<html>", kind="text/html")) as address:
        with pytest.raises(ClientError, match="the answer is no JSON; is this a node's page"):
            await NodeClient(address).get("/api/status")


async def test_an_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 100_000)

    async def behave(_: bytes, stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        with trio.move_on_after(5):
            while True:
                try:
                    await stream.send_all(bytes(10_000))
                except trio.BrokenResourceError:
                    return

    async with serving(behave) as address:
        with pytest.raises(ClientError, match="more than 100000 bytes"):
            await NodeClient(address).get("/api/report")


def event_stream(*pieces: bytes, then_hang: bool = False):  # type: ignore[no-untyped-def]
    async def behave(_: bytes, stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for piece in pieces:
            await stream.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        if then_hang:
            await trio.sleep_forever()

    return behave


async def test_news_come_one_by_one_however_they_are_cut() -> None:
    text = b': heartbeat\n\nevent: live\ndata: {"power_w":\ndata: 70}\n\nretry: 5\n\n'
    text += b'event: block\r\ndata: {"height": 3}\r\n\r\n'
    for pieces in ([text], [text[i : i + 1] for i in range(len(text))]):
        async with serving(event_stream(*pieces)) as address, aclosing(NodeClient(address).events()) as events:
            assert [event async for event in events] == [
                {"event": "live", "data": {"power_w": 70}},
                {"event": "block", "data": {"height": 3}},
            ]


async def test_news_that_stop_coming_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SILENCE_S", 0.2)
    behave = event_stream(b'data: {"a": 1}\n\n', then_hang=True)
    async with serving(behave) as address, aclosing(NodeClient(address).events()) as events:
        assert await anext(events) == {"event": "message", "data": {"a": 1}}
        with pytest.raises(ClientError, match=r"no answer within 0.2 s"):
            await anext(events)


async def test_news_without_end_or_sense_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_EVENT_BYTES", 1000)
    async with serving(event_stream(b"data: " + bytes(2000))) as address:
        with pytest.raises(ClientError, match="news of more than 1000 bytes"):
            async with aclosing(NodeClient(address).events()) as events:
                await anext(events)
    async with serving(event_stream(b"data: yes!\n\n")) as address:
        with pytest.raises(ClientError, match="news that are no JSON"):
            async with aclosing(NodeClient(address).events()) as events:
                await anext(events)
    busy = b'{"errors": [{"place": "server", "found": "64 open pages", "expected": "64 at most", "remedy": ""}]}'
    async with serving(answering(busy, "503 Busy")) as address:
        with pytest.raises(ClientError, match="found 64 open pages"):
            async with aclosing(NodeClient(address).events()) as events:
                await anext(events)
