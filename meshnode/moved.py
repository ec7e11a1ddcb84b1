"""Moved: what a storage moved in each period that may still be corrected, and for whom - one small file a period."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from meshnode.actuator import ActuatorError, write_whole
from meshnode.config import ConfigError

Told = dict[str, tuple[int, int]]
"""Two numbers by account in hex, as JSON has them."""


class Moved(msgspec.Struct, kw_only=True):
    """One period. did: charged and discharged, both Wh. left: given to the grid and taken from it, as it was planned
    with. planned, parts: by the plan, and of what was moved. corrections: of the period, when that was worked out.
    """

    did: tuple[int, int]
    left: Told
    planned: Told
    parts: Told
    corrections: int = 0


class MovedBook:
    """The periods of one storage; everything here reads and writes files."""

    def __init__(self, directory: Path, code: str) -> None:
        self._directory = directory / f"moved-{code.encode().hex()}"
        self.periods: dict[int, Moved] = self._read()

    def put(self, start_s: int, moved: Moved) -> None:
        """Note a period. Raises ActuatorError: the disk refuses."""
        try:
            self._directory.mkdir(exist_ok=True)
        except OSError as error:
            raise ActuatorError(f"{self._directory}: {error.strerror}\n    make room on the disk") from error
        write_whole(self._path(start_s), msgspec.to_builtins(moved))
        self.periods[start_s] = moved

    def drop(self, start_s: int) -> None:
        """Forget a period: nothing can correct it any more."""
        self._path(start_s).unlink(missing_ok=True)
        self.periods.pop(start_s, None)

    def _path(self, start_s: int) -> Path:
        return self._directory / f"{start_s}.json"

    def _read(self) -> dict[int, Moved]:
        found = {}
        for path in sorted(self._directory.glob("*.json")):
            try:
                found[int(path.stem)] = msgspec.convert(json.loads(path.read_text()), Moved)
            except (ValueError, msgspec.ValidationError) as error:
                raise ConfigError(
                    f"{path}: does not say what was moved ({error})\n    restore it from the backup"
                ) from error
        return found
