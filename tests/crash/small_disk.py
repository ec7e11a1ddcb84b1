"""Small disk: a node whose ledger lies on a disk of its own of few megabytes; `python -m tests.crash.small_disk DIR`.

The disk is a tmpfs in a mount namespace that only this process sees, so it is gone with it. Others reach
into it through /proc/<pid>/root. Exit code `IMPOSSIBLE` where the system permits neither.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

from meshnode.cli.main import main
from meshnode.loopback import RUN

DISK_MIB = 48
IMPOSSIBLE = 77
# <sched.h> and <sys/mount.h>
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18


def mount_small_disk(place: Path) -> None:
    """What is in a directory lies on a small disk from now on, for this process. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)

    def must(result: int, what: str) -> None:
        if result:
            raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

    files = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}
    user, group = os.geteuid(), os.getegid()
    must(libc.unshare(CLONE_NEWNS | (CLONE_NEWUSER if user else 0)), "unshare")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    private = libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    # The root of a chroot is no mount that could be made private; then nothing must be shared to begin with.
    if private and (ctypes.get_errno() != errno.EINVAL or " shared:" in Path("/proc/self/mountinfo").read_text()):
        must(private, "mount --make-private")
    options = f"size={DISK_MIB}m,mode=0700".encode()
    must(libc.mount(b"tmpfs", str(place).encode(), b"tmpfs", 0, options), "mount tmpfs")
    for name, data in files.items():
        (place / name).write_bytes(data)
        (place / name).chmod(0o600)


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    try:
        for genesis in directory.glob("microgrids/*/genesis.cbor"):
            mount_small_disk(genesis.parent)
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(IMPOSSIBLE)
    sys.argv = [sys.argv[0], *(word.format(directory=directory) for word in RUN[2:])]
    main()
