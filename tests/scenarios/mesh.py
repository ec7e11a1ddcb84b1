"""Mesh: a microgrid of real node processes on loopback, in which a scenario is played.

Every home is a process of its own; what it knows is asked through its page. A scenario
waits for conditions, each with a deadline, never for seconds; the clock is a
demonstration clock. When something does not come about, the failure shows where every
node stands and the end of its log.
"""

from __future__ import annotations

import json
import sys
import time
from calendar import timegm
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import trio

from meshnode.client import ClientError
from meshnode.clock import GridClock
from meshnode.keys import SigningKey
from meshnode.loopback import RUN, Home, NodeProcess, found_homes, stop_all
from meshnode.market.registry import installed_mechanisms
from meshnode.rules import rules_of
from protocols.block import SignedRecord, sign_record
from protocols.records import CLOCK_DEMONSTRATION, QUORUM_MAJORITY, Clock, Genesis, Record, account_id_of, chain_id
from zencode.presets import preset

# Long enough for two busy cores; a scenario that works needs a fraction of it.
PATIENCE_S = 60.0
POLL_S = 0.1
# The mesh begins on a summer morning, so that there is sun to share.
MORNING_S = timegm((2026, 6, 21, 9, 0, 0))
# Recordings begin a day before, so that registers do not start at zero.
RECORDED_S = MORNING_S - 86_400
# Real seconds from founding to the first settlement period: three nodes on two busy cores are up by then.
LEAD_S = 6
# A telegram five times a second: boundaries of short demonstration periods fall between two that are close.
TELEGRAM_MS = 200

T = TypeVar("T")


class NotShown(AssertionError):
    """The scenario did not come to what it is to show; says what was waited for and where the nodes stand."""


class Household(msgspec.Struct, frozen=True, kw_only=True):
    """One member of the village.

    quarters: what its meter replays for ever, (used Wh, made Wh) each; empty for a home whose
    meter the scenario plays, or which has none (`metered` false). rehearsal: trouble made on
    purpose by the node itself. votes: whether its node is a validator. runs: whether it has
    a process; one that has none is a member whose node the scenario may play.
    """

    name: str
    quarters: tuple[tuple[int, int], ...] = ()
    metered: bool = True
    roles: tuple[str, ...] = ("prosumer",)
    rehearsal: dict[str, Any] | None = None
    votes: bool = True
    runs: bool = True


# Three homes as most scenarios need them: one with more sun than it uses, two without a roof.
ANNA = Household(name="anna", quarters=((200, 1000),), roles=("administrator", "prosumer"))
BELA = Household(name="bela", quarters=((500, 0),))
CARLA = Household(name="carla", quarters=((600, 0),))
VILLAGE = (ANNA, BELA, CARLA)


class Mesh:
    """The running microgrid.

    Attributes:
        begin_s: start of the first settlement period that all nodes and meters live through from its beginning.
    """

    def __init__(self, genesis: Genesis, nodes: dict[str, NodeProcess]) -> None:
        self.genesis = genesis
        self.chain_id = chain_id(genesis)
        self.nodes = nodes
        self.clock = GridClock(genesis.clock)
        self.rules = rules_of(genesis.binding, genesis.limits, installed_mechanisms()).period
        self.length_s = self.rules.length_s
        self.begin_s = 0

    def __getitem__(self, name: str) -> NodeProcess:
        return self.nodes[name]

    @property
    def running(self) -> list[NodeProcess]:
        """The nodes whose processes live."""
        return [node for node in self.nodes.values() if node.is_running()]

    # --- waiting

    async def until(self, what: str, condition: Callable[[], Awaitable[T | None]], deadline_s: float = PATIENCE_S) -> T:
        """Wait until `condition` gives something true, and give that; a node that does not answer is asked again.

        Raises:
            NotShown: it did not within the deadline.
        """
        trouble = ""
        with trio.move_on_after(deadline_s):
            while True:
                try:
                    found = await condition()
                    if found:
                        return found
                except ClientError as error:
                    trouble = f" (last answer: {error})"
                await trio.sleep(POLL_S)
        raise NotShown(f"within {deadline_s:g} s: {what}{trouble}\n{await self.picture()}")

    async def picture(self) -> str:
        """Where every node stands, and the end of its log."""
        parts = []
        for node in self.nodes.values():
            if not node.home.runs:
                continue
            if node.is_running():
                try:
                    standing = json.dumps(await node.client.get("/api/status", deadline_s=3.0))
                except ClientError as error:
                    standing = str(error)
            else:
                standing = f"not running, exit code {node.process.returncode if node.process else None}"
            parts.append(f"{node.name}: {standing}\n{node.tail()}")
        return "\n".join(parts)

    async def until_meshed(self, deadline_s: float = PATIENCE_S) -> None:
        """Until all running nodes are connected, follow one leader and have heard of their meters."""
        expected = len(self.running) - 1

        async def meshed() -> bool:
            statuses = await self.statuses()
            leaders = {status["leader"] for status in statuses if status["role"] != "learner"}
            return (
                len(leaders) == 1
                and "" not in leaders
                and all(status["peers"] >= expected and status["height"] >= 1 for status in statuses)
                and all(meter["telegrams"] for status in statuses for meter in status["meters"])
            )

        await self.until("all nodes connected, with one leader and living meters", meshed, deadline_s)

    async def until_settled(self, start_s: int, nodes: Iterable[NodeProcess] | None = None) -> None:
        """Until the period that begins at `start_s` is settled on these nodes (default: all running)."""

        async def settled() -> bool:
            statuses = await self.statuses(nodes)
            return all(status["next_period_s"] > start_s for status in statuses)

        real_s = self.clock.real_delay(start_s + self.length_s + self.rules.grace_s)
        await self.until(f"the period of {start_s} settled", settled, real_s + PATIENCE_S)

    async def until_clock(self, time_s: float) -> None:
        """Until the microgrid's clock shows `time_s`."""
        await trio.sleep(self.clock.real_delay(time_s))

    async def until_height(self, height: int, nodes: Iterable[NodeProcess] | None = None) -> None:
        """Until these nodes (default: all running) have this height."""

        async def there() -> bool:
            return all(status["height"] >= height for status in await self.statuses(nodes))

        await self.until(f"height {height} reached", there)

    # --- asking

    async def statuses(self, nodes: Iterable[NodeProcess] | None = None) -> list[dict[str, Any]]:
        """Where these nodes (default: all running) stand."""
        return [await self.status(node) for node in (self.running if nodes is None else nodes)]

    async def status(self, node: NodeProcess) -> dict[str, Any]:
        """Where one node stands."""
        found: dict[str, Any] = await node.client.get("/api/status")
        return found

    async def leader(self) -> NodeProcess:
        """The running node that leads, as all others say too."""

        async def agreed() -> str | None:
            statuses = await self.statuses()
            names = {status["leader"] for status in statuses if status["role"] != "learner"}
            return names.pop() if len(names) == 1 and names <= {node.name for node in self.running} else None

        return self.nodes[await self.until("one leader, known to all", agreed)]

    async def lines(self, node: NodeProcess, start_s: int) -> dict[str, dict[str, Any]]:
        """What a settled period gave each member, by name."""
        found = await node.client.get("/api/lines", account="all", from_s=start_s, to_s=start_s + self.length_s)
        return {line["name"]: line for line in found["lines"] if line["start_s"] == start_s}

    async def period(self, node: NodeProcess, start_s: int) -> dict[str, Any] | None:
        """A settled period with its sums, or None."""
        found = await node.client.get("/api/periods", from_s=start_s, to_s=start_s + self.length_s)
        return next((row for row in found["periods"] if row["start_s"] == start_s), None)

    async def postings(self, node: NodeProcess, start_s: int) -> list[dict[str, Any]]:
        """The postings of a period, corrections included."""
        answer = await node.client.get("/api/postings", account="all", period_start_s=start_s)
        found: list[dict[str, Any]] = answer["postings"]
        return found

    async def blocks(self, node: NodeProcess, first: int = 1, last: int | None = None) -> list[dict[str, Any]]:
        """Blocks with all their records, as the node shows them."""
        end = (await self.status(node))["height"] if last is None else last
        return [await node.client.get(f"/api/blocks/{height}") for height in range(first, end + 1)]

    async def check_one_history(self) -> int:
        """One state hash for every height that all running nodes have; gives the highest such height."""
        common = min(status["height"] for status in await self.statuses())
        for height in range(1, common + 1):
            found = {node.name: (await node.client.get(f"/api/state/{height}"))["state_hash"] for node in self.running}
            assert len(set(found.values())) == 1, f"state hashes at height {height} differ: {found}"
        return common

    # --- saying

    async def submit(self, node: NodeProcess, path: str, **body: Any) -> str:
        """Have a node sign something with its member's key and pass it on; gives the record id."""
        answer = await node.client.post(path, body)
        return str(answer["record_id"])

    async def outcome(self, node: NodeProcess, record_id: str, deadline_s: float = PATIENCE_S) -> dict[str, Any]:
        """What became of a record, once it is final as this node sees it."""

        async def final() -> dict[str, Any] | None:
            found: dict[str, Any] = await node.client.get(f"/api/records/{record_id}", wait=2, deadline_s=8.0)
            return found if found["status"] == "final" else None

        return await self.until(f"record {record_id[:16]} final at {node.name}", final, deadline_s)

    def sign(self, record: Record, key: SigningKey) -> SignedRecord:
        """A record signed by a key that the scenario holds."""
        return sign_record(record, self.chain_id, key.public, key.sign)

    def spoken(self, number: int) -> dict[str, int]:
        """Nonce and validity of a record that the scenario signs itself."""
        ahead_s = min(600 * self.clock.speed, self.genesis.limits.max_validity_s // 2)
        return {"nonce": number, "valid_until_s": self.clock.now_s() + ahead_s}

    def account(self, name: str) -> str:
        """A founder's account id, in hex."""
        return account_id_of(self.nodes[name].keys.member.public).hex()

    def period_s(self, number: int) -> int:
        """Start of a period, counted from the genesis as rehearsed trouble is."""
        return -(-self.genesis.start_s // self.length_s) * self.length_s + number * self.length_s

    def next_period_s(self, ahead_real_s: float = 0.5) -> int:
        """The first boundary that is at least so many real seconds away."""
        earliest_s = int(self.clock.now() + ahead_real_s * self.clock.speed) + 1
        return -(-earliest_s // self.length_s) * self.length_s


@asynccontextmanager
async def open_mesh(
    place: Path,
    homes: Sequence[Household],
    *,
    speed: int = 300,
    binding: str = "mid_market_village",
    grace_minutes: int = 10,
    correction_minutes: int | None = None,
    billing_minutes: int | None = None,
    with_doors: bool = False,
    quorum_mode: int = QUORUM_MAJORITY,
    node: Sequence[str] = RUN,
) -> AsyncIterator[Mesh]:
    """Found a microgrid, run its nodes for as long as the block lasts, and leave no process behind.

    Args:
        place: an empty directory.
        speed: of the demonstration clock; at 300 a quarter of an hour takes three seconds.
        binding: name of a preset.
        grace_minutes: how long a period waits for readings that are missing. The preset's two
            minutes are a moment of a fast clock, in which a busy computer may not read a meter.
        correction_minutes: how long readings may correct a period; None: as the preset says.
        billing_minutes: of a billing period; None: as the preset says.
        node: what the interpreter is given to run a node.
    """
    shows_s = MORNING_S - LEAD_S * speed
    genesis, nodes = found_homes(
        place,
        "Scenario village",
        _with_times(preset(binding), grace_minutes, correction_minutes, billing_minutes),
        [_home(home, place / home.name) for home in homes],
        clock=Clock(kind=CLOCK_DEMONSTRATION, speed=speed, origin_s=int(time.time()), shows_s=shows_s),
        start_s=shows_s,
        # A demonstration clock runs fast, and so does its drift.
        max_drift_s=10 * speed,
        with_doors=with_doors,
        quorum_mode=quorum_mode,
    )
    mesh = Mesh(genesis, nodes)
    running = [process for process in nodes.values() if process.home.runs]
    try:
        for process in running:
            process.start(node)
        async with trio.open_nursery() as nursery:
            for process in running:
                nursery.start_soon(process.ready)
        await mesh.until_meshed()
        mesh.begin_s = mesh.next_period_s(2 * TELEGRAM_MS / 1000)
        yield mesh
    finally:
        await stop_all(running)


async def run_meshnode(*arguments: str) -> tuple[int, str, str]:
    """The command line in a process of its own: exit code, what it printed, what it complained."""
    done = await trio.run_process(
        [sys.executable, "-m", "meshnode", *arguments], capture_stdout=True, capture_stderr=True, check=False
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def record(directory: Path, quarters: Sequence[tuple[int, int]]) -> Path:
    """Write (used Wh, made Wh) of each quarter as a file that the replay driver reads."""
    path = directory / "meter.csv"
    directory.mkdir(parents=True, mode=0o700)
    rows = (f"{RECORDED_S + 900 * n},{used},{made}" for n, (used, made) in enumerate(quarters))
    path.write_text("\n".join(("time,consumption_wh,production_wh", *rows)) + "\n")
    return path


def _with_times(
    text: str, grace_minutes: int, correction_minutes: int | None, billing_minutes: int | None = None
) -> str:
    changes = {
        "And a period settles 2 minutes after its end": f"And a period settles {grace_minutes} minutes after its end",
    }
    if correction_minutes is not None:
        sentence = f"And corrections are accepted for {correction_minutes} minutes"
        changes["And corrections are accepted for 2 days"] = sentence
    if billing_minutes is not None:
        changes["And bills are issued every 1 month"] = f"And bills are issued every {billing_minutes} minutes"
    for said, wanted in changes.items():
        assert said in text, f"the preset says it in other words now: {said}"
        text = text.replace(said, wanted)
    return text


def _home(home: Household, directory: Path) -> Home:
    point = f"{home.name}-home"
    meters: tuple[dict[str, Any], ...] = ()
    if home.quarters:
        path = record(directory, home.quarters)
        section = {"driver": "replay", "metering_point": point, "path": str(path), "interval_ms": TELEGRAM_MS}
        meters = (section | ({} if home.rehearsal is None else {"rehearsal": home.rehearsal}),)
    return Home(
        name=home.name,
        roles=home.roles,
        points=(point,) if home.metered else (),
        meters=meters,
        votes=home.votes,
        runs=home.runs,
    )
