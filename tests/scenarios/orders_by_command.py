"""Orders by command: held, traded, amended, taken out, undone; a node dies at each step, and never one leg.

Bela has 1000 EURO and bids for 3 SUN at 200: 600 are held. Carla sells one of hers at 150 at once
and gets 200 for it, the older order's price; what is left is amended, and cancelled. At each of these steps the node
of whoever acts is killed in the middle, a little later each time; by then the step was carried out whole, or not at
all, and said again with the same key it is carried out once. Then Carla offers more than she has: that is quoted, and
trades in the block that brings her what she lacks. In the end Bela and she undo their first trade.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scenarios.mesh import VILLAGE, open_mesh
from tests.scenarios.tokens_by_command import Village

PAIR = ("--asset", "SUN", "--pay-with", "EURO")
BOOK = ("book", "SUN", "--pay-with", "EURO")
# When the node of who acts is killed, after the command began: before it was heard, and while it is agreed on; on a
# busy computer a command takes seconds.
DEATHS_S = (0.3, 0.8, 1.6, 3.2)
Balances = dict[tuple[str, str], tuple[int, int]]
"""(free, held) by member and asset."""


async def play(place: Path) -> dict[str, Any]:
    """A small market, through four deaths."""
    async with open_mesh(place, VILLAGE) as mesh:
        village = Village(mesh)
        await village.say("anna", "asset", "issue", "SUN", "--cap", "1000", "--amount", "10")
        await village.say("anna", "asset", "issue", "EURO", "--kind", "money", "--cap", "100000", "--cashier", "carla")
        paid = ("cash", "in", "bela", "--asset", "EURO", "--amount", "1000", "--reference", "bank 1")
        await village.say("carla", *paid)
        await village.say("anna", "transfer", "--to", "carla", "--asset", "SUN", "--amount", "2")

        before = await everybody_has(village)
        bid = ("order", "buy", *PAIR, "--amount", "3", "--price", "200")
        held = before | {("bela", "EURO"): (400, 600)}
        heard = [await through_a_death(village, "bela", bid, before, held, DEATHS_S[0])]
        (resting,) = (await village.see("bela", "order", "list"))["standing"]
        assert (resting["open"], resting["ready"], resting["state"]) == (3, 3, "confirmation"), resting

        sale = ("order", "sell", *PAIR, "--amount", "1", "--price", "150", "--good", "at-once")
        traded = held | {
            ("bela", "EURO"): (400, 400),
            ("bela", "SUN"): (1, 0),
            ("carla", "SUN"): (1, 0),
            ("carla", "EURO"): (200, 0),
        }
        heard.append(await through_a_death(village, "carla", sale, held, traded, DEATHS_S[1]))
        assert (await village.see("anna", "order", "trades", "--fresh"))["executions"] == []
        (trade,) = (await village.see("bela", "order", "trades"))["executions"]
        assert (trade["seller"], trade["paid"], trade["state"]) == ("carla", 200, "transaction"), trade

        amended = traded | {("bela", "EURO"): (600, 200)}
        less = ("order", "amend", resting["id"], "--amount", "2", "--price", "200")
        heard.append(await through_a_death(village, "bela", less, traded, amended, DEATHS_S[2]))
        gone = amended | {("bela", "EURO"): (800, 0)}
        out = ("order", "cancel", resting["id"])
        heard.append(await through_a_death(village, "bela", out, amended, gone, DEATHS_S[3]))

        await _unbacked(village)
        for name in ("bela", "carla"):
            await village.say(name, "order", "undo", trade["id"])
        assert (await village.refused("bela", "order", "undo", trade["id"]))["verdict"] == "UNKNOWN_TRADE"
        trades = (await village.see("bela", "order", "trades"))["executions"]
        assert [one["state"] for one in trades] == ["transaction", "transaction", "cancelled"], trades
        height = await mesh.check_one_history()
        return {"carried_out_before_death": sum(heard), "of": len(heard), "height": height}


async def through_a_death(
    village: Village, name: str, words: tuple[str, ...], before: Balances, after: Balances, delay_s: float
) -> bool:
    """A step in the middle of which the acting node dies, and which is said again; whether it was heard at first."""
    key = ("--key", f"{name} {' '.join(words[:2])}"[:60])
    await village.dies_while(name, (*words, *key), delay_s)
    found = await everybody_has(village)
    assert found in (before, after), f"half of {' '.join(words)}: {found}"
    code, told = await village.run(name, *words, *key, "--wait", "30")
    assert code == 0 and told["verdict"] == "ACCEPTED", told
    again = await everybody_has(village)
    assert again == after, f"not once, {' '.join(words)}: {again}"
    return found == after


async def _unbacked(village: Village) -> None:
    """Carla offers what she does not have; it trades in the very block that brings it."""
    before = await everybody_has(village)
    bela_eur = before["bela", "EURO"][0]
    await village.say("carla", "order", "sell", *PAIR, "--amount", "3", "--price", "8", "--unbacked")
    await village.say("bela", "order", "buy", *PAIR, "--amount", "2", "--price", "10")
    quoted = await village.see("bela", *BOOK, "--fresh")
    # One of the three was backed and went to bela at once, at the older order's price.
    assert (quoted["buying"], quoted["buying_now"], quoted["selling_now"]) == (8, None, 10), quoted
    assert (await everybody_has(village))["bela", "EURO"] == (bela_eur - 8 - 10, 10)
    await village.say("anna", "transfer", "--to", "carla", "--asset", "SUN", "--amount", "1")
    found = await everybody_has(village)
    assert found["bela", "EURO"] == (bela_eur - 8 - 10 + 2, 0), found
    quoted = await village.see("bela", *BOOK, "--fresh")
    assert (quoted["buying"], quoted["selling"], [row["open"] for row in quoted["sell"]]) == (8, None, [1]), quoted


async def everybody_has(village: Village) -> Balances:
    """(free, held) of everybody, all after one and the same block."""
    found = (await village.mesh["anna"].client.get("/api/balances", account="all", fresh=10))["balances"]
    return {(row["name"], row["asset"]): (row["free"], row["held"]) for row in found}
