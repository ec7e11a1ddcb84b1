"""Tokens by command: issued, sent with a memo that its receiver reads, exchanged, paid in and out; never one leg.

Anna creates SUN and EURO, and names Carla as cashier of EURO. Carla issues 500 EURO to Bela, who
has paid; saying so twice changes nothing. Anna sends Bela 30 SUN with a memo that he reads and
Carla cannot. Anna offers 40 SUN for 200 EURO: Carla, who has no EURO, moves neither leg,
and Bela's node dies while it accepts; whatever it had said by then, both amounts change hands or
none. Bela asks for money for 100 EURO, reads in the list that Carla can see where to pay, and
Carla's payment destroys them. Everything is said and asked by `meshnode` alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import trio

from tests.scenarios.mesh import VILLAGE, Mesh, open_mesh, run_meshnode

MEMO = "für die Kirschen"
# How often the node that accepts is killed, each time a little later.
DEATHS = 3
DEATH_STEP_S = 0.3
NOTHING = (0, 0)


async def play(place: Path) -> dict[str, Any]:
    """A morning at three counters."""
    async with open_mesh(place, VILLAGE) as mesh:
        village = Village(mesh)
        await village.say("anna", "asset", "issue", "SUN", "--cap", "1000", "--amount", "400")
        await village.say("anna", "asset", "issue", "EURO", "--kind", "money", "--cap", "100000", "--cashier", "carla")
        paid = ("cash", "in", "bela", "--asset", "EURO", "--amount", "1000", "--reference", "bank 1")
        await village.say("carla", *paid)
        assert (await village.refused("carla", *paid))["verdict"] == "REFERENCE_TAKEN"
        await village.say("anna", "transfer", "--to", "bela", "--asset", "SUN", "--amount", "30", "--memo", MEMO)
        memos = {name: await _newest_memo(village, name) for name in ("anna", "bela")}
        assert memos == {"anna": MEMO, "bela": MEMO}, memos
        await _nobody_else_reads(mesh)
        accepted = [await _exchange(village, number) for number in range(DEATHS)]
        await _money_out(village)
        height = await mesh.check_one_history()
        return {"accepted_before_death": sum(accepted), "of": DEATHS, "height": height}


class Village:
    """What the members type."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh

    async def run(self, name: str, *words: str) -> tuple[int, Any]:
        """Exit code and answer of a command that a member types."""
        where = ("--dir", str(self.mesh[name].directory), "--json")
        code, told, complaint = await run_meshnode(*words, *where)
        assert told, f"meshnode {' '.join(words)}: {complaint}"
        return code, json.loads(told)

    async def say(self, name: str, *words: str) -> str:
        """The id of a record that must be accepted; every node knows of it afterwards."""
        code, told = await self.run(name, *words, "--wait", "30")
        assert code == 0 and told["verdict"] == "ACCEPTED", told
        await self.mesh.until_height(told["height"])
        return str(told["record_id"])

    async def refused(self, name: str, *words: str) -> dict[str, Any]:
        """What the ledger said of a record that must be refused."""
        code, told = await self.run(name, *words, "--wait", "30")
        assert code == 1, told
        return dict(told)

    async def see(self, name: str, *words: str) -> Any:
        """The answer of a command that only asks."""
        code, told = await self.run(name, *words)
        assert code == 0, told
        return told

    async def dies_while(self, name: str, words: tuple[str, ...], delay_s: float) -> None:
        """A member's node is killed `delay_s` after a command began, and started again; nobody hears the answer."""
        mesh = self.mesh
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_meshnode, *words, "--dir", str(mesh[name].directory))
            await trio.sleep(delay_s)
            mesh[name].kill()
            # What was typed gets no answer any more.
            nursery.cancel_scope.cancel()
        await self.comes_back(name)

    async def comes_back(self, name: str) -> None:
        """A node that was killed is started again, and is one of the mesh."""
        self.mesh[name].start()
        await self.mesh[name].ready()
        await self.mesh.until_meshed()

    async def has(self, name: str) -> dict[str, tuple[int, int]]:
        """What a member has of each asset: (free, held)."""
        assets = (await self.see(name, "asset", "list", "--fresh"))["assets"]
        return {one["asset"]: (one["free"], one["held"]) for one in assets}


async def _newest_memo(village: Village, name: str) -> str | None:
    found = (await village.see(name, "transfer", "list", "--asset", "SUN"))["movements"]
    return str(found[0]["memo"]) if found[0]["what"] == "transfer" else None


async def _nobody_else_reads(mesh: Mesh) -> None:
    """Carla's node has the same bytes, and nothing to open them with."""
    found = await mesh["carla"].client.get("/api/movements", account="all", asset="SUN")
    row = next(row for row in found["movements"] if row["what"] == "transfer")
    assert row["has_memo"] and row["memo"] is None, row


async def _exchange(village: Village, number: int) -> bool:
    """One exchange, in the middle of which the accepting node dies; whether it came about by then."""
    mesh = village.mesh
    terms = ("--give", "SUN", "--give-amount", "40", "--want", "EURO", "--want-amount", "200", "--for", "1000")
    offered = await village.say("anna", "exchange", "offer", *terms)
    assert (await village.refused("carla", "exchange", "accept", offered))["verdict"] == "NOT_ENOUGH"
    before = await _balances(mesh)
    await village.dies_while("bela", ("exchange", "accept", offered), (number + 1) * DEATH_STEP_S)
    accepted = _accepted(before, await _balances(mesh))
    if number == DEATHS - 1:
        # The last time he says it again: it is carried out once, whatever was heard of the first.
        await village.run("bela", "exchange", "accept", offered, "--wait", "30")
        assert _accepted(before, await _balances(mesh))
    else:
        await village.run("anna", "exchange", "withdraw", offered, "--wait", "30")
    assert (await village.see("anna", "exchange", "list"))["exchanges"] == []
    return accepted


async def _balances(mesh: Mesh) -> dict[tuple[str, str], tuple[int, int]]:
    """(free, held) of everybody, all after one and the same block."""
    found = (await mesh["anna"].client.get("/api/balances", account="all", fresh=10))["balances"]
    return {(row["name"], row["asset"]): (row["free"], row["held"]) for row in found}


def _accepted(before: dict[tuple[str, str], tuple[int, int]], after: dict[tuple[str, str], tuple[int, int]]) -> bool:
    """Whether both amounts have changed hands; nothing has, if not. Anything between the two is an error."""
    moved = {
        key: tuple(now - was for now, was in zip(after.get(key, NOTHING), before.get(key, NOTHING), strict=True))
        for key in before.keys() | after.keys()
    }
    changed = {key: change for key, change in moved.items() if change != NOTHING}
    both = {
        ("anna", "SUN"): (0, -40),
        ("bela", "SUN"): (40, 0),
        ("bela", "EURO"): (-200, 0),
        ("anna", "EURO"): (200, 0),
    }
    assert changed in ({}, both), f"one leg: {changed}"
    return changed == both


async def _money_out(village: Village) -> None:
    before = (await village.has("bela"))["EURO"][0]
    wish = ("--asset", "EURO", "--amount", "100", "--memo", "AT12 3456")
    asked = await village.say("bela", "cash", "ask", *wish)
    (row,) = (await village.see("carla", "cash", "list"))["cash"]
    assert (row["id"], row["owner"], row["memo"]) == (asked, "bela", "AT12 3456"), row
    assert (await village.refused("anna", "cash", "out", asked, "--reference", "bank 2"))["verdict"] == "NOT_CASHIER"
    await village.say("carla", "cash", "out", asked, "--reference", "bank 2")
    assert (await village.has("bela"))["EURO"] == (before - 100, 0)
    known = await village.see("anna", "asset", "show", "EURO")
    assert (known["supply"], known["cashier"]) == (900, "carla"), known
