"""Governance over HTTP: a binding is proposed, read, voted on and begun; the matching is paused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from protocols.records import BindingProposal, Support
from tests.ledger.governing import DEARER, FOUNDED, HOURLY, WITHOUT_FEE
from tests.protocols.village import device
from tests.web.client import get, write
from tests.web.hand_made import HandMade, SetClock, serving
from tests.web.street import MIDNIGHT_S, PERIOD_S, Street
from tests.web.test_feeds import say
from zencode.binding import binding_hash, encode
from zencode.reader import read

NOW_S = MIDNIGHT_S + 60


@pytest.fixture
def street(tmp_path: Path) -> Street:
    """Three homes whose nodes have not yet said what they can."""
    made = Street(tmp_path / "street", text=FOUNDED, administrators=("anna",))
    made.begin()
    return made


@pytest.fixture
async def homes(street: Street) -> AsyncIterator[dict[str, str]]:
    """The address of each home's node."""
    async with AsyncExitStack() as stack:
        backends = {home: HandMade(street, home, SetClock(NOW_S)) for home in street.homes}
        yield {home: await stack.enter_async_context(serving(one)) for home, one in backends.items()}
    street.views.close()


def declare(street: Street) -> None:
    """All nodes say what they can."""
    said = Support(
        nonce=1,
        valid_until_s=street.machine.time_s + 600,
        catalogue=1,
        mechanisms=street.machine.abilities.mechanisms,
    )
    street.block(street.machine.time_s + 1, *(street.village.sign(said, device(home)) for home in street.homes))


async def test_a_binding_is_proposed_read_voted_on_and_begins(street: Street, homes: dict[str, str]) -> None:
    anna, bela = homes["anna"], homes["bela"]
    before = (await get(bela, "/api/bindings")).json
    assert (before["in_force"], before["votes_ppm"], before["notice_s"]) == (
        binding_hash(read(FOUNDED)).hex(),
        660_000,
        1800,
    )
    assert (before["proposals"], before["pause"]) == ([], None)

    assert await say(anna, "/api/proposals", text=DEARER) == "ACCEPTED"
    (row,) = (await get(bela, "/api/bindings")).json["proposals"]
    assert (row["by"], row["status"], row["nodes"], row["able"]) == ("anna", "waiting", 3, 0)
    assert (row["unable"], row["mechanisms"]) == (["anna", "bela", "carla"], [["pay-as-clear", 1]])
    path = f"/api/proposals/{row['proposal']}"
    assert await say(bela, f"{path}/vote", choice="yes") == "VOTE_NOT_OPEN"
    declare(street)
    shown = (await get(bela, path)).json
    assert (shown["status"], shown["text"], shown["problem"], shown["title"]) == ("open", DEARER, "", "Borgo Sole")
    assert await say(bela, f"{path}/vote", choice="yes") == "ACCEPTED"
    assert await say(bela, f"{path}/withdraw") == "NOT_PROPOSER"
    shown = (await get(bela, path)).json
    assert (shown["needed"], shown["yes"], shown["outstanding"]) == (2, 1, ["anna", "carla"])
    assert [(one["member"], one["choice"]) for one in shown["votes"]] == [("bela", "yes")]
    assert await say(anna, f"{path}/vote", choice="yes") == "ACCEPTED"
    shown = (await get(bela, path)).json
    assert (shown["status"], shown["from_s"] % PERIOD_S, shown["electorate"]) == ("adopted", 0, 3)

    street.block(shown["from_s"])
    found = (await get(bela, "/api/bindings/history")).json
    assert [one["binding"] for one in found["in_force"]] == [row["binding"], before["in_force"]]
    assert [one["status"] for one in found["proposals"]] == ["begun"]
    assert (await get(bela, "/api/bindings")).json["in_force"] == row["binding"]


async def test_what_cannot_take_the_place_of_the_binding_is_said_before_anybody_votes(homes: dict[str, str]) -> None:
    anna = homes["anna"]
    broken = await write(anna, "POST", "/api/proposals", {"text": FOUNDED.replace("accept the member", "eat cake")})
    assert broken.status == 400 and "eat cake" in broken.json["errors"][0]["found"]
    hourly = await write(anna, "POST", "/api/proposals", {"text": HOURLY})
    assert hourly.status == 409 and "settlement period" in hourly.json["errors"][0]["found"]
    assert (await get(anna, f"/api/proposals/{'00' * 32}")).status == 404


async def test_nobody_says_yes_to_a_text_that_says_something_else(street: Street, homes: dict[str, str]) -> None:
    """Carla's own program proposes a binding, and writes beside it what another one says."""
    declare(street)
    liar = street.say(
        "carla",
        BindingProposal,
        tree=encode(read(DEARER)),
        text=WITHOUT_FEE.encode(),
        previous=binding_hash(read(FOUNDED)),
        not_before_s=0,
        catalogue=1,
        mechanisms=(("pay-as-clear", 1),),
    )
    street.block(street.machine.time_s + 1, liar)
    path = f"/api/proposals/{liar.record_id.hex()}"
    assert "its text says another binding" in (await get(homes["bela"], path)).json["problem"]
    reply = await write(homes["bela"], "POST", f"{path}/vote", {"choice": "yes"})
    assert reply.status == 409 and "its text says another binding" in reply.json["errors"][0]["found"]
    assert await say(homes["bela"], f"{path}/vote", choice="no") == "ACCEPTED"


async def test_the_matching_is_paused_and_goes_on(homes: dict[str, str]) -> None:
    anna, bela = homes["anna"], homes["bela"]
    why = {"for_s": 3600, "reason": "the meter of the plant lies"}
    assert await say(bela, "/api/matching/pause", **why) == "NOT_ADMINISTRATOR"
    assert await say(anna, "/api/matching/pause", **why) == "ACCEPTED"
    pause = (await get(bela, "/api/bindings")).json["pause"]
    assert (pause["by"], pause["reason"], pause["until_s"] - NOW_S) == ("anna", why["reason"], 3600)
    assert await say(anna, "/api/matching/pause", **why) == "PAUSED_ALREADY"
    assert await say(anna, "/api/matching/resume") == "ACCEPTED"
    assert (await get(bela, "/api/bindings")).json["pause"] is None
    assert (await write(anna, "POST", "/api/matching/pause", {"for_s": 10**7, "reason": "x"})).status == 400
