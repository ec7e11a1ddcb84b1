"""Community: who validates and who could, and what an administrator's node does about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshnode.config import REPLACE_AFTER_S
from meshnode.ledger import validators
from protocols.records import CHANGE_ADD, CHANGE_REMOVE, MemberEntry, QuorumChange, ValidatorEntry
from tests.protocols.keys import key_pair
from tests.protocols.village import HOMES, device
from tests.web.client import get, write
from tests.web.hand_made import HandMade, SetClock, serving
from tests.web.street import MIDNIGHT_S, Street


def member(home: str) -> MemberEntry:
    return MemberEntry(
        name=home,
        roles=("administrator", "prosumer") if home == "anna" else ("prosumer",),
        member_key=key_pair(home).public,
        device_key=device(home).public,
    )


@pytest.fixture
def anna(tmp_path: Path) -> Iterator[HandMade]:
    """The administrator's node in a street of five, of which three validate."""
    street = Street(
        tmp_path / "street",
        5,
        members=tuple(member(home) for home in HOMES[:5]),
        validators=tuple(ValidatorEntry(device_key=device(home).public) for home in HOMES[:3]),
    )
    street.block(MIDNIGHT_S + 1)
    yield HandMade(street, "anna", SetClock(MIDNIGHT_S + 60))
    street.views.close()


def row(found: Any, name: str) -> Any:
    return next(seat for seat in found["seats"] if seat["member"] == name)


async def test_everybody_stands_in_the_list(anna: HandMade) -> None:
    async with serving(anna) as address:
        found = (await get(address, "/api/validators")).json
        assert (found["mode"], found["quorum"], found["tolerates"], found["may_decide"]) == ("majority", 2, 1, True)
        assert [seat["member"] for seat in found["seats"] if seat["role"] == "validator"] == sorted(
            HOMES[:3], key=lambda home: device(home).public
        )
        assert [seat["number"] for seat in found["seats"]] == [1, 2, 3, 0, 0]
        assert row(found, "anna")["leads"] and row(found, "anna")["own"] and row(found, "dora")["role"] == "learner"
        assert found["proposal"] is None and found["commands"] == []
        members = (await get(address, "/api/members")).json["members"]
        assert {one["name"]: one["validates"] for one in members} == {home: home in HOMES[:3] for home in HOMES[:5]}


async def test_an_administrator_adds_and_removes_step_by_step(anna: HandMade) -> None:
    async with serving(anna) as address:
        reply = await write(address, "POST", "/api/validators", {"action": "add", "who": "dora", "anyway": 0})
        assert reply.status == 202
        said = anna.said[-1].record
        assert isinstance(said, QuorumChange)
        assert (said.action, said.device_key) == (CHANGE_ADD, device("dora").public)
        assert row((await get(address, "/api/validators")).json, "dora")["role"] == "joining"
        # One at a time.
        more = await write(address, "POST", "/api/validators", {"action": "add", "who": "emil", "anyway": 0})
        assert more.status == 409 and "not in force yet" in more.faults[0]["found"]
        anna.final(MIDNIGHT_S + 61)
        assert row((await get(address, "/api/validators")).json, "dora")["role"] == "validator"
        key = device("bela").public.hex()
        assert (
            await write(address, "POST", "/api/validators", {"action": "remove", "who": key, "anyway": 0})
        ).status == 202
        said = anna.said[-1].record
        assert isinstance(said, QuorumChange) and said.action == CHANGE_REMOVE


async def test_a_node_that_is_behind_or_away_is_not_made_a_validator_by_mistake(anna: HandMade) -> None:
    for number in range(20):
        anna.final(MIDNIGHT_S + 2 + number)
    async with serving(anna) as address:

        async def add(anyway: int) -> Any:
            return await write(address, "POST", "/api/validators", {"action": "add", "who": "dora", "anyway": anyway})

        anna.away[device("dora").public] = (0, 5)
        refused = await add(0)
        assert refused.status == 409 and "at height 5, this one at 21" in refused.faults[0]["found"]
        anna.away[device("dora").public] = (90, 21)
        refused = await add(0)
        assert refused.status == 409 and "has not been seen from here" in refused.faults[0]["found"]
        assert (await add(1)).status == 202


async def test_what_cannot_be_is_said_with_its_reason(anna: HandMade) -> None:
    async with serving(anna) as address:

        async def change(action: str, who: str) -> Any:
            return await write(address, "POST", "/api/validators", {"action": action, "who": who, "anyway": 0})

        assert "a member with a node (anna, bela" in (await change("add", "nobody")).faults[0]["expected"]
        assert "majority or byzantine" in (await change("mode", "dictator")).faults[0]["expected"]
        assert (await write(address, "POST", "/api/validators", {}, token=None)).status == 401
        stays = await write(address, "POST", "/api/members/leave", {"member": "bela"})
        assert stays.status == 409 and "meshnode validators remove bela" in stays.faults[0]["found"]
        assert (await write(address, "POST", "/api/members/leave", {"member": "emil"})).status == 202
        gone = next(one for one in (await get(address, "/api/members")).json["members"] if one["name"] == "emil")
        assert gone["left_s"]
    anna.home = "bela"
    async with serving(anna) as address:
        refused = await write(address, "POST", "/api/validators", {"action": "add", "who": "dora", "anyway": 0})
        assert refused.status == 409 and "only an administrator" in refused.faults[0]["found"]


async def test_the_autopilot_proposes_and_changes_nothing(anna: HandMade) -> None:
    anna.away[device("carla").public] = (REPLACE_AFTER_S, 1)
    before = validators.decided(anna.machine.state)
    async with serving(anna) as address:
        found = (await get(address, "/api/validators")).json
        assert found["proposal"]["gone"] == "carla" and found["proposal"]["reason"] == "gone"
        assert found["commands"] == ["meshnode validators add dora", "meshnode validators remove carla"]
        for language, words in (("en", "has not been seen for 12"), ("it", "non si vede da 12")):
            page = (await get(address, f"/?lang={language}")).body.decode()
            assert words in page and "<code>meshnode validators add dora</code>" in page
    assert validators.decided(anna.machine.state) == before and anna.said == []
