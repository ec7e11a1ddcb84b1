"""Node: an ordinary node whose clock can be set wrong from outside; `python -m tests.chaos.node DIR`.

The product knows nothing of it: the time that `meshnode.clock` reads is replaced before the node
starts. A file `clock-offset` in the node's directory holds the seconds by which it is wrong, and may change
while the node runs, as when somebody sets a clock.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace

from meshnode import clock
from meshnode.cli.main import main

OFFSET_FILE = "clock-offset"
# So often the file is read: a jump of the clock is noticed within a tick of consensus.
_LOOK_S = 0.05


class WrongClock:
    """Seconds since 1970, and what the file adds."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / OFFSET_FILE
        self._offset_s = 0.0
        self._looked = -_LOOK_S

    def time(self) -> float:
        now = time.monotonic()
        if now - self._looked >= _LOOK_S:
            self._looked = now
            try:
                self._offset_s = float(self._file.read_text() or 0)
            except FileNotFoundError:
                self._offset_s = 0.0
        return time.time() + self._offset_s


if __name__ == "__main__":
    clock.time = SimpleNamespace(time=WrongClock(Path(sys.argv[1])).time)  # type: ignore[assignment]
    sys.argv = [sys.argv[0], "run", sys.argv[1], "--json", "--until-stdin-ends"]
    sys.exit(main())
