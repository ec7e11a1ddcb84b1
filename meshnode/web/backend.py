"""Backend: what pages and API may ask of the running node that serves them.

The node implements it; the web knows nothing else of the node, so that pages can
be tested against a backend made by hand.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
import trio

from meshnode.clock import GridClock
from meshnode.machine import Machine
from meshnode.memos import Memos
from meshnode.roster import Roster
from meshnode.views import Views
from protocols.records import Record


class Refused(Exception):
    """A record that was not taken here and is not passed on; the text is a sentence for its author.

    Attributes:
        lasting: no node will ever take it. Else this one did not, for now: it may be handed in again, here
            or elsewhere, and where it was handed in before it may still be on its way.
    """

    def __init__(self, text: str, *, lasting: bool = True) -> None:
        super().__init__(text)
        self.lasting = lasting


class NotFresh(Exception):
    """Nobody could confirm in time what is newest; the text is a sentence for whoever asked."""


class NotHere(Exception):
    """Nothing that this node can do at a point of its own; the text is a sentence for whoever asked."""


class PowerNow(msgspec.Struct, frozen=True):
    """The newest live power of one meter.

    power_w: at the connection point, import is positive. produced_w: of the home's
    plants, None if not metered. arrived_ms: real UTC milliseconds when the telegram
    reached the home's node; shown_ms: when this node heard of it.
    """

    account: bytes
    meter: bytes
    power_w: int
    produced_w: int | None
    arrived_ms: int
    shown_ms: int


class MeterHealth(msgspec.Struct, frozen=True):
    """One of this home's meters. state: "reading", "silent" or "failed"; problem: a sentence, or empty."""

    name: str
    driver: str
    state: str
    problem: str
    last_telegram_s: int
    telegrams: int
    errors: int


class FoundOut(msgspec.Struct, frozen=True):
    """A validator that lied. kind, term, height: see `protocols.evidence`; status: "proved", "asked" or "answered".

    name: of the member whose node it is; on_ledger: whether everybody has it in their state.
    """

    name: str
    kind: str
    term: int
    height: int
    status: str
    on_ledger: bool


class Status(msgspec.Struct, frozen=True):
    """Where the node stands. role: "leader", "follower", "candidate" or "learner"; halted: why it stopped, or empty.

    notice: why it does not do all that it should for now, and what becomes of that; or empty.
    """

    name: str
    community: str
    chain_id: str
    peer_id: str
    role: str
    leader: str
    term: int
    height: int
    state_hash: str
    time_s: int
    next_period_s: int
    clock_s: int
    demonstration: bool
    speed: int
    validators: int
    peers: int
    mempool: int
    certificates_verified: int
    halted: str
    notice: str
    rss_mb: int
    startup_s: float
    commit_ms: dict[str, int]
    screen_ms: dict[str, int]
    counters: dict[str, int]
    meters: tuple[MeterHealth, ...]
    found_out: tuple[FoundOut, ...] = ()


class Outcome(msgspec.Struct, frozen=True):
    """What became of a record; every status but "unknown" is for good, and the same on all nodes.

    status: "final": in a final block, with its verdict and receipt. "refused": known here never
        to take effect, the sentence says why. "never": no block carried it, and none can any more,
        because the ledger has passed the end of its validity. "unknown": ask again with the same id.
    receipt: offline proof of a final record; verdict: name of the ledger's verdict.
    """

    status: str
    record_id: str
    height: int
    verdict: str
    sentence: str
    receipt: bytes


class Update(msgspec.Struct, frozen=True):
    """Something that a page shows has changed. kind: "live", "block", "period", "order", "health", "void"."""

    kind: str
    data: dict[str, Any]


class Attended(msgspec.Struct, frozen=True):
    """What this node does for a delivery at its own point. state: "running", "ending" or "given_up".

    actuator: what lets energy flow; a simulated one says so. said: the last steps, in words; steps: how many so far.
    """

    state: str
    actuator: str
    said: tuple[str, ...]
    steps: int


class Attending(Protocol):
    """Who delivers at this node's points; see `meshnode.attendant`."""

    async def start(self, delivery_id: bytes, power_w: int) -> None:
        """Deliver until it is over. Raises NotHere, Refused."""

    async def stop(self, delivery_id: bytes) -> None:
        """Stop, and end with what the meter shows. Raises NotHere, Refused."""

    def attended(self, delivery_id: bytes) -> Attended | None:
        """What is done for a delivery here; None if nothing is."""


class StoreKept(msgspec.Struct, frozen=True):
    """What this node does for a storage of its own.

    battery: what takes energy in; a simulated one says so; "stopped" if nothing does. charged_wh, discharged_wh: moved
    and not reported yet. said: the last step, or what is wrong.
    """

    battery: str
    capacity_wh: int
    power_w: int
    charged_wh: int
    discharged_wh: int
    said: str


class Keeping(Protocol):
    """Who keeps this node's storages; see `meshnode.storekeeper`."""

    async def start(self, code: str, capacity_wh: int, power_w: int) -> None:
        """Keep a storage with a simulated battery. Raises NotHere, Refused."""

    async def stop(self, code: str) -> None:
        """Move nothing for it any more. Raises NotHere, Refused."""

    def kept(self, code: str) -> StoreKept | None:
        """What is done for a storage here; None if nothing is."""


class Own(msgspec.Struct, frozen=True):
    """What stands at this node: who delivers at its points, and who keeps its storages."""

    attendant: Attending
    storekeeper: Keeping


class Backend(Protocol):
    """One node in one microgrid."""

    @property
    def chain_id(self) -> bytes: ...
    @property
    def account(self) -> bytes:
        """Account id of the member whose node this is."""

    @property
    def clock(self) -> GridClock: ...
    @property
    def machine(self) -> Machine:
        """The ledger's state; read only."""

    @property
    def views(self) -> Views:
        """What blocks did, as rows for screens."""

    @property
    def memos(self) -> Memos:
        """Writes and reads the memos of the member whose node this is."""

    def status(self) -> Status: ...

    def roster(self) -> Roster:
        """Who validates and who could, and what the autopilot proposes."""

    def live(self) -> tuple[PowerNow, ...]:
        """The newest power of every meter that was heard of, by account."""

    async def submit(self, record: Record) -> bytes:
        """Sign with the member key, pass on, and give the record id. Raises Refused."""

    async def submit_envelope(self, envelope: bytes) -> bytes:
        """Take a record that was signed elsewhere, and give its id. Raises Refused."""

    async def outcome(self, record_id: bytes, wait_s: float, valid_until_s: int | None = None) -> Outcome:
        """What became of a record; waits up to `wait_s` real seconds for it to become final.

        Args:
            valid_until_s: of the record, if whoever asks knows it: then "unknown" ends in "never" on every
                node, not only on those that have the record.
        """

    async def fresh(self, wait_s: float) -> int:
        """Wait until what is asked afterwards misses nothing that was final anywhere when this was called.

        Args:
            wait_s: how long at most, real seconds.
        Returns:
            The height that answers reach now.
        Raises:
            NotFresh: no majority of the validators confirmed it in time, or this node has halted.
        """

    def block(self, height: int) -> dict[str, Any] | None:
        """A final block in JSON form, with verdicts and who certified it; None if there is none."""

    def subscribe(self) -> trio.MemoryReceiveChannel[Update]:
        """News for one open page; bounded, the newest are dropped. Close it when the page goes."""

    def shown(self, update: Update) -> None:
        """The page got this update just now; counts how long a telegram took to the screen."""
