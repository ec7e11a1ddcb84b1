"""Figures: what the page and /api/home show of one home and its community, gathered at one moment.

What the machine knows is read in the node's own task, where nothing changes it meanwhile;
what the views know is asked in a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import trio

from meshnode.settlement import driven, parameters
from meshnode.views import BlockRow, DayRow, LineRow, OrderRow, PeriodRow, TradeRow, Views
from meshnode.views.views import READERS_KEPT
from meshnode.web.alarms import warnings_for
from meshnode.web.backend import Backend
from meshnode.web.history import Power, now_ms, power_now
from meshnode.web.sight import NAMES, TRADES, sight_of
from meshnode.web.zone import DAY_S, Zone
from zencode.sentences import BY_ID

# What a page lists; more is asked of the API.
TRADES_SHOWN = 8
ORDERS_SHOWN = 8
BLOCKS_SHOWN = 10
WARNINGS_SHOWN = 5
# A day of quarter-hours in the chart.
CHART_PERIODS = 96
# Questions to the views at a time: as many as there are connections kept to answer them.
ASKING_THREADS = trio.CapacityLimiter(READERS_KEPT)

T = TypeVar("T")


class Prices(msgspec.Struct, frozen=True):
    """Prices in force, micro-units per kWh. neighbours: what is shared without an order, None if nothing is.

    last: what the orders of the newest closed period cleared at, None without trades.
    fee: on what comes from neighbours.
    """

    grid_u_kwh: int
    feed_in_u_kwh: int
    neighbours_u_kwh: int | None
    last_u_kwh: int | None
    fee_u_kwh: int


class Holding(msgspec.Struct, frozen=True):
    """What the home has of an asset, in its smallest unit."""

    asset: str
    free: int
    held: int


class Figures(msgspec.Struct, frozen=True):
    """Everything a page shows but the node's own health.

    now_ms: the microgrid's clock. period_*: the settlement period that runs. day: this
    home's sums since local midnight. claim_u: what the community owes this home
    (positive) or it owes. chart: this home's newest lines. orders_open: whether the
    binding takes orders. names_hidden: it hides who ordered. warnings: events that the
    member is warned of, by their names in the catalogue, newest first.
    """

    account: str
    name: str
    community: str
    currency: str
    zone: str
    now_ms: int
    speed: int
    demonstration: bool
    period_start_s: int
    period_length_s: int
    day_start_s: int
    day_end_s: int
    power: Power
    meters: int
    day: DayRow
    community_day: DayRow
    prices: Prices
    claim_u: int
    holdings: tuple[Holding, ...]
    last_period: PeriodRow | None
    chart: list[LineRow]
    trades: list[TradeRow]
    orders: list[OrderRow]
    orders_open: bool
    names_hidden: bool
    warnings: tuple[str, ...]
    blocks: list[BlockRow]


async def ask(question: Callable[[Views], T], views: Views) -> T:
    """Put a question to the views in a worker thread."""
    return await trio.to_thread.run_sync(question, views, limiter=ASKING_THREADS)


async def gather(backend: Backend) -> Figures:
    """The figures of this moment."""
    clock, machine, account = backend.clock, backend.machine, backend.account
    state, genesis, now_s = machine.state, machine.genesis, clock.now_s()
    rules = machine.rules(now_s)
    length_s = rules.period.length_s
    start_s = now_s - now_s % length_s
    fixed = parameters.tariff(state, start_s, rules.period.tariff)
    tariff = driven.likely(state, start_s, fixed, machine.time_s)
    day_start_s, day_end_s = Zone(genesis.zone_changes).day(now_s)
    member, claim = state.accounts.get(account), state.claims.get(account)
    sight = sight_of(backend)
    known: dict[str, Any] = {
        "account": account.hex(),
        "name": "" if member is None else member.name,
        "community": genesis.community,
        "currency": rules.period.currency,
        "zone": genesis.zone,
        "now_ms": int(clock.now() * 1000),
        "speed": clock.speed,
        "demonstration": clock.is_demonstration,
        "period_start_s": now_s - now_s % length_s,
        "period_length_s": length_s,
        "day_start_s": day_start_s,
        "day_end_s": day_end_s,
        "power": power_now(backend.live(), account, now_ms()),
        "meters": len(state.meters),
        "claim_u": 0 if claim is None else claim.amount_u,
        "holdings": tuple(
            Holding(asset, row.free, row.held)
            for (_, asset), row in state.balances.range((account, ""), (account + b"\0", ""))
        ),
        "orders_open": rules.book.open,
        "names_hidden": not sight.of_others(*NAMES),
        "warnings": tuple(BY_ID[row.event].name for row in warnings_for(backend)[:WARNINGS_SHOWN]),
    }

    def question(views: Views) -> dict[str, Any]:
        last = views.periods(0, now_s, 1, newest=True)
        since_s = max(0, (last[0].start_s + length_s if last else now_s) - DAY_S)
        return {
            "day": views.day(account, day_start_s, day_end_s),
            "community_day": views.day(None, day_start_s, day_end_s),
            "last_period": last[0] if last else None,
            "chart": views.lines(account, since_s, now_s)[-CHART_PERIODS:],
            "trades": views.trades(TRADES_SHOWN, None if sight.of_others(*TRADES) else account),
            "orders": views.orders(account, ORDERS_SHOWN),
            "blocks": views.recent_blocks(BLOCKS_SHOWN),
        }

    rows = await ask(question, backend.views)
    prices = Prices(
        grid_u_kwh=tariff.grid_price_u_kwh,
        feed_in_u_kwh=tariff.feed_in_price_u_kwh,
        neighbours_u_kwh=None if tariff.sharing is None else tariff.shared_u_kwh,
        last_u_kwh=rows["last_period"].price_u_kwh if rows["last_period"] else None,
        fee_u_kwh=tariff.fee_u_kwh,
    )
    return Figures(**known, prices=prices, **rows)


def live_rows(backend: Backend) -> list[dict[str, Any]]:
    """The newest power of every meter, with the names of its homes."""
    accounts = backend.machine.state.accounts
    return [
        {
            "account": now.account.hex(),
            "name": accounts[now.account].name if now.account in accounts else "",
            "meter": now.meter.hex(),
            "power_w": now.power_w,
            "produced_w": now.produced_w,
            "arrived_ms": now.arrived_ms,
            "shown_ms": now.shown_ms,
        }
        for now in backend.live()
    ]
