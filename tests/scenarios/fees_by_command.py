"""Fees by command: a storage fee, arrears, a deposit, a credit limit, a levy and set prices; a node dies meanwhile.

Bela keeps 1 kWh in the common battery, whose fee is 1001 a quarter of an hour: of the first one Anna, who gave 7000
of 10,000 for it, gets 561, Carla 340, and the fund for first access 100, of which it buys Carla hers. His money is
soon spent; what he cannot pay he owes, and the deposit that Anna gives back, and what Carla pays in for him, pay that
first. With a credit limit he orders no more than he may owe. A levy and prices that are said in one quarter of an
hour hold in the next: then Anna sells Bela at her price what neither has ordered. Carla's node is killed while a
quarter closes, and finds the same sums when it is back. All is said and asked by `meshnode` alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scenarios.mesh import VILLAGE, Mesh, open_mesh
from tests.scenarios.tokens_by_command import Village

# A quarter of an hour takes nine seconds: a few commands fit into it.
SPEED = 100
FEE = 1_001
PAID_IN = 1_800
DEPOSIT = 300
FIRST = 50
LEVY_U = 10_000
SOLD_AT_U = 150_000


async def play(place: Path) -> dict[str, Any]:
    """Some quarters of an hour at a common battery."""
    async with open_mesh(place, VILLAGE, binding="neighbour_market", speed=SPEED) as mesh:
        village = Village(mesh)
        await _store(village)
        owed = await _owe(village)
        await _limit(village)
        traded = await _set_prices(village)
        height = await mesh.check_one_history()
        return {"arrears": owed, "priced_wh": traded, "height": height}


async def _store(village: Village) -> None:
    """Bela's money, his deposit, and his kilowatt-hour in Anna's battery."""
    await village.say("anna", "asset", "issue", "EURO", "--kind", "money", "--cap", "100000", "--cashier", "carla")
    await village.say("anna", "asset", "issue", "KEPT", "--kind", "energy", "--cap", "100000")
    paid = ("cash", "in", "bela", "--asset", "EURO", "--reference", "bank 1", "--amount", str(PAID_IN))
    await village.say("carla", *paid)
    bound = ("--efficiency", "1000000", "--cost", "300", "--price", "200")
    fee = ("--fee", str(FEE), "--fee-asset", "EURO", "--owners", "anna:7000,carla:3000")
    split = (
        "--owners-get",
        "800000",
        "--others",
        "carla:100000",
        "--education",
        "100000",
        "--first-access",
        str(FIRST),
    )
    await village.say("anna", "asset", "issue", "ACCESS", "--cap", "1000000000", "--amount", "1000000000", "--once")
    await village.say("anna", "transfer", "--to", "bela", "--asset", "ACCESS", "--amount", "1")
    await village.say("anna", "storage", "set", "KEPT", *bound, "--access", "ACCESS", *fee, *split)
    await village.say("bela", "credit", "deposit", "--asset", "EURO", "--amount", str(DEPOSIT), "--to", "anna")
    report = ("storage", "report", "--asset", "KEPT", "--discharged", "4000")
    await village.say("anna", *report, "--charged", "10000")
    await village.say("anna", *report, "--charged", "11000", "--parts", "bela:1000:0")


async def _owe(village: Village) -> int:
    """The fee is divided; what cannot be paid is owed, and paid first by whatever comes."""
    mesh = village.mesh
    await mesh.until("the first fee", lambda: _fees(village, 1))
    moved = (await village.see("anna", "transfer", "list", "--asset", "EURO"))["movements"]
    assert {one["amount"] for one in moved if one["what"] == "storage_fee"} >= {561}, moved
    assert (await village.has("carla"))["ACCESS"] == (1, 0), "the fund has bought her first access"
    (row,) = (await village.see("carla", "storage", "list"))["storages"]
    assert row["first_access"] and row["education_u"] % 100 == FIRST, row
    # Carla's node misses the close of a quarter.
    mesh["carla"].kill()
    await mesh.until("arrears", lambda: _fees(village, 2))
    await village.comes_back("carla")
    stands = await _stands(village, "carla")
    assert stands["EURO"] == (0, DEPOSIT) and stands["arrears"] > 0, stands

    (deposit,) = (await village.see("anna", "credit", "show", "bela"))["deposits"]
    refused = await village.refused("bela", "credit", "release", deposit["id"])
    assert refused["verdict"] == "NOT_FOR_YOU", refused
    await village.say("anna", "credit", "release", deposit["id"])
    stands = await _stands(village, "bela")
    assert stands["EURO"] == (0, 0) and stands["arrears"] > 0, stands
    owed = stands["arrears"]
    more = ("cash", "in", "bela", "--asset", "EURO", "--reference", "bank 2", "--amount", "20000")
    await village.say("carla", *more)
    stands = await _stands(village, "anna")
    assert stands["arrears"] == 0 and 0 < stands["EURO"][0] < 20_000, stands
    # Whenever it is looked at: what was paid is whole fees.
    assert (PAID_IN + 20_000 - stands["EURO"][0]) % FEE == 0, stands
    return int(owed)


async def _limit(village: Village) -> None:
    """Bela, who may owe next to nothing, orders nothing dear; without a limit he does."""
    dear = ("order", "buy", "--energy", "20 kWh", "--price", "0.28 EUR/kWh")
    assert (await village.refused("bela", "credit", "limit", "1 EUR", "--member", "carla"))["verdict"] == "NOT_SUPPLIER"
    await village.say("anna", "credit", "limit", "0.01 EUR", "--member", "bela")
    assert (await village.refused("bela", *dear))["verdict"] == "OVER_CREDIT"
    (row,) = (await village.see("carla", "credit", "show", "bela"))["credit"]
    assert (row["limit_u"], row["left_u"]) == (10_000, 0) and row["owed_u"] > 0, row
    await village.say("anna", "credit", "limit", "none", "--member", "bela")


async def _set_prices(village: Village) -> int:
    """What is said in a period holds from the next one on, at every node and in every posting."""
    mesh = village.mesh
    begun_s = mesh.next_period_s(0) - mesh.length_s
    early = ("price", "set", "--sell", "0.15 EUR/kWh", "--from", str(begun_s))
    assert (await village.refused("anna", *early))["verdict"] == "BACKWARDS"
    assert (await village.refused("bela", "parameter", "levy", "light", "0.01 EUR/kWh"))["verdict"] == (
        "NOT_ADMINISTRATOR"
    )
    # Everything from one and the same period on, which is far enough ahead for four commands.
    first_s = mesh.next_period_s(12)
    since = ("--from", str(first_s))
    await village.say("anna", "price", "set", "--sell", "0.15 EUR/kWh", *since)
    await village.say("bela", "price", "set", "--buy", "0.22 EUR/kWh", *since)
    await village.say("anna", "parameter", "levy", "light", "0.01 EUR/kWh", *since)
    known = (await village.see("carla", "price", "show"))["prices"]
    assert [(one["name"], one["in_force"]) for one in sorted(known, key=lambda one: one["name"])] == [
        ("anna", False),
        ("bela", False),
    ]
    await mesh.until_settled(first_s)
    before = {one["reason"] for one in await _postings(mesh, first_s - mesh.length_s)}
    assert not before & {"priced", "levy"}, before
    found = await _postings(mesh, first_s)
    (sale,) = [one for one in found if one["reason"] == "priced"]
    assert (sale["debit_name"], sale["credit_name"], sale["price_u_kwh"]) == ("bela", "anna", SOLD_AT_U), sale
    lines = await mesh.lines(mesh["carla"], first_s)
    levied = {one["debit_name"]: one for one in found if one["reason"] == "levy"}
    assert levied.keys() == lines.keys(), levied
    for name, line in lines.items():
        assert levied[name]["amount_u"] == line["consumption_wh"] * LEVY_U // 1000, (name, line, levied)
    return int(sale["energy_wh"])


async def _postings(mesh: Mesh, start_s: int) -> list[dict[str, Any]]:
    """The postings of a period, the same at every node."""
    views = [await mesh.postings(node, start_s) for node in mesh.running]
    assert all(view == views[0] for view in views), views
    return views[0]


async def _fees(village: Village, quarters: int) -> bool:
    """Whether Bela was charged for so many quarters."""
    stands = await _stands(village, "anna")
    free, held = stands["EURO"]
    return bool(PAID_IN - free - held + stands["arrears"] >= quarters * FEE)


async def _stands(village: Village, at: str) -> dict[str, Any]:
    """Bela's EURO (free, held) and his arrears, as one node knows them after one and the same block."""
    node = village.mesh[at]

    async def look() -> dict[str, Any] | None:
        height = (await village.mesh.status(node))["height"]
        balances = (await node.client.get("/api/balances", account="bela"))["balances"]
        (row,) = (await village.see(at, "credit", "show", "bela"))["credit"]
        if (await village.mesh.status(node))["height"] != height:
            return None
        found = {one["asset"]: (one["free"], one["held"]) for one in balances}
        return {"EURO": found.get("EURO", (0, 0)), "arrears": row["arrears"].get("KEPT", 0)}

    return await village.mesh.until("a look between two blocks", look)
