"""Battery: what takes energy in and gives it back, and counts both; here one that is simulated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from meshnode.actuator import ActuatorError, write_whole

PPM = 1_000_000


class Battery(Protocol):
    """A storage. name: says what it is, to people; a simulated one says so.

    All of it may block for as long as the device needs, and raise ActuatorError.
    """

    name: str

    def move(self, number: int, charge_wh: int, discharge_wh: int) -> tuple[int, int]:
        """Take in and give out at most so much, once for each number.

        Args:
            number: of the order, which rises; the same one again changes nothing and gives what it did.
        Returns:
            (charged, discharged) in Wh, by its registers.
        """


class SimulatedBattery:
    """A battery that is a file; it does at once what it is told, as far as it is neither full nor empty.

    Args:
        efficiency_ppm: of what is charged so much can be discharged.
    """

    name = "simulated battery: no energy is stored"

    def __init__(self, path: Path, capacity_wh: int, efficiency_ppm: int) -> None:
        self._path = path
        self._capacity_wh = capacity_wh
        self._efficiency_ppm = efficiency_ppm

    def move(self, number: int, charge_wh: int, discharge_wh: int) -> tuple[int, int]:
        """See `Battery`."""
        found = self._read()
        if found.get("number") != number:
            into_wh = min(charge_wh, max(0, self._capacity_wh - self._level_wh(found)) * PPM // self._efficiency_ppm)
            charged_wh = int(found.get("charged_wh", 0)) + into_wh
            full = {"charged_wh": charged_wh, "discharged_wh": int(found.get("discharged_wh", 0))}
            out_wh = min(discharge_wh, self._level_wh(full))
            found = full | {"discharged_wh": full["discharged_wh"] + out_wh, "number": number, "did": [into_wh, out_wh]}
            self._write(found)
        into_wh, out_wh = found["did"]
        return int(into_wh), int(out_wh)

    def _level_wh(self, found: dict[str, Any]) -> int:
        """What is in it, rounded down."""
        stored_wh = int(found.get("charged_wh", 0)) * self._efficiency_ppm // PPM
        return stored_wh - int(found.get("discharged_wh", 0))

    def _read(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ActuatorError(f"{self._path}: {error}\n    restore it from the backup") from error
        return found

    def _write(self, state: dict[str, Any]) -> None:
        write_whole(self._path, {"what": self.name, **state})
