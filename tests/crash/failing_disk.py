"""Failing disk: a node whose fsyncs fail once a file says so; `python -m tests.crash.failing_disk DIR LIBRARY`.

The library is put between the program and the system's own, so that the whole node, its SQLite
included, sees what a card that fails shows it. While `<DIR>/fsync-fails` is there, every
fsync and fdatasync says EIO.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from meshnode.loopback import RUN

TRIGGER_FILE = "fsync-fails"
SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int fails(void) {
    const char *trigger = getenv("FSYNC_FAILS");
    return trigger && access(trigger, F_OK) == 0;
}

int fsync(int fd) {
    if (fails()) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd) {
    if (fails()) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"""


def compile_library(place: Path) -> Path:
    """The library, for this computer. Raises OSError, CalledProcessError: there is no compiler."""
    source, library = place / "failing.c", place / "failing.so"
    source.write_text(SOURCE)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, capture_output=True)
    return library


if __name__ == "__main__":
    directory, library = sys.argv[1:]
    words = [word.format(directory=directory) for word in RUN]
    trigger = str(Path(directory) / TRIGGER_FILE)
    os.execve(sys.executable, [sys.executable, *words], {**os.environ, "LD_PRELOAD": library, "FSYNC_FAILS": trigger})
