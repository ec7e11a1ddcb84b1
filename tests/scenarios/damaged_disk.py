"""Damaged disk: one rotten byte below the last acknowledgement, and the node does not vote before it is mended.

Carla's node is stopped, and one byte of an old block on its card becomes another. Started again it
finds that out before anybody asks for the block: it follows without voting, says so, and says so again
after another restart, as long as nobody is there who has the block. When the neighbours are
back it fetches what is lost, checks it, and votes again: with one of the others switched off,
nothing would become final without it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from meshnode.loopback import NodeProcess, stop_all
from meshnode.store.place import DATABASE_FILE, microgrid_directory
from protocols.cose import key_id_of
from tests.scenarios.mesh import VILLAGE, Mesh, open_mesh
from tests.scenarios.signed import Signed


async def play(place: Path) -> dict[str, Any]:
    """One byte of one block of one node."""
    async with open_mesh(place, VILLAGE) as mesh:
        carla = mesh["carla"]
        others = [node for node in mesh.running if node is not carla]
        await mesh.until_settled(mesh.begin_s)
        height = (await mesh.status(carla))["height"]
        lost = height // 2
        await stop_all(list(mesh.running))
        spoil(microgrid_directory(carla.directory, mesh.chain_id) / DATABASE_FILE, lost)

        for _ in range(2):
            carla.start()
            await carla.ready()
            status = await mesh.status(carla)
            assert status["role"] == "learner" and f"(height {lost})" in status["notice"], status
            assert status["height"] == lost - 1 and not status["halted"], status
            # What was settled is still shown: reading goes on.
            assert await mesh.period(carla, mesh.begin_s) is not None
            assert await carla.stop() == 0, carla.tail()

        for node in mesh.nodes.values():
            node.start()
        for node in mesh.nodes.values():
            await node.ready()
        await mesh.until("the node votes again", lambda: _votes(mesh, carla))
        assert (await mesh.status(carla))["height"] >= height
        others[0].kill()
        start_s = mesh.next_period_s()
        await mesh.until_settled(start_s)
        others[0].start()
        await others[0].ready()
        await mesh.until_height((await mesh.status(carla))["height"])
        last = await mesh.check_one_history()

        signed = Signed(mesh.chain_id)
        for node in mesh.running:
            assert await node.stop() == 0, node.tail()
            signed.read(node.directory)
        acknowledged, *_ = signed.newest(key_id_of(carla.keys.device.public))
        assert acknowledged > height, "the node has acknowledged nothing since"
        return {"lost_height": lost, "height": last, "signatures_compared": signed.count}


async def _votes(mesh: Mesh, node: NodeProcess) -> bool:
    status = await mesh.status(node)
    return not status["notice"] and status["role"] in ("follower", "leader")


def spoil(database: Path, height: int) -> None:
    """Turn one bit in the middle of a block around, in the file itself."""
    db = sqlite3.connect(database)
    [(data,)] = db.execute("SELECT data FROM log WHERE height = ?", (height,)).fetchall()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    raw = bytearray(database.read_bytes())
    # Long blocks stand in several pages; a piece of the first is found in one.
    piece = bytes(data[40:120])
    assert raw.count(piece) == 1, "the block is not in one place of the file"
    raw[raw.index(piece) + len(piece) // 2] ^= 0x10
    database.write_bytes(raw)
