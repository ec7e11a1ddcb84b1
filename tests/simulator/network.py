"""Network: who hears whom, how late, how often.

Every pair of nodes has two wires, one for each direction, that fail by themselves.
What travels arrives after a delay of its own, so that parcels overtake one another.
"""

from __future__ import annotations

from random import Random

import msgspec

from tests.simulator.timeline import Action, Timeline

PPM = 1_000_000


class Weather(msgspec.Struct):
    """What the wires do to each parcel.

    Attributes:
        delay_ms: least and most time under way.
        loss_ppm, copies_ppm: how many parcels in a million are lost or arrive twice.
        late_ppm, late_ms: how many are held up, and for how long at most.
    """

    delay_ms: tuple[int, int] = (1, 8)
    loss_ppm: int = 0
    copies_ppm: int = 0
    late_ppm: int = 0
    late_ms: int = 0


class Network:
    """Carries parcels between nodes.

    Attributes:
        weather: for all wires.
        cuts: wires that carry nothing, (from, to), and how many reasons each has.
        sent, lost, copied, late: counts.
    """

    def __init__(self, timeline: Timeline, chance: Random) -> None:
        self.weather = Weather()
        self.cuts: dict[tuple[str, str], int] = {}
        self.sent = self.lost = self.copied = self.late = 0
        self._timeline = timeline
        self._chance = chance

    def cut(self, sender: str, receiver: str) -> None:
        """The wire carries nothing until `mend` was called as often."""
        self.cuts[sender, receiver] = self.cuts.get((sender, receiver), 0) + 1

    def mend(self, sender: str, receiver: str) -> None:
        """One reason less why the wire carries nothing."""
        left = self.cuts[sender, receiver] - 1
        if left:
            self.cuts[sender, receiver] = left
        else:
            del self.cuts[sender, receiver]

    def carries(self, sender: str, receiver: str) -> bool:
        """Whether the wire is whole."""
        return (sender, receiver) not in self.cuts

    def send(self, sender: str, receiver: str, arrive: Action, *arguments: object) -> None:
        """`arrive(*arguments)` is called when the parcel arrives: once, twice or never."""
        self.sent += 1
        weather, chance = self.weather, self._chance
        if (sender, receiver) in self.cuts or (weather.loss_ppm and chance.randrange(PPM) < weather.loss_ppm):
            self.lost += 1
            return
        low, high = weather.delay_ms
        delay = low + int(chance.random() * (high - low + 1))
        if weather.late_ppm and chance.randrange(PPM) < weather.late_ppm:
            self.late += 1
            delay += chance.randrange(weather.late_ms)
        self._timeline.after(delay, arrive, *arguments)
        if weather.copies_ppm and chance.randrange(PPM) < weather.copies_ppm:
            self.copied += 1
            self._timeline.after(delay + chance.randrange(max(1, 2 * high)), arrive, *arguments)
