"""Hosts: a node with its storage and a small state machine, and the transcript of what all of them say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random

from protocols.raft import (
    Config,
    Entry,
    EntryType,
    HardState,
    MemoryStorage,
    Message,
    RawNode,
    Snapshot,
    decode_change,
)
from tests.raft_scripts.datadriven import ScriptError
from tests.raft_scripts.describe import describe_argument

LEVELS = ("debug", "info", "warn", "error", "fatal", "none")


class Transcript:
    """What the nodes have said since the last command; also their logger."""

    def __init__(self) -> None:
        self.level = 0
        self._text = ""

    @property
    def quiet(self) -> bool:
        """Nothing at all is printed."""
        return self.level == LEVELS.index("none")

    def write(self, text: str) -> None:
        """Print text as it is."""
        if not self.quiet:
            self._text += text

    def take(self) -> str:
        """What was printed, and begin anew."""
        text, self._text = self._text, ""
        return text

    @contextmanager
    def indented(self) -> Iterator[None]:
        """Indent what is printed inside by two blanks."""
        before = self.take()
        try:
            yield
        finally:
            inside = self.take()
            self._text = before + "".join(f"  {line}\n" for line in inside.splitlines())

    def _log(self, level: str, text: str, args: tuple[object, ...]) -> None:
        if self.level <= LEVELS.index(level):
            self.write(f"{level.upper()} {text % tuple(map(describe_argument, args))}\n")

    def debug(self, text: str, *args: object) -> None:
        self._log("debug", text, args)

    def info(self, text: str, *args: object) -> None:
        self._log("info", text, args)

    def warning(self, text: str, *args: object) -> None:
        self._log("warn", text, args)

    def error(self, text: str, *args: object) -> None:
        self._log("error", text, args)


class Host:
    """A node with its storage and its state machine, which appends the data of every entry to one string.

    history: a snapshot after every applied entry; the newest is the one to send.
    """

    def __init__(self, config: Config, start: Snapshot, transcript: Transcript) -> None:
        self.config = config
        self.history = [start]
        self.storage = _HistoryStorage(self.history)
        if start.index:
            self.storage.apply_snapshot(start)
        self.node = RawNode(config, self.storage, random=Random(config.id), logger=transcript)
        self.append_work: list[Message] = []
        self.apply_work: list[Message] = []

    def write(self, state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None) -> None:
        """Do what a Ready or an append order asks for."""
        if state is not None and state != HardState():
            self.storage.set_hard_state(state)
        if snapshot is not None:
            if entries:
                raise ScriptError("can't apply snapshot and entries at the same time")
            self.storage.apply_snapshot(snapshot)
            self.history.append(snapshot)
        self.storage.append(entries)

    def apply(self, entries: Sequence[Entry]) -> None:
        """Apply committed entries, membership changes included."""
        for entry in entries:
            last = self.history[-1]
            membership, update = last.membership, entry.data
            if entry.type is not EntryType.NORMAL:
                membership = self.node.apply_membership(decode_change(entry.type, entry.data))
                update = b""
            self.history.append(Snapshot(entry.index, entry.term, membership, last.data + update))


class _HistoryStorage(MemoryStorage):
    """Sends the newest state, whatever was compacted."""

    def __init__(self, history: list[Snapshot]) -> None:
        super().__init__()
        self._history = history

    def snapshot(self) -> Snapshot:
        return self._history[-1]
