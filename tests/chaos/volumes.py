"""Volumes: small disks of their own for some nodes, so that a disk can be full.

A volume is a tmpfs that only this process and its nodes see (its mount namespace is private); syncing it
costs nothing, so timing is not that of a card. Where mounting is not permitted, a limit on the
size of the files that the node's process may write stands for it: the system then says "file too
large" instead of "no space left", and files that are short still grow.
"""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

from meshnode.loopback import NodeProcess

# What a node keeps of ten minutes, several times over.
VOLUME_BYTES = 96 * 1024 * 1024
BALLAST_FILE = "ballast"
# Enough for the small files that a node replaces, too little for a ledger that grows.
FILE_LIMIT_BYTES = 64 * 1024
_PIECE = bytes(64 * 1024)


class Volumes:
    """Makes disks full and gives the room back.

    Attributes:
        kind: by what means, for the report.
        mounts: whether the process is isolated and may mount.
    """

    def __init__(self, *, mounts: bool) -> None:
        self.mounts = mounts
        self._mounted: list[Path] = []
        self.kind = "tmpfs" if mounts else "a limit on the size of files, no volumes"

    def make(self, directory: Path) -> None:
        """Give a node that is still to be founded a disk of its own."""
        directory.mkdir(mode=0o700)
        if self.mounts:
            options = ["-o", f"size={VOLUME_BYTES},mode=700"]
            subprocess.run(["mount", "-t", "tmpfs", *options, "chaos", str(directory)], check=True)
            self._mounted.append(directory)

    def close(self) -> None:
        """Take the disks away; the directories that they lay on are empty then."""
        while self._mounted:
            subprocess.run(["umount", str(self._mounted.pop())], check=True)

    def fill(self, node: NodeProcess) -> None:
        """From now on nothing more can be written."""
        if not self.mounts:
            _limit(node, FILE_LIMIT_BYTES)
            return
        with (node.directory / BALLAST_FILE).open("ab", buffering=0) as ballast:
            for piece in (_PIECE, b"\0"):
                try:
                    while ballast.write(piece):
                        pass
                except OSError:
                    continue

    def free(self, node: NodeProcess) -> None:
        """There is room again."""
        if not self.mounts:
            _limit(node, resource.RLIM_INFINITY)
            return
        (node.directory / BALLAST_FILE).unlink(missing_ok=True)


def _limit(node: NodeProcess, size: int) -> None:
    if node.process is not None and node.is_running():
        _, hard = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (size, hard))
