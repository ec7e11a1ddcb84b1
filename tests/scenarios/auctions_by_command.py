"""Auctions by command: called, bid in, outbid, closed, settled; a node dies at each step, and nothing is half done.

Anna calls for bids for 4 SUN, from 10 each; Bela bids 12, Carla 15: Bela's 48 EURO are hers again in the block that
holds Carla's 60. At each of these steps the node of whoever acts is killed in the middle; said again with the same key
the step is carried out once. Meanwhile Carla buys 2 SUN from who asks least. Both auctions close by the clock: just
then the leader is killed, and once more the winner's own node, while another node is asked without a pause what
everybody has: it is what it was before, or what it is after, never anything between. At the end of the day the
trades are settled, whoever dies at midnight, and nothing has moved twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from meshnode.client import ClientError
from tests.scenarios.mesh import PATIENCE_S, POLL_S, VILLAGE, open_mesh
from tests.scenarios.orders_by_command import Balances, everybody_has, through_a_death
from tests.scenarios.tokens_by_command import Village

PAIR = ("--asset", "SUN", "--pay-with", "EURO")
# At 300 times the usual speed: two minutes in which four commands are given and three nodes die; and forty seconds.
RISING_MINUTES = 600
FALLING_MINUTES = 200
# A day's trades are settled soon after midnight.
CORRECTION_MINUTES = 30
# Before a command was heard, while it is agreed on, and after it, on a computer that is not busy.
DEATHS_S = (0.4, 2.0, 4.0)
DAY_S = 86_400


async def play(place: Path) -> dict[str, Any]:
    """Two auctions, through six deaths."""
    async with open_mesh(place, VILLAGE, correction_minutes=CORRECTION_MINUTES) as mesh:
        village = Village(mesh)
        await village.say("anna", "asset", "issue", "SUN", "--cap", "1000", "--amount", "10")
        await village.say("anna", "asset", "issue", "EURO", "--kind", "money", "--cap", "100000", "--cashier", "carla")
        for name in ("bela", "carla"):
            paid = ("cash", "in", name, "--asset", "EURO", "--amount", "100", "--reference", f"bank {name}")
            await village.say("carla", *paid)
        await village.say("anna", "transfer", "--to", "bela", "--asset", "SUN", "--amount", "3")

        before = await everybody_has(village)
        call = ("auction", "open", "rising", *PAIR, "--amount", "4", "--price", "10", "--for", str(RISING_MINUTES))
        called = before | {("anna", "SUN"): (3, 4)}
        heard = [await through_a_death(village, "anna", call, before, called, DEATHS_S[0])]
        (lot,) = (await village.see("bela", "auction", "list"))["auctions"]
        first = ("auction", "bid", lot["id"], "--amount", "4", "--price", "12")
        bid = called | {("bela", "EURO"): (52, 48)}
        heard.append(await through_a_death(village, "bela", first, called, bid, DEATHS_S[1]))
        more = ("auction", "bid", lot["id"], "--amount", "4", "--price", "15")
        outbid = bid | {("bela", "EURO"): (100, 0), ("carla", "EURO"): (40, 60)}
        heard.append(await through_a_death(village, "carla", more, bid, outbid, DEATHS_S[2]))

        wanted = ("auction", "open", "falling", *PAIR, "--amount", "2", "--price", "9", "--for", str(FALLING_MINUTES))
        asked = await village.say("carla", *wanted)
        await village.say("bela", "auction", "bid", asked, "--amount", "3", "--price", "8")
        await village.say("anna", "auction", "bid", asked, "--amount", "1", "--price", "7")
        open_now = {
            ("anna", "SUN"): (2, 5),
            ("bela", "SUN"): (0, 3),
            ("bela", "EURO"): (100, 0),
            ("carla", "EURO"): (22, 78),
        }
        assert await everybody_has(village) == open_now, await everybody_has(village)
        # Anna sells 1 at 7, bela 1 at 8; carla gets back what it cost less than 18.
        bought = open_now | {
            ("anna", "SUN"): (2, 4),
            ("anna", "EURO"): (7, 0),
            ("bela", "SUN"): (2, 0),
            ("bela", "EURO"): (108, 0),
            ("carla", "SUN"): (2, 0),
            ("carla", "EURO"): (25, 60),
        }
        leader = (await mesh.leader()).name
        looks = await _through_a_close(village, asked, leader, open_now, bought)
        sold = bought | {
            ("anna", "SUN"): (2, 0),
            ("anna", "EURO"): (67, 0),
            ("carla", "SUN"): (6, 0),
            ("carla", "EURO"): (25, 0),
        }
        looks += await _through_a_close(village, lot["id"], "carla", bought, sold)
        assert (await village.see("bela", "auction", "list", "--fresh"))["auctions"] == []
        await _settled(village, sold)
        height = await mesh.check_one_history()
        return {"carried_out_before_death": sum(heard), "of": len(heard), "looks": looks, "height": height}


async def _through_a_close(village: Village, auction: str, victim: str, before: Balances, after: Balances) -> int:
    """An auction closes by the clock while a node is killed; how often another one was asked meanwhile."""
    mesh = village.mesh
    witness = mesh[next(name for name in ("anna", "bela", "carla") if name != victim)]
    (row,) = [one for one in (await village.see(witness.name, "auction", "list"))["auctions"] if one["id"] == auction]
    looks = 0

    async def look() -> Balances | None:
        try:
            found = (await witness.client.get("/api/balances", account="all"))["balances"]
        except ClientError:
            return None
        return {(one["name"], one["asset"]): (one["free"], one["held"]) for one in found}

    async with trio.open_nursery() as nursery:

        async def die() -> None:
            await mesh.until_clock(row["closes_s"])
            mesh[victim].kill()
            mesh[victim].start()
            await mesh[victim].ready()

        nursery.start_soon(die)
        with trio.fail_after(mesh.clock.real_delay(row["closes_s"]) + PATIENCE_S):
            while (found := await look()) != after:
                assert found is None or found == before, f"half of a close: {found}"
                looks += 1
                await trio.sleep(POLL_S)
    await mesh.until_meshed()
    assert await everybody_has(village) == after, "a close has moved more than once"
    return looks


async def _settled(village: Village, after: Balances) -> None:
    """Midnight passes, a node dies: the day's trades are matched with their periods, settled, and stay as they are."""
    mesh = village.mesh
    trades = (await village.see("carla", "order", "trades"))["executions"]
    assert [(one["seller"], one["units"], one["paid"]) for one in trades] == [
        ("anna", 4, 60),
        ("bela", 1, 8),
        ("anna", 1, 7),
    ]
    midnight_s = int(mesh.clock.now()) // DAY_S * DAY_S + DAY_S
    await mesh.until_clock(midnight_s)
    mesh["bela"].kill()
    mesh["bela"].start()
    await mesh["bela"].ready()
    await mesh.until_meshed()

    async def gone() -> bool:
        found = [await node.client.get("/api/executions", account="all") for node in mesh.running]
        return not any(one["executions"] for one in found)

    await mesh.until("the day's trades settled on every node", gone, PATIENCE_S)
    assert (await village.refused("carla", "order", "undo", trades[0]["id"]))["verdict"] == "UNKNOWN_TRADE"
    assert await everybody_has(village) == after, "settling a day moved something"
