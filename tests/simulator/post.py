"""Post: the part of a world that carries parcels, and knows whose they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from protocols.frames import MAX_FRAME_BYTES
from protocols.parcel import Parcel
from protocols.records import Certificate, RecordError, read_as, to_payload
from tests.protocols.keys import KeyPair
from tests.protocols.village import Village
from tests.simulator.keys import Keyring
from tests.simulator.network import Network
from tests.simulator.node import Node
from tests.simulator.plan import Plan
from tests.simulator.seat import Seat
from tests.simulator.succession import Succession
from tests.simulator.timeline import Timeline
from tests.simulator.witness import Witness

# A node that dropped another does not speak with it for a while (600 s in the product; the
# shorter time gives a liar more occasions).
DROPPED_MS = 30_000
# What parcels say is encoded and read once, however many nodes say it or hear it.
REMEMBERED_PARCELS = 1024


class Post:
    """The part of `tests.simulator.world.World` that stands between its nodes."""

    plan: Plan
    timeline: Timeline
    keyring: Keyring
    village: Village
    network: Network
    succession: Succession
    witness: Witness
    counts: Counter[str]
    liars: set[str]
    nodes: list[Node]
    _sides: dict[tuple[str, str], Node]
    _by_name: dict[str, Node]
    _lying: bool

    def __init__(self) -> None:
        self._parcels: dict[bytes, Parcel | str] = {}
        self._encoded: dict[Parcel, bytes] = {}
        self._pair_of = {home: self.keyring.pair(f"{home} device") for home in self.village.homes}
        self._device_of = {home: pair.public for home, pair in self._pair_of.items()}
        self._home_of_device = {device: home for home, device in self._device_of.items()}
        # A number is its device's for ever.
        self._home_of_number: dict[int, str] = {}

    def note(self, what: str, who: str, how: str) -> None:
        """Something for the trace."""
        raise NotImplementedError

    # --- who is who

    def honest(self, node: Node) -> bool:
        """Whether the node keeps its promises."""
        return node.home not in self.liars

    def honest_home(self, home: str) -> bool:
        """The same by the name of its home."""
        return home not in self.liars

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of all validators."""
        return tuple(self.succession.numbers.values())

    def number_of(self, home: str) -> int:
        """The number of a home's validator."""
        return self.succession.numbers[self._device_of[home]]

    def is_numbered(self, home: str) -> bool:
        """Whether a home's node votes, is to vote or ever did."""
        return self._device_of[home] in self.succession.numbers

    def home_of_key(self, key_id: bytes) -> str:
        """The home of a device key."""
        return next(home for home in self.village.homes if self.keyring.pair(f"{home} device").key_id == key_id)

    def device_of(self, number: int) -> KeyPair:
        """The public half of a validator's key is for everybody."""
        return self._pair_of[self.home_of(number)]

    def home_of(self, number: int) -> str:
        """The home of the validator with this number."""
        known = self._home_of_number.get(number)
        if known is None:
            device = next(key for key, given in self.succession.numbers.items() if given == number)
            known = self._home_of_number[number] = self._home_of_device[device]
        return known

    def fork_seen(self) -> None:
        """Two histories are certified."""
        self.counts["forks"] += 1

    # --- parcels

    def post(self, node: Node, to: int, parcel: Parcel | bytes) -> None:
        """A node sends a parcel, or a liar any bytes, to the validator with this number."""
        if not self.is_numbered(node.home) or to not in self.numbers:
            self._stranger(f"{node.name} to {to}")
            return
        home = self.home_of(to)
        receiver = self._sides.get((node.home, home)) or self._by_name[home]
        if node.liar is not None and self._sides.get((home, node.home), node) is not node:
            return  # they take the other one for the only one
        data = parcel if isinstance(parcel, bytes) else self._encode(parcel)
        self.network.send(node.home, home, receiver.receive, node.home, self.number_of(node.home), data)

    def _stranger(self, who: str) -> None:
        """A parcel to or from a validator whom no certified block has brought in: only one half of a fork knows it."""
        if not self.witness.forks:
            self.witness.broken("validators come by certified blocks", who)
        self.counts["parcels of one half of a fork"] += 1

    def announce(self, node: Seat, certificate: Certificate) -> None:
        """A validator tells those that follow how far the ledger is."""
        for other in self.nodes:
            if other is not node and other.following is not None:
                self.network.send(node.home, other.home, other.hear_head, node, certificate)

    def _encode(self, parcel: Parcel) -> bytes:
        """The bytes of a parcel. Heartbeats are the same again and again, to everybody."""
        known = self._encoded.get(parcel)
        if known is None:
            known = self._encoded[parcel] = to_payload(parcel)
            if not self.plan.real_keys:
                # What is encoded here is not decoded again, but in the runs that do everything as it is.
                self._parcels[known] = parcel
            if len(self._encoded) > REMEMBERED_PARCELS:
                del self._encoded[next(iter(self._encoded))]
        return known

    def post_lies(self, node: Node, lies: Iterable[tuple[int, Parcel | bytes]]) -> None:
        """A liar sends what it likes."""
        if not self.is_numbered(node.home):
            self._stranger(node.name)
            return
        for to, parcel in lies:
            if self._lying or isinstance(parcel, Parcel):
                self.post(node, to, parcel)

    def read_parcel(self, data: bytes) -> Parcel | str:
        """The parcel of a frame, or what is wrong with it."""
        known = self._parcels.get(data)
        if known is None:
            if len(data) > MAX_FRAME_BYTES:
                return f"frame of {len(data)} bytes announced, the limit is {MAX_FRAME_BYTES}"
            try:
                known = read_as(Parcel, data)
            except RecordError as error:
                known = str(error)
            self._parcels[data] = known
        while len(self._parcels) > REMEMBERED_PARCELS:
            del self._parcels[next(iter(self._parcels))]
        return known

    def drop(self, receiver: Node, sender: str, reason: str) -> None:
        """A node drops another: no parcel passes between them for a while."""
        self.note("drops", receiver.name, f"{sender}: {reason}")
        self.counts["dropped"] += 1
        self.witness.dropped(receiver, sender, reason)
        for wire in ((receiver.home, sender), (sender, receiver.home)):
            self.network.cut(*wire)
            self.timeline.after(DROPPED_MS, self.network.mend, *wire)
