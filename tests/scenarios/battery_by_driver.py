"""Battery by driver: what flows into a common battery and out of it is reported by its node, not by hand.

Anna's roof makes more than everybody uses in one quarter of an hour, and nothing in the next. Her node keeps a
simulated battery: what is left over is charged for her, what she then lacks is discharged, and the battery's meter
says so on the ledger. She passes stored energy on to Bela, whose lack is then covered too. The fee of what is stored
goes to the owners by what they contributed. Her node is killed again and again, at any moment; in the end it is told to
stop, and the battery's own registers are what the ledger has, Wh for Wh, with each Wh somebody's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.scenarios.mesh import BELA, CARLA, Household, open_mesh, run_meshnode
from tests.scenarios.tokens_by_command import Village

SUNNY, DARK = (200, 3_000), (200, 0)
ANNA = Household(name="anna", quarters=(SUNNY, DARK), roles=("administrator", "prosumer"))
SPEED = 300
DEATHS = 3
MOST_WH = 2_000


async def play(place: Path) -> dict[str, Any]:
    """Some quarters of an hour, sunny and dark in turn."""
    async with open_mesh(place, (ANNA, BELA, CARLA), speed=SPEED) as mesh:
        village = Village(mesh)
        await _set_up(village)
        begun = await village.see("anna", "storage", "start", "KEPT", "--capacity", "5 kWh", "--power", "8000")
        assert begun["kept"]["battery"] == "simulated battery: no energy is stored", begun
        elsewhere = ("storage", "start", "KEPT", "--capacity", "5 kWh", "--dir", str(mesh["bela"].directory))
        code, _, complaint = await run_meshnode(*elsewhere)
        assert code == 1 and "in no storage of this node" in complaint, complaint

        await _until(village, "stored for anna", lambda row: row["charged_wh"] >= 500)
        for number in range(DEATHS):
            before = await _storage(village)
            mesh["anna"].kill()
            await village.comes_back("anna")
            moved = before["charged_wh"] + before["discharged_wh"]
            await _until(village, f"goes on after death {number + 1}", _beyond(moved))
        await _passed_on(village)

        await village.see("anna", "storage", "stop", "KEPT")
        await mesh.until("all that is due reported", lambda: _nothing_due(village))
        row, file = await _storage(village), _registers(mesh["anna"].directory)
        assert (row["charged_wh"], row["discharged_wh"]) == file, (row, file)
        supply = (await village.see("carla", "asset", "show", "KEPT", "--fresh"))["supply"]
        stored = row["charged_wh"] * 900_000 // 1_000_000 - row["discharged_wh"]
        # Parts of a unit that each of two members has not filled yet, and grid energy that nobody had stored.
        assert 0 <= supply - stored <= row["discharged_wh"], (supply, row)
        fees = {name: (await village.has(name))["EURO"][0] for name in ("anna", "bela", "carla")}
        assert fees["carla"] > 0 and fees["bela"] > 0, fees
        height = await mesh.check_one_history()
        return {"charged_wh": row["charged_wh"], "discharged_wh": row["discharged_wh"], "height": height}


async def _set_up(village: Village) -> None:
    await village.say("anna", "asset", "issue", "KEPT", "--kind", "energy", "--cap", "100000")
    await village.say("anna", "asset", "issue", "EURO", "--kind", "money", "--cap", "1000000", "--amount", "1000000")
    rules = ("--efficiency", "900000", "--cost", "300", "--price", "200")
    fee = ("--fee-asset", "EURO", "--fee", "1000", "--owners", "bela:7000,carla:2000", "--owners-get", "900000")
    await village.say("anna", "storage", "set", "KEPT", *rules, *fee, "--others", "carla:100000")
    row = await _storage(village)
    assert (row["most_wh"], row["owners"], row["others"]) == (
        MOST_WH,
        {"bela": 7_000, "carla": 2_000},
        {"carla": 100_000},
    ), row


async def _passed_on(village: Village) -> None:
    """What Bela has been given serves him, when he would take from the grid."""

    async def enough() -> bool:
        return (await village.has("anna")).get("KEPT", (0, 0))[0] >= 300

    await village.mesh.until("300 Wh stored", enough)
    code, told = await village.run(
        "anna", "transfer", "--to", "bela", "--asset", "KEPT", "--amount", "100", "--wait", "30"
    )
    assert code == 0, told

    async def consumed() -> bool:
        return (await village.has("bela")).get("KEPT", (0, 0))[0] == 0

    await village.mesh.until("Bela's 100 Wh consumed", consumed)
    moves = (await village.see("bela", "transfer", "list", "--asset", "KEPT"))["movements"]
    taken = [one["amount"] for one in moves if one["what"] == "taken_out" and one["giver_name"] == "bela"]
    assert sum(taken) == 100, moves


async def _storage(village: Village) -> dict[str, Any]:
    (row,) = (await village.mesh["anna"].client.get("/api/storages"))["storages"]
    return dict(row)


async def _until(village: Village, what: str, true: Any) -> None:
    async def is_so() -> bool:
        return bool(true(await _storage(village)))

    await village.mesh.until(what, is_so)


def _beyond(moved_wh: int) -> Any:
    return lambda row: row["charged_wh"] + row["discharged_wh"] > moved_wh


async def _nothing_due(village: Village) -> bool:
    kept = (await _storage(village))["kept"]
    return (kept["battery"], kept["charged_wh"], kept["discharged_wh"]) == ("stopped", 0, 0)


def _registers(directory: Path) -> tuple[int, int]:
    """What the battery itself has counted."""
    (file,) = directory.glob("**/battery-*.json")
    found = json.loads(file.read_text())
    return found["charged_wh"], found["discharged_wh"]
