"""Homes: the households of the demonstration - who they are, what their meters read, and their files."""

from __future__ import annotations

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
from meshnode.amounts import format_count
from meshnode.clock import GridClock
from meshnode.config import ConfigError
from meshnode.loopback import Home, NodeProcess, found_homes
from meshnode.market import MechanismError
from meshnode.plugins import install
from meshnode.roster import MODES
from meshnode.rules import rules_of
from meshnode.settlement.closing import PeriodRules
from protocols.records import (
    CLOCK_DEMONSTRATION,
    DEFAULT_LIMITS,
    QUORUM_BYZANTINE,
    QUORUM_MAJORITY,
    Clock,
    Genesis,
)
from protocols.records.genesis import is_byzantine_size
from zencode.binding import encode
from zencode.presets import preset
from zencode.reader import read

NAMES = ("anna", "bela", "carla", "dora", "emil", "fritz", "gina", "hana", "igor", "jana")
# More processes than that do not fit a small computer.
MAX_NODES = len(NAMES)
# The day of the demonstration, so that there is sun to share.
MIDSUMMER_S = timegm((2026, 6, 21, 0, 0, 0))
# Early enough that homes still need the grid, late enough that the roofs begin to work.
FIRST_HOUR = 6
# The CityLearn rows begin at 23:00 on 31 July; its 21st of June begins this many rows on.
HOUSEHOLDS_JUNE_HOUR = 1 + 24 * 324
# A telegram a second is what meters of the newest kind send.
TELEGRAM_S = 1.0
# A reading is made of the two telegrams around the end of a period; with three in each
# period, one may be late. Where a second is too long for that, meters send more often.
TELEGRAMS_A_PERIOD = 3
# The settlement period of the presets that the demo plays.
PERIOD_S = 900
# A period then takes 1.5 real seconds and its grace time of ten minutes (`DEMO_GRACE`) one:
# a telegram, the mesh and a block just fit into it. Any faster, and estimates are settled.
MAX_SPEED = 600
# Real seconds until the nodes have found each other and a leader; then the first period begins.
SETTLING_IN_S = 20
# What presets say of waiting for readings, and what the demo makes of it: at 180 times
# the speed, ten minutes are three seconds.
PRESET_GRACE = "a period settles 2 minutes after its end"
DEMO_GRACE = "a period settles 10 minutes after its end"
DEMO_PRESETS = "neighbour-market, mid-market-village"
# Which homes have trouble on purpose, and when: the reading at the end of this period is
# left out (silent) or delivered two periods later (late).
SILENT_PERIOD = 1
LATE_PERIOD = 2
SMALLEST_WITH_TROUBLE = 3
# What the trouble touches: a reading ends one period and begins the next one.
REHEARSED_PERIODS = frozenset({SILENT_PERIOD, SILENT_PERIOD + 1, LATE_PERIOD, LATE_PERIOD + 1})
# After the late reading has come, its period must close and be corrected.
LEAST_PERIODS = LATE_PERIOD + 4
# The name, in a home's directory, that points to its emulated meter's pseudo-terminal.
METER_LINK = "meter"
# Roofs in the village: two large ones, one small one, and homes without.
PV_PEAK_W = (6000, 0, 4000, 0, 8000)


MeterKind = Literal["dsmr", "sml", "replay", "simulated"]


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
    preset: str = "neighbour-market"
    quorum: str = MODES[QUORUM_MAJORITY]

    @property
    def wanted(self) -> int:
        """How many periods are settled before the demo ends by itself; 0: it does not."""
        return max(self.periods, LEAST_PERIODS) if self.periods else 0

    @property
    def telegram_s(self) -> float:
        """Real seconds between two telegrams of a meter, emulated or simulated."""
        return min(TELEGRAM_S, PERIOD_S / (self.speed * TELEGRAMS_A_PERIOD))


class Household(msgspec.Struct, frozen=True):
    """One household of the demo: its node, and what its meter reads.

    kind: "dsmr" and "sml" are emulated meters on pseudo-terminals, "replay" and
    "simulated" are drivers inside the node.
    """

    node: NodeProcess
    kind: MeterKind
    series: HomeSeries

    @property
    def name(self) -> str:
        """Of the member."""
        return self.node.name

    @property
    def emulated(self) -> Kind | None:
        """Which emulated meter it is read through, if it is."""
        return self.kind if self.kind == "dsmr" or self.kind == "sml" else None


class Village(msgspec.Struct, frozen=True):
    """The founded microgrid of the demonstration."""

    genesis: Genesis
    homes: tuple[Household, ...]
    clock: GridClock
    rules: PeriodRules
    first_period_s: int


def check(options: Options) -> None:
    """Refuse what cannot be played, before anything is started. Raises ConfigError."""
    if not 1 <= options.nodes <= MAX_NODES:
        raise ConfigError(f"--nodes {options.nodes}: the demo plays 1 to {MAX_NODES} homes")
    if options.quorum not in MODES:
        raise ConfigError(f"--quorum {options.quorum}: found neither {MODES[0]} nor {MODES[1]}")
    if options.quorum == MODES[QUORUM_BYZANTINE] and not is_byzantine_size(options.nodes):
        raise ConfigError(
            f"--quorum {options.quorum}: {options.nodes} homes\n    give --nodes 4, 7 or 10, of which 1, 2 or 3 may lie"
        )
    if not 1 <= options.speed <= MAX_SPEED:
        raise ConfigError(
            f"--speed {options.speed}: from 1 (real time) to {MAX_SPEED} "
            f"(a quarter of an hour takes {PERIOD_S / MAX_SPEED:g} seconds)"
        )
    if options.periods < 0:
        raise ConfigError(
            f"--periods {options.periods}: give how many periods to settle, {LEAST_PERIODS} or more; "
            "0, or leaving it out, runs until Ctrl-C"
        )
    if options.directory is not None and options.directory.exists():
        if not options.directory.is_dir():
            raise ConfigError(f"--dir {options.directory}: is a file\n    choose a new directory")
        if any(options.directory.iterdir()):
            raise ConfigError(f"--dir {options.directory}: not empty\n    choose a new directory or empty this one")
    if options.report is not None and not options.report.absolute().parent.is_dir():
        raise ConfigError(f"--json {options.report}: there is no folder {options.report.parent}\n    make it first")
    try:
        rules_of(encode(read(_contract(options))), DEFAULT_LIMITS, install())
    except (ValueError, MechanismError) as error:
        raise ConfigError(
            f"--preset {options.preset}: {error}\n    take one that this node carries out: {DEMO_PRESETS}"
        ) from error
    if options.households is not None and not options.households.is_file():
        raise ConfigError(f"--households {options.households}: no such file\n    give a table of hourly series (CSV)")


def found(options: Options, directory: Path) -> Village:
    """Keys, genesis, ledger and configuration of every home. Raises ConfigError, DriverError."""
    names = NAMES[: options.nodes]
    start_s = MIDSUMMER_S + FIRST_HOUR * 3600
    # The clock begins before the ledger does: the nodes find each other first.
    shows_s = start_s - SETTLING_IN_S * options.speed
    clock = Clock(kind=CLOCK_DEMONSTRATION, speed=options.speed, origin_s=int(time.time()), shows_s=shows_s)
    series = _series(options, names)
    kinds = [_kind(number, options.households) for number, _ in enumerate(names)]
    homes = [
        Home(
            name=name,
            roles=("prosumer",) if number else ("administrator", "prosumer"),
            points=(_point(name),),
            meters=(_meter(options, number, name, kinds[number], directory / name),),
        )
        for number, name in enumerate(names)
    ]
    genesis, nodes = found_homes(
        directory,
        "Demo village",
        _contract(options),
        homes,
        clock=clock,
        start_s=start_s,
        # A demonstration clock runs fast, and so does its drift; the first blocks are made
        # while the clock has not reached the beginning yet.
        max_drift_s=(founding.DEFAULT_DRIFT_S + SETTLING_IN_S) * options.speed,
        quorum_mode=MODES.index(options.quorum),
    )
    rules = rules_of(genesis.binding, genesis.limits, install()).period
    first_period_s = -(-start_s // rules.length_s) * rules.length_s
    households = tuple(Household(nodes[name], kinds[number], series[number]) for number, name in enumerate(names))
    return Village(genesis, households, GridClock(clock), rules, first_period_s)


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
    if not recorded:
        raise ConfigError(
            f"--households {path}: not a table of homes; its first line names no column like h01_load_kwh\n"
            "    give one row per hour, with a column NAME_load_kwh (and NAME_pv_kwh) for each home"
        )
    if len(recorded) < len(names):
        raise ConfigError(f"{path}: holds {format_count(len(recorded), 'home')}, the demo asks for {len(names)}")
    return [read_home(path, table, recorded[n], MIDSUMMER_S, HOUSEHOLDS_JUNE_HOUR) for n, _ in enumerate(names)]


def _meter(options: Options, number: int, name: str, kind: MeterKind, directory: Path) -> dict[str, Any]:
    """The meter's section of a home's configuration."""
    section: dict[str, Any] = {"metering_point": _point(name)}
    path = options.households
    if kind in ("dsmr", "sml"):
        section |= {"driver": kind, "port": str(directory / METER_LINK), "produced_channel": PRODUCED_CHANNEL}
    elif path is not None:
        section |= {
            "driver": "replay",
            "path": str(path.absolute()),
            "home": home_names(read_table(path))[number],
            "start_s": MIDSUMMER_S,
            "first_hour": HOUSEHOLDS_JUNE_HOUR,
            "interval_ms": int(options.telegram_s * 1000),
        }
    else:
        section |= {
            "driver": "simulated",
            "seed": _seed(options, number),
            "annual_wh": _annual_wh(number),
            "pv_peak_w": _peak_w(number),
            "interval_ms": int(options.telegram_s * 1000),
        }
    trouble = _trouble(options.nodes, number)
    return section | ({"rehearsal": trouble} if trouble else {})


def _trouble(nodes: int, number: int) -> dict[str, Any]:
    """One home's reading is missing once, another's comes late once; in a tiny village one home has both."""
    silent, late = {"silent_periods": [SILENT_PERIOD]}, {"late_periods": [LATE_PERIOD]}
    if nodes < SMALLEST_WITH_TROUBLE:
        return silent | late if number == 0 else {}
    return {nodes - 1: silent, nodes - 2: late}.get(number, {})


def _kind(number: int, households: Path | None) -> MeterKind:
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
