"""A card's fsync fails: the process ends and says why, and started again it goes on where it was."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.crash.failing_disk import TRIGGER_FILE, compile_library
from tests.scenarios.mesh import VILLAGE, open_mesh

MEND = 2


async def test_a_failed_fsync_ends_the_node(tmp_path: Path) -> None:
    try:
        library = compile_library(tmp_path)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no C compiler here: {error}")
    failing = ("-m", "tests.crash.failing_disk", "{directory}", str(library))
    async with open_mesh(tmp_path / "mesh", VILLAGE, node=failing) as mesh:
        await mesh.until_settled(mesh.begin_s)
        leader = await mesh.leader()
        others = [node for node in mesh.running if node is not leader]
        (leader.directory / TRIGGER_FILE).touch()

        async def ended() -> bool:
            return not leader.is_running()

        await mesh.until("the leader's process ends", ended)
        assert leader.process is not None and leader.process.returncode == MEND, leader.tail()
        assert "the disk failed" in leader.tail() or "Input/output error" in leader.tail(), leader.tail()
        await mesh.until_settled(mesh.next_period_s(), others)

        # A supervisor starts it again; the card may have had a bad moment only.
        (leader.directory / TRIGGER_FILE).unlink()
        leader.start(failing)
        await leader.ready()

        async def votes() -> bool:
            status = await mesh.status(leader)
            return not status["notice"] and status["role"] != "learner"

        await mesh.until("it votes again", votes)
        others[0].kill()
        await mesh.until_settled(mesh.next_period_s(), [leader, others[1]])
        await mesh.check_one_history()
