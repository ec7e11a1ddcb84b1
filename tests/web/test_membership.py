"""Requests to join, frozen accounts, warnings and bills over HTTP."""

from __future__ import annotations

from pathlib import Path

from protocols.records import Join, MemberEntry, join_request_bytes
from tests.effects.ledgers import text
from tests.protocols.keys import key_pair
from tests.protocols.village import device
from tests.web.client import get
from tests.web.hand_made import HandMade, SetClock, serving
from tests.web.street import MIDNIGHT_S, PERIOD_S, Counted, Street
from tests.web.test_feeds import say

ASK = "When somebody asks to join as 'consumer'\nThen ask 60 % of members to agree within 2 days"
SILENCE = "When a meter is silent for 30 minutes\nThen warn 'consumer'\nAnd freeze the account"
HOURLY = "bills are issued every 1 hour"


def street(place: Path) -> Street:
    """An hour in which bela draws a kWh and carla's meter is heard once; emil has asked to join."""
    found = Street(place / "street", 3, text(ASK, SILENCE, givens=(HOURLY,)), administrators=("anna",))
    found.begin()
    found.settle(MIDNIGHT_S, {"anna": Counted(), "bela": Counted(1000), "carla": Counted()})
    emil = MemberEntry(
        name="emil", roles=("consumer",), member_key=key_pair("emil").public, device_key=device("emil").public
    )
    proof = key_pair("emil").sign(join_request_bytes(found.village.chain_id, bytes(16), emil))
    found.block(MIDNIGHT_S + PERIOD_S + 1, found.say("anna", Join, member=emil, invitation=bytes(16), proof=proof))
    for number in range(1, 4):
        found.settle(MIDNIGHT_S + number * PERIOD_S, {"anna": Counted(), "bela": Counted()})
    found.block(MIDNIGHT_S + 4 * PERIOD_S + 130)
    return found


async def test_members_vote_lift_and_read(tmp_path: Path) -> None:
    homes = street(tmp_path)
    clock = SetClock(MIDNIGHT_S + 4 * PERIOD_S + 137)
    anna, bela = (HandMade(homes, home, clock) for home in ("anna", "bela"))
    async with serving(anna) as at_anna, serving(bela) as at_bela:
        [request] = (await get(at_anna, "/api/requests")).json["requests"]
        assert (request["name"], request["agreed"], request["needed_ppm"]) == ("emil", [], 600_000)
        vote = f"/api/requests/{request['id']}/vote"
        assert await say(at_anna, vote, agrees=1) == "ACCEPTED"
        assert (await get(at_bela, "/api/requests")).json["requests"][0]["agreed"] == ["anna"]
        assert await say(at_bela, vote, agrees=1) == "ACCEPTED"
        assert await say(at_bela, vote, agrees=1) == "UNKNOWN_REQUEST"
        assert "emil" in {member["name"] for member in (await get(at_bela, "/api/members")).json["members"]}

        [warning] = (await get(at_bela, "/api/warnings")).json["warnings"]
        assert (warning["event"], warning["member"]) == ("a meter is silent", "carla")
        assert "a meter is silent" in (await get(at_bela, "/")).body.decode()
        [frozen] = (await get(at_bela, "/api/frozen")).json["frozen"]
        assert (frozen["member"], frozen["event"]) == ("carla", "a meter is silent")
        assert await say(at_bela, "/api/members/unfreeze", member="carla") == "NOT_ADMINISTRATOR"
        assert await say(at_anna, "/api/members/unfreeze", member="carla") == "ACCEPTED"
        assert (await get(at_bela, "/api/frozen")).json["frozen"] == []

        [bill] = (await get(at_bela, "/api/bills")).json["bills"]
        assert (bill["member"], bill["pay_u"], bill["until_s"]) == ("bela", 300_000, MIDNIGHT_S + 3600)
        everybody = (await get(at_anna, "/api/bills?account=all")).json["bills"]
        assert sorted(one["member"] for one in everybody) == ["anna", "bela", "carla"]
    homes.views.close()
