"""Prices: `meshnode price` and `parameter` - what is set from a settlement period on, never backwards."""

from __future__ import annotations

from typing import Annotated, Any

from meshnode.cli.output import Fault, answer, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.tokens import when
from meshnode.cli.trading import Acting, Asking, currency_of, second_of

price = Group("Prices: what you sell and buy at without ordering, and the prices of the grid.")
parameter = Group("Parameters: levies, solidarity, fees and places in the grid, caps, national rules (administrators).")

PPM_PER_PERCENT = 10_000

From = Annotated[str, Option("--from", '"next" period, or when one to come begins: 2026-06-21T14:15+02:00.')]


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.add("price", price)
    app.add("parameter", parameter)


@price.command("set")
def set_(
    sell: Annotated[str, Option("--sell", 'You sell your surplus at this price or a higher one: "0.12 EUR/kWh".')] = "",
    buy: Annotated[str, Option("--buy", "You buy what you need at this price or a lower one.")] = "",
    from_: From = "next",
    *,
    how: Acting,
) -> int:
    """Set what you sell and buy at from a period on; neither: no price of yours. Exit 1 if the community refuses it, 3
    if that is not known yet.
    """
    body = _from(from_) | _prices(how, sell_u_kwh=sell, buy_u_kwh=buy)
    said = [f"{word} at {text}" for word, text in (("selling", sell), ("buying", buy)) if text] or ["no price"]
    return how.act("/api/prices", body, f"{' and '.join(said)}, {_since(from_)}")


@price.command()
def outside(
    grid: Annotated[str, Option("--grid", 'Of energy from the grid, like "0.30 EUR/kWh".')] = "",
    feed_in: Annotated[str, Option("--feed-in", "What the grid pays.")] = "",
    from_: From = "next",
    *,
    how: Acting,
) -> int:
    """Set the prices of the grid (administrators); what is left out is as the binding says. Exit 1 if the community
    refuses it, 3 if that is not known yet.
    """
    body = _from(from_) | _prices(how, grid_u_kwh=grid, feed_in_u_kwh=feed_in)
    said = f"the grid takes {grid or 'what the binding says'} and pays {feed_in or 'what the binding says'}"
    return how.act("/api/prices/outside", body, f"{said}, {_since(from_)}")


@price.command()
def show(*, how: Asking) -> None:
    """Say what is sold and bought at, with what is to come. Exit 3 if no majority confirms a fresh answer."""
    found = how.ask("/api/prices")
    answer(found, lambda: _shown_prices(found, currency_of(how.place, how.chain)), how.json)


@parameter.command()
def levy(
    name: Annotated[str, Argument("NAME", "Its name, and its fund's.")],
    amount: Annotated[str, Argument("PRICE", 'For each kWh, like "0.01 EUR/kWh"; 0 of it ends the levy.')],
    on: Annotated[str, Option("--on", "The energy that it is on: consumed, neighbours, or grid.")] = "consumed",
    from_: From = "next",
    *,
    how: Acting,
) -> int:
    """Set a levy on energy for a fund. Exit 1 if the community refuses it, 3 if that is not known yet."""
    body = _from(from_) | {"name": name, "base": on} | _prices(how, levy_u_kwh=amount)
    return how.act("/api/parameters/levies", body, f"{name}: {amount}, {_since(from_)}")


@parameter.command()
def solidarity(
    percent: Annotated[int, Argument("PERCENT", "Of what each member earns in a period; 0 ends it.")],
    helped: Annotated[str, Option("--to", "Who receives it, with weights: carla, or carla:1,dora:2.")] = "",
    from_: From = "next",
    *,
    how: Acting,
) -> int:
    """Give a part of what members earn to some of them. Exit 1 if the community refuses it, 3 if not known yet."""
    body = _from(from_) | {"share_ppm": percent * PPM_PER_PERCENT}
    body |= {"helped": weights_of(helped, "--to")} if helped else {}
    what = f"{percent} % of what is earned goes to {helped or 'nobody'}, {_since(from_)}"
    return how.act("/api/parameters/solidarity", body, what)


@parameter.command("grid-fees")
def grid_fees(
    fees: Annotated[str, Argument("PRICES", 'Across the grid, in one substation, ...: "0.05,0.02,0.005 EUR/kWh".')],
    from_: From = "next",
    *,
    how: Acting,
) -> int:
    """Set what the grid takes for energy between members. Exit 1 if the community refuses it, 3 if not known yet."""
    from meshnode.amounts import parse_price

    numbers, _, unit = fees.strip().partition(" ")
    currency = currency_of(how.place, how.chain)
    body = {"fees_u_kwh": [parse_price(f"{one.strip()} {unit}", currency) for one in numbers.split(",")]}
    what = f"the grid takes {fees} between members, {_since(from_)}"
    return how.act("/api/parameters/grid-fees", _from(from_) | body, what)


@parameter.command()
def location(
    member: Annotated[str, Argument("MEMBER", "Name or account id.")],
    levels: Annotated[str, Argument("LEVELS", "From the largest to the smallest: substation 4/feeder 2.")],
    from_: From = "next",
    *,
    how: Acting,
) -> int:
    """Say where in the grid a member is connected. Exit 1 if the community refuses it, 3 if that is not known yet."""
    body = _from(from_) | {"member": member, "levels": [one.strip() for one in levels.split("/") if one.strip()]}
    what = f"{member} is connected at {levels}, {_since(from_)}"
    return how.act("/api/parameters/locations", body, what)


@parameter.command()
def cap(
    most: Annotated[str, Option("--most", 'No price above this, like "0.28 EUR/kWh".')] = "",
    least: Annotated[str, Option("--least", "No price below this.")] = "",
    from_: From = "next",
    *,
    how: Acting,
) -> int:
    """Set the prices that the law allows; orders outside leave. Exit 1 if the community refuses it, 3 if not known
    yet.
    """
    body = _from(from_) | _prices(how, floor_u_kwh=least, cap_u_kwh=most)
    what = f"prices from {least or 'any'} to {most or 'any'} are allowed, {_since(from_)}"
    return how.act("/api/parameters/caps", body, what)


@parameter.command()
def compensation(
    applies: Annotated[str, Argument("YES|NO", "Whether surplus takes off what was bought, and no more than that.")],
    from_: From = "next",
    *,
    how: Acting,
) -> int:
    """Set surplus off against what a member bought in the same billing period; the rest of it is lost. Exit 1 if the
    community refuses it, 3 if that is not known yet.
    """
    if applies not in _SWITCH:
        raise Fault(f"{applies}: not yes or no\n    write: meshnode parameter compensation yes")
    what = "surplus takes off what was bought" if _SWITCH[applies] else "surplus is paid for"
    body = _from(from_) | {"applies": _SWITCH[applies]}
    return how.act("/api/parameters/compensation", body, f"{what}, {_since(from_)}")


_SWITCH = {"yes": 1, "no": 0}


@parameter.command()
def incentive(
    amount: Annotated[str, Argument("PRICE", 'For each kWh that is shared, like "0.11 EUR/kWh"; 0 of it ends it.')],
    producers: Annotated[int, Option("--producers", "Of it, to who injected.", "PERCENT", low=0, high=100)] = 50,
    consumers: Annotated[int, Option("--consumers", "Of it, to who withdrew.", "PERCENT", low=0, high=100)] = 50,
    fund: Annotated[str, Option("--fund", "The fund that gets the rest.", "NAME")] = "",
    from_: From = "next",
    *,
    how: Acting,
) -> int:
    """Set what is paid for energy shared within an hour behind one substation. Exit 1 if the community refuses it, 3 if
    not known yet.
    """
    body = _from(from_) | _prices(how, incentive_u_kwh=amount)
    body |= {"producers_ppm": producers * PPM_PER_PERCENT, "consumers_ppm": consumers * PPM_PER_PERCENT}
    body |= {"fund": fund} if fund else {}
    rest = f", {fund} the rest" if fund else ""
    what = f"shared energy earns {amount}: producers {producers} %, consumers {consumers} %{rest}, {_since(from_)}"
    return how.act("/api/parameters/incentive", body, what)


@parameter.command("list")
def list_(*, how: Asking) -> None:
    """List what is set, in force and to come. Exit 3 if no majority confirms a fresh answer."""
    found = how.ask("/api/parameters")
    answer(found, lambda: _shown_parameters(found["parameters"]), how.json)


def weights_of(text: str, place: str) -> dict[str, int]:
    """`carla:1,dora:2` as names with weights; a name alone weighs 1. Raises Fault."""
    found = {}
    for one in filter(None, (part.strip() for part in text.split(","))):
        name, _, weight = one.rpartition(":") if ":" in one else (one, "", "1")
        if not (name and weight.isascii() and weight.isdigit() and int(weight)):
            raise Fault(f"{place} {one}: not a name with a weight\n    write it like carla:1,dora:2")
        found[name] = int(weight)
    return found


def _from(text: str) -> dict[str, Any]:
    return {"from_s": second_of(text, "--from", "next")}


def _since(text: str) -> str:
    return "from the next period on" if text == "next" else f"from {text} on"


def _prices(how: Acting, **typed: str) -> dict[str, int]:
    """The prices that were typed, in micro-units per kWh."""
    from meshnode.amounts import parse_price

    currency = currency_of(how.place, how.chain)
    return {name: parse_price(text, currency) for name, text in typed.items() if text}


def _shown_prices(found: dict[str, Any], currency: str) -> str:
    from meshnode.amounts import format_price

    def shown(price_u_kwh: int | None) -> str:
        return "" if price_u_kwh is None else format_price(price_u_kwh, currency)

    lines = [
        (one["name"], shown(one["sell_u_kwh"]), shown(one["buy_u_kwh"]), when(one["from_s"]), _state(one["in_force"]))
        for one in found["prices"]
    ]
    grid = f"grid {shown(found['grid_u_kwh'])}, feed-in {shown(found['feed_in_u_kwh'])}"
    members = table(lines, ("member", "sells at", "buys at", "from", "")) if lines else "no prices of members"
    return f"{grid}\n{members}"


def _shown_parameters(found: list[dict[str, Any]]) -> str:
    common = ("what", "of", "from_s", "in_force")
    lines = [
        (
            one["what"],
            one["of"],
            ", ".join(f"{name} {value}" for name, value in one.items() if name not in common),
            when(one["from_s"]),
            _state(one["in_force"]),
        )
        for one in found
    ]
    return table(lines, ("what", "of", "says", "from", "")) if lines else "nothing is set"


def _state(in_force: bool) -> str:
    return "in force" if in_force else ""
