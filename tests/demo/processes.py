"""Processes: which node processes a demonstration has, looked up by the directory they run in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.shell import PATIENCE_S, ROOT, environment


def nodes_in(place: Path) -> set[int]:
    """Process ids of the nodes that run in directories below `place`."""
    found = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has just ended
        if b"run" in words and any(word.startswith(os.fsencode(f"{place}/")) for word in words):
            found.add(int(process.name))
    return found


def until(what: str, condition: Callable[[], bool]) -> None:
    """Wait for something that real processes do."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"within {PATIENCE_S} s: {what}"
        time.sleep(0.05)


@contextmanager
def demo(log: Path, *words: object, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command `meshnode demo`, for as long as the block; killed if it has not ended then."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "meshnode", "demo", *map(str, words), "--no-browser"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(**variables),
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
