"""Demo: a microgrid of real node processes on this computer, with meters that are emulated.

Every node is a process of its own with its own directory, keys, ledger and page. Two
homes are read through pseudo-terminals on which an emulated meter speaks real P1 and
SML telegrams; the other homes' meters are simulated or replayed. The clock is a
demonstration clock. All of that is said on the screen.

Nothing in the report comes from this process: it asks every node, and has every
ledger verified again by a fresh process.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from calendar import timegm
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from drivers.emulated_telegrams import PRODUCED_CHANNEL
from drivers.emulator import Kind, run_emulated_meter
from drivers.home import HomeSeries
from drivers.households import home_names, read_home, read_table
from drivers.simulated import SimulatedHome
from meshnode import founding
from meshnode.amounts import format_energy, format_money
from meshnode.client import ClientError, NodeClient
from meshnode.clock import GridClock
from meshnode.config import TOKEN_FILE, ConfigError
from meshnode.rules import rules_of
from protocols.records import CLOCK_DEMONSTRATION, Clock, Genesis, chain_id
from zencode.presets import preset

NAMES = ("anna", "bela", "carla", "dora", "emil", "fritz", "gina", "hana", "igor", "jana")
# More processes than that do not fit a small computer.
MAX_NODES = len(NAMES)
# The demonstration's day: midsummer, so that there is sun to share.
DAY_S = timegm((2026, 6, 21, 0, 0, 0))
FIRST_HOUR = 9
# The CityLearn rows begin at 23:00 on 31 July; its first June noon lies this many rows on.
HOUSEHOLDS_JUNE_HOUR = 1 + 24 * 324
# A telegram a second is what meters of the newest kind send.
TELEGRAM_S = 1.0
# Real seconds until the nodes have found each other and a leader; then the first period begins.
SETTLING_IN_S = 20
# How long a node may take to start, to stop, and to settle what is due.
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 15.0
PERIOD_DEADLINE_S = 120.0
POLL_S = 0.5
# Which homes have trouble on purpose, and when: the reading at the end of this period is
# left out (silent) or delivered two periods later (late).
SILENT_PERIOD = 2
LATE_PERIOD = 3
SMALLEST_WITH_TROUBLE = 3


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo is asked for. periods: 0 runs until Ctrl-C."""

    nodes: int = 5
    periods: int = 0
    speed: int = 180
    directory: Path | None = None
    report: Path | None = None
    browser: bool = True
    households: Path | None = None
    seed: int = 1
    preset: str = "neighbour_market"


class Home(msgspec.Struct):
    """One household of the demo: where its node lives, and what its meter reads."""

    name: str
    directory: Path
    kind: str
    series: HomeSeries
    web_port: int
    mesh_port: int
    meter: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None
    client: NodeClient | None = None
    status: dict[str, Any] = msgspec.field(default_factory=dict)


class DemoFailed(Exception):
    """The demonstration did not come to its end; what failed and where to look."""


def run_demo(options: Options) -> int:
    """Play the demo. Returns the exit code: 0, or 1 if a ledger or the report does not hold."""
    check(options)
    console = Console(stderr=True)
    with _directory(options, console) as directory:
        try:
            return trio.run(_Demo(options, directory, console).run)
        except* KeyboardInterrupt:
            console.print("stopped; every node has been ended")
            return 0
        except* DemoFailed as failed:
            for error in failed.exceptions:
                console.print(f"[red]{error}[/red]")
            return 1


def check(options: Options) -> None:
    """Refuse what cannot be played, before anything is started. Raises ConfigError."""
    if not 1 <= options.nodes <= MAX_NODES:
        raise ConfigError(f"--nodes {options.nodes}: the demo plays 1 to {MAX_NODES} homes")
    if not 1 <= options.speed <= 900:
        raise ConfigError(f"--speed {options.speed}: from 1 (real time) to 900 (a quarter of an hour takes one second)")
    if options.periods < 0:
        raise ConfigError(f"--periods {options.periods}: give how many periods to settle, or leave it out")
    if options.directory is not None and options.directory.exists() and any(options.directory.iterdir()):
        raise ConfigError(f"--dir {options.directory}: not empty\n    choose a new directory or empty this one")
    if options.households is not None and not options.households.is_file():
        raise ConfigError(f"--households {options.households}: no such file")


class _Demo:
    def __init__(self, options: Options, directory: Path, console: Console) -> None:
        self.options = options
        self.directory = directory
        self.console = console
        self.homes: list[Home] = []
        self.genesis: Genesis
        self.clock: GridClock
        self.length_s = 900
        self.settled = 0
        self.first_period_s = 0

    async def run(self) -> int:
        self._found()
        self._introduce()
        async with AsyncExitStack() as stack:
            # Ctrl-C goes to the whole foreground group; the nodes are in sessions of their own
            # and are ended by us, in order.
            await stack.enter_async_context(self._meters())
            await stack.enter_async_context(self._nodes())
            async with trio.open_nursery() as nursery:
                for home in self.homes:
                    nursery.start_soon(self._page, home)
                nursery.start_soon(self._orders)
                if self.options.browser:
                    webbrowser.open(self._address(self.homes[0]))
                await self._watch()
                report = await self._report()
                nursery.cancel_scope.cancel()
        verified = await self._verify(report)
        return self._conclude(report, verified)

    # --- before the start

    def _found(self) -> None:
        """Keys, genesis and configuration of every home."""
        options = self.options
        names = NAMES[: options.nodes]
        text = preset(options.preset)
        origin_s = int(time.time())
        shows_s = DAY_S + FIRST_HOUR * 3600 - SETTLING_IN_S * options.speed
        clock = Clock(kind=CLOCK_DEMONSTRATION, speed=options.speed, origin_s=origin_s, shows_s=shows_s)
        made = {}
        series = self._series(names)
        ports = _free_ports(2 * len(names))
        for number, name in enumerate(names):
            directory = self.directory / name
            made[name] = founding.make_keys(directory, [_point(name)])
            self.homes.append(
                Home(
                    name=name,
                    directory=directory,
                    kind=_kind(number, options.households),
                    series=series[name],
                    web_port=ports[2 * number],
                    mesh_port=ports[2 * number + 1],
                    meter={},
                )
            )
        self.genesis = founding.found(
            "Demo village",
            text,
            [
                made[name].entry(name, ["prosumer"] if number else ["administrator", "prosumer"])
                for number, name in enumerate(names)
            ],
            [made[name].device.public for name in names],
            start_s=shows_s,
            clock=clock,
            # A demonstration clock runs fast, and so does its drift.
            max_drift_s=founding.DEFAULT_DRIFT_S * options.speed,
        )
        self.clock = GridClock(clock)
        self.length_s = rules_of_genesis(self.genesis).length_s
        self.first_period_s = -(-shows_s // self.length_s) * self.length_s
        chain = chain_id(self.genesis).hex()
        from meshnode.network.transport import peer_id_of

        peers = [
            f"/ip4/127.0.0.1/tcp/{home.mesh_port}/p2p/{peer_id_of(made[home.name].device.public)}"
            for home in self.homes
        ]
        for number, home in enumerate(self.homes):
            home.meter = self._meter(number, home)
            founding.place_ledger(home.directory, self.genesis)
            founding.write_config(
                home.directory,
                home.name,
                listen=[f"/ip4/127.0.0.1/tcp/{home.mesh_port}"],
                web=f"127.0.0.1:{home.web_port}",
                microgrids={chain: {"peers": [peer for n, peer in enumerate(peers) if n != number]}},
                meters=[home.meter],
            )

    def _series(self, names: tuple[str, ...]) -> dict[str, HomeSeries]:
        """The homes' load and sun: invented from the seed, or recorded ones."""
        path = self.options.households
        if path is None:
            return {
                name: SimulatedHome(
                    self.options.seed * 100 + number,
                    annual_wh=2_500_000 + 700_000 * (number % 4),
                    pv_peak_w=_PV_PEAK_W[number % len(_PV_PEAK_W)],
                )
                for number, name in enumerate(names)
            }
        table = read_table(path)
        recorded = home_names(table)
        if len(recorded) < len(names):
            raise ConfigError(f"{path}: holds {len(recorded)} homes, the demo asks for {len(names)}")
        return {
            name: read_home(path, table, home, DAY_S, HOUSEHOLDS_JUNE_HOUR)
            for name, home in zip(names, recorded, strict=False)
        }

    def _meter(self, number: int, home: Home) -> dict[str, Any]:
        """The meter's section of a home's configuration."""
        section: dict[str, Any] = {"metering_point": _point(home.name)}
        path = self.options.households
        if home.kind in ("dsmr", "sml"):
            section |= {
                "driver": home.kind,
                "port": str(home.directory / "meter"),
                "produced_channel": PRODUCED_CHANNEL,
            }
        elif path is not None:
            recorded = home_names(read_table(path))[number]
            section |= {
                "driver": "replay",
                "path": str(path.absolute()),
                "home": recorded,
                "start_s": DAY_S,
                "first_hour": HOUSEHOLDS_JUNE_HOUR,
                "interval_ms": int(TELEGRAM_S * 1000),
            }
        else:
            section |= {
                "driver": "simulated",
                "seed": self.options.seed * 100 + number,
                "annual_wh": 2_500_000 + 700_000 * (number % 4),
                "pv_peak_w": _PV_PEAK_W[number % len(_PV_PEAK_W)],
                "interval_ms": int(TELEGRAM_S * 1000),
            }
        trouble = self._trouble(number)
        if trouble:
            section["rehearsal"] = trouble
        return section

    def _trouble(self, number: int) -> dict[str, Any]:
        """One home's reading is missing once, another's comes late once."""
        last = len(NAMES[: self.options.nodes]) - 1
        if self.options.nodes < SMALLEST_WITH_TROUBLE:
            # One home does both.
            return {"silent_periods": [SILENT_PERIOD], "late_periods": [LATE_PERIOD]} if number == 0 else {}
        if number == last:
            return {"silent_periods": [SILENT_PERIOD]}
        if number == last - 1:
            return {"late_periods": [LATE_PERIOD]}
        return {}

    def _introduce(self) -> None:
        options, print_ = self.options, self.console.print
        print_(f"[bold]A microgrid of {options.nodes} real node processes on this computer[/bold]")
        print_(
            f"Demonstration clock: {options.speed} times faster than real; "
            f"a settlement period of {self.length_s // 60} minutes takes {self.length_s / options.speed:.1f} s."
        )
        for home in self.homes:
            what = {
                "dsmr": "emulated meter, real P1 telegrams over a pseudo-terminal",
                "sml": "emulated meter, real SML telegrams over a pseudo-terminal",
                "replay": "recorded household, replayed",
                "simulated": "simulated household",
            }[home.kind]
            print_(f"  {home.name:6} {self._address(home)}   {what}")
        print_(
            "Rehearsed trouble: one reading is left out, one comes two periods late. "
            f"Everything lies in {self.directory}"
        )

    @staticmethod
    def _address(home: Home) -> str:
        return f"http://127.0.0.1:{home.web_port}/"

    # --- processes

    @asynccontextmanager
    async def _meters(self) -> AsyncIterator[None]:
        """Emulated meters on pseudo-terminals, for as long as the block lasts."""
        async with trio.open_nursery() as nursery:
            for number, home in enumerate(self.homes):
                if home.kind in ("dsmr", "sml"):
                    kind: Kind = "dsmr" if home.kind == "dsmr" else "sml"

                    async def meter(
                        home: Home = home, kind: Kind = kind, number: int = number, *, task_status: Any
                    ) -> None:
                        await run_emulated_meter(
                            kind,
                            lambda: home.series.registers(self.clock.now_s()),
                            TELEGRAM_S,
                            link=home.directory / "meter",
                            number=number + 1,
                            task_status=task_status,
                        )

                    await nursery.start(meter)
            yield
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def _nodes(self) -> AsyncIterator[None]:
        """All node processes, started at once; ended one after the other when the block ends."""
        try:
            for home in self.homes:
                home.process = self._start(home)
            async with trio.open_nursery() as nursery:
                for home in self.homes:
                    nursery.start_soon(self._ready, home)
            yield
        finally:
            with trio.CancelScope(shield=True):
                await self._stop()

    def _start(self, home: Home) -> subprocess.Popen[bytes]:
        log = (home.directory / "node.log").open("wb")
        # One malloc arena: a node's threads only ever verify and write, and every further
        # arena costs memory that is never given back.
        environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "meshnode", "run", str(home.directory), "--json"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    async def _ready(self, home: Home) -> None:
        """Wait until the node answers."""
        client = NodeClient(self._address(home).rstrip("/"))
        with trio.move_on_after(START_DEADLINE_S):
            while True:
                if home.process is not None and home.process.poll() is not None:
                    raise DemoFailed(f"the node of {home.name} ended at once:\n{_tail(home)}")
                try:
                    home.status = await client.get("/api/status")
                    home.client = NodeClient(client.base_url, (home.directory / TOKEN_FILE).read_text().strip())
                    return
                except ClientError:
                    await trio.sleep(POLL_S)
        raise DemoFailed(f"the node of {home.name} did not answer within {START_DEADLINE_S:.0f} s:\n{_tail(home)}")

    async def _stop(self) -> None:
        """End every process that was started here, by its number."""
        running = [home.process for home in self.homes if home.process is not None]
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        with trio.move_on_after(STOP_DEADLINE_S):
            for process in running:
                while process.poll() is None:
                    await trio.sleep(0.05)
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()

    # --- while it runs

    async def _page(self, home: Home) -> None:
        """Keep a page's stream of news open at every node, as a browser would.

        The node itself measures how long a telegram took to here.
        """
        assert home.client is not None
        while True:
            try:
                async for _ in home.client.events("/api/events"):
                    pass
            except ClientError:
                pass
            await trio.sleep(POLL_S)

    async def _orders(self) -> None:
        """Members trade: before each period, those with sun offer, the others bid.

        The offers never equal the bids, so the marginal order is filled in part.
        """
        mechanism = rules_of_genesis(self.genesis).mechanism
        if mechanism is None:
            return
        start = self.first_period_s
        while True:
            await trio.sleep(self.clock.real_delay(start - self.length_s // 2))
            for number, home in enumerate(self.homes):
                await self._order(number, home, start)
            start += self.length_s

    async def _order(self, number: int, home: Home, start_s: int) -> None:
        """What a member expects of the coming quarter-hour, from its own last one."""
        assert home.client is not None
        before = home.series.registers(start_s - self.length_s)
        after = home.series.registers(start_s)
        surplus = (after.export_wh - before.export_wh) - (after.import_wh - before.import_wh)
        if abs(surplus) < SMALLEST_ORDER_WH:
            return
        body = {
            "side": "sell" if surplus > 0 else "buy",
            "period_start_s": start_s,
            "energy_wh": abs(surplus),
            # Everybody has a limit price of their own, all inside the binding's bounds.
            "price_u_kwh": (100_000 + 10_000 * (number % 5)) if surplus > 0 else (280_000 - 20_000 * (number % 5)),
        }
        try:
            await home.client.post("/api/orders", body)
        except ClientError as error:
            self.console.print(f"order of {home.name} not taken: {error}")

    async def _watch(self) -> None:
        """The live view, until as many periods as asked for are settled and corrected everywhere."""
        progress = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        wanted = self.options.periods
        task = progress.add_task("settled periods", total=wanted or None)
        deadline = trio.current_time() + PERIOD_DEADLINE_S + (wanted + 3) * self.length_s / self.options.speed * 2
        with Live(console=self.console, refresh_per_second=4, transient=False) as live:
            while True:
                await self._poll()
                self.settled = min(
                    (home.status.get("next_period_s", 0) - self.first_period_s) // self.length_s for home in self.homes
                )
                progress.update(task, completed=max(0, self.settled))
                live.update(Group(self._table(), progress))
                if wanted and self.settled >= max(wanted, LATE_PERIOD + 4) and await self._corrected():
                    return
                if wanted and trio.current_time() > deadline:
                    raise DemoFailed(
                        f"only {self.settled} of {wanted} periods were settled; see {self.directory}/*/node.log"
                    )
                await trio.sleep(POLL_S)

    async def _corrected(self) -> bool:
        """Whether the rehearsed late reading has corrected its period at every node."""
        for home in self.homes:
            assert home.client is not None
            report = await home.client.get("/api/report")
            if not any(period["corrections"] for period in report["periods"]):
                return False
        return True

    async def _poll(self) -> None:
        for home in self.homes:
            if home.process is not None and home.process.poll() is not None:
                raise DemoFailed(f"the node of {home.name} ended:\n{_tail(home)}")
            assert home.client is not None
            try:
                home.status = await home.client.get("/api/status")
            except ClientError:
                continue

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for column in ("home", "role", "height", "peers", "memory", "commit p95", "screen p95", "page"):
            table.add_column(column, justify="left" if column in ("home", "role", "page") else "right")
        for home in self.homes:
            status = home.status
            table.add_row(
                home.name,
                status.get("role", ""),
                str(status.get("height", "")),
                str(status.get("peers", "")),
                f"{status.get('rss_mb', 0)} MB",
                f"{status.get('commit_ms', {}).get('p95', '-')} ms",
                f"{status.get('screen_ms', {}).get('p95', '-')} ms",
                self._address(home),
            )
        return table

    # --- the report

    async def _report(self) -> dict[str, Any]:
        """Ask every node for what it has; nothing is computed from what this process knows."""
        statuses = []
        for home in self.homes:
            assert home.client is not None
            statuses.append(await home.client.get("/api/status"))
        common = min(status["height"] for status in statuses)
        nodes = []
        reports = []
        for home, status in zip(self.homes, statuses, strict=True):
            assert home.client is not None
            state = await home.client.get(f"/api/state/{common}")
            own = await home.client.get("/api/report", height=common)
            reports.append(own["periods"])
            nodes.append(
                {
                    "name": home.name,
                    "height": status["height"],
                    "state_hash": state["state_hash"],
                    "certificates_verified": status["certificates_verified"],
                    "readings": own["readings"],
                    "orders": own["orders"],
                    "trades": own["trades"],
                    "rss_mb": status["rss_mb"],
                    "startup_s": status["startup_s"],
                    "commit_ms": status["commit_ms"],
                    "screen_ms": status["screen_ms"],
                }
            )
        return {
            "common_height": common,
            "chain_id": statuses[0]["chain_id"],
            "demonstration_clock_speed": self.options.speed,
            "nodes": nodes,
            "periods": reports[0],
            "nodes_agree_on_periods": all(other == reports[0] for other in reports),
            # The slowest node's figures stand for the microgrid.
            "commit_ms": _slowest(status["commit_ms"] for status in statuses),
            "screen_ms": _slowest(status["screen_ms"] for status in statuses),
        }

    async def _verify(self, report: dict[str, Any]) -> list[dict[str, Any]]:
        """Every ledger again, by a fresh process that knows nothing but the directory."""
        results = []
        with Progress(console=self.console) as progress:
            task = progress.add_task("verifying every ledger in a fresh process", total=len(self.homes))
            for home in self.homes:
                command = [sys.executable, "-m", "meshnode", "ledger", "verify", str(home.directory), "--json"]
                command += ["--state-at", str(report["common_height"])]
                done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
                result = {"name": home.name, "exit_code": done.returncode}
                try:
                    result |= json.loads(done.stdout)
                except ValueError:
                    result["error"] = done.stderr.decode(errors="replace")[-500:]
                results.append(result)
                progress.advance(task)
        return results

    def _conclude(self, report: dict[str, Any], verified: list[dict[str, Any]]) -> int:
        """Print what was reached, write the report, and say whether everything holds."""
        hashes = {node["state_hash"] for node in report["nodes"]}
        hashes |= {str(result.get("state_at")) for result in verified}
        faults = [f"the ledger of {r['name']} does not verify: {r}" for r in verified if r["exit_code"] != 0]
        if len(hashes) != 1:
            faults.append(f"state hashes at height {report['common_height']} differ: {sorted(hashes)}")
        if not report["nodes_agree_on_periods"]:
            faults.append("the nodes report different periods")
        report["verified"] = [
            {"name": r["name"], "exit_code": r["exit_code"], "state_hash": r.get("state_at")} for r in verified
        ]
        report["holds"] = not faults
        if self.options.report is not None:
            self.options.report.write_text(json.dumps(report, indent=1) + "\n")
            self.console.print(f"report: {self.options.report}")
        for node in report["nodes"]:
            self.console.print(
                f"  {node['name']:6} height {node['height']}  state {node['state_hash'][:16]}  "
                f"{node['readings']} readings, {node['orders']} orders, {node['trades']} trades, {node['rss_mb']} MB"
            )
        used = sum(m["consumption_wh"] for p in report["periods"] for m in p["members"].values())
        own = sum(m["own_wh"] for p in report["periods"] for m in p["members"].values())
        shared = sum(m["neighbours_wh"] for p in report["periods"] for m in p["members"].values())
        paid = sum(m["out_u"] for p in report["periods"] for m in p["members"].values())
        self.console.print(
            f"{len(report['periods'])} periods settled: {format_energy(used)} used, "
            f"{format_energy(own)} from own roofs, "
            f"{format_energy(shared)} from neighbours; {format_money(paid, 'EUR')} paid"
        )
        for fault in faults:
            self.console.print(f"[red]{fault}[/red]")
        return 1 if faults else 0


# A bid or an offer below this is not worth a record.
SMALLEST_ORDER_WH = 10
# Roofs in the village: two large ones, one small one, and homes without.
_PV_PEAK_W = (6000, 0, 4000, 0, 8000)


def rules_of_genesis(genesis: Genesis) -> Any:
    """The rules of settlement periods that a genesis begins with."""
    from meshnode.market.registry import installed_mechanisms

    return rules_of(genesis.binding, genesis.limits, installed_mechanisms()).period


def _point(name: str) -> str:
    return f"demo-{name}"


def _kind(number: int, households: Path | None) -> str:
    if number == 0:
        return "dsmr"
    if number == 1:
        return "sml"
    return "simulated" if households is None else "replay"


def _slowest(figures: Iterator[dict[str, int]] | Any) -> dict[str, int]:
    known = [figure for figure in figures if figure]
    return {name: max(figure[name] for figure in known) for name in ("p50", "p95")} if known else {}


def _tail(home: Home) -> str:
    lines = (home.directory / "node.log").read_text(errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-8:])


def _free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextmanager
def _directory(options: Options, console: Console) -> Iterator[Path]:
    """Where the nodes live: as asked, and kept; else a temporary one, gone afterwards."""
    if options.directory is not None:
        options.directory.mkdir(parents=True, exist_ok=True)
        yield options.directory.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="meshnode-demo-") as name:
        yield Path(name)
        console.print("the demo's directory was temporary and is gone; keep one with --dir")
