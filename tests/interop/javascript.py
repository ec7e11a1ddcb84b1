"""JavaScript: the member of this folder as a process, with its libraries in a cache outside the checkout."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

HERE = Path(__file__).parent
LISTS = ("package.json", "package-lock.json")
PROGRAMS = ("older.mjs", "wire.mjs", "member.mjs", "vectors.mjs")
# What older.mjs reaches back to.
OLDEST_NODE = 20
# 130 packages over a slow line.
INSTALL_DEADLINE_S = 600.0
# A member that is told to end closes its connections first.
END_DEADLINE_S = 15.0
PATIENCE_S = 60.0


class JavaScriptFailed(AssertionError):
    """The JavaScript side did not do what was waited for; with all that it said."""


def folder(place: Path) -> Path:
    """The programs in a folder below `place`, beside their libraries; skips the test where there is no Node.js.

    Raises:
        JavaScriptFailed: the libraries cannot be installed.
    """
    libraries = _install(_version())
    run = place / "javascript"
    run.mkdir()
    for name in PROGRAMS:
        shutil.copy(HERE / name, run)
    # Node.js looks for libraries beside the program, and nowhere by environment.
    (run / "node_modules").symlink_to(libraries / "node_modules")
    return run


def _version() -> str:
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}: install Node.js {OLDEST_NODE} or later with npm")
    version = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        pytest.skip(f"Node.js is {version}: install {OLDEST_NODE} or later")
    return version


def _install(version: str) -> Path:
    """Install what the lock lists, once for every lock and version of Node.js; hashes are checked by npm."""
    named = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in LISTS) + version.encode()).hexdigest()
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = caches / "meshnode-interop" / named[:16]
    if (place / "installed").exists():
        return place
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in LISTS:
        shutil.copy(HERE / name, place)
    # No package's own scripts are run; the optional ones are faster variants in machine code.
    command = ["npm", "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=INSTALL_DEADLINE_S, check=False)
    if done.returncode != 0:
        raise JavaScriptFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    (place / "installed").touch()
    return place


class JavaScriptMember:
    """A running member.mjs; `said` is all it has printed, one object a line."""

    def __init__(self, process: trio.Process, errors: Path) -> None:
        self.said: list[dict[str, Any]] = []
        self._process = process
        self._errors = errors
        self._news = trio.Event()

    async def read(self) -> None:
        """Take what it prints until it ends."""
        assert self._process.stdout is not None
        waiting = b""
        async for data in self._process.stdout:
            *lines, waiting = (waiting + data).split(b"\n")
            self.said += [json.loads(line) for line in lines]
            self._wake()
        self._wake()

    async def tell(self, **line: Any) -> None:
        """Give it one line of input."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps(line).encode() + b"\n")

    async def answer(self, event: str, **line: Any) -> dict[str, Any]:
        """Give it a command, and wait for the next line of this kind."""
        before = len(self.events(event))
        await self.tell(**line)
        return (await self.until(f"an answer to {line}", lambda: self.events(event)[before:]))[0]

    async def until(
        self, what: str, condition: Callable[[], list[dict[str, Any]]], deadline_s: float = PATIENCE_S
    ) -> list[dict[str, Any]]:
        """Wait until `condition` gives something, and give that.

        Raises:
            JavaScriptFailed: it did not within the deadline, or the process ended.
        """
        with trio.move_on_after(deadline_s):
            while True:
                news = self._news
                if found := condition():
                    return found
                if self._process.poll() is not None:
                    raise JavaScriptFailed(f"it ended before {what}\n{self._picture()}")
                await news.wait()
        raise JavaScriptFailed(f"within {deadline_s:g} s: {what}\n{self._picture()}")

    def events(self, event: str) -> list[dict[str, Any]]:
        """The lines of one kind, in the order in which they were printed."""
        return [line for line in self.said if line["event"] == event]

    async def end(self) -> None:
        """End its input, after which it must end by itself and in order."""
        assert self._process.stdin is not None
        await self._process.stdin.aclose()
        with trio.move_on_after(END_DEADLINE_S):
            await self._process.wait()
        if self._process.poll() != 0:
            raise JavaScriptFailed(f"it ended with {self._process.poll()}\n{self._picture()}")

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def _picture(self) -> str:
        lines = "\n".join(f"    {json.dumps(line)[:300]}" for line in self.said[-20:])
        return f"it said:\n{lines}\nand complained:\n{self._errors.read_text(errors='replace')[-4000:]}"


@asynccontextmanager
async def javascript_member(run: Path, name: str, **settings: Any) -> AsyncIterator[JavaScriptMember]:
    """Run member.mjs with these settings for as long as the block lasts, and leave no process behind."""
    errors = run / f"{name}.errors"
    with errors.open("wb") as stderr:
        process = await trio.lowlevel.open_process(
            ["node", "member.mjs"], cwd=run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
        )
    member = JavaScriptMember(process, errors)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(member.read)
            await member.tell(**settings)
            await member.until("it is ready", lambda: member.events("ready"))
            yield member
            await member.end()
    finally:
        if process.poll() is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def run_vectors(run: Path, vectors: Path) -> Any:
    """What vectors.mjs makes of the test vectors."""
    done = subprocess.run(["node", "vectors.mjs", str(vectors)], cwd=run, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise JavaScriptFailed(f"vectors.mjs ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)
