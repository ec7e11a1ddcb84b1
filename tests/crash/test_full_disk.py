"""A disk fills up under a leader, to its reserve and to the last byte; it hands over, shows what it has, comes back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from meshnode.client import ClientError
from meshnode.loopback import NodeProcess
from meshnode.room import RESERVE_BYTES
from meshnode.store.place import free_bytes, microgrid_directory
from tests.crash.small_disk import IMPOSSIBLE
from tests.scenarios.mesh import VILLAGE, Mesh, open_mesh

SMALL = ("-m", "tests.crash.small_disk", "{directory}")
CHUNK = 64 * 1024


@pytest.fixture
def permitted(tmp_path: Path) -> None:
    """Small disks of one's own are permitted here."""
    probe = tmp_path / "probe" / "microgrids" / "00"
    probe.mkdir(parents=True)
    (probe / "genesis.cbor").write_bytes(b"")
    done = subprocess.run([sys.executable, "-m", SMALL[1], str(tmp_path / "probe")], capture_output=True, text=True)
    if done.returncode == IMPOSSIBLE:
        pytest.skip(f"no mount namespace is permitted here: {done.stderr.strip()}")


def disk_of(mesh: Mesh, node: NodeProcess) -> Path:
    """The small disk of a running node, as this process reaches it."""
    assert node.process is not None
    place = microgrid_directory(node.directory, mesh.chain_id)
    return Path(f"/proc/{node.process.pid}/root{place}")


def fill(disk: Path, left: int) -> Path:
    """Write a file until only so many bytes are left."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while free_bytes(disk) >= left + CHUNK:
                file.write(bytes(CHUNK))
            while not left:
                file.write(bytes(4096))
        except OSError:
            assert not left, "the disk is smaller than it said"
    return filler


async def test_a_full_disk_stops_nothing_but_its_own_node(tmp_path: Path, permitted: None) -> None:
    async with open_mesh(tmp_path / "mesh", VILLAGE, node=SMALL) as mesh:
        await mesh.until_settled(mesh.begin_s)
        full = await mesh.leader()
        others = [node for node in mesh.running if node is not full]
        disk = disk_of(mesh, full)
        filler = fill(disk, RESERVE_BYTES // 2)

        async def noticed() -> bool:
            return "the disk is full" in (await mesh.status(full))["notice"]

        await mesh.until("the leader says that its disk is full", noticed)

        async def another_leads() -> bool:
            return {status["leader"] for status in await mesh.statuses(others)} <= {node.name for node in others}

        await mesh.until("another node leads", another_leads)
        assert (await mesh.status(full))["role"] != "leader"
        # What was under way when it fell silent may still become final; then it stands.
        await mesh.until_settled(mesh.next_period_s(), others)
        stood_at = (await mesh.status(full))["height"]
        await mesh.until_settled(mesh.next_period_s(), others)
        assert (await mesh.status(full))["height"] == stood_at

        # To the last byte: pages and questions still get their answers, what would be new is refused.
        fill(disk, 0)
        assert await mesh.period(full, mesh.begin_s) is not None
        with pytest.raises(ClientError, match="disk of this node is full") as refused:
            for _ in range(200):
                await mesh.submit(full, "/api/assets", asset="SUN", kind="utility", cap=9, amount=9)
        assert refused.value.status != 0
        await mesh.until_settled(mesh.next_period_s(), others)
        assert full.is_running() and (await mesh.status(full))["halted"] == ""

        filler.unlink()

        async def resumed() -> bool:
            status = await mesh.status(full)
            return not status["notice"] and status["height"] >= min(
                known["height"] for known in await mesh.statuses(others)
            )

        await mesh.until("it has room, and takes part again", resumed)
        # Its readings waited; with one of the others switched off it is needed again.
        others[0].kill()
        await mesh.until_settled(mesh.next_period_s(), [full, others[1]])
        await mesh.check_one_history()
