"""Origin by command: a roof is announced, confirmed, traced to every Wh in the village, certified, and used once.

Anna announces her roof; Bela, who does not administer, cannot confirm it, Anna can. From then on every node
says of every home where its energy came from: its shares add up to 100 %, and are the lines of the
settlement. What the roof gave to the grid is certified when nothing can correct it any more. Anna
passes certificates on to Bela, whose node dies while he uses them; they are used once, and never
again. Everything is said and asked by `meshnode` alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import trio

from tests.scenarios.mesh import ANNA, BELA, CARLA, Mesh, open_mesh, run_meshnode

WHOLE_PPM = 1_000_000
# More than all homes use, so that something is left for the grid.
SUNNY = msgspec.structs.replace(ANNA, quarters=((200, 2500),))
ROOF = ("installation", "register", "roof", "--kind", "production", "--source", "solar", "--capacity", "9000")
PASSED_ON_WH = 500
USED_WH = 200
# When the node that uses certificates is killed, after the command was typed.
DEATH_S = 0.3


async def play(place: Path) -> dict[str, Any]:
    """A sunny morning."""
    async with open_mesh(place, (SUNNY, BELA, CARLA), correction_minutes=20) as mesh:
        roof = await say(mesh, "anna", *ROOF, "--carbon", "20", "--technology", "monocrystalline")
        refused = await run(mesh, "bela", "installation", "confirm", roof, "--wait", "30")
        assert refused[0] == 1 and refused[1]["verdict"] == "NOT_ADMINISTRATOR", refused
        await say(mesh, "anna", "installation", "confirm", roof)
        await say(mesh, "anna", "origin", "grid-carbon", "300")
        (listed,) = (await see(mesh, "carla", "installation", "list"))["installations"]
        assert (listed["owner"], listed["state"], listed["source"]) == ("anna", "confirmed", "solar"), listed

        async def held() -> list[dict[str, Any]] | None:
            found: list[dict[str, Any]] = (await see(mesh, "anna", "certificate", "list"))["certificates"]
            return found if sum(one["wh"] for one in found) >= PASSED_ON_WH else None

        certified = await mesh.until("certificates for what the roof gave to the grid", held)
        start_s = certified[0]["period_start_s"]
        green_wh = await _every_node_tells_the_same(mesh, start_s)
        for name in mesh.nodes:
            day = await see(mesh, name, "origin", "day")
            assert sum(share["ppm"] for one in day["carriers"] for share in one["shares"]) == WHOLE_PPM, day
        passed = ("certificate", "transfer", "--to", "bela", "--source", "solar", "--energy")
        await say(mesh, "anna", *passed, f"{PASSED_ON_WH} Wh")
        await _used_once(mesh)
        height = await mesh.check_one_history()
        return {"certified_wh": sum(one["wh"] for one in certified), "green_wh": green_wh, "height": height}


async def _every_node_tells_the_same(mesh: Mesh, start_s: int) -> int:
    """The source of every Wh of a period is what its settlement says; gives how much of it was green."""
    told = [(await see(mesh, name, "trace", str(start_s), "all"))["members"] for name in mesh.nodes]
    assert told[0] == told[1] == told[2] and len(told[0]) == len(mesh.nodes), told
    lines = await mesh.lines(mesh["anna"], start_s)
    for member in told[0]:
        used = dict.fromkeys(("own", "neighbours", "grid"), 0)
        for lot in member["lots"]:
            used[lot["way"]] += lot["wh"]
        line = lines[member["name"]]
        assert used == {way: line[f"{way}_wh"] for way in used}, (member, line)
        assert sum(lot["ppm"] for lot in member["lots"]) == WHOLE_PPM, member
    return sum(member["green_wh"] for member in told[0])


async def _used_once(mesh: Mesh) -> None:
    """Bela's node dies while he uses certificates; with the same key the request is carried out once."""
    words = ("certificate", "retire", "--energy", f"{USED_WH} Wh", "--for", "the school", "--key", "school 1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, mesh, "bela", *words)
        await trio.sleep(DEATH_S)
        mesh["bela"].kill()
    mesh["bela"].start()
    await mesh["bela"].ready()
    await say(mesh, "bela", *words)
    await say(mesh, "bela", *words)
    held = (await see(mesh, "bela", "certificate", "list"))["certificates"]
    assert sum(one["wh"] for one in held) == PASSED_ON_WH - USED_WH, held
    history = (await see(mesh, "bela", "certificate", "list", "--history"))["history"]
    assert [(one["change"], one["wh"]) for one in history] == [("retired", USED_WH), ("transferred", PASSED_ON_WH)]
    code, told = await run(mesh, "bela", "certificate", "retire", "--energy", f"{PASSED_ON_WH} Wh", "--wait", "30")
    assert code == 1 and told["verdict"] == "NOT_CERTIFIED", told


async def run(mesh: Mesh, name: str, *words: str) -> tuple[int, Any]:
    """Exit code and answer of a command that a member types; None if it said nothing."""
    code, told, _ = await run_meshnode(*words, "--dir", str(mesh[name].directory), "--json")
    return code, json.loads(told) if told else None


async def say(mesh: Mesh, name: str, *words: str) -> str:
    """The id of a record that must be accepted; every node knows of it afterwards."""
    code, told = await run(mesh, name, *words, "--wait", "30")
    assert code == 0 and told["verdict"] == "ACCEPTED", (words, told)
    await mesh.until_height(told["height"])
    return str(told["record_id"])


async def see(mesh: Mesh, name: str, *words: str) -> Any:
    """The answer of a command that only asks."""
    code, told = await run(mesh, name, *words)
    assert code == 0, (words, told)
    return told
