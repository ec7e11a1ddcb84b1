"""Loggers: where the core tells what it does, for tests that compare whole transcripts.

The core does no I/O; it hands a format and its arguments to an injected object.
In production that object is SILENT, which formats nothing and costs nothing.
"""

from __future__ import annotations

from typing import Protocol


class Logger(Protocol):
    """Receives %-formats with their arguments; node ids are formatted with %x."""

    def debug(self, text: str, *args: object) -> None: ...
    def info(self, text: str, *args: object) -> None: ...
    def warning(self, text: str, *args: object) -> None: ...
    def error(self, text: str, *args: object) -> None: ...


class SilentLogger:
    """Drops everything."""

    def debug(self, text: str, *args: object) -> None:
        """Say nothing."""

    info = warning = error = debug


SILENT: Logger = SilentLogger()
