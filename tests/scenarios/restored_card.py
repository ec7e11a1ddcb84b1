"""Restored card: an old copy of a node's directory comes back, signs nothing, and follows with a new device key.

Carla's node is stopped and its directory copied, as one copies a card. She starts it again and
her node votes and acknowledges. Then the card fails, and the copy is put in its place. The
copy has stopped in order and contradicts itself nowhere; but the neighbours hold newer
signatures of it. It never signs with that device key again, has the ledger take a new one,
and follows with it, until Anna, the administrator, makes the new key a validator and the old one none.
Everything that any node ever signed is compared in the end: nobody, Carla least of all, has signed
two things in one place.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from meshnode import keys
from meshnode.config import KEYS_DIRECTORY
from meshnode.keys import DEVICE_KEY
from meshnode.loopback import NodeProcess
from meshnode.network.transport import peer_id_of
from protocols.cose import key_id_of
from tests.scenarios.mesh import VILLAGE, Mesh, open_mesh, run_meshnode
from tests.scenarios.signed import Signed

RENEWED_S = 90.0


async def play(place: Path) -> dict[str, Any]:
    """One directory copied, run on, and put back."""
    async with open_mesh(place, VILLAGE) as mesh:
        anna, carla = mesh["anna"], mesh["carla"]
        signed = Signed(mesh.chain_id)
        await mesh.until_settled(mesh.begin_s)
        assert await carla.stop() == 0, carla.tail()
        copy = place / "copy-of-carla"
        shutil.copytree(carla.directory, copy)

        carla.start()
        await carla.ready()
        old_key = carla.keys.device.public
        await mesh.until("the node signs again", lambda: _signs(mesh, carla))
        start_s = mesh.next_period_s()
        await mesh.until_settled(start_s)
        carla.kill()
        signed.read(carla.directory)
        newest = signed.newest(key_id_of(old_key))
        shutil.rmtree(carla.directory)
        shutil.copytree(copy, carla.directory)

        carla.start()
        await carla.ready()

        async def renewed() -> dict[str, Any] | None:
            status = await mesh.status(carla)
            return status if status["peer_id"] != peer_id_of(old_key) and status["role"] == "learner" else None

        status = await mesh.until("the node has a new device key", renewed, RENEWED_S)
        new_key = keys.load(carla.directory / KEYS_DIRECTORY / DEVICE_KEY).public
        assert status["peer_id"] == peer_id_of(new_key)
        start_s = mesh.next_period_s()
        await mesh.until_settled(start_s)
        height = await mesh.check_one_history()
        assert not any(status["halted"] for status in await mesh.statuses())

        # Started again, it still follows with the new key, and its member's reading still counts.
        assert await carla.stop() == 0, carla.tail()
        carla.start()
        await carla.ready()
        await mesh.until_height(height, [carla])
        status = await mesh.status(carla)
        assert (status["role"], status["peer_id"]) == ("learner", peer_id_of(new_key))
        line = (await mesh.lines(anna, start_s))["carla"]
        assert line["consumption_wh"] > 0

        # The administrator has it vote again: the new key in, the old one out.
        for action, key in (("add", new_key), ("remove", old_key)):
            words = ("validators", action, key.hex(), "--dir", str(anna.directory), "--wait", "30")
            code, told, complaint = await run_meshnode(*words)
            while any(passing in complaint for passing in ("not in force yet", "wait until it has caught up")):
                # What the one before decided begins with the block after it, and nodes tell one another only now
                # and then how far they are; `mesh` bounds the whole story.
                code, told, complaint = await run_meshnode(*words)
            assert code == 0, f"{action}: {told}{complaint}"
        await mesh.until("the node votes with its new key", lambda: _signs(mesh, carla))

        async def replaced() -> bool:
            return {status["validators"] for status in await mesh.statuses()} == {3}

        # Until then four count, and with Bela gone the two who are left would be too few.
        await mesh.until("the old key counts no more", replaced)
        mesh["bela"].kill()
        await mesh.until_settled(mesh.next_period_s())
        height = await mesh.check_one_history()

        for node in mesh.running:
            assert await node.stop() == 0, node.tail()
            signed.read(node.directory)
        after = signed.newest(key_id_of(old_key))
        assert after == newest, f"the old device key has signed after its card was restored: {after}, before {newest}"
        assert signed.newest(key_id_of(new_key))[0] > newest[0], "the new key has acknowledged nothing"
        return {"height": height, "signatures_compared": signed.count, "last_acknowledged": newest[0]}


async def _signs(mesh: Mesh, node: NodeProcess) -> bool:
    status = await mesh.status(node)
    return not status["notice"] and status["role"] != "learner"
