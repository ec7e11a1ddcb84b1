"""Feeds: `meshnode feed` - values from outside that named members report and enough of them agree on."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from meshnode.cli.output import Fault, answer, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.tokens import when
from meshnode.cli.trading import Acting, Asking, second_of

feed = Group("Feeds: values from outside - prices, weather, signals of the grid.")

MINUTE_S = 60
PPM_PER_PERCENT = 10_000

Name = Annotated[str, Argument("NAME", "The feed's name.")]


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.add("feed", feed)


@feed.command()
def define(
    name: Name,
    unit: Annotated[str, Option("--unit", "Of its whole numbers, such as g/kWh.")],
    feeders: Annotated[str, Option("--feeders", "Who reports: names with commas between.")],
    low: Annotated[str, Option("--low", "The least that is possible.")],
    high: Annotated[str, Option("--high", "The most that is possible.")],
    needed: Annotated[int, Option("--needed", "How many of them must agree.", low=1)] = 1,
    stale: Annotated[int, Option("--stale", "After so long a value is ignored.", "MINUTES", low=1)] = 60,
    deviation: Annotated[int, Option("--deviation", "So far from the median still agrees.", "%", low=0, high=100)] = 5,
    drives: Annotated[
        str, Option("--drives", "What follows it: nothing, grid-carbon, grid-price or price-cap.")
    ] = "nothing",
    *,
    how: Acting,
) -> int:
    """Name a feed and who feeds it (administrators). Exit 1 if the community refuses it, 3 if that is not known yet."""
    body = {
        "feed": name,
        "unit": unit,
        "feeders": [one.strip() for one in feeders.split(",") if one.strip()],
        "needed": needed,
        "stale_s": stale * MINUTE_S,
        "deviation_ppm": deviation * PPM_PER_PERCENT,
        "low": _whole(low, "--low"),
        "high": _whole(high, "--high"),
        "drives": drives,
    }
    what = f"{name} is fed by {feeders}; {needed} of them must agree"
    return how.act("/api/feeds", body, what)


@feed.command()
def send(
    name: Name,
    value: Annotated[str, Argument("VALUE", "A whole number in the feed's unit.")],
    at: Annotated[str, Option("--at", '"now", or from when it holds, like 2026-06-21T14:15+02:00.')] = "now",
    *,
    how: Acting,
) -> int:
    """Report a value (feeders). Exit 1 if the community refuses it, 3 if that is not known yet."""
    body = {"value": _whole(value, "VALUE"), "at_s": second_of(at, "--at", "now")}
    path = f"/api/feeds/{quote(name, safe='')}/values"
    what = f"{value} is reported to {name}"
    return how.act(path, body, what)


@feed.command()
def show(name: Annotated[str, Argument("NAME", "One feed, with who reported what.")] = "", *, how: Asking) -> None:
    """Say what the feeds say now. Exit 3 if no majority confirms a fresh answer."""
    path = f"/api/feeds/{quote(name, safe='')}" if name else "/api/feeds"
    found = how.ask(path)
    answer(found, lambda: _one(found) if name else _all(found["feeds"]), how.json)


def _whole(text: str, place: str) -> int:
    """A whole number, which may be below zero. Raises Fault."""
    if len(text) > 17 or not text.isascii() or not text.removeprefix("-").isdigit():
        raise Fault(f"{place} {text}: not a whole number\n    write the value in a unit in which it is whole, like 215")
    return int(text)


def _now(one: dict[str, Any]) -> str:
    if one["value"] is None:
        said = "nothing that is fresh"
    else:
        said = f"{one['value']} {one['unit']}"
    price = one["period_price_u_kwh"]
    return said if price is None else f"{said}; {one['drives']} of this period: {price} {one['unit']}"


def _all(found: list[dict[str, Any]]) -> str:
    rows = [
        (one["feed"], _now(one), f"{one['needed']} of {len(one['feeders'])}", ", ".join(one["feeders"]), one["drives"])
        for one in found
    ]
    return table(rows, ("feed", "says", "must agree", "feeders", "drives")) if rows else "no feeds"


def _one(found: dict[str, Any]) -> str:
    rows = [
        (
            when(one["at_s"]),
            "" if one["value"] is None else str(one["value"]),
            ", ".join(f"{report['feeder']} {report['value']}" for report in one["reports"]),
        )
        for one in found["values"]
    ]
    listed = table(rows, ("from", "agreed", "reported")) if rows else "nobody has reported anything"
    return f"{found['feed']}: {_now(found)}; {found['needed']} of {len(found['feeders'])} must agree\n{listed}"
