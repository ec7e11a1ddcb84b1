"""API: programs read what the ledger did and write what its owner wants."""

import hashlib

import msgspec
import pytest
import trio

from meshnode.views import DayRow
from meshnode.web import api, speaking
from meshnode.web.backend import Status
from protocols.records import Order
from tests.protocols.keys import key_pair
from tests.web.client import get, request, write
from tests.web.hand_made import TOKEN, HandMade, SetClock, serving
from tests.web.street import MIDNIGHT_S, PERIOD_S, Counted, Street

PERIOD = MIDNIGHT_S + 58 * PERIOD_S
ORDER = {"side": "buy", "period_start_s": "next", "energy_wh": 250, "price_u_kwh": 215_000}


async def test_status_and_health(address: str, backend: HandMade) -> None:
    status = msgspec.json.decode((await get(address, "/api/status")).body, type=Status)
    assert status == backend.status()
    assert (await get(address, "/healthz")).json == {"status": "ok", "reason": "", "height": backend.machine.height}
    backend.halted = "another state hash"
    sick = await get(address, "/healthz")
    assert (sick.status, sick.json["reason"]) == (503, "another state hash")


async def test_live_names_the_homes(address: str, backend: HandMade) -> None:
    backend.hear("anna", -1200, 1500)
    backend.hear("emil", 380)
    rows = (await get(address, "/api/live")).json["live"]
    assert {row["name"]: (row["power_w"], row["produced_w"]) for row in rows} == {
        "anna": (-1200, 1500),
        "emil": (380, None),
    }


async def test_home_adds_up(address: str, backend: HandMade) -> None:
    backend.hear("emil", 380)
    home = (await get(address, "/api/home")).json
    day = msgspec.convert(home["day"], DayRow)
    assert day == backend.views.day(backend.account, MIDNIGHT_S, MIDNIGHT_S + 86400)
    assert day.own_wh + day.neighbours_wh + day.grid_wh == day.consumption_wh > 0
    assert home["claim_u"] == backend.machine.state.claims[backend.account].amount_u == day.in_u - day.out_u
    assert (home["name"], home["currency"], home["community"]) == ("emil", "EUR", "Borgo Sole")
    assert (home["period_start_s"], home["period_length_s"]) == (PERIOD, PERIOD_S)
    assert home["prices"]["neighbours_u_kwh"] == 190_000
    assert home["power"]["own_w"] == 380


async def test_periods_and_lines_tell_the_report(address: str, backend: HandMade) -> None:
    periods = (await get(address, "/api/periods")).json["periods"]
    report = (await get(address, "/api/report")).json["periods"]
    assert [period["start_s"] for period in periods] == [entry["period"] for entry in report]
    assert len(report) == 58
    for name in ("own_wh", "neighbours_wh", "grid_wh", "consumption_wh"):
        for period, entry in zip(periods, report, strict=True):
            assert period[name] == sum(member[name] for member in entry["members"].values())
    lines = (await get(address, f"/api/lines?account=carla&from_s={PERIOD - PERIOD_S}")).json["lines"]
    assert len(lines) == 1
    expected = report[-1]["members"]["carla"]
    assert expected == {name: lines[0][name] for name in expected}


@pytest.mark.parametrize(
    ("path", "key", "limit", "rows"),
    [
        ("/api/lines?account=all&from_s=0", "lines", 7, 58 * 5),
        ("/api/lines?account=anna&from_s=0", "lines", 10, 58),
        ("/api/periods?from_s=0", "periods", 9, 58),
        ("/api/trades", "trades", 1, None),
        ("/api/orders?account=all", "orders", 4, None),
        ("/api/postings?account=all", "postings", 100, None),
        ("/api/blocks", "blocks", 25, 117),
    ],
)
async def test_pages_of_a_list_make_the_whole(address: str, path: str, key: str, limit: int, rows: int | None) -> None:
    join = "&" if "?" in path else "?"
    whole = (await get(address, f"{path}{join}limit=5000")).json
    assert whole["next"] is None
    found, query = [], {"limit": limit}
    while query:
        answer = (
            await get(address, f"{path}{join}{'&'.join(f'{name}={value}' for name, value in query.items())}")
        ).json
        found += answer[key]
        query = {"limit": limit, **answer["next"]} if answer["next"] else None
    assert found == whole[key]
    assert len(found) == rows or rows is None
    assert len(found) > limit


async def test_blocks_one_by_one(address: str, backend: HandMade) -> None:
    assert (await get(address, "/api/blocks/1")).json["records"] == ["Reading"] * 5
    missing = await get(address, "/api/blocks/999999999999999999999999")
    assert (missing.status, missing.faults[0]["expected"]) == (404, f"1 to {backend.machine.height}")


async def test_state_hashes_of_the_newest_heights(address: str, backend: HandMade) -> None:
    height, before = backend.machine.height, backend.machine.state_hash()
    assert before is not None
    backend.final(backend.clock.now_s())
    assert (await get(address, f"/api/state/{height}")).json == {"height": height, "state_hash": before.hex()}
    unknown = await get(address, f"/api/state/{height + 2}")
    assert (unknown.status, unknown.faults[0]["place"]) == (404, "height")


async def test_an_order_is_placed_becomes_final_and_is_amended_and_cancelled(address: str, backend: HandMade) -> None:
    placed = await write(address, "POST", "/api/orders", ORDER)
    assert placed.status == 202
    assert placed.json["period_start_s"] == PERIOD + PERIOD_S
    record_id = placed.json["record_id"]
    assert placed.headers["location"] == f"/api/records/{record_id}"
    outcome = (await get(address, f"/api/records/{record_id}?wait=5")).json
    assert (outcome["status"], outcome["verdict"], outcome["height"]) == ("final", "ACCEPTED", backend.machine.height)
    assert bytes.fromhex(outcome["receipt"]) == b"receipt"
    (order,) = (await get(address, "/api/orders?open=1")).json["orders"]
    assert (order["order_id"], order["side"], order["energy_wh"]) == (record_id, "buy", 250)
    less = {"energy_wh": 100, "price_u_kwh": 214_000}
    assert (await write(address, "POST", f"/api/orders/{record_id}/amend", less)).status == 202
    (order,) = (await get(address, "/api/orders?open=1")).json["orders"]
    assert (order["order_id"], order["energy_wh"], order["price_u_kwh"]) == (record_id, 100, 214_000)
    cancelled = await write(address, "POST", f"/api/orders/{record_id}/cancel")
    assert cancelled.status == 202
    assert (await get(address, "/api/orders?open=1")).json["orders"] == []
    again = await write(address, "DELETE", f"/api/orders/{record_id}")
    outcome = (await get(address, f"/api/records/{again.json['record_id']}")).json
    assert outcome["verdict"] == "UNKNOWN_ORDER"


async def test_records_get_a_nonce_and_an_end_of_their_own(address: str, backend: HandMade) -> None:
    for _ in range(2):
        await write(address, "POST", "/api/orders", {**ORDER, "side": "sell", "period_start_s": PERIOD})
    first, second = (signed.record for signed in backend.said)
    assert isinstance(first, Order)
    assert isinstance(second, Order)
    assert (first.side, first.period_start_s) == (2, PERIOD)
    assert first.nonce != second.nonce
    assert first.valid_until_s == backend.clock.now_s() + speaking.VALID_REAL_S


def test_a_fast_clock_stretches_validity_within_the_communitys_limit(backend: HandMade) -> None:
    backend.clock = SetClock(1000, 180)
    assert speaking.spoken(backend)["valid_until_s"] == 1000 + 180 * speaking.VALID_REAL_S
    backend.clock = SetClock(1000, 8640)
    most = backend.machine.genesis.limits.max_validity_s
    assert speaking.spoken(backend)["valid_until_s"] == 1000 + most // 2


async def test_a_token_moves_between_members(address: str, backend: HandMade) -> None:
    answer = await write(address, "POST", "/api/assets", {"asset": "SUN", "kind": "utility", "cap": 100, "amount": 10})
    outcome = (await get(address, f"/api/records/{answer.json['record_id']}")).json
    assert outcome["verdict"] == "NOT_ADMINISTRATOR"
    for to in ("anna", backend.street.account("anna").hex()):
        answer = await write(address, "POST", "/api/transfers", {"to": to, "asset": "SUN", "amount": 3})
        outcome = (await get(address, f"/api/records/{answer.json['record_id']}")).json
        assert (outcome["verdict"], outcome["sentence"]) == ("UNKNOWN_ASSET", "there is no such asset")
    nobody = await write(address, "POST", "/api/transfers", {"to": "nobody", "asset": "SUN", "amount": 3})
    assert (nobody.status, nobody.faults[0]["found"]) == (400, "nobody")


async def test_a_record_signed_elsewhere_is_passed_on(address: str, backend: HandMade) -> None:
    signed = backend.street.order("anna", "buy", PERIOD, 120, 200_000)
    headers = {"authorization": f"Bearer {TOKEN}", "content_type": "application/cbor"}
    answer = await request(address, "POST", "/api/records", signed.envelope_bytes, **headers)
    assert (answer.status, answer.json["record_id"]) == (202, signed.record_id.hex())
    stranger = backend.street.village.sign(signed.record, key_pair("stranger"))
    refused = await request(address, "POST", "/api/records", stranger.envelope_bytes, **headers)
    assert (refused.status, refused.faults[0]["found"]) == (
        409,
        "the key that signed it belongs to no member, or has been revoked",
    )
    junk = await request(address, "POST", "/api/records", b"\xff\x00", **headers)
    assert (junk.status, "not a record of this microgrid" in junk.faults[0]["found"]) == (409, True)


async def test_what_is_not_final_is_unknown_and_says_so_in_time(address: str, backend: HandMade, monkeypatch) -> None:
    unknown = hashlib.sha256(b"never").hexdigest()
    with trio.fail_after(10):
        outcome = (await get(address, f"/api/records/{unknown}?wait=1")).json
    assert (outcome["status"], outcome["sentence"]) == ("unknown", "not in a final block yet; ask again")
    # With too many who wait, the next one is answered at once.
    monkeypatch.setattr(api, "MAX_WAITING", 0)
    with trio.fail_after(10):
        assert (await get(address, f"/api/records/{unknown}?wait=30")).json["status"] == "unknown"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/api/periods?limit=0", "query limit"),
        ("/api/periods?limit=1000000", "query limit"),
        ("/api/periods?from_s=yesterday", "query from_s"),
        ("/api/periods?to_s=" + "9" * 5000, "query to_s"),
        ("/api/lines?account=zoe", "query account"),
        ("/api/lines?account=" + "AB" * 16, "query account"),
        ("/api/orders?open=maybe", "query open"),
        ("/api/records/xyz", "record id"),
        ("/api/records/" + "AB" * 32, "record id"),
        ("/api/records/" + "ab" * 32 + "?wait=31", "query wait"),
        ("/parts?of=now,secrets", "query of"),
        ("/parts", "query of"),
    ],
)
async def test_questions_that_make_no_sense(address: str, path: str, place: str) -> None:
    answer = await get(address, path)
    assert answer.status == 400
    assert answer.faults[0]["place"] == place
    assert len(answer.body) < 600


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ({}, ["side", "period_start_s", "energy_wh", "price_u_kwh"]),
        ({**ORDER, "side": "steal"}, ["side"]),
        ({**ORDER, "energy_wh": 0}, ["energy_wh"]),
        ({**ORDER, "energy_wh": 1.5}, ["energy_wh"]),
        ({**ORDER, "energy_wh": True}, ["energy_wh"]),
        ({**ORDER, "price_u_kwh": "0.2"}, ["price_u_kwh"]),
        ({**ORDER, "price_u_kwh": 10**9 + 1}, ["price_u_kwh"]),
        ({**ORDER, "period_start_s": "soon"}, ["period_start_s"]),
        ({**ORDER, "period_start_s": -1}, ["period_start_s"]),
        ({**ORDER, "side": [[[]]], "energy_wh": {}, "colour": "green"}, ["side", "energy_wh", "colour"]),
        ([], ["body"]),
        (7, ["body"]),
    ],
)
async def test_all_mistakes_of_an_order_are_named_at_once(address: str, backend: HandMade, value, places) -> None:
    answer = await write(address, "POST", "/api/orders", value)
    assert answer.status == 400
    assert [fault["place"] for fault in answer.faults] == places
    assert all(fault["expected"] for fault in answer.faults)
    assert backend.said == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b'{"side": "buy",', b"[" * 3000, b"[" * 900 + b"]" * 900, b'{"side": NaN}', b"{}{}"],
)
async def test_what_is_no_json_is_refused(address: str, backend: HandMade, body: bytes) -> None:
    headers = {"authorization": f"Bearer {TOKEN}", "content_type": "application/json"}
    answer = await request(address, "POST", "/api/orders", body, **headers)
    assert (answer.status, answer.faults[0]["place"]) == (400, "body")


async def test_lists_in_a_period_of_many_trades_go_on_inside_it(tmp_path) -> None:
    """Twelve trades in one period, asked for five at a time."""
    street = Street(tmp_path, 3)
    street.begin()
    offers = [street.order("carla", "sell", MIDNIGHT_S, 10 + n, 100_000) for n in range(12)]
    bids = [street.order("bela", "buy", MIDNIGHT_S, 10 + n, 250_000) for n in range(12)]
    counted = {"anna": Counted(), "bela": Counted(400), "carla": Counted(0, 400, 400)}
    street.settle(MIDNIGHT_S, counted, *offers, *bids)
    backend = HandMade(street, "bela", SetClock(MIDNIGHT_S + PERIOD_S))
    async with serving(backend) as address:
        found, query = [], "limit=5"
        while query:
            answer = (await get(address, f"/api/trades?{query}")).json
            found += [row["number"] for row in answer["trades"]]
            more = answer["next"]
            query = more and "limit=5&" + "&".join(f"{name}={value}" for name, value in more.items())
    assert found == list(range(12))
    street.views.close()


READING = ("status", "home", "periods", "lines", "trades", "orders", "postings", "blocks", "blocks/1", "report")


@pytest.mark.parametrize("path", READING)
async def test_a_fresh_answer_is_the_same_and_says_how_far_it_reaches(
    path: str, address: str, backend: HandMade
) -> None:
    plain, fresh = await get(address, f"/api/{path}"), await get(address, f"/api/{path}?fresh=5")
    assert fresh.status == 200
    assert set(fresh.json) == set(plain.json)
    assert fresh.headers["fresh-height"] == str(backend.machine.height)
    assert "fresh-height" not in plain.headers


@pytest.mark.parametrize("path", READING)
async def test_without_a_majority_there_is_no_fresh_answer(path: str, address: str, backend: HandMade) -> None:
    backend.majority = False
    refused = await get(address, f"/api/{path}?fresh=5")
    assert refused.status == 504
    assert refused.faults == [
        {
            "place": "query fresh",
            "found": "nobody confirmed within 5 s what is newest",
            "expected": "a majority that confirms it",
            "remedy": "ask again, or without fresh for what this node knows",
        }
    ]
    assert (await get(address, f"/api/{path}")).status == 200
    wrong = await get(address, f"/api/{path}?fresh=31")
    assert (wrong.status, wrong.faults[0]["expected"]) == (400, "a whole number from 0 to 30")


async def test_a_fresh_record_is_asked_after_the_majority(address: str, backend: HandMade) -> None:
    record_id = "ab" * 32
    assert (await get(address, f"/api/records/{record_id}?fresh=5")).json["status"] == "unknown"
    backend.majority = False
    assert (await get(address, f"/api/records/{record_id}?fresh=5")).status == 504


async def test_a_request_that_is_sent_again_with_its_key_is_carried_out_once(address: str, backend: HandMade) -> None:
    headers = {"content_type": "application/json", "authorization": f"Bearer {TOKEN}"}
    body = msgspec.json.encode(ORDER)
    answers = [
        await request(address, "POST", "/api/orders", body, **headers, idempotency_key=key)
        for key in ("one", "one", "two", "one")
    ]
    assert [answer.status for answer in answers] == [202] * 4
    first, again, other, later = [answer.json["record_id"] for answer in answers]
    assert first == again == later != other
    assert len(backend.said) == 2
    assert answers[0].json["valid_until_s"] == backend.said[0].record.valid_until_s  # type: ignore[attr-defined]
    for wrong in ("k" * 65, "caf\u00e9", " \t"):
        refused = await request(
            address, "POST", "/api/orders", body, **headers, idempotency_key=wrong.strip() or "\x7f"
        )
        assert (refused.status, refused.faults[0]["place"]) == (400, "header Idempotency-Key")


async def test_a_node_that_is_full_says_when_to_come_again(address: str, backend: HandMade) -> None:
    backend.full = True
    refused = await write(address, "POST", "/api/orders", ORDER)
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    assert refused.faults[0]["found"] == "the mempool is full; try again later"
    backend.full = False
    backend.clock = SetClock(backend.machine.time_s - 2 * speaking.VALID_REAL_S)
    # What no node will ever take is another answer.
    assert (await write(address, "POST", "/api/orders", {**ORDER, "period_start_s": 0})).status in (202, 409)


async def test_who_knows_until_when_a_record_is_valid_hears_never(address: str, backend: HandMade) -> None:
    record_id, now_s = "ab" * 32, backend.machine.time_s
    for valid_until_s, status in ((now_s, "unknown"), (now_s - 1, "never")):
        told = await get(address, f"/api/records/{record_id}?valid_until_s={valid_until_s}")
        assert told.json["status"] == status
    assert (await get(address, f"/api/records/{record_id}?valid_until_s=soon")).status == 400
