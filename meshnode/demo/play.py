"""Play: the demonstration from its first line on the screen to its exit code."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import webbrowser
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from drivers.emulator import run_emulated_meter
from meshnode.client import ClientError, NodeClient
from meshnode.demo import report
from meshnode.demo.homes import LEAST_PERIODS, METER_LINK, Household, Options, Village, check, found
from meshnode.loopback import POLL_S, NodeFailed, NodeProcess, stop_all

if TYPE_CHECKING:
    from collections.abc import Sequence

# How long the mesh may take for what is due, beside the time of the periods themselves.
PERIOD_DEADLINE_S = 120.0
# How long readings that came too late for their periods may take to correct them, once all periods
# are settled. On a computer that keeps up, nothing is waited for.
READINGS_DEADLINE_S = 15.0
# A bid or an offer below this is not worth a record.
SMALLEST_ORDER_WH = 10

_WHAT = {
    "dsmr": "emulated meter, real P1 telegrams over a pseudo-terminal",
    "sml": "emulated meter, real SML telegrams over a pseudo-terminal",
    "replay": "recorded household, replayed",
    "simulated": "simulated household",
}


class DemoFailed(Exception):
    """The demonstration did not come to its end; what failed and where to look."""


def run_demo(options: Options) -> int:
    """Play the demo.

    Returns:
        The exit code: 0, or 1 if a ledger or the report does not hold.
    Raises:
        ConfigError, DriverError: what was asked for cannot be played.
    """
    check(options)
    # Nothing is cut or folded: addresses are there to be copied.
    console = Console(stderr=True, soft_wrap=True)
    with _directory(options, console) as directory:
        village = found(options, directory)
        try:
            return trio.run(_Demo(options, village, directory, console).run)
        except BaseExceptionGroup as group:
            # Trio hands out what its tasks raised in groups of groups; one of these is the cause.
            stopped, rest = group.split(KeyboardInterrupt)
            failed, rest = rest.split((DemoFailed, NodeFailed)) if rest else (None, None)
            if rest is not None:
                raise
            if failed is not None:
                for error in _leaves(failed):
                    console.print(str(error), style="red", markup=False)
                return 1
            assert stopped is not None
        except (DemoFailed, NodeFailed) as error:
            console.print(str(error), style="red", markup=False)
            return 1
        except KeyboardInterrupt:
            pass
        console.print("\nstopped; every node has been ended")
        return 0


class _Demo:
    """One playing of the demo."""

    def __init__(self, options: Options, village: Village, directory: Path, console: Console) -> None:
        self.options = options
        self.village = village
        self.homes = village.homes
        self.nodes = [home.node for home in village.homes]
        self.directory = directory
        self.console = console
        self.clients: list[NodeClient] = []
        self.statuses: list[dict[str, Any]] = [{} for _ in village.homes]

    async def run(self) -> int:
        self._introduce()
        async with trio.open_nursery() as nursery:
            # Before anything is started, and until the last ledger is verified.
            nursery.start_soon(_end_on_sigterm)
            shown = await self._play()
            verified = await report.verify(self.nodes, shown["common_height"], self.console)
            nursery.cancel_scope.cancel()
        return report.conclude(shown, verified, self.options, self.village.rules.currency, self.console)

    async def _play(self) -> dict[str, Any]:
        """The nodes' whole life; what they reported before they were ended."""
        async with self._meters(), _running(self.nodes), trio.open_nursery() as nursery:
            self.clients = [node.client for node in self.nodes]
            for client in self.clients:
                nursery.start_soon(self._page, client)
            if self.village.rules.mechanism is not None:
                nursery.start_soon(self._orders)
            if self.options.browser and _has_screen():
                webbrowser.open(self.nodes[0].url)
            await self._watch()
            try:
                shown = await report.collect(self.nodes, self.options)
            except ClientError as error:
                raise DemoFailed(f"the report is not complete: {error}") from error
            nursery.cancel_scope.cancel()
        return shown

    def _introduce(self) -> None:
        length_s, speed, show = self.village.rules.length_s, self.options.speed, self.console.print
        nodes, periods = self.options.nodes, self.options.periods
        processes = "1 real node process" if nodes == 1 else f"{nodes} real node processes"
        show(f"[bold]A microgrid of {processes} on this computer[/bold]")
        show(
            f"Demonstration clock: {speed} times faster than real; "
            f"a settlement period of {length_s // 60} minutes takes {length_s / speed:.1f} s."
        )
        for home in self.homes:
            show(f"  {home.name:6} {home.node.url}   {_WHAT[home.kind]}")
        show("Rehearsed trouble: one reading is left out, one comes two periods late.")
        if self.options.directory is None:
            show(
                f"Everything lies in {self.directory}, a temporary directory that goes at the end; --dir DIR keeps it."
            )
        else:
            show(f"Everything lies in {self.directory} and stays there.")
        if not periods:
            show("It runs on and on. Ctrl-C ends it.")
        elif periods < LEAST_PERIODS:
            show(
                f"It ends by itself after {LEAST_PERIODS} settled periods, not {periods}: "
                "no fewer show the late reading and its correction. Ctrl-C ends it earlier."
            )
        else:
            show(f"It ends by itself after {periods} settled periods. Ctrl-C ends it earlier.")

    @asynccontextmanager
    async def _meters(self) -> AsyncIterator[None]:
        """Emulated meters on pseudo-terminals, for as long as the block lasts."""
        async with trio.open_nursery() as nursery:
            for number, home in enumerate(self.homes):
                if home.emulated is not None:
                    await nursery.start(
                        partial(
                            run_emulated_meter,
                            home.emulated,
                            partial(self._registers, home),
                            self.options.telegram_s,
                            link=home.node.directory / METER_LINK,
                            number=number + 1,
                        )
                    )
            yield
            nursery.cancel_scope.cancel()

    def _registers(self, home: Household) -> Any:
        return home.series.registers(self.village.clock.now_s())

    async def _page(self, client: NodeClient) -> None:
        """Keep a page's stream of news open at a node, as a browser would.

        The node itself measures how long a telegram took to here.
        """
        while True:
            try:
                async for _ in client.events("/api/events"):
                    pass
            except ClientError:
                await trio.sleep(POLL_S)

    async def _orders(self) -> None:
        """Members trade: before each period, those with sun offer, the others bid.

        The offers never equal the bids, so the marginal order is filled in part.
        """
        start, length_s = self.village.first_period_s, self.village.rules.length_s
        while True:
            await trio.sleep(self.village.clock.real_delay(start - length_s // 2))
            for number, (home, client) in enumerate(zip(self.homes, self.clients, strict=True)):
                order = _order(number, home, start, length_s)
                if order is not None:
                    try:
                        await client.post("/api/orders", order)
                    except ClientError as error:
                        self.console.print(f"order of {home.name} not taken: {error}", markup=False)
            start += length_s

    async def _watch(self) -> None:
        """The live view, until as many periods as asked for are settled, and corrected everywhere."""
        wanted, length_s = self.options.wanted, self.village.rules.length_s
        deadline = trio.current_time() + PERIOD_DEADLINE_S + 2 * wanted * length_s / self.options.speed
        patience = float("inf")
        with _View(self.homes, wanted, self.console) as view:
            while True:
                for node in self.nodes:
                    node.check_running()
                await self._poll()
                reached = [status.get("next_period_s", 0) for status in self.statuses]
                settled = max(0, (min(reached) - self.village.first_period_s) // length_s)
                view.show(settled, self.statuses)
                if wanted and settled >= wanted:
                    patience = min(patience, trio.current_time() + READINGS_DEADLINE_S)
                    corrected, complete = await self._readings()
                    if corrected and (complete or trio.current_time() > patience):
                        return
                if wanted and trio.current_time() > deadline:
                    raise DemoFailed(
                        f"only {settled} of {wanted} periods were settled; see {self.directory}/*/node.log"
                    )
                await trio.sleep(POLL_S)

    async def _readings(self) -> tuple[bool, bool]:
        """Whether every node has corrected the period of the rehearsed late reading, and has all other readings."""
        try:
            reports = [(await client.get("/api/report"))["periods"] for client in self.clients]
        except ClientError as error:
            self.console.print(str(error), markup=False)
            return False, False
        corrected = all(any(period["corrections"] for period in periods) for periods in reports)
        return corrected, not any(report.incomplete(periods, self.options) for periods in reports)

    async def _poll(self) -> None:
        for number, client in enumerate(self.clients):
            try:
                self.statuses[number] = await client.get("/api/status")
            except ClientError as error:
                self.console.print(f"{self.homes[number].name} does not answer: {error}", markup=False)


class _View:
    """What is seen of the nodes while they run: a table that is drawn again and again on a terminal,
    else a line whenever a period was settled, for a log."""

    def __init__(self, homes: Sequence[Household], wanted: int, console: Console) -> None:
        self._homes = homes
        self._wanted = wanted
        self._console = console
        self._settled = -1
        self._progress = Progress(TextColumn("{task.description}"), BarColumn())
        self._task = self._progress.add_task("", total=wanted or None)
        self._live = Live(console=console, refresh_per_second=4) if console.is_interactive else None

    def __enter__(self) -> _View:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, settled: int, statuses: Sequence[dict[str, Any]]) -> None:
        """The state of this moment; statuses: as the nodes answer, empty where one has not yet."""
        line = f"settled periods: {settled}" + (f" of {self._wanted}" if self._wanted else "")
        if self._live is not None:
            self._progress.update(self._task, description=line, completed=settled)
            self._live.update(Group(_table(self._homes, statuses), self._progress))
        elif settled > self._settled:
            height = max(status.get("height", 0) for status in statuses)
            self._console.print(f"{line}, height {height}", highlight=False)
        self._settled = settled


@asynccontextmanager
async def _running(nodes: Sequence[NodeProcess]) -> AsyncIterator[None]:
    """All node processes, started at once; ended when the block ends, whatever ended it. Raises NodeFailed."""
    try:
        for node in nodes:
            node.start()
        for node in nodes:
            await node.ready()
        yield
    finally:
        await stop_all(nodes)


def _has_screen() -> bool:
    """Whether a browser could open a window; without one, a text browser would take over the terminal."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


async def _end_on_sigterm() -> None:
    """Whoever ends the demo politely gets the same clean end as with Ctrl-C."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            raise KeyboardInterrupt


def _order(number: int, home: Household, start_s: int, length_s: int) -> dict[str, Any] | None:
    """What a member orders for a quarter-hour, from what its home is going to need or to spare."""
    before, after = home.series.registers(start_s), home.series.registers(start_s + length_s)
    surplus = (after.export_wh - before.export_wh) - (after.import_wh - before.import_wh)
    if abs(surplus) < SMALLEST_ORDER_WH:
        return None
    # Everybody has a limit price of their own, all inside the binding's bounds.
    price = 100_000 + 10_000 * (number % 5) if surplus > 0 else 280_000 - 20_000 * (number % 5)
    side = "sell" if surplus > 0 else "buy"
    return {"side": side, "period_start_s": start_s, "energy_wh": abs(surplus), "price_u_kwh": price}


def _table(homes: Sequence[Household], statuses: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("home", "role", "height", "peers", "memory", "commit p95", "screen p95"):
        table.add_column(column, justify="left" if column in ("home", "role") else "right")
    for home, status in zip(homes, statuses, strict=True):
        table.add_row(
            home.name,
            status.get("role", ""),
            str(status.get("height", "")),
            str(status.get("peers", "")),
            f"{status.get('rss_mb', 0)} MB",
            f"{status.get('commit_ms', {}).get('p95', '-')} ms",
            f"{status.get('screen_ms', {}).get('p95', '-')} ms",
        )
    return table


def _leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


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
