"""Homes: the households of the demonstration - who they are, what their meters read, and their files."""

from __future__ import annotations

import socket
import time
from calendar import timegm
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from drivers.emulated_telegrams import PRODUCED_CHANNEL, Kind
from drivers.home import HomeSeries
from drivers.households import home_names, read_home, read_table
from drivers.simulated import SimulatedHome
from meshnode import founding
from meshnode.clock import GridClock
from meshnode.config import ConfigError
from meshnode.market import MechanismError
from meshnode.market.registry import installed_mechanisms
from meshnode.network.transport import peer_id_of
from meshnode.rules import rules_of
from meshnode.settlement.closing import PeriodRules
from protocols.records import CLOCK_DEMONSTRATION, DEFAULT_LIMITS, Clock, Genesis, chain_id
from zencode.binding import encode
from zencode.presets import preset
from zencode.reader import read

NAMES = ("anna", "bela", "carla", "dora", "emil", "fritz", "gina", "hana", "igor", "jana")
# More processes than that do not fit a small computer.
MAX_NODES = len(NAMES)
# The demonstration's day: midsummer, so that there is sun to share.
DAY_S = timegm((2026, 6, 21, 0, 0, 0))
# Early enough that homes still need the grid, late enough that the roofs begin to work.
FIRST_HOUR = 6
# The CityLearn rows begin at 23:00 on 31 July; its 21st of June begins this many rows on.
HOUSEHOLDS_JUNE_HOUR = 1 + 24 * 324
# A telegram a second is what meters of the newest kind send.
TELEGRAM_S = 1.0
# Real seconds until the nodes have found each other and a leader; then the first period begins.
SETTLING_IN_S = 20
# What presets say of waiting for readings, and what the demo makes of it: at 180 times
# the speed, ten minutes are three seconds.
PRESET_GRACE = "a period settles 2 minutes after its end"
DEMO_GRACE = "a period settles 10 minutes after its end"
DEMO_PRESETS = "neighbour_market, mid_market_village"
# Which homes have trouble on purpose, and when: the reading at the end of this period is
# left out (silent) or delivered two periods later (late).
SILENT_PERIOD = 1
LATE_PERIOD = 2
SMALLEST_WITH_TROUBLE = 3
# Roofs in the village: two large ones, one small one, and homes without.
PV_PEAK_W = (6000, 0, 4000, 0, 8000)


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


class Home(msgspec.Struct, frozen=True):
    """One household: where its node lives, and what its meter reads.

    kind: "dsmr" and "sml" are emulated meters on pseudo-terminals, "replay" and
    "simulated" are drivers inside the node.
    """

    name: str
    directory: Path
    kind: Literal["dsmr", "sml", "replay", "simulated"]
    series: HomeSeries
    web_port: int
    mesh_port: int

    @property
    def address(self) -> str:
        """Where its page is."""
        return f"http://127.0.0.1:{self.web_port}"

    @property
    def emulated(self) -> Kind | None:
        """Which emulated meter it is read through, if it is."""
        return self.kind if self.kind == "dsmr" or self.kind == "sml" else None


class Village(msgspec.Struct, frozen=True):
    """The founded microgrid of the demonstration."""

    genesis: Genesis
    homes: tuple[Home, ...]
    clock: GridClock
    rules: PeriodRules
    first_period_s: int


def check(options: Options) -> None:
    """Refuse what cannot be played, before anything is started. Raises ConfigError."""
    if not 1 <= options.nodes <= MAX_NODES:
        raise ConfigError(f"--nodes {options.nodes}: the demo plays 1 to {MAX_NODES} homes")
    if not 1 <= options.speed <= 900:
        raise ConfigError(f"--speed {options.speed}: from 1 (real time) to 900 (a quarter of an hour takes one second)")
    if options.periods < 0:
        raise ConfigError(f"--periods {options.periods}: give how many periods to settle, or leave it out")
    if options.directory is not None and options.directory.exists():
        if not options.directory.is_dir():
            raise ConfigError(f"--dir {options.directory}: is a file\n    choose a new directory")
        if any(options.directory.iterdir()):
            raise ConfigError(f"--dir {options.directory}: not empty\n    choose a new directory or empty this one")
    if options.report is not None and not options.report.absolute().parent.is_dir():
        raise ConfigError(f"--json {options.report}: there is no folder {options.report.parent}\n    make it first")
    try:
        rules_of(encode(read(_contract(options))), DEFAULT_LIMITS, installed_mechanisms())
    except (ValueError, MechanismError) as error:
        raise ConfigError(
            f"--preset {options.preset}: {error}\n    take one that this node carries out: {DEMO_PRESETS}"
        ) from error
    if options.households is not None and not options.households.is_file():
        raise ConfigError(f"--households {options.households}: no such file\n    give a table of hourly series (CSV)")


def found(options: Options, directory: Path) -> Village:
    """Keys, genesis, ledger and configuration of every home. Raises ConfigError, DriverError."""
    names = NAMES[: options.nodes]
    start_s = DAY_S + FIRST_HOUR * 3600
    # The clock begins before the ledger does: the nodes find each other first.
    shows_s = start_s - SETTLING_IN_S * options.speed
    clock = Clock(kind=CLOCK_DEMONSTRATION, speed=options.speed, origin_s=int(time.time()), shows_s=shows_s)
    ports = _free_ports(2 * len(names))
    series = _series(options, names)
    homes = tuple(
        Home(
            name=name,
            directory=directory / name,
            kind=_kind(number, options.households),
            series=series[number],
            web_port=ports[2 * number],
            mesh_port=ports[2 * number + 1],
        )
        for number, name in enumerate(names)
    )
    made = [founding.make_keys(home.directory, [_point(home.name)]) for home in homes]
    genesis = founding.found(
        "Demo village",
        _contract(options),
        [
            keys.entry(home.name, ["prosumer"] if number else ["administrator", "prosumer"])
            for number, (home, keys) in enumerate(zip(homes, made, strict=True))
        ],
        [keys.device.public for keys in made],
        start_s=start_s,
        clock=clock,
        # A demonstration clock runs fast, and so does its drift; the first blocks are made
        # while the clock has not reached the beginning yet.
        max_drift_s=(founding.DEFAULT_DRIFT_S + SETTLING_IN_S) * options.speed,
    )
    peers = [
        f"/ip4/127.0.0.1/tcp/{home.mesh_port}/p2p/{peer_id_of(keys.device.public)}"
        for home, keys in zip(homes, made, strict=True)
    ]
    for number, home in enumerate(homes):
        founding.place_ledger(home.directory, genesis)
        founding.write_config(
            home.directory,
            home.name,
            listen=[f"/ip4/127.0.0.1/tcp/{home.mesh_port}"],
            web=f"127.0.0.1:{home.web_port}",
            microgrids={chain_id(genesis).hex(): {"peers": [peer for n, peer in enumerate(peers) if n != number]}},
            meters=[_meter(options, number, home)],
        )
    rules = rules_of(genesis.binding, genesis.limits, installed_mechanisms()).period
    first_period_s = -(-start_s // rules.length_s) * rules.length_s
    return Village(genesis, homes, GridClock(clock), rules, first_period_s)


def _contract(options: Options) -> str:
    """The preset with more time for readings: on a fast clock the two minutes that a mesh
    needs are over before a meter has sent its next telegram. Raises ValueError."""
    text = preset(options.preset)
    if PRESET_GRACE not in text:
        raise ValueError(f"it does not say {PRESET_GRACE!r}, which the demo has to stretch")
    return text.replace(PRESET_GRACE, DEMO_GRACE)


def _series(options: Options, names: Sequence[str]) -> list[HomeSeries]:
    """The homes' load and sun: invented from the seed, or recorded ones."""
    path = options.households
    if path is None:
        return [
            SimulatedHome(_seed(options, number), annual_wh=_annual_wh(number), pv_peak_w=_peak_w(number))
            for number, _ in enumerate(names)
        ]
    table = read_table(path)
    recorded = home_names(table)
    if len(recorded) < len(names):
        raise ConfigError(f"{path}: holds {len(recorded)} homes, the demo asks for {len(names)}")
    return [read_home(path, table, recorded[n], DAY_S, HOUSEHOLDS_JUNE_HOUR) for n, _ in enumerate(names)]


def _meter(options: Options, number: int, home: Home) -> dict[str, Any]:
    """The meter's section of a home's configuration."""
    section: dict[str, Any] = {"metering_point": _point(home.name)}
    path = options.households
    if home.kind in ("dsmr", "sml"):
        section |= {"driver": home.kind, "port": str(home.directory / "meter"), "produced_channel": PRODUCED_CHANNEL}
    elif path is not None:
        section |= {
            "driver": "replay",
            "path": str(path.absolute()),
            "home": home_names(read_table(path))[number],
            "start_s": DAY_S,
            "first_hour": HOUSEHOLDS_JUNE_HOUR,
            "interval_ms": int(TELEGRAM_S * 1000),
        }
    else:
        section |= {
            "driver": "simulated",
            "seed": _seed(options, number),
            "annual_wh": _annual_wh(number),
            "pv_peak_w": _peak_w(number),
            "interval_ms": int(TELEGRAM_S * 1000),
        }
    trouble = _trouble(options.nodes, number)
    return section | ({"rehearsal": trouble} if trouble else {})


def _trouble(nodes: int, number: int) -> dict[str, Any]:
    """One home's reading is missing once, another's comes late once; in a tiny village one home has both."""
    silent, late = {"silent_periods": [SILENT_PERIOD]}, {"late_periods": [LATE_PERIOD]}
    if nodes < SMALLEST_WITH_TROUBLE:
        return silent | late if number == 0 else {}
    return {nodes - 1: silent, nodes - 2: late}.get(number, {})


def _kind(number: int, households: Path | None) -> Literal["dsmr", "sml", "replay", "simulated"]:
    if number < 2:
        return "sml" if number else "dsmr"
    return "simulated" if households is None else "replay"


def _seed(options: Options, number: int) -> int:
    return options.seed * 100 + number


def _annual_wh(number: int) -> int:
    return 2_500_000 + 700_000 * (number % 4)


def _peak_w(number: int) -> int:
    return PV_PEAK_W[number % len(PV_PEAK_W)]


def _point(name: str) -> str:
    return f"demo-{name}"


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
