"""Market: `meshnode market` - any table of orders through the mechanisms that the ledger runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from meshnode.cli.output import Fault, Json, answer, note, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.place import read_input

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshnode.cli.order_files import Line
    from meshnode.market import ContinuousMechanism, Mechanism, Mechanisms, Terms, Trade

group = Group("Mechanisms: try them with orders of your own.")

GridPrice = Annotated[str, Option("--grid-price", "What the grid takes, like 0.32; mid-market-rate needs it.", "PRICE")]
FeedIn = Annotated[str, Option("--feed-in-price", "What the grid pays, like 0.08; mid-market-rate needs it.", "PRICE")]


def add_to(app: Group) -> None:
    """Add the group to the command line."""
    app.add("market", group)


class Result(NamedTuple):
    """What a mechanism made of a file.

    Fields:
        trades: in the order in which they came about.
        ends: by line: Wh traded, Wh that met an own order, what became of the order.
        prices: what the mechanism says of prices, by name.
    """

    trades: Sequence[Trade]
    ends: dict[int, tuple[int, int, str]]
    prices: dict[str, int | None]


@group.command()
def clear(
    file: Annotated[str, Argument("ORDERS.csv", "The orders; - reads them from stdin.")],
    mechanism: Annotated[str, Option("--mechanism", "The mechanism; see: meshnode market list", "NAME")],
    version: Annotated[int, Option("--version", "Its version; the newest, if not given.", low=0)] = 0,
    grid_price: GridPrice = "",
    feed_in_price: FeedIn = "",
    currency: Annotated[str, Option("--currency", "What prices are in.")] = "EUR",
    json: Json = False,
) -> None:
    """Clear a file of orders with a mechanism, by the very code that the ledger runs; nothing is sent anywhere.

    The file's first line names its columns: side (buy, sell), member, price_per_kwh (a limit, like 0.24), wh; and,
    if you like, time_in_force (gtc, ioc, fok, market) and backed (yes, no, or how many Wh). Commas or semicolons part
    the cells; orders are booked from the top down. A market order's price is its protection. Exit 2 if a
    line is wrong; all of them are named.
    """
    from meshnode.cli.order_files import read_orders
    from meshnode.market import ContinuousMechanism
    from meshnode.market.registry import installed_mechanisms

    chosen = _choose(installed_mechanisms(), mechanism, version)
    terms = _terms(chosen, grid_price, feed_in_price, currency)
    lines = read_orders(file, read_input(file), currency)
    if isinstance(chosen, ContinuousMechanism):
        result = _through_book(chosen, lines)
    else:
        result = _at_the_close(chosen, terms, lines, file)
    value = _value(chosen, currency, lines, result)
    answer(value, lambda: _text(value), json)


@group.command("list")
def list_(json: Json = False) -> None:
    """List the mechanisms that this node has."""
    from meshnode.market.registry import installed_mechanisms

    found = [{"name": name, "version": version} for name, version in installed_mechanisms().supported()]
    answer(found, "\n".join(f"{one['name']} {one['version']}" for one in found), json)


def _choose(mechanisms: Mechanisms, name: str, version: int) -> Mechanism:
    versions = [known for found, known in mechanisms.supported() if found == name]
    return mechanisms.get(name, version or max(versions, default=1))


def _terms(mechanism: Mechanism, grid_price: str, feed_in_price: str, currency: str) -> Terms:
    from meshnode.amounts import AmountError, parse_price
    from meshnode.market import Terms, mid_market

    given = {"--grid-price": grid_price, "--feed-in-price": feed_in_price}
    missing = [flag for flag, text in given.items() if not text]
    if missing and mechanism.name == mid_market.NAME:
        raise Fault(
            f"{' and '.join(missing)}: not given; the rate of {mechanism.name} is the middle of both\n"
            "    write it like --grid-price 0.32 --feed-in-price 0.08"
        )
    prices = []
    for flag, text in given.items():
        try:
            prices.append(parse_price(f"{text or '0'} {currency}/kWh", currency))
        except AmountError as error:
            raise Fault(f"{flag}: {error}") from error
    return Terms(*prices)


def _through_book(mechanism: ContinuousMechanism, lines: list[Line]) -> Result:
    """Order by order, as blocks would bring them."""
    book = mechanism.book()
    trades: list[Trade] = []
    ends: dict[int, tuple[int, int, str]] = {}
    for line in lines:
        effects = book.place(line.order, line.time_in_force)
        trades += effects.trades
        for order, end in (
            *((order, "rests") for order in effects.resting),
            *((left.order, left.why.name.lower().replace("_", " ")) for left in effects.left),
        ):
            ends[int.from_bytes(order.order_id, "big")] = (order.filled_wh, 0, end)
    quote = book.quote()
    prices = {name: getattr(quote, name) for name in quote.__struct_fields__}
    return Result(trades, ends, prices)


def _at_the_close(mechanism: Mechanism, terms: Terms, lines: list[Line], file: str) -> Result:
    """All orders at once, as when their period closes."""
    from meshnode.market import Order, TimeInForce

    wrong = [
        f"{file}:{line.number}: time_in_force: found fok; {mechanism.name} clears all orders at once and cannot "
        "promise all or nothing; write gtc, or choose --mechanism continuous"
        for line in lines
        if line.time_in_force is TimeInForce.FOK
    ]
    if wrong:
        raise Fault("\n".join(wrong))
    if any(line.order.ready_wh < line.order.energy_wh for line in lines):
        note(f"{mechanism.name} settles against the meters, so it does not ask what is backed")
    orders = [
        Order(
            order_id=line.order.order_id,
            account=line.order.account,
            side=line.order.side,
            period=0,
            energy_wh=line.order.energy_wh,
            price_u_kwh=line.order.price_u_kwh,
            sequence=line.order.sequence,
        )
        for line in lines
    ]
    clearing = mechanism.clear(orders, terms)
    fills = {int.from_bytes(fill.order_id, "big"): fill for fill in clearing.fills}
    ends = {}
    for line in lines:
        fill = fills.get(line.number)
        traded_wh, own_wh = (fill.traded_wh, fill.own_wh) if fill else (0, 0)
        ends[line.number] = (
            traded_wh,
            own_wh,
            "filled" if traded_wh + own_wh == line.order.energy_wh else "unfilled",
        )
    prices = {name: getattr(clearing, name) for name in ("price_u_kwh", "low_u_kwh", "high_u_kwh")}
    return Result(clearing.trades, ends, prices)


def _value(mechanism: Mechanism, currency: str, lines: list[Line], result: Result) -> dict[str, Any]:
    from meshnode.amounts import value
    from meshnode.market.clearing import welfare

    members = {line.order.order_id: line.member for line in lines}
    trades = [
        {
            "buyer": members[trade.buy_order],
            "seller": members[trade.sell_order],
            "buy_line": int.from_bytes(trade.buy_order, "big"),
            "sell_line": int.from_bytes(trade.sell_order, "big"),
            "wh": trade.energy_wh,
            "price_u_kwh": trade.price_u_kwh,
            "amount_u": value(trade.price_u_kwh, trade.energy_wh),
        }
        for trade in result.trades
    ]
    buyers, sellers = welfare(result.trades, {line.order.order_id: line.order.price_u_kwh for line in lines})
    traded = [trade.price_u_kwh for trade in result.trades]
    return {
        "mechanism": mechanism.name,
        "version": mechanism.version,
        "currency": currency,
        "trades": trades,
        "wh": sum(trade.energy_wh for trade in result.trades),
        "amount_u": sum(trade["amount_u"] for trade in trades),
        "prices": {
            "lowest_traded_u_kwh": min(traded, default=None),
            "highest_traded_u_kwh": max(traded, default=None),
            **result.prices,
        },
        "welfare_u": {"buyers": buyers, "sellers": sellers, "together": buyers + sellers},
        "orders": [
            {
                "line": line.number,
                "member": line.member,
                "side": line.order.side.name.lower(),
                "wh": line.order.energy_wh,
                "traded_wh": result.ends[line.number][0],
                "own_wh": result.ends[line.number][1],
                "end": result.ends[line.number][2],
            }
            for line in lines
        ],
    }


def _text(found: dict[str, Any]) -> str:
    from meshnode.amounts import format_count, format_energy, format_money, format_price

    currency = found["currency"]
    rows = [
        (one["buyer"], one["seller"], f"{one['wh']} Wh", format_price(one["price_u_kwh"], currency))
        for one in found["trades"]
    ]
    gains = {name: format_money(gain, currency) for name, gain in found["welfare_u"].items()}
    lowest, highest = (found["prices"][f"{end}_traded_u_kwh"] for end in ("lowest", "highest"))
    lines = [
        f"{found['mechanism']} {found['version']}: {format_count(len(rows), 'trade')}, {format_energy(found['wh'])}, "
        f"{format_money(found['amount_u'], currency)}"
    ]
    if rows:
        between = format_price(lowest, currency)
        if highest != lowest:
            between += f" to {format_price(highest, currency)}"
        lines = [table(rows, ("buyer", "seller", "energy", "price")), "", *lines, f"price    {between}"]
    lines.append(f"welfare  {gains['together']}: buyers gain {gains['buyers']}, sellers {gains['sellers']}")
    for one in found["orders"]:
        open_wh = one["wh"] - one["traded_wh"] - one["own_wh"]
        if open_wh or one["own_wh"]:
            own = f", {one['own_wh']} Wh met an own order" if one["own_wh"] else ""
            lines.append(f"line {one['line']}, {one['member']}: {one['end']}, {open_wh} Wh open{own}")
    return "\n".join(lines)
