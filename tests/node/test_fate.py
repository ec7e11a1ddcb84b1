"""Fate: a client that hands in a record gets exactly one answer, whatever its node does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio

from meshnode import fate
from meshnode.client import ClientError, NobodyThere, NodeClient
from tests.cli.servers import Behaviour, answering, serving

ID = "ab" * 32
FINAL = {"status": "final", "record_id": ID, "height": 7, "verdict": "ACCEPTED", "sentence": "", "receipt": "00"}
WAITS = {"status": "unknown", "record_id": ID, "height": 0, "verdict": "", "sentence": "ask again", "receipt": ""}
FAULT = {"place": "record", "found": "why not", "expected": "", "remedy": ""}


def json(value: object, status: str = "200 OK") -> Behaviour:
    return answering(msgspec.json.encode(value), status=status)


async def hangs(_request: bytes, _stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def dies(_request: bytes, _stream: trio.SocketStream) -> None:
    await trio.lowlevel.checkpoint()


TAKEN = json({"record_id": ID}, "202 Accepted")
FOR_GOOD = json({"errors": [FAULT]}, "409 Conflict")
FOR_NOW = json({"errors": [FAULT]}, "503 Service Unavailable")
OUR_BUG = json({"errors": [FAULT]}, "500 Internal Server Error")


@asynccontextmanager
async def node(post: Behaviour, get: Behaviour = hangs) -> AsyncIterator[NodeClient]:
    async def behave(request: bytes, stream: trio.SocketStream) -> None:
        await (post if request.startswith(b"POST") else get)(request, stream)

    async with serving(behave) as address:
        # Whoever hangs is waited for to the end; on a busy machine all others may take their time.
        yield NodeClient(address, "token", deadline_s=1.0 if hangs in (post, get) else 60.0)


@pytest.mark.parametrize(
    ("post", "get", "elsewhere", "status", "accepted"),
    [
        (TAKEN, json(FINAL), False, "final", True),
        (TAKEN, json(FINAL | {"verdict": "NOT_ENOUGH"}), False, "final", False),
        (TAKEN, json(WAITS), False, "unknown", None),
        (TAKEN, json(WAITS | {"status": "never"}), False, "never", False),
        (TAKEN, hangs, False, "unknown", None),
        (TAKEN, dies, False, "unknown", None),
        (FOR_GOOD, dies, False, "refused", False),
        (FOR_GOOD, dies, True, "refused", False),
        (FOR_NOW, dies, False, "refused", False),
        # Another node may have it on its way.
        (FOR_NOW, dies, True, "unknown", None),
        (OUR_BUG, dies, False, "unknown", None),
        (hangs, dies, False, "unknown", None),
        (dies, dies, False, "unknown", None),
    ],
)
async def test_every_way_that_a_node_can_answer_is_one_of_four(
    post: Behaviour, get: Behaviour, elsewhere: bool, status: str, accepted: bool | None
) -> None:
    async with node(post, get) as client:
        told = await fate.hand_in(client, b"envelope", ID, elsewhere=elsewhere)
    assert (told.status, told.record_id, told.accepted) == (status, ID, accepted)
    assert bool(told.receipt) == (status == "final")
    assert told.lasting == (post is not FOR_NOW or elsewhere)


async def test_where_nothing_was_sent_there_is_nothing_to_settle() -> None:
    async with node(TAKEN) as client:
        gone = client
    with pytest.raises(NobodyThere) as refused:
        await fate.hand_in(gone, b"envelope", ID)
    assert not refused.value.in_doubt


async def test_a_request_that_is_wrong_is_a_mistake_and_no_fate() -> None:
    async with node(json({"errors": [FAULT]}, "401 Unauthorized")) as client:
        with pytest.raises(ClientError) as refused:
            await fate.hand_in(client, b"envelope", ID)
    assert refused.value.status == 401


async def test_asking_again_takes_the_words_of_the_question_along() -> None:
    asked: list[bytes] = []

    async def behave(request: bytes, stream: trio.SocketStream) -> None:
        asked.append(request.split()[1])
        await json(FINAL)(request, stream)

    async with node(behave, behave) as client:
        await fate.ask(client, ID, wait_s=2, fresh_s=5, valid_until_s=77)
        await fate.ask(client, ID)
    assert asked == [f"/api/records/{ID}?wait=2&fresh=5&valid_until_s=77".encode(), f"/api/records/{ID}".encode()]
