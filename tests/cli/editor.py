"""Editor: a small client of the Language Server Protocol, over the stdin and stdout of a real process.

Messages are JSON behind a Content-Length header (LSP 3.17, base protocol).
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.cli.shell import PATIENCE_S, ROOT, environment

URI = "file:///contract.zen"


class Editor:
    """One editor with one open file."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._heard: queue.Queue[dict[str, Any]] = queue.Queue()
        self._notes: list[dict[str, Any]] = []
        self._number = 0
        self._version = 0
        threading.Thread(target=self._listen, daemon=True).start()
        self.abilities = self.ask("initialize", {"processId": None, "rootUri": None, "capabilities": {}})[
            "capabilities"
        ]
        self.tell("initialized", {})

    def ask(self, method: str, params: Any) -> Any:
        """The result of a request."""
        self._number += 1
        self._send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        while True:
            message = self._heard.get(timeout=PATIENCE_S)
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._notes.append(message)

    def tell(self, method: str, params: Any) -> None:
        """A notification, which has no answer."""
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    def open(self, text: str) -> list[dict[str, Any]]:
        """Open the file; the diagnostics that come."""
        self._version += 1
        document = {"uri": URI, "languageId": "zen", "version": self._version, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})
        return self.diagnostics()

    def change(self, text: str) -> list[dict[str, Any]]:
        """Replace the whole text; the diagnostics that come."""
        self._version += 1
        document = {"uri": URI, "version": self._version}
        self.tell("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": text}]})
        return self.diagnostics()

    def at(self, method: str, line: int, character: int) -> Any:
        """Ask something about a place, counted from 0 in UTF-16 units."""
        params = {"textDocument": {"uri": URI}, "position": {"line": line, "character": character}}
        return self.ask(f"textDocument/{method}", params)

    def diagnostics(self) -> list[dict[str, Any]]:
        """The next diagnostics that the server publishes."""
        while True:
            message = self._notes.pop(0) if self._notes else self._heard.get(timeout=PATIENCE_S)
            if message.get("method") == "textDocument/publishDiagnostics":
                found: list[dict[str, Any]] = message["params"]["diagnostics"]
                return found

    def close(self) -> int:
        """Shut the server down as the protocol says; its exit code."""
        self.ask("shutdown", None)
        self.tell("exit", None)
        return self._process.wait(timeout=PATIENCE_S)

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        while True:
            length = 0
            while (line := stream.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            if not length:
                return
            self._heard.put(json.loads(stream.read(length)))


@contextmanager
def editor() -> Iterator[Editor]:
    """An editor that has started `meshnode binding lsp`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "meshnode", "binding", "lsp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
        cwd=ROOT,
    )
    try:
        yield Editor(process)
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.stdout.close()
