"""Actuator: what lets energy flow and counts it - a relay with its meter, or a charger; here one that is simulated.

An actuator stops by itself: at a counter that it was given, and when nobody renews that for a while. So a
controller that dies leaves nothing running, and what flowed is read from the meter when it comes back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

WS_PER_WH = 3_600
MS_PER_S = 1_000
# What a car takes from a household's three phases.
USUAL_POWER_W = 11_000


class ActuatorError(Exception):
    """A device that does not do what it is told, or a file of a simulated one; the text says which and what to do."""


class Actuator(Protocol):
    """One point of delivery. name: says what it is, to people; a simulated one says so.

    All of them may block for as long as the device needs, and raise ActuatorError.
    """

    name: str

    def counter_wh(self) -> int:
        """The register of delivered energy; it only rises, whoever restarts."""

    def release(self, limit_wh: int, until_s: int) -> None:
        """Let energy flow until the counter reaches `limit_wh`, and not after `until_s` of the microgrid's time."""

    def stop(self) -> None:
        """Let nothing flow."""


class SimulatedCharger:
    """A charger that is a file: it goes on by the clock while nobody looks, as a real one would.

    Args:
        now: the microgrid's time in seconds.
    """

    name = "simulated charger: no energy flows"

    def __init__(self, path: Path, now: Callable[[], float], power_w: int = USUAL_POWER_W) -> None:
        self._path = path
        self._now = now
        self._power_w = power_w

    def counter_wh(self) -> int:
        return self._register_ws(self._read()) // WS_PER_WH

    def release(self, limit_wh: int, until_s: int) -> None:
        found = self._read()
        self._write(
            {
                "register_ws": self._register_ws(found),
                "since_ms": self._now_ms(),
                "until_ms": until_s * MS_PER_S,
                "limit_ws": limit_wh * WS_PER_WH,
                "power_w": self._power_w,
            }
        )

    def stop(self) -> None:
        self._write({"register_ws": self._register_ws(self._read())})

    def _register_ws(self, found: dict[str, Any]) -> int:
        """The register by now: it rose from `since_ms` on, until its limit or its time."""
        register = int(found.get("register_ws", 0))
        if "power_w" not in found:
            return register
        flowed_ms = max(0, min(self._now_ms(), int(found["until_ms"])) - int(found["since_ms"]))
        risen = register + int(found["power_w"]) * flowed_ms // MS_PER_S
        return max(register, min(risen, int(found["limit_ws"])))

    def _now_ms(self) -> int:
        return int(self._now() * MS_PER_S)

    def _read(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ActuatorError(f"{self._path}: {error}\n    restore it, or remove it with the point closed") from error
        return found

    def _write(self, state: dict[str, Any]) -> None:
        write_whole(self._path, {"what": self.name, **state})


def write_whole(path: Path, value: dict[str, Any]) -> None:
    """Write a small file of JSON, whole or not at all. Raises ActuatorError: the disk refuses."""
    new = path.with_suffix(".new")
    try:
        with new.open("w") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise ActuatorError(f"{path}: {error.strerror}\n    make room on the disk") from error
