"""Newcomer joins: an invitation, one command, and the next quarter is settled with the new home.

Anna, the administrator, makes a link and hands it to Dora. Dora's computer has never
seen the village. One command makes its keys, knocks at Anna's door, and has it signed
into the ledger; a second one starts the node, which fetches the whole history, checks
it, and reads Dora's meter. She gets her share of Anna's sun like the others. The link
is used up: nobody else gets in with it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from meshnode import keys
from meshnode.config import KEYS_DIRECTORY
from meshnode.founding import DEVICE_KEY, MEMBER_KEY, NodeKeys
from meshnode.loopback import HOST, Home, NodeProcess, free_ports
from tests.scenarios.mesh import ANNA, BELA, TELEGRAM_MS, open_mesh, record, run_meshnode

USED_WH = 400


async def play(place: Path) -> dict[str, Any]:
    """A fourth home, from the link to its first settled quarter."""
    async with open_mesh(place, (ANNA, BELA), with_doors=True) as mesh:
        code, told, complaint = await run_meshnode("invite", str(mesh["anna"].directory), "--json")
        assert code == 0, complaint
        link = json.loads(told)["link"]
        began = time.monotonic()
        dora = await _join(place, link)
        joined_s = time.monotonic() - began
        mesh.nodes["dora"] = dora
        try:
            dora.start()
            await dora.ready()
            await mesh.until_meshed()
            start_s = mesh.next_period_s(2 * TELEGRAM_MS / 1000)
            await mesh.until_settled(start_s)
            for node in mesh.running:
                line = (await mesh.lines(node, start_s))["dora"]
                assert abs(line["consumption_wh"] - USED_WH) <= 2, line
                assert line["neighbours_wh"] > 0, f"no share of the neighbours' sun: {line}"
            await _nobody_else(place, link)
            height = await mesh.check_one_history()
            status = await mesh.status(dora)
            assert (status["role"], status["halted"]) == ("learner", "")
            return {"joined_in_s": round(joined_s, 1), "height": height}
        finally:
            await dora.stop()


async def _join(place: Path, link: str) -> NodeProcess:
    """Dora's computer, after the one command."""
    mesh_port, web_port, door_port = free_ports(3)
    directory = place / "dora"
    meter = f"driver=replay,metering_point=home,path={record(place / 'recording', ((USED_WH, 0),))}"
    code, _, complaint = await run_meshnode(
        *("join", link, "--name", "dora", "--dir", str(directory)),
        *("--meter", f"{meter},interval_ms={TELEGRAM_MS}"),
        *("--listen", f"/ip4/{HOST}/tcp/{mesh_port}", "--web", f"{HOST}:{web_port}", "--json"),
    )
    assert code == 0, complaint
    folder = directory / KEYS_DIRECTORY
    made = NodeKeys(keys.load(folder / DEVICE_KEY), keys.load(folder / MEMBER_KEY), {})
    return NodeProcess(Home(name="dora", votes=False), directory, made, mesh_port, web_port, door_port)


async def _nobody_else(place: Path, link: str) -> None:
    code, _, complaint = await run_meshnode("join", link, "--name", "eve", "--dir", str(place / "eve"), "--json")
    assert code == 1, f"the link was used twice: {complaint}"
